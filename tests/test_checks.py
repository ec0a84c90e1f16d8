"""The number of components, and fits that are refused because of it."""

import numpy as np
import pytest

from skae import AutoencoderTransformer


def test_a_share_may_be_any_real_number(digits, small):
    share = np.float32(0.5)
    fitted = small(AutoencoderTransformer, n_components=share, max_iter=5).fit(digits)
    assert (
        fitted.n_components_
        == small(AutoencoderTransformer, n_components=0.5, max_iter=5).fit(digits).n_components_
    )


def test_n_components_none_keeps_all_components(digits):
    fitted = AutoencoderTransformer(None).fit(digits[:40])
    assert fitted.n_components_ == 40
    assert fitted.score(digits[:40]) == pytest.approx(1)


def test_a_share_of_variance_is_refused_in_partial_fit(digits):
    with pytest.raises(
        ValueError, match="`n_components` must be an integer or None in partial_fit"
    ):
        AutoencoderTransformer(0.9).partial_fit(digits)


def test_the_first_batch_needs_n_components_rows(digits, small):
    with pytest.raises(ValueError, match=r"`n_components` must be at most .* = 3"):
        small(AutoencoderTransformer).partial_fit(digits[:3])


def test_a_warm_start_keeps_the_number_of_components(digits, small):
    estimator = small(AutoencoderTransformer, warm_start=True).fit(digits)
    with pytest.raises(ValueError, match="`n_components` must stay 4"):
        estimator.set_params(n_components=3).fit(digits)
    for same in (4, None, 0.9):
        assert estimator.set_params(n_components=same).fit(digits).n_components_ == 4
