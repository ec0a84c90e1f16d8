import pytest
import torch
from networks import N_COMPONENTS, N_FEATURES, make_autoencoder, make_rng, randomize
from torch import nn

from skae._losses.reconstruction import LOSSES
from skae._nn.autoencoder import Autoencoder
from skae._nn.convolutional import convolutional_encoder_decoder
from skae._nn.decoder_tangents import LayeredDecoder, decoder_tangents, tangents_by_autograd
from skae._nn.layers import ACTIVATIONS, LAYERS
from skae._nn.mlp import tied_encoder_decoder
from skae._nn.user_network import user_encoder_decoder
from skae._nn.variational import GaussianEncoder, LikelihoodDecoder, VariationalAutoencoder


def own_layers(n_features, n_components):
    """A user's network with layers of which the package has no closed form."""
    return (
        nn.Linear(n_features, n_components),
        nn.Sequential(nn.Linear(n_components, 4), nn.Softplus(), nn.LayerNorm(4), Twice(4)),
    )


class Twice(nn.Module):
    def __init__(self, n_inputs):
        super().__init__()
        self.inner = nn.Linear(n_inputs, N_FEATURES)

    def forward(self, x):
        return self.inner(x) + self.inner(x).square()


def of_pair(seed, pair, loss="squared_error", *, active=True):
    """An autoencoder of an encoder and a decoder, whose fade is far out."""
    other = make_autoencoder(seed, active=active)
    network = Autoencoder(*pair, other.pca_path, other.scales, LOSSES[loss].link).double()
    return randomize(network, seed, 0.5).eval()


SIZES = (N_FEATURES, 8, 5, N_COMPONENTS)

DECODERS = {
    "linear": lambda seed: make_autoencoder(seed, hidden=()),
    "without PCA": lambda seed: make_autoencoder(seed, active=False),
    "layer scale": lambda seed: make_autoencoder(seed, layer_scale=True),
    "tied": lambda seed: of_pair(
        seed, tied_encoder_decoder(SIZES, "tanh", make_rng(seed), residual_to_pca=True)
    ),
    "images": lambda seed: images(seed, tied=False),
    "tied images": lambda seed: images(seed, tied=True),
    "own layers": lambda seed: of_pair(
        seed,
        user_encoder_decoder(own_layers, N_FEATURES, N_COMPONENTS, seed, residual_to_pca=True),
    ),
    "variational": lambda seed: variational(seed),
    "own decode": lambda seed: own_decode(seed),
    **{
        name: lambda seed, name=name: make_autoencoder(seed, activation=name)
        for name in ACTIVATIONS
    },
    **{
        f"link of {name}": lambda seed, name=name: with_link(make_autoencoder(seed), name)
        for name in LOSSES
    },
}


def images(seed, *, tied):
    pair = convolutional_encoder_decoder(
        (2, 3), (3, 2), N_COMPONENTS, "silu", make_rng(seed), residual_to_pca=True, tied=tied
    )
    return of_pair(seed, pair)


def with_link(network, loss):
    """With a mean in the domain of the loss, so that the link clips some entries only."""
    network.link = LOSSES[loss].link
    network.pca_path.mean.clamp_(0.2, 0.8)
    return network


def variational(seed):
    other = make_autoencoder(seed)
    zeros = torch.zeros(N_COMPONENTS, dtype=torch.float64)
    return VariationalAutoencoder(
        GaussianEncoder(nn.Linear(N_FEATURES, 2 * N_COMPONENTS), zeros),
        LikelihoodDecoder(other.decoder, 1.0, 0.1),
        other.pca_path,
        other.scales,
        other.link,
        (zeros + 0.7, zeros + 1.3),
    ).double()


def own_decode(seed):
    class Shifted(Autoencoder):
        def decode(self, code):
            return super().decode(code).sin() + code.sum(1, keepdim=True)

    other = make_autoencoder(seed)
    return Shifted(other.encoder, other.decoder, other.pca_path, other.scales, other.link)


def codes_of(network, seed, n_rows=6):
    return torch.randn(n_rows, N_COMPONENTS, generator=make_rng(seed), dtype=torch.float64)


def jacobian_by_autograd(function, code):
    rows = [torch.autograd.functional.jacobian(lambda c: function(c[None])[0], c) for c in code]
    return torch.stack(rows).mT  # (n_samples, n_components, n_features)


@pytest.fixture(params=DECODERS)
def network(request, global_random_seed):
    network = DECODERS[request.param](global_random_seed)
    return randomize(network, global_random_seed, 0.5).eval()


def test_the_last_value_is_the_raw_row(network, global_random_seed):
    code = codes_of(network, global_random_seed)
    network.max_train_distance.fill_(0.8)  # so that the fade is not constant
    torch.testing.assert_close(decoder_tangents(network).values(code)[-1], network.decode(code))


def test_the_jacobian_is_that_of_autograd(network, global_random_seed):
    code, decoder = codes_of(network, global_random_seed), decoder_tangents(network)
    jacobian = decoder.jacobian(decoder.values(code))
    torch.testing.assert_close(jacobian, jacobian_by_autograd(network.decode, code))


def test_the_jacobian_is_the_same_in_inference_mode(network, global_random_seed):
    code, decoder = codes_of(network, global_random_seed), decoder_tangents(network)
    expected = decoder.jacobian(decoder.values(code))
    with torch.inference_mode():
        decoder, code = decoder_tangents(network), code.clone()
        found = decoder.jacobian(decoder.values(code))
    torch.testing.assert_close(found, expected)


def test_the_jacobian_is_that_of_the_network_without_its_fade_times_the_fade(global_random_seed):
    network = make_autoencoder(global_random_seed, active=False)
    network = randomize(network, global_random_seed).eval()
    code, decoder = codes_of(network, global_random_seed), decoder_tangents(network)
    expected = decoder.jacobian(decoder.values(code))
    network.max_train_distance.fill_(0.5)
    fade = network.fade(code * network.scales.inverse_code_scale)
    assert 0 <= fade.min() < fade.max() <= 1
    decoder = decoder_tangents(network)
    found = decoder.jacobian(decoder.values(code))
    torch.testing.assert_close(found, expected * fade[:, :, None])


def test_it_is_factored_for_dense_layers(global_random_seed):
    network = randomize(make_autoencoder(global_random_seed), global_random_seed)
    code, decoder = codes_of(network, global_random_seed), decoder_tangents(network)
    values = decoder.values(code)
    factored = decoder.components + decoder.tangents(values) @ decoder.matrix
    assert decoder.matrix.shape == (8, N_FEATURES)
    torch.testing.assert_close(factored, decoder.jacobian(values))


def test_hooks_are_part_of_a_layer(global_random_seed):
    network = randomize(make_autoencoder(global_random_seed), global_random_seed)
    network.decoder[-1].register_forward_hook(lambda layer, inputs, output: output.tanh())
    code, decoder = codes_of(network, global_random_seed), decoder_tangents(network)
    jacobian = decoder.jacobian(decoder.values(code))
    torch.testing.assert_close(jacobian, jacobian_by_autograd(network.decode, code))


def test_a_subclass_that_decodes_in_another_way_has_no_layers():
    assert type(decoder_tangents(variational(0))) is LayeredDecoder
    assert type(decoder_tangents(own_decode(0))) is not LayeredDecoder


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 4, bias=False),
        nn.Conv2d(2, 4, 3, padding=1, groups=2, padding_mode="circular"),
        nn.ConvTranspose2d(2, 4, 3, stride=2, groups=2, output_padding=1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_linear_part_is_the_layer_without_its_value_at_zero(layer, global_random_seed):
    shape = (3,) if isinstance(layer, nn.Linear) else (2, 4, 6)
    x = torch.randn(5, 2, *shape, generator=make_rng(global_random_seed))
    expected = layer(x.flatten(0, 1)) - layer(torch.zeros_like(x.flatten(0, 1)))
    found = LAYERS[type(layer)].linear_part(layer, x).flatten(0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_tangents_of_attention_are_those_of_autograd(global_random_seed):
    class Attention(nn.Module):
        def forward(self, x):
            tokens = x.view(-1, 1, 3, 4)
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).flatten(1)

    code = torch.randn(5, 12, generator=make_rng(global_random_seed), dtype=torch.float64)
    axes = torch.eye(12, dtype=torch.float64)[None]
    found = tangents_by_autograd(Attention(), code, axes)
    torch.testing.assert_close(found, jacobian_by_autograd(Attention(), code))
