"""The autoencoder beside PCA: before training, far from the training rows, and its precision."""

import pytest
import torch
from networks import make_autoencoder, make_rng, randomize
from test_projection_graph import run

from skae._graph.graph import Graph
from skae._nn.autoencoder import PROJECTED_FADE_WIDTH, PCAPath, reciprocal


def make_x(seed, n_rows=4):
    return torch.randn(n_rows, 6, generator=make_rng(seed), dtype=torch.float64)


@pytest.mark.parametrize("hidden", [(), (8, 5)])
def test_an_untrained_autoencoder_is_pca(hidden, global_random_seed):
    network, x = make_autoencoder(global_random_seed, hidden=hidden), make_x(global_random_seed)
    path = network.pca_path
    code = (x - path.mean) @ path.components.T
    torch.testing.assert_close(network.encode(x), code)
    reconstruction = path.mean + code @ path.components
    torch.testing.assert_close(network.decode(code), reconstruction)
    torch.testing.assert_close(path.reconstruct(x), reconstruction)


def test_an_inactive_pca_path_adds_the_mean_only(global_random_seed):
    network, x = make_autoencoder(global_random_seed), make_x(global_random_seed)
    network.pca_path.active = False
    assert torch.equal(network.encode(x), torch.zeros_like(x[:, :2]))
    torch.testing.assert_close(network.decode(x[:, :2]), network.pca_path.mean.expand(4, 6))


def test_a_missing_value_is_replaced_by_the_mean(global_random_seed):
    network = randomize(make_autoencoder(global_random_seed))
    x = make_x(global_random_seed)
    x[1, 3] = torch.nan
    filled = torch.where(x.isnan(), network.pca_path.mean, x)
    torch.testing.assert_close(network.encode(x), network.encode(filled))
    torch.testing.assert_close(
        network.pca_path.reconstruct(x), network.pca_path.reconstruct(filled)
    )


def test_codes_far_from_the_training_rows_are_decoded_by_pca(global_random_seed):
    network = randomize(make_autoencoder(global_random_seed))
    code = make_x(global_random_seed, 5)[:, :2]
    decoded = network.decode(code)  # the maximum distance is infinite
    linear, distance = network.pca_path.decode(code), network.distance(code)
    expected = (code * network.scales.inverse_code_scale).square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(distance, expected)
    for max_distance, factor in [(distance.max(), 1.0), (distance.min() / 2, 0.0)]:
        network.max_train_distance.fill_(max_distance)
        torch.testing.assert_close(network.decode(code), linear + factor * (decoded - linear))
    network.max_train_distance.fill_(distance[0, 0] / 1.25)  # a quarter beyond it
    torch.testing.assert_close(network.decode(code[:1]), linear[:1] + 0.75 * (decoded - linear)[:1])


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0])
def test_a_shrunk_network_is_between_pca_and_itself(factor, global_random_seed):
    network, x = randomize(make_autoencoder(global_random_seed)), make_x(global_random_seed)
    code = make_x(global_random_seed, 5)[:, :2]
    linear = network.pca_code(x), network.pca_path.decode(code)
    trained = network.encode(x), network.decode(code)
    network.shrink(factor)
    for found, pca, before in zip(
        (network.encode(x), network.decode(code)), linear, trained, strict=True
    ):
        torch.testing.assert_close(found, torch.lerp(pca, before, factor))


@pytest.mark.parametrize("n_steps", [0, 1, 2])
def test_networks_whose_codes_are_projected_fade_over_a_wider_range(n_steps, global_random_seed):
    network = randomize(make_autoencoder(global_random_seed))
    network.project_codes(2)  # the width is that of the last call
    network.project_codes(n_steps)
    width = PROJECTED_FADE_WIDTH if n_steps else 1.0
    assert network.n_projection_steps == n_steps
    network.max_train_distance.fill_(2.0)
    direction = torch.nn.functional.normalize(make_x(global_random_seed, 1)[:, :2])
    beyond = torch.tensor([-0.1, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 100.0])[:, None]
    fade = network.fade(2 * (1 + width * beyond.double()) * direction)
    torch.testing.assert_close(fade, (1 - beyond).clamp(0, 1).double())


@pytest.mark.parametrize("n_steps", [0, 2])
def test_the_graph_of_a_decoder_has_its_fade(n_steps, global_random_seed):
    network = randomize(make_autoencoder(global_random_seed))
    network.project_codes(n_steps)
    code = 3 * make_x(global_random_seed, 200)[:, :2]
    network.max_train_distance.fill_(network.distance(code).quantile(0.2))
    graph = Graph()
    found = run(graph, network.decode_graph(graph, "code"), code=code)
    fade = network.fade(code * network.scales.inverse_code_scale)
    assert fade.min() < fade.max() == 1
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), network.decode(code))


def test_only_the_encoder_and_the_decoder_have_parameters():
    names = {name.split(".")[0] for name, _ in make_autoencoder().named_parameters()}
    assert names == {"encoder", "decoder"}


def test_the_pca_path_is_not_rounded_under_autocast(global_random_seed):
    path = make_autoencoder(global_random_seed).pca_path.float()
    centred = make_x(global_random_seed).float()
    code = path.encode(centred)
    row = path.decode(code)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(path.encode(centred), code)
        assert torch.equal(path.decode(code), row)


def test_an_inactive_path_has_no_linear_code():
    path = PCAPath(torch.zeros(6), torch.zeros(2, 6), active=False)
    assert path.encode(torch.ones(3, 6)) == 0.0


def test_the_reciprocal_of_zero_is_zero():
    values = torch.tensor([2.0, 0.0, 0.25])
    assert torch.equal(reciprocal(values), torch.tensor([0.5, 0.0, 4.0]))
    assert torch.equal(reciprocal(reciprocal(values)), values)
