"""The sparse autoencoder: few active units a row, components of unit length, no dead units."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from torch import nn

from skae import SparseAutoencoder
from skae._autoencoders.sparse import SETS_SPARSITY
from skae._nn.sparse_activations import SPARSE_ACTIVATIONS


@pytest.fixture
def coder(small):
    """A function that makes a small sparse autoencoder with one layer."""
    return partial(small, SparseAutoencoder, hidden_layer_sizes=())


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
@pytest.mark.parametrize(
    "parameters", [{}, {"hidden_layer_sizes": (32,)}, {"tied_weights": True}], ids=str
)
def test_directions_have_unit_length_and_codes_are_not_negative(
    digits, sparsity, parameters, coder
):
    fitted = coder(100, sparsity=sparsity, max_iter=3, **parameters).fit(digits)
    np.testing.assert_allclose(np.linalg.norm(fitted.components_, axis=1), 1, rtol=1e-12)
    assert fitted.components_.shape == (100, 64)
    assert fitted.transform(digits).min() == 0


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
def test_reconstructions_are_the_mean_plus_weighted_components(digits, sparsity, coder):
    fitted = coder(100, sparsity=sparsity, max_iter=3).fit(digits)
    expected = fitted.mean_ + fitted.transform(digits) @ fitted.components_
    np.testing.assert_allclose(fitted.reconstruct(digits), expected, atol=1e-9)


def test_topk_codes_have_at_most_n_nonzero_coefs_active_units(digits, coder):
    codes = coder(100, n_nonzero_coefs=5).fit(digits).transform(digits)
    assert (codes > 0).sum(axis=1).max() == 5
    default = coder(100).fit(digits).transform(digits)
    assert (default > 0).sum(axis=1).max() == 6  # a tenth of 64 features


def test_batch_topk_codes_have_n_nonzero_coefs_active_units_in_the_mean(digits, coder):
    codes = coder(100, sparsity="batch_topk", n_nonzero_coefs=5).fit(digits).transform(digits)
    active = (codes > 0).sum(axis=1)
    assert active.sum() == 5 * 300
    assert active.std() > 0.5


def test_lifetime_codes_activate_each_unit_equally_often(digits, coder):
    fitted = coder(100, sparsity="lifetime", n_nonzero_coefs=5).fit(digits)
    np.testing.assert_allclose(fitted.activation_frequency_, 5 / 100, atol=1e-12)


@pytest.mark.parametrize("tied_weights", [False, True])
def test_with_mean_has_no_effect_where_the_mean_is_zero(digits, tied_weights, coder):
    settings = {"tied_weights": tied_weights, "max_iter": 3}
    X = np.vstack([digits, -digits])
    codes = [coder(100, with_mean=value, **settings).fit(X).transform(X) for value in (True, False)]
    np.testing.assert_allclose(codes[1], codes[0], atol=1e-9)


@pytest.mark.parametrize("with_mean", [False, True])
def test_without_the_mean_zeros_have_no_gradient(digits, with_mean, coder):
    fitted = coder(100, with_mean=with_mean, max_iter=2).fit(digits).network_
    row, weight = digits[7], fitted.network.encoder.weight
    pre_activation = fitted.network.pre_activation(
        (torch.tensor(row)[None] - fitted.shift) / fitted.scale
    )
    (gradient,) = torch.autograd.grad(pre_activation.sum(), weight)
    varied = digits.std(axis=0) > 0
    has_gradient = gradient.abs().amax(0).numpy() > 1e-6
    np.testing.assert_array_equal(has_gradient[varied], (row != 0)[varied] | with_mean)


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
def test_rows_are_independent_at_inference(digits, sparsity, coder):
    fitted = coder(100, sparsity=sparsity, max_iter=3).fit(digits)
    row_by_row = np.vstack([fitted.transform(digits[[i]]) for i in range(20)])
    np.testing.assert_allclose(row_by_row, fitted.transform(digits)[:20], atol=1e-10)


@pytest.mark.parametrize("sparsity", ["l1", "kl", "jumprelu"])
def test_codes_are_sparser_for_a_larger_sparsity_weight(digits, sparsity, coder):
    active = [
        (
            coder(100, sparsity=sparsity, sparsity_weight=p, max_iter=30)
            .fit(digits)
            .transform(digits)
            > 0
        ).mean()
        for p in (0, 1, 10)
    ]
    assert active[0] > active[1] > active[2] > 0
    assert active[0] > 0.15


def test_without_penalty_and_limit_all_activations_are_the_same(digits, coder):
    codes = [
        coder(100, max_iter=5, **parameters).fit(digits).transform(digits)
        for parameters in (
            {"sparsity": "l1", "sparsity_weight": 0},
            {"sparsity": "kl", "sparsity_weight": 0},
            {"sparsity": "topk", "n_nonzero_coefs": 100},
            {"sparsity": "batch_topk", "n_nonzero_coefs": 100},
        )
    ]
    for other in codes[1:]:
        np.testing.assert_allclose(other, codes[0], atol=1e-4)


def test_no_more_units_are_active_than_there_are(digits, coder):
    message = "`n_nonzero_coefs` must be at most the number of components, 4, got 5"
    with pytest.raises(ValueError, match=message):
        coder(4, n_nonzero_coefs=5).fit(digits)


@pytest.mark.parametrize("n_components", [10, 64, 300])
def test_the_number_of_units_may_be_below_or_above_that_of_features(digits, n_components, coder):
    fitted = coder(n_components).fit(digits)
    assert fitted.transform(digits).shape == (300, n_components)
    assert len(fitted.get_feature_names_out()) == n_components
    assert fitted.score(digits) > 0.5


def test_the_default_number_of_units_is_that_of_features(global_random_seed):
    X = load_digits().data[:100, 20:30]
    assert SparseAutoencoder(max_iter=1, random_state=global_random_seed).fit(X).n_components_ == 10


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
def test_activation_frequency_is_counted_over_the_training_rows(digits, sparsity, coder):
    fitted = coder(100, sparsity=sparsity, max_iter=5).fit(digits)
    active = fitted.transform(digits) > 0
    np.testing.assert_allclose(fitted.activation_frequency_, active.mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(fitted.dead_components_, np.flatnonzero(~active.any(axis=0)))


def test_explained_variance_ratios_sum_to_the_score(digits, coder):
    fitted = coder(100).fit(digits)
    assert fitted.explained_variance_ratio_.sum() == pytest.approx(fitted.score(digits))
    codes = fitted.transform(digits)
    shares = codes.var(axis=0) / codes.var(axis=0).sum()
    np.testing.assert_allclose(fitted.explained_variance_ratio_, shares * fitted.score(digits))


class WithoutRevival(SparseAutoencoder):
    """Units that are inactive stay so."""

    def _initialize(self, data, n_components):
        initial = super()._initialize(data, n_components)
        initial.fitted.network.encoder.max_inactive_rows = np.inf
        return initial


def test_dead_units_are_revived(small):
    X = load_digits().data[:900]
    parameters = {"n_nonzero_coefs": 3, "early_stopping": False, "max_iter": 30}
    parameters["learning_rate_init"] = 0.005
    alive, not_revived = (
        small(cls, 200, hidden_layer_sizes=(), **parameters).fit(X)
        for cls in (SparseAutoencoder, WithoutRevival)
    )
    assert len(not_revived.dead_components_) > 20
    assert len(alive.dead_components_) < 5
    assert alive.score(X) > not_revived.score(X) - 0.01


def test_four_active_units_reconstruct_better_than_four_principal_components_or_one_centre(
    global_random_seed,
):
    X = load_digits().data
    fitted = SparseAutoencoder(200, n_nonzero_coefs=4, random_state=global_random_seed).fit(
        X[:1300]
    )
    assert fitted.score(X[:1300]) > fitted.pca_score_ + 0.15
    centres = KMeans(200, n_init=1, random_state=global_random_seed).fit(X[:1300])
    error = ((X[1300:] - centres.cluster_centers_[centres.predict(X[1300:])]) ** 2).sum()
    assert ((X[1300:] - fitted.reconstruct(X[1300:])) ** 2).sum() < 0.7 * error


def test_tied_units_project_on_their_own_direction(digits, global_random_seed, coder):
    network = coder(100, tied_weights=True, max_iter=3).fit(digits).network_.network
    x = torch.randn(
        5, 64, generator=torch.Generator().manual_seed(global_random_seed), dtype=torch.float64
    )
    along = x @ network.decoder.directions.T
    expected = along * network.encoder.weight[:, 0] + network.encoder.bias
    torch.testing.assert_close(network.pre_activation(x + network.pca_path.mean), expected)
    assert network.encoder.weight.shape == (100, 1)


def test_tied_units_reconstruct_as_well_as_free_units(coder):
    # Directions overlap: with weights of unit length the sum over active units would be too large.
    X = load_digits().data
    free, tied = (
        coder(200, tied_weights=tied, max_iter=60).fit(X[:1300]).score(X[1300:])
        for tied in (False, True)
    )
    assert tied > free - 0.02


WINDOWS = {"image_shape": (8, 8), "receptive_field": 3}


def extents(used):
    """Height and width of the smallest window around the non-zero pixels of each image."""
    edges = [used.any(axis) for axis in (2, 1)]
    return np.stack([8 - e.argmax(1) - e[:, ::-1].argmax(1) for e in edges], axis=1)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"tied_weights": True}, {"with_mean": False}, {"transform_max_iter": 2}],
    ids=str,
)
def test_units_encode_and_decode_their_receptive_fields_only(digits, parameters, coder):
    fitted = coder(100, **WINDOWS, **parameters).fit(digits)
    network = fitted.network_.network
    encoder_weights = network.encoder.effective_weight(network.decoder).detach().numpy()
    for weights in (fitted.components_, encoder_weights):
        assert extents(weights.reshape(-1, 8, 8) != 0).max() == 3
    np.testing.assert_array_equal(encoder_weights[fitted.components_ == 0], 0)


def test_a_receptive_field_of_the_whole_image_changes_nothing(digits, coder):
    whole = coder(100, image_shape=(8, 8), receptive_field=8).fit(digits)
    # The masks change the order of sums.
    expected = coder(100).fit(digits).components_
    np.testing.assert_allclose(whole.components_, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"receptive_field": 3}, "must be None unless `image_shape` is given, got 3"),
        (WINDOWS | {"receptive_field": 0}, "an integer >= 1 .*got 0"),
        (WINDOWS | {"receptive_field": 1.5}, r"a real number in \(0, 1\) .*got 1.5"),
    ],
    ids=str,
)
def test_invalid_receptive_fields_are_refused(digits, parameters, message, coder):
    with pytest.raises(ValueError, match=f"`receptive_field` .*{message}"):
        coder(100, **parameters).fit(digits)


def test_receptive_fields_of_constant_images_are_fitted(digits, coder):
    fitted = coder(100, **WINDOWS).fit(np.zeros_like(digits))
    assert not fitted.transform(np.zeros_like(digits)).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_output_equals_dense_output(digits, dtype, coder):
    X = digits.astype(dtype)
    dense, with_csr = coder(100).fit(X), coder(100, sparse_output=True).fit(X)
    codes = with_csr.transform(X)
    assert sparse.issparse(codes)
    assert codes.format == "csr"
    assert codes.dtype == dtype
    assert codes.nnz == np.count_nonzero(dense.transform(X))
    np.testing.assert_array_equal(codes.toarray(), dense.transform(X))
    np.testing.assert_array_equal(
        with_csr.inverse_transform(codes), dense.inverse_transform(codes.toarray())
    )
    assert sparse.issparse(coder(100, sparse_output=True).fit_transform(X))


def test_partial_fit_continues_training(digits, coder):
    fitted = coder(100)
    scores = [fitted.partial_fit(digits).score(digits) for _ in range(30)]
    assert scores[-1] > scores[0]
    assert fitted.activation_frequency_.shape == (100,)


def test_a_warm_start_keeps_the_dictionary(digits, coder):
    fitted = coder(100, warm_start=True).fit(digits)
    before = fitted.components_
    fitted.set_params(max_iter=1, learning_rate_init=1e-9).fit(digits)
    np.testing.assert_allclose(fitted.components_, before, atol=1e-6)


def test_fits_with_missing_values_score_above_pca(digits_with_gaps, coder):
    fitted = coder(100, max_iter=50).fit(digits_with_gaps)
    assert fitted.score(digits_with_gaps) > fitted.pca_score_


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
def test_codes_with_log_loss_are_sparse(digits, sparsity, coder):
    X = digits / 16
    weight = {"sparsity_weight": 0.1} if sparsity in SETS_SPARSITY["sparsity_weight"][1] else {}
    fitted = coder(100, loss="log_loss", sparsity=sparsity, max_iter=20, **weight).fit(X)
    assert fitted.score(X) > 0.3
    assert (fitted.transform(X) > 0).mean() < 0.5


def test_whitening_is_refused(digits, coder):
    with pytest.raises(ValueError, match="`whiten` must be False for sparse codes, got True"):
        coder(100, whiten=True).fit(digits)


@pytest.mark.parametrize(
    "parameters",
    [{"sparsity": "l1"}, {"hidden_layer_sizes": (8,)}, {"loss": "absolute_error"}],
    ids=str,
)
def test_transform_max_iter_is_refused_where_it_does_not_apply(digits, parameters, coder):
    with pytest.raises(ValueError, match=r"`transform_max_iter` must be 0 unless.*got 2"):
        coder(100, transform_max_iter=2, **parameters).fit(digits)


def test_penalty_is_the_former_name_of_sparsity_weight(digits, coder):
    parameters = {"sparsity": "l1", "max_iter": 3}
    renamed = coder(40, sparsity_weight=0.3, **parameters).fit(digits)
    with pytest.warns(FutureWarning, match=r"use sparsity_weight=0\.3") as caught:
        former = coder(40, penalty=0.3, **parameters).fit(digits)
    assert [warning.filename for warning in caught] == [__file__]
    np.testing.assert_array_equal(former.transform(digits), renamed.transform(digits))


def test_penalty_and_sparsity_weight_are_not_given_together(digits, coder):
    with pytest.raises(ValueError, match=r"only one of them may be given, got 0\.3 and 0\.5"):
        coder(40, penalty=0.3, sparsity_weight=0.5).fit(digits)


@pytest.mark.parametrize("where", [0, 1])
def test_a_network_may_change_its_input_in_place(where, digits, coder):
    def network(inplace):
        def make(n_features, n_components):
            sizes = (n_features, n_components), (n_components, n_features)
            pair = [nn.Sequential(nn.Linear(a, 8), nn.Linear(8, b)) for a, b in sizes]
            pair[where].insert(0, nn.LeakyReLU(0.1, inplace=inplace))
            return tuple(pair)

        return make

    in_place, copied = (
        coder(20, network=network(inplace), sparsity="l1", max_iter=3).fit(digits)
        for inplace in (True, False)
    )
    np.testing.assert_allclose(in_place.transform(digits), copied.transform(digits))
    np.testing.assert_allclose(in_place.reconstruct(digits), copied.reconstruct(digits))
