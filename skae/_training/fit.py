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
    BFLOAT16_MIN_FLOPS,
    BLOCK_ENTRIES,
    KEPT_ENTRIES,
    inference_dtype,
    multiplies_bfloat16,
)
from .._losses.penalties import elastic_net
from .._losses.reconstruction import LOSSES
from .._nn.autoencoder import (
    Autoencoder,
    PCAPath,
    Scales,
    mlp_encoder_decoder,
    tied_encoder_decoder,
    user_encoder_decoder,
)
from .._nn.convolutional import convolutional_encoder_decoder
from .._nn.fitted import FittedAutoencoder
from .callbacks import FitCallbackContext
from .fit_data import FitData, generator
from .layerwise import Stage, stages
from .loop import (
    EpochCallback,
    History,
    Optimizer,
    TrainingConfig,
    by_autograd,
    train,
    train_epoch,
    warmup_inverse_sqrt,
)
from .manual_backward import ManualGradient, has_manual_backward
from .pca import PrincipalComponents
from .result import FitResult, finalize_fit
from .rotation import CodeMoments


def fit_size(
    estimator,
    data: FitData,
    config: TrainingConfig,
    start: PrincipalComponents,
    callbacks: FitCallbackContext,
    before: FittedAutoencoder | None = None,
) -> FitResult:
    """Train a network with a code of the size of `start`, and put its codes in order."""
    fitted = untrained(estimator, data, start, config) if before is None else copy.deepcopy(before)
    # The baseline, also where the network has no linear path, or an older one.
    pca = _linear_path(data, start, active=True)
    if _solved(estimator, start):
        return finalize_fit(estimator, data, fitted, pca, History([], [], 0, False, False))
    network = _float32_copy(fitted.network, data)

    def finish(network: Autoencoder, history: History) -> FitResult:
        history = _in_units_of_X(history, estimator, data)
        trained = fitted.with_nets_of(network).eval()
        trained.to(data.device, inference_dtype(data.X.dtype, data.device))
        estimator._settle(trained, data)
        return finalize_fit(estimator, data, trained, pca, history)

    def learned(weights: dict[str, Tensor], history: History) -> dict[str, Any]:
        trained = copy.deepcopy(network)
        trained.load_state_dict(weights)
        return estimator._fitted(data, finish(trained, history))

    callback = callbacks.epochs(lambda loss: estimator._in_units_of_X(loss, data), learned)
    history = _train(estimator, data, config, network, callback)
    if history.diverged and history.best_epoch == 0 and not estimator._starts_at_pca:
        raise ValueError(diverged(estimator))
    return finish(network, history)


def _train(
    estimator, data: FitData, config: TrainingConfig, network: Autoencoder, callback: EpochCallback
) -> History:
    """Train a network on the task's rows, in place."""
    order = generator(data.seeds.order)
    with _modules_own_chance(estimator, data):
        history = train(
            network,
            _gradient(estimator, data, network, config.batch_size, config.n_steps(len(data.train))),
            lambda: _held_out_errors(estimator, data, network),
            lambda: data.train[torch.randperm(len(data.train), generator=order).to(data.device)],
            config,
            data.group.callback(callback),
        )
    data.group.broadcast_module(network)  # a user's modules may hold statistics of their own rows
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
    data: FitData,
    config: TrainingConfig,
    fitted: FittedAutoencoder,
    seen: CodeMoments | None,
    optimizer_state: dict | None,
) -> tuple[FitResult, dict]:
    """One pass over all rows; `seen` and `optimizer_state` come from the passes before it."""
    network = _float32_copy(fitted.network, data)
    unit = _held_out_errors(estimator, data, network).mean().item() or 1.0
    optimizer = Optimizer(network, config.solver, warmup_inverse_sqrt(config.learning_rate), unit)
    if optimizer_state:
        optimizer.load_state_dict(optimizer_state)
    order = torch.randperm(len(data.rows), generator=generator(data.seeds.order)).to(data.device)
    with _modules_own_chance(estimator, data):
        gradient = _gradient(estimator, data, network, config.batch_size)
        loss = train_epoch(optimizer, gradient, order, config.batch_size)
    if not np.isfinite(loss):
        raise ValueError(diverged(estimator))
    state = optimizer.state_dict()
    optimizer.release()
    data.group.broadcast_module(network)
    fitted = fitted.with_nets_of(network)
    history = _in_units_of_X(History([loss], [], 1, False, False), estimator, data)
    return finalize_fit(estimator, data, fitted, fitted.network.linear, history, seen), state


def diverged(estimator) -> str:
    """What to tell the user when the loss was not finite."""
    return (
        "The loss stopped being finite: `learning_rate_init` = "
        f"{estimator.learning_rate_init} is too large for this data; try a tenth of it."
    )


def untrained(
    estimator, data: FitData, start: PrincipalComponents, config: TrainingConfig | None = None
) -> FittedAutoencoder:
    """A new network, which is PCA as yet, in float64; with a `plan` for it, pretrained."""
    network = _make_core(estimator, data, start, config)
    estimator._equip(network, data)
    shift, size = torch.from_numpy(data.shift), estimator._code_size(start)
    return estimator._codec(network, shift, data.scale, size)


def _float32_copy(network: Autoencoder, data: FitData) -> Autoencoder:
    network = copy.deepcopy(network).to(data.device, torch.float32)
    network.reach.fill_(torch.inf)  # no row is far while it is learned from
    network.group = data.group
    data.group.broadcast_module(network)
    return network


def _make_core(
    estimator, data: FitData, start: PrincipalComponents, config: TrainingConfig | None
) -> Autoencoder:
    """The network in its own units."""
    images = estimator.image_shape is not None
    dense = estimator.network is None and not estimator.tied_weights and not images
    whitening = start.whitening if dense and estimator.hidden_layer_sizes else None
    # One scale for all inputs where a kernel meets every pixel, or a component every column.
    scales = _scales(estimator, data, start, one_for_all=images or whitening is not None)
    linear = _linear_path(data, start, active=estimator._starts_at_pca)
    pair = _pair(estimator, data, start, whitening)
    if estimator.pretraining is not None and config is not None:
        outputs = torch.from_numpy(_sizes_of_rows(estimator, data))
        link = LOSSES[estimator.loss].link
        _pretrain(estimator, data, config, stages(pair, linear.mean, scales.inputs, outputs, link))
    return estimator._assemble(*pair, linear, scales, data)


def _scales(estimator, data: FitData, start: PrincipalComponents, *, one_for_all: bool) -> Scales:
    """The natural sizes of what enters and leaves the network."""
    unit, deviation = data.moments.rms_std / data.scale, data.moments.std / data.scale
    inputs = np.full_like(deviation, 1 / unit) if one_for_all else _inverse(deviation)
    code_std = delta_scale = np.ones(estimator._code_size(start))
    outputs = _sizes_of_rows(estimator, data)
    if estimator._starts_at_pca:
        code_std, residual = start.code_std * unit, start.residual_std * unit
        # The nonlinear part begins within what PCA leaves over: steps the size of the data would
        # first have to find back to where PCA already is.
        delta_scale = np.minimum(code_std, np.linalg.norm(residual))
        outputs = residual if LOSSES[estimator.loss].degree else outputs
    return Scales(*map(torch.from_numpy, (inputs, _inverse(code_std), delta_scale, outputs)))


def _sizes_of_rows(estimator, data: FitData) -> np.ndarray:
    """Deviations of the raw rows; logits and log-rates are of order one."""
    deviation = data.moments.std / data.scale
    return deviation if LOSSES[estimator.loss].degree else np.ones_like(deviation)


def _pair(
    estimator, data: FitData, start: PrincipalComponents, whitening: np.ndarray | None
) -> tuple[Module, Module]:
    """The encoder and the decoder that the parameters ask for."""
    n_components, n_features = estimator._code_size(start), start.directions.shape[1]
    sizes = (n_features, *estimator.hidden_layer_sizes, n_components)
    shared = {"residual_to_pca": estimator._starts_at_pca, "n_heads": estimator._n_heads}
    seed, activation = data.seeds.weights, estimator.activation
    if estimator.network is not None:
        return user_encoder_decoder(estimator.network, n_features, n_components, seed, **shared)
    if estimator.image_shape is not None:
        return convolutional_encoder_decoder(
            estimator.image_shape,
            estimator.hidden_layer_sizes,
            n_components,
            activation,
            generator(seed),
            tied=estimator.tied_weights,
            **shared,
        )
    if estimator.tied_weights:
        return tied_encoder_decoder(sizes, activation, generator(seed), **shared)
    shared["gate"] = estimator.pretraining is not None
    white = None if whitening is None else torch.from_numpy(whitening)
    return mlp_encoder_decoder(sizes, activation, generator(seed), whitening=white, **shared)


def _pretrain(estimator, data: FitData, config: TrainingConfig, stages: Iterable[Stage]) -> None:
    """Train the new layers of each stage, while those outside them stay as they are."""
    for depth, (stage, new) in enumerate(stages, 1):
        estimator._equip(stage, data)
        stage.requires_grad_(False)
        new.requires_grad_()
        network = _float32_copy(stage, data)
        history = _train(estimator, data, config, network, EpochCallback())
        if history.interrupted:
            raise KeyboardInterrupt
        if estimator.verbose:
            error = estimator._in_units_of_X(min(history.validation), data)
            estimator._print(f"layer {depth}: held-out loss {error:.6g}")
        with torch.no_grad():
            for ours, trained in zip(stage.parameters(), network.parameters(), strict=True):
                ours.copy_(trained)
        stage.requires_grad_()


def _linear_path(data: FitData, start: PrincipalComponents, *, active: bool) -> PCAPath:
    mean = (data.moments.mean - data.shift) / data.scale
    directions = torch.from_numpy(start.directions.copy())
    return PCAPath(torch.from_numpy(mean), directions, active=active)


def _inverse(deviation: np.ndarray) -> np.ndarray:
    """1 / deviation, and 0 for what does not vary."""
    return np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)


def _gradient(
    estimator, data: FitData, network: Autoencoder, batch_size: int, n_steps: float = 0
) -> Callable[[Tensor], Tensor]:
    """The mean objective at some rows, wherever these are; its gradient is left in the network."""
    return data.rows.over_ranks(
        network, _own_gradient(estimator, data, network, batch_size, n_steps)
    )


def _own_gradient(
    estimator, data: FitData, network: Autoencoder, batch_size: int, n_steps: float
) -> Callable[[Tensor], Tensor]:
    """The same over those of the rows that are here; written out for the squared error alone."""
    squared_error = estimator._only_reconstructs and estimator.loss == "squared_error"
    dtype = _dtype_of_layers(estimator, data, network, batch_size)
    if squared_error and not estimator.alpha and has_manual_backward(network):
        noise = data.rng(data.device)

        def batch(index: Tensor) -> tuple[Tensor, Tensor]:
            x = data.rows.take(index)
            return estimator._shown(network, x, noise), x

        return ManualGradient(network, batch, dtype, _kept_as_shown(estimator, data, network))
    return by_autograd(_objective(estimator, data, network, n_steps, dtype))


def _kept_as_shown(estimator, data: FitData, network: Autoencoder) -> Tensor | None:
    """All rows, if they are kept, few, and no noise is added to them."""
    kept = data.rows.kept
    if kept is None or kept.numel() > KEPT_ENTRIES:  # an accelerator also keeps many
        return None
    some = kept[:1]  # a corruption of nothing gives the rows themselves
    return kept if estimator._shown(network, some, data.rng(data.device)) is some else None


def _dtype_of_layers(
    estimator, data: FitData, network: Autoencoder, batch_size: int
) -> torch.dtype:
    """What the layers compute in during training; "auto" takes bfloat16 where it is quicker."""
    if estimator.precision != "auto":
        return getattr(torch, estimator.precision)
    n_components = len(network.scales.codes)
    large = estimator._flops_per_row(data.X, n_components) * batch_size >= BFLOAT16_MIN_FLOPS
    # Not a user's modules, nor an objective that asks more than to come back: they may not bear it.
    bears_it = estimator._only_reconstructs and estimator.network is None
    quicker = large and bears_it and data.device.type == "cpu" and multiplies_bfloat16()
    return torch.bfloat16 if quicker else torch.float32


def _objective(
    estimator, data: FitData, network: Autoencoder, n_steps: float, dtype: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """The loss of each row at an index, plus the penalty on the weights; called once a step."""
    steps = count()
    noise = data.rng(data.device)
    weights = [p for p in network.parameters() if p.ndim > 1]
    rounded = dtype != torch.float32

    def objective(index: Tensor) -> Tensor:
        network.progress = next(steps) / n_steps if n_steps else 1.0
        with torch.autocast(data.device.type, dtype) if rounded else nullcontext():
            loss = estimator._loss(network, data.rows.take(index), noise)
        if estimator.alpha:
            loss = loss + elastic_net(weights, estimator.alpha, estimator.l1_ratio)
        return loss

    return objective


@contextmanager
def _modules_own_chance(estimator, data: FitData) -> Iterator[None]:
    """Lend torch's global generator, seeded, to a user's modules (dropout); ours never touch it."""
    devices = [data.device] if data.device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=estimator.network is not None):
        if estimator.network is not None:
            torch.manual_seed(data.seeds.noise + data.group.rank)
        yield


def _held_out_errors(estimator, data: FitData, network: Autoencoder) -> Tensor:
    """The objective for each held-out row, under the same noise each time."""
    network.eval()
    noise, rows = data.rng(data.device), data.held_out_rows
    own, start = torch.empty(len(rows.here(data.held_out)), device=data.device), 0
    with torch.no_grad():
        for index in data.held_out.split(max(BLOCK_ENTRIES // data.X.shape[1], 1)):
            if n_here := len(rows.here(index)):
                own[start : start + n_here] = estimator._loss(network, rows.take(index), noise)
                start += n_here
    network.train()
    return rows.gathered(data.held_out, [own])


def _in_units_of_X(history: History, estimator, data: FitData) -> History:
    return history._replace(
        training=[estimator._in_units_of_X(loss, data) for loss in history.training],
        validation=[estimator._in_units_of_X(error, data) for error in history.validation],
    )
