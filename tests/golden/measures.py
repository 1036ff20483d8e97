"""Writes measures.safetensors: features and logits, and what the definitions of metrics make of them, in NumPy; the
memorisation-informed distance by torchmetrics itself.

    python3 tests/golden/measures.py tests/golden/measures.safetensors

Needs numpy, scipy, torch, torchmetrics, safetensors.
"""
import sys

import numpy as np
import scipy.linalg
import torch
from safetensors.numpy import save_file
from torchmetrics.image.mifid import _mifid_compute

rng = np.random.default_rng(0)
reals = np.abs(rng.normal(size=(60, 24))).astype(np.float32).astype(np.float64)
near = (reals[rng.integers(0, 60, 80)] + 0.05 * rng.normal(size=(80, 24))).astype(np.float32).astype(np.float64)
far = rng.normal(size=(80, 24)).astype(np.float32).astype(np.float64)
logits = (2 * rng.normal(size=(57, 9))).astype(np.float32).astype(np.float64)


def frechet(a, b):
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)


def inception_score(x, splits=10):
    p = np.exp(x - x.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    scores = []
    for s in range(splits):
        part = p[s * len(p) // splits:(s + 1) * len(p) // splits]
        scores.append(np.exp(np.mean(np.sum(part * (np.log(part) - np.log(part.mean(0))), 1))))
    return [np.mean(scores), np.std(scores)]


def mifid(a, b):
    t = torch.from_numpy
    moments = lambda x: (t(x.mean(0)), t(np.cov(x.T)), t(x))
    return float(_mifid_compute(*moments(a), *moments(b)))


# Sliced distances in one dimension need no directions.
line = lambda x: x[:60, :1]
tensors = {
    'reals': reals, 'near': near, 'far': far, 'logits': logits,
    'fid': np.array([frechet(reals, near), frechet(reals, far)]),
    'mifid': np.array([mifid(reals, near), mifid(reals, far)]),
    'is': np.array(inception_score(logits)),
    'mind': np.array([3 * np.mean((np.sort(line(reals), 0) - np.sort(line(x), 0)) ** 2) for x in (near, far)]),
}
save_file(tensors, sys.argv[1])
print({k: v.tolist() for k, v in tensors.items() if v.size < 5})
