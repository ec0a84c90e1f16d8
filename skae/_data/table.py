"""Tables with categories: encoded as floats for a network, and decoded.

A number is encoded in standard deviations, and a category as indicators that are divided by the
root of their frequencies. PCA of the result is factor analysis of mixed data (J. Pagès, "Analyse
factorielle de données mixtes", Revue de Statistique Appliquée, 2004).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from .frames import (
    DATES,
    column_of,
    container_of,
    declared_categories,
    dtype_name,
    has_categories,
    is_frame,
    is_missing,
    is_ordered,
    is_text,
    make_frame,
    numeric_columns,
    values_of,
    with_dtype,
)
from .moments import moments
from .sample_weight import check_sample_weight, relative
from .validation import shortened

CATEGORICAL = "categorical"
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

    def encoded_names(self) -> np.ndarray:
        """The names of the encoded columns."""
        names = []
        for j in self.order:
            categories = self.categories[j]
            name = self.names[j]
            names += [name] if categories is None else [f"{name}_{v}" for v in categories]
        return np.array(names, dtype=object)

    def encode(self, X: Any) -> np.ndarray:
        """Encode a table; entries that are missing, and unknown categories, are NaN."""
        dtype = np.float32 if self.is_single else np.float64
        encoded = np.empty((X.shape[0], self.width), dtype)
        numbers = [j for j, loss in enumerate(self.losses) if loss != CATEGORICAL]
        values = _numbers(X, numbers)
        start = 0
        for j, size in zip(self.order, self.sizes, strict=True):
            if (categories := self.categories[j]) is None:
                column = values[:, numbers.index(j)]
                encoded[:, start] = (column - self.shift[j]) / self.scale[j]
            else:
                codes = _codes(column_of(X, j), categories, self.names[j])
                block = encoded[:, start : start + size]
                block[:] = np.where(codes < 0, np.nan, 0.0)[:, None]
                known = np.flatnonzero(codes >= 0)
                block[known, codes[known]] = 1 / np.array(self.units(j))[codes[known]]
            start += size
        return encoded

    def decode(self, encoded: np.ndarray, like: Any = None) -> Any:
        """The table that is nearest to encoded rows: the most probable categories.

        It has the container of the fit, and the index of `like`.
        """
        columns: dict[int, Any] = {}
        for j, block in self._blocks(encoded):
            if (categories := self.categories[j]) is None:
                values = block[:, 0].astype(np.float64) * self.scale[j] + self.shift[j]
            else:
                values = np.full(len(block), None, dtype=object)
                if len(categories):
                    probable = (block * self.units(j)).argmax(1)
                    values[:] = categories.astype(object)[probable]
            columns[j] = values
        return self._from_columns(columns, like)

    def probabilities(self, encoded: np.ndarray) -> list[np.ndarray | None]:
        """The probabilities of the categories of each column, in encoded rows; None for numbers."""
        result: list[np.ndarray | None] = [None] * len(self.names)
        for j, block in self._blocks(encoded):
            if self.categories[j] is not None:
                shares = np.maximum(block * self.units(j), 1e-12)
                result[j] = shares / shares.sum(1, keepdims=True)
        return result

    def sum_by_column(self, encoded: np.ndarray) -> np.ndarray:
        """The sums over the encoded columns of each column, (n_samples, n_columns)."""
        sums = np.zeros((len(encoded), len(self.names)), encoded.dtype)
        for j, block in self._blocks(encoded):
            sums[:, j] = block.sum(1)
        return sums

    def _from_columns(self, columns: dict[int, np.ndarray], like: Any) -> Any:
        series = {
            self.names[j]: with_dtype(
                self.dtypes[j],
                columns[j],
                self.container,
                self.declared[j],
                ordered=self.ordered[j],
            )
            for j in range(len(self.names))
        }
        if self.container != "numpy":
            return make_frame(self.container, series, like)
        is_object = any(dtype == "object" for dtype in self.dtypes)
        return np.stack(list(series.values()), axis=1).astype(object if is_object else float)

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
    if not is_frame(X) and isinstance(categorical_features, str | None) and isinstance(loss, str):
        return None
    if not is_frame(X):
        X = as_array(X)
    names = list(X.columns) if is_frame(X) else list(range(X.shape[1]))
    chosen = _selected(X, names, categorical_features)
    losses = _losses(names, chosen, loss)
    if not chosen.any() and isinstance(loss, str):
        return None
    columns = [column_of(X, j) for j in range(len(names))]
    _refuse_dates(columns, names, loss)
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
        dtypes=[dtype_name(column) for column in columns],
        declared=[declared_categories(c) if in_frame else None for c in columns],
        ordered=[in_frame and is_ordered(column) for column in columns],
        categories=[None if count is None else count[0] for count in counts],
        shares=[None if count is None else count[1] for count in counts],
        losses=losses,
        shift=shift,
        scale=scale,
    )


def has_categorical_columns(X: Any) -> bool:
    """Whether `X` is a frame with categories or text."""
    return is_frame(X) and bool(_selected(X, list(X.columns), "from_dtype").any())


def as_array(X: Any) -> np.ndarray:
    """Rows that are no frame as an array, of objects if they may have text."""
    if sparse.issparse(X):
        raise TypeError(
            "X must be a frame or an array if `categorical_features` or a `loss` for each column "
            "is given, got a sparse matrix."
        )
    array = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
    if array.ndim != 2:
        raise ValueError(f"X must have two dimensions, rows and columns, got shape {array.shape}.")
    return array


def _selected(X: Any, names: list[Any], chosen: Any) -> np.ndarray:
    """Whether each column is categorical, (n_columns,)."""
    mask = np.zeros(len(names), dtype=bool)
    if chosen is None:
        return mask
    if isinstance(chosen, str):
        if is_frame(X):
            mask[:] = [_is_categorical(column_of(X, j)) for j in range(len(names))]
        return mask
    entries = np.asarray(chosen).tolist()
    if all(isinstance(entry, bool) for entry in entries):
        if len(entries) not in (0, len(names)):
            raise ValueError(
                "`categorical_features`, as a mask, must have an entry for each of the "
                f"{len(names)} columns of X, got {len(entries)}."
            )
        mask[: len(entries)] = entries
        return mask
    for entry in entries:
        mask[_position(entry, names, "categorical_features")] = True
    return mask


def _position(entry: Any, names: list[Any], parameter: str) -> int:
    """The position of a column that is named, or numbered."""
    if isinstance(entry, str) and entry in names:
        return names.index(entry)
    if isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < len(names):
        return entry
    known = shortened(", ".join(map(repr, names)))
    raise ValueError(
        f"`{parameter}` must have names of columns of X, or numbers from 0 to {len(names) - 1}, "
        f"got {entry!r}; the columns are {known}."
    )


def _is_categorical(column: Any) -> bool:
    """Whether a column of a frame has categories, or text that is not only numbers."""
    if has_categories(column):
        return True
    return is_text(column) and not all(map(_is_number, values_of(column)))


def _is_number(value: Any) -> bool:
    """Whether scikit-learn would convert an entry to a number, or to NaN."""
    if is_missing(value):
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return not isinstance(value, str)  # what is no category either is refused later
    return True


def _losses(names: list[Any], chosen: np.ndarray, loss: Any) -> list[str]:
    """The loss of each column."""
    if not isinstance(loss, Mapping):
        return [CATEGORICAL if c else loss for c in chosen]
    losses = [CATEGORICAL if c else "squared_error" for c in chosen]
    for entry, name in loss.items():
        position = _position(entry, names, "loss")
        if chosen[position]:
            raise ValueError(f"`loss` must not have categorical columns, got {entry!r}.")
        losses[position] = name
    return losses


def _refuse_dates(columns: list[Any], names: list[Any], loss: Any) -> None:
    """Refuse dates, which become numbers only if the user asks for it, and complex numbers."""
    requested = loss if isinstance(loss, Mapping) else ()
    for position, (column, name) in enumerate(zip(columns, names, strict=True)):
        if dtype_name(column).startswith("complex"):
            raise TypeError(f"Column {name!r} of X has complex numbers, which are not supported.")
        if DATES.match(str(column.dtype)) and name not in requested and position not in requested:
            raise TypeError(
                f"Column {name!r} of X has dates, which have no natural unit: convert it to "
                f"numbers, or take its integers by `loss={{{name!r}: 'squared_error'}}`."
            )


def _numbers(X: Any, positions: list[int]) -> np.ndarray:
    """The columns of numbers, (n_samples, n_numbers), in float64."""
    if not positions:
        return np.empty((X.shape[0], 0))
    columns = numeric_columns(X, positions)
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
    """Categories as an array of their type; of objects if they have several types."""
    if len({type(value) for value in categories}) == 1 and not isinstance(categories[0], str):
        return np.array(categories)
    array = np.empty(len(categories), dtype=object)
    array[:] = categories
    return array


def _codes(column: Any, categories: np.ndarray, name: Any) -> np.ndarray:
    """The position of the category of each entry; -1 for missing and unknown ones."""
    index = {value: i for i, value in enumerate(categories.tolist())}
    with _naming_column(name):
        return np.array([index.get(value, -1) for value in values_of(column)], dtype=np.int64)


@contextmanager
def _naming_column(name: Any) -> Iterator[None]:
    """Name a column in the error about entries that are no categories: they have no hash."""
    try:
        yield
    except TypeError as error:
        raise TypeError(f"Column {name!r} of X must have strings or numbers: {error}.") from error
