"""A fit, codes and rows back in a process that may allocate a tenth of what the rows take.

    python tests/limited.py FOLDER

A program for `test_larger_than_memory.py`, as a limit once reached spoils a process.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
from sklearn.utils import gen_batches

from skae import AutoencoderTransformer
from skae._data import dataset
from skae._training import fit

SHAPE, BLOCK = (25_000, 340), 500
LIMIT = 4 * SHAPE[0] * SHAPE[1] // 10


def rows_in(folder):
    """A memory map of rows that PCA leaves something of."""
    X = np.memmap(folder / "X", np.float32, "w+", shape=SHAPE)
    rng = np.random.default_rng(0)
    for rows in gen_batches(len(X), BLOCK):
        t = rng.uniform(-1, 1, (rows.stop - rows.start, 1))
        X[rows] = np.tanh(t * np.linspace(0, 9, SHAPE[1]) + 1)
    X.flush()
    return np.memmap(folder / "X", np.float32, "r", shape=SHAPE)


def learn_and_restore(X, folder):
    """Codes of rows and these rows again, in files that are written block by block."""
    model = AutoencoderTransformer(
        2, hidden_layer_sizes=(32,), max_iter=1, batch_size=100, random_state=0
    ).fit(X)
    codes = np.memmap(folder / "codes", np.float32, "w+", shape=(X.shape[0], 2))
    restored = np.memmap(folder / "restored", np.float32, "w+", shape=X.shape)
    for rows in gen_batches(X.shape[0], BLOCK):
        codes[rows] = model.transform(X[rows])
        restored[rows] = model.inverse_transform(codes[rows])
    return model, codes, restored


def main(folder):
    dataset.BLOCK_ENTRIES = fit.BLOCK_ENTRIES = 2**14  # as the data are small
    X = rows_in(folder)
    learn_and_restore(X[:5000], folder)  # what torch sets up once
    status = Path("/proc/self/status").read_text().splitlines()
    allocated = next(1024 * int(line.split()[1]) for line in status if line.startswith("VmData"))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (allocated + LIMIT, most))
    model, codes, restored = learn_and_restore(X, folder)
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
    main(Path(sys.argv[1]))
