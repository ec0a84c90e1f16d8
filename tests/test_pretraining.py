"""The autoencoder that a classifier starts from."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator

from skae import AutoencoderTransformer, DenoisingAutoencoder
from skae._semi_supervised.pretraining import pretrained


def test_the_default_has_no_more_components_than_rows_and_columns(digits):
    fitted = pretrained(None, digits[:40, :5], {}, {}, (40, 5), 0)
    assert isinstance(fitted, DenoisingAutoencoder)
    assert fitted.n_components_ == 5


def test_the_seed_is_that_of_an_estimator_without_one(digits, small):
    unseeded = small(AutoencoderTransformer).set_params(random_state=None)
    shape = digits.shape
    assert pretrained(unseeded, digits, {}, {}, shape, 7).random_state == 7
    assert unseeded.random_state is None
    seeded = small(AutoencoderTransformer, max_iter=1).set_params(random_state=3)
    assert pretrained(seeded, digits, {}, {}, shape, 7).random_state == 3


def test_a_frozen_autoencoder_of_other_columns_is_refused(digits, small):
    frame = pd.DataFrame(digits[:, 20:24], columns=list("abcd"))
    frozen = FrozenEstimator(small(AutoencoderTransformer, 2, max_iter=1).fit(frame))
    assert pretrained(frozen, frame, {}, {}, frame.shape, 0) is frozen.estimator
    with pytest.raises(ValueError, match=r"`estimator` was fitted to rows with 4 features.* 5"):
        pretrained(frozen, np.ones((9, 5)), {}, {}, (9, 5), 0)
    with pytest.raises(ValueError, match="feature names"):
        pretrained(frozen, frame[list("dcba")], {}, {}, frame.shape, 0)
