"""The networks: a linear path that starts as PCA, beside a nonlinear one that starts at zero."""

import copy
from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def mlp(sizes: tuple[int, ...], activation: str, generator: Generator) -> nn.Sequential:
    """A chain of dense layers of these sizes, the activation between each two."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [_dense(n_in, n_out, generator), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def _dense(n_in: int, n_out: int, generator: Generator) -> nn.Linear:
    # skip_init, because nn.Linear would draw from torch's global generator.
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
    nn.init.normal_(layer.weight, std=n_in**-0.5, generator=generator)
    # Biases spread the kinks of the hidden units over the range of standardised inputs.
    nn.init.normal_(layer.bias, std=0.3, generator=generator)
    return layer


def dense_pair(
    sizes: tuple[int, ...], activation: str, generator: Generator, *, starts_at_zero: bool
) -> tuple[nn.Module, nn.Module]:
    """An encoder of these layer sizes and the decoder that mirrors it."""
    pair = mlp(sizes, activation, generator), mlp(sizes[::-1], activation, generator)
    for net in pair:
        nn.init.zeros_(net[-1].bias)
        if starts_at_zero:
            nn.init.zeros_(net[-1].weight)
    return pair


def gated_pair(
    network: Callable[[int, int], tuple[nn.Module, nn.Module]],
    n_features: int,
    n_components: int,
    seed: int,
) -> tuple[nn.Module, nn.Module]:
    """The user's encoder and decoder, silent at the start."""
    # Only here: modules that are not ours can draw from nothing but torch's global generator.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pair = network(n_features, n_components)
    if not (isinstance(pair, tuple) and [isinstance(m, nn.Module) for m in pair] == [True, True]):
        raise TypeError(f"`network` must return two torch modules, encoder and decoder, got {pair!r}.")
    encoder, decoder = pair
    for name, module, n_in, n_out in [
        ("encoder", encoder, n_features, n_components),
        ("decoder", decoder, n_components, n_features),
    ]:
        _check_shape(name, module, n_in, n_out)
    return Gated(encoder, n_components), Gated(decoder, n_features)


class Gated(nn.Module):
    """Any module times a learned gate for each output, zero at the start (as in ReZero)."""

    def __init__(self, module: nn.Module, n_outputs: int):
        super().__init__()
        self.module = module
        self.gate = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.gate * self.module(x)


def _check_shape(name: str, module: nn.Module, n_in: int, n_out: int) -> None:
    wanted = f"`network` must return modules that keep rows: its {name} must take (n, {n_in}) to "
    try:
        with torch.no_grad():
            shape = tuple(copy.deepcopy(module).eval()(torch.zeros(2, n_in)).shape)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"{wanted}(n, {n_out}), but it raised: {error}") from error
    if shape != (2, n_out):
        raise ValueError(f"{wanted}(n, {n_out}), got {shape} for 2 rows.")


class LinearPath(nn.Module):
    """PCA: the fixed linear map to the code and back. Where it is not active it is silent."""

    def __init__(self, mean: Tensor, components: Tensor, *, active: bool):
        super().__init__()
        self.register_buffer("mean", mean)  # (n_features,)
        self.register_buffer("components", components)  # (n_components, n_features)
        self.active = active

    def encode(self, centred: Tensor) -> Tensor | float:
        """Its share of the code; `centred` is `x - mean`."""
        return centred @ self.components.T if self.active else 0.0

    def decode(self, code: Tensor) -> Tensor:
        """Its share of the reconstruction."""
        return torch.addmm(self.mean, code, self.components) if self.active else self.mean

    def reconstruct(self, x: Tensor) -> Tensor:
        """What PCA alone makes of rows, active or not; NaN counts as the mean."""
        centred = torch.nan_to_num(x - self.mean)
        return torch.addmm(self.mean, centred @ self.components.T, self.components)


class Scales(nn.Module):
    """The natural size of what enters and leaves the nonlinear path, so that it learns at order one.

    `inputs`: 1 / standard deviation of each feature; `codes`: 1 / standard deviation of each
    principal component; `code_step`: how far the nonlinear part may first move each code;
    `outputs`: what PCA leaves unexplained of each feature, as a standard deviation.
    """

    def __init__(self, inputs: Tensor, codes: Tensor, code_step: Tensor, outputs: Tensor):
        super().__init__()
        self.register_buffer("inputs", inputs)
        self.register_buffer("codes", codes)
        self.register_buffer("code_step", code_step)
        self.register_buffer("outputs", outputs)


class Autoencoder(nn.Module):
    """code = V (x - mean) + g(x);  raw = link(mean + V' code) + f(code).

    With g = f = 0, where training starts, this is PCA.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        linear: LinearPath,
        scales: Scales,
        link: Callable[[Tensor], Tensor],
    ):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.linear, self.scales, self.link = linear, scales, link

    def encode(self, x: Tensor) -> Tensor:
        # NaN is "not observed": the network sees the mean there.
        centred = torch.nan_to_num(x - self.linear.mean)
        step = self.encoder(centred * self.scales.inputs)
        return self.linear.encode(centred) + self.scales.code_step * step

    def decode(self, code: Tensor) -> Tensor:
        step = self.decoder(code * self.scales.codes)
        return self.link(self.linear.decode(code)) + self.scales.outputs * step


class Codec(nn.Module):
    """A trained autoencoder as the user sees it: rows in the units of `X`, codes in order.

    The change of basis that orders the codes is one linear map on either side of the code; it
    undoes itself, so reconstructions do not depend on it.
    """

    def __init__(self, core: nn.Module, shift: Tensor, scale: float, n_components: int):
        super().__init__()
        self.core = core
        self.register_buffer("shift", shift)  # (n_features,)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.register_buffer("centre", torch.zeros(n_components, dtype=torch.float64))
        self.register_buffer("to_ordered", torch.eye(n_components, dtype=torch.float64))
        self.register_buffer("to_core", torch.eye(n_components, dtype=torch.float64))

    def encode(self, x: Tensor) -> Tensor:
        """Rows (n_samples, n_features) in the units of `X` to codes (n_samples, n_components)."""
        return (self.core.encode((x - self.shift) / self.scale) - self.centre) @ self.to_ordered

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows; for squared and absolute error these are in the units of `X`."""
        return self.shift + self.scale * self.core.decode(code @ self.to_core + self.centre)

    def with_nets_of(self, core: "Autoencoder") -> "Codec":
        """A copy with trained nets; what is not trained keeps its precision."""
        codec = copy.deepcopy(self)
        codec.core.encoder, codec.core.decoder = core.encoder, core.decoder
        return codec

    def change_basis(self, centre: np.ndarray, matrix: np.ndarray) -> None:
        """From now on the code is `(today's code - centre) @ matrix`."""
        tensor = torch.from_numpy(centre).to(self.centre)
        turn = torch.from_numpy(matrix).to(self.centre)
        self.centre += tensor @ self.to_core
        self.to_ordered = self.to_ordered @ turn
        self.to_core = torch.linalg.inv(turn) @ self.to_core

    def directions(self) -> Tensor:
        """How `decode` moves with each code, at the mean code; (n_components, n_features)."""
        # Rows are decoded one by one: pulling feature j back through row j gives the Jacobian.
        columns = []
        for feature in torch.arange(len(self.shift)).split(512):
            code = self.to_core.new_zeros(len(feature), len(self.to_core), requires_grad=True)
            pulled = self.decode(code)[torch.arange(len(feature)), feature].sum()
            columns.append(torch.autograd.grad(pulled, code)[0])
        return torch.cat(columns).T


class PackedModule(NamedTuple):
    """A module as a skeleton without memory and its tensors as arrays: equal modules, equal bytes."""

    skeleton: nn.Module
    arrays: dict[str, np.ndarray]

    @classmethod
    def of(cls, module: nn.Module) -> "PackedModule":
        """Pack a module, wherever it is."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in _tensors(module)}
        return cls(copy.deepcopy(module).to("meta"), arrays)

    def unpack(self) -> nn.Module:
        """The module again, on the host."""
        module = copy.deepcopy(self.skeleton).to_empty(device="cpu")
        for name, tensor in _tensors(module):
            # A copy: the array may be memory-mapped and read-only.
            tensor.copy_(torch.from_numpy(self.arrays[name].copy()))
        return module


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        yield name, tensor.detach()


def in_dtype(codec: Codec, dtype: torch.dtype) -> Codec:
    """The codec computing in `dtype`: itself if it does already, else a copy."""
    return codec if codec.scale.dtype == dtype else copy.deepcopy(codec).to(dtype)
