import numpy as np
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer
from skae._data.fit_params import accepted_fit_params

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
