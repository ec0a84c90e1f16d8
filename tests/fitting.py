"""The data of a fit, for tests of the modules that train, and rows as a network has them."""

import torch

from skae._data.groups import RowGroups
from skae._data.sample_weight import check_sample_weight, weighted_rows
from skae._training.config import TrainingConfig
from skae._training.fit_data import make_fit_data


def make_data(estimator, X, X_val=None, groups=None, sample_weight=None, y=None):
    """What `fit` of an estimator starts from, with the objective that it minimises."""
    if groups is not None:
        groups = RowGroups.from_labels(groups, X.shape[0])
    targets = None if y is None else estimator._targets((y, None), X, X_val)
    weights = check_sample_weight(sample_weight, X.shape[0])
    rows = weighted_rows(X, weights, groups, targets=targets)
    config = TrainingConfig.from_params(estimator, rows.n_rows)
    loss, holds_out = estimator._loss_of_fit(), estimator.early_stopping
    data = make_fit_data(rows, X_val, estimator, loss, config, holds_out=holds_out)
    data.objective = estimator._objective(data)
    return data


def network_rows(fitted, X):
    """The rows `X` in the units of the network of a fitted estimator."""
    return (torch.from_numpy(X.copy()) - fitted.network_.shift) / fitted.network_.scale
