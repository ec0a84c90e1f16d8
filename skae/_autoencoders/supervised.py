"""The autoencoder whose codes also predict targets."""

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, Self

import torch
from torch import Generator, Tensor

from .._data.process_group import refuse_process_group
from .._data.targets import Targets, make_targets
from .._data.validation import Interval, StrOptions, parameter
from .._nn.autoencoder import Autoencoder
from .._nn.predicting import PredictingAutoencoder
from .._nn.projection import nearest_codes
from .._training.acceptance import Acceptance
from .._training.fit_data import FitData
from .._training.objective import Objective
from .._training.prediction import (
    StandardTargets,
    fitted_head,
    mean_row_loss,
    predict,
    standard_targets,
)
from .plain import MAX_TRAINED_COMPONENTS, AutoencoderTransformer, ProjectedReconstruction

# Of the moving average of the curvature over the steps.
AVERAGING_RATE = 0.02
# A smaller `mixing` does not change float32 sums of both losses, and the ratio of their weights,
# times the curvature, must be finite.
MIN_MIXING = 1e-20


@dataclass
class SupervisedReconstruction(ProjectedReconstruction):
    """A reconstruction loss, and the loss of a linear prediction of targets y from the code.

    ``mixing * loss(decode(code), x) + (1 - mixing) * unit * prediction_loss(W code + b, y)``

    As for :class:`ProjectedReconstruction`, `code` is that of the encoder, and in the second stage
    also that of the projection, which the prediction does not change much.
    """

    mixing: float
    targets: StandardTargets
    unit: float  # the mean loss of the mean row
    y: Tensor | None = None  # the targets of the rows of a batch; see `StandardTargets`
    is_projected: bool = True

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Loss of each row; see `Objective.per_row`."""
        code = network.encode(x)
        if network.training and self.targets.n_classes is not None:
            with torch.no_grad():
                curvature = self.share * self.targets.curvature(predict(network, code))
                network.get_buffer("retention").lerp_(curvature, AVERAGING_RATE)
        if not (self.is_projected and network.n_projection_steps):
            return self.at_code(network, x, code)
        nearest = nearest_codes(network, x, code)
        projected = self.at_code(network, x, nearest)
        if not network.training:
            return projected
        return (projected + self.at_code(network, x, code)) / 2

    def at_code(self, network: Autoencoder, x: Tensor, code: Tensor) -> Tensor:
        """Loss of each row if this is its code."""
        assert self.y is not None
        reconstruction = self.loss.loss(network.decode(code), x)
        prediction = self.targets.losses(predict(network, code), self.y)
        return self.mixing * reconstruction + (1 - self.mixing) * self.unit * prediction

    @property
    def share(self) -> float:
        """The weight of the prediction loss, divided by that of the reconstruction loss."""
        return (1 - self.mixing) / max(self.mixing, MIN_MIXING) * self.unit

    @property
    def network_class(self) -> type[Autoencoder]:
        """With a model of the targets."""
        return PredictingAutoencoder

    def at(self, index: Tensor, *, held_out: bool) -> Objective:
        """The objective with the targets of the rows at an index."""
        targets = self.targets.held_out if held_out else self.targets.train
        return replace(self, y=targets[index])

    def stages(self, network: Autoencoder) -> tuple[Objective, ...]:
        """The loss at the encoder's code, and with few components this objective afterwards."""
        first = replace(self, is_projected=False)
        if not network.n_projection_steps:
            return (first,)
        few = len(network.scales.inverse_code_scale) <= MAX_TRAINED_COMPONENTS
        return (first, self if few else first)

    def acceptance(self, network: Autoencoder) -> Acceptance:
        """The same as for the reconstruction loss."""
        return ProjectedReconstruction(self.loss).acceptance(network)

    def prepare_network(self, network: Autoencoder, data: FitData) -> None:
        """Set the anchors, and add the linear model of the targets."""
        super().prepare_network(network, data)
        self.add_head(network, data)

    def add_head(self, network: Autoencoder, data: FitData) -> None:
        """Add a linear model of the targets, fitted to the codes of the network."""
        like = network.scales.output_scale
        head, curvature = fitted_head(network, self.targets, data)
        network.head = head.to(like)
        network.register_buffer("retention", (self.share * curvature).to(like))


@dataclass(eq=False, repr=False, kw_only=True)
class SupervisedAutoencoder(AutoencoderTransformer):
    """An autoencoder whose codes also predict targets.

    The codes have a low reconstruction error, like those of :class:`AutoencoderTransformer`, and
    are good inputs for a linear model of the targets y: classes or numbers. The supervised
    autoencoder [1]_ minimises both losses together, as principal covariates regression [2]_ does
    for linear codes::

        minimise over g, f, W, b    sum over rows of  mixing * |x - decode(encode(x))|^2
                        + (1 - mixing) * n_features * prediction_loss(W encode(x) + b, y)
        encode(x) = V (x - mean) + g(x)
        decode(code) = mean + V' code + f(code)

    Rows have standardised units here. The prediction loss is the cross-entropy of classes, divided
    by the entropy of their frequencies, or the mean squared error of standardised numbers. Both
    losses are one for a constant code. A missing target has no prediction loss. V holds the
    principal components, at which training starts. If training does not reduce the objective of
    held-out rows, `fit` returns PCA. The codes have mean zero, are uncorrelated, and are sorted by
    explained variance.

    `transform` refines the code of the encoder, so that the reconstruction is nearer to the row
    and the prediction by W and b changes little; see `transform_max_iter`.

    This is a transformer, without `predict`: use it in a pipeline before a classifier or regressor.
    The target may be missing for some of the rows.

    Parameters
    ----------
    batch_size : int or "auto", default="auto"
        Number of rows in a step. "auto" means three times the square root of the number of rows,
        but at least 16 and at most 128.

    max_iter : int or None, default=None
        Maximum number of epochs (passes over the training rows). None means 1500 steps for up to
        5000 rows and 4500 steps for 15,000 rows or more, but at least 6 epochs.

    n_iter_no_change : int or None, default=None
        Number of epochs without progress after which training stops; see `tol`. None means 300
        steps for up to 5000 rows and 900 steps for 15,000 rows or more, but at least three epochs.

    {shared_parameters}

    mixing : float, default=0.5
        Weight of the reconstruction, in (0, 1]. The weight of the prediction is ``1 - mixing``.
        With 1, or without `y`, this is :class:`AutoencoderTransformer`.

    task : {"auto", "classification", "regression"}, default="auto"
        Kind of the targets. "auto" means numbers if `y` has floats or several columns, and classes
        if `y` has integers, strings or Booleans.

    Attributes
    ----------
    {shared_attributes}

    {pca_attributes}

    See Also
    --------
    AutoencoderTransformer : Codes for the reconstruction alone.
    AutoencoderClassifier : A classifier for data with few labels.
    sklearn.cross_decomposition.PLSRegression : Linear codes that predict targets.
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis : Linear codes that separate classes.

    Notes
    -----
    `partial_fit` fits a new linear model of the targets to the rows of each call, so that calls
    with many rows are better. `fit` raises an error within a process group of `torch.distributed`.

    References
    ----------
    .. [1] L. Le, A. Patterson and M. White, "Supervised autoencoders: improving generalization
       performance with unsupervised regularizers", NeurIPS, 2018.
    .. [2] S. de Jong and H. A. L. Kiers, "Principal covariates regression", Chemometrics and
       Intelligent Laboratory Systems, 1992.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skae import SupervisedAutoencoder
    >>> X, y = load_digits(return_X_y=True)
    >>> reducer = SupervisedAutoencoder(whiten=True, max_iter=20, random_state=0)
    >>> model = make_pipeline(reducer, LogisticRegression()).fit(X[:1200], y[:1200])
    >>> bool(model.score(X[1200:], y[1200:]) > 0.8)
    True
    """

    __module__ = "skae"

    mixing: float = parameter(0.5, Interval(Real, 0, 1, closed="right"))
    task: Literal["auto", "classification", "regression"] = parameter(
        "auto", StrOptions(["auto", "classification", "regression"])
    )

    def fit(self, X, y=None, sample_weight=None, *, X_val=None, y_val=None, groups=None) -> Self:
        """Train on the rows of `X` and their targets.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training rows. NaN marks missing values.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            Targets. NaN and None mark missing ones, and -1 marks a missing class. If there is only
            one other class, -1 is a class, and there is a warning. If labels are strings, use an
            array of objects with the number -1. None means that all are missing.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. An integer weight k has the effect of k copies of the row, and
            a weight of zero that of leaving it out. If some weights are not integers, only their
            ratios matter.
        X_val : array-like or CSR matrix of shape (n_val_samples, n_features), default=None
            Held-out rows for early stopping. None means that a share of `X` is held out.
        y_val : array-like of shape (n_val_samples,) or (n_val_samples, n_targets), default=None
            The targets of `X_val`, in the format of `y`. None means that all are missing.
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
            If a parameter, `X` or `y` is not as documented; the message names it.
        KeyboardInterrupt
            If `fit` is interrupted. If training had begun, the best epoch is kept, with a
            ConvergenceWarning. Otherwise the estimator does not change.
        """
        return super().fit(X, (y, y_val), sample_weight, X_val=X_val, groups=groups)

    def partial_fit(self, X, y=None, sample_weight=None) -> Self:
        """Continue with one pass over the rows of `X` and their targets.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            A batch of rows. NaN marks missing values.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            Targets, as for `fit`. Either all calls have targets, or none has.
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
            If a parameter, `X` or `y` is not as documented; the message names it.
        """
        return super().partial_fit(X, (y, None), sample_weight)

    def _targets(self, y: Any, X: Any, X_val: Any) -> Targets | None:
        (y, y_val), lengths = y, [X.shape[0]]
        if y_val is not None and X_val is None:
            raise ValueError("`y_val` must be given with `X_val`, whose targets it has.")
        if y is None or self.mixing == 1:
            return None
        refuse_process_group(type(self).__name__)
        if X_val is not None:
            lengths.append(X_val.shape[0])
        return make_targets([y, y_val], lengths, self.task)

    def _objective(self, data: FitData) -> Objective:
        reconstruction = super()._objective(data)
        # There are no data where a subclass extends the loss of a row.
        if data is not None and data.fitted is not None:
            check_continues(data.fitted.network, data.targets)
        if data is None or data.targets is None:
            return reconstruction
        loss, unit = self._loss_of_fit(), mean_row_loss(data)
        objective = SupervisedReconstruction(loss, self.mixing, standard_targets(data), unit)
        if data.fitted is not None:
            objective.add_head(data.fitted.network, data)
        return objective


def check_continues(network: Autoencoder, targets: Targets | None) -> None:
    """Raise unless a network of an earlier fit has targets if and only if there are any now."""
    had, has = isinstance(network, PredictingAutoencoder), targets is not None
    if had != has:
        with_or_without = {True: "with `y`", False: "without `y`, or with `mixing`=1"}
        raise ValueError(
            f"A training {with_or_without[had]} cannot continue {with_or_without[has]}; use "
            "warm_start=False and fit to begin anew."
        )
