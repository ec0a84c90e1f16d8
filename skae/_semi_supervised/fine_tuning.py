"""Training of an encoder and a softmax on its codes with class labels."""

import copy
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import compute_class_weight
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .._autoencoders.base import BaseAutoencoder
from .._data.dataset import Dataset, row_blocks
from .._data.device import as_array
from .._data.rows import naming
from .._data.torch_defaults import with_torch_defaults
from .._nn.autoencoder import Autoencoder, Scales, reciprocal
from .._nn.custom_layers import SoftClip
from .._nn.fitted import FittedAutoencoder, RotatedAutoencoder
from .._nn.mlp import INPUT_LIMIT, skip_init
from .._training.loop import by_autograd, divergence_message, train_epoch
from .._training.optimizer import Optimizer, WarmupLinearDecay

# Share of labelled rows in each epoch, if other rows have pseudo-labels.
LABELED_FRACTION = 1 / 3

# The least `delta_scale` of a code, in its standard deviations.
MIN_DELTA_SCALE = 0.3

# Scores are limited to this number: the exponential of its negative is zero in any precision.
MAX_SCORE = 1e30

MIN_DEFAULT_STEPS, MIN_DEFAULT_EPOCHS = 1000, 5


class FineTuningConfig(NamedTuple):
    """Configuration of the training of an encoder and its softmax."""

    noise_std: float  # of the inputs, in the network's units
    learning_rate: float
    batch_size: int
    n_epochs: int
    class_weight: np.ndarray | None = None  # (n_classes,); the mean over the rows of an epoch is 1


class EncoderClassifier(nn.Module):
    """A trained encoder, in float32, and class scores that are linear in its codes."""

    def __init__(self, fitted: FittedAutoencoder, code_std: float, n_classes: int):
        super().__init__()
        self.code_std = code_std
        fitted = copy.deepcopy(fitted).double()
        # Codes of standard deviation one: float32 may not have the units of the others.
        self._unit = fitted.scale.item() / code_std
        if isinstance(fitted, RotatedAutoencoder):
            fitted.rotation = fitted.rotation / code_std
        self.fitted = fitted.float()
        head = skip_init(nn.Linear, fitted.n_components, n_classes)
        self.head = head.to(fitted.shift.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of rows in the network's units, (n_samples, n_classes)."""
        code, fitted = self.fitted.network.encode(x), self.fitted
        if isinstance(fitted, RotatedAutoencoder):
            return self.head(fitted.from_network_code(code))
        return self.head(code * self._unit)

    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights and biases of the softmax, for codes as `transform` returns them."""
        return as_array(self.head.weight) / self.code_std, as_array(self.head.bias)


@with_torch_defaults
def codes_of(encoder: BaseAutoencoder, X: Any, *, precise: bool = False) -> np.ndarray:
    """Dense codes of validated rows, whatever output is set for transformers.

    They have the precision of `X`, or float64 if `precise`.
    """
    width = encoder.n_components_
    return encoder._apply(X, FittedAutoencoder.encode, width, precise=precise)


def class_scores(
    codes: np.ndarray, coef: np.ndarray, intercept: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Class scores of codes in a dtype, (n_samples, n_classes)."""
    scores = codes @ coef.T + intercept
    return scores.clip(-MAX_SCORE, MAX_SCORE).astype(dtype)


def largest_scores(
    codes: np.ndarray, coef: np.ndarray, intercept: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """The index of the largest class score of each code; see `class_scores`."""
    # In blocks, as the scores of many classes are larger than the rows.
    blocks = row_blocks(codes, len(intercept), times=8)
    parts = (class_scores(codes[rows], coef, intercept, dtype) for rows in blocks)
    return np.concatenate([scores.argmax(axis=1) for scores in parts])


def root_mean_variance(codes: np.ndarray) -> float:
    """The root mean square of the standard deviations of codes of any size; 1 if that is zero."""
    largest = float(np.abs(codes).max())
    if not largest:
        return 1.0
    relative = codes.astype(np.float64) / largest
    return largest * float(np.sqrt(relative.var(axis=0).mean())) or 1.0


def check_convergence(
    loss_curve: list[float], before: EncoderClassifier, dataset: Dataset, learning_rate: float
) -> None:
    """Raise if the loss ended above twice that of equal probabilities.

    `before` is the network as it was before training.
    """
    uniform = math.log(len(before.head.weight))
    if loss_curve[-1] < 2 * uniform:
        return
    with torch.no_grad():
        blocks = torch.arange(len(dataset), device=before.head.weight.device).split(1024)
        finite = all(bool(torch.isfinite(before(dataset[index])).all()) for index in blocks)
    if not finite:
        raise ValueError(divergence_message(learning_rate, finite_before=False))
    raise ValueError(
        f"Training diverged: the mean loss of the last epoch is {loss_curve[-1]:.3g}, and that of "
        f"equal probabilities {uniform:.3g}. A smaller `learning_rate_init` than {learning_rate}, "
        "or a smaller `noise_level`, may help."
    )


def prepare_encoder(network: Autoencoder) -> None:
    """Prepare a pre-trained network, in place, for fine-tuning of its encoder alone."""
    network.n_projection_steps = 0  # the codes would be those of the pre-trained decoder
    enlarge_delta_scale(network.scales)
    limit_inputs(network.encoder)


def limit_inputs(encoder: nn.Module) -> None:
    """Limit the inputs of hidden dense layers softly; those of a projection have no limit.

    Without it the encoder fits the noise of fine-tuning: with 100 labels of the digits 85 % of the
    predictions are correct, with it 91 %.
    """
    if not isinstance(encoder, nn.Sequential):
        return
    kinds = [type(layer) for layer in encoder]
    if kinds.count(nn.Linear) > 1 and SoftClip not in kinds[: kinds.index(nn.Linear)]:
        encoder.insert(kinds.index(nn.Linear), SoftClip(INPUT_LIMIT))


def enlarge_delta_scale(scales: Scales) -> None:
    """Raise the output scale of the encoder to `MIN_DELTA_SCALE` standard deviations of a code.

    Codes that PCA reconstructs without error have a `delta_scale` of zero. With as many components
    as columns, the encoder would therefore stay linear.
    """
    minimum = MIN_DELTA_SCALE * reciprocal(scales.inverse_code_scale)
    scales.delta_scale = torch.maximum(scales.delta_scale, minimum)


def epoch_rows(labels: np.ndarray, pseudo_labels: np.ndarray) -> Tensor:
    """Rows of an epoch; labelled ones are repeated to make up `LABELED_FRACTION` at least."""
    labeled = np.flatnonzero(labels >= 0)
    pseudo_labeled = np.flatnonzero((labels < 0) & (pseudo_labels >= 0))
    odds = LABELED_FRACTION / (1 - LABELED_FRACTION)
    n_times = max(round(len(pseudo_labeled) * odds / len(labeled)), 1)
    return torch.from_numpy(np.concatenate([np.tile(labeled, n_times), pseudo_labeled]))


def weights_of_classes(
    given: dict[Any, float] | str | None,
    classes: np.ndarray,
    labels: np.ndarray,
    epoch_labels: np.ndarray,
) -> np.ndarray | None:
    """The weight of each class in the loss, (n_classes,), or None if all are equal.

    "balanced" refers to the labels, without pseudo-labels. The mean over the rows of an epoch is 1.
    """
    if given is None:
        return None
    with naming("class_weight"):
        weights = compute_class_weight(given, classes=classes, y=classes[labels[labels >= 0]])
        mean = weights[epoch_labels].mean()
        if not (np.isfinite(weights).all() and (weights >= 0).all() and mean > 0):
            raise ValueError(
                f"`class_weight` must have finite weights, none below and one above 0, got {given}."
            )
    return weights / mean


def default_n_epochs(n_rows: int, batch_size: int) -> int:
    """Epochs of `n_rows` for at least 1000 steps, and at least five."""
    n_steps = math.ceil(n_rows / batch_size)
    return max(math.ceil(MIN_DEFAULT_STEPS / n_steps), MIN_DEFAULT_EPOCHS)


def fine_tune(
    network: EncoderClassifier,
    dataset: Dataset,
    targets: Tensor,
    epoch: Tensor,
    config: FineTuningConfig,
    seed: int,
) -> tuple[EncoderClassifier, list[float]]:
    """Minimise the cross-entropy of noisy rows; returns averaged weights and the loss curve.

    `targets` are the classes of all rows of `dataset`, `epoch` indexes the rows of each epoch.
    """
    weight = None if config.class_weight is None else torch.from_numpy(config.class_weight)
    weight = None if weight is None else weight.to(targets.device, torch.float32)
    noise_rng = torch.Generator(targets.device).manual_seed(seed)

    def per_row(index: Tensor) -> Tensor:
        x = dataset[index]
        noise = torch.randn(x.shape, generator=noise_rng, device=targets.device)
        scores = network(x + config.noise_std * noise)
        return cross_entropy(scores, targets[index], weight, reduction="none")

    n_steps = config.n_epochs * math.ceil(len(epoch) / config.batch_size)
    schedule = WarmupLinearDecay(config.learning_rate, n_steps)
    optimizer = Optimizer(network, "adam", schedule, 1.0)
    gradient = by_autograd(per_row)
    order_rng = torch.Generator().manual_seed(seed)
    loss_curve = []
    for _ in range(config.n_epochs):
        index = epoch[torch.randperm(len(epoch), generator=order_rng)].to(targets.device)
        loss_curve.append(train_epoch(optimizer, gradient, index, config.batch_size))
    with optimizer.ema_weights():
        return copy.deepcopy(network), loss_curve
