"""The further measures of a comparison of reducers."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.preprocessing import FunctionTransformer

from skae import compare_reducers

NAMES = ("continuity", "neighborhood_hit", "stability")


@pytest.fixture
def rows(global_random_seed):
    """Rows near a plane, (150, 5), and their classes."""
    rng = np.random.RandomState(global_random_seed)
    y = np.arange(150) % 3
    t = rng.normal(size=(150, 2)) + 4 * np.c_[y == 1, y == 2]
    return t @ rng.normal(size=(2, 5)) + 0.05 * rng.normal(size=(150, 5)), y


def split(n_rows):
    return [(np.arange(n_rows // 3, n_rows), np.arange(n_rows // 3))]


def test_further_measures_cost_nothing_unless_they_are_asked_for(rows):
    X, y = rows
    plain = compare_reducers({"PCA": PCA(2)}, X, y, cv=split(150))
    assert list(plain.to_frame().columns)[-1] == "transform_seconds"
    assert np.isnan([getattr(plain.mean()["PCA"], name) for name in NAMES]).all()
    assert "stability" not in str(plain)
    asked = compare_reducers({"PCA": PCA(2)}, X, y, cv=split(150), measures=["stability"])
    assert list(asked.to_frame().columns) == [*plain.to_frame().columns, "stability"]
    assert "stability" in str(asked)
    assert "continuity" not in str(asked)
    assert asked.folds["PCA"][0][:5] == plain.folds["PCA"][0][:5]


def test_linear_codes_of_a_plane_are_stable_and_directions_of_noise_are_not(
    rows, global_random_seed
):
    X, _ = rows
    scaled = FunctionTransformer(lambda X: 3 * X)
    reducers = {"PCA": PCA(2), "columns": scaled}
    found = compare_reducers(reducers, X, cv=split(150), measures=NAMES, random_state=0).mean()
    assert found["PCA"].stability > 0.98
    assert found["columns"].stability == pytest.approx(1)
    noise = np.random.RandomState(global_random_seed).normal(size=(300, 30))
    options = {"cv": split(300), "measures": ["stability"]}
    found = [  # of single samples they are between 0.3 and 0.95
        compare_reducers({"PCA": PCA(2)}, noise, random_state=seed, **options).mean()
        for seed in range(5)
    ]
    assert np.mean([scores["PCA"].stability for scores in found]) < 0.9


def test_continuity_is_the_trustworthiness_of_rows_as_a_map_of_codes(rows):
    X, _ = rows
    found = compare_reducers({"PCA": PCA(1)}, X, cv=split(150), measures=["continuity"]).mean()
    codes = PCA(1).fit(X[50:]).transform(X[:50])
    assert found["PCA"].continuity == pytest.approx(trustworthiness(codes, X[:50], n_neighbors=5))
    X = X.copy()
    X[0, 0] = np.nan
    fill = FunctionTransformer(np.nan_to_num)
    found = compare_reducers({"fill": fill}, X, cv=split(150), measures=["continuity"]).mean()
    assert np.isnan(found["fill"].continuity)


def test_the_neighborhood_hit_is_the_share_of_neighbours_of_the_same_class(rows):
    X, y = rows
    options = {"cv": split(150), "measures": ["neighborhood_hit"], "n_neighbors": 4}
    codes = PCA(2).fit(X[50:]).transform(X[:50])
    distances = np.linalg.norm(codes[:, None] - codes, axis=2)
    nearest = distances.argsort(axis=1)[:, 1:5]
    expected = (y[:50][nearest] == y[:50, None]).mean()
    found = compare_reducers({"PCA": PCA(2)}, X, y, **options).mean()["PCA"]
    assert found.neighborhood_hit == pytest.approx(expected)
    labels = np.where(np.arange(150) % 7, y.astype(str).astype(object), -1)  # -1: no label
    assert (
        compare_reducers({"PCA": PCA(2)}, X, labels, **options).mean()["PCA"].neighborhood_hit > 0.8
    )
    for target in (None, X[:, 0]):
        assert np.isnan(compare_reducers({"PCA": PCA(2)}, X, target, **options).mean()["PCA"][-2])


def test_other_names_of_measures_are_an_error(rows):
    cases = ((["speed"], ValueError), ([["stability"]], ValueError), ("stability", TypeError))
    for wrong, error in cases:
        with pytest.raises(error, match="`measures` must be a sequence of names among"):
            compare_reducers({"PCA": PCA(2)}, rows[0], measures=wrong)
