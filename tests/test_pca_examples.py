"""Examples of scikit-learn that use PCA, with the class replaced."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import NMF, PCA, IncrementalPCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from skae import AutoencoderTransformer

X, Y = load_digits(return_X_y=True)
X, Y = X[:600], Y[:600]


@pytest.fixture
def reducer(small):
    """A function with the parameters of PCA that makes an autoencoder."""
    return lambda n_components=2, **parameters: small(
        AutoencoderTransformer, n_components, max_iter=20, **parameters
    )


def test_eigenfaces(reducer):
    """plot_face_recognition.py; with digits; `svd_solver` is left out."""
    X_train, X_test, y_train, y_test = train_test_split(X, Y, random_state=42)
    scaler = StandardScaler()
    X_train, X_test = scaler.fit_transform(X_train), scaler.transform(X_test)

    def accuracy(pca):
        pca.fit(X_train)
        eigenfaces = pca.components_.reshape((15, 8, 8))
        assert np.isfinite(eigenfaces).all()
        classifier = SVC(C=10).fit(pca.transform(X_train), y_train)
        return classifier.score(pca.transform(X_test), y_test)

    expected = accuracy(PCA(15, svd_solver="randomized", whiten=True))
    assert accuracy(reducer(15, whiten=True)) > expected - 0.1


def test_pipeline_of_digits(reducer):
    """plot_digits_pipe.py."""
    pipe = Pipeline(
        [
            ("scaler", StandardScaler()),
            ("pca", reducer()),
            ("logistic", LogisticRegression(max_iter=200, tol=0.1)),
        ]
    )
    grid = {"pca__n_components": [2, 16], "logistic__C": [0.01, 1.0]}
    search = GridSearchCV(pipe, grid, cv=2).fit(X[:300], Y[:300])
    results = pd.DataFrame(search.cv_results_)
    best = results.groupby("param_pca__n_components")["mean_test_score"].max()
    assert best[16] > best[2]
    pca = search.best_estimator_.named_steps["pca"]
    assert pca.n_components == len(pca.explained_variance_ratio_) == 16
    assert (np.diff(pca.explained_variance_ratio_) <= 0).all()


def test_selection_of_a_reduction(reducer, tmp_path):
    """plot_compare_reduction.py; `iterated_power` and the selection of columns are left out."""
    pipe = Pipeline(
        [
            ("scaling", MinMaxScaler(clip=True)),
            ("reduce_dim", "passthrough"),
            ("classify", LogisticRegression(C=1.0)),
        ],
        memory=str(tmp_path),
    )
    reductions = [reducer(), NMF(max_iter=50, tol=0.1)]
    grid = {"reduce_dim": reductions, "reduce_dim__n_components": [2, 8]}
    search = GridSearchCV(pipe, grid, cv=2).fit(X[:200], Y[:200])
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert scores[1] > max(scores[0], 0.7)  # eight codes and two


def test_incremental_pca(reducer):
    """plot_incremental_pca.py."""
    rows, _ = load_iris(return_X_y=True)
    rows = rows[np.random.RandomState(0).permutation(len(rows))]
    pca, incremental = PCA(2).fit_transform(rows), {}
    for name, reduce in (("PCA", IncrementalPCA(2)), ("autoencoder", reducer())):
        for batch in np.array_split(rows, 3):
            reduce.partial_fit(batch)
        assert reduce.n_samples_seen_ == 150
        incremental[name] = np.abs(np.abs(pca) - np.abs(reduce.transform(rows))).mean()
    assert incremental["autoencoder"] < 0.1


def test_pca_and_linear_discriminants_of_iris(reducer):
    """plot_pca_vs_lda.py."""
    iris = load_iris()
    pca = reducer(n_components=2)
    codes = pca.fit(iris.data).transform(iris.data)
    lda = LinearDiscriminantAnalysis(n_components=2)
    assert codes.shape == lda.fit(iris.data, iris.target).transform(iris.data).shape
    explained = pca.explained_variance_ratio_
    assert explained.sum() >= PCA(2).fit(iris.data).explained_variance_ratio_.sum() - 1e-9
    means = pd.DataFrame(codes).groupby(iris.target).mean()
    assert means[0].abs().gt(codes[:, 0].std() / 2).sum() >= 2  # the first code separates species


def test_k_means_from_principal_components(reducer):
    """plot_kmeans_digits.py."""
    pca = reducer(n_components=10).fit(X)
    kmeans = KMeans(init=pca.components_, n_clusters=10, n_init=1).fit(X)
    reduced = reducer(n_components=2).fit_transform(X)
    assert KMeans(10, n_init=1, random_state=0).fit(reduced).inertia_ > 0
    assert kmeans.cluster_centers_.shape == (10, 64)


def test_principal_component_regression(reducer):
    """plot_pcr_vs_pls.py."""
    rng = np.random.RandomState(0)
    rows = rng.multivariate_normal(mean=[0, 0], cov=[[3, 3], [3, 4]], size=300)
    pca = reducer(n_components=2).fit(rows)
    for axis, variance in zip(pca.components_, pca.explained_variance_, strict=True):
        assert np.isfinite(axis * variance).all()
    y = rows @ pca.components_[1] + rng.normal(size=300) / 2
    one, two = (make_pipeline(StandardScaler(), reducer(n), LinearRegression()) for n in (1, 2))
    assert one.fit(rows, y).named_steps[one.steps[1][0]].components_.shape == (1, 2)
    assert one.score(rows, y) < two.fit(rows, y).score(rows, y)


def test_importance_of_scaling(reducer):
    """plot_scaling_importance.py."""
    wine, y = load_wine(return_X_y=True, as_frame=True)
    scaled = StandardScaler().set_output(transform="pandas").fit_transform(wine)
    with pytest.warns(UserWarning, match="scale them first"):  # PCA does not warn
        raw_pca = reducer().fit(wine)
    pca = reducer().fit(scaled)
    first = pd.DataFrame(raw_pca.components_[:1], columns=wine.columns).abs()
    assert first.idxmax(axis=1)[0] == "proline"
    frame = pca.set_output(transform="pandas").transform(scaled)
    assert list(frame.columns) == ["autoencodertransformer0", "autoencodertransformer1"]
    pipeline = make_pipeline(StandardScaler(), reducer(), LogisticRegression())
    assert cross_val_score(pipeline, wine, y, cv=3).mean() > 0.8


def test_denoising_by_few_components(reducer, global_random_seed):
    """plot_digits_denoising.py."""
    clean = MinMaxScaler().fit_transform(X)
    noise = np.random.RandomState(global_random_seed).normal(scale=0.25, size=(2, *clean.shape))
    X_train, X_test = clean + noise

    def error(pca):
        return np.mean((pca.inverse_transform(pca.transform(X_test)) - clean) ** 2)

    pca = PCA(n_components=8).fit(X_train)
    assert error(reducer(n_components=8).fit(X_train)) < 1.1 * error(pca)


def test_model_selection_by_score_and_noise(reducer):
    """plot_pca_vs_fa_model_selection.py; `score` is the share of the variance."""
    sizes = [1, 4, 16]
    scores = [cross_val_score(reducer(n), X[:300], cv=2).mean() for n in sizes]
    assert scores == sorted(scores)
    share = reducer(n_components=0.5).fit(X[:300])
    assert share.n_components_ <= PCA(0.5).fit(X[:300]).n_components_
    with pytest.raises(ValueError, match=r"`n_components` must be .* got 'mle'"):
        reducer("mle").fit(X)
