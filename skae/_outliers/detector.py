"""Outliers: rows that an autoencoder cannot give back."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted

from .._autoencoders.base import BaseAutoencoder, restore_on_error
from .._autoencoders.shared_parameters import RANDOM_STATE
from .._data.dataset import checked_rows
from .._data.process_group import refuse_process_group
from .._data.validation import BOOLEAN, NONE, Instance, Number, OneOf, check_parameters, parameter
from .denoising_ensemble import DenoisingEnsemble

# Chosen with `benchmarks/outliers.py`. Strong noise and few steps learn the outline of the rows
# and nothing of a few that are unusual; clean rows are worth knowing in detail.
COARSE_LEVELS, COARSE_STEPS = (2.0, 3.0, 5.0), 100

AUTOENCODER = Instance((BaseAutoencoder, DenoisingEnsemble), "an autoencoder of this package")


@dataclass(eq=False, repr=False)
class AutoencoderOutlierDetector(OutlierMixin, BaseEstimator):
    """Tells outliers by what an autoencoder cannot give back of them.

    An autoencoder learns what rows have in common. It gives usual rows back nearly as they are and
    others worse, and it says in which features::

        score_samples(x) = sum over features of feature_contributions(x)
        feature_contributions(x) = -(x - reconstruct(x))^2

    for an autoencoder with squared error; other losses are charged as they charge in training. The
    default is a :class:`DenoisingEnsemble`, chosen by measurement over 25 data sets, whose errors
    are relative to what is usual in each feature.

    Scores have scikit-learn's sign: *low is abnormal*, and `predict` gives -1 for outliers and 1
    for the rest. PyOD's sign is the opposite: there high scores are abnormal, and outliers are 1.

    Parameters
    ----------
    estimator : autoencoder or None, default=None
        Any autoencoder of this package. None is a :class:`DenoisingEnsemble`, as by default if
        `novelty`, else with strong noise and few steps: ``noise_levels=(2.0, 3.0, 5.0)``,
        ``exact_levels=()`` and ``n_steps=100``.

    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training rows that are to be called outliers. "auto" calls those rows outliers
        whose scores are farther below the lower quartile of the training scores than one and a half
        times the distance of the quartiles, as in a box plot.

    novelty : bool, default=False
        Whether the training rows are known to be all usual, and only new rows may be outliers. If
        False, the training rows may have outliers among them: the autoencoder is fitted twice, the
        second time to the half that the first gives back best. The half without the others says
        nearly as much about usual rows, and outliers cannot hide behind each other.

    random_state : int, RandomState instance or None, default=None
        Seed for the autoencoder. None leaves the `random_state` of `estimator` as it is.

    Attributes
    ----------
    estimator_ : object
        The fitted autoencoder.
    offset_ : float
        Rows of a lower score are outliers: ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.

    See Also
    --------
    DenoisingEnsemble : The default autoencoder.
    sklearn.ensemble.IsolationForest : Outliers by random splits.
    sklearn.neighbors.LocalOutlierFactor : Outliers by the density around their neighbours.

    References
    ----------
    .. [1] S. Hawkins, H. He, G. Williams and R. Baxter, "Outlier detection using replicator neural
       networks", Data Warehousing and Knowledge Discovery, 2002.
    .. [2] P. J. Rousseeuw and K. Van Driessen, "A fast algorithm for the minimum covariance
       determinant estimator", Technometrics, 1999: fitting to the better half.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import AutoencoderOutlierDetector
    >>> t = np.random.RandomState(0).uniform(-1, 1, size=300)
    >>> X = np.c_[t, t**2, t**3]
    >>> detector = AutoencoderOutlierDetector(novelty=True, random_state=0).fit(X)
    >>> odd = [[0.5, 0.9, 0.125]]  # the square is wrong
    >>> detector.predict(odd)
    array([-1])
    >>> int(detector.feature_contributions(odd).argmin())
    1
    """

    estimator: Any = parameter(None, NONE, AUTOENCODER)
    _: KW_ONLY
    contamination: float | str = parameter(
        "auto", OneOf(("auto",)), Number(Real, 0, 0.5, low_open=True)
    )
    novelty: bool = parameter(False, BOOLEAN)
    random_state: int | np.random.RandomState | None = parameter(None, *RANDOM_STATE)

    def fit(self, X, y=None) -> Self:
        """Learn what usual rows are like, and how low a score is too low.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training rows; NaN means "not observed".
        y : ignored
            Present by scikit-learn's convention.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented; the message names it.
        """
        with restore_on_error(self):
            check_parameters(self)
            refuse_process_group(type(self).__name__)
            X = checked_rows(self, X, reset=True, ensure_min_samples=2)
            unfitted = self._unfitted()
            estimator = clone(unfitted).fit(X)
            if not self.novelty:
                estimator = unfitted.fit(_concentration_step(X, _scores(estimator, X)))
            self.estimator_ = estimator
            self.offset_ = _offset(_scores(estimator, X), self.contamination)
        return self

    def score_samples(self, X) -> np.ndarray:
        """How usual each row is; low is abnormal.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN is not charged.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            In float64, the sum of the `feature_contributions` of each row.
        """
        check_is_fitted(self)
        return _scores(self.estimator_, checked_rows(self, X, reset=False))

    def feature_contributions(self, X) -> np.ndarray:
        """What each feature adds to the score of a row; the lowest gives an outlier away.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN contributes 0.

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features)
            Numbers that add up to `score_samples`; for squared errors none is above 0.
        """
        check_is_fitted(self)
        return self.estimator_.score_features(checked_rows(self, X, reset=False))

    def decision_function(self, X) -> np.ndarray:
        """How far each score is above the lowest that still counts as usual.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``; below 0 for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X) -> np.ndarray:
        """Call rows usual or outliers.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows, those of `fit` or new ones.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            1 for usual rows, -1 for outliers.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _unfitted(self) -> Any:
        """A new autoencoder as the parameters ask for."""
        if self.estimator is not None:
            estimator = clone(self.estimator)
        elif self.novelty:
            estimator = DenoisingEnsemble()
        else:
            estimator = DenoisingEnsemble(
                noise_levels=COARSE_LEVELS, exact_levels=(), n_steps=COARSE_STEPS
            )
        if self.random_state is not None:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            estimator.set_params(random_state=seed)
        return estimator

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        held = self.estimator if AUTOENCODER.has_type(self.estimator) else DenoisingEnsemble()
        tags.input_tags = get_tags(held).input_tags
        return tags


def _scores(estimator: Any, X) -> np.ndarray:
    return estimator.score_features(X).sum(axis=1, dtype=np.float64)


def _concentration_step(X, scores: np.ndarray) -> Any:
    """The rows of the higher scores, half of them and at least two."""
    n_rows = max((len(scores) + 1) // 2, 2)
    return X[np.sort(np.argsort(-scores, kind="stable")[:n_rows])]


def _offset(scores: np.ndarray, contamination: float | str) -> float:
    """The score below which rows are outliers."""
    if not isinstance(contamination, str):
        return float(np.percentile(scores, 100 * contamination))
    lower, upper = np.percentile(scores, [25, 75])
    return float(lower - 1.5 * (upper - lower))
