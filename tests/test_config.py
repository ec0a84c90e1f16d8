"""The default batch size, number of steps and patience."""

import math

import pytest

from skae import AutoencoderTransformer, NeighborAutoencoder
from skae._training.config import DefaultSteps, TrainingConfig

N_ROWS = [2, 10, 800, 5000, 7500, 15_000, 60_000, 1_000_000]


def config_for(cls, n_rows, **parameters):
    """The configuration of training, and its number of steps in an epoch."""
    config = TrainingConfig.from_params(cls(**parameters), n_rows)
    return config, math.ceil(n_rows / config.batch_size)


@pytest.mark.parametrize("n_rows", N_ROWS)
def test_the_default_is_the_fewest_epochs_that_have_the_default_steps(autoencoder, n_rows):
    config, n_steps_per_epoch = config_for(autoencoder, n_rows)
    least, per_row, most, min_epochs, *_ = autoencoder._default_steps
    n_steps = min(max(least, per_row * n_rows), most)
    assert config.n_steps(n_rows) >= n_steps
    assert config.max_epochs >= min_epochs
    if config.max_epochs > min_epochs:
        assert config.n_steps(n_rows) - n_steps_per_epoch < n_steps


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "n_steps"),
    [(10, 10, 1500), (100, 30, 1500), (900, 90, 1500), (5000, 128, 1520), (15_000, 128, 4602)],
)
def test_the_transformer_trains_for_1500_to_4500_steps(n_rows, batch_size, n_steps):
    config, _ = config_for(AutoencoderTransformer, n_rows)
    assert (config.batch_size, config.n_steps(n_rows)) == (batch_size, n_steps)


def test_a_map_without_weight_of_neighbours_has_the_steps_of_the_transformer():
    without, plain = (
        config_for(cls, 60_000, **parameters)[0]
        for cls, parameters in (
            (NeighborAutoencoder, {"neighbor_weight": 0}),
            (AutoencoderTransformer, {}),
        )
    )
    assert without == plain
    assert config_for(NeighborAutoencoder, 60_000)[0].max_epochs > plain.max_epochs


def test_large_data_are_trained_for_the_minimum_of_epochs_with_a_patience_of_3(autoencoder):
    config, _ = config_for(autoencoder, 1_000_000)
    assert (config.batch_size, config.patience) == (128, 3)
    assert config.max_epochs == autoencoder._default_steps.min_epochs


def test_the_number_of_steps_grows_between_its_limits_with_the_number_of_rows():
    steps = DefaultSteps(100, 0.5, 400, min_epochs=2)
    assert [steps.n_epochs(n_rows, 10) * n_rows // 10 for n_rows in (100, 200, 400, 800, 1600)] == [
        100, 100, 200, 400, 480,
    ]  # fmt: skip


@pytest.mark.parametrize("n_rows", N_ROWS)
def test_the_patience_is_a_share_of_the_default_steps_but_at_least_three_epochs(
    autoencoder, n_rows
):
    config, n_steps_per_epoch = config_for(autoencoder, n_rows)
    least, per_row, most, *_, share = autoencoder._default_steps
    n_steps = share * min(max(least, per_row * n_rows), most)
    assert config.patience == max(3, math.ceil(n_steps / n_steps_per_epoch))
    assert config_for(autoencoder, n_rows, max_iter=7)[0].patience == config.patience
    assert config_for(autoencoder, n_rows, n_iter_no_change=2)[0].patience == 2


@pytest.mark.parametrize("n_rows", N_ROWS)
def test_max_iter_is_the_number_of_epochs(autoencoder, n_rows):
    config, n_steps_per_epoch = config_for(autoencoder, n_rows, max_iter=7)
    assert config.max_epochs == 7
    assert config.n_steps(n_rows) == 7 * n_steps_per_epoch
