"""Subclasses that define a method `_loss`, as before version 0.2."""

import numpy as np
import pytest

from skae import AutoencoderTransformer
from skae.base import Objective


class Shrinkage(Objective):
    def per_row(self, network, x, rng):
        code = network.encode(x)
        return (network.decode(code) - x).square().sum(1) + code.square().sum(1)


def test_a_method_loss_is_the_objective_with_a_warning(digits, small):
    with pytest.warns(FutureWarning, match=r"`WithMethod._loss` is deprecated"):

        class WithMethod(AutoencoderTransformer):
            def _loss(self, network, x, noise):
                code = network.encode(x)
                reconstruction_loss = self._reconstruction.loss(network.decode(code), x)
                return reconstruction_loss + code.square().sum(1)

    class WithObjective(AutoencoderTransformer):
        def _objective(self, data):
            return Shrinkage()

    with_method, with_objective = (small(cls).fit(digits) for cls in (WithMethod, WithObjective))
    np.testing.assert_array_equal(with_method.transform(digits), with_objective.transform(digits))
    assert with_method.validation_curve_ == with_objective.validation_curve_


def test_a_class_with_an_objective_ignores_the_method(digits, small):
    class WithBoth(AutoencoderTransformer):
        def _loss(self, network, x, noise):
            raise AssertionError

        def _objective(self, data):
            return Shrinkage()

    assert small(WithBoth).fit(digits).n_iter_ > 0
