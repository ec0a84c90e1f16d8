"""Tables with categories: encoded as floats for a network, and decoded.

A number is encoded in standard deviations, and a category as indicators that are divided by the
root of their frequencies. PCA of the result is factor analysis of mixed data (J. Pagès, "Analyse
factorielle de données mixtes", Revue de Statistique Appliquée, 2004).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from .frames import (
    column_of,
    container_of,
    declared_categories,
    is_frame,
    is_missing,
    is_ordered,
    make_frame,
    numeric_columns,
    result_dtype,
    values_of,
    with_dtype,
)
from .moments import moments
from .rows import explained_conversion
from .sample_weight import check_sample_weight, relative
from .table_columns import CATEGORICAL, losses_of_columns, refuse_dates, selected_columns
from .user_warnings import warn_user

# Encoded tables with more entries are sparse, if a smaller share of their entries is not zero.
MAX_DENSE_ENTRIES, MAX_DENSITY = 2**26, 0.25
# Of numbers; columns are encoded in this order.
SHIFTED = ("squared_error", "absolute_error")


class Table(NamedTuple):
    """What a fit knows of the columns of a table; each list has an entry for a column."""

    container: str  # "pandas", "polars" or "numpy"
    is_single: bool  # whether it is encoded in float32
    names: list[Any]
    dtypes: list[str]
    declared: list[np.ndarray | None]  # all categories of the dtype
    ordered: list[bool]
    categories: list[np.ndarray | None]  # those of the training rows; None for numbers
    shares: list[np.ndarray | None]  # frequencies of the categories
    losses: list[str]
    shift: np.ndarray  # (n_columns,)
    scale: np.ndarray  # (n_columns,)

    @property
    def order(self) -> list[int]:
        """The columns in the order in which they are encoded: by loss, categories last."""
        return sorted(range(len(self.names)), key=lambda j: (self._n_indicators(j), self.losses[j]))

    @property
    def sizes(self) -> list[int]:
        """The number of encoded columns of each column, in the order of encoding."""
        return [self._n_indicators(j) or self.losses[j] != CATEGORICAL for j in self.order]

    @property
    def width(self) -> int:
        """The number of encoded columns."""
        return sum(self.sizes)

    def loss_description(self) -> list[list[Any]]:
        """The losses of consecutive encoded columns and their units; see `MixedLoss`."""
        parts: list[list[Any]] = []
        for j in self.order:
            loss: Any = self._n_indicators(j) or self.losses[j]
            units = self.units(j)
            if parts and parts[-1][0] == loss:
                parts[-1][1] += units
            elif units:
                parts.append([loss, units])
        return parts

    def columns_of_inputs(self) -> np.ndarray:
        """The column of the table of each encoded column."""
        return np.repeat(self.order, self.sizes)

    def encode(self, X: Any) -> np.ndarray | sparse.csr_array:
        """Encode a table; entries that are missing, and unknown categories, are NaN.

        The result is sparse if it has many entries, and most are zero.
        """
        dtype = np.float32 if self.is_single else np.float64
        is_large = X.shape[0] * self.width > MAX_DENSE_ENTRIES
        is_sparse = is_large and len(self.names) < MAX_DENSITY * self.width
        numbers = [j for j in self.order if self.categories[j] is None]
        largest = np.finfo(dtype).max
        with np.errstate(over="ignore"):  # a finite number is not refused because of its unit
            values = (_numbers(X, numbers) - self.shift[numbers]) / self.scale[numbers]
            # Before the categories, see `order`.
            blocks: list[Any] = [values.clip(-largest, largest).astype(dtype)]
        for j in self.order:
            if (categories := self.categories[j]) is not None:
                codes = _codes(column_of(X, j), categories, self.names[j])
                indicators = _indicators(codes, np.reciprocal(np.array(self.units(j), dtype)))
                blocks.append(indicators if is_sparse else indicators.toarray())
        if is_sparse:
            return sparse.csr_array(sparse.hstack(blocks, format="csr"))
        return np.hstack(blocks)

    def indicators(self, X: Any) -> np.ndarray:
        """The numbers of a table, and an indicator for each category; NaN as in `encode`."""
        encoded: Any = self.encode(X)
        blocks = dict(self._blocks(encoded.toarray() if sparse.issparse(encoded) else encoded))
        for j, categories in enumerate(self.categories):
            if categories is None:
                blocks[j] = blocks[j] * self.scale[j] + self.shift[j]
            else:
                blocks[j] = blocks[j] * self.units(j)
        return np.hstack([blocks[j] for j in range(len(self.names))])

    def names_of_indicators(self) -> list[str]:
        """The names of the columns of `indicators`, as of scikit-learn's `OneHotEncoder`."""
        names = [name if isinstance(name, str) else f"x{j}" for j, name in enumerate(self.names)]
        return [
            name if category is None else f"{name}_{category}"
            for name, categories in zip(names, self.categories, strict=True)
            for category in ([None] if categories is None else categories)
        ]

    def decode(self, encoded: np.ndarray, like: Any = None) -> Any:
        """The table that is nearest to encoded rows: the most probable categories.

        It has the container of the fit, and the index of `like`.
        """
        columns = {j: self.column(j, values) for j, values in self.values(encoded).items()}
        if self.container != "numpy":
            return make_frame(self.container, {self.names[j]: columns[j] for j in columns}, like)
        is_object = any(dtype == "object" for dtype in self.dtypes)
        return np.stack(list(columns.values()), axis=1).astype(object if is_object else float)

    def values(self, encoded: np.ndarray) -> dict[int, np.ndarray]:
        """The entries of each column in encoded rows: numbers, or objects if it is categorical."""
        columns: dict[int, np.ndarray] = {}
        for j, block in self._blocks(encoded):
            if (categories := self.categories[j]) is None:
                values = block[:, 0].astype(np.float64) * self.scale[j] + self.shift[j]
            else:
                values = np.full(len(block), None, dtype=object)
                if len(categories):
                    probable = (block * self.units(j)).argmax(1)
                    values[:] = categories.astype(object)[probable]
            columns[j] = values
        return {j: columns[j] for j in range(len(self.names))}

    def column(self, j: int, values: np.ndarray) -> Any:
        """Entries of a column as a column with its dtype."""
        declared, ordered = self.declared[j], self.ordered[j]
        return with_dtype(self.dtypes[j], values, self.container, declared, ordered=ordered)

    def sum_by_column(self, encoded: np.ndarray) -> np.ndarray:
        """The sums over the encoded columns of each column, (n_samples, n_columns)."""
        sums = np.zeros((len(encoded), len(self.names)), encoded.dtype)
        for j, block in self._blocks(encoded):
            sums[:, j] = block.sum(1)
        return sums

    def _blocks(self, encoded: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Each column and its encoded columns."""
        ends = np.cumsum(self.sizes)
        return [
            (j, encoded[:, end - size : end])
            for j, size, end in zip(self.order, self.sizes, ends, strict=True)
        ]

    def _n_indicators(self, j: int) -> int:
        categories = self.categories[j]
        return 0 if categories is None else len(categories)

    def units(self, j: int) -> list[float]:
        """The factors that turn encoded entries into indicators, or into numbers of the loss."""
        shares = self.shares[j]
        if shares is not None:
            return np.sqrt(shares).tolist()
        return [1.0 if self.losses[j] in SHIFTED else float(self.scale[j])]


def make_table(
    X: Any, categorical_features: Any, loss: Any, sample_weight: Any = None
) -> Table | None:
    """The columns of a table with categories, or with several losses; None for other rows."""
    if not is_frame(X) and not always_makes_table(categorical_features, loss):
        return None
    X = as_rows(X)
    names = list(X.columns) if is_frame(X) else list(range(X.shape[1]))
    chosen = selected_columns(X, names, categorical_features)
    losses = losses_of_columns(names, chosen, loss)
    if not chosen.any() and isinstance(loss, str):
        return None
    columns = [column_of(X, j) for j in range(len(names))]
    refuse_dates(columns, names, loss)
    numbers = [j for j in range(len(names)) if not chosen[j]]
    values = _numbers(X, numbers)
    weights = relative(check_sample_weight(sample_weight, X.shape[0]))
    shift, scale = np.zeros(len(names)), np.ones(len(names))
    rows = slice(None) if weights is None else weights > 0
    observed = ~np.isnan(values[rows]).all(axis=0)
    if observed.any():
        stats = moments(np.where(observed, values, 0.0), weights=weights)
        is_shifted = np.array([losses[j] in SHIFTED for j in numbers])
        shift[numbers] = np.where(is_shifted, stats.mean, 0.0)
        scale[numbers] = np.where(observed, stats.scale, 1.0)
    counts = [
        _counts(column, name, weights) if is_chosen else None
        for column, name, is_chosen in zip(columns, names, chosen, strict=True)
    ]
    in_frame = is_frame(X)
    single = [str(columns[j].dtype).lower() == "float32" for j in numbers]
    return Table(
        container=container_of(X),
        is_single=bool(numbers) and all(single),
        names=[name.item() if isinstance(name, np.generic) else name for name in names],
        dtypes=[
            result_dtype(column, is_text=bool(is_chosen))
            for column, is_chosen in zip(columns, chosen, strict=True)
        ],
        declared=[declared_categories(c) if in_frame else None for c in columns],
        ordered=[in_frame and is_ordered(column) for column in columns],
        categories=[None if count is None else count[0] for count in counts],
        shares=[None if count is None else count[1] for count in counts],
        losses=losses,
        shift=shift,
        scale=scale,
    )


def always_makes_table(categorical_features: Any, loss: Any) -> bool:
    """Whether these parameters are about single columns, so that all rows are tables."""
    return not (isinstance(categorical_features, str | None) and isinstance(loss, str))


def as_rows(X: Any) -> Any:
    """A frame unchanged; other rows as an array, of objects if they may have text."""
    if is_frame(X):
        return X
    if sparse.issparse(X):
        raise TypeError(
            "X must be a frame or an array if `categorical_features` or a `loss` for each column "
            "is given, got a sparse matrix."
        )
    array = np.asarray(X, dtype=None if hasattr(X, "dtype") else object)
    if array.ndim != 2:
        raise ValueError(f"X must have two dimensions, rows and columns, got shape {array.shape}.")
    return array


def _numbers(X: Any, positions: list[int]) -> np.ndarray:
    """The columns of numbers, (n_samples, n_numbers), in float64."""
    if not positions:
        return np.empty((X.shape[0], 0))
    columns = numeric_columns(X, positions)
    with explained_conversion(columns):
        return check_array(
            columns,
            dtype=np.float64,
            order="C",  # sums are the same for all containers
            ensure_all_finite="allow-nan",
            input_name="X",
            ensure_min_samples=0,
        )


def _counts(column: Any, name: Any, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The categories of a column in order, and their frequencies."""
    counts: dict[Any, float] = {}
    with _naming_column(name):
        for value, weight in zip(values_of(column), _each(weights), strict=False):
            if weight and not is_missing(value):
                counts[value] = counts.get(value, 0) + weight
    rank: Callable[[Any], Any] | None = None
    declared = None if isinstance(column, np.ndarray) else declared_categories(column)
    if declared is not None:
        rank = {value: i for i, value in enumerate(declared.tolist())}.__getitem__
    try:
        categories = sorted(counts, key=rank)
    except TypeError:
        categories = sorted(counts, key=lambda value: (type(value).__name__, str(value)))
    shares = np.array([counts[value] for value in categories], dtype=float)
    return _array_of(categories), shares / (shares.sum() or 1.0)


def _each(weights: np.ndarray | None) -> Iterable[float]:
    return repeat(1) if weights is None else weights.tolist()


def _array_of(categories: list[Any]) -> np.ndarray:
    """Categories as an array of numbers; of objects if they are something else."""
    types = {type(value) for value in categories}
    if len(types) == 1 and issubclass(types.pop(), int | float | np.number):
        return np.array(categories)
    array = np.empty(len(categories), dtype=object)
    array[:] = categories
    return array


def _codes(column: Any, categories: np.ndarray, name: Any) -> np.ndarray:
    """The position of the category of each entry; -1 for missing and unknown ones."""
    index = {value: i for i, value in enumerate(categories.tolist())}
    values = values_of(column)
    with _naming_column(name):
        codes = np.array([index.get(value, -1) for value in values], dtype=np.int64)
    if len(codes) and codes.max() < 0:
        found = {_kind(value) for value in values if not is_missing(value)}
        _warn_of_other_kind(name, found, set(map(_kind, index)))
    return codes


def _kind(entry: Any) -> str:
    if isinstance(entry, Real):
        return "numbers"
    return "strings" if isinstance(entry, str) else "objects"


def _warn_of_other_kind(name: Any, found: set[str], known: set[str]) -> None:
    """Warn of strings in place of numbers, and the reverse: no entry can be a category."""
    if found and known and not found & known:
        given, expected = (" and ".join(sorted(kinds)) for kinds in (found, known))
        warn_user(
            f"Column {name!r} of X has {given}, and its categories in `fit` are {expected}: all of "
            "its entries are taken as missing values.",
            UserWarning,
        )


def _indicators(codes: np.ndarray, values: np.ndarray) -> sparse.csr_array:
    """A matrix with one of the values in each row, at its code; rows with the code -1 are NaN."""
    known, unknown = np.flatnonzero(codes >= 0), np.flatnonzero(codes < 0)
    size = len(values)
    rows = np.concatenate([known, np.repeat(unknown, size)])
    columns = np.concatenate([codes[known], np.tile(np.arange(size), len(unknown))])
    missing = np.full(len(unknown) * size, np.nan, values.dtype)
    entries = np.concatenate([values[codes[known]], missing])
    return sparse.csr_array((entries, (rows, columns)), shape=(len(codes), size))


@contextmanager
def _naming_column(name: Any) -> Iterator[None]:
    """Name a column in the error about entries that are no categories: they have no hash."""
    try:
        yield
    except TypeError as error:
        kind = str(error).rpartition("'")[0].rpartition("'")[2]
        text = f"Column {name!r} of X must have strings or numbers, got entries of type {kind!r}."
        raise TypeError(text) from error
