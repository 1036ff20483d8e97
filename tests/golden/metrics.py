#!/usr/bin/env python3
"""Expected values of measures on random features, by NumPy, SciPy's sqrtm and the packages `prdc` and scikit-learn.

Writes tests/golden/metrics.safetensors; PRDC and SciPy come from PyPI. Fewer images than features in one of the cases.
"""
import json
import struct
from pathlib import Path

import numpy as np
import scipy.linalg
from prdc import compute_prdc
from sklearn.metrics.pairwise import polynomial_kernel

CASES = {"many": (90, 70, 12), "few": (20, 60, 32)}
K = 5


def frechet(a, b):
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(ca @ cb)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * root.real)


def discrepancy(a, b):
    k = lambda x, y: polynomial_kernel(x, y, degree=3, gamma=1 / x.shape[1], coef0=1)
    m, aa, bb = len(a), k(a, a), k(b, b)
    return (aa.sum() - np.trace(aa) + bb.sum() - np.trace(bb)) / (m * (m - 1)) - 2 * k(a, b).mean()


def write(path, tensors):
    header, blob = {}, b""
    for name, t in tensors.items():
        t = np.ascontiguousarray(t, np.float64)
        header[name] = {"dtype": "F64", "shape": list(t.shape), "data_offsets": [len(blob), len(blob) + t.nbytes]}
        blob += t.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def main():
    random, out = np.random.default_rng(1), {}
    for name, (n, m, d) in CASES.items():
        a = random.standard_normal((n, d)) @ random.standard_normal((d, d)) * 0.3
        b = random.standard_normal((m, d)) @ random.standard_normal((d, d)) * 0.25 + 0.1
        p, s = compute_prdc(a, b, K), min(n, m)
        out |= {f"{name}.a": a, f"{name}.b": b, f"{name}.frechet": frechet(a, b), f"{name}.kernel": discrepancy(a[:s], b[:s]),
                f"{name}.prdc": np.array([p[k] for k in ("precision", "recall", "density", "coverage")])}
    write(Path(__file__).with_name("metrics.safetensors"), out)


if __name__ == "__main__":
    main()
