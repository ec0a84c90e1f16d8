"""Correlations from sums over rows."""

import numpy as np
import pandas as pd

from skae._data.correlations import correlations, sums_of_products


def test_correlations_are_those_of_pandas_from_any_blocks(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    code = rng.normal(size=(60, 2))
    x = code @ rng.normal(size=(2, 4)) + rng.normal(size=(60, 4))
    x[rng.uniform(size=x.shape) < 0.2] = np.nan
    x[:, 3] = 5.0
    sums = sum(sums_of_products(x[i : i + 25], code[i : i + 25]) for i in (0, 25, 50))
    expected = pd.DataFrame(np.c_[code, x[:, :3]]).corr().to_numpy()[:2, 2:]
    found = correlations(sums)
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-12)
    assert not found[:, 3].any()


def test_integer_weights_count_copies(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    x, code, weights = rng.normal(size=(30, 3)), rng.normal(size=(30, 2)), rng.randint(4, size=30)
    copies = sums_of_products(np.repeat(x, weights, axis=0), np.repeat(code, weights, axis=0))
    np.testing.assert_allclose(sums_of_products(x, code, weights), copies)
