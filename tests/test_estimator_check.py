"""An estimator that was loaded works, whatever was done to its file."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import AUTOENCODERS, ESTIMATORS
from file_mutations import mutate
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from tampering import rewrite, state

import skae
from skae import load, save

N_MUTATIONS = 10
METHODS = (
    *("transform", "reconstruct", "predict", "predict_proba", "decision_function"),
    *("score_samples", "feature_contributions", "get_feature_names_out"),
)


def composites(small):
    """Estimators that hold others."""
    reducer = small(skae.AutoencoderTransformer, 2, max_iter=1)
    return {
        "pipeline": make_pipeline(StandardScaler(), MinMaxScaler(), reducer, LogisticRegression()),
        "pipeline of transformers": make_pipeline(StandardScaler(), PCA(3), clone(reducer)),
        "detector": skae.AutoencoderOutlierDetector(clone(reducer)),
        "imputer": skae.AutoencoderImputer(clone(reducer), random_state=0),
        "reconstruction": skae.ReconstructionTransformer(make_pipeline(StandardScaler(), PCA(2))),
    }


CASES = [*(cls.__name__ for cls in ESTIMATORS), *composites(lambda *_, **__: PCA())]


def make(name, small):
    by_name = {cls.__name__: cls for cls in ESTIMATORS}
    return small(by_name[name], max_iter=1) if name in by_name else composites(small)[name]


@pytest.fixture(params=CASES, scope="module")
def fitted_once(request, digits, small):
    return make(request.param, small).fit(digits[:60, 10:20], np.arange(60) % 3)


@pytest.fixture
def fitted(fitted_once):
    return copy.deepcopy(fitted_once)


def assert_works(estimator, X):
    """All methods run, or the estimator is not fitted."""
    repr(estimator)
    estimator._repr_html_()
    for name in METHODS:
        if not hasattr(estimator, name):
            continue
        arguments = () if name == "get_feature_names_out" else (X,)
        try:
            getattr(estimator, name)(*arguments)
        except NotFittedError:
            return
        except AttributeError as error:
            assert "does not provide get_feature_names_out" in str(error)  # noqa: PT017


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_changed_file_is_refused_or_gives_an_estimator_that_works(
    fitted, tmp_path, digits, global_random_seed
):
    path, rng = tmp_path / "model", np.random.RandomState(global_random_seed)
    save(fitted, path)
    whole = path.read_bytes()
    for _ in range(N_MUTATIONS):
        path.write_bytes(whole)
        mutate(path, rng)
        try:
            loaded = load(path)
        except ValueError:
            continue
        assert_works(loaded, digits[:60, 10:20])


def test_the_check_leaves_the_random_state_alone(digits, tmp_path):
    random_state = np.random.RandomState(0)
    imputer = skae.AutoencoderImputer(sample_posterior=True, random_state=random_state)
    X = np.where(np.random.RandomState(1).uniform(size=(60, 5)) < 0.1, np.nan, digits[:60, 10:15])
    save(imputer.fit(X), tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.random_state.normal(size=3), random_state.normal(size=3))


def test_the_surroundings_do_not_matter(fitted, digits, tmp_path, global_random_seed):
    X = pd.DataFrame(digits[:60, 10:20]).rename(columns="pixel{}".format)
    fitted = clone(fitted).fit(X, np.arange(60) % 3)
    with (
        config_context(transform_output="pandas"),
        warnings.catch_warnings(),
        torch.device("meta"),
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16),
    ):
        warnings.simplefilter("error")
        save(fitted, tmp_path / "model")
        again = load(tmp_path / "model")
    name = next(name for name in METHODS if hasattr(fitted, name))
    np.testing.assert_array_equal(getattr(again, name)(X), getattr(fitted, name)(X))
    clone(again).fit(X, np.arange(60) % 3)
    modules = [part for part in vars(again).values() if isinstance(part, torch.nn.Module)]
    assert not any(tensor.is_inference() for part in modules for tensor in part.parameters())


def test_an_estimator_that_returns_nan_is_neither_saved_nor_loaded(fitted, tmp_path):
    for part in vars(fitted).values():
        if isinstance(part, torch.nn.Module):
            for tensor in part.parameters():
                tensor.data.fill_(torch.nan)
            with pytest.raises(TypeError, match="`load` would refuse the file"):
                save(fitted, tmp_path / "model")


@pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)
def test_published_numbers_that_are_not_finite_are_not_saved(cls, digits, small, tmp_path):
    fitted = small(cls, max_iter=1).fit(digits[:60, 10:20])
    for name, value in list(vars(fitted).items()):
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            setattr(fitted, name, np.full_like(value, np.nan))
            with pytest.raises(TypeError, match=f"{name!r} has numbers that are not finite"):
                save(fitted, tmp_path / "model")
            setattr(fitted, name, value)


def test_steps_of_a_pipeline_have_to_fit_together(digits, tmp_path):
    X = digits[:60]
    pipeline = make_pipeline(StandardScaler(), PCA(3), FrozenEstimator(PCA(2).fit(X[:, :3]))).fit(X)
    save(pipeline, tmp_path / "model")
    pipeline.steps[1] = ("pca", PCA(4).fit(X))
    with pytest.raises(TypeError, match="a step takes 3 columns, the one before returns 4"):
        save(pipeline, tmp_path / "model")


def test_the_cache_of_a_pipeline_is_not_restored(digits, tmp_path):
    pipeline = make_pipeline(StandardScaler(), PCA(2), memory=str(tmp_path / "cache")).fit(digits)
    save(pipeline, tmp_path / "model")
    assert pipeline.memory == str(tmp_path / "cache")
    assert load(tmp_path / "model").memory is None
    rewrite(tmp_path / "model", lambda header, arrays: state(header).append(["memory", "cache"]))
    assert load(tmp_path / "model").memory is None
