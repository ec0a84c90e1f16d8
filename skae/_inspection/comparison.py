"""The scores of a comparison of reducers, as a table, a data frame or a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .comparison_display import ReducerComparisonDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

# Trustworthiness compares all pairs of rows: at 2000 rows that is two 32 MB matrices and a quarter
# of a second. Over samples of that size from 20000 rows its standard deviation was 0.002.
MAX_TRUSTWORTHINESS_ROWS = 2000


# Measures that are computed on request, and their headings.
FURTHER_MEASURES = {
    "continuity": "continuity",
    "neighborhood_hit": "neighborhood hit",
    "stability": "stability",
}


class ReducerScores(NamedTuple):
    """The scores of one reducer, on one fold or on average; NaN where a measure does not apply.

    :func:`compare_reducers` defines the measures. The last three are NaN unless they are requested.
    """

    n_components: float
    explained_variance: float
    trustworthiness: float
    knn_score: float
    downstream_score: float
    fit_seconds: float
    transform_seconds: float
    continuity: float = np.nan
    neighborhood_hit: float = np.nan
    stability: float = np.nan


@dataclass(frozen=True, repr=False)
class ReducerComparison:
    """The result of :func:`compare_reducers`; prints as a table.

    Attributes
    ----------
    folds : dict of str to tuple of ReducerScores
        The scores of each reducer on each fold. ``pandas.DataFrame(comparison.folds["pca"])`` is a
        table with one row for each fold.
    n_test_rows : tuple of int
        Number of test rows in each fold.
    knn_label : str
        The heading of the column `knn_score` in the table, such as ``"5-NN accuracy"``.
    measures : tuple of str
        The further measures that were computed.

    See Also
    --------
    compare_reducers : Makes the comparison.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skae import compare_reducers
    >>> X, _ = load_iris(return_X_y=True)
    >>> comparison = compare_reducers({"one": PCA(1), "two": PCA(2)}, X, random_state=0)
    >>> means = comparison.mean()
    >>> bool(means["two"].explained_variance > means["one"].explained_variance)
    True
    """

    __module__ = "skae"

    folds: dict[str, tuple[ReducerScores, ...]]
    n_test_rows: tuple[int, ...]
    knn_label: str
    measures: tuple[str, ...] = ()

    def mean(self) -> dict[str, ReducerScores]:
        """Average over the folds.

        Returns
        -------
        mean : dict of str to ReducerScores
            The means for each reducer: named tuples with the fields `n_components`,
            `explained_variance`, `trustworthiness`, `knn_score`, `downstream_score`, `fit_seconds`,
            `transform_seconds`, `continuity`, `neighborhood_hit` and `stability`. NaN marks a
            measure that was not computed.
        """
        return {name: _over_folds(np.mean, folds) for name, folds in self.folds.items()}

    def std(self) -> dict[str, ReducerScores]:
        """Standard deviation over the folds, 0 if there is a single fold.

        Returns
        -------
        std : dict of str to ReducerScores
            The standard deviations for each reducer, with the fields of `mean`.
        """
        return {name: _over_folds(np.std, folds) for name, folds in self.folds.items()}

    def to_frame(self) -> DataFrame:
        """Return the averages as a pandas DataFrame.

        Returns
        -------
        frame : DataFrame of shape (n_reducers, 7 + n_further_measures)
            The means of the measures, with one row for each reducer.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("`to_frame` needs pandas, install it or use `mean()`.") from error
        rows = [scores._asdict() for scores in self.mean().values()]
        index = pd.Index(self.folds, name="reducer")
        return pd.DataFrame(rows, index=index, columns=list(self._labels()))

    def plot(self, ax: Axes | None = None) -> ReducerComparisonDisplay:
        """Draw a panel for each measure, with the standard deviation over the folds.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes that are replaced by the panels. None means a new figure.

        Returns
        -------
        display : ReducerComparisonDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        mean, std = ({name: s._asdict() for name, s in f().items()} for f in (self.mean, self.std))
        labels = {
            field: label
            for field, label in self._labels().items()
            if field != "n_components" and not all(np.isnan(s[field]) for s in mean.values())
        }

        def by_measure(scores: dict[str, dict[str, float]]) -> dict[str, list[float]]:
            return {label: [s[field] for s in scores.values()] for field, label in labels.items()}

        return ReducerComparisonDisplay(
            names=list(self.folds),
            mean=by_measure(mean),
            std=by_measure(std),
            logarithmic=("fit s", "transform s"),
        ).plot(ax)

    def __repr__(self) -> str:
        return "\n".join([*_aligned(self._columns()), *self._footnotes()])

    def _repr_html_(self) -> str:
        """The table in notebooks."""
        head, *rows = zip(*self._columns(), strict=True)
        header = "".join(f"<th>{escape(label)}</th>" for label in head)
        body = "".join(
            f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(c)}</td>' for c in cells)}</tr>"
            for name, *cells in rows
        )
        notes = "<br>".join(map(escape, self._footnotes()))
        table = f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<small>{notes}</small>"

    def _columns(self) -> list[list[str]]:
        """The columns of the table, each with its heading."""
        mean, std = self.mean(), self.std()
        columns = [["reducer", *map(_on_one_line, self.folds)]]
        for field, label in self._labels().items():
            cells = [_cell(field, mean[name], std[name], len(self.n_test_rows)) for name in mean]
            # Measures that need a `y` or a `downstream`, if none was given, have no column.
            if field not in ("knn_score", "downstream_score") or set(cells) != {"-"}:
                columns.append([label, *cells])
        return columns

    def _labels(self) -> dict[str, str]:
        """Column headings by field."""
        return {
            "n_components": "components",
            "explained_variance": "explained variance",
            "trustworthiness": "trustworthiness",
            "knn_score": self.knn_label,
            "downstream_score": "downstream",
            "fit_seconds": "fit s",
            "transform_seconds": "transform s",
        } | {name: FURTHER_MEASURES[name] for name in self.measures}

    def _footnotes(self) -> Iterator[str]:
        """The lines below the table: the numbers of folds and rows."""
        n_folds = len(self.n_test_rows)
        rows = f"{sum(self.n_test_rows)} unseen rows"
        yield rows if n_folds == 1 else f"mean ± std over {n_folds} folds, {rows}"
        if max(self.n_test_rows) > MAX_TRUSTWORTHINESS_ROWS:
            yield f"trustworthiness from {MAX_TRUSTWORTHINESS_ROWS} rows of a fold"


def _over_folds(
    statistic: Callable[..., np.ndarray], folds: tuple[ReducerScores, ...]
) -> ReducerScores:
    """Apply `statistic` to each measure; NaN if the measure is NaN on any fold."""
    return ReducerScores(*(float(value) for value in statistic(folds, axis=0)))


def _cell(field: str, mean: ReducerScores, std: ReducerScores, n_folds: int) -> str:
    """One entry of the table, as text."""
    value = getattr(mean, field)
    if np.isnan(value):
        return "-"
    if field == "n_components":
        return f"{value:g}"
    if field.endswith("_seconds") or n_folds == 1:
        return f"{value:.3f}"
    return f"{value:.3f} ± {getattr(std, field):.3f}"


def _on_one_line(name: str) -> str:
    """A name in which characters that are not printed, such as newlines, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _aligned(columns: list[list[str]]) -> Iterator[str]:
    """Lines of a table: the first column left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in columns]
    for name, *cells in zip(*columns, strict=True):
        right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *right])
