"""The sparse autoencoder: few units a row, unit-norm directions, none dead, rows independent."""

import numpy as np
import pytest
import torch
from conftest import quick
from scipy import sparse
from scipy.special import expit, rel_entr
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from skae import SparseAutoencoder
from skae._autoencoders.dictionary_update import _move
from skae._autoencoders.sparse_init import receptive_fields
from skae._data.process_group import SINGLE_PROCESS
from skae._nn.sparse import (
    BANDWIDTH,
    KL,
    L1,
    LEAST_PART,
    SPARSE_ACTIVATIONS,
    BatchTopK,
    JumpReLU,
    Lifetime,
    Silent,
    SparseEncoder,
    TopK,
)
from skae._nn.subspace_pursuit import subspace_pursuit
from skae._training.fit_data import make_task

PLAIN = {"hidden_layer_sizes": ()}


@pytest.fixture
def pre_activation():
    """50 rows of what drives 20 units."""
    return torch.randn(50, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def coder(n_components=100, **parameters):
    return quick(SparseAutoencoder, n_components, **(PLAIN | parameters))


def test_topk_keeps_the_largest_of_each_row(pre_activation):
    code = TopK(3, 20).eval()(pre_activation)
    by_hand = np.where(
        pre_activation >= pre_activation.sort(dim=1).values[:, [-3]], pre_activation, 0
    )
    np.testing.assert_array_equal(code, by_hand.clip(min=0))
    assert (code > 0).sum(1).max() == 3


def test_topk_is_generous_at_first(pre_activation):
    sparsity = TopK(2, 20)
    sparsity.settled_steps = 4
    n_active = [(sparsity(pre_activation.abs()) > 0).sum(1).unique().tolist() for _ in range(6)]
    assert n_active == [[20], [16], [8], [4], [2], [2]]  # 2 * 16^(1 - step / 4), 20 at most


def test_a_unit_is_idle_unless_it_does_a_tenth_of_its_share(pre_activation):
    units = SparseEncoder(torch.zeros(20, 3), Silent(), TopK(2, 20), max_inactive_rows=50)
    code = torch.zeros_like(pre_activation)
    code[0, 3] = code[1:4, 4] = 1.0  # a fair share of 50 rows would be 5 rows
    for _ in range(3):
        units.count_idle(code, SINGLE_PROCESS)
    assert units.rows_since_active.tolist() == [
        0.0 if unit in (3, 4) else 150.0 for unit in range(20)
    ]


def test_topk_below_zero_is_silent(pre_activation):
    assert torch.equal(TopK(3, 20)(-pre_activation.abs()), torch.zeros_like(pre_activation))


def test_topk_of_all_units_is_a_relu(pre_activation):
    assert torch.equal(TopK(99, 20)(pre_activation), pre_activation.relu())


def test_batch_topk_grants_a_batch_its_mean(pre_activation):
    code = BatchTopK(3, 20).double()(pre_activation)
    assert (code > 0).sum() == 3 * 50
    assert code[code > 0].min() > pre_activation[code == 0].max()


def test_batch_topk_of_all_units_is_a_relu(pre_activation):
    sparsity = BatchTopK(20, 20).double()
    assert torch.equal(sparsity(pre_activation), pre_activation.relu())
    assert torch.equal(sparsity.eval()(pre_activation), pre_activation.relu())


def test_batch_topk_at_inference_takes_the_mean_threshold(pre_activation):
    sparsity = BatchTopK(3, 20).double()
    sparsity(pre_activation)
    assert torch.equal(sparsity.eval()(pre_activation), BatchTopK(3, 20).double()(pre_activation))
    before = sparsity.threshold.clone()
    sparsity(5 * pre_activation)
    assert torch.equal(sparsity.threshold, before)


def test_lifetime_grants_every_unit_its_share(pre_activation):
    pre_activation = pre_activation.abs()  # 50 rows, 20 units, 4 of them a row: 10 rows a unit
    sparsity = Lifetime(4, 20).double()
    sparsity.threshold.copy_(sparsity.threshold_of(pre_activation))
    code = sparsity.eval()(pre_activation)
    assert ((code > 0).sum(0) == 10).all()
    for now, own in zip(code.T, pre_activation.T, strict=True):
        assert now[now > 0].min() > own[now == 0].max()
    assert torch.equal(code[code > 0], pre_activation[code > 0])


def test_lifetime_grants_other_parts_of_a_share_from_step_to_step(pre_activation):
    pre_activation = pre_activation.abs()
    sparsity = Lifetime(16, 20).double()  # 40 rows a unit
    n_active = [(sparsity(pre_activation) > 0).sum(0).unique().tolist() for _ in range(200)]
    assert {len(counts) for counts in n_active} == {1}  # all units alike
    counts = np.array(n_active).ravel()
    assert (counts.min(), counts.max()) == (40 * LEAST_PART, 40)
    # As many steps below as above the middle of the range, in logarithms.
    assert np.median(counts) == pytest.approx(40 * LEAST_PART**0.5, rel=0.1)
    lone = Lifetime(1, 20).double()
    assert all(
        ((lone(pre_activation[:5]) > 0).sum(0) == 1).all() for _ in range(9)
    )  # no less than a row
    assert lone(pre_activation[:0]).shape == (0, 20)  # a process may have no rows of a batch


def test_lifetime_of_all_units_is_a_relu_at_inference(pre_activation):
    sparsity = Lifetime(20, 20).double()
    sparsity(pre_activation)
    assert torch.equal(sparsity.eval()(pre_activation), pre_activation.relu())


def test_l1_charges_the_sum(pre_activation):
    sparsity = L1(3, 20)
    code = sparsity(pre_activation)
    np.testing.assert_allclose(
        sparsity.charge(pre_activation, code), pre_activation.numpy().clip(min=0).sum(1)
    )


def test_kl_is_the_relative_entropy_of_the_mean_activations(pre_activation):
    sparsity = KL(3, 20)
    rate = expit(pre_activation.numpy()).mean(axis=0)
    expected = (rel_entr(3 / 20, rate) + rel_entr(17 / 20, 1 - rate)).sum()
    np.testing.assert_allclose(
        sparsity.charge(pre_activation, sparsity(pre_activation)), np.full(50, expected)
    )
    at_target = torch.full_like(pre_activation, np.log(3 / 17))  # logistic(log(3 / 17)) = 3 / 20
    np.testing.assert_allclose(sparsity.charge(at_target, at_target), 0, atol=1e-12)


def test_jumprelu_is_the_identity_beyond_its_threshold(pre_activation):
    sparsity = JumpReLU(3, 20).double()
    threshold = float(np.exp(-1))
    code = sparsity(pre_activation)
    np.testing.assert_array_equal(
        code.detach(), np.where(pre_activation > threshold, pre_activation, 0)
    )
    np.testing.assert_array_equal(
        sparsity.charge(pre_activation, code).detach(), (pre_activation > threshold).sum(1)
    )


def test_the_slope_of_jumprelu_in_its_threshold_is_that_of_the_expectation():
    # The expectation over rows is smooth: its slope by differences, over the width of the kernel,
    # which for one density across that width is exact in the mean.
    x = torch.linspace(-2, 4, 60_001, dtype=torch.float64)[:, None]
    sparsity = JumpReLU(1, 1).double()
    sparsity.log_threshold.data.fill_(0.0)

    def expected_charge(log_threshold):
        return float((x > np.exp(log_threshold)).double().mean())

    sparsity.charge(x, sparsity(x)).mean().backward()
    slope = (expected_charge(0.01) - expected_charge(-0.01)) / 0.02  # -1/6, the density
    assert sparsity.log_threshold.grad.item() == pytest.approx(slope, rel=1e-3)

    # Of the code's sum: -threshold times the density.
    sparsity.log_threshold.grad = None
    sparsity(x).mean().backward()
    assert sparsity.log_threshold.grad.item() == pytest.approx(-1 / 6, rel=1e-2)
    assert BANDWIDTH < 2  # else the kernel would reach below zero, where there is no code


def test_jumprelu_passes_the_slope_of_active_units_only(pre_activation):
    x = pre_activation.clone().requires_grad_()
    code = JumpReLU(3, 20).double()(x)
    code.sum().backward()
    np.testing.assert_array_equal(x.grad, (code > 0).double())


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
@pytest.mark.parametrize(
    "parameters", [{}, {"hidden_layer_sizes": (32,)}, {"tied_weights": True}], ids=str
)
def test_directions_have_unit_length_and_codes_are_not_negative(digits, sparsity, parameters):
    fitted = coder(sparsity=sparsity, max_iter=3, **parameters).fit(digits)
    np.testing.assert_allclose(np.linalg.norm(fitted.components_, axis=1), 1, rtol=1e-12)
    assert fitted.components_.shape == (100, 64)
    assert fitted.transform(digits).min() == 0


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
def test_rows_are_the_mean_plus_their_directions(digits, sparsity):
    fitted = coder(sparsity=sparsity, max_iter=3).fit(digits)
    by_hand = fitted.mean_ + fitted.transform(digits) @ fitted.components_
    np.testing.assert_allclose(fitted.reconstruct(digits), by_hand, atol=1e-9)


def test_no_row_has_more_active_units_than_granted(digits):
    codes = coder(n_nonzero_coefs=5).fit(digits).transform(digits)
    assert (codes > 0).sum(axis=1).max() == 5
    default = coder().fit(digits).transform(digits)
    assert (default > 0).sum(axis=1).max() == 6  # a tenth of 64 features


def test_batch_topk_is_granted_as_many_in_the_mean(digits):
    codes = coder(sparsity="batch_topk", n_nonzero_coefs=5).fit(digits).transform(digits)
    active = (codes > 0).sum(axis=1)
    assert active.sum() == 5 * 300
    assert active.std() > 0.5


def test_lifetime_is_granted_as_often_to_each_unit(digits):
    fitted = coder(sparsity="lifetime", n_nonzero_coefs=5).fit(digits)
    np.testing.assert_allclose(fitted.activation_frequency_, 5 / 100, atol=1e-12)


@pytest.mark.parametrize("tied_weights", [False, True])
def test_with_mean_is_of_no_effect_where_the_mean_is_zero(digits, tied_weights):
    settings = {"tied_weights": tied_weights, "max_iter": 3}
    X = np.vstack([digits, -digits])
    codes = [coder(with_mean=value, **settings).fit(X).transform(X) for value in (True, False)]
    np.testing.assert_allclose(codes[1], codes[0], atol=1e-9)


@pytest.mark.parametrize("tied_weights", [False, True])
def test_first_codes_do_not_depend_on_with_mean(digits, tied_weights):
    settings = {"tied_weights": tied_weights, "max_iter": 1, "learning_rate_init": 1e-12}
    X = digits + 3.0
    codes = [coder(with_mean=value, **settings).fit(X).transform(X) for value in (True, False)]
    np.testing.assert_allclose(codes[1], codes[0], atol=1e-6)


@pytest.mark.parametrize("with_mean", [False, True])
def test_without_the_mean_zeros_teach_nothing(digits, with_mean):
    fitted = coder(with_mean=with_mean, max_iter=2).fit(digits).network_
    row, weight = digits[7], fitted.network.encoder.weight
    pre_activation = fitted.network.pre_activation(
        (torch.tensor(row)[None] - fitted.shift) / fitted.scale
    )
    (slope,) = torch.autograd.grad(pre_activation.sum(), weight)
    varied = digits.std(axis=0) > 0
    taught = slope.abs().amax(0).numpy() > 1e-6
    np.testing.assert_array_equal(taught[varied], (row != 0)[varied] | with_mean)


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
def test_rows_are_independent_at_inference(digits, sparsity):
    fitted = coder(sparsity=sparsity, max_iter=3).fit(digits)
    alone = np.vstack([fitted.transform(digits[[i]]) for i in range(20)])
    np.testing.assert_allclose(alone, fitted.transform(digits)[:20], atol=1e-10)


@pytest.mark.parametrize("sparsity", ["l1", "kl", "jumprelu"])
def test_a_penalty_of_zero_is_a_plain_relu_and_more_makes_codes_sparser(digits, sparsity):
    active = [
        (coder(sparsity=sparsity, penalty=p, max_iter=30).fit(digits).transform(digits) > 0).mean()
        for p in (0, 1, 10)
    ]
    assert active[0] > active[1] > active[2] > 0
    assert active[0] > 0.15


def test_no_penalty_and_no_limit_are_the_same_autoencoder(digits):
    codes = [
        coder(max_iter=5, **parameters).fit(digits).transform(digits)
        for parameters in (
            {"sparsity": "l1", "penalty": 0},
            {"sparsity": "kl", "penalty": 0},
            {"sparsity": "topk", "n_nonzero_coefs": 100},
            {"sparsity": "batch_topk", "n_nonzero_coefs": 100},
        )
    ]
    for other in codes[1:]:
        np.testing.assert_allclose(other, codes[0], atol=1e-4)


@pytest.mark.parametrize("n_components", [10, 64, 300])
def test_fewer_equal_or_more_units_than_features(digits, n_components):
    fitted = coder(n_components).fit(digits)
    assert fitted.transform(digits).shape == (300, n_components)
    assert len(fitted.get_feature_names_out()) == n_components
    assert fitted.score(digits) > 0.5


def test_units_are_as_many_as_features_unless_said():
    X = load_digits().data[:100, 20:30]
    assert SparseAutoencoder(max_iter=1, random_state=0).fit(X).n_components_ == 10


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
def test_use_of_the_units_is_counted_over_training_rows(digits, sparsity):
    fitted = coder(sparsity=sparsity, max_iter=5).fit(digits)
    active = fitted.transform(digits) > 0
    np.testing.assert_allclose(fitted.activation_frequency_, active.mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(fitted.dead_components_, np.flatnonzero(~active.any(axis=0)))


def test_shares_of_variance_add_up_to_the_score(digits):
    fitted = coder().fit(digits)
    assert fitted.explained_variance_ratio_.sum() == pytest.approx(fitted.score(digits))
    codes = fitted.transform(digits)
    shares = codes.var(axis=0) / codes.var(axis=0).sum()
    np.testing.assert_allclose(fitted.explained_variance_ratio_, shares * fitted.score(digits))


def test_dead_units_come_back(monkeypatch):
    X = load_digits().data[:900]
    settings = {"n_nonzero_coefs": 3, "early_stopping": False, "max_iter": 30}
    alive = coder(200, **settings).fit(X)
    monkeypatch.setattr("skae._autoencoders.sparse.IDLE_EPOCHS", np.inf)
    left_alone = coder(200, **settings).fit(X)
    assert len(left_alone.dead_components_) > 0
    assert len(alive.dead_components_) == 0
    assert alive.score(X) > left_alone.score(X) - 0.01


def test_few_active_units_say_more_than_as_many_principal_components_or_one_centre():
    X = load_digits().data
    fitted = SparseAutoencoder(200, n_nonzero_coefs=4, random_state=0).fit(X[:1300])
    assert fitted.score(X[:1300]) > fitted.pca_score_ + 0.15
    centres = KMeans(200, n_init=1, random_state=0).fit(X[:1300])
    error = ((X[1300:] - centres.cluster_centers_[centres.predict(X[1300:])]) ** 2).sum()
    assert ((X[1300:] - fitted.reconstruct(X[1300:])) ** 2).sum() < 0.7 * error


def test_tied_units_look_for_their_own_direction(digits):
    network = coder(tied_weights=True, max_iter=3).fit(digits).network_.network
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    along = x @ network.decoder.directions.T
    expected = along * network.encoder.weight[:, 0] + network.encoder.bias
    torch.testing.assert_close(network.pre_activation(x + network.linear.mean), expected)
    assert network.encoder.weight.shape == (100, 1)


def test_tied_units_restore_as_well_as_free_ones():
    # Directions overlap: units whose weights are of unit length say too much together.
    X = load_digits().data
    free, tied = (
        coder(200, tied_weights=tied, max_iter=None).fit(X[:1300]).score(X[1300:])
        for tied in (False, True)
    )
    assert tied > free - 0.02


WINDOWS = {"image_shape": (8, 8), "receptive_field": 3}


def spans(used):
    """Height and width of the smallest window around the pixels in use, for each image."""
    edges = [used.any(axis) for axis in (2, 1)]
    return np.stack([8 - e.argmax(1) - e[:, ::-1].argmax(1) for e in edges], axis=1)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"tied_weights": True}, {"with_mean": False}, {"transform_max_iter": 2}],
    ids=str,
)
def test_units_restore_and_see_their_windows_only(digits, parameters):
    fitted = coder(**WINDOWS, **parameters).fit(digits)
    network = fitted.network_.network
    seen = network.encoder.weights(network.decoder).detach().numpy()
    for weights in (fitted.components_, seen):
        assert spans(weights.reshape(-1, 8, 8) != 0).max() == 3
    np.testing.assert_array_equal(seen[fitted.components_ == 0], 0)


def test_a_window_of_the_whole_image_is_no_limit(digits):
    whole = coder(image_shape=(8, 8), receptive_field=8).fit(digits)
    np.testing.assert_array_equal(whole.components_, coder().fit(digits).components_)


@pytest.mark.parametrize("side", [2, 0.4])
def test_a_window_has_all_channels_and_a_share_of_each_side(side):
    fields = receptive_fields((3, 5, 6), side, np.ones(90), 40).reshape(40, 3, 5, 6)
    assert (fields == fields[:, :1]).all()
    assert (fields[:, 0].amax(2).sum(1) == 2).all()
    assert (fields[:, 0].amax(1).sum(1) == 2).all()
    np.testing.assert_array_equal(np.unique(fields), [0, 1])


def test_there_are_as_many_windows_anywhere_as_there_is_variance():
    deviation = np.random.default_rng(0).uniform(size=(5, 6))
    deviation[:, :3] = 0
    fields = receptive_fields((5, 6), 2, deviation.ravel(), 1000).reshape(-1, 5, 6).numpy()
    corners = fields.reshape(-1, 30).argmax(1)
    inside = np.array(
        [
            (deviation[top : top + 2, left : left + 2] ** 2).sum() if top < 4 and left < 5 else 0.0
            for top in range(5)
            for left in range(6)
        ]
    )
    counts = np.bincount(corners, minlength=30)
    assert np.abs(counts - 1000 * inside / inside.sum()).max() <= 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"receptive_field": 3}, "must be None unless `image_shape` is given, got 3"),
        (WINDOWS | {"receptive_field": 0}, "an integer >= 1 .*got 0"),
        (WINDOWS | {"receptive_field": 1.5}, r"a real number in \(0, 1\) .*got 1.5"),
    ],
    ids=str,
)
def test_windows_that_make_no_sense_are_refused(digits, parameters, message):
    with pytest.raises(ValueError, match=f"`receptive_field` .*{message}"):
        coder(**parameters).fit(digits)


def test_windows_of_images_that_do_not_vary(digits):
    fitted = coder(**WINDOWS).fit(np.zeros_like(digits))
    assert not fitted.transform(np.zeros_like(digits)).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_output_is_the_same_in_fewer_numbers(digits, dtype):
    X = digits.astype(dtype)
    dense, other = coder().fit(X), coder(sparse_output=True).fit(X)
    codes = other.transform(X)
    assert sparse.issparse(codes)
    assert codes.format == "csr"
    assert codes.dtype == dtype
    assert codes.nnz == np.count_nonzero(dense.transform(X))
    np.testing.assert_array_equal(codes.toarray(), dense.transform(X))
    np.testing.assert_array_equal(
        other.inverse_transform(codes), dense.inverse_transform(codes.toarray())
    )
    assert sparse.issparse(coder(sparse_output=True).fit_transform(X))


def test_partial_fit_goes_on(digits):
    fitted = coder()
    scores = [fitted.partial_fit(digits).score(digits) for _ in range(30)]
    assert scores[-1] > scores[0]
    assert fitted.activation_frequency_.shape == (100,)


def test_a_warm_start_keeps_the_dictionary(digits):
    fitted = coder(warm_start=True).fit(digits)
    before = fitted.components_
    fitted.set_params(max_iter=1, learning_rate_init=1e-9).fit(digits)
    np.testing.assert_allclose(fitted.components_, before, atol=1e-6)


def test_missing_values_are_no_reason_to_be_active(digits_with_gaps):
    fitted = coder(max_iter=50).fit(digits_with_gaps)
    assert fitted.score(digits_with_gaps) > fitted.pca_score_


@pytest.mark.parametrize("sparsity", SPARSE_ACTIVATIONS)
def test_log_loss_has_sparse_codes_too(digits, sparsity):
    X = digits / 16
    fitted = coder(loss="log_loss", sparsity=sparsity, penalty=0.1).fit(X)
    assert fitted.score(X) > 0.3
    assert (fitted.transform(X) > 0).mean() < 0.5


def test_whitening_is_refused(digits):
    with pytest.raises(ValueError, match="`whiten` must be False for sparse codes, got True"):
        coder(whiten=True).fit(digits)


@pytest.fixture
def known():
    """A dictionary, rows that 4 of its units make up, and their true codes."""
    chance = np.random.default_rng(0)
    directions = chance.normal(size=(60, 30))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = np.zeros((40, 60))
    for code in codes:
        code[chance.choice(60, 4, replace=False)] = chance.uniform(1, 2, 4)
    return torch.tensor(directions), torch.tensor(codes @ directions), torch.tensor(codes)


def squared_errors(code, x, directions):
    return (x - code @ directions).square().sum(1)


def test_a_search_finds_the_units_that_made_a_row(known):
    directions, x, codes = known
    start = TopK(4, 60).eval()(x @ directions.T)
    found = subspace_pursuit(start, x, directions, 4, 10)
    right = ((found > 0) == (codes > 0)).all(1)
    begun_right = ((start > 0) == (codes > 0)).all(1)
    assert right.double().mean() > 0.9
    assert begun_right.double().mean() < 0.3
    np.testing.assert_allclose(found[right], codes[right], atol=1e-5)


def test_each_step_of_a_search_restores_each_row_at_least_as_well():
    chance = torch.Generator().manual_seed(0)
    x, directions = (torch.randn(n, 6, generator=chance, dtype=torch.float64) for n in (300, 60))
    directions = torch.nn.functional.normalize(directions, dim=1)
    code = TopK(4, 60).eval()(x @ directions.T) / 4
    for _ in range(4):
        found = subspace_pursuit(code, x, directions, 4, 1)
        errors = [squared_errors(c, x, directions) for c in (code, found)]
        assert (errors[1] <= errors[0]).all()
        assert (found >= 0).all()
        assert (found > 0).sum(1).max() <= 4
        code = found


def test_a_search_among_orthogonal_directions_is_a_projection(known):
    _, x, _ = known
    found = subspace_pursuit(
        torch.zeros(40, 30, dtype=x.dtype), x, torch.eye(30, dtype=x.dtype), 5, 1
    )
    np.testing.assert_allclose(found, TopK(5, 30).eval()(x), rtol=1e-5)


def test_a_search_bears_directions_that_are_the_same(known):
    directions, x, _ = known
    twice = directions.repeat(2, 1)
    code = torch.zeros(40, 120, dtype=x.dtype)
    found = subspace_pursuit(code, x, twice, 4, 5)
    assert found.isfinite().all()
    assert (squared_errors(found, x, twice) < 0.5 * squared_errors(code, x, twice)).all()


def test_a_search_in_parts_is_the_same(known, monkeypatch):
    directions, x, _ = known
    code = TopK(4, 60).eval()(x @ directions.T)
    whole = subspace_pursuit(code, x, directions, 4, 3)
    monkeypatch.setattr("skae._nn.subspace_pursuit.GATHERED", 1000)
    np.testing.assert_allclose(subspace_pursuit(code, x, directions, 4, 3), whole, atol=1e-12)


def test_searched_codes_restore_every_row_at_least_as_well_as_the_encoder(digits, monkeypatch):
    monkeypatch.setattr("skae._autoencoders.dictionary_update.MAX_REFITS", 0)
    alone, searched = (coder(transform_max_iter=n).fit(digits) for n in (0, 3))
    np.testing.assert_array_equal(searched.components_, alone.components_)  # the same training
    assert (searched.score_samples(digits) >= alone.score_samples(digits) - 1e-9).all()
    assert searched.score(digits) > alone.score(digits) + 0.02
    codes = searched.transform(digits)
    assert (codes > 0).sum(axis=1).max() <= 6
    np.testing.assert_allclose(searched.reconstruct(digits), searched.inverse_transform(codes))
    np.testing.assert_allclose((codes > 0).mean(axis=0), searched.activation_frequency_)


def test_directions_are_refitted_by_least_squares(digits, monkeypatch):
    monkeypatch.setattr("skae._autoencoders.dictionary_update.MAX_REFITS", 0)
    monkeypatch.setattr("skae._autoencoders.dictionary_update.RIDGE", 1e-9)
    fitted = coder(40, transform_max_iter=2, early_stopping=False).fit(digits)
    network, data = fitted.network_.network, make_task(fitted, digits, None, None)
    with torch.no_grad():
        x = data.rows.take(data.train).double()
        code = network.encode(x)
        pre_activation = network.pre_activation(x).numpy()
        used = (code > 0).any(0).numpy()
        target = (x - network.linear.mean).numpy()
        best = np.linalg.lstsq(code.numpy()[:, used], target, rcond=None)[0]
        _move(network, data)
        made = network.decoder.directions.numpy()[used]
        drive_then = network.pre_activation(x).numpy()
    length = np.linalg.norm(best, axis=1)
    np.testing.assert_allclose(made, best / length[:, None], atol=1e-5)
    np.testing.assert_allclose(drive_then[:, used], pre_activation[:, used] * length, atol=1e-5)


def test_refits_go_on_while_held_out_rows_come_back_better(digits, monkeypatch):
    scores = []
    for n_refits in (0, 1, 5):
        monkeypatch.setattr("skae._autoencoders.dictionary_update.MAX_REFITS", n_refits)
        scores.append(coder(transform_max_iter=2).fit(digits, X_val=digits[:200]).score(digits))
    assert scores[0] < scores[1] <= scores[2]
    # Nothing is gained where no step can be better: the dictionary stays as it was trained.
    monkeypatch.setattr("skae._autoencoders.dictionary_update._held_out_error", lambda *given: 1.0)
    alone, searched = (coder(transform_max_iter=n).fit(digits) for n in (0, 2))
    np.testing.assert_array_equal(searched.components_, alone.components_)


def test_what_is_learned_in_batches_is_searched_too(digits):
    alone, searched = (coder(transform_max_iter=n).partial_fit(digits) for n in (0, 3))
    np.testing.assert_array_equal(searched.components_, alone.components_)
    assert searched.score(digits) > alone.score(digits)


@pytest.mark.parametrize(
    "parameters",
    [{"sparsity": "l1"}, {"hidden_layer_sizes": (8,)}, {"loss": "absolute_error"}],
    ids=str,
)
def test_a_search_is_refused_where_there_is_none(digits, parameters):
    with pytest.raises(ValueError, match=r"`transform_max_iter` must be 0 unless.*got 2"):
        coder(transform_max_iter=2, **parameters).fit(digits)
