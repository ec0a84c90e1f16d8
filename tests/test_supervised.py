"""The autoencoder whose codes also predict targets."""

from functools import partial

import numpy as np
import pytest
import torch
from fitting import make_data
from onnx_models import session
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skae
from skae import AutoencoderTransformer, SupervisedAutoencoder
from skae._training.fit import training_copy


@pytest.fixture(scope="module")
def labels():
    y = load_digits().target[:300]
    y.setflags(write=False)
    return y


@pytest.fixture
def supervised(small):
    return small(SupervisedAutoencoder, 2, max_iter=3, transform_max_iter=0)


def test_without_weight_or_targets_it_is_the_plain_autoencoder(digits, labels, small):
    small = partial(small, max_iter=2)
    expected = small(AutoencoderTransformer, 2).fit(digits).transform(digits)
    for mixing, y in ((1, labels), (0.5, None), (0.5, np.full(300, np.nan))):
        fitted = small(SupervisedAutoencoder, 2, mixing=mixing).fit(digits, y)
        np.testing.assert_array_equal(fitted.transform(digits), expected)


def test_codes_predict_more_with_less_mixing(digits, labels, small):
    scores = []
    for mixing in (1, 0.5):
        reducer = small(SupervisedAutoencoder, 4, mixing=mixing, whiten=True, transform_max_iter=0)
        model = make_pipeline(reducer, LogisticRegression()).fit(digits[:200], labels[:200])
        scores.append(model.score(digits[200:], labels[200:]))
    assert scores[1] > scores[0] + 0.02


def test_the_loss_is_the_mixture_of_reconstruction_and_prediction(digits, labels, small):
    estimator = small(SupervisedAutoencoder, 2, mixing=0.3, transform_max_iter=0)
    data = make_data(estimator, digits, y=labels)
    network = training_copy(estimator._initialize(data, 2).fitted.network, data)
    index = data.train[:7]
    x, y = data.rows[index], torch.from_numpy(labels.copy())[index]
    code = network.encode(x)
    error = (network.decode(code) - x).square().sum(1)
    logits = network.head(code * network.scales.inverse_code_scale)
    shares = np.bincount(labels[data.train]) / len(data.train)
    entropy = -(shares * np.log(shares)).sum()
    prediction = torch.nn.functional.cross_entropy(logits, y, reduction="none") / entropy
    unit = data.rows[data.train].square().sum(1).mean()
    found = data.objective.at(index, held_out=False).per_row(network, x, data.rng())
    expected = 0.3 * error + 0.7 * unit * prediction
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=0.02)


@pytest.mark.parametrize("dtype", [object, float])
def test_missing_targets_are_not_used(digits, labels, supervised, dtype):
    y = labels.astype(dtype)
    y[::2] = np.nan
    other = np.where(np.arange(300) % 2, labels, -1)
    supervised.set_params(task="classification")
    codes = supervised.fit(digits, y).transform(digits)
    np.testing.assert_array_equal(supervised.fit(digits, other).transform(digits), codes)


def test_targets_of_held_out_rows_do_not_change_the_start(digits, labels, supervised):
    data = make_data(supervised, digits, y=labels)
    changed = labels.copy()
    changed[data.held_out] = changed[data.held_out][::-1]
    other = make_data(supervised, digits, y=changed)
    start, same = (supervised._initialize(d, 2).fitted.network for d in (data, other))
    for name, value in start.state_dict().items():
        np.testing.assert_allclose(value, same.state_dict()[name], err_msg=name)


def test_an_integer_weight_is_so_many_copies_of_a_row_and_its_target(digits, labels, supervised):
    weights = 1 + np.arange(300) % 3
    X, y = np.repeat(digits, weights, axis=0), np.repeat(labels, weights)
    expected = supervised.fit(X, y).transform(digits)
    codes = supervised.fit(digits, labels, sample_weight=weights).transform(digits)
    np.testing.assert_array_equal(codes, expected)


def test_targets_of_early_stopping(digits, labels, supervised):
    parts = digits[:200], labels[:200]
    supervised.fit(*parts, X_val=digits[200:], y_val=labels[200:])
    assert supervised.best_iter_ > 0
    without = supervised.validation_curve_
    supervised.fit(*parts, X_val=digits[200:])
    assert supervised.validation_curve_[0] < without[0]
    with pytest.raises(ValueError, match="`y_val` must be given with `X_val`"):
        supervised.fit(digits, labels, y_val=labels)


def test_codes_of_numbers_predict_them(digits, supervised):
    Y = np.column_stack([digits[:, 20], digits[:, 42]]) * 100.0
    Y[::3, 0] = np.nan
    codes = supervised.set_params(mixing=0.1).fit(digits, Y).transform(digits)
    codes = np.column_stack([np.ones(300), codes])
    residual = Y[:, 1] - codes @ np.linalg.lstsq(codes, Y[:, 1])[0]
    assert residual.var() < 0.4 * Y[:, 1].var()


def test_training_continues_with_targets_only(digits, labels, supervised):
    supervised.partial_fit(digits, labels)
    before = supervised.score(digits)
    supervised.partial_fit(digits, labels).set_params(warm_start=True)
    assert supervised.fit(digits, labels).score(digits) > before
    with pytest.raises(ValueError, match="with `y` cannot continue without `y`"):
        supervised.partial_fit(digits)


def test_it_is_tuned_in_a_pipeline(digits, labels, supervised):
    classifier = LogisticRegression(C=1e-3, max_iter=1000)
    pipeline = make_pipeline(supervised.set_params(max_iter=10), classifier)
    grid = {"supervisedautoencoder__mixing": [0.2, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(digits, labels)
    assert search.best_params_["supervisedautoencoder__mixing"] == 0.2


@pytest.mark.parametrize("options", [{"loss": "poisson"}, {"image_shape": (8, 8)}], ids=str)
def test_it_is_saved_and_exported(digits, labels, small, options, tmp_path):
    fitted = small(SupervisedAutoencoder, 2, max_iter=1, whiten=True, **options).fit(digits, labels)
    codes = fitted.transform(digits)
    skae.save(fitted, tmp_path / "reducer.skae")
    np.testing.assert_array_equal(skae.load(tmp_path / "reducer.skae").transform(digits), codes)
    model = session(skae.to_onnx(fitted, dtype=np.float64))
    # The steps of the projection increase rounding errors.
    np.testing.assert_allclose(model.run(None, {"X": digits})[0], codes, atol=1e-3)


def test_constant_rows_are_accepted(labels, supervised):
    codes = supervised.fit(np.ones((300, 4)), labels).transform(np.ones((2, 4)))
    np.testing.assert_array_equal(codes, np.zeros((2, 2)))
