"""A classifier for few labels: an autoencoder's encoder, a softmax on it, and guessed labels."""

import copy
import math
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Self

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.extmath import softmax
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .._autoencoders.base import BaseAutoencoder, restore_on_error
from .._autoencoders.denoising import DenoisingAutoencoder
from .._autoencoders.shared_parameters import RANDOM_STATE
from .._data.dataset import (
    as_array,
    checked_rows,
    dense_block,
    grad_mode,
    make_dataset,
    threads_for,
)
from .._data.process_group import refuse_process_group
from .._data.validation import (
    NONE,
    Instance,
    Number,
    check_parameters,
    integer,
    parameter,
    positive,
)
from .._nn.autoencoder import Scales, reciprocal, skip_init
from .._nn.fitted import FittedAutoencoder
from .._training.loop import Optimizer, WarmupLinearDecay, by_autograd, train_epoch
from .._training.pca import moments
from .label_spreading import encode_labels, spread_labels

# The default autoencoder's code, where rows and columns allow it.
N_COMPONENTS = 64

# The share of the rows with true labels in each batch, as long as other rows learn from guesses.
LABELED_FRACTION = 1 / 3

LEAST_STEP = 0.3

DEFAULT_STEPS, DEFAULT_EPOCHS = 1000, 5


@dataclass(eq=False, repr=False)
class AutoencoderClassifier(
    ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Classifies rows of which only a few have labels.

    All rows train an autoencoder. Then labels spread from the labelled rows to the others along a
    graph of nearest neighbours among the codes [1]_::

        F <- 0.99 S F + Y        S = D^-1/2 W D^-1/2,  W_ij = exp(-|code_i - code_j|^2 / (s_i s_j))

    Y has a one for each known label and s_i is the usual distance of row i to its neighbours; the
    largest entry of a row of F is its guessed label. Last, the encoder with a softmax on its codes
    learns the known and the guessed labels, a third of each batch being known ones, from rows with
    noise::

        minimise over encoder, W, b    mean of -log softmax(W encode(x + noise) + b)[label]

    If all rows have labels, that is a network with a pre-trained encoder, and nothing is guessed.

    Parameters
    ----------
    estimator : autoencoder of this package, FrozenEstimator or None, default=None
        What is pre-trained: a clone of it is fitted to all rows. A fitted autoencoder inside a
        `sklearn.frozen.FrozenEstimator` is used as it is, so that several classifiers can share one
        pre-training; it is not changed. None is a :class:`DenoisingAutoencoder` with 64 components,
        or as many as the shape of `X` allows, and a corruption level of 0.5.

    n_neighbors : int, default=10
        Neighbours of a row in the graph.

    max_samples : int, default=60000
        The graph has this many rows at most, the labelled ones and some others drawn at random. The
        search for neighbours takes time that grows with its square.

    noise_level : float, default=0.5
        Standard deviation of the noise while the softmax is trained, as a multiple of the spread of
        `X` (the root mean square of its columns' standard deviations).

    learning_rate_init : float, default=0.003
        The largest step size; it rises over the first steps and then falls to zero linearly.

    batch_size : int, default=128
        Rows in a step.

    max_iter : int or None, default=None
        Number of epochs. None makes about 1000 steps, and five epochs at least.

    random_state : int, RandomState instance or None, default=None
        Seed of the noise, the order of the rows and the pre-training, unless `estimator` has a
        `random_state` of its own.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels that rows can get.
    encoder_ : estimator
        The autoencoder, pre-trained, whose encoder has then learned the labels; `transform` is its
        own. Its decoder is that of the pre-training and does not belong to these codes.
    coef_ : ndarray of shape (n_classes, n_components)
        Weights of the softmax, for codes as `transform` gives them.
    intercept_ : ndarray of shape (n_classes,)
        Its biases.
    loss_curve_ : list of float
        Mean loss of a row in each epoch, in nats.
    n_iter_ : int
        Number of epochs run.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.

    See Also
    --------
    sklearn.semi_supervised.LabelSpreading : Spreads labels between rows as they are.
    sklearn.semi_supervised.SelfTrainingClassifier : Learns from its own most certain answers.

    References
    ----------
    .. [1] D. Zhou, O. Bousquet, T. N. Lal, J. Weston and B. Schölkopf, "Learning with local and
       global consistency", NIPS, 2003.
    .. [2] A. Iscen, G. Tolias, Y. Avrithis and O. Chum, "Label propagation for deep semi-supervised
       learning", CVPR, 2019.
    .. [3] L. Zelnik-Manor and P. Perona, "Self-tuning spectral clustering", NIPS, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderClassifier, AutoencoderTransformer
    >>> X, y = load_digits(return_X_y=True)
    >>> few = np.where(np.arange(len(y)) < 100, y, -1)
    >>> autoencoder = AutoencoderTransformer(16, max_iter=20, random_state=0)
    >>> classifier = AutoencoderClassifier(autoencoder, max_iter=10, random_state=0).fit(X, few)
    >>> bool(classifier.score(X[100:], y[100:]) > 0.9)
    True
    """

    estimator: BaseEstimator | None = parameter(
        None,
        NONE,
        Instance((BaseAutoencoder, FrozenEstimator), "an autoencoder, a FrozenEstimator of one"),
    )
    _: KW_ONLY
    n_neighbors: int = parameter(10, integer(1))
    max_samples: int = parameter(60_000, integer(1))
    noise_level: float = parameter(0.5, Number(Real, 0))
    learning_rate_init: float = parameter(0.003, positive())
    batch_size: int = parameter(128, integer(1))
    max_iter: int | None = parameter(None, integer(1), NONE)
    random_state: int | np.random.RandomState | None = parameter(None, *RANDOM_STATE)

    def fit(self, X, y) -> Self:
        """Pre-train on all rows, guess the labels that are missing, and learn the labels.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training rows; NaN means "not observed".
        y : array-like of shape (n_samples,)
            Labels; -1 means "no label", unless it stands beside a single other value, which warns
            and makes both classes. Strings beside the number -1 need an array of objects.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, `X` or `y` is not as documented; the message names it.
        """
        with restore_on_error(self), grad_mode():
            check_parameters(self)
            refuse_process_group(type(self).__name__)
            rows, y = checked_rows(self, X, y=y, ensure_min_samples=2)
            self.classes_, labels = encode_labels(y)
            rng = check_random_state(self.random_state)
            # `X` itself, as it may have names of features.
            autoencoder = self._pretrained(X, rows.shape, rng.randint(2**31 - 1))
            codes = dense_block(autoencoder.transform(X), slice(None))
            guesses = self._pseudo_label(codes, labels, rng)
            self.encoder_ = copy.deepcopy(autoencoder)  # a frozen one stays as it is
            self._learn(rows, codes, labels, guesses, rng.randint(2**31 - 1))
        return self

    def transform(self, X) -> np.ndarray:
        """Encode rows with the encoder that learned the labels.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN means "not observed".

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            In the dtype of `X`.
        """
        check_is_fitted(self)
        return dense_block(self.encoder_.transform(X), slice(None))

    def decision_function(self, X) -> np.ndarray:
        """What the softmax is applied to.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN means "not observed".

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or, for two classes, (n_samples,)
            Logarithms of probabilities up to a constant for each row; for two classes, the log-odds
            of ``classes_[1]``.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN means "not observed".

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; rows add up to one. Learned from guessed labels too, they
            are too sure of themselves where those were wrong.
        """
        return softmax(self._scores(X), copy=False)

    def predict(self, X) -> np.ndarray:
        """Give the most probable classes.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN means "not observed".

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Of `classes_`, never -1.
        """
        positions = self._scores(X).argmax(axis=1)
        return self.classes_[positions]

    def _scores(self, X) -> np.ndarray:
        codes = self.transform(X)
        return codes @ self.coef_.T.astype(codes.dtype) + self.intercept_.astype(codes.dtype)

    def _pretrained(self, X, shape: tuple[int, int], seed: int) -> BaseAutoencoder:
        if isinstance(self.estimator, FrozenEstimator):
            if not isinstance(self.estimator.estimator, BaseAutoencoder):
                raise TypeError(
                    "`estimator` must be an autoencoder, a FrozenEstimator of one or None, got "
                    f"{self.estimator!r}."
                )
            check_is_fitted(self.estimator.estimator)
            return self.estimator.estimator
        if self.estimator is None:
            size = min(N_COMPONENTS, *shape)
            return DenoisingAutoencoder(size, corruption_level=0.5, random_state=seed).fit(X)
        autoencoder = clone(self.estimator)
        if autoencoder.random_state is None:
            autoencoder.set_params(random_state=seed)
        return autoencoder.fit(X)

    def _pseudo_label(self, codes: np.ndarray, labels: np.ndarray, rng) -> np.ndarray:
        """The labels, and guesses for as many other rows as the graph may hold; else -1."""
        known, unknown = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
        room = max(self.max_samples - len(known), 0)
        rows = np.r_[known, rng.permutation(unknown)[:room]]
        guesses = labels.copy()
        if len(rows) > len(known):
            guesses[rows] = spread_labels(codes[rows], labels[rows], self.n_neighbors)
        return np.where(labels >= 0, labels, guesses)

    def _learn(self, X, codes, labels: np.ndarray, guesses: np.ndarray, seed: int) -> None:
        """Train the encoder, and a softmax on it, on known and guessed labels."""
        fitted = self.encoder_.network_
        free_steps(fitted.network.scales)
        unit, device = fitted.scale.item(), fitted.shift.device
        size = float(np.sqrt(codes.var(axis=0).mean())) or 1.0
        network = SoftmaxOnCodes(fitted, size, len(self.classes_))
        rows = make_dataset(X, as_array(fitted.shift), unit, device)
        targets = torch.from_numpy(guesses).to(device)
        level = self.noise_level * moments(X).rms_std / unit
        chance = torch.Generator(device).manual_seed(seed)

        def loss(index: Tensor) -> Tensor:
            x = rows.take(index)
            noise = torch.randn(x.shape, generator=chance, device=device)
            return cross_entropy(network(x + level * noise), targets[index], reduction="none")

        epoch = one_epoch(labels, guesses)
        n_steps = math.ceil(len(epoch) / self.batch_size)
        self.n_iter_ = self.max_iter or max(math.ceil(DEFAULT_STEPS / n_steps), DEFAULT_EPOCHS)
        schedule = WarmupLinearDecay(self.learning_rate_init, self.n_iter_ * n_steps)
        optimizer = Optimizer(network, "adam", schedule, unit=1.0)
        order = torch.Generator().manual_seed(seed)
        with threads_for(self.encoder_._flops_per_row(X, codes.shape[1]) * self.batch_size):
            self.loss_curve_ = [
                train_epoch(
                    optimizer,
                    by_autograd(loss),
                    epoch[torch.randperm(len(epoch), generator=order)].to(device),
                    self.batch_size,
                )
                for _ in range(self.n_iter_)
            ]
        if not self.loss_curve_[-1] < 2 * math.log(len(self.classes_)):  # twice that of a guess
            raise ValueError(
                f"Training diverged: `learning_rate_init` = {self.learning_rate_init} is too large "
                "for this data; try a tenth of it."
            )
        with optimizer.ema_weights():
            self.coef_, self.intercept_ = network.softmax_of_codes()
            trained = copy.deepcopy(network.fitted.network)
        # The decoder too, which has not moved unless it shares weights with the encoder.
        self.encoder_.network_ = fitted.with_nets_of(trained).to(fitted.shift.dtype)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoder_")

    @property
    def _n_features_out(self) -> int:
        return self.coef_.shape[1]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def free_steps(scales: Scales) -> None:
    """Let the encoder move each code by a good part of its size.

    A code that PCA gives exactly needs no step for a reconstruction, but it does for classes: with
    as many components as columns the encoder would stay linear.
    """
    scales.delta_scale = torch.maximum(scales.delta_scale, LEAST_STEP * reciprocal(scales.codes))


class SoftmaxOnCodes(nn.Module):
    """A trained encoder, in float32, and class scores that are linear in its codes."""

    def __init__(self, fitted: FittedAutoencoder, code_size: float, n_classes: int):
        super().__init__()
        self.fitted, self.code_size = copy.deepcopy(fitted).float(), code_size
        head = skip_init(nn.Linear, fitted.n_components, n_classes)
        self.head = head.to(fitted.shift.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of rows in the network's units, (n_samples, n_classes)."""
        return self.head(self.fitted.from_core(self.fitted.network.encode(x)) / self.code_size)

    def softmax_of_codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights and biases for codes as `transform` gives them."""
        return as_array(self.head.weight) / self.code_size, as_array(self.head.bias)


def one_epoch(labels: np.ndarray, guesses: np.ndarray) -> Tensor:
    """The rows to learn from, the labelled ones so often that they make up `LABELED_FRACTION`."""
    known, guessed = np.flatnonzero(labels >= 0), np.flatnonzero((labels < 0) & (guesses >= 0))
    times = max(round(len(guessed) * LABELED_FRACTION / (1 - LABELED_FRACTION) / len(known)), 1)
    return torch.from_numpy(np.concatenate([np.tile(known, times), guessed]))
