"""Mean and standard deviation of each column, for arrays, sparse matrices, tensors and ranks."""

import numpy as np
import pytest
import torch
from scipy import sparse

from skae._data.dataset import BLOCK_ENTRIES
from skae._data.moments import moments
from skae._data.process_group import SingleProcess

KINDS = {"array": np.asarray, "CSR": sparse.csr_array, "tensor": torch.from_numpy}


@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_those_of_the_observed_entries(kind, digits_with_gaps):
    found = moments(KINDS[kind](digits_with_gaps))
    np.testing.assert_allclose(found.mean, np.nanmean(digits_with_gaps, axis=0))
    np.testing.assert_allclose(found.std, np.nanstd(digits_with_gaps, axis=0), atol=1e-12)
    assert found.rms_std == pytest.approx(np.sqrt((found.std**2).mean()))
    assert found.n_missing == np.isnan(digits_with_gaps).sum()


def test_a_column_that_is_never_observed_has_mean_and_deviation_zero(digits):
    X = digits.copy()
    X[:, 3] = np.nan
    found = moments(X)
    assert found.mean[3] == found.std[3] == 0
    assert found.n_missing == len(X)


@pytest.mark.parametrize("kind", KINDS)
def test_rounding_errors_of_a_constant_column_are_not_variance(kind):
    X = np.full((100, 2), 0.1)
    X[:, 1] = np.arange(100)
    X[::2, 0] = np.nextafter(0.1, 1)
    found = moments(KINDS[kind](X))
    assert found.std[0] == 0
    assert found.std[1] > 0


def test_constant_rows_have_unit_scale():
    assert moments(np.ones((5, 3))).rms_std == 1


@pytest.mark.parametrize("kind", KINDS)
def test_values_whose_squares_underflow_are_an_error(kind, digits_with_gaps):
    for scale in (1e-160, 1e-200, 1e-310):
        with pytest.raises(ValueError, match="too small to square in float64"):
            moments(KINDS[kind](scale * digits_with_gaps))
    for value in (0.0, 3e-200, 0.1):
        constant = np.where(np.isnan(digits_with_gaps), np.nan, value)
        assert moments(KINDS[kind](constant)).rms_std == 1
    X = digits_with_gaps
    X[:, 40:] *= 1e-200  # beside columns of usual numbers these have no influence
    np.testing.assert_array_equal(moments(KINDS[kind](X)).std[40:], 0)
    single = (1e-40 * digits_with_gaps[:, :40]).astype(np.float32)
    assert moments(KINDS[kind](single)).std.max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_moments_of_many_blocks_are_those_of_all_rows(kind, global_random_seed):
    X = np.random.default_rng(global_random_seed).normal(5, 2, size=(BLOCK_ENTRIES // 8, 40))
    found = moments(KINDS[kind](X))
    np.testing.assert_allclose(found.mean, X.mean(axis=0))
    np.testing.assert_allclose(found.std, X.std(axis=0))


class Ranks(SingleProcess):
    """A process group of which this process knows the values of the other ranks."""

    def __init__(self, *others):
        self.others = list(others)

    def gather(self, value):
        return [value, *self.others.pop(0)]


def test_moments_of_shards_are_those_of_all_rows(digits_with_gaps):
    shards = digits_with_gaps[:30], digits_with_gaps[30:100], digits_with_gaps[100:]
    gathered = []

    class Recorder(SingleProcess):
        def gather(self, value):
            gathered.append(value)
            return [value]

    for shard in shards[1:]:
        moments(shard, Recorder())
    own_moments, n_rows = gathered[::2], gathered[1::2]
    found, expected = moments(shards[0], Ranks(own_moments, n_rows)), moments(digits_with_gaps)
    np.testing.assert_allclose(found.mean, expected.mean)
    np.testing.assert_allclose(found.std, expected.std)
    assert found.n_missing == expected.n_missing


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_overflow_when_squared_are_an_error(kind):
    X = np.array([[1e200, 1.0], [-1e200, 2.0]])
    with pytest.raises(ValueError, match="too large to square in float64; divide X"):
        moments(KINDS[kind](X))
