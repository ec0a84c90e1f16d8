"""Fit one autoencoder with two workers of Ray Train, each of which has a part of the rows.

    python examples/distributed/fit_ray.py

`TorchTrainer` starts the process group, and `fit` uses it.
"""

import tempfile
from pathlib import Path

import ray
from ray.train import Checkpoint, RunConfig, ScalingConfig, get_context, report
from ray.train.torch import TorchTrainer
from sklearn.datasets import load_digits

import skae


def train(config: dict) -> None:
    """Run in each worker."""
    rank, n_ranks = get_context().get_world_rank(), get_context().get_world_size()
    X = load_digits().data
    rows = X[rank::n_ranks]  # in practice each worker reads its own shard
    reducer = skae.AutoencoderTransformer(8, random_state=0, **config).fit(rows)
    with tempfile.TemporaryDirectory() as folder:
        if rank == 0:
            skae.save(reducer, Path(folder) / "digits.skae")
        report(
            {"score": reducer.score(X), "pca": reducer.pca_score_, "rows": reducer.n_samples_seen_},
            checkpoint=Checkpoint.from_directory(folder) if rank == 0 else None,
        )


def main(storage: str, **parameters: int) -> tuple[dict, skae.AutoencoderTransformer]:
    """The metrics and the model of the first worker."""
    trainer = TorchTrainer(
        train,
        train_loop_config=parameters,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=storage),
    )
    result = trainer.fit()
    with result.checkpoint.as_directory() as folder:
        return result.metrics, skae.load(Path(folder) / "digits.skae")


if __name__ == "__main__":
    ray.init(num_cpus=3)  # two workers and their coordinator
    with tempfile.TemporaryDirectory() as storage:
        metrics, reducer = main(storage)
    print(metrics)
    print(reducer)
