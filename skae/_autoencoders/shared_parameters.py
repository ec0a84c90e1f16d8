"""The parameters that every autoencoder has: defaults, what is allowed, and their documentation."""

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from .._data.validation import (
    BOOLEAN,
    NONE,
    AnyCallable,
    Instance,
    Integers,
    Number,
    OneOf,
    integer,
    parameter,
    positive,
)
from .._losses.reconstruction import LOSSES
from .._nn.autoencoder import ACTIVATIONS
from .._training.loop import SOLVERS

RANDOM_STATE = (
    NONE,
    integer(0, 2**32 - 1),
    Instance(np.random.RandomState, "a numpy.random.RandomState"),
)
FRACTION = Number(Real, 0, 1, low_open=True, high_open=True)

SHARED_PARAMETERS = """
    n_components : int, float in (0, 1) or None, default=2
        Size of the code. A float is a share of the variance: the smallest size is searched, by
        bisection over complete fits, whose `score` on the training rows reaches it (``verbose``
        tells each trial). None is ``min(n_samples, n_features)``.

    hidden_layer_sizes : tuple of int, default=(128, 128)
        Width of each hidden layer of the encoder; the decoder mirrors them. ``()`` is a linear
        autoencoder, which spans the same subspace as PCA.

    activation : {"gelu", "identity", "logistic", "relu", "silu", "tanh"}, default="silu"
        What the hidden layers apply.

    loss : {"squared_error", "absolute_error", "log_loss", "poisson"}, default="squared_error"
        What a reconstruction costs: squared error, as for PCA; absolute error, which forgives
        outlying entries; binary cross-entropy for data in [0, 1]; Poisson deviance for counts.

    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(channels, height, width)`` of the images that the rows of `X` are,
        flattened. `hidden_layer_sizes` are then the channels of convolutions, each of which halves
        height and width. None is for rows that are no images.

    network : callable or None, default=None
        ``network(n_features, n_components)`` returns two torch modules, encoder and decoder, that
        replace the dense ones. They are used beside the linear path, each output times a learned
        gate that starts at zero, so that the promise against PCA holds for them too.

    tied_weights : bool, default=False
        Let the decoder use the encoder's matrices, transposed: half as many parameters. Not for
        `network`.

    init : {"pca", "random"}, default="pca"
        "pca" starts at the principal components of all rows, which stay as a linear path beside
        the network. "random" has no such path and no such promise.

    pretraining : {"layerwise"} or None, default=None
        "layerwise" trains the hidden layers one after the other, outermost first, each to
        reconstruct `X` through the layers outside it, which are held; then the whole network. Each
        layer takes up to `max_iter` epochs. Not for `network`.

    whiten : bool, default=False
        Scale each code to unit variance on the training rows.

    alpha : float, default=0.0
        Strength of the penalty on the learned matrices, added to the mean loss of a row in standard
        units: ``alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2)``.

    l1_ratio : float in [0, 1], default=0.0
        Share of the L1 norm in that penalty.

    solver : {"adam", "sgd"}, default="adam"
        The optimiser; "sgd" has Nesterov momentum 0.9.

    learning_rate_init : float, default=0.005
        The largest step size; it rises over the first steps and then falls to zero linearly.

    batch_size : int or "auto", default="auto"
        Rows in a step, of all processes together if there are several; "auto" is an eighth of the
        rows, within 16 and 128. The last rows of an epoch are spread over its batches.

    max_iter : int or None, default=None
        Largest number of epochs (passes over the training rows). None makes about 3000 steps, and
        15 epochs at least.

    tol : float, default=1e-4
        An epoch counts as progress if the held-out error falls by more than this share of the
        error before training.

    n_iter_no_change : int or None, default=None
        Epochs without progress after which training stops. None makes about 300 steps, and three
        epochs at least.

    early_stopping : bool, default=True
        Judge the epochs on rows held out from training. If False, all rows train and all judge.

    validation_fraction : float in (0, 1) or "auto", default="auto"
        Share of the rows held out, unless ``fit`` is given `X_val`. "auto" is a tenth, but at least
        50 rows as long as that is no more than a quarter.

    warm_start : bool, default=False
        Continue from the weights of the last fit, in its units and with its linear path.

    random_state : int, RandomState instance or None, default=None
        Seed of the weights, the held-out rows, the order of the batches and any noise. The global
        generators of Python, NumPy and torch are not touched; None draws from NumPy's.

    device : str, default="auto"
        A torch device; "auto" is that of `X` if it is a tensor (under scikit-learn's
        ``array_api_dispatch``), else CUDA where there is one, else the CPU.

    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Arithmetic of training. "bfloat16" rounds what passes through the layers, never the weights
        that are learned. "auto" does so for large layers, from 150 million multiply-adds a step on,
        where the only objective is to come back, and the processor has instructions for it; else it
        is float32. Inference computes in the dtype of `X`.

    verbose : int, default=0
        Above zero, one line an epoch with the training and the held-out loss and the time that is
        left at most; at the end `diagnosis_`.
"""


SHARED_ATTRIBUTES = """
    n_components_ : int
        Size of the code.
    components_ : ndarray of shape (n_components_, n_features_in_)
        How the reconstruction moves with each code, at the mean code; in the units of `X` for each
        unit of a code before whitening. For a linear autoencoder these are the principal axes.
    mean_ : ndarray of shape (n_features_in_,)
        Mean of the training rows.
    explained_variance_ : ndarray of shape (n_components_,)
        Variance of each code over the training rows, in squared units of `X`, before whitening.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        The same as shares; they add up to the `score` on the training rows.
    pca_score_ : float
        The `score` of PCA on the training rows at the same size of code.
    loss_curve_ : list of float
        Mean training loss of a row in each epoch, in the units of `score_samples`.
    validation_curve_ : list of float
        Mean loss of a held-out row before training and after each epoch.
    n_iter_ : int
        Number of epochs run. Zero if PCA was already the optimum.
    best_iter_ : int
        The epoch whose weights were kept; zero is PCA.
    diagnosis_ : tuple of str
        What is odd about the fit, in plain words; empty if nothing is. What is most likely a
        mistake is warned of, too: codes that collapsed, columns whose units drown all others.
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
    """The constructor of every autoencoder. Nothing is checked before `fit`."""

    n_components: int | float | None = parameter(2, integer(1), FRACTION, NONE)
    _: KW_ONLY
    hidden_layer_sizes: tuple[int, ...] = parameter((128, 128), Integers())
    activation: str = parameter("silu", OneOf(tuple(ACTIVATIONS)))
    loss: str = parameter("squared_error", OneOf(tuple(LOSSES)))
    image_shape: tuple[int, ...] | None = parameter(None, Integers(lengths=(2, 3)), NONE)
    network: Callable[[int, int], tuple[Any, Any]] | None = parameter(None, NONE, AnyCallable())
    tied_weights: bool = parameter(False, BOOLEAN)
    init: str = parameter("pca", OneOf(("pca", "random")))
    pretraining: str | None = parameter(None, NONE, OneOf(("layerwise",)))
    whiten: bool = parameter(False, BOOLEAN)
    alpha: float = parameter(0.0, Number(Real, 0))
    l1_ratio: float = parameter(0.0, Number(Real, 0, 1))
    solver: str = parameter("adam", OneOf(tuple(SOLVERS)))
    learning_rate_init: float = parameter(0.005, positive())
    batch_size: int | str = parameter("auto", integer(1), OneOf(("auto",)))
    max_iter: int | None = parameter(None, integer(1), NONE)
    tol: float = parameter(1e-4, Number(Real, 0))
    n_iter_no_change: int | None = parameter(None, integer(1), NONE)
    early_stopping: bool = parameter(True, BOOLEAN)
    validation_fraction: float | str = parameter("auto", FRACTION, OneOf(("auto",)))
    warm_start: bool = parameter(False, BOOLEAN)
    random_state: int | np.random.RandomState | None = parameter(None, *RANDOM_STATE)
    device: str = parameter("auto", Instance(str, "the name of a torch device"))
    precision: str = parameter("auto", OneOf(("auto", "float32", "bfloat16")))
    verbose: int = parameter(0, integer(0), BOOLEAN)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Write what all leaves share into the docstring of each."""
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            for slot, entries in (
                ("    {shared_parameters}\n", SHARED_PARAMETERS[1:]),
                ("    {shared_attributes}\n", SHARED_ATTRIBUTES[1:]),
            ):
                cls.__doc__ = cls.__doc__.replace(slot, _without_those_of(cls.__doc__, entries))


def _without_those_of(doc: str, entries: str) -> str:
    """The entries whose names `doc` does not describe itself."""
    own = re.findall(r"^    (\w+) : ", doc, re.MULTILINE)
    parts = re.split(r"^(?=    \w+ : )", entries, flags=re.MULTILINE)
    return "".join(part for part in parts if part.split(" : ")[0].strip() not in own)
