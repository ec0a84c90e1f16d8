import numpy as np
import pytest
import torch
from networks import N_COMPONENTS, N_FEATURES, make_autoencoder, make_rng, randomize

from skae._losses.reconstruction import LOSSES
from skae._nn import projection
from skae._nn.decoder_tangents import decoder_tangents
from skae._nn.projection import (
    AnchorLosses,
    FactoredEquations,
    NormalEquations,
    Projection,
    RowLosses,
)


def make_network(seed=0, loss="squared_error", *, fade=True, **options):
    network = randomize(make_autoencoder(seed, **options), seed, 0.5).eval()
    network.link = LOSSES[loss].link
    network.pca_path.mean.clamp_(0.2, 0.8)
    if fade:
        network.max_train_distance.fill_(3.0)
    return network


def make_rows(network, seed=0, n_rows=40):
    """Rows near the image of the decoder, in the domain of the loss of the network, and codes."""
    random = {"generator": make_rng(seed + 1), "dtype": torch.float64}
    code = torch.randn(n_rows, N_COMPONENTS, **random)
    loss = network.link.__self__
    with torch.no_grad():
        raw = network.decode(code)
        x = loss.mean(raw + 0.3 * torch.randn(raw.shape, **random))
    x = x.round() if loss.name == "poisson" else x
    return x, code + 0.5 * torch.randn(code.shape, **random)


def with_gaps(x, seed=0):
    gaps = torch.rand(x.shape, generator=make_rng(seed)) < 0.2
    return x.masked_fill(gaps, torch.nan)


class FromCodes(Projection):
    """A projection with no start besides the given codes."""

    def _starts(self, losses, code):
        return [code]


def project(network, x, code, n_steps):
    return FromCodes(network)(x, code, n_steps)


def losses_of(network, x, code):
    with torch.no_grad():
        return network.link.__self__.loss(network.decode(code), x)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gaps", [False, True])
def test_no_row_has_a_larger_loss_than_before_and_most_a_lower_one(loss, gaps, global_random_seed):
    network = make_network(global_random_seed, loss)
    x, start = make_rows(network, global_random_seed)
    x = with_gaps(x) if gaps else x
    before = losses_of(network, x, start)
    for n_steps in (1, 2, 5):
        after = losses_of(network, x, project(network, x, start, n_steps))
        assert (after <= before).all()
        assert (after < before).double().mean() > 0.8
        before = after


@pytest.mark.parametrize("loss", LOSSES)
def test_it_converges_to_a_stationary_point(loss, global_random_seed):
    if loss == "absolute_error":
        pytest.skip("it has corners at its minima")
    # Without the PCA path, whose link has corners where it clips.
    network = make_network(global_random_seed, loss, fade=False, active=False)
    x, start = make_rows(network, global_random_seed)
    code = project(network, x, start, 200).requires_grad_()
    network.link.__self__.loss(network.decode(code), x).sum().backward()
    moved = (code - start).norm(dim=1) < 20  # the others are on their way to infinity
    assert moved.double().mean() > 0.7
    assert code.grad[moved].abs().quantile(0.9) < 1e-4


def test_rows_far_outside_are_projected_onto_the_pca_path(global_random_seed):
    network = make_network(global_random_seed)
    x = 1e4 * torch.randn(20, N_FEATURES, generator=make_rng(global_random_seed)).double()
    start = (x - network.pca_path.mean) @ network.pca_path.components.T
    torch.testing.assert_close(project(network, x, start, 3), start)


def test_a_linear_network_reaches_the_least_squares_code(global_random_seed):
    network = make_network(global_random_seed, fade=False, hidden=())
    x, start = make_rows(network, global_random_seed)
    with torch.no_grad():
        zero = network.decode(torch.zeros_like(start))
        matrix = network.decode(torch.eye(N_COMPONENTS).double()) - zero[:N_COMPONENTS]
    expected = torch.linalg.lstsq(matrix.T, (x - zero).T).solution.T
    torch.testing.assert_close(project(network, x, start, 60), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_row_is_projected_by_itself(loss, global_random_seed, monkeypatch):
    network = make_network(global_random_seed, loss)
    x, start = make_rows(network, global_random_seed)
    x = with_gaps(x)
    together = project(network, x, start, 3)
    alone = [project(network, x[i : i + 1], start[i : i + 1], 3) for i in range(len(x))]
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-6, atol=1e-6)
    monkeypatch.setattr(projection, "MAX_TANGENT_ENTRIES", 7 * N_FEATURES * N_COMPONENTS)
    blocks = project(network, x, start, 3)
    torch.testing.assert_close(blocks, together, rtol=1e-6, atol=1e-6)


def test_missing_entries_are_left_out(global_random_seed):
    network = make_network(global_random_seed)
    x, start = make_rows(network, global_random_seed)
    x[:, 2:4] = torch.nan
    found = project(network, x, start, 5)
    # The same network without these columns.
    path, scales, kept = network.pca_path, network.scales, [0, 1, 4, 5]
    path.mean, path.components = path.mean[kept], path.components[:, kept]
    scales.output_scale = scales.output_scale[kept]
    last = network.decoder[-1]
    last.weight.data, last.bias.data = last.weight.data[kept], last.bias.data[kept]
    torch.testing.assert_close(found, project(network, x[:, kept], start, 5))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_row_without_any_entry_keeps_its_code(loss):
    network = make_network(loss=loss)
    x, start = make_rows(network)
    assert project(network, torch.full_like(x, torch.nan), start, 3).equal(start)


@pytest.mark.parametrize("loss", LOSSES)
def test_single_precision_gives_about_the_same_codes(loss, global_random_seed):
    network = make_network(global_random_seed, loss)
    x, start = make_rows(network, global_random_seed)
    double = losses_of(network, x, project(network, x, start, 4))
    single = project(network.float(), x.float(), start.float(), 4)
    assert single.dtype == torch.float32
    single = losses_of(network.double(), x, single.double())
    close = torch.isclose(single, double, rtol=1e-3, atol=1e-4)
    assert close.double().mean() > 0.9  # not where rounding decides whether a step is taken


def test_factors_of_the_jacobian_give_the_same_equations(global_random_seed):
    for active in (True, False):
        network = make_network(global_random_seed, active=active)
        x, code = make_rows(network, global_random_seed)
        decoder, losses = decoder_tangents(network), RowLosses(LOSSES["squared_error"], x)
        values = decoder.values(code)
        expected = NormalEquations(decoder)(losses, values)
        found = FactoredEquations(decoder, decoder.matrix)(losses, values)
        torch.testing.assert_close(found, expected)


def test_codes_are_the_same_with_factors_of_the_jacobian(global_random_seed, monkeypatch):
    network = make_network(global_random_seed)
    x, start = make_rows(network, global_random_seed)
    for rows in (x, with_gaps(x)):  # used for complete rows only
        monkeypatch.setattr(projection, "_pays", lambda *_: False)
        expected = project(network, rows, start, 2)
        monkeypatch.setattr(projection, "_pays", lambda *_: True)
        torch.testing.assert_close(project(network, rows, start, 2), expected)


def test_factors_are_used_for_wide_rows_only():
    def pays(n_hidden, n_features, n_rows):
        matrix = torch.empty(n_hidden, n_features)
        return projection._pays(matrix, decoder_tangents(make_network()), n_rows)

    assert pays(128, 784, 1000)
    assert not pays(128, 784, 1)
    assert not pays(128, 50, 1000)


def test_no_component_moves_by_more_than_the_largest_step(global_random_seed):
    network = make_network(global_random_seed)
    x, start = make_rows(network, global_random_seed)
    change = (project(network, 10 * x, start, 1) - start) * network.scales.inverse_code_scale
    assert change.abs().max() <= projection.MAX_STEP * (1 + 1e-12)
    assert (change.abs().amax(1) > projection.MAX_STEP * (1 - 1e-12)).any()


def test_codes_that_are_not_finite_stay():
    network = make_network()
    x, start = make_rows(network)
    start[0], start[1] = torch.inf, torch.nan
    code = project(network, x, start, 2)
    torch.testing.assert_close(code[:2], start[:2], equal_nan=True)
    torch.testing.assert_close(code[2:], project(network, x[2:], start[2:], 2))


def test_zero_steps_and_no_rows_change_nothing():
    network = make_network()
    x, start = make_rows(network)
    assert project(network, x, start, 0).equal(start)
    assert project(network, x[:0], start[:0], 3).shape == (0, N_COMPONENTS)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("active", [False, True])
def test_a_start_is_the_best_of_the_code_and_pca_and_all_anchors(
    loss, gaps, active, global_random_seed
):
    network = make_network(global_random_seed, loss, active=active)
    x, code = make_rows(network, global_random_seed)
    x = with_gaps(x) if gaps else x
    candidates = [code] if (pca_code := network.pca_code(x)) is None else [code, pca_code]
    expected = torch.stack([losses_of(network, x, c) for c in candidates]).amin(0)
    found = losses_of(network, x, Projection(network)(x, code, 0))
    torch.testing.assert_close(found, expected)
    network.anchors = torch.randn(30, N_COMPONENTS, generator=make_rng(global_random_seed)).double()
    candidates += [anchor.expand_as(code) for anchor in network.anchors]
    expected = torch.stack([losses_of(network, x, c) for c in candidates]).amin(0)
    found = losses_of(network, x, Projection(network)(x, code, 0))
    torch.testing.assert_close(found, expected)
    assert 0 < (found < losses_of(network, x, code)).double().mean() < 1


def test_the_projection_records_no_gradient(global_random_seed):
    network = make_network(global_random_seed)
    x, start = make_rows(network, global_random_seed)
    code = project(network, x, start.requires_grad_(), 2)
    assert not code.requires_grad
    with torch.inference_mode():
        inside = project(network, x.clone(), start.detach().clone(), 2)
    np.testing.assert_array_equal(inside.numpy(), code.numpy())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gaps", [False, True])
def test_losses_at_anchors_are_those_of_the_rows_up_to_a_term_of_each(
    loss, gaps, global_random_seed
):
    network = make_network(global_random_seed, loss)
    x, code = make_rows(network, global_random_seed)
    raw = network.decode(code[:5]).detach()
    rows = RowLosses(LOSSES[loss], with_gaps(x) if gaps else x)
    expected = torch.stack([rows(row) for row in raw], dim=1)
    found = AnchorLosses(LOSSES[loss], raw).pairwise(rows)
    torch.testing.assert_close(found - found[:, :1], expected - expected[:, :1])


def test_a_projection_of_one_row_is_that_of_many(global_random_seed):
    network = make_network(global_random_seed)
    x, code = make_rows(network, global_random_seed)
    network.anchors = torch.randn(30, N_COMPONENTS, generator=make_rng(global_random_seed)).double()
    projection = Projection(network)
    alone = torch.cat([projection(x[i : i + 1], code[i : i + 1], 2) for i in range(len(x))])
    torch.testing.assert_close(alone, projection(x, code, 2), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_end_when_no_code_changes(loss, dtype, global_random_seed):
    network = make_network(global_random_seed, loss)
    x, code = (part.to(dtype) for part in make_rows(network, global_random_seed, n_rows=8))
    network.to(dtype)
    for rows in (x, with_gaps(x), x[:1]):
        code = code[: len(rows)]
        ended = project(network, rows, code, 10**9)
        np.testing.assert_array_equal(project(network, rows, code, 10**9 + 1), ended)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_steps_of_rows_without_a_finite_loss_end(value, global_random_seed):
    network = make_network(global_random_seed)
    x, code = make_rows(network, global_random_seed, n_rows=3)
    x[1] = value
    ended = project(network, x, code, 10**9)
    np.testing.assert_array_equal(project(network, x, code, 10**9 + 1), ended)
