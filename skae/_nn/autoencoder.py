"""The networks: a linear path that starts as PCA, beside a nonlinear one that starts at zero."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class Whitening(nn.Module):
    """A fixed map to the leading principal components, each nearly in units of its deviation.

    An optimiser with one step size for each weight is quicker in these coordinates, and the first
    dense layer, most of the work for wide rows, becomes small.
    """

    matrix: Tensor  # (n_features, n_whitened)

    def __init__(self, matrix: Tensor):
        super().__init__()
        self.register_buffer("matrix", matrix.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Whiten centred rows."""
        return x @ self.matrix


class SoftClip(nn.Module):
    """The identity up to `limit`, a logarithm beyond."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        """SoftClip each entry."""
        beyond = nn.functional.softshrink(x, self.limit)
        # Not by `abs` and `copysign`: second derivatives would add up zeros of theirs in a way for
        # which torch imports its compiler, and that takes seconds.
        sign = beyond.detach().sign()
        return torch.addcmul(x - beyond, sign, (sign * beyond).log1p())


# In raw data single rows lie 10 or 50 standard deviations out, and there a network goes on at the
# slope of its last data: some unseen rows came back hundreds of times worse than from PCA. A cut at
# two also prevents that, but loses what tells such rows apart.
INPUT_LIMIT = 2.0
# Beside PCA, the encoder moves a code by what PCA leaves over (see `Scales`), and seldom by more:
# a free one learned to move codes along features that were missing in the rows it learned from.
STEP_LIMIT = 1.0


def mlp(
    sizes: tuple[int, ...], activation: str, generator: Generator, output_gain: float = 1.0
) -> nn.Sequential:
    """A chain of dense layers of these sizes, the activation between each two.

    Without a hidden layer it is linear; else it takes tamed inputs. A gain of zero makes an output
    of zero, whatever comes in, until it learns.
    """
    *hidden, n_out = sizes
    layers: list[nn.Module] = [SoftClip(INPUT_LIMIT)] if len(sizes) > 2 else []
    for n_in, n_units in pairwise(hidden):
        # Biases spread the bends of the hidden units over the range of standardised inputs.
        layers += [dense(n_in, n_units, generator, 1.0, 0.3), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, dense(hidden[-1], n_out, generator, output_gain, 0.0))


def dense(n_in: int, n_out: int, generator: Generator, gain: float, bias: float) -> nn.Linear:
    """A dense layer with random weights."""
    layer = skip_init(nn.Linear, n_in, n_out)
    nn.init.normal_(layer.weight, std=gain * n_in**-0.5, generator=generator)
    nn.init.normal_(layer.bias, std=bias, generator=generator)
    return layer


def skip_init(kind: Callable[..., Layer], *sizes: int, **options: Any) -> Layer:
    """A layer of torch whose parameters are memory that is not yet filled.

    Filling it would draw from torch's global generator. `torch.nn.utils.skip_init` does the same,
    but imports SymPy for it, which takes longer than most fits.
    """
    layer = kind(*sizes, **options, device="meta")
    for name, announced in list(layer.named_parameters()):
        neighbors = torch.empty(announced.shape, dtype=announced.dtype, device="cpu")
        layer.register_parameter(name, nn.Parameter(neighbors))
    return layer


def mlp_encoder_decoder(
    sizes: tuple[int, ...],
    activation: str,
    generator: Generator,
    *,
    residual_to_pca: bool,
    whitening: Tensor | None = None,
    n_heads: int = 1,
    gate: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """An encoder of these layer sizes and the decoder that mirrors it; silent beside PCA.

    With a `whitening`, (n_features, n_whitened), the encoder reads rows through it. It has
    `n_heads` outputs for each component. With `gate` gates are what silences it, and not weights
    of zero, so that all weights can be trained before.
    """
    gain = 0.0 if residual_to_pca and not gate else 1.0
    read = sizes[0] if whitening is None else whitening.shape[1]
    encoder = mlp((read, *sizes[1:-1], n_heads * sizes[-1]), activation, generator, gain)
    decoder = mlp(sizes[::-1], activation, generator, gain)
    if residual_to_pca and gate:
        gated(encoder, n_heads * sizes[-1], decoder, sizes[0])
    elif residual_to_pca and len(sizes) > 2:
        encoder.append(SoftClip(STEP_LIMIT))
    if whitening is not None:
        encoder.insert(0, Whitening(whitening))
    return encoder, decoder


class Transposed(nn.Module):
    """A dense layer whose matrix is that of another, transposed: the same memory."""

    def __init__(self, other: nn.Linear):
        super().__init__()
        # In a tuple: as a submodule its parameters would be listed, saved and moved twice.
        self._other = (other,)
        self.bias = nn.Parameter(torch.zeros(other.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transposed matrix and a bias of its own; leading rows, if `x` has fewer."""
        return nn.functional.linear(x, self._other[0].weight[: x.shape[1]].t(), self.bias)


def tied_encoder_decoder(
    sizes: tuple[int, ...],
    activation: str,
    generator: Generator,
    *,
    residual_to_pca: bool,
    n_heads: int = 1,
) -> tuple[nn.Module, nn.Module]:
    """An encoder of these layer sizes, and the decoder of its matrices transposed."""
    encoder = mlp((*sizes[:-1], n_heads * sizes[-1]), activation, generator)
    layers: list[nn.Module] = [SoftClip(INPUT_LIMIT)] if len(sizes) > 2 else []
    for layer in reversed([layer for layer in encoder if isinstance(layer, nn.Linear)]):
        layers += [Transposed(layer), ACTIVATIONS[activation]()]
    decoder = nn.Sequential(*layers[:-1])
    if not residual_to_pca:
        return encoder, decoder
    return gated(encoder, n_heads * sizes[-1], decoder, sizes[0])


def user_encoder_decoder(
    network: Callable[[int, int], tuple[nn.Module, nn.Module]],
    n_features: int,
    n_components: int,
    seed: int,
    *,
    residual_to_pca: bool,
    n_heads: int = 1,
) -> tuple[nn.Module, nn.Module]:
    """The user's own encoder and decoder; silent beside PCA."""
    # Only here: modules that are not ours can draw from nothing but torch's global generator.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pair = network(n_features, n_components)
    if not (isinstance(pair, tuple) and [isinstance(m, nn.Module) for m in pair] == [True, True]):
        raise TypeError(
            f"`network` must return two torch modules, encoder and decoder, got {pair!r}."
        )
    _check_shape("encoder", pair[0], n_features, n_heads * n_components)
    _check_shape("decoder", pair[1], n_components, n_features)
    if not residual_to_pca:
        return pair
    encoder, decoder = (nn.Sequential(SoftClip(INPUT_LIMIT), module) for module in pair)
    return gated(encoder, n_heads * n_components, decoder, n_features)


def gated(
    encoder: nn.Sequential, n_components: int, decoder: nn.Sequential, n_features: int
) -> tuple[nn.Module, nn.Module]:
    """The pair made silent beside PCA, where a last layer of zeros is not to be had."""
    encoder.extend([LayerScale(n_components), SoftClip(STEP_LIMIT)])
    return encoder, decoder.append(LayerScale(n_features))


class LayerScale(nn.Module):
    """A learned factor for each output, which starts at zero."""

    def __init__(self, n_outputs: int):
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Let each output through as far as has been learned."""
        return self.factor * x


def _check_shape(name: str, module: nn.Module, n_in: int, n_out: int) -> None:
    wanted = f"`network` must return modules that keep rows: its {name} must take (n, {n_in}) to "
    try:
        with torch.no_grad():
            shape = tuple(copy.deepcopy(module).eval()(torch.zeros(2, n_in)).shape)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"{wanted}(n, {n_out}), but it raised: {error}") from error
    if shape != (2, n_out):
        raise ValueError(f"{wanted}(n, {n_out}), got {shape} for 2 rows.")


def _own_precision(device_type: str) -> AbstractContextManager:
    """Out of a low precision that is on; to turn off what is off takes as long as a small layer."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


class PCAPath(nn.Module):
    """PCA: the fixed linear map to the code and back. Where it is not active it is silent.

    Its precision is its own, whatever the nets beside it are trained in: a mean that is rounded to
    1 has no logit.
    """

    mean: Tensor  # (n_features,)
    components: Tensor  # (n_components, n_features)

    def __init__(self, mean: Tensor, components: Tensor, *, active: bool):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.active = active

    def encode(self, centred: Tensor) -> Tensor | float:
        """Give its share of the code; `centred` is `x - mean`."""
        if not self.active:
            return 0.0
        with _own_precision(centred.device.type):
            return centred @ self.components.mT

    def decode(self, code: Tensor) -> Tensor:
        """Give its share of the reconstruction."""
        if not self.active:
            return self.mean
        times = torch.addmm if code.ndim == 2 else torch.baddbmm
        with _own_precision(code.device.type):
            return times(self.mean, code, self.components)

    def reconstruct(self, x: Tensor) -> Tensor:
        """What PCA alone makes of rows, active or not; NaN counts as the mean."""
        centred = torch.nan_to_num(x - self.mean)
        return torch.addmm(self.mean, centred @ self.components.T, self.components)


class Scales(nn.Module):
    """The natural size of what enters and leaves the nonlinear path, which learns at order one."""

    inputs: Tensor  # (n_features,): 1 / standard deviation
    codes: Tensor  # (n_components,): 1 / standard deviation of the principal component
    delta_scale: Tensor  # (n_components,): how far the nonlinear part may first move a code
    outputs: Tensor  # (n_features,): standard deviation of what PCA leaves unexplained

    def __init__(self, inputs: Tensor, codes: Tensor, delta_scale: Tensor, outputs: Tensor):
        super().__init__()
        self.register_buffer("inputs", inputs)
        self.register_buffer("codes", codes)
        self.register_buffer("delta_scale", delta_scale)
        self.register_buffer("outputs", outputs)


def reciprocal(sizes: Tensor) -> Tensor:
    """1 / size, and 0 for what has no size: from `Scales` to deviations, and back."""
    return torch.where(sizes > 0, 1 / sizes, 0.0)


class Autoencoder(nn.Module):
    """code = V (x - mean) + g(x);  raw = link(mean + V' code) + f(code).

    With g = f = 0, where training starts, this is PCA. And it is PCA again for codes far from all
    those that it was trained on: f fades out between once and twice the `reach` of the latter.
    """

    linear: PCAPath
    scales: Scales
    reach: Tensor  # the largest `distance` of a training row; infinite during training
    progress = 1.0  # the share of the planned steps that are done, for objectives with a schedule
    group: Any = None  # who trains it together; for objectives that know of the whole batch

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        linear: PCAPath,
        scales: Scales,
        link: Callable[[Tensor], Tensor],
    ):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.linear, self.scales, self.link = linear, scales, link
        self.register_buffer("reach", torch.tensor(torch.inf))

    def encode(self, x: Tensor) -> Tensor:
        """Rows in the network's units to codes, (n_samples, n_components)."""
        # NaN is "not observed": the network sees the mean there.
        centred = torch.nan_to_num(x - self.linear.mean)
        step = self.encoder(centred * self.scales.inputs)
        return self.linear.encode(centred) + self.scales.delta_scale * step

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows, (n_samples, n_features)."""
        fade = (2 - self.distance(code) / self.reach).clamp(0, 1)
        step = self.decoder(code * self.scales.codes) * fade
        return self.link(self.linear.decode(code)) + self.scales.outputs * step

    def distance(self, code: Tensor) -> Tensor:
        """How far codes lie from the mean code, in standard deviations; (n_samples, 1)."""
        return torch.linalg.vector_norm(code * self.scales.codes, dim=1, keepdim=True)
