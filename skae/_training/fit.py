"""One fit: from an initial network to a trained one, in one call or one pass at a time."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import rows_of_block
from .._data.device import BFLOAT16_MIN_FLOPS, has_bfloat16_instructions
from .._data.threads import threads_for
from .._nn.autoencoder import Autoencoder, PCAPath
from .._nn.copying import copy_module
from .._nn.fitted import FittedAutoencoder
from .._nn.precision import precision
from .callbacks import FitCallbackContext
from .fit_data import FitData, generator
from .initialization import (
    Initialization,
    NetworkParameters,
    NetworkParts,
    flops_per_row,
    make_parts,
    make_pca_path,
    raw_stds,
)
from .layerwise import stages
from .loop import (
    EpochCallback,
    History,
    Stage,
    divergence_message,
    loss_scale_of,
    train,
    train_epoch,
)
from .objective import Gradient, Objective, Regularized, TrainingSource, losses_of_rows
from .optimizer import USUAL_EPSILON, Optimizer, warmup_inverse_sqrt
from .pca import PrincipalComponents
from .result import FitResult, TrainedNetwork
from .row_space import FeatureSpace, training_space

# The share of the epochs in the second stage, if there are two.
LAST_STAGE = 0.1
# For a few rows, an evaluation at projected codes takes as long as three to five steps.
MIN_STEPS_EVALUATED = 40


class _Start(NamedTuple):
    """A network before training, and the space in which it is trained."""

    fitted: FittedAutoencoder
    space: FeatureSpace
    network: Autoencoder  # the copy in float32, for rows in this space, that is trained

    @classmethod
    def of(cls, fitted: FittedAutoencoder, data: FitData) -> Self:
        space = training_space(fitted.network, data)
        return cls(fitted, space, training_copy(space.reduce(fitted.network), data))

    def held_out_errors(self) -> Tensor:
        return _held_out_errors(self.network, self.space.data)


def train_autoencoder(
    initialize: Callable[[FitData], Initialization],
    n_components: int,
    parameters: NetworkParameters,
    data: FitData,
    callbacks: FitCallbackContext,
    summarize: Callable[[TrainedNetwork], FitResult],
) -> FitResult:
    """Train a network until the held-out error stops falling.

    `initialize` returns the network before training for some data, from whose principal components
    it starts. If that is PCA, it is the PCA of the training rows alone: PCA of all rows knows the
    held-out rows, so that a comparison with it would be in its favour.
    """
    from_pca = parameters._starts_from_pca(data)
    own = data.without_held_out(n_components) if from_pca else None
    initial = initialize(own or data)
    if initial.is_optimal:
        initial = initialize(data) if own else initial
        data.objective.calibrate(initial.fitted, data)
        return summarize(TrainedNetwork(initial.fitted, initial.pca, History([], [], 0)))
    start, pca, baseline = _Start.of(initial.fitted, data), initial.pca, None
    if own:
        pca = make_pca_path(data, data.principal_components(n_components), active=True)
        baseline = _errors_of_pca(pca, start, data)

    @cache
    def start_of_all_rows() -> _Start:
        # An objective may keep values of the network that it has prepared.
        of_all = replace(data, objective=copy.deepcopy(data.objective))
        return _Start.of(initialize(of_all).fitted, data)

    def finish(network: Autoencoder, history: History) -> FitResult:
        fitted, space = start.fitted, start.space
        if own and not history.best_epoch:
            fitted, space, unchanged = start_of_all_rows()
            network = copy_module(unchanged)  # its layers become those of the result
        trained = fitted.with_trained_layers(space.expand(network)).eval()
        trained.network.shrink(history.shrinkage)
        trained.to(data.device, precision(trained, data.X.dtype, data.device))
        data.objective.calibrate(trained, data)
        history = _in_data_units(history, data)
        return summarize(space.measured(TrainedNetwork(trained, pca, history), network))

    def result_with(weights: dict[str, Tensor], history: History) -> FitResult:
        trained = copy_module(start.network)
        trained.load_state_dict(weights)
        return finish(trained, history)

    callback, network = callbacks.epochs(data, result_with), start.network
    history = train_network(network, parameters, start.space.data, callback, baseline)
    if history.diverged and history.best_epoch == 0 and not network.pca_path.active:
        rate, finite_before = data.config.learning_rate, history.finite_before
        raise ValueError(divergence_message(rate, finite_before=finite_before))
    return finish(network, history)


def _errors_of_pca(pca: PCAPath, start: _Start, data: FitData) -> Tensor:
    """The held-out errors that PCA of all rows would have if it did not know these rows.

    The errors of n rows that PCA knows, and of new rows, differ from their common limit by about
    the same multiple of 1 / n, in opposite directions. The held-out rows are new to the PCA of the
    training rows, from which training starts, and known to that of all rows. From both errors
    follow those of rows that are new to the latter.
    """
    fitted = copy_module(start.fitted)
    fitted.network.pca_path = pca
    errors_of_known = _Start.of(fitted, data).held_out_errors()
    n_train, n_rows = len(data.train), len(data.train) + len(data.held_out)
    share = (n_rows - n_train) / (n_rows + n_train)
    return torch.lerp(start.held_out_errors(), errors_of_known, share)


def search_size(
    fit_size: Callable[[int, FitCallbackContext], FitResult],
    data: FitData,
    share: float,
    callbacks: FitCallbackContext,
) -> FitResult:
    """The smallest code that explains the share of variance, by bisection over complete fits.

    The largest size that is tried is that of PCA, which is sufficient.
    """
    enough = len(data.principal_components(share).components)
    too_small, found = 0, None
    while found is None or enough - too_small > 1:
        # PCA's size is known to be enough, so it is fitted last, if at all.
        size = enough if enough - too_small == 1 else (too_small + enough) // 2
        subcontext = callbacks.subcontext(size)
        result = fit_size(size, subcontext)
        subcontext.end(fitted=False)
        if result.history.interrupted:
            return result
        if data.config.verbose:
            print(f"n_components={size}: score {result.codes.score:.4f}")
        if result.codes.score >= share or size == enough:
            enough, found = size, result
        else:
            too_small = size
    return found


def train_network(
    network: Autoencoder,
    parameters: NetworkParameters,
    data: FitData,
    callback: EpochCallback,
    baseline: Tensor | None = None,
) -> History:
    """Train a network on the training rows, in place.

    `baseline` are the held-out errors that are to be improved, by default those before training.
    """
    order, config = generator(data.seeds.order), data.config
    if network.n_projection_steps:
        config = config._replace(min_steps_evaluated=MIN_STEPS_EVALUATED)
    if data.fitted is not None:
        config = config._replace(epsilon=USUAL_EPSILON)
    # In the coordinates of few wide rows a step may need one thread, and the fit more.
    threads = threads_for(_flops_of_step(network, parameters, data))
    with threads, _global_rng_for_user_modules(parameters, data):
        history = train(
            network,
            _stages(network, parameters, data),
            partial(_held_out_errors, network, data),
            data.objective.acceptance(network),
            partial(data.epoch, order),
            config,
            data.group.callback(callback),
            baseline,
        )
    data.group.broadcast_module(network)  # a user's modules may have statistics of their own rows
    return history


def continue_training(
    fitted: FittedAutoencoder,
    parameters: NetworkParameters,
    data: FitData,
    optimizer_state: dict[str, Any] | None,
) -> tuple[FittedAutoencoder, History, dict[str, Any]]:
    """One pass over all rows; `optimizer_state` comes from the pass before it."""
    network = training_copy(fitted.network, data)
    initial_error = _held_out_errors(network, data).mean().item()
    loss_scale = loss_scale_of(initial_error)
    schedule = warmup_inverse_sqrt(data.config.learning_rate)
    solver = data.config.solver
    optimizer = Optimizer(network, solver, schedule, loss_scale, epsilon=USUAL_EPSILON)
    if optimizer_state:
        optimizer.load_state_dict(optimizer_state)
    order = data.epoch(generator(data.seeds.order))
    with _global_rng_for_user_modules(parameters, data):
        objective = data.objective.stages(network)[-1]
        gradient = _gradient(network, parameters, data, objective, n_steps=0)
        loss = train_epoch(optimizer, gradient, order, data.config.batch_size)
    if not np.isfinite(loss):
        rate, finite_before = data.config.learning_rate, bool(np.isfinite(initial_error))
        raise ValueError(divergence_message(rate, finite_before=finite_before))
    state = optimizer.state_dict()
    optimizer.release()
    data.group.broadcast_module(network)
    history = _in_data_units(History([loss], [], 1), data)
    return fitted.with_trained_layers(network), history, state


def network_parts(
    parameters: NetworkParameters,
    data: FitData,
    pca: PrincipalComponents,
    n_components: int,
    *,
    residual_to_pca: bool,
    n_heads: int = 1,
    clipped: bool = True,
) -> NetworkParts:
    """The parts of a new network, as by `make_parts`; pretrained if `pretraining` is not None."""
    parts = make_parts(
        parameters,
        data,
        pca,
        n_components,
        residual_to_pca=residual_to_pca,
        n_heads=n_heads,
        clipped=clipped,
    )
    if parameters.pretraining is not None:
        pretrain(parts, parameters, data)
    return parts


def pretrain(parts: NetworkParts, parameters: NetworkParameters, data: FitData) -> None:
    """Train the hidden layers one after the other, outermost first, in place.

    The layers outside the new ones stay as they are.
    """
    outputs = torch.from_numpy(raw_stds(data))
    pair, mean = (parts.encoder, parts.decoder), parts.pca_path.mean
    stages_of_pair = stages(pair, mean, parts.scales.inverse_input_scale, outputs, data.loss.link)
    for depth, (stage, new) in enumerate(stages_of_pair, 1):
        data.objective.prepare_network(stage, data)
        stage.requires_grad_(False)
        new.requires_grad_()
        network = training_copy(stage, data)
        history = train_network(network, parameters, data, EpochCallback())
        if history.interrupted:
            raise KeyboardInterrupt
        if data.config.verbose:
            error = data.objective.to_data_units(min(history.validation), data)
            print(f"layer {depth}: held-out loss {error:.6g}")
        with torch.no_grad():
            for ours, trained in zip(stage.parameters(), network.parameters(), strict=True):
                ours.copy_(trained)
        stage.requires_grad_()


def training_copy(network: Autoencoder, data: FitData) -> Autoencoder:
    """A copy in float32 on the device, whose decoder treats no code as far from the others."""
    network = copy_module(network).to(data.device, torch.float32)
    network.max_train_distance.fill_(torch.inf)
    network.group = data.group
    data.group.broadcast_module(network)
    return network


def _stages(network: Autoencoder, parameters: NetworkParameters, data: FitData) -> list[Stage]:
    """The epochs of each stage of the objective."""
    n_epochs, n_steps = data.config.max_epochs, data.config.n_steps(len(data.train))
    objectives = data.objective.stages(network)[-n_epochs:]
    n_last = max(round(LAST_STAGE * n_epochs), 1) if len(objectives) > 1 else n_epochs
    sizes = [n_epochs - n_last, n_last][-len(objectives) :]
    return [
        Stage(size, _gradient(network, parameters, data, objective, n_steps))
        for size, objective in zip(sizes, objectives, strict=True)
    ]


def _gradient(
    network: Autoencoder,
    parameters: NetworkParameters,
    data: FitData,
    objective: Objective,
    n_steps: int,
) -> Gradient:
    """The gradient of an objective over the rows of all processes, with the penalty if any."""
    config = data.config
    if config.alpha:
        objective = Regularized(objective, config.alpha, config.l1_ratio)
    dtype = _layer_dtype(network, parameters, data)
    source = TrainingSource(data.rows, data.rng(data.device), dtype, n_steps)
    return data.rows.all_reduce_gradient(network, objective.gradient(network, source))


def _layer_dtype(network: Autoencoder, parameters: NetworkParameters, data: FitData) -> torch.dtype:
    """The precision of the layers during training; "auto" is bfloat16 where that is faster."""
    config = data.config
    if config.precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[config.precision]
    flops = _flops_of_step(network, parameters, data)
    # Only where it was measured to cost no accuracy: not for modules or objectives of a user.
    allowed = data.objective.is_reconstruction and parameters.network is None
    large = flops >= BFLOAT16_MIN_FLOPS and data.device.type == "cpu"
    return torch.bfloat16 if allowed and large and has_bfloat16_instructions() else torch.float32


def _flops_of_step(network: Autoencoder, parameters: NetworkParameters, data: FitData) -> float:
    """The multiply-adds of a step of training."""
    n_components = len(network.scales.inverse_code_scale)
    return flops_per_row(parameters, data.X.shape[1], n_components) * data.config.batch_size


@contextmanager
def _global_rng_for_user_modules(parameters: NetworkParameters, data: FitData) -> Iterator[None]:
    """Seed torch's global generator for a user's modules (dropout), and restore it afterwards."""
    devices = [data.device] if data.device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=parameters.network is not None):
        if parameters.network is not None:
            torch.manual_seed(data.seeds.noise + data.group.rank)
        yield


def _held_out_errors(network: Autoencoder, data: FitData) -> Tensor:
    """The objective for each held-out row, with the same random numbers each time.

    If the rows have weights, each value is multiplied by one, so that the mean is weighted.
    Rows of a group are not independent: if groups are held out, the sum over each group, divided by
    the mean size of a group.
    """
    network.eval()
    rng, rows, objective = data.rng(data.device), data.held_out_rows, data.objective
    own, start = torch.empty(len(rows.local_index(data.held_out)), device=data.device), 0
    with torch.no_grad():
        for index in data.held_out.split(rows_of_block(data.X.shape[1])):
            if n_here := len(rows.local_index(index)):
                losses = losses_of_rows(
                    objective.at(index, held_out=True), network, rows[index], rng
                )
                own[start : start + n_here] = losses
                start += n_here
    network.train()
    errors = rows.all_gather_values(data.held_out, own)
    if data.held_out_weights is not None:
        errors = errors * data.held_out_weights
    if data.held_out_groups is None:
        return errors
    n_groups = int(data.held_out_groups.max()) + 1
    totals = errors.new_zeros(n_groups).index_add_(0, data.held_out_groups, errors)
    return totals * (n_groups / len(errors))


def _in_data_units(history: History, data: FitData) -> History:
    def converted(losses: list[float]) -> list[float]:
        return [data.objective.to_data_units(loss, data) for loss in losses]

    return history._replace(
        training=converted(history.training), validation=converted(history.validation)
    )
