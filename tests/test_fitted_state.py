"""Files set only attributes that a class has, to values that these can have."""

import copy

import numpy as np
import pytest
from conftest import ESTIMATORS
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    LabelBinarizer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from tampering import rewrite, state

import skae
from skae import load, save
from skae._export.custom_objects import SCIKIT_LEARN
from skae._export.fitted_state import STATE, rules_of

OTHERS = (PCA, LogisticRegression, SimpleImputer, StandardScaler, MinMaxScaler, RobustScaler)
# Those with statistics that are NaN for a column without observed entries, or without variance.
MAY_BE_NAN = {PCA, SimpleImputer, StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler}
OTHER_KINDS = ([[None]], "\N{SNOWMAN}", -1.5j, np.zeros((1, 1, 1, 1, 1)))


def fit(cls, X, small):
    estimator = small(cls) if cls in ESTIMATORS else cls()
    if cls is LogisticRegression:
        estimator.set_params(max_iter=5000)
    return estimator.fit(X, np.arange(len(X)) % 3)


@pytest.fixture(params=[*ESTIMATORS, *OTHERS], ids=lambda cls: cls.__name__, scope="module")
def fitted_once(request, digits, small):
    return fit(request.param, digits[:60, 10:20], small)


@pytest.fixture
def fitted(fitted_once):
    return copy.deepcopy(fitted_once)


def attributes(estimator):
    """The attributes that are saved and are no parameters."""
    parameters = estimator.get_params(deep=False)
    return sorted(vars(estimator).keys() - parameters.keys() - {"_optimizer_state"})


def test_an_attribute_of_another_kind_is_refused(fitted, tmp_path, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    for name in attributes(fitted):
        other = OTHER_KINDS[rng.randint(len(OTHER_KINDS))]
        if isinstance(vars(fitted)[name], str) and isinstance(other, str):
            continue
        changed = copy.copy(fitted)
        vars(changed)[name] = other
        with pytest.raises(TypeError):
            save(changed, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_attribute_that_the_class_does_not_have_is_refused(fitted, tmp_path, global_random_seed):
    path, rng = tmp_path / "model", np.random.RandomState(global_random_seed)
    names = ["note_", "_doc_link_template", "transform", "fit", "__class__", "_sklearn_tags"]
    for name in rng.permutation(names)[:2].tolist():
        save(fitted, path)
        rewrite(path, lambda header, arrays, name=name: state(header).append([name, "text"]))
        with pytest.raises(ValueError, match=f"cannot have '{name}' of its own"):
            load(path)
    fitted.note_ = "text"
    with pytest.raises(TypeError, match=r"`load` would refuse the file: .* cannot have 'note_'"):
        save(fitted, path)


def test_a_fitted_attribute_that_is_missing_is_noticed(fitted, tmp_path, global_random_seed):
    path = tmp_path / "model"
    save(fitted, path)
    whole = path.read_bytes()
    # files of version 0.1 do not have these
    optional = {"_fit_parameters", "loadings_", "_limits", "_quantiles"}
    names = sorted(rules_of(type(fitted)).keys() & vars(fitted).keys() - optional)
    for name in np.random.RandomState(global_random_seed).permutation(names)[:5].tolist():
        path.write_bytes(whole)
        rewrite(
            path,
            lambda header, arrays, name=name: header["content"].update(
                value=[entry for entry in state(header) if entry[0] != name]
            ),
        )
        if type(fitted) in ESTIMATORS:
            with pytest.raises(ValueError, match=f"has no '{name}'"):
                load(path)
            continue
        try:
            load(path)
        except ValueError:
            continue


def test_an_array_of_another_size_is_refused(fitted, tmp_path, global_random_seed):
    path, rng = tmp_path / "model", np.random.RandomState(global_random_seed)
    save(fitted, path)
    whole = path.read_bytes()
    for name, value in vars(fitted).items():
        if not (isinstance(value, np.ndarray) and value.ndim and len(value) > 1):
            continue
        if name == "n_iter_":  # one number for each fit of a solver, of which nothing depends
            continue
        for changed in [(value[:-1], value[None], np.r_[value, value[:1]])[rng.randint(3)]]:
            path.write_bytes(whole)
            rewrite(
                path,
                lambda header, arrays, name=name, changed=changed: (
                    arrays | {name: np.array(changed)}
                ),
            )
            with pytest.raises(ValueError, match="must be a whole file"):
                load(path)


def test_numbers_that_are_not_finite_are_refused(fitted, tmp_path, global_random_seed):
    path, rng = tmp_path / "model", np.random.RandomState(global_random_seed)
    save(fitted, path)
    whole, names = path.read_bytes(), []
    rewrite(path, lambda header, arrays: names.extend(k for k, v in arrays.items() if is_float(v)))
    for name in rng.permutation(names)[:12]:
        value = rng.choice([np.inf, -np.inf, np.nan])
        if name.endswith("max_train_distance"):
            value = -np.inf
        elif np.isnan(value) and type(fitted) in MAY_BE_NAN:
            value = np.inf

        def change(header, arrays, name=name, value=value):
            changed = arrays[name].copy()
            changed.flat[rng.randint(changed.size)] = value
            return arrays | {name: changed}

        path.write_bytes(whole)
        rewrite(path, change)
        with pytest.raises(ValueError, match="must be a whole file"):
            load(path)


def is_float(values):
    return values.dtype.kind == "f" and values.size > 0


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning", "ignore:Skipping features")
@pytest.mark.parametrize("cls", sorted(MAY_BE_NAN, key=str))
def test_statistics_of_columns_without_entries_are_saved(cls, digits, tmp_path):
    X = np.where(np.arange(10) == 3, np.nan, digits[:60, 10:20])
    X = np.ones_like(X) if cls is PCA else X  # without variance its ratios are NaN
    with np.errstate(all="ignore"):
        fitted = cls().fit(X)
    save(fitted, tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").transform(X), fitted.transform(X))


def test_every_class_that_files_may_hold_has_rules():
    for cls in (*ESTIMATORS, *SCIKIT_LEARN):
        assert any(base.__name__ in STATE for base in cls.__mro__)


def forget_parameters(header, arrays):
    state(header)[:] = [entry for entry in state(header) if entry[0] == "_sklearn_version"]


def test_a_parameter_that_an_old_file_does_not_have_gets_its_default(tmp_path):
    path = tmp_path / "model"
    for estimator in (StandardScaler(), skae.VAE(), LabelBinarizer()):
        save(estimator, path)
        rewrite(path, forget_parameters)
        assert load(path).get_params() == estimator.get_params()


def test_an_indicator_of_missing_values_is_saved(digits_with_gaps, tmp_path):
    X = digits_with_gaps[:60, 10:20]
    for imputer in (skae.AutoencoderImputer(add_indicator=True), SimpleImputer(add_indicator=True)):
        fitted = make_pipeline(imputer.fit(X))
        save(fitted, tmp_path / "model")
        np.testing.assert_array_equal(load(tmp_path / "model").transform(X), fitted.transform(X))
        for column in (-1, 10):  # which the rows do not have
            imputer.indicator_.features_ = np.array([column])
            with pytest.raises(TypeError, match="columns that it does not have"):
                save(fitted, tmp_path / "model")


@pytest.mark.filterwarnings("ignore:The columns .* have no observed value")
@pytest.mark.parametrize(
    "estimator", [None, PCA(2), make_pipeline(StandardScaler(), PCA(2))], ids=str
)
def test_an_imputer_that_drops_columns_is_saved(estimator, digits_with_gaps, tmp_path):
    X = digits_with_gaps[:60, 20:30]
    X[:, [0, 4]] = np.nan
    imputer = skae.AutoencoderImputer(estimator, random_state=0).fit(X)
    save(imputer, tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").transform(X), imputer.transform(X))
    if estimator is not None:  # the columns that are kept are those of the estimator
        imputer.estimator_ = clone(estimator).fit(np.eye(10))
        with pytest.raises(TypeError, match="another kind of 'estimator_'"):
            save(imputer, tmp_path / "model")
