"""Optimisers on one vector of weights, gradient clipping, and learning-rate schedules."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from .._data.user_warnings import warn_user

# Hidden layers of more units than this have a smaller learning rate.
BASE_WIDTH = 128

# Positions in the vector of weights with the factors of their learning rates.
Factors = Sequence[tuple[slice, float]]


class Adam:
    """Adam (Kingma and Ba, 2015) on one vector of weights, by torch's functional form.

    The learning rate is multiplied by a factor for each slice of the vector. `torch.optim.Adam`
    computes the same, but the first instance in a process imports torch's compiler, which takes
    seconds, and 70 MB, before the first step.
    """

    def __init__(self, weights: Tensor, factors: Factors, epsilon: float):
        self._factors, self._epsilon = factors, epsilon
        self.state = {
            "mean": torch.zeros_like(weights),
            "square": torch.zeros_like(weights),
            "n_steps": torch.zeros((), device=weights.device),
        }

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Update the weights in place."""
        mean, square, n_steps = self.state.values()
        for part, factor in self._factors:
            w, g, m, s = (_contiguous(v, part) for v in (weights, gradient, mean, square))
            counts = [n_steps.clone() for _ in w]  # the call increases each by one
            # Fused: one kernel; written as operations on vectors it takes twice as long.
            adam(
                w, g, m, s, [], counts, fused=True,
                lr=factor * learning_rate, beta1=0.9, beta2=0.999, eps=self._epsilon,
                weight_decay=0.0, amsgrad=False, maximize=False,
            )  # fmt: skip
        n_steps += 1


def _contiguous(vectors: Tensor, part: slice) -> list[Tensor]:
    """A slice of the last axis as contiguous vectors: the fused kernel ignores strides."""
    if part == slice(None):
        return [vectors]
    return [vector[part] for vector in vectors.view(-1, vectors.shape[-1])]


class NesterovSGD:
    """Stochastic gradient descent with Nesterov momentum 0.9 on one vector of weights."""

    def __init__(self, weights: Tensor):
        self.state = {"velocity": torch.zeros_like(weights)}

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Update the weights in place."""
        velocity = self.state["velocity"].mul_(0.9).add_(gradient)
        weights.add_(gradient + 0.9 * velocity, alpha=-learning_rate)


SOLVERS: dict[str, Callable[[Tensor, Factors, float], Adam | NesterovSGD]] = {
    "adam": Adam,
    "sgd": lambda weights, factors, epsilon: NesterovSGD(weights),
}

# Decay of the exponential moving average (EMA) of the weights. Without the average the held-out
# error is 1 to 2 % higher.
EMA_DECAY = 0.99

# At PCA the gradients of the encoder are zero but for rounding errors, of about 1e-8. With Adam's
# usual epsilon of 1e-8 the first steps would be as large as others, in directions that depend on
# the order of sums.
EPSILON = 1e-6
# Of version 0.1.0, with which its estimators continue.
USUAL_EPSILON = 1e-8

# Gradient clipping: a gradient whose norm exceeds this multiple of its running norm is scaled down.
# Such a gradient comes from a few outlying rows, and one such step can damage the reconstruction
# of similar rows permanently.
CLIP_RATIO = 3.0

# Learning-rate warm-up, while Adam's estimate of the second moments rests on few gradients.
WARMUP_STEPS = 50

OUT_OF_MEMORY = (
    "The device ran out of memory at a batch of {} rows: gradients are summed over parts of the "
    "batches, which is slower but the same training. A smaller `batch_size` needs less memory."
)


class Optimizer:
    """Updates the weights of a network at a learning rate that follows a schedule.

    Gradients are clipped, and divided by `loss_scale`, the initial loss: so they are of order one
    whatever the data, as Adam's epsilon expects. With `n_axes` = 1 the parameters have a leading
    axis of networks, and `loss_scale` has shape (n_networks, 1).
    """

    def __init__(
        self,
        network: nn.Module,
        solver: str,
        schedule: Callable[[int], float],
        loss_scale: float | Tensor,
        n_axes: int = 0,
        epsilon: float = EPSILON,
    ):
        self._network = network
        self.weights, self._gradient = _flatten(network, n_axes)
        self.average = self.weights.clone()
        factors = learning_rate_factors(network, n_axes)
        self._solver = SOLVERS[solver](self.weights, factors, epsilon)
        self.solver, self.schedule, self.loss_scale = solver, schedule, loss_scale
        self.epsilon = epsilon
        self.running_norm: Tensor | None = None
        self.n_steps = self.n_restarts = 0
        self._n_pieces = 1  # of a batch, if the device runs out of memory for a whole one

    def step(self, gradient: Callable[..., Tensor], index: Tensor | Sequence[Tensor]) -> Tensor:
        """One optimiser step on the batch of rows at `index`; returns their mean loss."""
        loss = self._mean_gradient(gradient, index)
        self._clip_gradient()
        self._solver.step(self.weights, self._gradient, self.schedule(self.n_steps))
        self.n_steps += 1
        weight = max(1 - EMA_DECAY, 10 / (self.n_steps + 10))
        self.average.lerp_(self.weights, weight)
        return loss

    def _mean_gradient(
        self, gradient: Callable[..., Tensor], index: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """The gradient of a batch, summed over pieces once the device has run out of memory."""
        try:
            self._gradient.zero_()
            if self._n_pieces == 1 or not isinstance(index, Tensor):
                return gradient(index)
            total, loss = torch.zeros_like(self._gradient), self._gradient.new_zeros(())
            for piece in index.tensor_split(min(self._n_pieces, len(index))):
                self._gradient.zero_()
                loss += gradient(piece) * len(piece) / len(index)
                total.add_(self._gradient, alpha=len(piece) / len(index))
            self._gradient.copy_(total)
            return loss
        except torch.cuda.OutOfMemoryError as error:
            if self._n_pieces >= len(index) or not isinstance(index, Tensor):
                raise MemoryError(
                    "The device has no memory even for the gradient of a single row: make "
                    "`hidden_layer_sizes` smaller or use another `device`."
                ) from error
        # After the `except` clause, within which the error would keep tensors alive.
        if self._n_pieces == 1:
            warn_user(OUT_OF_MEMORY.format(len(index)), RuntimeWarning)
        self._n_pieces *= 2
        return self._mean_gradient(gradient, index)

    def _clip_gradient(self) -> None:
        norm = torch.linalg.vector_norm(self._gradient, dim=-1, keepdim=True)
        if self.running_norm is None:
            self.running_norm = norm
        # No branch on the value, for which the host would have to wait for the device.
        clipped = torch.minimum(norm, CLIP_RATIO * self.running_norm)
        self._gradient.mul_(clipped / (norm.clamp_min(1e-30) * self.loss_scale))
        self.running_norm = torch.lerp(self.running_norm, clipped, 0.05)

    def continue_at(self, n_steps: int) -> None:
        """Continue from changed weights, at this step of the schedule."""
        self.average.copy_(self.weights)
        self.n_steps = n_steps
        self.n_restarts += 1

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """The network has its averaged weights within this context."""
        current = self.weights.clone()
        self.weights.copy_(self.average)
        yield
        self.weights.copy_(current)

    def release(self) -> None:
        """Give each parameter its own memory again, and drop the gradients."""
        for parameter in _trainable(self._network):
            parameter.data = parameter.data.clone()
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The state with which a later optimiser continues."""
        return {"name": self.solver, "solver": self._solver.state, "n_steps": self.n_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state of another optimiser, unless it is of another solver."""
        if state["name"] != self.solver:
            return
        self._solver.state = {
            name: value.to(self.weights.device, copy=True)
            for name, value in state["solver"].items()
        }
        self.n_steps = state["n_steps"]

    def state(self) -> dict[str, Tensor]:
        """All tensors that steps change: vectors as long as the weights, and counts."""
        return self._solver.state | {"weights": self.weights, "average": self.average}


def _flatten(network: nn.Module, n_axes: int) -> tuple[Tensor, Tensor]:
    """Move all parameters, and their gradients, into one vector each."""
    parameters = _trainable(network)
    weights = torch.cat([p.detach().flatten(n_axes) for p in parameters], -1)
    gradient = torch.zeros_like(weights)
    sizes = _sizes(parameters, n_axes)
    pieces = zip(parameters, weights.split(sizes, -1), gradient.split(sizes, -1), strict=True)
    for parameter, weight_piece, gradient_piece in pieces:
        parameter.data = weight_piece.view_as(parameter)
        parameter.grad = gradient_piece.view_as(parameter)
    return weights, gradient


def _trainable(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _sizes(parameters: Sequence[nn.Parameter], n_axes: int) -> list[int]:
    return [parameter.shape[n_axes:].numel() for parameter in parameters]


def learning_rate_factors(network: nn.Module, n_axes: int = 0) -> Factors:
    """The factors of the learning rate for consecutive parameters, in the vector of all.

    A step of Adam changes each weight by about the learning rate, so it changes the output of a
    unit by the learning rate times the number of its inputs. For weights between hidden layers the
    learning rate is therefore divided by the number of inputs, if that is above `BASE_WIDTH` [1]_.

    References
    ----------
    .. [1] Yang, G. et al. (2021). "Tuning large neural networks via zero-shot hyperparameter
       transfer". Advances in Neural Information Processing Systems 34.
    """
    parameters, of_hidden = _trainable(network), _hidden_factors(network)
    ends = list(accumulate(_sizes(parameters, n_axes), initial=0))
    factors = [of_hidden.get(parameter, 1.0) for parameter in parameters]
    if set(factors) == {1.0}:
        return [(slice(None), 1.0)]
    pieces = zip(factors, pairwise(ends), strict=True)
    runs = [(factor, list(run)) for factor, run in groupby(pieces, key=lambda piece: piece[0])]
    return [(slice(run[0][1][0], run[-1][1][1]), factor) for factor, run in runs]


def _hidden_factors(network: nn.Module) -> Mapping[Tensor, float]:
    """The factor for each weight matrix from one hidden layer to the next."""
    sequences = [module for module in network.modules() if isinstance(module, nn.Sequential)]
    dense = [[layer for layer in layers if isinstance(layer, nn.Linear)] for layers in sequences]
    between = [layer for layers in dense for layer in layers[1:-1]]
    return {layer.weight: min(1.0, BASE_WIDTH / layer.in_features) for layer in between}


@dataclass(frozen=True)
class WarmupLinearDecay:
    """A schedule: a linear warm-up, then linear decay to zero at `n_steps`."""

    learning_rate: float
    n_steps: int

    def __call__(self, step: int) -> float:
        """The learning rate of a step."""
        warmup = min(WARMUP_STEPS, self.n_steps / 4)
        rise, remaining = (step + 1) / (warmup + 1), max(self.n_steps - step, 0)
        return self.learning_rate * min(1.0, rise, remaining / (self.n_steps - warmup))


def warmup_inverse_sqrt(learning_rate: float) -> Callable[[int], float]:
    """A linear warm-up, then inverse square-root decay, for streams of unknown length."""
    return lambda step: (
        learning_rate
        * min(1.0, (step + 1) / (WARMUP_STEPS + 1), (WARMUP_STEPS * 10 / (step + 1)) ** 0.5)
    )
