"""Fit one autoencoder with several processes, each of which has a part of the rows.

    torchrun --nproc-per-node 2 examples/distributed/fit_torchrun.py [digits.skae]

On several machines, run this on each of them, with the same address:

    torchrun --nnodes 2 --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \
        examples/distributed/fit_torchrun.py
"""

import sys
from datetime import timedelta

import torch.distributed as dist
from sklearn.datasets import load_digits

import skae


def main() -> None:
    dist.init_process_group("gloo", timeout=timedelta(minutes=5))
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    X = load_digits().data
    rows = X[rank::n_ranks]  # in practice each process reads its own rows
    reducer = skae.AutoencoderTransformer(8, max_iter=15, random_state=0).fit(rows)
    print(
        f"rank {rank} of {n_ranks}: {len(rows)} of {reducer.n_samples_seen_} rows, "
        f"explains {reducer.score(X):.4f} of all, PCA {reducer.pca_score_:.4f}\n",
        end="",  # torchrun does not buffer: a separate newline could follow a line of another rank
    )
    if rank == 0 and sys.argv[1:]:
        skae.save(reducer, sys.argv[1])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
