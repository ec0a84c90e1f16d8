"""The state that an estimator may have: the names of its attributes, their types and shapes.

A file can set these attributes only. Add an attribute here in the commit that adds it to its class:
`save` refuses an estimator that has others.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.impute import MissingIndicator
from torch import nn

from .table_state import table, width_of

Sizes = dict[str, int]  # of the axes of arrays, by name
Rule = Callable[[Any, Sizes], bool]
MAX_INTEGER = 2**63 - 1
REAL = "fiu"
LABELS = "biufUO"


def either(*rules: Rule) -> Rule:
    """Values that follow one of the rules."""
    return lambda value, sizes: any(rule(value, sizes) for rule in rules)


def _kind(values: np.ndarray | torch.Tensor) -> str:
    """The kind of dtype, as in NumPy."""
    if isinstance(values, np.ndarray):
        return values.dtype.kind
    return "b" if values.dtype == torch.bool else "f" if values.is_floating_point() else "i"


def is_finite(values: np.ndarray | torch.Tensor, *, allows_nan: bool = False) -> bool:
    """Whether all numbers are finite, or NaN where this is allowed."""
    library: Any = np if isinstance(values, np.ndarray) else torch
    refused = library.isinf(values) if allows_nan else ~library.isfinite(values)
    return not refused.any()


def array(kinds: str, *axes: str, allows_nan: bool = False) -> Rule:
    """Arrays or tensors of finite numbers, of these kinds of dtype and these axes.

    Axes of one name have one size.
    """

    def rule(value: Any, sizes: Sizes) -> bool:
        return (
            isinstance(value, np.ndarray | torch.Tensor)
            and _kind(value) in kinds
            and value.ndim == len(axes)
            and all(
                sizes.setdefault(axis, n) == n for axis, n in zip(axes, value.shape, strict=True)
            )
            and (_kind(value) != "f" or is_finite(value, allows_nan=allows_nan))
        )

    return rule


def all_of(container: type[list] | type[tuple], entry: Rule) -> Rule:
    """Lists, or tuples, whose entries follow a rule."""
    return lambda value, sizes: type(value) is container and all(entry(v, sizes) for v in value)


def named(*names: str) -> Rule:
    """Objects of the classes of this package that have one of the names, or None among them."""
    return lambda value, sizes: (
        type(value).__name__ in names and type(value).__module__.split(".")[0] == "skae"
    )


def module(*names: str) -> Rule:
    """Networks of the classes that have one of the names."""
    is_named = named(*names)
    return lambda value, sizes: isinstance(value, nn.Module) and is_named(value, sizes)


def none(value: Any, sizes: Sizes) -> bool:
    """None."""
    return value is None


def number(value: Any, sizes: Sizes) -> bool:
    """Finite numbers, Python's or NumPy's."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return is_number and bool(np.isfinite(value))


def count(value: Any, sizes: Sizes) -> bool:
    """Numbers of things."""
    return isinstance(value, int | np.integer) and type(value) is not bool and bool(value >= 0)


def flag(value: Any, sizes: Sizes) -> bool:
    """True and False."""
    return isinstance(value, bool)


def text(value: Any, sizes: Sizes) -> bool:
    """Strings."""
    return isinstance(value, str)


def dtype(value: Any, sizes: Sizes) -> bool:
    """The dtypes of arrays."""
    return isinstance(value, np.dtype)


def estimator(value: Any, sizes: Sizes) -> bool:
    """Estimators, which are checked themselves, for rows of the same width."""
    width = getattr(value, "n_features_in_", None)
    return isinstance(value, BaseEstimator) and width in (None, sizes.get("n_features_in_", width))


def estimator_of(axis: str) -> Rule:
    """Estimators for rows that have as many columns as an axis of arrays has entries."""

    def rule(value: Any, sizes: Sizes) -> bool:
        width = getattr(value, "n_features_in_", None)
        columns = {} if width is None else {"n_features_in_": sizes.setdefault(axis, width)}
        return estimator(value, columns)

    return rule


def estimator_of_windows(value: Any, sizes: Sizes) -> bool:
    """Estimators for windows of a series: their columns are those of the series, several times."""
    if "window_size_" not in sizes or "n_features_in_" not in sizes:  # which is noticed later
        return estimator(value, {})
    return estimator(value, {"n_features_in_": sizes["n_features_in_"] * sizes["window_size_"]})


def missing_indicator(value: Any, sizes: Sizes) -> bool:
    """scikit-learn's indicators of missing entries, for rows of the same width."""
    return type(value) is MissingIndicator and estimator(value, sizes)


def record(*names: str) -> Rule:
    """Statistics of the codes: named tuples of numbers and arrays."""
    is_named = named(*names)

    def rule(value: Any, sizes: Sizes) -> bool:
        return is_named(value, sizes) and all(
            _statistic(getattr(value, name), sizes)
            if field is np.ndarray
            else number(getattr(value, name), sizes)
            for name, field in type(value).__annotations__.items()
        )

    return rule


def names_of_features(value: Any, sizes: Sizes) -> bool:
    """The names of the columns."""
    return array("O", "n_features_in_")(value, sizes) and all(type(v) is str for v in value)


def container_config(value: Any, sizes: Sizes) -> bool:
    """The settings of `set_output`."""
    return isinstance(value, dict) and all(
        key == "transform" and kind in ("default", "pandas", "polars")
        for key, kind in value.items()
    )


def texts_by_name(value: Any, sizes: Sizes) -> bool:
    """Strings by name."""
    return isinstance(value, dict) and all(
        type(name) is type(entry) is str for name, entry in value.items()
    )


def steps(value: Any, sizes: Sizes) -> bool:
    """The steps of a pipeline."""
    return isinstance(value, list) and all(
        isinstance(step, tuple)
        and len(step) == 2
        and isinstance(step[0], str)
        and (step[1] in (None, "passthrough") or isinstance(step[1], BaseEstimator))
        for step in value
    )


_curve = all_of(list, number)
_of_features = array(REAL, "n_features_in_")
_of_columns = array(REAL, "n_columns")  # of the network: encoded ones, if there are categories
_of_components = array(REAL, "n_components_")
_statistic = either(_of_components, array(REAL, "n_components_", "n_components_"))
# scikit-learn's, which are NaN for a column without observed entries.
_statistics_of_columns = array(REAL, "n_features_in_", allows_nan=True)
_column_statistics = either(none, _statistics_of_columns)

_EVERY_ESTIMATOR: dict[str, Rule] = {
    "n_features_in_": count,
    "feature_names_in_": names_of_features,
    "_sklearn_output_config": container_config,
}
_LABEL_CODER: dict[str, Rule] = {
    "classes_": array(LABELS, "n_classes"),
    "y_type_": text,
    "sparse_input_": flag,
}

# Class name -> the attributes that it adds to those of its base classes.
STATE: dict[str, dict[str, Rule]] = {
    "BaseEstimator": _EVERY_ESTIMATOR,
    "BaseAutoencoder": {
        "_codes": record("CodeMoments", "UnitActivity"),
        "_fit_parameters": texts_by_name,
        "_optimizer_state": none,
        "best_iter_": count,
        "_table": table,
        "components_": array(REAL, "n_components_", "n_columns"),
        "diagnosis_": all_of(tuple, text),
        "explained_variance_": _of_components,
        "explained_variance_ratio_": _of_components,
        "loss_curve_": _curve,
        "mean_": _of_columns,
        "n_components_": count,
        "n_iter_": count,
        "n_samples_seen_": count,
        "network_": module("FittedAutoencoder", "RotatedAutoencoder"),
        "pca_score_": number,
        "validation_curve_": _curve,
    },
    "SparseAutoencoder": {
        "_codes": record("UnitActivity"),
        "activation_frequency_": _of_components,
    },
    "VAE": {"_noise_seed": count, "active_components_": array("b", "n_components_")},
    "AutoencoderClassifier": {
        "classes_": array(LABELS, "n_classes"),
        "coef_": array("f", "n_classes", "n_codes"),
        "encoder_": estimator,
        "intercept_": array("f", "n_classes"),
        "loss_curve_": _curve,
        "n_iter_": count,
    },
    "AutoencoderImputer": {
        "_correction": either(none, module("StackedCorrection"), array("f", "n_kept")),
        "_gaussian": all_of(
            tuple, either(array("f", "n_kept"), array("f", "n_kept", "n_kept or factors"))
        ),
        "_highest": array("f", "n_kept"),
        "_limits": array("f", "n_limits", "n_kept"),
        "_lowest": array("f", "n_kept"),
        "_mean": array("f", "n_kept"),
        "_std": array("f", "n_kept"),
        "error_ratio_": array("f", "n_kept"),
        "estimator_": either(none, estimator_of("n_kept")),
        "indicator_": either(none, missing_indicator),
        "initial_imputer_": estimator,
    },
    "AutoencoderOutlierDetector": {
        "_known_outliers": all_of(
            tuple, either(_of_columns, array("f", "n_terms", "n_columns"), array("f", "n"))
        ),
        "_table": table,
        "estimator_": estimator_of("n_columns"),
        "held_out_scores_": array("f", "n_held_out_scores"),
        "offset_": number,
    },
    "DenoisingEnsemble": {"denoisers_": module("Denoisers")},
    "ReconstructionTransformer": {"estimator_": estimator},
    "SlidingWindows": {"window_size_": count},
    "TimeSeriesOutlierDetector": {
        "estimator_": estimator_of_windows,
        "offset_": number,
        "window_size_": count,
    },
    "FrozenEstimator": {"estimator": estimator},
    "LabelBinarizer": _LABEL_CODER,
    "LabelEncoder": _LABEL_CODER,
    "LogisticRegression": {
        "classes_": array(LABELS, "n_classes"),
        "coef_": array("f", "n_scores", "n_features_in_"),
        "intercept_": array("f", "n_scores"),
        "multi_class": text,  # a parameter of earlier versions
        "n_iter_": array("iu", "n_fits"),
    },
    "MaxAbsScaler": {
        "max_abs_": _statistics_of_columns,
        "n_samples_seen_": count,
        "scale_": _statistics_of_columns,
    },
    "MissingIndicator": {
        "_n_features": count,
        "_precomputed": flag,
        "features_": array("i", "n_features_with_missing_values"),
    },
    "MinMaxScaler": {
        "data_max_": _statistics_of_columns,
        "data_min_": _statistics_of_columns,
        "data_range_": _statistics_of_columns,
        "min_": _statistics_of_columns,
        "n_samples_seen_": count,
        "scale_": _statistics_of_columns,
    },
    "PCA": {
        "_fit_svd_solver": text,
        "components_": array("f", "n_components_", "n_features_in_"),
        "explained_variance_": _of_components,
        # NaN for rows without variance
        "explained_variance_ratio_": array("f", "n_components_", allows_nan=True),
        "mean_": _of_features,
        "n_components_": count,
        "n_samples_": count,
        "noise_variance_": number,
        "singular_values_": _of_components,
    },
    "Pipeline": {"steps": steps},
    "RobustScaler": {"center_": _column_statistics, "scale_": _column_statistics},
    "SimpleImputer": {
        "_fill_dtype": either(none, dtype),
        "_fit_dtype": dtype,
        "indicator_": either(none, missing_indicator),
        "statistics_": array(LABELS, "n_features_in_", allows_nan=True),
    },
    "StandardScaler": {
        "mean_": _column_statistics,
        "n_samples_seen_": either(number, _of_features),
        "scale_": _column_statistics,
        "var_": _column_statistics,
    },
}


# Attributes that not every fit sets.
OPTIONAL = {"held_out_scores_", "_known_outliers", "_limits", "_table"}


def rules_of(cls: type) -> dict[str, Rule]:
    """The rules of the attributes of a class, also those of its bases."""
    rules: dict[str, Rule] = {}
    for base in reversed(cls.__mro__):
        rules |= STATE.get(base.__name__, {})
    return rules


def check_state(estimator: BaseEstimator, *, is_custom: bool) -> None:
    """Check the values of all attributes of an estimator, and that its class has them.

    A custom class may have attributes of any name that no class defines.
    """
    cls, state = type(estimator), vars(estimator)
    parameters, rules = set(cls._get_param_names()), rules_of(cls)
    sizes: Sizes = {
        name: size
        for name in ("n_features_in_", "n_components_", "window_size_")
        if name in rules and count(size := state.get(name), {})
    }
    if (width := width_of(state)) is not None:
        sizes["n_columns"] = width
    for name, value in state.items():
        if name in rules:
            if not rules[name](value, sizes):
                is_array = isinstance(value, np.ndarray) and value.dtype.kind == "f"
                if is_array and not is_finite(value):
                    raise ValueError(f"{name!r} has numbers that are not finite")
                raise ValueError(f"{cls.__name__} has another kind of {name!r}")
        elif name not in parameters and not (is_custom and _is_free(name, cls)):
            raise ValueError(f"{cls.__name__} cannot have {name!r} of its own")


def check_is_complete(estimator: BaseEstimator) -> None:
    """Check that an estimator of this package has all fitted attributes of its class, or none."""
    classes = [c for c in type(estimator).__mro__ if c.__module__.partition(".")[0] == "skae"]
    names = {name for cls in classes for name in STATE.get(cls.__name__, ())} | {"n_features_in_"}
    names -= OPTIONAL
    if not (names | {"feature_names_in_"}) & vars(estimator).keys():
        return
    for name in sorted(names):
        if name not in vars(estimator):
            raise ValueError(f"{type(estimator).__name__} has no {name!r}")


def set_missing_parameters(estimator: BaseEstimator) -> None:
    """Give an estimator that an earlier version has saved the default of each new parameter."""
    for name, parameter in inspect.signature(type(estimator)).parameters.items():
        if not hasattr(estimator, name):
            if parameter.default is parameter.empty:
                raise ValueError(f"{type(estimator).__name__} has no {name!r}")
            setattr(estimator, name, parameter.default)


def _is_free(name: str, cls: type) -> bool:
    """Whether no class defines an attribute of this name."""
    defined = getattr(cls, name, None)
    ours = [
        base for base in cls.__mro__ if base.__module__.partition(".")[0] in ("skae", "sklearn")
    ]
    return (
        name.isidentifier()
        and not name.startswith("__")
        and not callable(defined)
        and not any(name in vars(base) for base in ours)
    )
