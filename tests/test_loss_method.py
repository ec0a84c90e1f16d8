"""Subclasses that define a method `_loss`, as before version 0.2."""

import numpy as np
import pytest

from skae import AutoencoderTransformer, NeighborAutoencoder
from skae._autoencoders.plain import ProjectedReconstruction
from skae.base import BaseAutoencoder, Objective


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

    # A method keeps the anchors of the class, from which a projection may start.
    with_method, with_objective = (
        small(cls, transform_max_iter=0).fit(digits) for cls in (WithMethod, WithObjective)
    )
    np.testing.assert_array_equal(with_method.transform(digits), with_objective.transform(digits))
    assert with_method.validation_curve_ == with_objective.validation_curve_


def test_a_class_with_an_objective_ignores_the_method(digits, small):
    class WithBoth(AutoencoderTransformer):
        def _loss(self, network, x, noise):
            raise AssertionError

        def _objective(self, data):
            return Shrinkage()

    assert small(WithBoth).fit(digits).n_iter_ > 0


@pytest.mark.filterwarnings("ignore:.*_loss. is deprecated:FutureWarning")
def test_a_method_can_extend_that_of_the_class(autoencoder, digits, small, monkeypatch):
    if autoencoder is NeighborAutoencoder:
        pytest.skip("the deprecated method has no positions of rows")

    class Extended(autoencoder):
        def _loss(self, network, x, noise):
            return super()._loss(network, x, noise)

    X = digits[:, digits.std(axis=0) > 1]
    extended = small(Extended).fit(X)
    # An objective of one's own has one stage.
    monkeypatch.setattr(ProjectedReconstruction, "stages", Objective.stages)
    plain = small(autoencoder).fit(X)
    # Autograd and a hand-written gradient differ in the last digits of each step.
    np.testing.assert_allclose(extended.validation_curve_, plain.validation_curve_, rtol=1e-3)


@pytest.mark.parametrize("base", [BaseAutoencoder, AutoencoderTransformer])
def test_a_method_of_a_mixin_is_the_objective(base, digits, small):
    class Mixin:
        def _loss(self, network, x, noise):
            return Shrinkage().per_row(network, x, noise)

    with pytest.warns(FutureWarning, match=r"`Mixed._loss` is deprecated") as caught:

        class Mixed(Mixin, base):
            pass

    assert caught[0].filename == __file__

    class WithObjective(base):
        def _objective(self, data):
            return Shrinkage()

    mixed, expected = (small(cls).fit(digits) for cls in (Mixed, WithObjective))
    np.testing.assert_array_equal(mixed.loss_curve_, expected.loss_curve_)


@pytest.mark.parametrize(
    "attribute", ["mse", 1.0, lambda self: 1.0], ids=["str", "float", "method"]
)
def test_another_attribute_of_that_name_is_no_objective(attribute, digits, small):
    cls = type("Named", (AutoencoderTransformer,), {"_loss": attribute})
    assert (
        small(cls).fit(digits).loss_curve_ == small(AutoencoderTransformer).fit(digits).loss_curve_
    )
