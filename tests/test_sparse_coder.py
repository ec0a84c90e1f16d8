"""The network of the sparse autoencoder against its equations, and the count of inactive rows."""

import pytest
import torch
from networks import make_rng
from torch import nn
from torch.nn.functional import normalize

from skae._data.process_group import SINGLE_PROCESS
from skae._losses.reconstruction import LOSSES
from skae._nn.autoencoder import PCAPath, Scales
from skae._nn.sparse_activations import L1, TopK
from skae._nn.sparse_coder import DictionaryDecoder, SparseCoder, SparseEncoder, ZeroOutput
from skae._nn.subspace_pursuit import subspace_pursuit

N_FEATURES, N_COMPONENTS = 6, 20


@pytest.fixture
def random(global_random_seed):
    """A function that draws normal numbers of a shape."""
    rng = make_rng(global_random_seed)
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


def make_coder(random, *, activation=None, tied=False, input_mean=None, fields=None, dense=False):
    """A sparse coder with random weights; `dense` adds networks to both of its linear maps."""
    shape = (N_COMPONENTS, N_FEATURES)
    networks = ZeroOutput(), ZeroOutput()
    if dense:
        networks = nn.Linear(*shape[::-1]).double(), nn.Linear(*shape).double()
    encoder = SparseEncoder(
        random(N_COMPONENTS, 1 if tied else N_FEATURES),
        networks[0],
        activation or L1(3, N_COMPONENTS),
        50,
        input_mean,
        tied,
    )
    encoder.bias.data = random(N_COMPONENTS)
    decoder = DictionaryDecoder(random(*shape), networks[1], fields)
    path = PCAPath(random(N_FEATURES), random(0, N_FEATURES), active=False)
    ones = torch.ones(N_FEATURES, dtype=torch.float64), torch.ones(N_COMPONENTS).double()
    scales = Scales(2 * ones[0], ones[1], ones[1], ones[0])
    return SparseCoder(encoder, decoder, path, scales, LOSSES["squared_error"].link)


@pytest.mark.parametrize("dense", [False, True])
def test_codes_and_rows_are_those_of_the_equations(dense, random):
    coder, x = make_coder(random, dense=dense), random(5, N_FEATURES)
    encoder, decoder, mean = coder.encoder, coder.decoder, coder.pca_path.mean
    pre_activation = (x - mean) @ encoder.weight.T + encoder.bias
    row = mean + (code := coder.encode(x)) @ normalize(decoder.weight, dim=1)
    if dense:
        pre_activation += encoder.network((x - mean) * 2)
        row += decoder.network(code)
    torch.testing.assert_close(code, pre_activation.relu())
    torch.testing.assert_close(coder.decode(code), row)


def test_the_input_mean_is_added_to_centred_rows(random):
    input_mean = random(N_FEATURES)
    coder, x = make_coder(random, input_mean=input_mean), random(5, N_FEATURES)
    rows = x - coder.pca_path.mean + input_mean
    expected = rows @ coder.encoder.weight.T + coder.encoder.bias
    torch.testing.assert_close(coder.pre_activation(x), expected)


def test_tied_units_project_rows_on_their_directions(random):
    coder, x = make_coder(random, tied=True), random(5, N_FEATURES)
    projection = (x - coder.pca_path.mean) @ coder.decoder.directions.T
    expected = projection * coder.encoder.weight[:, 0] + coder.encoder.bias
    torch.testing.assert_close(coder.pre_activation(x), expected)


def test_a_missing_value_is_replaced_by_the_mean(random):
    coder, x = make_coder(random), random(5, N_FEATURES)
    x[2, 3] = torch.nan
    filled = torch.where(x.isnan(), coder.pca_path.mean, x)
    torch.testing.assert_close(coder.encode(x), coder.encode(filled))


def test_weights_outside_the_receptive_fields_have_no_gradient(random):
    fields = (random(N_COMPONENTS, N_FEATURES) > 0).double()
    coder, x = make_coder(random, fields=fields), random(5, N_FEATURES)
    coder.decode(coder.encode(x)).square().sum().backward()
    for weight in (coder.encoder.weight, coder.decoder.weight):
        assert torch.equal(weight.grad * fields, weight.grad)
    assert coder.encoder.weight.grad.any()


def test_a_rescaled_encoder_has_scaled_pre_activations(random):
    coder, x, factor = make_coder(random), random(5, N_FEATURES), random(N_COMPONENTS).abs()
    expected = coder.pre_activation(x) * factor * 3
    coder.encoder.rescale(factor)
    coder.encoder.rescale(3.0)
    torch.testing.assert_close(coder.pre_activation(x), expected)


def test_subspace_pursuit_follows_the_encoder_at_inference_only(random):
    coder, x = make_coder(random, activation=TopK(3, N_COMPONENTS)), random(5, N_FEATURES)
    encoded = coder.eval().encode(x)
    coder.n_pursuit_steps = 2
    centred = x - coder.pca_path.mean
    expected = subspace_pursuit(encoded, centred, coder.decoder.directions, 3, 2)
    assert torch.equal(coder.encode(x), expected)
    coder.train()
    coder.encoder.activation.n_steps = 10**6  # no more than 3 active units
    assert torch.equal(coder.encode(x), encoded)


def test_a_unit_is_inactive_below_a_tenth_of_its_share_of_the_rows():
    activation = TopK(2, N_COMPONENTS)
    encoder = SparseEncoder(torch.zeros(N_COMPONENTS, 3), ZeroOutput(), activation, 50)
    code = torch.zeros(50, N_COMPONENTS)
    code[0, 3] = code[1:4, 4] = 1.0  # the share of a unit is 5 rows of 50
    for _ in range(3):
        encoder.update_inactivity(code, SINGLE_PROCESS)
    expected = [0.0 if unit in (3, 4) else 150.0 for unit in range(N_COMPONENTS)]
    assert encoder.rows_since_active.tolist() == expected
