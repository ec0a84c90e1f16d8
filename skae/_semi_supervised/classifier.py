"""A semi-supervised classifier: an autoencoder, label spreading and fine-tuning."""

import copy
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.extmath import softmax
from sklearn.utils.validation import check_is_fitted

from .._autoencoders.base import BaseAutoencoder
from .._data.dataset import Rows, make_dataset
from .._data.device import as_array
from .._data.labels import encode_labels
from .._data.moments import moments
from .._data.process_group import refuse_process_group
from .._data.rows import naming
from .._data.table_rows import CATEGORICAL_FEATURES, encoded_rows
from .._data.threads import threads_for
from .._data.torch_defaults import training_mode
from .._data.validation import (
    NONE,
    RANDOM_STATE,
    Interval,
    StrOptions,
    check_finite_results,
    check_parameters,
    instance_of,
    integer,
    parameter,
    positive,
    restore_on_error,
)
from .._nn.pickling import VersionPickleMixin
from .fine_tuning import (
    EncoderClassifier,
    FineTuningConfig,
    check_convergence,
    class_scores,
    codes_of,
    default_n_epochs,
    epoch_rows,
    fine_tune,
    largest_scores,
    prepare_encoder,
    root_mean_variance,
    weights_of_classes,
)
from .label_spreading import accuracy, pseudo_label
from .pretraining import pretrained, rows_and_labels, use_table_of


@dataclass(eq=False, repr=False)
class AutoencoderClassifier(
    ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, VersionPickleMixin
):
    """Semi-supervised classifier for data with few labels.

    An autoencoder is trained on all rows. Then labels are spread from the labelled rows to the
    others along a graph of nearest neighbours of the codes [1]_ [2]_::

        F <- 0.99 S F + Y        S = D^-1/2 W D^-1/2,  W_ij = exp(-|code_i - code_j|^2 / (s_i s_j))

    Y has a one for each label, and s_i is the root mean square distance of row i from its
    neighbours [3]_. The pseudo-label of a row is the class with the largest entry in F. Finally, a
    softmax layer is added to the encoder, and both are trained on labels and pseudo-labels::

        minimise over encoder, W, b    mean of -log softmax(W encode(x + noise) + b)[label]

    If all rows have labels, there are no pseudo-labels, and the labels train the encoder directly.

    Parameters
    ----------
    estimator : autoencoder of this package, FrozenEstimator or None, default=None
        The autoencoder. `fit` fits a clone of it to all rows. To use a fitted autoencoder without
        fitting it again, pass it inside a `sklearn.frozen.FrozenEstimator`. None means a
        :class:`DenoisingAutoencoder` with a corruption level of 0.5 and 64 components, or as many
        as the shape of `X` allows.

    n_neighbors : int, default=10
        Neighbours of a row in the graph.

    max_samples : int, default=60000
        Maximum number of rows in the graph. If there are more rows, the unlabelled rows of the
        graph are drawn at random. The time is proportional to the square of this number.

    noise_level : float, default=0.5
        Standard deviation of the noise during fine-tuning, relative to the root mean square of the
        columns' standard deviations.

    learning_rate_init : float, default=0.003
        The largest learning rate. The learning rate rises to this value during the first steps, and
        then decays linearly to zero.

    batch_size : int, default=128
        Number of rows in a training step.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss of the fine-tuning, as ``{label: weight}``. "balanced"
        means weights that are inversely proportional to the numbers of labels.

    max_iter : int or None, default=None
        Number of epochs. None means about 1000 steps, but at least five epochs.

    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        The parameter of the default `estimator`. An `estimator` has its own.

    random_state : int, RandomState instance or None, default=None
        Seed of the noise and of the order of the rows. It is also the seed of `estimator`, unless
        `estimator` has a `random_state`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, without -1 for rows without a label.
    encoder_ : estimator
        The autoencoder with the fine-tuned encoder. `transform` calls its `transform`. Its decoder
        cannot decode these codes, because only the encoder is fine-tuned.
    coef_ : ndarray of shape (n_classes, n_components)
        Weights of the softmax layer, for codes as `transform` returns them.
    intercept_ : ndarray of shape (n_classes,)
        Biases of the softmax layer.
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
    sklearn.semi_supervised.LabelSpreading : Spreads labels along a graph of the rows themselves.
    sklearn.semi_supervised.SelfTrainingClassifier : Trains on its own most confident predictions.

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

    __module__ = "skae"

    estimator: BaseEstimator | None = parameter(
        None,
        NONE,
        instance_of((BaseAutoencoder, FrozenEstimator), "an autoencoder, a FrozenEstimator of one"),
    )
    _: KW_ONLY
    n_neighbors: int = parameter(10, integer(1))
    max_samples: int = parameter(60_000, integer(1))
    noise_level: float = parameter(0.5, Interval(Real, 0))
    learning_rate_init: float = parameter(0.003, positive())
    batch_size: int = parameter(128, integer(1))
    class_weight: dict[Any, float] | str | None = parameter(
        None, NONE, StrOptions(["balanced"]), instance_of(dict, "a dictionary")
    )
    max_iter: int | None = parameter(None, integer(1), NONE)
    categorical_features: Any = parameter("from_dtype", *CATEGORICAL_FEATURES)
    random_state: int | np.random.RandomState | None = parameter(None, *RANDOM_STATE)

    def fit(self, X, y, sample_weight=None, *, X_val=None, groups=None) -> Self:
        """Pre-train on all rows, compute pseudo-labels, and fine-tune the encoder.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training rows. NaN marks missing values.
        y : array-like of shape (n_samples,)
            Labels. -1 means "no label". If there is only one other value, -1 is a class, and there
            is a warning. If labels are strings, use an array of objects.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. An integer weight k has the effect of k copies of the row.
            After the pre-training, other weights are divided by their mean and rounded at random.
        X_val : array-like or CSR matrix of shape (n_val_samples, n_features), default=None
            Held-out rows for early stopping. None means that a share of `X` is held out.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that belong together, such as the patient of each row. Rows with equal
            labels are held out together. Not used with `X_val` or a `FrozenEstimator`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, `X` or `y` is not as documented; the message names it.
        """
        with restore_on_error(self), training_mode():
            check_parameters(self)
            refuse_process_group(type(self).__name__)
            rows, y, index = rows_and_labels(self, X, y, sample_weight)
            self.classes_, labels = encode_labels(y)
            rng = check_random_state(self.random_state)
            with naming("X_val"):
                X_val is None or encoded_rows(self, X_val)
            # `X` itself, as it may have names of features.
            default = {"categorical_features": self.categorical_features}
            shape = (len(y), rows.shape[1])
            fit_params = {"sample_weight": sample_weight, "X_val": X_val, "groups": groups}
            seed = rng.randint(2**31 - 1)
            autoencoder = pretrained(self.estimator, X, fit_params, default, shape, seed)
            rows = use_table_of(autoencoder, self, X, rows)
            rows = rows if index is None else rows[index]
            codes = codes_of(autoencoder, rows)
            pseudo_labels = pseudo_label(codes, labels, rng, self.n_neighbors, self.max_samples)
            self.encoder_ = copy.deepcopy(autoencoder)  # a frozen autoencoder must not change
            _fine_tune(self, rows, codes, labels, pseudo_labels, rng.randint(2**31 - 1))
            check_finite_results(self)
        return self

    if TYPE_CHECKING:  # scikit-learn's method has no annotations

        def fit_transform(self, X, y=None, **fit_params: Any) -> np.ndarray: ...

    def transform(self, X) -> np.ndarray:
        """Encode rows with the fine-tuned encoder.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            The codes, in the dtype of `X`.
        """
        check_is_fitted(self)
        return codes_of(self.encoder_, encoded_rows(self, X))

    def decision_function(self, X) -> np.ndarray:
        """Scores of the classes, which are the inputs of the softmax function.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or, for two classes, (n_samples,)
            The inputs of the softmax function. For two classes, the logarithm of the ratio of the
            probability of ``classes_[1]`` to that of ``classes_[0]``.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            The probabilities, in the order of `classes_`. They are too close to 0 or 1 for rows
            whose pseudo-labels were wrong.
        """
        return softmax(self._scores(X), copy=False)

    def predict_log_proba(self, X) -> np.ndarray:
        """Logarithms of the probabilities; finite even if a probability rounds to 0.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            The logarithms, in the order of `classes_`.
        """
        return log_softmax(self._scores(X), axis=1)

    def predict(self, X) -> np.ndarray:
        """Predict the most probable class of each row.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            The predicted classes, which are entries of `classes_`.
        """
        indices = largest_scores(*self._score_inputs(X))
        return self.classes_[indices]

    def score(self, X, y, sample_weight=None) -> float:
        """Accuracy of the predictions for rows with labels.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values.
        y : array-like of shape (n_samples,)
            Labels as in `fit`. Rows with the label -1 are left out, unless -1 is a class.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
        """
        return accuracy(y, self.predict(X), sample_weight, self.classes_)

    def _scores(self, X) -> np.ndarray:
        return class_scores(*self._score_inputs(X))

    def _score_inputs(self, X) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.dtype]:
        check_is_fitted(self)
        X = encoded_rows(self, X)
        return codes_of(self.encoder_, X, precise=True), self.coef_, self.intercept_, X.dtype

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


def _fine_tune(
    classifier: AutoencoderClassifier,
    X: Rows,
    codes: np.ndarray,
    labels: np.ndarray,
    pseudo_labels: np.ndarray,
    seed: int,
) -> None:
    """Train the encoder, and a softmax on its codes, with labels and pseudo-labels."""
    fitted = classifier.encoder_.network_
    scale, device = fitted.scale.item(), fitted.shift.device
    prepare_encoder(fitted.network)
    code_std = root_mean_variance(codes)
    network = EncoderClassifier(fitted, code_std, len(classifier.classes_))
    dataset = make_dataset(X, as_array(fitted.shift), scale, device)
    epoch = epoch_rows(labels, pseudo_labels)
    config = FineTuningConfig(
        noise_std=classifier.noise_level * float(np.sqrt(np.mean(moments(X).std ** 2))) / scale,
        learning_rate=classifier.learning_rate_init,
        batch_size=classifier.batch_size,
        n_epochs=classifier.max_iter or default_n_epochs(len(epoch), classifier.batch_size),
        class_weight=weights_of_classes(
            classifier.class_weight, classifier.classes_, labels, pseudo_labels[epoch]
        ),
    )
    targets = torch.from_numpy(pseudo_labels).to(device)
    with threads_for(classifier.encoder_._flops_per_row(X, codes.shape[1]) * classifier.batch_size):
        network, loss_curve = fine_tune(network, dataset, targets, epoch, config, seed)
    before = EncoderClassifier(fitted, code_std, len(classifier.classes_))
    check_convergence(loss_curve, before, dataset, config.learning_rate)
    classifier.n_iter_, classifier.loss_curve_ = config.n_epochs, loss_curve
    classifier.coef_, classifier.intercept_ = network.coefficients()
    # The decoder is unchanged unless it shares weights with the encoder.
    trained = network.fitted.network
    classifier.encoder_.network_ = fitted.with_trained_layers(trained).to(fitted.shift.dtype)
