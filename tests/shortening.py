"""Short training of all estimators, whatever sets their parameters."""

import functools
import inspect

from conftest import ESTIMATORS

SHORT = {"max_iter": 1, "n_steps": 10}  # most of what the parameters that limit training may be


def shortened(method):
    """Wrap `fit` or `fit_transform` of an estimator so that it trains for one epoch."""

    @functools.wraps(method)
    def fit(self, *args, **kwargs):
        given = self.get_params(deep=False)
        # None is a number of steps that depends on the rows.
        self.set_params(**{k: min(v, given[k] or v) for k, v in SHORT.items() if k in given})
        return method(self, *args, **kwargs)

    return fit


def shorten(monkeypatch):
    """Shorten the training of all estimators, of those that others fit by default, too."""
    for cls in ESTIMATORS:
        if SHORT.keys() & inspect.signature(cls).parameters.keys():
            for name in {"fit", "fit_transform"} & set(dir(cls)):
                monkeypatch.setattr(cls, name, shortened(getattr(cls, name)))
