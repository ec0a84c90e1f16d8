"""Correlations from sums over rows."""

import numpy as np
import pandas as pd
import torch

from skae._data.correlations import correlations, sums_of_products


def test_correlations_are_those_of_pandas_from_any_blocks(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    code = rng.normal(size=(60, 2))
    x = code @ rng.normal(size=(2, 4)) + rng.normal(size=(60, 4))
    x[rng.uniform(size=x.shape) < 0.2] = np.nan
    x[:, 3] = 5.0
    parts = torch.from_numpy(x).split(25), torch.from_numpy(code).split(25)
    sums = sum(map(sums_of_products, *parts))
    expected = pd.DataFrame(np.c_[code, x[:, :3]]).corr().to_numpy()[:2, 2:]
    found = correlations(sums)
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-12)
    assert not found[:, 3].any()


def test_integer_weights_count_copies(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    x, code = torch.from_numpy(rng.normal(size=(30, 3))), torch.from_numpy(rng.normal(size=(30, 2)))
    weights = torch.from_numpy(rng.randint(4, size=30))
    copies = sums_of_products(*(part.repeat_interleave(weights, 0) for part in (x, code)))
    np.testing.assert_allclose(sums_of_products(x, code, weights), copies)
