"""A trained autoencoder as its user sees it."""

import copy
from typing import Any, Self, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

# So many entries are decoded at once to find the directions.
DECODED = 2**18


class FittedAutoencoder(nn.Module):
    """A trained autoencoder as the user sees it: rows and codes in the units of `X`."""

    network: Any  # has `encode`, `decode` and `distance`
    shift: Tensor  # (n_features,)
    scale: Tensor  # one number

    def __init__(self, network: nn.Module, shift: Tensor, scale: float, n_components: int):
        super().__init__()
        self.network = network
        self.n_components = n_components
        self.register_buffer("shift", shift)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def encode(self, x: Tensor) -> Tensor:
        """Rows (n_samples, n_features) in the units of `X` to codes (n_samples, n_components)."""
        return self.from_core(self.network.encode((x - self.shift) / self.scale))

    def from_core(self, code: Tensor) -> Tensor:
        """Codes of the core as the user sees them."""
        return code * self.scale

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows; for squared and absolute error these are in the units of `X`."""
        return self.shift + self.scale * self.network.decode(code / self.scale)

    def distance(self, code: Tensor) -> Tensor:
        """How far codes lie from those of the mean row, in standard deviations; (n_samples, 1)."""
        return self.network.distance(code / self.scale)

    def with_nets_of(self, network: Any) -> Self:
        """A copy with trained nets; what is not trained keeps its precision."""
        fitted = copy.deepcopy(self)
        fitted.network.encoder, fitted.network.decoder = network.encoder, network.decoder
        return fitted

    def decoder_jacobian(self) -> Tensor:
        """How `decode` moves with each code, at the code zero; (n_components, n_features)."""
        # Rows are decoded one by one: pulling feature j back through row j gives the Jacobian.
        columns = []
        for feature in torch.arange(len(self.shift)).split(max(DECODED // len(self.shift), 1)):
            code = self.shift.new_zeros(len(feature), self.n_components, requires_grad=True)
            pulled = self.decode(code)[torch.arange(len(feature)), feature].sum()
            columns.append(torch.autograd.grad(pulled, code)[0])
        return torch.cat(columns).T


class RotatedAutoencoder(FittedAutoencoder):
    """One whose codes are in order, in the units of its core until that is changed.

    The change of basis that orders the codes is one linear map on either side of the code; it
    undoes itself, so reconstructions do not depend on it.
    """

    centre: Tensor  # (n_components,)
    to_ordered: Tensor  # (n_components, n_components)
    to_core: Tensor  # its inverse

    def __init__(self, network: nn.Module, shift: Tensor, scale: float, n_components: int):
        super().__init__(network, shift, scale, n_components)
        self.register_buffer("centre", torch.zeros(n_components, dtype=torch.float64))
        self.register_buffer("to_ordered", torch.eye(n_components, dtype=torch.float64))
        self.register_buffer("to_core", torch.eye(n_components, dtype=torch.float64))

    def from_core(self, code: Tensor) -> Tensor:
        """Codes of the core as the user sees them."""
        return (code - self.centre) @ self.to_ordered

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows; for squared and absolute error these are in the units of `X`."""
        return self.shift + self.scale * self.network.decode(code @ self.to_core + self.centre)

    def distance(self, code: Tensor) -> Tensor:
        """How far codes lie from those of the mean row, in standard deviations; (n_samples, 1)."""
        return self.network.distance(code @ self.to_core + self.centre)

    def change_basis(self, centre: np.ndarray, matrix: np.ndarray) -> None:
        """From now on the code is `(today's code - centre) @ matrix`."""
        moved = torch.from_numpy(centre).to(self.centre)
        turn = torch.from_numpy(matrix).to(self.centre)
        self.centre += moved @ self.to_core
        self.to_ordered = self.to_ordered @ turn
        self.to_core = torch.linalg.inv(turn) @ self.to_core


# Copies live as long as their original and are no part of it: neither pickled nor copied.
_COPIES: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()

Trained = TypeVar("Trained", bound=nn.Module)  # a module with a `scale`


def computing(trained: Trained, dtype: torch.dtype, device: torch.device) -> Trained:
    """The trained module in `dtype` on `device`: itself if it is that, else a copy made once."""
    if (trained.scale.dtype, trained.scale.device) == (dtype, device):
        return trained
    copied = cast(Trained | None, _COPIES.get(trained))
    if copied is None or (copied.scale.dtype, copied.scale.device) != (dtype, device):
        copied = _COPIES[trained] = copy.deepcopy(trained).to(device, dtype)
    return copied
