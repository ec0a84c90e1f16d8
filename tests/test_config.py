"""The default batch size, number of epochs and patience."""

import math

import pytest

from skae import AutoencoderTransformer
from skae._training.config import TrainingConfig


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "max_epochs"),
    [(10, 10, 3000), (800, 100, 375), (5000, 128, 75)],
)
def test_the_default_is_about_3000_steps(n_rows, batch_size, max_epochs):
    found = TrainingConfig.from_params(AutoencoderTransformer(), n_rows)
    assert (found.batch_size, found.max_epochs) == (batch_size, max_epochs)
    assert 3000 <= max_epochs * math.ceil(n_rows / batch_size) < 3000 + n_rows / batch_size + 1


def test_large_data_are_trained_for_15_epochs_with_a_patience_of_3():
    found = TrainingConfig.from_params(AutoencoderTransformer(), 60_000)
    assert (found.batch_size, found.max_epochs, found.patience) == (128, 15, 3)
