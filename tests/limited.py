"""A fit, codes and rows back in a process that may allocate a tenth of what the rows take.

    python tests/limited.py FOLDER ESTIMATOR KIND

A program for `test_larger_than_memory.py`, as a limit once reached spoils a process.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

import skae
from skae import _fitting, _pca_start, _tensors

SHAPE, BLOCK = (60_000, 340), 500
LIMIT = 4 * SHAPE[0] * SHAPE[1] // 10


def rows_of(folder, kind):
    """Rows that PCA leaves something of, read-only: a memory map, or CSR around one."""
    X = np.memmap(folder / "X", np.float32, "w+", shape=SHAPE)
    rng = np.random.default_rng(0)
    for rows in gen_batches(len(X), BLOCK):
        t = rng.uniform(-1, 1, (rows.stop - rows.start, 1))
        X[rows] = np.tanh(t * np.linspace(0, 9, SHAPE[1]) + 1)
    X.flush()
    X = np.memmap(folder / "X", np.float32, "r", shape=SHAPE)
    if "CSR" not in kind:
        return X
    indices = np.tile(np.arange(SHAPE[1], dtype=np.int32), SHAPE[0])
    indices.setflags(write=False)
    starts = np.arange(0, X.size + 1, SHAPE[1], dtype=np.int32)
    return sparse.csr_array((X.reshape(-1), indices, starts), shape=SHAPE)


def learn_and_restore(estimator, X, folder):
    """Codes of rows and these rows again, in files that are written block by block."""
    model = estimator(2, max_iter=1, batch_size=100, random_state=0).fit(X)
    codes = np.memmap(folder / "codes", np.float32, "w+", shape=(X.shape[0], 2))
    restored = np.memmap(folder / "restored", np.float32, "w+", shape=X.shape)
    for rows in gen_batches(X.shape[0], BLOCK):
        codes[rows] = model.transform(X[rows])
        restored[rows] = model.inverse_transform(codes[rows])
    return model, codes, restored


def main(folder, estimator, kind):
    _tensors.BLOCK_ENTRIES = _fitting.BLOCK_ENTRIES = 2**14  # as the data are small
    if "wide" in kind:  # as if the covariance, and a copy, were too large
        _pca_start.COVARIANCE_FEATURES, _pca_start.DOUBLE_PRECISION_ENTRIES = 10, 1000
    folder, cls = Path(folder), getattr(skae, estimator)
    X = rows_of(folder, kind)
    learn_and_restore(cls, X[:5000], folder)  # what torch sets up once
    status = Path("/proc/self/status").read_text().splitlines()
    allocated = next(1024 * int(line.split()[1]) for line in status if line.startswith("VmData"))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (allocated + LIMIT, most))
    model, codes, restored = learn_and_restore(cls, X, folder)
    found = {
        "score": float(sum(model.explained_variance_ratio_)),
        "pca_score": model.pca_score_,
        "codes": np.array_equal(model.transform(X), codes),
    }
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    left_over = np.sum((X[:BLOCK] - restored[:BLOCK]) ** 2, axis=1)
    found["restored"] = np.allclose(-model.score_samples(X[:BLOCK]), left_over, rtol=1e-3)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
