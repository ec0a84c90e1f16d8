"""Autoencoders whose encoder predicts near which of several fixed codes a row is."""

import torch
from torch import Tensor, nn

from .autoencoder import reciprocal
from .custom_layers import SoftClip
from .landmark_layer import LandmarkLayer
from .predicting import RetainingAutoencoder


class LandmarkAutoencoder(RetainingAutoencoder):
    """An autoencoder whose encoder ends with a `LandmarkLayer`, once landmarks are added.

    A projection of a row minimises the loss of its reconstruction plus the squared change of the
    code since the encoder, in standard deviations, times `code_weight`.
    """

    code_weight: Tensor  # one number

    @property
    def head(self) -> LandmarkLayer | None:
        """The last layer of the encoder; None before landmarks are added."""
        *_, last = self.encoder.children()
        return last if isinstance(last, LandmarkLayer) else None

    def add_landmarks(self, landmarks: Tensor, code_weight: float) -> None:
        """Insert a `LandmarkLayer` before the last dense layer; `landmarks` are codes."""
        layers = list(self.encoder.children())
        dense = [(i, layer) for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
        position, last = dense[-1]
        offset = [layer for layer in layers[position:] if not isinstance(layer, SoftClip)]
        scaled = (landmarks * reciprocal(self.scales.delta_scale)).to(last.weight)
        head = LandmarkLayer(scaled, nn.Sequential(*offset), last.in_features)
        self.encoder = nn.Sequential(*layers[:position], head.to(scaled))
        self.register_buffer("code_weight", scaled.new_tensor(code_weight))

    def encode_with_probabilities(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The codes, and the log-probabilities of the landmarks."""
        *layers, head = self.encoder.children()
        assert isinstance(head, LandmarkLayer)
        centred = torch.nan_to_num(x - self.pca_path.mean)
        hidden = nn.Sequential(*layers)(centred * self.scales.inverse_input_scale)
        delta_code, log_probabilities = head.predict(hidden)
        return self.complete_code(centred, delta_code), log_probabilities

    def pca_factor(self) -> Tensor | None:
        """The factor of PCA's code in that of the encoder, one number; None if it is one."""
        return None if (head := self.head) is None else head.pca_factor

    def leave_pca(self) -> None:
        """Leave PCA's code out of that of the encoder: from the first step of training on."""
        assert self.head is not None
        self.head.pca_factor.zero_()

    def shrink(self, factor: float) -> None:
        """Scale the difference from PCA."""
        super().shrink(factor)
        if self.head is not None:
            self.head.pca_factor.sub_(1).mul_(factor).add_(1)

    def retained_functions(self) -> Tensor | None:
        """Functions whose squared changes are those of the code, (k, k)."""
        if self.head is None or not self.code_weight:
            return None
        return torch.diag(self.scales.inverse_code_scale * self.code_weight.sqrt())
