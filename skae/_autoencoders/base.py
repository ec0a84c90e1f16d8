"""How an autoencoder learns, as scikit-learn sees it. A leaf adds one equation, `_loss`."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import prod
from numbers import Integral, Real
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn import Module

from .._data.array_api import as_numpy, to_namespace_of
from .._data.dataset import grad_mode, threads_for
from .._data.process_group import SingleProcess, check_same_on_all_ranks, process_group
from .._data.validation import check_parameters
from .._nn.autoencoder import Autoencoder, PCAPath, Scales
from .._nn.convolutional import multiply_adds
from .._nn.fitted import FittedAutoencoder, RotatedAutoencoder
from .._training.callbacks import (
    CallbackSupportMixin,
    FitCallbackContext,
    callback_names,
    with_callbacks,
)
from .._training.diagnostics import Diagnostic, collapsed_codes, diagnose
from .._training.fit import continue_training, diverged, fit_size, untrained
from .._training.fit_data import FitData, make_task
from .._training.loop import History, TrainingConfig
from .._training.pca import PrincipalComponents, principal_components
from .._training.result import FitResult, rotate_codes
from .._training.rotation import CodeBasis, CodeMoments, order_codes
from .inference import TrainedAutoencoder


@contextmanager
def restore_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Put every attribute back if the body raises, so that no estimator is left half fitted."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class BaseAutoencoder(CallbackSupportMixin, TrainedAutoencoder, ABC):
    """Everything but the equation: a leaf defines `_loss`, and its own parameters if it has any."""

    @abstractmethod
    def _loss(self, network: Autoencoder, x: Tensor, noise: torch.Generator) -> Tensor:
        """The objective for each row of the batch `x`, shape (n_samples,)."""

    @property
    def _only_reconstructs(self) -> bool:
        """Whether `_loss` is the loss of what is made of `_shown` rows, and no more."""
        return False

    @property
    def _is_plain(self) -> bool:
        """Whether, besides, rows are shown as they are."""
        return self._only_reconstructs

    @property
    def _starts_at_pca(self) -> bool:
        """Whether the network begins as PCA, which stays as a linear path."""
        return self.init == "pca"

    # How many outputs the encoder has for each component.
    _n_heads: ClassVar[int] = 1

    def _assemble(
        self, encoder: Module, decoder: Module, linear: PCAPath, scales: Scales, data: FitData
    ) -> Autoencoder:
        """The network of these parts, before it is trained."""
        return Autoencoder(encoder, decoder, linear, scales, self._reconstruction.link)

    def _order(self, fitted: FittedAutoencoder, codes: CodeMoments) -> CodeBasis:
        """The basis of the codes that the user sees."""
        return order_codes(codes)

    _codec: ClassVar[type[FittedAutoencoder]] = RotatedAutoencoder
    _moments: ClassVar[type] = CodeMoments  # what is remembered of the codes of training rows

    def _in_order(
        self, fitted: FittedAutoencoder, codes: CodeMoments, history: History
    ) -> FitResult:
        """What a training leaves behind, in the basis that the user sees."""
        return rotate_codes(self, cast(RotatedAutoencoder, fitted), codes, history)

    def _settle(self, fitted: FittedAutoencoder, data: FitData) -> None:
        """Fix what depends on the rows and the trained weights, before the codes are measured."""

    def _n_principal(self, data: FitData, size: int | float) -> int | float:
        """How many principal components the start takes, for a code of this size."""
        return size

    def _code_size(self, start: PrincipalComponents) -> int:
        """The size of the code that begins at `start`."""
        return len(start.directions)

    def _in_units_of_X(self, loss: float, data: FitData) -> float:
        """A mean of `_loss`, which is in the network's units, in those of `score_samples`."""
        return loss * data.scale**self._reconstruction.degree

    def _shown(self, network: Autoencoder, x: Tensor, noise: torch.Generator) -> Tensor:
        """What the network is shown of the batch `x` while it learns."""
        return x

    def _equip(self, network: Autoencoder, data: FitData) -> None:
        """Give a new network what else the objective needs to know of the data."""

    def _check_parameters(self) -> None:
        """Raise unless each parameter is as declared; a leaf adds what must hold together."""
        check_parameters(self)
        for name, value in {
            "tied_weights": False,
            "image_shape": None,
            "pretraining": None,
        }.items():
            if self.network is not None and (asked := getattr(self, name)) != value:
                raise ValueError(
                    f"`{name}` must be {value} with a `network` of your own, got {asked!r}: build "
                    "that into its modules instead."
                )

    def fit(self, X, y=None, *, X_val=None) -> Self:
        """Learn the code from the rows of `X`.

        With a process group of `torch.distributed` all of its processes learn one model, each from
        rows of its own.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training rows; NaN means "not observed".
        y : ignored
            Present by scikit-learn's convention.
        X_val : array-like or CSR matrix of shape (n_val_samples, n_features), default=None
            Rows that judge the epochs, in place of a share of `X`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented; the message names it.
        RuntimeError
            If another process of the group has raised an error in the middle, has ended or does
            not answer.
        KeyboardInterrupt
            When interrupted. If training had begun, the best epoch so far is kept and a
            ConvergenceWarning says so; else the estimator is as before the call.
        """
        # Callbacks are torn down within: what they raise in the end undoes the fit as well.
        with restore_on_error(self), grad_mode(), process_group() as group:
            history, findings = self._learn(X, X_val, group)
        self._tell(history, findings)
        return self

    @with_callbacks
    def _learn(self, X, X_val, group: SingleProcess) -> tuple[History, list[Diagnostic]]:
        """All of `fit` but what it tells in the end."""
        given = X
        with group.synchronize_errors():
            self._check_parameters()
            before = self.network_ if self.warm_start and self.__sklearn_is_fitted__() else None
            X = self._checked_for_loss(X, reset=before is None, ensure_min_samples=2)
            X_val = None if X_val is None else self._checked_for_loss(X_val)
        self._require_same_fit(group, X, X_val, before)
        n_rows = sum(group.gather(X.shape[0]))
        size = self._largest_size(n_rows, X.shape[1], before)
        config = TrainingConfig.from_params(self, n_rows)
        with threads_for(self._flops_per_row(X, size) * config.batch_size):
            callbacks = FitCallbackContext.begin(
                self, given, config, searches=isinstance(size, float)
            )
            data = make_task(self, X, X_val, before, group)
            start = self._start(data, size)
            if isinstance(size, float):
                result = self._search_size(data, config, start, callbacks, size)
            else:
                result = fit_size(self, data, config, start, callbacks, before)
            self._publish(data, result)
            findings = diagnose(self, data.X, data.moments.std, group)
            self.diagnosis_ = tuple(finding.text for finding in findings)
            callbacks.end(fitted=True)
        return result.history, findings

    def partial_fit(self, X, y=None) -> Self:
        """Continue with one pass over the rows of `X`.

        The first call fixes the units and the linear path, so its batch should be typical and have
        `n_components` rows at least. No rows are held out. The learning rate fades with the number
        of steps. The optimiser's state is kept between calls but not pickled.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            A batch of rows; NaN means "not observed".
        y : ignored
            Present by scikit-learn's convention.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented; the message names it.
        """
        with restore_on_error(self), grad_mode(), process_group() as group:
            with group.synchronize_errors():
                self._check_parameters()
                before = self.network_ if self.__sklearn_is_fitted__() else None
                X = self._checked_for_loss(
                    X, reset=before is None, ensure_min_samples=2 if before is None else 1
                )
            self._require_same_fit(group, X, None, before)
            n_rows = sum(group.gather(X.shape[0]))
            size = self._largest_size(n_rows, X.shape[1], before)
            if isinstance(size, float):
                raise ValueError(
                    "`n_components` must be an integer or None in partial_fit, which cannot search "
                    f"for a share of the variance, got {size}."
                )
            if self.pretraining is not None and before is None:
                raise ValueError(
                    "`pretraining` must be None in the first partial_fit, which passes over its "
                    f"rows once, got {self.pretraining!r}; begin with fit instead."
                )
            config = TrainingConfig.from_params(self, n_rows)
            with threads_for(self._flops_per_row(X, size) * config.batch_size):
                data = make_task(self, X, X, before, group)  # the batch judges itself
                if before is None:
                    start = self._start(data, size)
                    fitted, seen, state = untrained(self, data, start), None, None
                else:
                    data = data._replace(moments=data.moments._replace(mean=as_numpy(self.mean_)))
                    fitted, seen, state = before, self._codes, self._optimizer_state
                result, optimizer_state = continue_training(self, data, config, fitted, seen, state)
            self._publish(data, result, optimizer_state)
        return self

    def _require_same_fit(
        self, group: SingleProcess, X, X_val, before: FittedAutoencoder | None
    ) -> None:
        """Raise on all ranks unless they mean the same fit, each to rows of its own."""
        # Devices, seeds and `verbose` may differ; of functions and the like only the user knows.
        own = ("device", "random_state", "verbose")
        parameters = {
            f"`{name}`": value
            for name, value in self.get_params(deep=False).items()
            if name not in own and isinstance(value, str | Real | tuple | list | None)
        }
        state = {
            "The number of columns of `X`": X.shape[1],
            "The dtype of `X`": str(X.dtype),
            "Whether `X_val` is given": X_val is not None,
            "Whether an earlier fit is continued": before is not None,
            "The callbacks": callback_names(self),
        }
        check_same_on_all_ranks(group, {"The estimator": type(self).__name__} | parameters | state)

    def _largest_size(
        self, n_samples: int, n_features: int, before: FittedAutoencoder | None
    ) -> int | float:
        """`n_components` as a number, or still as a share, checked against the shape of `X`."""
        if self.image_shape is not None and prod(self.image_shape) != n_features:
            raise ValueError(
                f"`image_shape` must be of n_features = {n_features} pixels in all, got "
                f"{self.image_shape}, which are {prod(self.image_shape)}."
            )
        asked = self.n_components
        share = asked is not None and not isinstance(asked, Integral)
        if before is not None:
            if not share and asked not in (self.n_components_, None):
                raise ValueError(
                    f"`n_components` must stay {self.n_components_} while training continues, got "
                    f"{asked}; use warm_start=False to begin anew."
                )
            return self.n_components_
        return self._size_for(n_samples, n_features)

    def _size_for(self, n_samples: int, n_features: int) -> int | float:
        """The size of a new code, or still a share, for data of this shape."""
        asked, largest = self.n_components, min(n_samples, n_features)
        if asked is None:
            return largest
        share = not isinstance(asked, Integral)
        if share:
            return float(asked)
        if asked > largest:
            raise ValueError(
                f"`n_components` must be at most min(n_samples, n_features) = {largest}, got "
                f"{asked}; here n_samples = {n_samples}, n_features = {n_features}."
            )
        return int(asked)

    def _start(self, data: FitData, size: int | float) -> PrincipalComponents:
        group, wanted = data.group, self._n_principal(data, size)
        start = principal_components(data.X, data.moments, wanted, data.seeds.components, group)
        return group.broadcast(start)  # eigenvectors may have another sign on another machine

    def _flops_per_row(self, X, size: int | float) -> float:
        """Multiply-adds of a row in a step of training: 3 for each weight, in two mirrored nets."""
        size, hidden = int(size) or X.shape[1], tuple(self.hidden_layer_sizes)
        if self.image_shape is not None:
            return 6.0 * multiply_adds(self.image_shape, hidden, size)
        return 6.0 * sum(a * b for a, b in pairwise((X.shape[1], *hidden, size)))

    def _search_size(
        self,
        data: FitData,
        config: TrainingConfig,
        start: PrincipalComponents,
        callbacks: FitCallbackContext,
        share: float,
    ) -> FitResult:
        """The smallest code that explains the share, by bisection; PCA's size is enough."""
        too_small, enough, found = 0, len(start.directions), None
        while found is None or enough - too_small > 1:
            # PCA's size is known to be enough, so it is tried last, if at all.
            size = enough if enough - too_small == 1 else (too_small + enough) // 2
            trial = callbacks.trial(size)
            result = fit_size(self, data, config, start.first(size), trial)
            trial.end(fitted=False)
            if result.history.interrupted:
                return result
            if self.verbose:
                self._print(f"n_components={size}: score {result.codes.score:.4f}")
            if result.codes.score >= share or size == enough:
                enough, found = size, result
            else:
                too_small = size
        return found

    def _publish(self, data: FitData, result: FitResult, optimizer_state: Any = None) -> None:
        """Set what `fit` has learned, all at once."""
        self._optimizer_state = optimizer_state
        for name, value in self._fitted(data, result).items():
            setattr(self, name, value)

    def _fitted(self, data: FitData, result: FitResult) -> dict[str, Any]:
        """The same, with arrays of the library of the training rows."""
        learned = self._learned(data, result).items()
        return {
            k: to_namespace_of(data.X_input, v) if isinstance(v, np.ndarray) else v
            for k, v in learned
        }

    def _learned(self, data: FitData, result: FitResult) -> dict[str, Any]:
        """The fitted attributes that an outcome stands for."""
        order, history = result.order, result.history
        return {
            "n_components_": len(order.explained_variance),
            "components_": result.directions,
            "mean_": data.moments.mean,
            "explained_variance_": order.explained_variance,
            "explained_variance_ratio_": order.explained_variance_ratio,
            "pca_score_": result.codes.pca_score,
            "loss_curve_": history.training,
            "validation_curve_": history.validation,
            "n_iter_": len(history.training),
            "best_iter_": history.best_epoch,
            "n_samples_seen_": result.codes.n_samples,
            "diagnosis_": (),
            "network_": result.fitted,
            "_codes": result.codes,
        }

    def _collapse(self) -> Diagnostic | None:
        """What is to be said of codes that are of no use, if some are."""
        return collapsed_codes(self)

    def _tell(self, history: History, findings: Sequence[Diagnostic]) -> None:
        """Warn of a training that did not end well; an interruption is passed on."""
        for text, category in findings:
            if category is not None:
                warnings.warn(text, category, stacklevel=3)
            elif self.verbose:
                self._print(text)
        kept = f"The weights of epoch {history.best_epoch} are kept (0 is PCA)."
        if history.diverged:
            warnings.warn(f"{diverged(self)} {kept}", ConvergenceWarning, stacklevel=3)
        if history.interrupted:
            warnings.warn(f"Training was interrupted. {kept}", ConvergenceWarning, stacklevel=3)
            raise KeyboardInterrupt

    def _print(self, line: str) -> None:
        print(line)
