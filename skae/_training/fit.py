"""One fit from rows to a trained network with ordered codes: building, training, concluding.

Reads an estimator's parameters and its `_loss`; sets nothing on it.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from .._data.dataset import (
    BLOCK_ENTRIES,
    KEPT_ENTRIES,
    WORTH_BFLOAT16,
    inference_dtype,
    multiplies_bfloat16,
)
from .._losses.penalties import elastic_net
from .._losses.reconstruction import LOSSES
from .._nn.autoencoder import Autoencoder, LinearPath, Scales, dense_pair, own_pair, tied_pair
from .._nn.convolutional import convolutional_pair
from .._nn.fitted import Codec
from .callbacks import Watch
from .fit_data import Task, generator
from .layerwise import Stage, stages
from .loop import (
    History,
    Observer,
    Plan,
    Stepper,
    by_autograd,
    rise_and_fade,
    train,
    train_epoch,
)
from .manual_backward import WrittenOut, can_write_out
from .pca import PrincipalComponents
from .result import Outcome, conclude
from .rotation import CodeMoments


def fit_size(
    estimator,
    task: Task,
    plan: Plan,
    start: PrincipalComponents,
    watch: Watch,
    before: Codec | None = None,
) -> Outcome:
    """Train a network with a code of the size of `start`, and put its codes in order."""
    codec = untrained(estimator, task, start, plan) if before is None else copy.deepcopy(before)
    # The baseline, also where the network has no linear path, or an older one.
    pca = _linear_path(task, start, active=True)
    if _solved(estimator, start):
        return conclude(estimator, task, codec, pca, History([], [], 0, False, False))
    core = _float32_copy(codec.core, task)

    def finish(core: Autoencoder, history: History) -> Outcome:
        history = _in_units_of_X(history, estimator, task)
        trained = codec.with_nets_of(core).eval()
        trained.to(task.device, inference_dtype(task.X.dtype, task.device))
        estimator._settle(trained, task)
        return conclude(estimator, task, trained, pca, history)

    def learned(weights: dict[str, Tensor], history: History) -> dict[str, Any]:
        trained = copy.deepcopy(core)
        trained.load_state_dict(weights)
        return estimator._fitted(task, finish(trained, history))

    observer = watch.epochs(lambda loss: estimator._in_units_of_X(loss, task), learned)
    history = _train(estimator, task, plan, core, observer)
    if history.diverged and history.best_epoch == 0 and not estimator._starts_at_pca:
        raise ValueError(diverged(estimator))
    return finish(core, history)


def _train(estimator, task: Task, plan: Plan, core: Autoencoder, observer: Observer) -> History:
    """Train a network on the task's rows, in place."""
    order = generator(task.seeds.order)
    with _modules_own_chance(estimator, task):
        history = train(
            core,
            _gradient(estimator, task, core, plan.batch_size, plan.n_steps(len(task.train))),
            lambda: _held_out_errors(estimator, task, core),
            lambda: task.train[torch.randperm(len(task.train), generator=order).to(task.device)],
            plan,
            task.ranks.observer(observer),
        )
    task.ranks.unify(core)  # a user's modules may hold statistics of their own rows
    return history


def _solved(estimator, start: PrincipalComponents) -> bool:
    """Whether PCA is the optimum already, so that there is nothing to train."""
    linear = estimator.network is None and not estimator.hidden_layer_sizes  # images too
    return (
        estimator._is_plain
        and estimator.loss == "squared_error"
        and estimator._starts_at_pca
        and start.complete
        and (start.is_exact or (linear and not estimator.alpha))
    )


def continue_training(
    estimator,
    task: Task,
    plan: Plan,
    codec: Codec,
    seen: CodeMoments | None,
    optimizer_state: dict | None,
) -> tuple[Outcome, dict]:
    """One pass over all rows; `seen` and `optimizer_state` come from the passes before it."""
    core = _float32_copy(codec.core, task)
    unit = _held_out_errors(estimator, task, core).mean().item() or 1.0
    stepper = Stepper(core, plan.solver, rise_and_fade(plan.learning_rate), unit)
    if optimizer_state:
        stepper.load_state_dict(optimizer_state)
    order = torch.randperm(len(task.rows), generator=generator(task.seeds.order)).to(task.device)
    with _modules_own_chance(estimator, task):
        gradient = _gradient(estimator, task, core, plan.batch_size)
        loss = train_epoch(stepper, gradient, order, plan.batch_size)
    if not np.isfinite(loss):
        raise ValueError(diverged(estimator))
    state = stepper.state_dict()
    stepper.release()
    task.ranks.unify(core)
    codec = codec.with_nets_of(core)
    history = _in_units_of_X(History([loss], [], 1, False, False), estimator, task)
    return conclude(estimator, task, codec, codec.core.linear, history, seen), state


def diverged(estimator) -> str:
    """What to tell the user when the loss was not finite."""
    return (
        "The loss stopped being finite: `learning_rate_init` = "
        f"{estimator.learning_rate_init} is too large for this data; try a tenth of it."
    )


def untrained(estimator, task: Task, start: PrincipalComponents, plan: Plan | None = None) -> Codec:
    """A new network, which is PCA as yet, in float64; with a `plan` for it, pretrained."""
    core = _make_core(estimator, task, start, plan)
    estimator._equip(core, task)
    shift, size = torch.from_numpy(task.shift), estimator._code_size(start)
    return estimator._codec(core, shift, task.scale, size)


def _float32_copy(core: Autoencoder, task: Task) -> Autoencoder:
    core = copy.deepcopy(core).to(task.device, torch.float32)
    core.reach.fill_(torch.inf)  # no row is far while it is learned from
    core.ranks = task.ranks
    task.ranks.unify(core)
    return core


def _make_core(estimator, task: Task, start: PrincipalComponents, plan: Plan | None) -> Autoencoder:
    """The network in its own units."""
    images = estimator.image_shape is not None
    dense = estimator.network is None and not estimator.tied_weights and not images
    whitening = start.whitening if dense and estimator.hidden_layer_sizes else None
    # One scale for all inputs where a kernel meets every pixel, or a component every column.
    scales = _scales(estimator, task, start, one_for_all=images or whitening is not None)
    linear = _linear_path(task, start, active=estimator._starts_at_pca)
    pair = _pair(estimator, task, start, whitening)
    if estimator.pretraining is not None and plan is not None:
        outputs = torch.from_numpy(_sizes_of_rows(estimator, task))
        link = LOSSES[estimator.loss].link
        _pretrain(estimator, task, plan, stages(pair, linear.mean, scales.inputs, outputs, link))
    return estimator._assemble(*pair, linear, scales, task)


def _scales(estimator, task: Task, start: PrincipalComponents, *, one_for_all: bool) -> Scales:
    """The natural sizes of what enters and leaves the network."""
    unit, deviation = task.moments.spread / task.scale, task.moments.deviation / task.scale
    inputs = np.full_like(deviation, 1 / unit) if one_for_all else _inverse(deviation)
    code_deviation = code_step = np.ones(estimator._code_size(start))
    outputs = _sizes_of_rows(estimator, task)
    if estimator._starts_at_pca:
        code_deviation, residual = start.code_deviation * unit, start.residual_deviation * unit
        # The nonlinear part begins within what PCA leaves over: steps the size of the data would
        # first have to find back to where PCA already is.
        code_step = np.minimum(code_deviation, np.linalg.norm(residual))
        outputs = residual if LOSSES[estimator.loss].degree else outputs
    return Scales(*map(torch.from_numpy, (inputs, _inverse(code_deviation), code_step, outputs)))


def _sizes_of_rows(estimator, task: Task) -> np.ndarray:
    """Deviations of the raw rows; logits and log-rates are of order one."""
    deviation = task.moments.deviation / task.scale
    return deviation if LOSSES[estimator.loss].degree else np.ones_like(deviation)


def _pair(
    estimator, task: Task, start: PrincipalComponents, whitening: np.ndarray | None
) -> tuple[Module, Module]:
    """The encoder and the decoder that the parameters ask for."""
    n_components, n_features = estimator._code_size(start), start.directions.shape[1]
    sizes = (n_features, *estimator.hidden_layer_sizes, n_components)
    shared = {"beside_pca": estimator._starts_at_pca, "n_heads": estimator._n_heads}
    seed, activation = task.seeds.weights, estimator.activation
    if estimator.network is not None:
        return own_pair(estimator.network, n_features, n_components, seed, **shared)
    if estimator.image_shape is not None:
        return convolutional_pair(
            estimator.image_shape,
            estimator.hidden_layer_sizes,
            n_components,
            activation,
            generator(seed),
            tied=estimator.tied_weights,
            **shared,
        )
    if estimator.tied_weights:
        return tied_pair(sizes, activation, generator(seed), **shared)
    shared["gate"] = estimator.pretraining is not None
    white = None if whitening is None else torch.from_numpy(whitening)
    return dense_pair(sizes, activation, generator(seed), whitening=white, **shared)


def _pretrain(estimator, task: Task, plan: Plan, stages: Iterable[Stage]) -> None:
    """Train the new layers of each stage, while those outside them stay as they are."""
    for depth, (stage, new) in enumerate(stages, 1):
        estimator._equip(stage, task)
        stage.requires_grad_(False)
        new.requires_grad_()
        core = _float32_copy(stage, task)
        history = _train(estimator, task, plan, core, Observer())
        if history.interrupted:
            raise KeyboardInterrupt
        if estimator.verbose:
            error = estimator._in_units_of_X(min(history.validation), task)
            estimator._print(f"layer {depth}: held-out loss {error:.6g}")
        with torch.no_grad():
            for ours, trained in zip(stage.parameters(), core.parameters(), strict=True):
                ours.copy_(trained)
        stage.requires_grad_()


def _linear_path(task: Task, start: PrincipalComponents, *, active: bool) -> LinearPath:
    mean = (task.moments.mean - task.shift) / task.scale
    directions = torch.from_numpy(start.directions.copy())
    return LinearPath(torch.from_numpy(mean), directions, active=active)


def _inverse(deviation: np.ndarray) -> np.ndarray:
    """1 / deviation, and 0 for what does not vary."""
    return np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)


def _gradient(
    estimator, task: Task, core: Autoencoder, batch_size: int, n_steps: float = 0
) -> Callable[[Tensor], Tensor]:
    """The mean objective at some rows, wherever these are; its gradient is left in the network."""
    return task.rows.over_ranks(core, _own_gradient(estimator, task, core, batch_size, n_steps))


def _own_gradient(
    estimator, task: Task, core: Autoencoder, batch_size: int, n_steps: float
) -> Callable[[Tensor], Tensor]:
    """The same over those of the rows that are here; written out for the squared error alone."""
    squared_error = estimator._only_reconstructs and estimator.loss == "squared_error"
    dtype = _dtype_of_layers(estimator, task, core, batch_size)
    if squared_error and not estimator.alpha and can_write_out(core):
        noise = task.noise(task.device)

        def batch(index: Tensor) -> tuple[Tensor, Tensor]:
            x = task.rows.take(index)
            return estimator._shown(core, x, noise), x

        return WrittenOut(core, batch, dtype, _kept_as_shown(estimator, task, core))
    return by_autograd(_objective(estimator, task, core, n_steps, dtype))


def _kept_as_shown(estimator, task: Task, core: Autoencoder) -> Tensor | None:
    """All rows, if they are kept, few, and no noise is added to them."""
    kept = task.rows.kept
    if kept is None or kept.numel() > KEPT_ENTRIES:  # an accelerator also keeps many
        return None
    some = kept[:1]  # a corruption of nothing gives the rows themselves
    return kept if estimator._shown(core, some, task.noise(task.device)) is some else None


def _dtype_of_layers(estimator, task: Task, core: Autoencoder, batch_size: int) -> torch.dtype:
    """What the layers compute in during training; "auto" takes bfloat16 where it is quicker."""
    if estimator.precision != "auto":
        return getattr(torch, estimator.precision)
    n_components = len(core.scales.codes)
    large = estimator._multiply_adds(task.X, n_components) * batch_size >= WORTH_BFLOAT16
    # Not a user's modules, nor an objective that asks more than to come back: they may not bear it.
    bears_it = estimator._only_reconstructs and estimator.network is None
    quicker = large and bears_it and task.device.type == "cpu" and multiplies_bfloat16()
    return torch.bfloat16 if quicker else torch.float32


def _objective(
    estimator, task: Task, core: Autoencoder, n_steps: float, dtype: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """The loss of each row at an index, plus the penalty on the weights; called once a step."""
    steps = count()
    noise = task.noise(task.device)
    weights = [p for p in core.parameters() if p.ndim > 1]
    rounded = dtype != torch.float32

    def objective(index: Tensor) -> Tensor:
        core.progress = next(steps) / n_steps if n_steps else 1.0
        with torch.autocast(task.device.type, dtype) if rounded else nullcontext():
            loss = estimator._loss(core, task.rows.take(index), noise)
        if estimator.alpha:
            loss = loss + elastic_net(weights, estimator.alpha, estimator.l1_ratio)
        return loss

    return objective


@contextmanager
def _modules_own_chance(estimator, task: Task) -> Iterator[None]:
    """Lend torch's global generator, seeded, to a user's modules (dropout); ours never touch it."""
    devices = [task.device] if task.device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=estimator.network is not None):
        if estimator.network is not None:
            torch.manual_seed(task.seeds.noise + task.ranks.rank)
        yield


def _held_out_errors(estimator, task: Task, core: Autoencoder) -> Tensor:
    """The objective for each held-out row, under the same noise each time."""
    core.eval()
    noise, rows = task.noise(task.device), task.held_out_rows
    own, start = torch.empty(len(rows.here(task.held_out)), device=task.device), 0
    with torch.no_grad():
        for index in task.held_out.split(max(BLOCK_ENTRIES // task.X.shape[1], 1)):
            if n_here := len(rows.here(index)):
                own[start : start + n_here] = estimator._loss(core, rows.take(index), noise)
                start += n_here
    core.train()
    return rows.gathered(task.held_out, [own])


def _in_units_of_X(history: History, estimator, task: Task) -> History:
    return history._replace(
        training=[estimator._in_units_of_X(loss, task) for loss in history.training],
        validation=[estimator._in_units_of_X(error, task) for error in history.validation],
    )
