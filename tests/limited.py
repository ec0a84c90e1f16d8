"""A fit in a process that may allocate a fifth of the memory that the rows would take.

    python tests/limited.py

A program for `test_larger_than_memory.py`, as the limit applies to the whole process. The rows are
windows of a time series, which are views of one array: any copy of them exceeds the limit.
"""

import json
import resource
from pathlib import Path

import numpy as np

from skae import AutoencoderTransformer

N_ROWS, N_FEATURES = 300_000, 170
# Measured: the fit allocates about 28 MB, mostly blocks of constant size; the limit is 41 MB. There
# is no projection, whose blocks have a constant size, too, but take most of the time.
LIMIT = N_ROWS * N_FEATURES * np.dtype(np.float32).itemsize // 5


def allocated():
    """Bytes of private memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmData"))


def fit_and_transform(X):
    """A fitted estimator, and the codes of all rows."""
    parameters = {"hidden_layer_sizes": (8,), "max_iter": 1, "batch_size": 1000}
    parameters["transform_max_iter"] = 0
    fitted = AutoencoderTransformer(2, random_state=0, **parameters).fit(X)
    return fitted, fitted.transform(X)


def main():
    """Print what the test checks, as JSON."""
    series = np.tanh(3 * np.sin(np.arange(N_ROWS + N_FEATURES - 1) / 50)).astype(np.float32)
    X = np.lib.stride_tricks.sliding_window_view(series, N_FEATURES)
    fit_and_transform(X[:5000])  # allocates what torch and BLAS keep
    _, hard_limit = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (allocated() + LIMIT, hard_limit))
    fitted, codes = fit_and_transform(X)
    resource.setrlimit(resource.RLIMIT_DATA, (hard_limit, hard_limit))
    results = {
        "score": float(fitted.explained_variance_ratio_.sum()),
        "pca_score": fitted.pca_score_,
        "same_codes": np.array_equal(fitted.transform(X[-1000:]), codes[-1000:]),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
