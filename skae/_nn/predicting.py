"""Autoencoders whose projected codes keep what the encoder predicts, such as targets."""

import torch
from torch import Tensor, nn

from .._losses.mixed import LossPart, MixedLoss
from .._losses.reconstruction import ReconstructionLoss, SquaredError, loss_of_link
from .autoencoder import Autoencoder, PCAPath, Scales
from .mlp import skip_init


class RetainingAutoencoder(Autoencoder):
    """An autoencoder whose projection does not leave the code of the encoder far behind.

    A projection of a row minimises the loss of its reconstruction plus the squared change of some
    linear functions of the code since the encoder.
    """

    def retained_functions(self) -> Tensor | None:
        """The matrix of the functions, (k, k), for the squared error; None if there are none."""
        raise NotImplementedError

    @torch.no_grad()
    def retained(self) -> Tensor | None:
        """The matrix whose product with a code a projection changes little, (k, k)."""
        # The other losses count twice beside a squared error; see `MixedLoss`.
        doubled = type(loss_of_link(self.link)) not in (SquaredError, MixedLoss)
        functions = self.retained_functions()
        return functions * 2**0.5 if doubled and functions is not None else functions

    @torch.no_grad()
    def for_projection(self) -> Autoencoder:
        """A network whose reconstruction also has the retained products as columns."""
        if (added := self.retained()) is None:
            return self
        path, scales = self.pca_path, self.scales
        loss = _with_squared_errors(loss_of_link(self.link), len(path.mean), len(added))
        zeros = added.new_zeros(len(added))
        linear = path.components if path.active else torch.zeros_like(path.components)
        components = torch.cat([linear, added.mT], 1)
        network = Autoencoder(
            nn.Identity(),
            _with_zeros(self.decoder, len(path.mean), len(added)),
            PCAPath(torch.cat([path.mean, zeros]), components, active=True),
            Scales(
                torch.cat([scales.inverse_input_scale, zeros]),
                scales.inverse_code_scale,
                scales.delta_scale,
                torch.cat([scales.output_scale, zeros]),
            ),
            loss.link,
        )
        network.project_codes(self.n_projection_steps)
        network.starts_at_pca = False  # far from the code that is retained
        network.anchors, network.max_train_distance = self.anchors, self.max_train_distance
        return network.train(self.training)


class PredictingAutoencoder(RetainingAutoencoder):
    """An autoencoder with a linear model of targets, the head.

    A projection retains the prediction: the squared change is ``d' retention d`` with
    ``d = head(code) - head(encode(x))``.
    """

    trained_parts = (*Autoencoder.trained_parts, "head", "retention")
    head: nn.Linear  # of codes in standard deviations
    retention: Tensor  # (n_targets, n_targets)

    def retained_functions(self) -> Tensor:
        """Functions whose squared changes are those of the prediction, (k, k)."""
        slopes = self.head.weight * self.scales.inverse_code_scale
        squares, axes = torch.linalg.eigh(slopes.mT @ self.retention @ slopes)
        return squares.clamp_min(0).sqrt()[:, None] * axes.mT


def _with_squared_errors(loss: ReconstructionLoss, n: int, n_added: int) -> ReconstructionLoss:
    """The loss with more columns, of which it is the squared error."""
    if type(loss) is SquaredError:
        return loss
    parts = loss.parts if isinstance(loss, MixedLoss) else (LossPart(loss, (1.0,) * n),)
    return MixedLoss((*parts, LossPart(SquaredError(), (1.0,) * n_added)))


def _with_zeros(decoder: nn.Module, n_features: int, n_zeros: int) -> nn.Module:
    """A decoder with more outputs, which are zero."""
    *layers, last = list(decoder) if isinstance(decoder, nn.Sequential) else [decoder]
    if not isinstance(last, nn.Linear):
        layers.append(last)
        identity = skip_init(nn.Linear, n_features, n_features).to(next(decoder.parameters()))
        identity.weight.copy_(torch.eye(n_features))
        identity.bias.zero_()
        last = identity
    padded = skip_init(nn.Linear, last.in_features, n_features + n_zeros).to(last.weight)
    padded.weight.zero_()[:n_features] = last.weight
    padded.bias.zero_()
    if last.bias is not None:
        padded.bias[:n_features] = last.bias
    return nn.Sequential(*layers, padded)
