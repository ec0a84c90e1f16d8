"""The autoencoder: a fixed PCA path, and networks that are zero before training."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from .._data.process_group import SingleProcess
from .._graph.graph import Graph
from .._losses.reconstruction import loss_of_link
from .custom_layers import TransposedLinear
from .layers import layer_to_graph

# The fade of networks whose codes are projected. With widths of 1, 2, 3 and 7 the test error over
# PCA's is .17, .06, .03 and .02 on California housing (standardised, 4 components); with 7 a single
# row of spambase (raw, 2 components) at four times the distance makes it 2.5, else .73.
PROJECTED_FADE_WIDTH = 3.0

# Columns and components with a smaller standard deviation, in the network's units, are taken as
# constant: its inverse would not be finite in float32, and they do not contribute to any error.
MIN_STD = 1e-30


def full_precision(device_type: str) -> AbstractContextManager:
    """Disable autocast where it is on; a context takes as long as a small layer."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


class PCAPath(nn.Module):
    """PCA: the fixed linear map to the code and back.

    An inactive one adds only the mean. It is computed in its own precision even where the networks
    beside it are trained in a lower one: a mean that is rounded to 1 has no logit.
    """

    mean: Tensor  # (n_features,)
    components: Tensor  # (n_components, n_features)

    def __init__(self, mean: Tensor, components: Tensor, *, active: bool):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.active = active

    def encode(self, centred: Tensor) -> Tensor | float:
        """The linear part of the code; `centred` is `x - mean`."""
        if not self.active:
            return 0.0
        with full_precision(centred.device.type):
            return centred @ self.components.mT

    def decode(self, code: Tensor) -> Tensor:
        """The linear part of the reconstruction."""
        if not self.active:
            return self.mean
        multiply_add = torch.addmm if code.ndim == 2 else torch.baddbmm
        with full_precision(code.device.type):
            return multiply_add(self.mean, code, self.components)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The reconstruction by PCA alone, active or not; NaN is replaced by the mean."""
        centred = torch.nan_to_num(x - self.mean)
        return torch.addmm(self.mean, centred @ self.components.T, self.components)

    def center_graph(self, graph: Graph, x: str) -> str:
        """Add `x - mean` to a graph, with zeros for NaN."""
        centred = graph.add("Sub", x, self.mean)
        return graph.zero_where_missing(centred, centred)

    def encode_graph(self, graph: Graph, centred: str) -> str | float:
        """Add the operations of `encode` to a graph."""
        return graph.add("MatMul", centred, self.components.T) if self.active else 0.0

    def decode_graph(self, graph: Graph, code: str) -> str:
        """Add the operations of `decode` to a graph; only for an active path."""
        return graph.add("Add", graph.add("MatMul", code, self.components), self.mean)


class Scales(nn.Module):
    """Scales with which inputs and outputs of the networks are of order one."""

    inverse_input_scale: Tensor  # (n_features,): 1 / standard deviation
    inverse_code_scale: Tensor  # (n_components,): 1 / standard deviation of PCA's code
    delta_scale: Tensor  # (n_components,): unit of the change of PCA's code by the encoder
    output_scale: Tensor  # (n_features,): standard deviation of PCA's residual

    def __init__(
        self,
        inverse_input_scale: Tensor,
        inverse_code_scale: Tensor,
        delta_scale: Tensor,
        output_scale: Tensor,
    ):
        super().__init__()
        self.register_buffer("inverse_input_scale", inverse_input_scale)
        self.register_buffer("inverse_code_scale", inverse_code_scale)
        self.register_buffer("delta_scale", delta_scale)
        self.register_buffer("output_scale", output_scale)


def reciprocal(values: Tensor) -> Tensor:
    """1 / value, and 0 for nearly zero: from standard deviations to inverse scales or back."""
    return torch.where(values > MIN_STD, 1 / values, 0.0)


class DecoderForm(NamedTuple):
    """The terms of a decoder of the form that a projection needs.

    raw = link(mean + code @ components) + output_scale * fade * decoder(code * inverse_code_scale).
    """

    components: Tensor | None  # (n_components, n_features); None if the PCA path is inactive
    inverse_code_scale: Tensor  # (n_components,)
    fade: Callable[[Tensor], Tensor] | None  # of scaled codes, (n_samples, 1); None without a fade


class Autoencoder(nn.Module):
    """The network of an autoencoder: PCA plus an encoder g and a decoder f.

    The code of a row x is ``V (x - mean) + g(x)``, where V holds the principal components. The raw
    output of the decoder is ``link(mean + V' code) + f(code)``. Before training, the networks g and
    f are zero, so the autoencoder is PCA. f is multiplied by a factor that decreases to zero for
    codes whose distance from the mean code exceeds `max_train_distance`.
    """

    pca_path: PCAPath
    scales: Scales
    max_train_distance: Tensor  # the largest `distance` that is not far; infinite in training
    anchors: Tensor  # (n_anchors, n_components): codes from which a projection may start
    # What a training changes.
    trained_parts: tuple[str, ...] = ("encoder", "decoder", "anchors")
    # Gauss-Newton steps with which the code of the encoder is projected; see `projection.py`.
    n_projection_steps = 0
    # The distance over which f decreases to zero, in units of `max_train_distance`.
    fade_width = 1.0
    # Whether the code of PCA is another start of the projection.
    starts_at_pca = True
    # The fraction of the planned steps that are done; for objectives with a schedule.
    progress = 1.0
    # The processes that train it together; for objectives that depend on whole batches.
    group: SingleProcess | None = None

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        pca_path: PCAPath,
        scales: Scales,
        link: Callable[[Tensor], Tensor],
    ):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.pca_path, self.scales, self.link = pca_path, scales, link
        self.register_buffer("max_train_distance", torch.tensor(torch.inf))
        self.register_buffer("anchors", scales.inverse_code_scale[None][:0].clone())

    def encode(self, x: Tensor) -> Tensor:
        """Rows in the network's units to codes, (n_samples, n_components)."""
        # NaN means "not observed" and is replaced by the mean.
        centred = torch.nan_to_num(x - self.pca_path.mean)
        delta_code = self.encoder(centred * self.scales.inverse_input_scale)
        return self.complete_code(centred, delta_code)

    def complete_code(self, centred: Tensor, delta_code: Tensor) -> Tensor:
        """The codes of centred rows, from the output of the encoder."""
        linear = self.pca_path.encode(centred)
        if (factor := self.pca_factor()) is not None:
            linear = factor * linear
        return linear + self.scales.delta_scale * delta_code

    def pca_factor(self) -> Tensor | None:
        """The factor of PCA's code in that of the encoder, one number; None if it is one."""
        return None

    def pca_code(self, x: Tensor) -> Tensor | None:
        """The codes of PCA, if a projection may start there; None if ``init="random"``."""
        path = self.pca_path
        if not (path.active and self.starts_at_pca):
            return None
        return cast(Tensor, path.encode(torch.nan_to_num(x - path.mean)))

    def project_codes(self, n_steps: int) -> None:
        """Set the number of steps of the projection, and the limits that depend on it."""
        self.n_projection_steps = n_steps
        # A projection does not leave the row of the training data that is nearest, or PCA: the
        # networks may follow rows that are further out.
        self.fade_width = PROJECTED_FADE_WIDTH if n_steps else 1.0

    def shrink(self, factor: float) -> None:
        """Scale the outputs of the networks, which are added to those of PCA."""
        self.scales.output_scale.mul_(factor)
        self.scales.delta_scale.mul_(factor)

    def replace_anchors(self, code: Tensor) -> None:
        """Replace the oldest anchors by these codes."""
        anchors = torch.cat([code, self.anchors])[: len(self.anchors)]
        self.anchors.copy_(anchors)

    def for_projection(self) -> "Autoencoder":
        """The network whose reconstructions are the surface of the projection."""
        return self

    @torch.no_grad()
    def with_added_columns(self, x: Tensor, code: Tensor) -> Tensor:
        """Rows with the columns that this network has in addition, from the encoder's codes."""
        added = self.pca_path.components[:, x.shape[1] :]
        return torch.cat([x, code @ added], 1) if added.shape[1] else x

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows, (n_samples, n_features)."""
        scaled = code * self.scales.inverse_code_scale
        delta_raw = self.decoder(scaled) * self.fade(scaled)
        return self.link(self.pca_path.decode(code)) + self.scales.output_scale * delta_raw

    def decoder_form(self) -> DecoderForm:
        """The terms of `decode`. A subclass that overrides `decode` must override this as well."""
        components = self.pca_path.components if self.pca_path.active else None
        fade = None if self.training else self.fade  # in training the distance is infinite
        return DecoderForm(components, self.scales.inverse_code_scale, fade)

    def fade(self, scaled_code: Tensor) -> Tensor:
        """The factor of f for codes in standard deviations, (n_samples, 1)."""
        distance = torch.linalg.vector_norm(scaled_code, dim=1, keepdim=True)
        remaining = 1 + self.fade_width - distance / self.max_train_distance
        return (remaining / self.fade_width).clamp(0, 1)

    def distance(self, code: Tensor) -> Tensor:
        """Distance of codes from the mean code, in standard deviations; (n_samples, 1)."""
        return torch.linalg.vector_norm(code * self.scales.inverse_code_scale, dim=1, keepdim=True)

    def encode_graph(self, graph: Graph, x: str) -> str:
        """Add the operations of `encode` to a graph."""
        centred = self.pca_path.center_graph(graph, x)
        scaled = graph.add("Mul", centred, self.scales.inverse_input_scale)
        delta_code = layer_to_graph(graph, self.encoder, scaled)
        delta_code = graph.add("Mul", delta_code, self.scales.delta_scale)
        linear = self.pca_path.encode_graph(graph, centred)
        if (factor := self.pca_factor()) is not None:
            linear = graph.add("Mul", linear, factor)
        return graph.add("Add", linear, delta_code)

    def decode_graph(self, graph: Graph, code: str) -> str:
        """Add the operations of `decode` to a graph."""
        scaled = graph.add("Mul", code, self.scales.inverse_code_scale)
        delta_raw = self._decoder_graph(graph, scaled)
        if torch.isfinite(self.max_train_distance):
            delta_raw = graph.add("Mul", delta_raw, self.fade_graph(graph, scaled))
        return self._raw_graph(graph, code, delta_raw)

    def fade_graph(self, graph: Graph, scaled: str) -> str:
        """Add the operations of `fade` to a graph; only for a finite distance."""
        ones = np.ones((len(self.scales.inverse_code_scale), 1))
        squares = graph.add("MatMul", graph.add("Mul", scaled, scaled), ones)
        ratio = graph.add("Div", graph.add("Sqrt", squares), self.max_train_distance)
        remaining = graph.add("Sub", 1 + self.fade_width, ratio)
        return graph.add("Clip", graph.add("Div", remaining, self.fade_width), 0.0, 1.0)

    def _decoder_graph(self, graph: Graph, scaled: str) -> str:
        """Add the decoder to a graph."""
        self.set_inputs_of_tied_layers(graph)
        return layer_to_graph(graph, self.decoder, scaled)

    def set_inputs_of_tied_layers(self, graph: Graph) -> None:
        """Set the number of inputs of a decoder with `tied_weights`."""
        # A posterior's encoder has two outputs per component: a decoder is tied to the first half.
        tied = (layer for layer in self.modules() if isinstance(layer, TransposedLinear))
        graph.n_inputs |= {layer: len(self.scales.inverse_code_scale) for layer in islice(tied, 1)}

    def _raw_graph(self, graph: Graph, pca_code: str, delta_raw: str) -> str:
        """Add the raw output to a graph: the linked PCA path plus the decoder's part."""
        path, scaled = self.pca_path, graph.add("Mul", delta_raw, self.scales.output_scale)
        if not path.active:
            return graph.add("Add", self.link(path.mean), scaled)
        linear = loss_of_link(self.link).link_graph(graph, path.decode_graph(graph, pca_code))
        return graph.add("Add", linear, scaled)
