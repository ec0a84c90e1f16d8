"""The fits of the processes of `test_process_group.py`, each to its own part of the rows.

python tests/distributed_fits.py FOLDER
"""

import os
import pickle
import runpy
import signal
import sys
import time
import warnings
from contextlib import redirect_stdout
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
EXAMPLE = Path(__file__).parents[1] / "examples" / "distributed" / "fit_torchrun.py"
INIT_PROCESS_GROUP = dist.init_process_group
ROWS = load_digits().data[:300]
WITH_GAPS = np.where(np.random.RandomState(0).uniform(size=ROWS.shape) < 0.1, np.nan, ROWS)
# The shares of the ranks by the number of ranks: the first has the fewest rows.
SHARES = {1: (1.0,), 2: (0.2, 0.8), 3: (0.1, 0.3, 0.6)}


def small(cls, *args, **parameters):
    """An estimator that is fitted within a fraction of a second."""
    defaults = {"hidden_layer_sizes": (16,), "max_iter": 3, "random_state": 0}
    return cls(*args, **(defaults | parameters))


def sparse_coder(sparsity, **parameters):
    """A small sparse autoencoder."""
    parameters = {"hidden_layer_sizes": ()} | parameters
    return small(skae.SparseAutoencoder, 80, sparsity=sparsity, **parameters)


# Fits whose steps do not depend on the rounding of sums: without noise, and not from the optimum of
# PCA, where the first gradient of the encoder is zero up to rounding errors.
SAME_STEPS = {
    "gaps": (small(skae.AutoencoderTransformer, 4), WITH_GAPS),
    "sparse rows": (small(skae.AutoencoderTransformer, 4), sparse.csr_array(WITH_GAPS)),
    "share of variance": (small(skae.AutoencoderTransformer, 0.5), WITH_GAPS),
    "more columns than rows": (
        small(skae.AutoencoderTransformer, 4), np.hstack([WITH_GAPS] * 3)[:90]
    ),
    "layerwise": (
        small(
            skae.AutoencoderTransformer, 4, pretraining="layerwise", hidden_layer_sizes=(16, 8)
        ),
        WITH_GAPS,
    ),
    "sgd": (small(skae.AutoencoderTransformer, 4, solver="sgd"), ROWS),
    "l1": (sparse_coder("l1"), ROWS),
    "jumprelu": (sparse_coder("jumprelu"), ROWS),
    "receptive fields": (sparse_coder("l1", image_shape=(8, 8), receptive_field=3), ROWS),
}  # fmt: skip

# Fits that depend on noise or on the rounding of sums.
SAME_SCORE = {
    "plain": (small(skae.AutoencoderTransformer, 4), ROWS),
    # Each rank replaces anchors by codes of its own rows.
    "trained at projected codes": (small(skae.AutoencoderTransformer, 2), ROWS),
    "denoising": (small(skae.DenoisingAutoencoder, 4), ROWS),
    "contractive": (small(skae.ContractiveAutoencoder, 4), ROWS),
    "vae": (small(skae.VAE, 4), ROWS),
    "topk": (sparse_coder("topk"), ROWS),
    "topk, pursuit": (sparse_coder("topk", transform_max_iter=2), ROWS),
    "batch_topk": (sparse_coder("batch_topk"), ROWS),
    # On each rank a unit is active in at least one row: its share of the rows must be larger.
    "lifetime": (sparse_coder("lifetime", n_nonzero_coefs=40, with_mean=False), ROWS),
    "kl": (sparse_coder("kl"), ROWS),
}


def shard(X, n_ranks, rank):
    """The rows of one rank."""
    ends = np.round(np.cumsum([0, *SHARES[n_ranks]]) * X.shape[0]).astype(int)
    return X[ends[rank] : ends[rank + 1]]


class StopAfter:
    """A callback that stops the training after some epochs."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def setup(self, estimator, context):
        """Nothing to prepare."""

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        fitted_estimator.transform(X[:1])  # a collective of all ranks makes the fitted estimator
        return context.task_name == "epoch" and context.task_id + 1 == self.n_epochs


def fit_same_steps(own):
    """Fits that are the same for any number of ranks, by name; `own(X)` are the rows of a rank."""
    fitted = {name: clone(estimator).fit(own(X)) for name, (estimator, X) in SAME_STEPS.items()}
    fitted["X_val"] = small(skae.AutoencoderTransformer, 4, max_iter=6).fit(
        own(WITH_GAPS[:200]), X_val=own(WITH_GAPS[200:])
    )
    # Groups are on several ranks; the NaN of each rank is another object.
    groups = np.array([f"patient {row}" if row else np.nan for row in range(25)] * 12, dtype=object)
    fitted["groups"] = small(skae.AutoencoderTransformer, 4).fit(own(WITH_GAPS), groups=own(groups))
    weights = np.arange(300) % 4 / 3  # on each rank some are zero
    fitted["weights"] = small(skae.AutoencoderTransformer, 4).fit(
        own(WITH_GAPS), sample_weight=own(weights), groups=own(groups)
    )
    fitted["warm start"] = small(skae.AutoencoderTransformer, 4, max_iter=6, warm_start=True)
    fitted["partial_fit"] = small(skae.AutoencoderTransformer, 4)
    for X in (WITH_GAPS[:150], WITH_GAPS[150:]):
        fitted["warm start"].fit(own(X))
        fitted["partial_fit"].partial_fit(own(X))
    return {name: fitted_values(estimator) for name, estimator in fitted.items()}


def fit_same_score(own):
    """Fits that differ by noise or rounding between numbers of ranks, and one without a seed."""
    fitted = {name: clone(estimator).fit(own(X)) for name, (estimator, X) in SAME_SCORE.items()}
    scores = {name: {"score": fitted[name].score(X)} for name, (_, X) in SAME_SCORE.items()}
    fitted["any seed"] = small(skae.AutoencoderTransformer, 4, random_state=None).fit(own(ROWS))
    return {name: fitted_values(fit) | scores.get(name, {}) for name, fit in fitted.items()}


def fitted_values(fitted):
    """All fitted attributes and weights, as arrays and numbers."""
    values = {name: value for name, value in vars(fitted).items() if name.endswith("_")}
    network = values.pop("network_").state_dict()
    return values | {name: tensor.numpy() for name, tensor in network.items()}


def fit_with_faults(rank, own):
    """The errors on this rank, and their times, of fits that fail on rank 1."""
    own, faulty, found = own(ROWS), rank == 1, {}

    def attempt(name, estimator, X):
        start = time.perf_counter()
        try:
            estimator.fit(X)
            error = None
        except BaseException as raised:
            error = type(raised).__name__, str(raised)
        is_fitted = bool([attribute for attribute in vars(estimator) if attribute.endswith("_")])
        found[name] = error, time.perf_counter() - start, is_fitted
        return estimator

    attempt("infinite", small(skae.VAE, 4), own * np.inf if faulty else own)
    attempt("columns", small(skae.VAE, 4), own[:, :60] if faulty else own)
    attempt("parameter", small(skae.VAE, 4, max_iter=2 + faulty), own)
    if hasattr(skae.VAE, "set_callbacks"):
        callback = StopAfter(rank + 3)
        stopped = small(skae.AutoencoderTransformer, 4, max_iter=6).set_callbacks(callback)
        found["n_iter_ of stopped"] = attempt("stopped", stopped, own).n_iter_
    attempt("single process only", skae.AutoencoderOutlierDetector(), own)

    n_calls = 0

    def corruption(x, rng):
        nonlocal n_calls
        n_calls += 1
        if faulty and n_calls == 9:
            raise ZeroDivisionError("in the middle")
        if faulty and n_calls == 30:
            signal.raise_signal(signal.SIGINT)
        if faulty and n_calls == 60:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    denoiser = small(skae.DenoisingAutoencoder, 4, corruption=corruption, max_iter=9)
    attempt("raised", clone(denoiser), own)
    found["n_iter_ of interrupted"] = attempt("interrupted", clone(denoiser), own).n_iter_
    diverging = small(skae.AutoencoderTransformer, 4, learning_rate_init=1e30, solver="sgd")
    attempt("diverged", diverging, own)
    attempt("killed", denoiser, own)
    return found


def init_process_group(backend, rank, n_ranks, folder, timeout=None):
    """Join the processes that share a folder."""
    store = f"file://{folder}/store"
    INIT_PROCESS_GROUP(backend, store, rank=rank, world_size=n_ranks, timeout=timeout)


def run_example(rank, n_ranks, folder):
    """Run the example of torchrun as one of its processes; what it prints is a file."""
    dist.init_process_group = partial(init_process_group, rank=rank, n_ranks=n_ranks, folder=folder)
    sys.argv = [str(EXAMPLE), str(folder / "digits.skae")]
    with (folder / f"{rank}.txt").open("w") as file, redirect_stdout(file):
        runpy.run_path(str(EXAMPLE), run_name="__main__")


def run_rank(task, rank, n_ranks, folder):
    """Run a task as one process of a group, and save its results."""
    warnings.simplefilter("ignore")  # few epochs
    if task is run_example:
        run_example(rank, n_ranks, folder)
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in background jobs
    init_process_group("gloo", rank, n_ranks, folder, timedelta(seconds=TIMEOUT))
    own = partial(shard, n_ranks=n_ranks, rank=rank)
    result = task(rank, own) if task is fit_with_faults else task(own)
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    if task is not fit_with_faults:  # there the other process has been killed
        dist.destroy_process_group()


def main() -> None:
    context = get_context("fork")  # importing torch again would take the longest
    for task, n_ranks in N_RANKS.items():
        folder = Path(sys.argv[1]) / task.__name__
        folder.mkdir()
        processes = [
            context.Process(target=run_rank, args=(task, rank, n_ranks, folder))
            for rank in range(n_ranks)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()


N_RANKS = {fit_same_steps: 3, fit_same_score: 2, fit_with_faults: 2, run_example: 2}

if __name__ == "__main__":
    main()
