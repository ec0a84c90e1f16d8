"""The data of a fit, for tests of the modules that train."""

from skae._data.groups import RowGroups
from skae._training.config import TrainingConfig
from skae._training.fit_data import make_fit_data


def make_data(estimator, X, X_val=None, groups=None):
    """What `fit` of an estimator starts from, with the objective that it minimises."""
    config = TrainingConfig.from_params(estimator, X.shape[0])
    if groups is not None:
        groups = RowGroups.from_labels(groups, X.shape[0])
    data = make_fit_data(X, X_val, estimator, config, groups=groups)
    data.objective = estimator._objective(data)
    return data
