"""The parameters that all autoencoders share: defaults, rules, documentation."""

import re
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, Field, dataclass, fields
from numbers import Real
from textwrap import fill
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator

from .._data.validation import (
    BOOLEAN,
    CALLABLE,
    FRACTION,
    NONE,
    RANDOM_STATE,
    Interval,
    StrOptions,
    instance_of,
    integer,
    parameter,
    positive,
    positive_integers,
)
from .._losses.reconstruction import LOSSES, LossName, describe_losses
from .._nn.layers import ACTIVATIONS, ActivationName
from .._training.config import DefaultSteps
from .._training.initialization import multiply_adds_of_projection
from .._training.optimizer import SOLVERS

# Steps after the encoder; each takes about as long as decoding `n_components` + 1 rows. With hidden
# layers of 512 and 128 units and 32 components, images were reconstructed 5 % better, but the fit
# took five times as long.
AUTO_STEPS = 2
MAX_AUTO_COMPONENTS, MAX_AUTO_MULTIPLY_ADDS = 64, 5e6


def _choices(names: Sequence[str]) -> str:
    """Names as in a docstring: {"a", "b"}."""
    return "{" + ", ".join(f'"{name}"' for name in names) + "}"


def _indented(text: str) -> str:
    return fill(text, 100, initial_indent=" " * 8, subsequent_indent=" " * 8)


SHARED_PARAMETERS = f"""
    n_components : int, float in (0, 1) or None, default=2
        Size of the code. A float is a share of the variance: the smallest size whose `score` on the
        training rows reaches it is searched by bisection over complete fits (``verbose`` prints
        each of them). None is ``min(n_samples, n_features)``.

    hidden_layer_sizes : sequence of int or "auto", default=(128, 128)
        Width of each hidden layer of the encoder; the decoder has the same in reverse order. ``()``
        is a linear autoencoder, which spans the same subspace as PCA. "auto" is ``(96, 96, 96)``
        for up to 4 components, and ``(128, 128)`` for more and for images.

    activation : {_choices(tuple(ACTIVATIONS))}, default="silu"
        Activation function of the hidden layers.

    loss : {_choices(tuple(LOSSES))}, default="squared_error"
{_indented("The reconstruction loss: " + describe_losses() + ".")}

    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(channels, height, width)`` of images whose pixels are the columns
        of `X`. `hidden_layer_sizes` are then the channels of convolutions, each of which halves
        height and width. None if the rows are not images.

    network : callable or None, default=None
        ``network(n_features, n_components)`` returns two torch modules, encoder and decoder, that
        replace the dense ones. They are added to the linear path, each output times a learned scale
        that starts at zero, so that training starts at PCA for them too.

    tied_weights : bool, default=False
        Whether the decoder uses the encoder's matrices, transposed: half as many parameters. Not
        for `network`.

    init : {{"pca", "random"}}, default="pca"
        "pca" starts at the principal components of all rows, which stay as a linear path beside
        the network. "random" has no linear path, and the error may exceed that of PCA.

    pretraining : {{"layerwise"}} or None, default=None
        "layerwise" trains the hidden layers one after the other, outermost first, each to
        reconstruct `X` through the layers outside it, which stay fixed; then the whole network.
        Each layer takes up to `max_iter` epochs. Not for `network`.

    transform_max_iter : int or "auto", default=0
        Number of Gauss-Newton steps (for losses other than the squared error, of Fisher scoring)
        from the encoder's code of a row towards the code whose reconstruction is nearest to the
        row. No step increases the loss, and NaN has no influence. 0 uses the encoder only. "auto"
        is {AUTO_STEPS}, or 0 for more than {MAX_AUTO_COMPONENTS} components or where a step takes
        more than about five million multiplications for a row, as with hidden layers of 512 units
        and 32 components.

    whiten : bool, default=False
        Whether each code is scaled to unit variance on the training rows.

    alpha : float, default=0.0
        Weight of the elastic-net penalty on the weight matrices, added to the mean loss of a row in
        standard units: ``alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2)``.

    l1_ratio : float in [0, 1], default=0.0
        Share of the L1 norm in that penalty.

    solver : {{"adam", "sgd"}}, default="adam"
        The optimiser; "sgd" has Nesterov momentum 0.9.

    learning_rate_init : float, default=0.005
        The largest learning rate; it rises over the first steps and then decays linearly to zero.

    batch_size : int or "auto", default="auto"
        Rows in a step, of all processes together if there are several; "auto" is an eighth of the
        rows, within 16 and 128. The last rows of an epoch are distributed over its batches.

    max_iter : int or None, default=None
        Largest number of epochs (passes over the training rows). None is about 3000 steps, and at
        least 15 epochs.

    tol : float, default=1e-4
        An epoch counts as progress if the held-out error falls by more than this share of the
        error before training.

    n_iter_no_change : int or None, default=None
        Epochs without progress after which training stops. None is about 300 steps, and at least
        three epochs.

    early_stopping : bool, default=True
        Whether epochs are compared on rows held out from training. If False, all rows are used for
        both.

    validation_fraction : float in (0, 1) or "auto", default="auto"
        Share of the rows held out, unless ``fit`` has `X_val`. "auto" is a tenth, but at least 50
        rows as long as that is at most a quarter, and at most 5000 rows.

    warm_start : bool, default=False
        Whether `fit` continues from the weights of the last fit, with its units and its linear
        path.

    random_state : int, RandomState instance or None, default=None
        Seed of the weights, the held-out rows, the order of the batches and any noise. The global
        random generators of Python, NumPy and torch are not changed; None draws from NumPy's.

    device : str, default="auto"
        A torch device; "auto" is that of `X` if it is a tensor (under scikit-learn's
        ``array_api_dispatch``), else CUDA where it is available, else the CPU.

    precision : {{"auto", "float32", "bfloat16"}}, default="auto"
        Precision of training. "bfloat16" rounds the values between layers, not the weights. "auto"
        does so if a step has at least 150 million multiply-adds, the objective is the
        reconstruction loss alone, and the processor has instructions for it; else it is float32.
        Inference computes in the dtype of `X`.

    verbose : int, default=0
        If positive, print for each epoch the training loss, the held-out loss and an upper bound of
        the remaining time, and finally `diagnosis_`.
"""


SHARED_ATTRIBUTES = """
    n_components_ : int
        Size of the code.
    components_ : ndarray of shape (n_components_, n_features_in_)
        Derivative of the reconstruction in each code, at the mean code; in the units of `X` per
        unit of a code before whitening. For a linear autoencoder these are the principal axes.
    mean_ : ndarray of shape (n_features_in_,)
        Mean of the training rows.
    explained_variance_ : ndarray of shape (n_components_,)
        Variance of each code over the training rows, in squared units of `X`, before whitening.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        The same as shares of the total; their sum is the `score` on the training rows.
    pca_score_ : float
        The `score` of PCA with the same number of components on the training rows.
    loss_curve_ : list of float
        Mean training loss of a row in each epoch, in the units of `score_samples`.
    validation_curve_ : list of float
        Mean loss of a held-out row before training and after each epoch. With few rows whose
        codes are projected, only every second, third, ... epoch is evaluated, and those between
        repeat the last loss.
    n_iter_ : int
        Number of epochs run. Zero if PCA was already the optimum.
    best_iter_ : int
        The epoch whose weights were kept; zero is PCA.
    diagnosis_ : tuple of str
        Diagnostics of the fit in plain words; empty if there are none. Likely mistakes are also
        warned of: codes that collapsed, columns whose units dominate all others.
    network_ : torch.nn.Module
        The trained network, in the precision of the training data. Its ``encode`` takes rows in the
        units of `X`.
    n_samples_seen_ : int
        Number of training rows, over all calls of `partial_fit`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.
"""


@dataclass(eq=False, repr=False)
class SharedParameters(BaseEstimator):
    """The constructor of all autoencoders. Parameters are checked in `fit`."""

    # Whether codes may have more components than rows have features.
    _overcomplete: ClassVar[bool] = False
    # The parameters that training does not change once the network is made.
    _of_network: ClassVar[tuple[str, ...]] = (
        "hidden_layer_sizes", "activation", "loss", "image_shape", "network", "tied_weights",
        "init", "pretraining",
    )  # fmt: skip
    # Measured, with the other defaults: at most 2000 steps raise the error by 2 %.
    _default_steps: ClassVar[DefaultSteps] = DefaultSteps(3000, 0.0, 3000, min_epochs=15)

    n_components: int | float | None = parameter(2, integer(1), FRACTION, NONE)
    _: KW_ONLY
    hidden_layer_sizes: Sequence[int] | Literal["auto"] = parameter(
        (128, 128), positive_integers(), StrOptions(["auto"])
    )
    activation: ActivationName = parameter("silu", StrOptions(ACTIVATIONS))
    loss: LossName = parameter("squared_error", StrOptions(LOSSES))
    image_shape: Sequence[int] | None = parameter(None, positive_integers(lengths=(2, 3)), NONE)
    network: Callable[[int, int], tuple[Any, Any]] | None = parameter(None, NONE, CALLABLE)
    tied_weights: bool = parameter(False, BOOLEAN)
    init: Literal["pca", "random"] = parameter("pca", StrOptions(["pca", "random"]))
    pretraining: Literal["layerwise"] | None = parameter(None, NONE, StrOptions(["layerwise"]))
    transform_max_iter: int | Literal["auto"] = parameter(0, integer(0), StrOptions(["auto"]))
    whiten: bool = parameter(False, BOOLEAN)
    alpha: float = parameter(0.0, Interval(Real, 0))
    l1_ratio: float = parameter(0.0, Interval(Real, 0, 1))
    solver: Literal["adam", "sgd"] = parameter("adam", StrOptions(SOLVERS))
    learning_rate_init: float = parameter(0.005, positive())
    batch_size: int | Literal["auto"] = parameter("auto", integer(1), StrOptions(["auto"]))
    max_iter: int | None = parameter(None, integer(1), NONE)
    tol: float = parameter(1e-4, Interval(Real, 0))
    n_iter_no_change: int | None = parameter(None, integer(1), NONE)
    early_stopping: bool = parameter(True, BOOLEAN)
    validation_fraction: float | Literal["auto"] = parameter("auto", FRACTION, StrOptions(["auto"]))
    warm_start: bool = parameter(False, BOOLEAN)
    random_state: int | np.random.RandomState | None = parameter(None, *RANDOM_STATE)
    device: str = parameter("auto", instance_of(str, "the name of a torch device"))
    precision: Literal["auto", "float32", "bfloat16"] = parameter(
        "auto", StrOptions(["auto", "float32", "bfloat16"])
    )
    verbose: int = parameter(0, integer(0), BOOLEAN)

    def _n_projection_steps(self, n_components: int) -> int:
        """The number of steps after the encoder."""
        if self.transform_max_iter != "auto":
            return self.transform_max_iter
        cost = multiply_adds_of_projection(self, n_components)
        is_cheap = n_components <= MAX_AUTO_COMPONENTS and cost <= MAX_AUTO_MULTIPLY_ADDS
        return AUTO_STEPS if is_cheap else 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Insert the shared documentation into the docstring of a subclass."""
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            for slot, entries in (
                ("    {shared_parameters}\n", SHARED_PARAMETERS[1:]),
                ("    {shared_attributes}\n", SHARED_ATTRIBUTES[1:]),
            ):
                entries = _with_defaults_of(cls, _without_those_of(cls.__doc__, entries))
                cls.__doc__ = cls.__doc__.replace(slot, entries)


def _without_those_of(doc: str, entries: str) -> str:
    """The entries whose names `doc` does not have itself."""
    own = re.findall(r"^    (\w+) : ", doc, re.MULTILINE)
    parts = re.split(r"^(?=    \w+ : )", entries, flags=re.MULTILINE)
    return "".join(part for part in parts if part.split(" : ")[0].strip() not in own)


def _with_defaults_of(cls: type, entries: str) -> str:
    """The entries with the defaults of a class where these differ from the shared ones."""
    shared = {declared.name: declared.default for declared in fields(SharedParameters)}

    def with_default(entry: re.Match[str]) -> str:
        declared = getattr(cls, entry["name"])
        default = declared.default if isinstance(declared, Field) else declared
        if default == shared[entry["name"]]:
            return entry[0]
        text = f'"{default}"' if isinstance(default, str) else repr(default)
        return f"{entry['type']}default={text}"

    pattern = r"^(?P<type>    (?P<name>\w+) : .*)default=.+$"
    return re.sub(pattern, with_default, entries, flags=re.MULTILINE)
