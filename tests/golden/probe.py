#!/usr/bin/env python3
"""Logistic regression as scikit-learn has it, of classes that overlap, that a line tells apart, and of fewer rows than
features. Writes probe.safetensors: rows of both classes, weights, intercept, and the accuracy on others."""
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from metrics import write

CASES = {"overlapping": (60, 50, 7, 0.4), "separable": (40, 40, 5, 6.0), "few": (12, 9, 30, 0.5)}  # rows, features, shift
C = 0.2


def main():
    random, out = np.random.default_rng(2), {}
    for name, (n, m, d, shift) in CASES.items():
        mix = random.standard_normal((d, d))
        draw = lambda rows, to: random.standard_normal((rows, d)) @ mix + to
        ones, zeros, new_ones, new_zeros = draw(n, shift), draw(m, 0), draw(n, shift), draw(m, 0)
        x, y = np.concatenate([ones, zeros]), np.repeat([1, 0], [n, m])
        # Both solvers end at the same optimum; the default's tolerance is far above what is compared.
        fits = [LogisticRegression(C=C, max_iter=5000, tol=1e-12, solver=s).fit(x, y) for s in ("newton-cholesky", "lbfgs")]
        assert np.allclose(fits[0].coef_, fits[1].coef_, atol=1e-5), name
        right = fits[0].score(np.concatenate([new_ones, new_zeros]), y)
        assert name != "separable" or fits[0].score(x, y) == 1
        out |= {f"{name}.ones": ones, f"{name}.zeros": zeros, f"{name}.new_ones": new_ones, f"{name}.new_zeros": new_zeros,
                f"{name}.weights": fits[0].coef_[0], f"{name}.intercept": fits[0].intercept_, f"{name}.accuracy": np.array([right])}
    write(Path(__file__).with_name("probe.safetensors"), out)


if __name__ == "__main__":
    main()
