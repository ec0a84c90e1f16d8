"""`BaseAutoencoder`: fitting, for all autoencoders. A subclass defines its objective."""

import copy
from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Self

import numpy as np

from .._data.array_api import as_numpy, to_namespace_of
from .._data.groups import RowGroups
from .._data.process_group import SingleProcess, process_group
from .._data.sample_weight import check_sample_weight, weighted_rows
from .._data.threads import threads_for
from .._data.torch_defaults import training_mode
from .._data.validation import check_finite_results, restore_on_error
from .._training.callbacks import (
    CallbackSupportMixin,
    FitCallbackContext,
    with_callbacks,
)
from .._training.config import TrainingConfig
from .._training.diagnostics import (
    collapsed_codes,
    diagnose,
    diagnose_batch,
    name_of_start,
    warn_after_fit,
)
from .._training.fit import continue_training, network_parts, search_size, train_autoencoder
from .._training.fit_data import FitData, make_fit_data
from .._training.initialization import (
    Initialization,
    flops_per_row,
    make_pca_path,
    make_rotated,
    pca_is_optimal,
    set_sizes,
)
from .._training.loadings import loadings
from .._training.loop import History
from .._training.objective import Objective, check_objective
from .._training.result import (
    Diagnostic,
    FitResult,
    TrainedNetwork,
    code_statistics,
    rotate_codes,
)
from .._training.rotation import CodeMoments, principal_axes
from .checks import (
    check_same_fit,
    check_shared_parameters,
    check_streamable,
    code_size,
    naming_units,
    network_parameters,
    network_to_continue,
    rows_for_early_stopping,
)
from .contributions import ContributionsMixin
from .loss_method import LossMethodMixin


class BaseAutoencoder(LossMethodMixin, CallbackSupportMixin, ContributionsMixin, ABC):
    """Base class of all autoencoders: parameters, fitting, inference.

    A subclass is a dataclass of its parameters and defines `_objective`; it may also override the
    three methods below. `fit` calls them in this order, `_initialize` sometimes twice or more:

    ============================================  ================================================
    ``_check_parameters()``                       raises unless the parameters are valid
    ``_objective(data)``                          the :class:`Objective` that training minimises
    ``_initialize(data, n_components)``           the network before training
    ``_summarize(trained, data)``                 the final code basis, and fitted attributes
    ============================================  ================================================

    See Also
    --------
    Objective : The loss that training minimises.
    skae.AutoencoderTransformer : The plain autoencoder, usually the class to derive from.

    Examples
    --------
    An autoencoder with a parameter and an objective of its own:

    >>> from dataclasses import dataclass
    >>> from sklearn.datasets import load_iris
    >>> from skae.base import BaseAutoencoder, Objective, parameter, positive
    >>> @dataclass
    ... class Huber(Objective):
    ...     delta: float
    ...
    ...     def per_row(self, network, x, rng):
    ...         residual = (network.decode(network.encode(x)) - x).nan_to_num().abs()
    ...         linear = self.delta * (residual - self.delta / 2)
    ...         return residual.square().div(2).where(residual < self.delta, linear).sum(1)
    >>> @dataclass(eq=False, repr=False, kw_only=True)
    ... class HuberAutoencoder(BaseAutoencoder):
    ...     delta: float = parameter(1.0, positive())
    ...
    ...     def _objective(self, data):
    ...         return Huber(self.delta)
    >>> X, _ = load_iris(return_X_y=True)
    >>> HuberAutoencoder(n_components=1, max_iter=5, random_state=0).fit_transform(X).shape
    (150, 1)
    """

    @abstractmethod
    def _objective(self, data: FitData) -> Objective:
        """Return the objective that training minimises.

        Parameters
        ----------
        data : FitData
            The training rows and their units.

        Returns
        -------
        objective : Objective
        """

    def _initialize(self, data: FitData, n_components: int) -> Initialization:
        """Return the network before training: PCA, beside an encoder and a decoder of zero.

        Parameters
        ----------
        data : FitData
            The training rows; `data.fitted` is the network of a fit that is continued, or None.
        n_components : int
            Size of the code.

        Returns
        -------
        initial : Initialization
        """
        pca = data.principal_components(n_components)
        residual_to_pca = self._starts_from_pca(data)
        optimal = residual_to_pca and data.objective.minimised_by_pca and pca_is_optimal(self, pca)
        fitted = data.fitted
        if fitted is None:
            n_steps = self._n_projection_steps(n_components)
            # A projection starts from PCA's code where that of the encoder is worse.
            options = {"residual_to_pca": residual_to_pca, "clipped": not n_steps}
            parts = network_parts(self, data, pca, n_components, **options)
            network = data.objective.network_class(*parts, data.loss.link)
            network.project_codes(n_steps)
            data.objective.prepare_network(network, data)
            fitted = make_rotated(network, data, n_components)
            set_sizes(fitted, data, pca)
        return Initialization(fitted, make_pca_path(data, pca, active=True), optimal)

    def _summarize(self, trained: TrainedNetwork, data: FitData) -> FitResult:
        """Choose the final code basis: centred, uncorrelated, sorted by explained variance.

        Parameters
        ----------
        trained : TrainedNetwork
            The network after training.
        data : FitData
            The training rows.

        Returns
        -------
        result : FitResult
        """
        codes = code_statistics(trained, data, CodeMoments)
        assert isinstance(codes, CodeMoments)
        basis = principal_axes(codes)
        result = rotate_codes(trained, codes, basis, whiten=self.whiten)
        # A component that varies less than the corruption is best left constant.
        collapse = None if data.objective.corrupts_input else collapsed_codes(basis, result.codes)
        return result._replace(collapse=collapse)

    def _check_parameters(self) -> None:
        """Raise a TypeError or ValueError unless the parameters are valid."""
        check_shared_parameters(self)

    def fit(self, X, y=None, sample_weight=None, *, X_val=None, groups=None) -> Self:
        """Train on the rows of `X`.

        Within a process group of `torch.distributed`, all processes train one model. Each process
        passes its own rows.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training rows. NaN marks missing values.
        y : ignored
            Present by scikit-learn's convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. An integer weight k has the effect of k copies of the row, and
            a weight of zero that of leaving it out. If some weights are not integers, only their
            ratios matter.
        X_val : array-like or CSR matrix of shape (n_val_samples, n_features), default=None
            Held-out rows for early stopping. None means that a share of `X` is held out.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that belong together, such as the patient or the machine of each row.
            Rows with equal labels are held out together. Labels are numbers, strings or other
            hashable objects. Not used with `X_val` or ``early_stopping=False``.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented; the message names it.
        RuntimeError
            If another process of the process group fails or does not answer.
        KeyboardInterrupt
            If `fit` is interrupted. If training had begun, the best epoch is kept, with a
            ConvergenceWarning. Otherwise the estimator does not change.
        """
        # Within: an error that a callback raises at its end undoes the fit as well.
        with restore_on_error(self), training_mode(), process_group() as group:
            history, found, start = self._fit(X, y, X_val, groups, sample_weight, group)
        warn_after_fit(history, found, start, self.learning_rate_init, verbose=bool(self.verbose))
        return self

    @with_callbacks
    def _fit(
        self, X, y, X_val, groups, sample_weight, group: SingleProcess
    ) -> tuple[History, list[Diagnostic], str]:
        """Fit without the final warnings; also returns the name of epoch 0."""
        X_input = X
        with group.synchronize_errors():
            self._check_parameters()
            fitted = network_to_continue(self) if self.warm_start else None
            X = self._checked_for_fit(
                X, sample_weight=sample_weight, reset=fitted is None, ensure_min_samples=2
            )
            X_val = rows_for_early_stopping(self, X_val)
            groups = None if groups is None else RowGroups.from_labels(groups, X.shape[0])
            weights = check_sample_weight(sample_weight, X.shape[0])
            targets = self._targets(y, X, X_val)
        check_same_fit(self, group, X, X_val, groups, weights, continues=fitted is not None)
        rows = weighted_rows(X, weights, groups, group, targets=targets, min_samples=2)
        n_components = code_size(self, rows.n_samples, X.shape[1], fitted)
        config = TrainingConfig.from_params(self, rows.n_rows)
        with threads_for(self._flops_per_row(X, n_components) * config.batch_size):
            searches = isinstance(n_components, float)
            callbacks = FitCallbackContext.begin(self, X_input, config, searches=searches)
            options = (config, copy.deepcopy(fitted), group)
            data = make_fit_data(
                rows, X_val, self, self._loss_of_fit(), *options, holds_out=self.early_stopping
            )
            data.objective = check_objective(self._objective(data), self)
            fit_size = naming_units(data)(partial(self._fit_size, data))
            if searches:
                result = search_size(fit_size, data, n_components, callbacks)
            else:
                result = fit_size(int(n_components), callbacks)
            self._set_fitted_attributes(result, data)
            self.loadings_ = to_namespace_of(data.X_input, loadings(self.network_, data))
            reconstruct = partial(self._apply_to_native, apply=self._reconstruct, width=X.shape[1])
            diagnostics = diagnose(result, data, reconstruct, self._columns)
            self.diagnosis_ = tuple(found.text for found in diagnostics)
            callbacks.end(fitted=True)
        return result.history, diagnostics, name_of_start(self.network_, fitted is not None)

    def partial_fit(self, X, y=None, sample_weight=None) -> Self:
        """Continue with one pass over the rows of `X`.

        The first call computes the principal components and the scales of the inputs, so the first
        batch should be typical of the data. It needs at least `n_components` rows. No rows are held
        out. The learning rate decays with the number of steps. The state of the optimiser is kept
        between calls with the same `solver`, but not in pickles.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            A batch of rows. NaN marks missing values.
        y : ignored
            Present by scikit-learn's convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as for `fit`. If some are not integers, they are divided by the
            mean of those above zero in this batch.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented; the message names it.
        """
        with restore_on_error(self), training_mode(), process_group() as group:
            with group.synchronize_errors():
                self._check_parameters()
                fitted = network_to_continue(self)
                is_first = fitted is None
                n_required = 1 + is_first
                X = self._checked_for_fit(
                    X, sample_weight=sample_weight, reset=is_first, ensure_min_samples=n_required
                )
                weights = check_sample_weight(sample_weight, X.shape[0])
                targets = self._targets(y, X, None)
            check_same_fit(self, group, X, weights=weights, continues=fitted is not None)
            rows = weighted_rows(X, weights, None, group, targets=targets, min_samples=n_required)
            n_components = code_size(self, rows.n_samples, X.shape[1], fitted)
            check_streamable(self, n_components, fitted)
            config = TrainingConfig.from_params(self, rows.n_rows)
            with threads_for(self._flops_per_row(X, n_components) * config.batch_size):
                settings = (config, copy.deepcopy(fitted), group)
                data = make_fit_data(rows, None, self, self._loss_of_fit(), *settings)
                data.objective = check_objective(self._objective(data), self)
                result, state = naming_units(data)(self._fit_pass)(data, int(n_components))
            self._set_fitted_attributes(result, data, state)
            self.__dict__.pop("loadings_", None)  # of other rows, and another network
            self.diagnosis_ = diagnose_batch(data, self._columns, getattr(self, "diagnosis_", ()))
        return self

    def _fit_size(
        self, data: FitData, n_components: int, callbacks: FitCallbackContext
    ) -> FitResult:
        """Fit a code of one size."""

        def initialize(data: FitData) -> Initialization:
            initial = self._initialize(data, n_components)
            initial.fitted.network.project_codes(self._n_projection_steps(n_components))
            return initial

        summarize = partial(self._summarize, data=data)
        return train_autoencoder(initialize, n_components, self, data, callbacks, summarize)

    def _fit_pass(self, data: FitData, n_components: int) -> tuple[FitResult, dict[str, Any]]:
        """Fit one pass over a batch, the first or a later one."""
        seen = state = None
        fitted = data.fitted
        if fitted is None:
            fitted = self._initialize(data, n_components).fitted
        else:
            seen, state = self._codes, self._optimizer_state
            data.moments = data.moments._replace(mean=as_numpy(self.mean_))
        fitted.network.project_codes(self._n_projection_steps(n_components))
        fitted, history, state = continue_training(fitted, self, data, state)
        trained = TrainedNetwork(fitted, fitted.network.pca_path, history, seen)
        return self._summarize(trained, data), state

    def _flops_per_row(self, X, n_components: int | float) -> float:
        """Multiply-adds of a row in a training step; in a search, of the largest code."""
        return flops_per_row(self, X.shape[1], int(n_components) or X.shape[1])

    def _set_fitted_attributes(
        self, result: FitResult, data: FitData, optimizer_state: dict[str, Any] | None = None
    ) -> None:
        self._optimizer_state = optimizer_state
        self._fit_parameters = network_parameters(self)
        for name, value in self._fitted_attributes(result, data).items():
            setattr(self, name, value)
        naming_units(data)(check_finite_results)(self)

    def _fitted_attributes(self, result: FitResult, data: FitData) -> dict[str, Any]:
        """The fitted attributes, with arrays in the namespace of the training rows."""
        attributes = {"mean_": data.moments.mean} | result.fitted_attributes()
        return {
            name: to_namespace_of(data.X_input, value) if isinstance(value, np.ndarray) else value
            for name, value in attributes.items()
        }
