"""What several processes do for `test_ranks.py`: fits to rows of which each process has some.

python tests/ranks_at_work.py FOLDER
"""

import os
import pickle
import signal
import sys
import time
import warnings
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch.distributed as dist
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits

import skae

TIMEOUT = 20.0
ROWS = load_digits().data[:300]
WITH_GAPS = np.where(np.random.RandomState(0).uniform(size=ROWS.shape) < 0.1, np.nan, ROWS)
# The ranks' shares of the rows: the first has the fewest.
SHARES = {1: (1.0,), 2: (0.2, 0.8), 3: (0.1, 0.3, 0.6)}


def brief(cls, *args, **parameters):
    defaults = {"hidden_layer_sizes": (16,), "max_iter": 3, "random_state": 0}
    return cls(*args, **(defaults | parameters))


def sparse_coder(sparsity, **parameters):
    parameters = {"n_nonzero_coefs": 6, "hidden_layer_sizes": ()} | parameters
    return brief(skae.SparseAutoencoder, 80, sparsity=sparsity, **parameters)


# Fits whose every step is determined by the rows, not by how sums are rounded: without noise, and
# not from the very optimum of PCA, where the encoder's first gradient is zero but for rounding.
SAME_STEPS = {
    "gaps": (brief(skae.AutoencoderTransformer, 4), WITH_GAPS),
    "sparse rows": (brief(skae.AutoencoderTransformer, 4), sparse.csr_array(WITH_GAPS)),
    "a share": (brief(skae.AutoencoderTransformer, 0.5), WITH_GAPS),
    "more columns than rows": (
        brief(skae.AutoencoderTransformer, 3), np.hstack([WITH_GAPS] * 5)[:90]
    ),
    "layerwise": (
        brief(
            skae.AutoencoderTransformer, 4, pretraining="layerwise", hidden_layer_sizes=(16, 8)
        ),
        WITH_GAPS,
    ),
    "steepest": (brief(skae.AutoencoderTransformer, 4, solver="sgd"), ROWS),
    "l1": (sparse_coder("l1"), ROWS),
    "jumprelu": (sparse_coder("jumprelu"), ROWS),
    "windows": (sparse_coder("l1", image_shape=(8, 8), receptive_field=3), ROWS),
}  # fmt: skip
ALIKE = {
    "plain": (brief(skae.AutoencoderTransformer, 4), ROWS),
    "denoising": (brief(skae.DenoisingAutoencoder, 4), ROWS),
    "contractive": (brief(skae.ContractiveAutoencoder, 4), ROWS),
    "density": (brief(skae.VAE, 4), ROWS),
    "topk": (sparse_coder("topk"), ROWS),
    "topk, searched": (sparse_coder("topk", transform_max_iter=2), ROWS),
    "batch_topk": (sparse_coder("batch_topk"), ROWS),
    # Each rank grants a unit one row of its part at least: shares are to be larger than that.
    "lifetime": (sparse_coder("lifetime", n_nonzero_coefs=40, with_mean=False), ROWS),
    "kl": (sparse_coder("kl"), ROWS),
}


def shard(X, n_ranks, rank):
    """The rows of one rank."""
    ends = np.round(np.cumsum([0, *SHARES[n_ranks]]) * X.shape[0]).astype(int)
    return X[ends[rank] : ends[rank + 1]]


class Stop:
    """A callback that wants no more epochs after some."""

    def __init__(self, after):
        self.after = after

    def setup(self, estimator, context):
        """Nothing to prepare."""

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        fitted_estimator.transform(X[:1])  # all ranks together make what was learned as yet
        return context.task_name == "epoch" and context.task_id + 1 == self.after


def determined(own):
    """Fits to be the same for any number of processes, by name; `own(X)` are the rows of one."""
    fitted = {name: clone(estimator).fit(own(X)) for name, (estimator, X) in SAME_STEPS.items()}
    fitted["judged by others"] = brief(skae.AutoencoderTransformer, 4, max_iter=6).fit(
        own(WITH_GAPS[:200]), X_val=own(WITH_GAPS[200:])
    )
    fitted["continued"] = brief(skae.AutoencoderTransformer, 4, max_iter=6, warm_start=True)
    fitted["streamed"] = brief(skae.AutoencoderTransformer, 4)
    for X in (WITH_GAPS[:150], WITH_GAPS[150:]):
        fitted["continued"].fit(own(X))
        fitted["streamed"].partial_fit(own(X))
    return {name: published(fit) for name, fit in fitted.items()}


def by_chance(own):
    """Fits that noise, or rounding, has a part in; those that others compare are in `ALIKE`."""
    fitted = {name: clone(estimator).fit(own(X)) for name, (estimator, X) in ALIKE.items()}
    scores = {name: {"score": fitted[name].score(X)} for name, (_, X) in ALIKE.items()}
    fitted["any seed"] = brief(skae.AutoencoderTransformer, 4, random_state=None).fit(own(ROWS))
    return {name: published(fit) | scores.get(name, {}) for name, fit in fitted.items()}


def published(fitted):
    """All that a fit publishes, as arrays and numbers."""
    values = {name: value for name, value in vars(fitted).items() if name.endswith("_")}
    network = values.pop("network_").state_dict()
    return values | {name: tensor.numpy() for name, tensor in network.items()}


def faults(rank, own):
    """What each fault raises here, and how long that took; rank 1 is the one that fails."""
    own, faulty, found = own(ROWS), rank == 1, {}

    def attempt(name, estimator, X):
        began = time.perf_counter()
        try:
            estimator.fit(X)
            error = None
        except BaseException as raised:
            error = type(raised).__name__, str(raised)
        is_fitted = bool([attribute for attribute in vars(estimator) if attribute.endswith("_")])
        found[name] = error, time.perf_counter() - began, is_fitted
        return estimator

    attempt("infinite", brief(skae.VAE, 4), own * np.inf if faulty else own)
    attempt("columns", brief(skae.VAE, 4), own[:, :60] if faulty else own)
    attempt("parameter", brief(skae.VAE, 4, max_iter=2 + faulty), own)
    if hasattr(skae.VAE, "set_callbacks"):
        stopped = brief(skae.AutoencoderTransformer, 4, max_iter=6).set_callbacks(Stop(rank + 3))
        found["stopped"] = attempt("stopping", stopped, own).n_iter_
    attempt("not for many", skae.AutoencoderOutlierDetector(), own)

    n_calls = 0

    def corruption(x, noise):
        nonlocal n_calls
        n_calls += 1
        if faulty and n_calls == 9:
            raise ZeroDivisionError("in the middle")
        if faulty and n_calls == 30:
            signal.raise_signal(signal.SIGINT)
        if faulty and n_calls == 60:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    denoiser = brief(skae.DenoisingAutoencoder, 4, corruption=corruption, max_iter=9)
    attempt("raising", clone(denoiser), own)
    found["epochs"] = attempt("interrupted", clone(denoiser), own).n_iter_
    diverging = brief(skae.AutoencoderTransformer, 4, learning_rate_init=1e30, solver="sgd")
    attempt("diverging", diverging, own)
    attempt("killed", denoiser, own)
    return found


def work(data, rank, n_ranks, folder):
    """The life of one process."""
    warnings.simplefilter("ignore")  # few epochs
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let jobs ignore it
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=n_ranks,
        timeout=timedelta(seconds=TIMEOUT),
    )
    own = partial(shard, n_ranks=n_ranks, rank=rank)
    result = data(rank, own) if data is faults else data(own)
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    if data is not faults:  # else the others are no longer there
        dist.destroy_process_group()


def main() -> None:
    context = get_context("fork")  # what takes longest is to import torch
    for data, n_ranks in ((determined, 3), (by_chance, 2), (faults, 2)):
        folder = Path(sys.argv[1]) / data.__name__
        folder.mkdir()
        group = [
            context.Process(target=work, args=(data, rank, n_ranks, folder))
            for rank in range(n_ranks)
        ]
        for rank in group:
            rank.start()
        for rank in group:
            rank.join()


if __name__ == "__main__":
    main()
