"""The display of a comparison of reducers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from .plotting import make_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(eq=False, repr=False, kw_only=True)
class ReducerComparisonDisplay:
    """Reducers side by side: one line for each reducer, one panel for each measure.

    Made by :meth:`ReducerComparison.plot`.

    Parameters
    ----------
    names : list of str
        The names of the reducers, from top to bottom.
    mean : dict of str to list of float
        The scores of the reducers for each measure. NaN marks a measure that was not computed.
    std : dict of str to list of float
        The standard deviations over the folds, which are drawn as error bars.
    logarithmic : tuple of str, default=()
        The measures with a logarithmic scale.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_measures,)
        One for each measure.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skae import compare_reducers
    >>> X, _ = load_iris(return_X_y=True)
    >>> comparison = compare_reducers({"one": PCA(1), "two": PCA(2)}, X, random_state=0)
    >>> display = comparison.plot()
    >>> [label.get_text() for label in display.axes_[0].get_yticklabels()]
    ['one', 'two']
    """

    __module__ = "skae"

    names: list[str]
    mean: dict[str, list[float]]
    std: dict[str, list[float]]
    logarithmic: tuple[str, ...] = ()

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw one panel for each measure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes that are replaced by the panels. None means a new figure.

        Returns
        -------
        self : ReducerComparisonDisplay
        """
        n_reducers = len(self.names)
        shape, cell = (1, len(self.mean)), (2.3, 0.9 + 0.32 * n_reducers)
        self.axes_ = make_grid("ReducerComparisonDisplay", ax, shape, cell)[0]
        self.figure_ = self.axes_[0].figure
        lines = np.arange(n_reducers)
        for panel, (measure, values) in zip(self.axes_, self.mean.items(), strict=True):
            panel.errorbar(values, lines, xerr=self.std[measure], fmt="o", capsize=3)
            panel.set(title=measure, ylim=(n_reducers - 0.5, -0.5))
            panel.set_yticks(lines, self.names if panel is self.axes_[0] else [])
            panel.grid(axis="both", lw=0.5, alpha=0.6)
            if measure in self.logarithmic:
                panel.set_xscale("log")
            else:
                panel.margins(x=0.12)
        return self
