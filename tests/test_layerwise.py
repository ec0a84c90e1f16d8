"""Layer-wise pretraining: the stages of a network, and the fits that start from it."""

import re

import numpy as np
import pytest
import torch
from networks import make_rng
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer
from skae._nn.convolutional import convolutional_encoder_decoder
from skae._nn.custom_layers import LayerScale
from skae._nn.mlp import mlp_encoder_decoder, tied_encoder_decoder
from skae._training import fit
from skae._training.layerwise import stages

SIZES = (64, 24, 16, 2)
DEEP = {"hidden_layer_sizes": (24, 16, 8), "pretraining": "layerwise"}


def dense(rng, **options):
    return mlp_encoder_decoder(
        SIZES, "tanh", rng, residual_to_pca=True, layer_scale=True, **options
    )


def whitened(rng):
    return dense(rng, whitening=torch.randn(64, 32, generator=rng, dtype=torch.float64))


def tied(rng):
    return tied_encoder_decoder(SIZES, "tanh", rng, residual_to_pca=True)


def convolutional(rng, tied=False):
    return convolutional_encoder_decoder(
        (8, 8), (3, 5), 2, "tanh", rng, residual_to_pca=True, tied=tied, n_heads=2
    )


def tied_convolutional(rng):
    return convolutional(rng, tied=True)


PAIRS = [dense, whitened, tied, convolutional, tied_convolutional]


def stages_of(pair):
    mean, inputs, outputs = (torch.full((64,), v, dtype=torch.float64) for v in (0, 1, 1))
    return list(stages(pair, mean, inputs, outputs, lambda mean: mean))


@pytest.mark.parametrize("make", PAIRS)
def test_the_code_of_a_stage_is_its_hidden_layer(make, global_random_seed):
    rng = make_rng(global_random_seed)
    pair, x = make(rng), torch.randn(7, 64, generator=rng, dtype=torch.float64)
    activations = [i for i, layer in enumerate(pair[0]) if isinstance(layer, torch.nn.Tanh)]
    hidden, start = x, 0
    for (network, _), end in zip(stages_of(pair), activations, strict=True):
        network.double()
        hidden, start = pair[0][start : end + 1](hidden), end + 1
        code = network.encode(x)
        torch.testing.assert_close(code, hidden.flatten(1))
        assert network.decode(code).shape == x.shape


@pytest.mark.parametrize("make", PAIRS)
def test_each_layer_is_new_in_one_stage_except_those_at_the_code(make):
    pair = make(make_rng())
    new = [parameter for stage in stages_of(pair) for parameter in stage.new_layers.parameters()]
    assert len({id(parameter) for parameter in new}) == len(new)
    scales = [p for net in pair for m in net if isinstance(m, LayerScale) for p in m.parameters()]
    others = {id(p) for net in pair for p in net.parameters()} - {id(p) for p in [*new, *scales]}
    # The weights and the bias of the encoder's last layer and of the decoder's first layer, or two
    # biases and one matrix if they are tied.
    assert len(others) == (3 if make in (tied, tied_convolutional) else 4)


def test_layers_of_earlier_stages_are_not_trained(digits, monkeypatch, small):
    changes, train_network = [], fit.train_network

    def recorded(network, *arguments):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        history = train_network(network, *arguments)
        after = network.state_dict()
        changes.append(sum(not torch.equal(before[name], after[name]) for name in before))
        return history

    monkeypatch.setattr(fit, "train_network", recorded)
    small(AutoencoderTransformer, **DEEP).fit(digits)
    # Two layers are new in each stage, with weights and biases. The last training is that of all
    # eight layers and two scales.
    assert changes == [4, 4, 4, 18]


def test_a_linear_layer_converges_to_the_principal_subspace(digits, capsys, small):
    # The optimum of a linear autoencoder with 5 units (Baldi and Hornik, 1989).
    small(
        AutoencoderTransformer,
        2,
        hidden_layer_sizes=(5,),
        activation="identity",
        max_iter=200,
        n_iter_no_change=200,
        batch_size=100,
        learning_rate_init=0.02,
        pretraining="layerwise",
        verbose=1,
    ).fit(digits, X_val=digits)
    loss = float(re.search(r"layer 1: held-out loss ([\d.]+)", capsys.readouterr().out)[1])
    pca = PCA(5).fit(digits)
    residual = np.square(digits - pca.inverse_transform(pca.transform(digits))).sum(axis=1).mean()
    assert residual * (1 - 1e-6) < loss < 1.02 * residual


def test_a_pretrained_network_is_pca_before_training(digits, small):
    first_errors = [
        small(AutoencoderTransformer, hidden_layer_sizes=(24, 16), pretraining=pretraining)
        .fit(digits)
        .validation_curve_[0]
        for pretraining in (None, "layerwise")
    ]
    assert first_errors[1] == pytest.approx(first_errors[0], rel=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # collapsed codes
def test_pretraining_improves_a_deep_network_with_logistic_units(digits, small):
    # Without pretraining the gradients of the inner layers are close to zero.
    deep = {"hidden_layer_sizes": (48, 32, 24, 16), "activation": "logistic", "init": "random"}
    deep["max_iter"] = 20
    plain, pretrained = (
        small(AutoencoderTransformer, **deep, pretraining=pretraining).fit(digits).score(digits)
        for pretraining in (None, "layerwise")
    )
    assert pretrained > plain + 0.1


def test_an_interrupted_pretraining_leaves_the_estimator_unchanged(digits, monkeypatch, small):
    def interrupt(*_):
        raise KeyboardInterrupt

    estimator = small(AutoencoderTransformer, **DEEP)
    before = vars(estimator).copy()
    monkeypatch.setattr("skae._training.optimizer.Optimizer.step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(digits)
    assert vars(estimator) == before


def test_pretraining_of_a_users_network_is_an_error(digits, small):
    estimator = small(AutoencoderTransformer, network=lambda p, k: None, pretraining="layerwise")
    with pytest.raises(ValueError, match="`pretraining` must be None with a `network`"):
        estimator.fit(digits)


def test_pretraining_in_the_first_partial_fit_is_an_error(digits, small):
    estimator = small(AutoencoderTransformer, **DEEP)
    with pytest.raises(ValueError, match="`pretraining` must be None in the first partial_fit"):
        estimator.partial_fit(digits)
    estimator.fit(digits).partial_fit(digits)
    assert estimator.n_samples_seen_ == 600
