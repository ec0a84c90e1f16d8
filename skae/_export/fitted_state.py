"""The state that an estimator may have: the names of its attributes, their types and shapes.

A file can set these attributes only. Add an attribute here in the commit that adds it to its class:
`save` refuses an estimator that has others.
"""

import inspect

import numpy as np
from sklearn.base import BaseEstimator

from . import column_state, encoder_state
from .state_rules import (
    LABELS,
    REAL,
    Rule,
    Sizes,
    all_of,
    array,
    container_config,
    count,
    dtype,
    either,
    estimator,
    estimator_of,
    estimator_of_windows,
    flag,
    function,
    is_finite,
    missing_indicator,
    module,
    names_of_features,
    none,
    number,
    record,
    steps,
    text,
    texts_by_name,
)
from .table_state import table, width_of

MAX_INTEGER = 2**63 - 1

_curve = all_of(list, number)
_of_features = array(REAL, "n_features_in_")
_of_columns = array(REAL, "n_columns")  # of the network: encoded ones, if there are categories
_of_components = array(REAL, "n_components_")
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

_ENCODER: dict[str, Rule] = {
    "_default_to_infrequent_mappings": encoder_state.positions,
    "_infrequent_enabled": encoder_state.flag,
    "_infrequent_indices": encoder_state.positions,
    "categories_": encoder_state.categories,
    "dtype": encoder_state.number_dtype,
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
        "loadings_": array(REAL, "n_components_", "n_columns"),
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
        "_table": table,
        "classes_": array(LABELS, "n_classes"),
        "coef_": array("f", "n_classes", "n_codes"),
        "encoder_": estimator,
        "intercept_": array("f", "n_classes"),
        "loss_curve_": _curve,
        "n_iter_": count,
    },
    "AutoencoderImputer": {
        "_category_models": array("f", "n_category_models"),
        "_correction": either(none, module("StackedCorrection"), array("f", "n_kept")),
        "_gaussian": all_of(
            tuple, either(array("f", "n_kept"), array("f", "n_kept", "n_kept or factors"))
        ),
        "_highest": array("f", "n_kept"),
        "_limits": array("f", "n_limits", "n_kept"),
        "_lowest": array("f", "n_kept"),
        "_mean": array("f", "n_kept"),
        "_quantiles": array("f", "n_levels", "n_kept"),
        "_std": array("f", "n_kept"),
        "_table": table,
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
    "ColumnTransformer": {
        "_columns": all_of(list, column_state.columns),
        "_remainder": column_state.remainder,
        "_transformer_to_input_indices": column_state.input_indices,
        "_transformers_feature_names_out": array("OU", "n_names_out"),
        "force_int_remainder_cols": either(flag, text),  # a parameter of earlier versions
        "n_jobs": either(none, number),
        "output_indices_": column_state.output_indices,
        "remainder": column_state.part,
        "sparse_output_": encoder_state.flag,
        "transformer_weights": column_state.weights,
        "transformers": column_state.transformers,
        "transformers_": column_state.fitted_transformers,
        "verbose_feature_names_out": column_state.names_out,
    },
    "FrozenEstimator": {"estimator": estimator},
    "FunctionTransformer": {"func": function, "inverse_func": function},
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
    "OneHotEncoder": _ENCODER
    | {
        "_drop_idx_after_grouping": encoder_state.dropped,
        "_n_features_outs": encoder_state.widths,
        "drop_idx_": encoder_state.dropped,
        "feature_name_combiner": either(encoder_state.is_concat, function),
    },
    "OrdinalEncoder": _ENCODER
    | {
        "_missing_indices": encoder_state.missing,
        "encoded_missing_value": encoder_state.code,
        "unknown_value": encoder_state.code,
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
OPTIONAL = {"held_out_scores_", "loadings_", "_known_outliers", "_limits", "_table"}
OPTIONAL |= {"_category_models", "_quantiles"}


# Of the limits, and of the quantiles of errors, of an imputer.
FIXED_SIZES = {"n_limits": 2, "n_levels": 31}


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
    sizes: Sizes = FIXED_SIZES | {
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
