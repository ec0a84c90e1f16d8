"""Layer-wise pretraining: each layer learns within those outside it, and the promise holds."""

import copy
import re

import numpy as np
import pytest
import torch
from conftest import quick
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer
from skae._nn.autoencoder import LayerScale, mlp_encoder_decoder, tied_encoder_decoder
from skae._nn.convolutional import convolutional_encoder_decoder
from skae._training import fit as fitting
from skae._training.layerwise import stages

DEEP = {"hidden_layer_sizes": (24, 16, 8), "pretraining": "layerwise"}


def generator():
    return torch.Generator().manual_seed(0)


def dense():
    return mlp_encoder_decoder(
        (64, 24, 16, 2), "tanh", generator(), residual_to_pca=True, gate=True
    )


def whitened():
    whitening = torch.randn(64, 32, generator=generator(), dtype=torch.float64)
    sizes = (64, 24, 16, 2)
    return mlp_encoder_decoder(
        sizes, "tanh", generator(), residual_to_pca=True, gate=True, whitening=whitening
    )


def tied():
    return tied_encoder_decoder((64, 24, 16, 2), "tanh", generator(), residual_to_pca=True)


def convolutional(tied=False):
    return convolutional_encoder_decoder(
        (8, 8), (3, 5), 2, "tanh", generator(), residual_to_pca=True, tied=tied, n_heads=2
    )


PAIRS = {
    "dense": dense,
    "whitened": whitened,
    "tied": tied,
    "images": convolutional,
    "tied images": lambda: convolutional(tied=True),
}


def stages_of(pair):
    units = (torch.full((64,), value, dtype=torch.float64) for value in (0, 1, 1))
    return list(stages(pair, *units, lambda mean: mean))


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_a_stage_encodes_to_its_hidden_layer_and_back_to_rows(make):
    pair, x = make(), torch.randn(7, 64, generator=generator(), dtype=torch.float64)
    found = stages_of(pair)
    assert len(found) == 2
    hidden, at = x, 0
    activations = [i for i, layer in enumerate(pair[0]) if isinstance(layer, torch.nn.Tanh)]
    for (network, _), end in zip(found, activations, strict=True):
        network.double()
        hidden, at = pair[0][at : end + 1](hidden), end + 1
        code = network.encode(x)
        torch.testing.assert_close(code, hidden.flatten(1))
        assert network.decode(code).shape == x.shape


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_stages_share_out_all_layers_but_those_at_the_code(make):
    pair = make()
    new = [parameter for stage in stages_of(pair) for parameter in stage.new.parameters()]
    assert len({id(parameter) for parameter in new}) == len(new)
    all_of_them = [p for net in pair for p in net.parameters()]
    gates = [p for net in pair for m in net if isinstance(m, LayerScale) for p in m.parameters()]
    inner = {id(p) for p in all_of_them} - {id(p) for p in [*new, *gates]}
    # A matrix or kernels and a bias into the code, and the same out of it; tied, one matrix.
    assert len(inner) == (3 if make in (tied, PAIRS["tied images"]) else 4)


def test_layers_outside_a_stage_stay_as_they_are(digits, monkeypatch):
    seen = []

    def watched(estimator, data, config, network, report):
        before = copy.deepcopy(network.state_dict())
        history = train(estimator, data, config, network, report)
        seen.append([not torch.equal(before[k], v) for k, v in network.state_dict().items()])
        held = [not p.requires_grad for p in network.parameters()]
        assert any(held) == (1 < len(seen) < 4)
        return history

    train = fitting._train
    monkeypatch.setattr(fitting, "_train", watched)
    quick(AutoencoderTransformer, **DEEP).fit(digits)
    # Four tensors are new in each stage; then the whole network: 16 and the two gates.
    assert [sum(changed) for changed in seen] == [4, 4, 4, 18]


def test_a_linear_layer_finds_the_principal_subspace(digits, capsys):
    # The optimum of a linear autoencoder with 5 units (Baldi and Hornik, 1989).
    quick(
        AutoencoderTransformer, 2, hidden_layer_sizes=(5,), activation="identity", max_iter=100,
        n_iter_no_change=100, pretraining="layerwise", verbose=1,
    ).fit(digits, X_val=digits)  # fmt: skip
    loss = float(re.search(r"layer 1: held-out loss ([\d.]+)", capsys.readouterr().out)[1])
    pca = PCA(5).fit(digits)
    residual = np.square(digits - pca.inverse_transform(pca.transform(digits))).sum(axis=1).mean()
    assert residual * (1 - 1e-6) < loss < 1.02 * residual


def test_after_pretraining_the_network_is_pca_still(digits):
    plain, pretrained = (
        quick(AutoencoderTransformer, hidden_layer_sizes=(24, 16), pretraining=pretraining)
        .fit(digits)
        .validation_curve_[0]
        for pretraining in (None, "layerwise")
    )
    assert pretrained == pytest.approx(plain, rel=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # dead codes
def test_a_deep_network_of_sigmoids_needs_it(digits):
    # What the method was invented for: without it, nothing reaches the inner layers at first.
    deep = {
        "hidden_layer_sizes": (48, 32, 24, 16), "activation": "logistic", "init": "random",
    }  # fmt: skip
    plain, pretrained = (
        quick(AutoencoderTransformer, **deep, pretraining=pretraining).fit(digits).score(digits)
        for pretraining in (None, "layerwise")
    )
    assert pretrained > plain + 0.1


def test_an_interruption_of_pretraining_leaves_no_half_fitted_estimator(digits, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    estimator = quick(AutoencoderTransformer, **DEEP)
    before = vars(estimator).copy()
    monkeypatch.setattr("skae._training.loop.Stepper.step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(digits)
    assert vars(estimator) == before


def test_a_network_of_the_users_cannot_be_pretrained(digits):
    estimator = quick(AutoencoderTransformer, network=lambda p, k: None, pretraining="layerwise")
    with pytest.raises(ValueError, match="`pretraining` must be None with a `network`"):
        estimator.fit(digits)


def test_a_stream_cannot_begin_with_pretraining(digits):
    estimator = quick(AutoencoderTransformer, **DEEP)
    with pytest.raises(ValueError, match="`pretraining` must be None in the first partial_fit"):
        estimator.partial_fit(digits)
    estimator.fit(digits).partial_fit(digits)
    assert estimator.n_samples_seen_ == 600
