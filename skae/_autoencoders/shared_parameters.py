"""The parameters that all autoencoders share: defaults, rules, documentation."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, Field, dataclass, fields
from numbers import Real
from textwrap import fill
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator

from .._data.table_rows import CATEGORICAL_FEATURES
from .._data.targets import Targets
from .._data.validation import (
    BOOLEAN,
    CALLABLE,
    FRACTION,
    NONE,
    RANDOM_STATE,
    Interval,
    Rule,
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
from .._training.fit_data import FitData
from .._training.initialization import multiply_adds_of_projection
from .._training.optimizer import SOLVERS

# Steps after the encoder; each takes about as long as decoding `n_components` + 1 rows. With hidden
# layers of 512 and 128 units and 32 components, images were reconstructed 5 % better, but the fit
# took five times as long.
AUTO_STEPS = 2
MAX_AUTO_COMPONENTS, MAX_AUTO_MULTIPLY_ADDS = 64, 5e6

LOSSES_OF_COLUMNS = Rule(
    "a dictionary of a loss for each column",
    lambda value: isinstance(value, Mapping),
    lambda value: bool(value) and all(isinstance(v, str) and v in LOSSES for v in value.values()),
)

DOMAIN = (
    "`fit` and the scores raise an error for other data. `transform` and `reconstruct` accept it, "
    "because new rows may be slightly beyond the range of the training rows."
)


def _choices(names: Sequence[str]) -> str:
    """Names as in a docstring: {"a", "b"}."""
    return "{" + ", ".join(f'"{name}"' for name in names) + "}"


def _indented(text: str) -> str:
    return fill(text, 100, initial_indent=" " * 8, subsequent_indent=" " * 8)


SHARED_PARAMETERS = f"""
    n_components : int, float in (0, 1) or None, default=2
        Size of the code. A float is the share of the variance to explain: `fit` searches for the
        smallest size whose `score` on the training rows is at least this share. The search makes
        several complete fits. None is ``min(n_samples, n_features)``, the largest possible size.

    hidden_layer_sizes : sequence of int or "auto", default=(128, 128)
        Width of each hidden layer of the encoder. The decoder has the same layers in reverse order.
        ``()`` means no hidden layers; the autoencoder is then linear, like PCA. "auto" means ``(96,
        96, 96)`` for up to 4 components, and ``(128, 128)`` for more components and for images.

    activation : {_choices(tuple(ACTIVATIONS))}, default="silu"
        Activation function of the hidden layers.

    loss : {_choices(tuple(LOSSES))} or dict, default="squared_error"
{_indented("The reconstruction loss: " + describe_losses() + ". " + DOMAIN)}
        A dictionary has names or numbers of columns as keys, and their losses as values; the
        columns that it does not name have the squared error. Categorical columns always have the
        cross-entropy. If there are categorical columns, or `loss` is a dictionary, the loss of a
        row is its deviance: the squared errors in standard deviations plus twice all other losses.

    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        The categorical columns: a Boolean mask, or names or numbers of columns. None means that
        there are none. "from_dtype" means the columns of a frame whose dtype is categorical
        (`category` of pandas, `Categorical` and `Enum` of polars), and columns of strings, unless
        all strings are numbers. Missing categories, and those that were not in `fit`, are missing
        values.

    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(channels, height, width)``, if the rows of `X` are flattened
        images. The hidden layers are then convolutions, each of which halves height and width, and
        `hidden_layer_sizes` are their numbers of channels. None means dense layers.

    network : callable or None, default=None
        A function that is called as ``network(n_features, n_components)`` and returns two torch
        modules, an encoder and a decoder. They are used instead of dense layers. Cannot be combined
        with `image_shape`, `tied_weights` or `pretraining`.

    tied_weights : bool, default=False
        Whether the weights of the decoder are the transposed weights of the encoder. Cannot be
        combined with `network`.

    init : {{"pca", "random"}}, default="pca"
        "pca": training starts with PCA, to which the outputs of the networks are added. "random":
        the networks have random weights at the start, and PCA is not used. The error may then be
        higher than that of PCA.

    pretraining : {{"layerwise"}} or None, default=None
        "layerwise" first trains the hidden layers one after the other, from the outermost to the
        innermost one, and then the whole network. Each layer is trained for up to `max_iter`
        epochs. Cannot be combined with `network`.

    transform_max_iter : int or "auto", default=0
        Number of steps by which `transform` refines the code of the encoder, so that the
        reconstruction is nearer to the row. These are Gauss-Newton steps, or steps of Fisher
        scoring if `loss` is not the squared error. With 0, `transform` returns the code of the
        encoder. "auto" means {AUTO_STEPS} steps, but 0 steps if they would be slow: for more than
        {MAX_AUTO_COMPONENTS} components, or if a step takes more than about five million
        multiplications for a row.

    whiten : bool, default=False
        Whether each component of the codes is scaled to unit variance on the training rows.

    alpha : float, default=0.0
        Weight of the penalty on the weights W of the networks, ``alpha * (l1_ratio * |W|_1 + (1 -
        l1_ratio) / 2 * |W|_2^2)``. It is added to the mean loss of a row in standardised units.

    l1_ratio : float in [0, 1], default=0.0
        Share of the L1 norm in the penalty on the weights; see `alpha`.

    solver : {{"adam", "sgd"}}, default="adam"
        The optimiser; "sgd" has Nesterov momentum 0.9.

    learning_rate_init : float, default=0.005
        The largest learning rate. The learning rate rises to this value during the first steps, and
        then decays linearly to zero. With `solver="adam"`, the learning rate of the weights from a
        hidden layer of more than 128 units to the next hidden layer is multiplied by 128 / (number
        of units).

    batch_size : int or "auto", default="auto"
        Number of rows in a step, over all processes if there are several. "auto" means an eighth of
        the rows, but at least 16 and at most 128.

    max_iter : int or None, default=None
        Maximum number of epochs (passes over the training rows). None means about 3000 steps, but
        at least 15 epochs.

    tol : float, default=1e-4
        An epoch counts as progress if the held-out error falls by more than this share of the
        error before training.

    n_iter_no_change : int or None, default=None
        Number of epochs without progress after which training stops; see `tol`. None means about
        300 steps, but at least three epochs.

    early_stopping : bool, default=True
        Whether some rows are held out to compare the epochs. If False, epochs are compared on the
        training rows.

    validation_fraction : float in (0, 1) or "auto", default="auto"
        Share of the rows that are held out, if `X_val` is not passed to `fit`. "auto" means a tenth
        of the rows, but at least 50 rows (or a quarter of all rows, if that is less) and at most
        5000.

    warm_start : bool, default=False
        Whether `fit` continues from the weights of the previous fit. The principal components and
        the scales of the inputs do not change then.

    random_state : int, RandomState instance or None, default=None
        Seed of the weights, the held-out rows, the order of the batches and the noise. None means
        that the seed is drawn from NumPy's global generator.

    device : str, default="auto"
        Name of a torch device, such as "cpu" or "cuda". "auto" means CUDA if it is available, and
        else the CPU. If `X` is a tensor and scikit-learn's ``array_api_dispatch`` is on, "auto"
        means the device of `X`.

    precision : {{"auto", "float32", "bfloat16"}}, default="auto"
        Precision of training; other methods compute in the dtype of `X`. "bfloat16" rounds the
        values between the layers. "auto" means "bfloat16" for large networks (at least 150 million
        multiplications in a step) on processors with instructions for it, if the objective is the
        reconstruction loss. Otherwise "auto" means "float32".

    verbose : int, default=0
        If positive, `fit` prints the training loss, the held-out loss and an upper bound of the
        remaining time after each epoch, and `diagnosis_` at the end.
"""


SHARED_ATTRIBUTES = """
    n_components_ : int
        Size of the code.
    components_ : ndarray of shape (n_components_, n_features_in_)
        Derivative of the reconstruction with respect to each component of the code, at the mean
        code. For a linear autoencoder, these are the principal axes. Not affected by `whiten`. If
        there are categorical columns, `components_`, `loadings_` and `mean_` have an entry for each
        encoded column: first the standardised numbers, then an indicator for each category, divided
        by the root of its frequency.
    loadings_ : ndarray of shape (n_components_, n_features_in_)
        Correlation of each feature with each component of the codes over the training rows, or over
        2000 of them (fewer if there are more than 16,000 features, but at least 300). Zero for
        constant features and components. After `partial_fit`, there is no such attribute.
    mean_ : ndarray of shape (n_features_in_,)
        Mean of the training rows.
    explained_variance_ : ndarray of shape (n_components_,)
        Variance of each component of the codes over the training rows, in squared units of `X`,
        before whitening.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        `explained_variance_` as shares of the total variance of `X`. Their sum is the `score` on
        the training rows.
    pca_score_ : float
        The `score` of PCA with the same number of components on the training rows.
    loss_curve_ : list of float
        Mean training loss of a row in each epoch, in the units of `score_samples`.
    validation_curve_ : list of float
        Mean loss of a held-out row, or of a training row if `early_stopping` is False, before
        training and after each epoch. With few rows, the loss may not be computed after each epoch;
        the list then repeats the last computed loss. If the training starts from PCA without the
        held-out rows, the first value is an estimate for PCA of all rows. Empty after
        `partial_fit`.
    n_iter_ : int
        Number of epochs of the training. Zero if PCA is the optimum, so that no training is needed.
    best_iter_ : int
        The epoch whose weights were kept. Zero means that the model before training was kept, which
        is PCA by default.
    diagnosis_ : tuple of str
        Descriptions of possible problems of the fit. Empty if none was found. With `partial_fit`,
        only columns without variance in the first batch are listed.
    categories_ : list of ndarray
        The categories of each categorical column. Only if there are categorical columns.
    network_ : torch.nn.Module
        The trained network. It has methods ``encode`` and ``decode`` for tensors in the units of
        `X`.
    n_samples_seen_ : int
        Number of training rows. With integer weights, the sum of the weights; with other weights,
        the number of rows with a weight above zero. With `partial_fit`, the sum over all calls.
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
        "init", "pretraining", "categorical_features",
    )  # fmt: skip
    # Measured, with the other defaults: at most 2000 steps raise the error by 2 %.
    _default_steps: ClassVar[DefaultSteps] = DefaultSteps(3000, 0.0, 3000, min_epochs=15)

    n_components: int | float | None = parameter(2, integer(1), FRACTION, NONE)
    _: KW_ONLY
    hidden_layer_sizes: Sequence[int] | Literal["auto"] = parameter(
        (128, 128), positive_integers(), StrOptions(["auto"])
    )
    activation: ActivationName = parameter("silu", StrOptions(ACTIVATIONS))
    loss: LossName | Mapping[Any, LossName] = parameter(
        "squared_error", StrOptions(LOSSES), LOSSES_OF_COLUMNS
    )
    categorical_features: Any = parameter("from_dtype", *CATEGORICAL_FEATURES)
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

    def _steps(self) -> DefaultSteps:
        """The default number of steps."""
        return self._default_steps

    def _targets(self, y: Any, X: Any, X_val: Any) -> Targets | None:
        """The targets that the objective predicts; most predict none."""
        return None

    def _starts_from_pca(self, data: FitData) -> bool:
        """Whether the network is PCA before training."""
        return self.init == "pca"

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
                cls.__doc__ = _with_shared(cls.__doc__, slot, _with_defaults_of(cls, entries))


def _with_shared(doc: str, slot: str, shared: str) -> str:
    """`doc` with shared entries in a slot; an entry of `doc` replaces that of the same name."""
    for name in re.findall(r"^    (\w+) : ", shared, re.MULTILINE):
        entry = re.compile(rf"^    {name} : .*\n(?:(?:     .*)?\n)*", re.MULTILINE)
        if (own := entry.search(doc)) and (theirs := entry.search(shared)):
            doc = doc.replace(own[0], "")
            shared = shared[: theirs.start()] + own[0] + shared[theirs.end() :]
    return doc.replace(slot, shared)


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
