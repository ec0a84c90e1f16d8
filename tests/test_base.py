"""The base class of autoencoders: seeds, global state, errors; the public module `skae.base`."""

import pickle
import random

import joblib
import numpy as np
import pytest
import torch
from conftest import WITHOUT_TARGETS, covering
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skae import AutoencoderTransformer


def test_tied_weights_with_a_user_network_are_refused(digits, small):
    estimator = small(AutoencoderTransformer, tied_weights=True, network=lambda p, k: None)
    with pytest.raises(ValueError, match="`tied_weights` must be False with a `network`"):
        estimator.fit(digits)


def test_two_fits_with_the_same_seed_are_bitwise_identical(fitted, digits):
    codes = fitted.transform(digits)
    np.testing.assert_array_equal(clone(fitted).fit(digits).transform(digits), codes)
    np.testing.assert_array_equal(fitted.fit(digits).transform(digits), codes)


def test_a_random_state_instance_is_advanced(autoencoder, digits, small, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    first, second = (
        small(autoencoder, random_state=rng, init="random", max_iter=3).fit(digits)
        for _ in range(2)
    )
    assert not np.array_equal(first.transform(digits), second.transform(digits))


def test_random_state_none_uses_the_global_generator_of_numpy(autoencoder, digits, small):
    codes = []
    for _ in range(2):
        np.random.seed(3)  # noqa: NPY002
        estimator = small(autoencoder, random_state=None, init="random", max_iter=3)
        codes.append(estimator.fit_transform(digits))
    np.testing.assert_array_equal(*codes)


def test_global_generators_and_threads_are_unchanged(autoencoder, digits, small):
    def state():
        return (
            random.getstate(),
            pickle.dumps(np.random.get_state()),  # noqa: NPY002
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
        )

    before = state()
    small(autoencoder).fit(digits).score(digits)
    assert state() == before


def test_fits_in_threads_equal_fits_in_turn(autoencoder, digits, small):
    threads_before = torch.get_num_threads()

    def codes(seed):
        estimator = small(autoencoder, random_state=seed, init="random", max_iter=3)
        return estimator.fit_transform(digits)

    in_turn = [codes(seed) for seed in range(2)]
    in_threads = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(codes)(seed) for seed in range(2)
    )
    for one, other in zip(in_turn, in_threads, strict=True):
        np.testing.assert_array_equal(one, other)
    assert torch.get_num_threads() == threads_before


@pytest.mark.parametrize(
    ("autoencoder", "mode"),
    covering(WITHOUT_TARGETS, [torch.no_grad, torch.inference_mode]),
    indirect=["autoencoder"],
)
def test_no_grad_and_inference_mode_change_nothing(fitted, digits, mode):
    expected = fitted.transform(digits)
    with mode():
        np.testing.assert_array_equal(fitted.fit_transform(digits), expected)


def test_a_refused_fit_sets_no_attribute(autoencoder, digits, small):
    estimator = small(autoencoder, image_shape=(3, 3))
    with pytest.raises(ValueError, match="`image_shape` must have n_features = 64 pixels"):
        estimator.fit(digits)
    with pytest.raises(NotFittedError):
        estimator.transform(digits)
    assert set(vars(estimator)) == set(estimator.get_params())


def test_a_refused_second_fit_keeps_the_first(fitted, digits):
    codes = fitted.transform(digits)
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(np.full((20, 3), np.inf))
    np.testing.assert_array_equal(fitted.transform(digits), codes)


def test_a_subclass_with_a_constructor_of_its_own_has_the_defaults(autoencoder, digits):
    class WithConstructor(autoencoder):
        def __init__(self, max_iter=1, random_state=0):
            self.max_iter = max_iter
            self.random_state = random_state

    expected = autoencoder(max_iter=1, random_state=0).fit(digits[:60]).transform(digits)
    found = clone(WithConstructor()).fit(digits[:60]).transform(digits)
    np.testing.assert_array_equal(found, expected)
