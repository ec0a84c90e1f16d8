import numpy as np
import pytest
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer, AutoencoderOutlierDetector, AutoencoderTransformer
from skae._data.fit_params import accepted_fit_params, fit_weighted, fitting_part

GROUPS = np.arange(3)


def test_parameters_in_the_signature_of_fit_are_accepted_unless_they_are_None():
    autoencoder = AutoencoderTransformer()
    assert accepted_fit_params(autoencoder, groups=GROUPS, X_val=None) == {"groups": GROUPS}
    assert accepted_fit_params(PCA(), groups=GROUPS) == {}


def test_a_pipeline_accepts_what_it_routes_to_a_step():
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer())
    search = GridSearchCV(pipeline, {})
    for estimator in (pipeline, search):
        assert accepted_fit_params(estimator, groups=GROUPS) == {}
    with config_context(enable_metadata_routing=True):
        pipeline[1].set_fit_request(groups=True)
        for estimator in (pipeline, search):
            assert accepted_fit_params(estimator, groups=GROUPS) == {"groups": GROUPS}
            assert accepted_fit_params(estimator, X_val=np.eye(3)) == {}


class Recorder:
    """An estimator that keeps what it is fitted to, and takes groups but no weights."""

    def fit(self, X, y, *, groups):
        self.given = X, y, groups
        return self


def test_an_estimator_that_takes_no_weights_is_fitted_to_copies(global_random_seed):
    X, y, groups = np.random.RandomState(global_random_seed).permutation(30).reshape(3, 10)
    given = fit_weighted(Recorder(), X[:, None], y, np.arange(10) % 3, {"groups": groups}).given
    copies = [np.repeat(values, np.arange(10) % 3) for values in (X, y, groups)]
    found = np.column_stack([given[0][:, 0], *given[1:]])
    assert sorted(found.tolist()) == sorted(np.column_stack(copies).tolist())


@pytest.mark.parametrize("cls", [AutoencoderImputer, AutoencoderOutlierDetector])
def test_an_error_about_some_of_the_rows_says_so(cls, small, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(30, 40))
    estimator = cls(small(AutoencoderTransformer, 28))
    with pytest.raises(ValueError, match=r"to \d\d of the 30 rows of X, those .* must be at most"):
        estimator.fit(np.where(X > 2, np.nan, X))


@pytest.mark.parametrize("kind", [TypeError, ValueError])
def test_the_type_of_an_error_stays(kind):
    with pytest.raises(kind, match="3 of the 4 rows of X, the first: reason"), \
         fitting_part(3, 4, "the first"):  # fmt: skip
        raise kind("reason")
