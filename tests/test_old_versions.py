"""Files, pickles and imports of version 0.1.0 work, and give the same results.

`data/version_0_1_0` was written by that version; `expected.npz` has its results.
"""

import importlib
import pickle
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from torch import nn

import skae
from skae._nn.custom_layers import SoftClip
from skae._nn.old_names import (
    OLD_MODULES,
    PUBLIC_NOW,
    REMOVED_IN,
    RENAMED_ATTRIBUTES,
    RENAMED_CLASSES,
    new_attribute_names,
)
from skae._nn.pickling import EVERY_MODULE_HAS, is_known, record_classes

# The files contain estimators of the version of scikit-learn that was current.
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.InconsistentVersionWarning",
    "ignore::sklearn.exceptions.ConvergenceWarning",
)

FOLDER = Path(__file__).parent / "data" / "version_0_1_0"
EXPECTED = np.load(FOLDER / "expected.npz")
FILES = sorted(path.name for path in FOLDER.iterdir() if path.name != "expected.npz")
FITTED = [name for name in FILES if not name.startswith("unfitted")]
JOBLIB = [name for name in FITTED if name.endswith(".joblib")]
AGAIN = [name for name in FILES if f"{name.split('.')[0]},again" in EXPECTED]
SINGLE_PRECISION = ("tied", "batch_topk", "ensemble")

# Classes of version 0.1.0 that can be in a pickle: network modules, named tuples, estimators.
OLD_CLASSES = {
    "_autoencoder": "AutoencoderTransformer",
    "_base": "BaseAutoencoder",
    "_classifier": "AutoencoderClassifier",
    "_code_displays": "LatentTraversalDisplay DictionaryDisplay",
    "_codec": "Codec OrderedCodec",
    "_comparison": "ReducerScores ReducerComparison",
    "_comparison_display": "ReducerComparisonDisplay",
    "_completion": "StackedNetworks Correction",
    "_contractive": "ContractiveAutoencoder",
    "_convolution": "Deconvolution",
    "_corruptions": "Columns",
    "_denoisers": "ExactDenoisers Denoisers",
    "_denoising": "DenoisingAutoencoder",
    "_displays": "LossCurveDisplay ExplainedVarianceDisplay LatentSpaceDisplay",
    "_ensemble": "DenoisingEnsemble",
    "_imputer": "AutoencoderImputer",
    "_losses": "SquaredError AbsoluteError LogLoss Poisson",
    "_networks": "Whitening Tame Transposed Gate LinearPath Scales Autoencoder",
    "_ordering": "CodeMoments CodeUse",
    "_outlier": "AutoencoderOutlierDetector",
    "_packing": "PackedModule",
    "_probabilistic": "PosteriorHead NoisyDecoder VariationalAutoencoder",
    "_reconstruction": "ReconstructionTransformer",
    "_reconstruction_display": "ReconstructionDisplay",
    "_scoring": "_ReconstructionScorer",
    "_sparse": "SparseAutoencoder",
    "_sparse_codes": "TopK BatchTopK Lifetime L1 KL JumpReLU Silent Units Dictionary SparseCoder",
    "_stacked": "StackedLinear",
    "_variational": "VAE",
}


def read(name):
    """The estimator in a file, with every type trusted that the file names."""
    path = FOLDER / name
    if path.suffix == ".joblib":
        return joblib.load(path)
    if path.suffix == ".skae":
        return skae.load(path)
    skops_io = pytest.importorskip("skops.io")
    return skops_io.load(path, trusted=skops_io.get_untrusted_types(file=path))


def rows_of(name):
    """The rows that the estimator in a file was fitted to."""
    X = load_digits().data[:60] / 16
    if name.split(".")[0] in SINGLE_PRECISION:
        return X.astype(np.float32)
    if name.startswith("imputer"):
        missing = np.random.RandomState(0).uniform(size=X.shape) < 0.1
        return np.where(missing, np.nan, X)[:, 10:14]
    return X


def result(estimator, X):
    values = (estimator.transform if hasattr(estimator, "transform") else estimator.score_samples)(
        X
    )
    return values.toarray() if hasattr(values, "toarray") else values


def assert_as_before(values, key):
    """Up to rounding: another processor, or version of torch, may add in another order."""
    expected = EXPECTED[key]
    assert values.dtype == expected.dtype
    tolerance = 1e-4 if expected.dtype == np.float32 else 1e-8
    np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)


def networks_in(estimator):
    """All networks in an estimator, and in the estimators in it."""
    for value in vars(estimator).values():
        if isinstance(value, nn.Module):
            yield value
        elif hasattr(value, "get_params") and not isinstance(value, type):
            yield from networks_in(value)


def names_in(part):
    """The attributes that a part of a network has beyond those of every torch module."""
    registered = (part._parameters, part._buffers, part._modules)
    return {*vars(part)}.difference(EVERY_MODULE_HAS).union(*registered)


@pytest.mark.parametrize("name", FITTED)
def test_an_estimator_gives_the_results_of_its_version(name):
    assert_as_before(result(read(name), rows_of(name)), name.split(".")[0])


@pytest.mark.parametrize("name", AGAIN)
def test_training_continues_with_the_results_of_its_version(name):
    estimator = read(name).fit(rows_of(name))
    assert_as_before(result(estimator, rows_of(name)), f"{name.split('.')[0]},again")


@pytest.mark.parametrize("name", [name for name in FITTED if not name.endswith(".joblib")])
def test_all_kinds_of_files_give_bitwise_identical_results(name):
    pickled = read(f"{name.split('.')[0]}.joblib")
    X = rows_of(name)
    np.testing.assert_array_equal(result(read(name), X), result(pickled, X))


@pytest.mark.parametrize("name", JOBLIB)
def test_an_old_autoencoder_has_the_attributes_of_pca(name):
    estimator, X = read(name), rows_of(name)
    if not hasattr(estimator, "get_covariance") or not hasattr(estimator, "network_"):
        pytest.skip("no autoencoder with the squared error, or not fitted")
    explained = (estimator.singular_values_**2).sum() / (len(X) - 1)
    n_left_out = min(X.shape) - estimator.n_components_
    total = np.var(X, axis=0, ddof=1).sum()
    assert explained + n_left_out * estimator.noise_variance_ == pytest.approx(total, rel=1e-5)
    assert np.isfinite(estimator.get_covariance()).all()


@pytest.mark.parametrize("name", JOBLIB)
def test_a_new_pickle_gives_bitwise_identical_results(name):
    estimator, X = read(name), rows_of(name)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(result(again, X), result(estimator, X))


@pytest.mark.parametrize("name", ["unfitted.joblib", "unfitted.skae"])
def test_parameters_are_kept(name):
    estimator = read(name)
    assert type(estimator) is skae.SparseAutoencoder
    assert (estimator.n_components, estimator.sparsity) == (7, "l1")
    assert "0.25" in repr(estimator)  # the weight of the penalty


@pytest.mark.parametrize("name", JOBLIB)
def test_a_network_has_the_attributes_of_a_new_one(name):
    old = read(name)
    new = pickle.loads(pickle.dumps(old)).fit(rows_of(name), np.arange(60) % 2)
    for one, other in zip(networks_in(old), networks_in(new), strict=True):
        # Plain autoencoders have no SoftClip any more.
        new_parts = {type(part): part for part in other.modules()}
        assert {type(part) for part in one.modules()} - {SoftClip} <= set(new_parts)
        for part in one.modules():
            if type(part) not in (SoftClip, nn.Sequential):
                assert names_in(part) == names_in(new_parts[type(part)])
            assert not names_in(part) & set(new_attribute_names(type(part)))


def test_no_old_class_name_is_in_use():
    known = {cls.__name__ for cls in nn.Module.__subclasses__() if is_known(cls)}
    assert not {*known, *record_classes()} & set(RENAMED_CLASSES)


def test_no_attribute_is_renamed_twice():
    for names in RENAMED_ATTRIBUTES.values():
        assert not set(names) & set(names.values())


@pytest.mark.parametrize("module", sorted({*OLD_MODULES, *OLD_CLASSES}))
def test_an_old_module_has_its_classes(module):
    imported = importlib.import_module(f"skae.{module}")
    assert importlib.import_module(f"skae.{module}") is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for name in OLD_CLASSES.get(module, "").split():
            cls = getattr(imported, name)
            assert isinstance(cls, type)
            assert cls.__name__ == RENAMED_CLASSES.get(name, name)
    with pytest.raises(AttributeError, match=f"'skae.{module}' has no attribute 'Unknown'"):
        imported.Unknown  # noqa: B018


@pytest.mark.parametrize("homes", OLD_MODULES.values(), ids=OLD_MODULES)
def test_an_old_module_is_an_alias_of_modules_that_exist(homes):
    for home in homes:
        assert importlib.import_module(f"skae.{home}").__name__ == f"skae.{home}"


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in PUBLIC_NOW for name in sorted(PUBLIC_NOW[module])],
)
def test_a_name_that_is_public_now_is_imported_with_a_warning(module, name):
    base = importlib.import_module("skae.base")
    with pytest.warns(FutureWarning, match=f"is `skae.base.{name}` now; .* version {REMOVED_IN}"):
        found = getattr(importlib.import_module(f"skae.{module}"), name)
    assert found is getattr(base, name)


def test_an_unknown_module_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"'skae[.]_unknown'"):
        importlib.import_module("skae._unknown")
    assert "skae._unknown" not in sys.modules
