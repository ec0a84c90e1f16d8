import copy
import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from skae import AutoencoderTransformer
from skae._data.dataset import make_dataset
from skae._data.device import as_array
from skae._nn.custom_layers import SoftClip
from skae._nn.mlp import INPUT_LIMIT
from skae._semi_supervised.fine_tuning import (
    LABELED_FRACTION,
    MIN_DEFAULT_EPOCHS,
    MIN_DEFAULT_STEPS,
    MIN_DELTA_SCALE,
    EncoderClassifier,
    FineTuningConfig,
    check_convergence,
    class_scores,
    default_n_epochs,
    enlarge_delta_scale,
    epoch_rows,
    fine_tune,
    largest_scores,
    limit_inputs,
    prepare_encoder,
)


@pytest.fixture
def fitted(digits, small):
    return small(AutoencoderTransformer, hidden_layer_sizes=()).fit(digits).network_


def test_labelled_rows_are_repeated_up_to_their_fraction():
    labels = np.full(100, -1)
    labels[:10] = 0
    index = epoch_rows(labels, np.where(np.arange(100) < 70, 0, -1))
    assert set(index.tolist()) == set(range(70))
    assert (index < 10).double().mean() == pytest.approx(LABELED_FRACTION)
    np.testing.assert_array_equal(epoch_rows(labels, labels), np.arange(10))


def test_the_largest_of_many_scores_is_found_in_little_memory(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    codes, coef, intercept = rng.normal(size=(2000, 3)), rng.normal(size=(2000, 3)), np.zeros(2000)
    arguments = codes, coef, intercept, np.dtype(np.float64)
    expected = class_scores(*arguments)
    tracemalloc.start()
    np.testing.assert_array_equal(largest_scores(*arguments), expected.argmax(axis=1))
    assert tracemalloc.get_traced_memory()[1] < 1.5 * expected.nbytes
    tracemalloc.stop()


def test_default_epochs_have_the_minimum_number_of_steps():
    assert default_n_epochs(10 * 128, 128) * 10 == MIN_DEFAULT_STEPS
    assert default_n_epochs(10**6, 128) == MIN_DEFAULT_EPOCHS


def test_the_delta_scale_has_a_minimum_and_is_not_reduced(fitted):
    scales = fitted.network.scales
    code_scale = 1 / scales.inverse_code_scale
    scales.delta_scale = torch.zeros_like(code_scale)
    scales.delta_scale[0] = 10 * code_scale[0]
    enlarge_delta_scale(scales)
    torch.testing.assert_close(scales.delta_scale[0], 10 * code_scale[0])
    torch.testing.assert_close(scales.delta_scale[1:], MIN_DELTA_SCALE * code_scale[1:])


@pytest.mark.parametrize("n_hidden", [0, 1, 2])
@pytest.mark.parametrize("n_steps", [0, 2])
def test_the_inputs_of_hidden_layers_are_limited_once(
    n_hidden, n_steps, digits, small, global_random_seed
):
    options = {"hidden_layer_sizes": n_hidden * (16,), "transform_max_iter": n_steps}
    encoder = small(AutoencoderTransformer, max_iter=2, **options).fit(digits).network_.network
    encoder = encoder.encoder.float()
    before = copy.deepcopy(encoder)
    limit_inputs(encoder)
    limit_inputs(encoder)
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(global_random_seed))
    torch.testing.assert_close(encoder(x.clamp(-2, 2)), before(x.clamp(-2, 2)))
    limited = torch.nn.Sequential(SoftClip(INPUT_LIMIT), before)
    expected = limited if n_hidden and n_steps else before
    torch.testing.assert_close(encoder(5 * x), expected(5 * x))


def test_codes_are_not_projected_onto_the_decoder_that_is_not_fine_tuned(digits, small):
    fitted = small(AutoencoderTransformer).fit(digits).network_
    assert fitted.network.n_projection_steps > 0
    prepare_encoder(fitted.network)
    x = torch.tensor(digits)
    code = fitted.network.encode((x - fitted.shift) / fitted.scale)
    torch.testing.assert_close(fitted.encode(x), fitted.from_network_code(code))


def test_scores_are_zero_initially_and_linear_in_the_codes(digits, fitted, global_random_seed):
    network = EncoderClassifier(fitted, 2.0, 3)
    x = torch.tensor((digits - as_array(fitted.shift)) / fitted.scale.item()).float()
    assert not network(x).any()
    rng = torch.Generator().manual_seed(global_random_seed)
    torch.nn.init.normal_(network.head.weight, generator=rng)
    weights, biases = network.coefficients()
    with torch.no_grad():
        scores = network(x).double().numpy()
        codes = fitted.encode(torch.tensor(digits)).numpy()
    np.testing.assert_allclose(scores, codes @ weights.T + biases, atol=1e-3)  # float32


def test_the_loss_falls_below_that_of_logistic_regression_on_the_codes(
    digits, fitted, global_random_seed
):
    y = (digits.sum(axis=1) > np.median(digits.sum(axis=1))).astype(int)
    network = EncoderClassifier(fitted, 10.0, 2)
    dataset = make_dataset(digits, as_array(fitted.shift), fitted.scale.item(), torch.device("cpu"))
    config = FineTuningConfig(noise_std=0.0, learning_rate=0.01, batch_size=50, n_epochs=60)
    _, loss_curve = fine_tune(
        network, dataset, torch.from_numpy(y), torch.arange(300), config, global_random_seed
    )
    with torch.no_grad():
        codes = fitted.encode(torch.tensor(digits)).numpy()
    linear = LogisticRegression(C=1e3, max_iter=10_000).fit(codes, y).predict_proba(codes)
    assert loss_curve[0] == pytest.approx(np.log(2), rel=0.3)
    assert loss_curve[-1] < -np.log(linear[np.arange(300), y]).mean()


@pytest.mark.parametrize("factor", [1.0, torch.nan])
def test_the_learning_rate_is_named_only_if_the_scores_were_finite(factor, digits, small):
    fitted = small(AutoencoderTransformer, 2, max_iter=1).fit(digits).network_
    before = EncoderClassifier(fitted, 1.0, 3)
    before.head.weight.data.mul_(factor)
    rows = torch.tensor(digits[:9]).float()
    check_convergence([9.0, 2.1], before, rows, 0.5)
    message = "learning_rate_init` than 0.5" if factor == 1 else "not finite at the initial weights"
    for last in (2.3, torch.inf, torch.nan):
        with pytest.raises(ValueError, match=message):
            check_convergence([1.0, last], before, rows, 0.5)
