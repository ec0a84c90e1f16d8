"""Filling of missing cells."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from sklearn import config_context
from sklearn.base import TransformerMixin, clone
from sklearn.impute import SimpleImputer
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from .._autoencoders.base import restore_on_error
from .._autoencoders.shared_parameters import RANDOM_STATE
from .._data.dataset import grad_mode, threads_for
from .._data.process_group import refuse_process_group
from .._data.validation import BOOLEAN, NONE, Estimator, Instance, check_parameters, parameter
from .._nn.pickling import ModulePickleMixin
from .._training.pca import moments
from .factor_analysis import LowRankGaussian, fit_low_rank_gaussian
from .gaussian import ConditionalGaussian, fit_gaussian
from .masking import N_FOLDS, Folds, Gaussian
from .stacked_correction import learn_correction, n_judges, stacking_weights

# With fewer rows there is nothing to judge a correction by.
FEWEST_ROWS = 20
# Above this width a full covariance, solved for each row, takes longer than all the rest.
WIDE = 128
# How often an estimator restores the rows that it has completed before.
ROUNDS = 10


@dataclass(eq=False, repr=False)
class AutoencoderImputer(TransformerMixin, ModulePickleMixin):
    """Fill missing cells with what an over-complete denoising autoencoder restores there.

    Three steps, each of which has to beat the one before it:

    1. A Gaussian (of 32 factors, if there are more than 128 columns) is fitted to the observed
       cells by EM, and missing cells are filled with their conditional mean given the observed
       ones of their row.
    2. More cells are hidden, many times, and the rows completed by the Gaussian are read by
       autoencoders that learn to tell what was hidden: a layer of radial units with a decoder in
       closed form, and five dense networks that also see which cells were filled. Beside them, up
       to 2048 remembered rows of `fit` say what those most like a row had there.
    3. Each of them has learned without a fifth of the rows, completed without it, too. What it
       tells of hidden cells there decides how much of its correction is made in each column, and
       whether any is.

    Rows that were not in `fit` can be filled, with any pattern of gaps, also in columns that were
    complete in `fit`. Observed cells come back as they are. What is filled, draws excepted, is
    within the range of the column's observed cells in `fit`.

    Parameters
    ----------
    estimator : transformer or None, default=None
        A transformer with `inverse_transform`, such as any autoencoder of this package or `PCA`,
        that takes the place of all that is in the second step: a clone of it is fitted on the
        rows that the Gaussian has completed, and missing cells are replaced by what it restores
        there, ten times over. None is what is described above.

    missing_values : float, default=np.nan
        What marks a missing cell.

    sample_posterior : bool, default=False
        Fill with draws, for multiple imputation, instead of with expected values: from the
        Gaussian's conditional distribution, moved to the corrected value, and in each column as
        much narrower as the correction was found to lower the error. The draws follow
        `random_state`.

    keep_empty_features : bool, default=False
        Keep columns without any observed cell, filled with zeros, instead of dropping them.

    add_indicator : bool, default=False
        Append a :class:`~sklearn.impute.MissingIndicator` of the columns with gaps in `fit`.

    random_state : int, RandomState instance or None, default=None
        Seed of the hidden cells, the folds, the weights, and the draws of `sample_posterior`.

    Attributes
    ----------
    estimator_ : transformer or None
        The fitted `estimator`, on all rows.
    error_ratio_ : ndarray of shape (n_features_kept,)
        Squared error of hidden cells after the correction, over that of the Gaussian alone, on rows
        not learned from; 1 where there is no correction.
    initial_imputer_ : SimpleImputer
        Knows which columns are kept, and makes the indicator.
    indicator_ : MissingIndicator or None
        Present if `add_indicator`, else None.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.

    See Also
    --------
    sklearn.impute.IterativeImputer : Regression of each column on all others, in turn.
    ReconstructionTransformer : Replaces all cells by what is restored of them.

    Notes
    -----
    Means, and squared errors, are in the units of each column's standard deviation: rescaled
    columns are filled alike.

    Rows of `fit`, at most 2048, are part of the fitted imputer, and of its pickles and files.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird and D. B. Rubin, "Maximum likelihood from incomplete data via
       the EM algorithm", Journal of the Royal Statistical Society B, 1977.
    .. [2] P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol, "Extracting and composing robust
       features with denoising autoencoders", ICML, 2008.
    .. [3] D. S. Broomhead and D. Lowe, "Multivariable functional interpolation and adaptive
       networks", Complex Systems, 1988.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderImputer
    >>> X, _ = load_iris(return_X_y=True)
    >>> gaps = np.random.RandomState(0).uniform(size=X.shape) < 0.1
    >>> imputer = AutoencoderImputer(random_state=0)
    >>> filled = imputer.fit_transform(np.where(gaps, np.nan, X))
    >>> bool(np.abs(filled - X)[gaps].mean() < 0.3)
    True
    """

    estimator: Any = parameter(None, NONE, Estimator(("fit", "transform", "inverse_transform")))
    _: KW_ONLY
    missing_values: float = parameter(np.nan, Instance(Real, "a number or np.nan"))
    sample_posterior: bool = parameter(False, BOOLEAN)
    keep_empty_features: bool = parameter(False, BOOLEAN)
    add_indicator: bool = parameter(False, BOOLEAN)
    random_state: int | np.random.RandomState | None = parameter(None, *RANDOM_STATE)

    _module_name = "_correction"

    def fit(self, X, y=None) -> Self:
        """Learn from the observed cells.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, of which cells may be missing.
        y : ignored
            Present by scikit-learn's convention.

        Returns
        -------
        self : object
            The fitted imputer.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented; the message names it.
        """
        with restore_on_error(self), grad_mode(), threads_for(0):
            check_parameters(self)
            refuse_process_group(type(self).__name__)
            cells = self._validated(X, reset=True)
            self.initial_imputer_ = SimpleImputer(
                missing_values=self.missing_values,
                add_indicator=self.add_indicator,
                keep_empty_features=self.keep_empty_features,
            ).fit(X)
            self.indicator_ = self.initial_imputer_.indicator_
            cells = cells[:, self._kept]
            missing = self._is_missing(cells)
            stats = moments(np.where(missing, np.nan, cells))
            self._mean, self._deviation = stats.mean, stats.std
            x, gaps = self._standard(cells, missing), torch.from_numpy(missing)
            self._low, self._high = x.numpy().min(axis=0), x.numpy().max(axis=0)
            gaussian = (fit_low_rank_gaussian if x.shape[1] > WIDE else fit_gaussian)(x, gaps)
            self._gaussian = tuple(part.numpy() for part in gaussian)
            self._correction: Any = None
            self.estimator_: Any = None
            self.error_ratio_ = np.ones(x.shape[1])
            if len(x) >= FEWEST_ROWS and x.any():
                self._learn(x, gaps, gaussian)
        return self

    def transform(self, X) -> np.ndarray:
        """Fill the missing cells of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, of which cells may be missing.

        Returns
        -------
        X_filled : ndarray of shape (n_samples, n_features_kept + n_indicators)
            In the dtype of `X`; observed cells are unchanged.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        cells = self._validated(X)[:, self._kept]
        with config_context(transform_output="default"):
            result = self.initial_imputer_.transform(X)
        missing = self._is_missing(cells)
        # Beyond what was observed in `fit` nothing is known: one far-out cell of a row would else
        # be followed, linearly, by all that is filled there.
        low, high = torch.tensor(self._low), torch.tensor(self._high)
        x, gaps = self._standard(cells, missing).clamp(low, high), torch.from_numpy(missing)
        kind = LowRankGaussian if x.shape[1] > WIDE else ConditionalGaussian
        gaussian = kind(*map(torch.tensor, self._gaussian))
        with torch.no_grad(), threads_for(0):
            filled = self._corrected(gaussian.fill(x, gaps), gaps).clamp(low, high)
            if self.sample_posterior:
                narrower = torch.from_numpy(np.sqrt(self.error_ratio_))
                filled = filled + narrower * gaussian.sample(x, gaps, self._generator())
        in_units_of_X = self._mean + self._deviation * filled.numpy()
        result[:, : cells.shape[1]][missing] = in_units_of_X[missing]
        return result

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the kept columns and of the indicators.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None is those of `fit`.

        Returns
        -------
        feature_names_out : ndarray of str objects
        """
        check_is_fitted(self)
        return self.initial_imputer_.get_feature_names_out(input_features)

    def _learn(self, x: Tensor, missing: Tensor, gaussian: Gaussian) -> None:
        """Set the correction, and what it leaves of the error."""
        noise = self._generator()
        if self.estimator is None:
            self._correction, left = learn_correction(x, missing, gaussian, noise)
            self.error_ratio_ = left.numpy()
            return
        folds = Folds.of(x, missing, gaussian, noise, n_judging=1)
        judges = folds.to_judge(n_judges(x.shape[1]) // N_FOLDS, noise).together()
        others = folds.fold != 0
        completed = folds.gaussians[0][0].fill(x[others], missing[others])
        self.estimator_ = clone(self.estimator).fit(self._in_units_of_X(completed))
        told = self._restored(judges.filled.double(), judges.unseen > 0)
        step = (told - judges.filled) * judges.hidden
        judges = judges._replace(wanted=judges.wanted.double(), hidden=judges.hidden.double())
        factors, left = stacking_weights(step[None], judges)
        self._correction, self.error_ratio_ = factors[0].numpy(), left.numpy()
        completed = gaussian.fill(x, missing)
        self.estimator_ = clone(self.estimator).fit(self._in_units_of_X(completed))

    def _corrected(self, filled: Tensor, missing: Tensor) -> Tensor:
        if self._correction is None:
            return filled
        if self.estimator is None:
            return self._correction(filled, missing)
        factor = torch.tensor(self._correction)
        return filled + factor * (self._restored(filled, missing) - filled)

    def _restored(self, filled: Tensor, missing: Tensor) -> Tensor:
        """Completed rows with `estimator_` as the judge of their missing cells."""
        inverse = np.divide(1, self._deviation, where=self._deviation > 0, out=self._deviation * 0)
        for _ in range(ROUNDS):
            codes = self.estimator_.transform(self._in_units_of_X(filled))
            restored = np.asarray(self.estimator_.inverse_transform(codes), dtype=np.float64)
            standard = torch.from_numpy((restored - self._mean) * inverse)
            filled = torch.where(missing, standard, filled)
        return filled

    def _in_units_of_X(self, x: Tensor) -> np.ndarray:
        return self._mean + self._deviation * x.numpy()

    def _standard(self, cells: np.ndarray, missing: np.ndarray) -> Tensor:
        """Cells in standard units, 0 where missing or where a column is constant."""
        known = np.where(missing, self._mean, cells) - self._mean
        return torch.from_numpy(
            np.divide(known, self._deviation, where=self._deviation > 0, out=np.zeros_like(known))
        )

    @property
    def _kept(self) -> np.ndarray:
        return ~np.isnan(self.initial_imputer_.statistics_)

    def _is_missing(self, cells: np.ndarray) -> np.ndarray:
        return np.isnan(cells) if self._nan_is_missing else cells == self.missing_values

    @property
    def _nan_is_missing(self) -> bool:
        return self.missing_values != self.missing_values

    def _generator(self) -> torch.Generator:
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        return torch.Generator().manual_seed(int(seed))

    def _validated(self, X, *, reset: bool = False) -> np.ndarray:
        return validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan" if self._nan_is_missing else True,
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "error_ratio_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._nan_is_missing
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
