"""The objective that an estimator returns is the one that training minimises."""

import copy
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from conftest import AUTOENCODERS, RECONSTRUCTING, WITHOUT_TARGETS, covering_pairs
from fitting import make_data
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import Tensor, nn

from skae import VAE, AutoencoderTransformer, ContractiveAutoencoder, DenoisingAutoencoder
from skae._autoencoders.checks import code_size
from skae._autoencoders.plain import ProjectedReconstruction
from skae._data.dataset import ArrayDataset
from skae._losses.corruption import CORRUPTIONS
from skae._nn.sparse_activations import SPARSE_ACTIVATIONS
from skae._training.fit import _gradient, training_copy
from skae._training.manual_backward import ManualGradient, has_manual_backward
from skae._training.objective import TrainingSource
from skae.base import LOSSES, Objective, ObjectiveWrapper, Reconstruction, SquaredError


def user_network(n_features, n_components):
    """An encoder and a decoder."""
    encoder = nn.Sequential(nn.Linear(n_features, 8), nn.Tanh(), nn.Linear(8, n_components))
    return encoder, nn.Linear(n_components, n_features)


ARCHITECTURES = {
    "dense": {"hidden_layer_sizes": (16, 8)},
    "linear": {"hidden_layer_sizes": ()},
    "tied": {"hidden_layer_sizes": (16,), "tied_weights": True},
    "images": {"hidden_layer_sizes": (4,), "image_shape": (8, 8)},
    "random": {"hidden_layer_sizes": (16,), "init": "random", "activation": "tanh"},
    "layer scales": {"hidden_layer_sizes": (16,), "pretraining": "layerwise", "max_iter": 1},
    "penalised": {"hidden_layer_sizes": (16,), "alpha": 0.01, "l1_ratio": 0.5},
    "gelu": {"hidden_layer_sizes": (16,), "activation": "gelu"},
}


ACTIVATIONS = ("identity", "logistic", "relu", "silu", "tanh")


@dataclass
class Step:
    """The network before a step of training, and the gradient that the step uses."""

    estimator: object
    data: object
    network: object
    gradient: object
    index: Tensor

    def taken(self):
        """The mean loss of the batch and its gradient, as in training."""
        for parameter in self.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        loss = self.gradient(self.index)
        gradients = [p.grad for p in self.network.parameters() if p.requires_grad]
        return loss.item(), torch.cat([gradient.flatten() for gradient in gradients])

    def by_definition(self):
        """The same from the definition: autograd of the mean of `per_row`, plus the penalty."""
        network, estimator = copy.deepcopy(self.network), self.estimator
        network.progress = 0.0
        x, rng = self.data.rows[self.index], self.data.rng(self.data.device)
        objective = self.data.objective.at(self.index, held_out=False)
        loss = objective.per_row(network, x, rng).mean()
        for weights in network.parameters():
            if weights.ndim > 1:
                l1, l2 = weights.abs().sum(), weights.square().sum()
                share = estimator.l1_ratio
                loss = loss + estimator.alpha * (share * l1 + (1 - share) / 2 * l2)
        parameters = [p for p in network.parameters() if p.requires_grad]
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        zeros = map(torch.zeros_like, parameters)
        gradients = [z if g is None else g for g, z in zip(found, zeros, strict=True)]
        return loss.item(), torch.cat([gradient.flatten() for gradient in gradients])


def first_step(estimator, X, seed):
    """The first step of `fit`, from random weights: those of the start make gradients of zero."""
    data = make_data(estimator, X)
    initial = estimator._initialize(data, int(code_size(estimator, *X.shape, None)))
    network = training_copy(initial.fitted.network, data).train()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
    n_steps = data.config.n_steps(len(data.train))
    gradient = _gradient(network, estimator, data, data.objective, n_steps)
    return Step(estimator, data, network, gradient, data.train[:20])


def assert_step_is_as_defined(step):
    expected_loss, expected = copy.deepcopy(step).by_definition()
    loss, gradient = step.taken()
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    # In float32, where sums of many terms of either sign lose some of the seven digits.
    assert (gradient - expected).norm() <= 1e-4 * expected.norm()
    assert expected.norm() > 0


@pytest.fixture
def images(digits_with_gaps):
    """100 images with values in [0, 1], which every loss accepts; some values are missing."""
    return digits_with_gaps[:100] / 16


@pytest.mark.parametrize(
    ("autoencoder", "architecture", "loss"),
    # Gradients of other losses than the squared error are those of autograd.
    dict.fromkeys(
        [
            *product(WITHOUT_TARGETS, ARCHITECTURES, ["squared_error"]),
            *covering_pairs(WITHOUT_TARGETS, list(ARCHITECTURES), list(LOSSES)),
        ]
    ),
    indirect=["autoencoder"],
)
def test_the_gradient_of_a_step_is_that_of_the_objective(
    autoencoder, loss, architecture, images, small, global_random_seed
):
    estimator = small(autoencoder, 3, loss=loss, **ARCHITECTURES[architecture])
    assert_step_is_as_defined(first_step(estimator, images, global_random_seed))


def add_noise(x, rng):
    return x + torch.randn(x.shape, generator=rng)


VARIANTS = [
    *(
        (DenoisingAutoencoder, {"corruption": name, "corruption_level": 0.4})
        for name in CORRUPTIONS
    ),
    (DenoisingAutoencoder, {"corruption": add_noise}),
    (DenoisingAutoencoder, {"corruption_level": 0.0}),
    (ContractiveAutoencoder, {"contraction": 0.0}),
    (VAE, {"n_importance_samples": 3}),
    (VAE, {"kl_warmup": 0.5, "beta": 2.0}),
    (VAE, {"binarize": True, "loss": "log_loss"}),
    *((AutoencoderTransformer, {"activation": name}) for name in ACTIVATIONS),
    *((cls, {"network": user_network}) for cls in RECONSTRUCTING),
]


SPARSE = [cls for cls in AUTOENCODERS if hasattr(cls, "sparsity")]


VARIANTS += [
    (cls, {"sparsity": kind, "hidden_layer_sizes": hidden})
    for cls, kind, hidden in product(SPARSE, SPARSE_ACTIVATIONS, [(), (8,)])
]


def name_of(value):
    """The same in each process: a function is printed with its address."""
    return value.__name__ if isinstance(value, type) else str(value).partition(" at 0x")[0]


@pytest.mark.parametrize(("cls", "parameters"), VARIANTS, ids=name_of)
def test_the_gradient_of_a_step_is_that_of_the_objective_for_each_variant(
    cls, parameters, images, small, global_random_seed
):
    estimator = small(cls, 3, **parameters)
    assert_step_is_as_defined(first_step(estimator, images, global_random_seed))


def test_the_gradient_of_a_step_is_that_of_the_objective_for_wide_rows(small, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(300, 260))
    step = first_step(small(AutoencoderTransformer, 3), X, global_random_seed)
    assert isinstance(step.gradient, ManualGradient)
    assert_step_is_as_defined(step)


@pytest.mark.parametrize("cls", [AutoencoderTransformer, DenoisingAutoencoder])
@pytest.mark.parametrize(
    "parameters",
    [ARCHITECTURES[name] for name in ("dense", "linear", "random", "layer scales")],
    ids=str,
)
def test_the_gradient_is_hand_written_for_dense_networks(
    cls, parameters, images, small, global_random_seed
):
    step = first_step(small(cls, 3, **parameters), images, global_random_seed)
    assert has_manual_backward(step.network)
    assert isinstance(step.gradient, ManualGradient)
    assert_step_is_as_defined(step)


def test_rows_that_are_not_cached_have_the_same_gradient(images, small, global_random_seed):
    step = first_step(small(AutoencoderTransformer, 3), images, global_random_seed)
    data, objective = step.data, step.data.objective
    expected = copy.deepcopy(step).taken()
    assert data.rows.cached is not None
    rows = ArrayDataset(images, data.shift, data.scale, data.device)
    step.gradient = objective.gradient(
        step.network, TrainingSource(rows, data.rng(), torch.float32)
    )
    loss, gradient = step.taken()
    assert loss == pytest.approx(expected[0])
    torch.testing.assert_close(gradient, expected[1])


class Constant(Objective):
    """The distance of the reconstruction from the constant one: it has a known optimum."""

    def per_row(self, network, x, rng):
        return (network.decode(network.encode(x)) - 1).square().sum(1)


@dataclass
class ConstantReconstruction(Reconstruction):
    """The same, as a subclass of an objective with a hand-written gradient."""

    def per_row(self, network, x, rng):
        return Constant().per_row(network, x, rng)


class PerRow:
    def per_row(self, network, x, rng):
        return Constant().per_row(network, x, rng)


class ConstantByMixin(PerRow, Reconstruction):
    """The same, by a mixin."""


class ConstantLoss(SquaredError):
    """The same, as a reconstruction loss."""

    def pointwise(self, raw, x):
        return (raw - 1).square()


def subclass(cls, objective):
    """A subclass of an estimator with another objective."""
    return type("Overriding", (cls,), {"_objective": lambda self, data: objective(data)})


OVERRIDES = {
    "objective": lambda data: Constant(),
    "subclass": lambda data: ConstantReconstruction(data.loss),
    "mixin": lambda data: ConstantByMixin(data.loss),
    "loss": lambda data: Reconstruction(ConstantLoss()),
}


@pytest.mark.parametrize("override", OVERRIDES.values(), ids=OVERRIDES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # constant codes
def test_a_subclass_is_trained_on_the_objective_that_it_returns(
    autoencoder, override, digits, small
):
    # A large learning rate allows for few epochs.
    steps = {"learning_rate_init": 0.1, "max_iter": 10, "n_iter_no_change": 10}
    estimator = small(subclass(autoencoder, override), 3, init="random", **steps)
    X = digits[:, digits.std(axis=0) > 1]  # a network reconstructs constant columns by their mean
    fitted = estimator.fit(X)
    assert fitted.validation_curve_[fitted.best_iter_] < 0.1 * fitted.validation_curve_[0]
    fitted.network_.network.n_projection_steps = 0  # leads from these reconstructions to the rows
    target = fitted.mean_ + np.sqrt(X.var(axis=0).mean())
    error = np.square(fitted.reconstruct(X) - target).mean()
    assert error < 0.2 * np.square(X - target).mean()


@dataclass(eq=False, repr=False, kw_only=True)
class Weighted(AutoencoderTransformer):
    """An estimator with a field that has an ordinary default."""

    weight: float = 1.0

    def _objective(self, data):
        return Scaled(data.loss, self.weight)


@dataclass
class Scaled(Reconstruction):
    weight: float

    def per_row(self, network, x, rng):
        return self.weight * super().per_row(network, x, rng)


def test_a_field_with_an_ordinary_default_is_a_parameter(digits, small):
    estimator = small(Weighted, max_iter=2)
    assert estimator.get_params()["weight"] == 1.0
    assert clone(estimator.set_params(weight=2.0)).weight == 2.0
    search = GridSearchCV(estimator, {"weight": [1.0, 3.0]}, cv=2).fit(digits)
    assert search.best_estimator_.weight in (1.0, 3.0)


def test_the_loss_curve_is_that_of_the_objective(digits, small):
    curves = [
        np.array(small(Weighted, weight=weight, max_iter=2).fit(digits).validation_curve_)
        for weight in (1.0, 4.0)
    ]
    np.testing.assert_allclose(4 * curves[0][0], curves[1][0], rtol=1e-5)


WRONG_RESULTS = {
    "scalar": lambda losses: losses.mean(),
    "matrix": lambda losses: losses[:, None],
    "number": lambda losses: 1.0,
    "array": lambda losses: losses.detach().numpy(),
    "nothing": lambda losses: None,
}


@pytest.mark.parametrize("wrong", WRONG_RESULTS.values(), ids=WRONG_RESULTS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_anything_but_one_number_for_each_row_is_refused(wrong, method, alpha, digits, small):
    class Wrong(Objective):
        def per_row(self, network, x, rng):
            return wrong(network.encode(x).sum(1))

    class Refused(AutoencoderTransformer):
        def _objective(self, data):
            return Wrong()

    estimator = small(Refused, alpha=alpha)
    with pytest.raises(ValueError, match=r"`Wrong.per_row` must return one number for each row"):
        getattr(estimator, method)(digits)
    assert not hasattr(estimator, "network_")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda losses: losses.detach(), "must return losses that depend on the parameters"),
        (lambda losses: losses.round().long(), "must return real numbers, got dtype torch.int64"),
        (lambda losses: losses > 0, "must return real numbers, got dtype torch.bool"),
    ],
    ids=["no gradient", "integers", "booleans"],
)
def test_losses_without_a_gradient_are_refused(wrong, message, digits, small):
    class Wrong(Objective):
        def per_row(self, network, x, rng):
            return wrong(network.encode(x).square().sum(1))

    class Refused(AutoencoderTransformer):
        def _objective(self, data):
            return Wrong()

    with pytest.raises(ValueError, match=f"`Wrong.per_row` {message}"):
        small(Refused).fit(digits)


@pytest.mark.parametrize("wrong", [None, 1.0, Constant, nn.MSELoss()], ids=name_of)
def test_anything_but_an_objective_is_refused(wrong, digits, small):
    class Refused(AutoencoderTransformer):
        def _objective(self, data):
            return wrong

    with pytest.raises(TypeError, match=r"`Refused._objective` must return a skae.base.Objective"):
        small(Refused).fit(digits)


def assigned_to_the_instance(data):
    objective = Reconstruction(data.loss)
    objective.per_row = Constant().per_row
    return objective


def assigned_to_the_class(data):
    class Later(Reconstruction):
        """Its equation is assigned after the class was made."""

    Later.per_row = Constant.per_row
    return Later(data.loss)


@pytest.mark.parametrize("objective", [assigned_to_the_instance, assigned_to_the_class])
def test_an_equation_that_is_assigned_later_is_trained(objective, digits, small):
    class Assigned(AutoencoderTransformer):
        def _objective(self, data):
            return objective(data)

    class Returned(AutoencoderTransformer):
        def _objective(self, data):
            return Constant()

    assigned, returned = (small(cls).fit(digits) for cls in (Assigned, Returned))
    np.testing.assert_array_equal(assigned.loss_curve_, returned.loss_curve_)


def test_an_input_that_is_assigned_later_is_corrupted(digits, small):
    def halved(network, x, rng):
        return x / 2

    class Halved(Reconstruction):
        def network_input(self, network, x, rng):
            return halved(network, x, rng)

    def on_the_instance(data):
        objective = Reconstruction(data.loss)
        objective.network_input = halved
        return objective

    by_method = subclass(AutoencoderTransformer, lambda data: Halved(data.loss))
    by_attribute = subclass(AutoencoderTransformer, on_the_instance)
    curves = [small(cls).fit(digits).loss_curve_ for cls in (by_method, by_attribute)]
    np.testing.assert_array_equal(*curves)


WRONG_INPUTS = {
    "shape": lambda x: x[:, :3],
    "dtype": lambda x: x.double(),
    "array": lambda x: x.numpy(),
    "nothing": lambda x: None,
}


@pytest.mark.parametrize("wrong", WRONG_INPUTS.values(), ids=WRONG_INPUTS)
def test_an_input_unlike_the_batch_is_refused(wrong, digits, small):
    class Wrong(Reconstruction):
        def network_input(self, network, x, rng):
            return wrong(x)

    class Refused(AutoencoderTransformer):
        def _objective(self, data):
            return Wrong(data.loss)

    with pytest.raises(ValueError, match=r"`Wrong.network_input` must return a tensor like the"):
        small(Refused).fit(digits)


@dataclass
class Unchanged(ObjectiveWrapper):
    """Another objective, by the general way: autograd, from the first epoch on."""

    objective: Objective

    def per_row(self, network, x, rng):
        return self.objective.per_row(network, x, rng)


def test_a_wrapper_keeps_all_but_the_loss_of_an_objective(autoencoder, digits, small, monkeypatch):
    class Wrapping(autoencoder):
        def _objective(self, data):
            return Unchanged(super()._objective(data))

    X = digits[:, digits.std(axis=0) > 1]
    wrapped = small(Wrapping).fit(X)
    # The loss of a wrapper has no faster objective, so that it has one stage.
    monkeypatch.setattr(ProjectedReconstruction, "stages", Objective.stages)
    plain = small(autoencoder).fit(X)
    # The same arithmetic in another order.
    np.testing.assert_allclose(wrapped.validation_curve_, plain.validation_curve_, rtol=1e-3)
    np.testing.assert_allclose(wrapped.score(X), plain.score(X), atol=1e-3)


def test_calibrate_is_called_at_the_end_of_a_fit_even_if_pca_is_optimal(digits, small):
    calls = []

    class Calibrated(Reconstruction):
        def calibrate(self, fitted, data):
            calls.append(fitted)

    class Recorded(AutoencoderTransformer):
        def _objective(self, data):
            return Calibrated(data.loss)

    assert small(Recorded, hidden_layer_sizes=()).fit(digits).n_iter_ == 0
    assert small(Recorded, max_iter=1).fit(digits).n_iter_ == 1
    assert len(calls) == 2


def test_an_objective_knows_how_far_training_is(digits, small):
    seen = []

    class Recording(Reconstruction):
        def per_row(self, network, x, rng):
            seen.append((network.training, network.progress))
            return super().per_row(network, x, rng)

    class Recorded(AutoencoderTransformer):
        def _objective(self, data):
            return Recording(data.loss)

    small(Recorded, max_iter=3, n_iter_no_change=3).fit(digits)
    progress = [share for training, share in seen if training]
    np.testing.assert_allclose(progress, np.arange(len(progress)) / len(progress))


def test_an_override_of_the_equation_uses_autograd():
    source = TrainingSource(rows=None, rng=torch.Generator(), dtype=torch.float32)
    assert Constant().gradient(None, source).__qualname__.startswith("by_autograd")
    for cls in (ConstantReconstruction, ConstantByMixin):
        assert cls.gradient is Objective.gradient
        assert not cls(LOSSES["squared_error"]).is_reconstruction
        assert not cls(LOSSES["squared_error"]).minimised_by_pca
