"""Validation of tables, and results as tables, for all estimators with `categorical_features`."""

from typing import Any, cast

from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from .dataset import nothing_observed
from .frames import is_frame
from .rows import check_columns, validate_rows
from .table import Table, as_rows, make_table
from .table_columns import are_columns
from .user_warnings import warn_user
from .validation import NONE, Rule, StrOptions

# The allowed values of the parameter `categorical_features`, which are those of scikit-learn's
# HistGradientBoostingClassifier.
CATEGORICAL_FEATURES = (
    StrOptions(["from_dtype"]),
    NONE,
    Rule(
        "a sequence of names or numbers of columns, or of Booleans",
        # Such as an index or a column of a frame, a mask or a list of NumPy's numbers.
        lambda value: isinstance(value, list | tuple | range) or hasattr(value, "__array__"),
        are_columns,
    ),
)

# With at least so many rows, a column with categories for a larger share of them gives a warning.
MIN_ROWS, MAX_SHARE = 50, 0.5


def encode_table(
    estimator: BaseEstimator,
    X: Any,
    *,
    reset: bool,
    loss: Any = "squared_error",
    ensure_min_samples: int = 1,
    sample_weight: Any = None,
) -> Any:
    """Validate and encode a table, as an array or CSR matrix; None if rows need no encoding.

    With `reset`, the attribute `_table` of the estimator is set, or removed. Means, deviations and
    frequencies have the weights of the rows.
    """
    if is_frame(X) and (reset or table_of(estimator) is not None):
        check_columns(list(X.columns))
    if reset:
        vars(estimator).pop("_table", None)
        chosen = cast(Any, estimator).categorical_features
        table = make_table(X, chosen, loss, sample_weight)
        if table is None:
            return None
        vars(estimator)["_table"] = table
    elif (table := table_of(estimator)) is None:
        return None
    X = as_rows(X)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if reset:
        _warn_of_identifiers(table, X.shape[0])
    if X.shape[0] < ensure_min_samples:  # in the words of scikit-learn
        raise ValueError(
            f"Found array with {X.shape[0]} sample(s) (shape={tuple(X.shape)}) while a minimum of "
            f"{ensure_min_samples} is required by {type(estimator).__name__}."
        )
    if not table.width:  # categorical columns without any category
        raise nothing_observed()
    return table.encode(X)


def encoded_rows(
    estimator: BaseEstimator, X: Any, *, reset: bool = False, ensure_min_samples: int = 1
) -> Any:
    """Validated rows as floats, or CSR matrix; the rows of a table are encoded."""
    encoded = encode_table(estimator, X, reset=reset, ensure_min_samples=ensure_min_samples)
    if encoded is not None:
        return encoded
    return validate_rows(estimator, X, reset=reset, ensure_min_samples=ensure_min_samples)


def table_of(estimator: BaseEstimator) -> Table | None:
    """The columns of the table that an estimator was fitted to, if they needed an encoding."""
    return vars(estimator).get("_table")


def as_table(estimator: BaseEstimator, values: Any, like: Any = None) -> Any:
    """Encoded rows as a table like that of the fit; other rows unchanged."""
    table = table_of(estimator)
    return values if table is None else table.decode(values, like)


def by_column(estimator: BaseEstimator, values: Any) -> Any:
    """The sums of values of encoded columns over those of each column of the table."""
    table = table_of(estimator)
    return values if table is None else table.sum_by_column(values)


def _warn_of_identifiers(table: Table, n_rows: int) -> None:
    """Warn of columns in which most rows have a category of their own."""
    for name, categories in zip(table.names, table.categories, strict=True):
        n_categories = 0 if categories is None else len(categories)
        if n_rows >= MIN_ROWS and n_categories > MAX_SHARE * n_rows:
            warn_user(
                f"Column {name!r} of X has {n_categories} categories in {n_rows} rows, of which "
                "little can be learned. Leave it out if it identifies rows.",
                UserWarning,
            )
