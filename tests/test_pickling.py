"""Networks as plain values and arrays, from which equal networks are built."""

import pickle

import numpy as np
import pytest
import torch
from conftest import AUTOENCODERS, ESTIMATORS
from torch import nn

import skae
from skae import AutoencoderTransformer, SparseAutoencoder
from skae._nn.custom_layers import LayerScale, SoftClip, TransposedLinear
from skae._nn.pickling import VERSION, PackedModule

VARIANTS = {
    "dense": {},
    "linear": {"hidden_layer_sizes": ()},
    "tied": {"tied_weights": True},
    "random": {"init": "random"},
    "images": {"image_shape": (8, 8), "hidden_layer_sizes": (4,)},
    "tied images": {"image_shape": (8, 8), "hidden_layer_sizes": (4,), "tied_weights": True},
    "gelu": {"activation": "gelu"},
    "rows as they are": {"sparsity": "lifetime", "with_mean": False},
    "windows": {"receptive_field": 3, "image_shape": (8, 8), "hidden_layer_sizes": ()},
}
SPARSE = ("rows as they are", "windows")


CASES = [
    *((AutoencoderTransformer, name) for name in VARIANTS if name not in SPARSE),
    *((SparseAutoencoder, name) for name in SPARSE),
    *((cls, "dense") for cls in AUTOENCODERS if cls is not AutoencoderTransformer),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].__name__}-{case[1]}")
def network(request, digits, small):
    cls, variant = request.param
    return small(cls, max_iter=1, **VARIANTS[variant]).fit(digits).network_


def test_a_network_is_unpacked_bitwise_from_plain_values(network, digits):
    packed = PackedModule.pack(network)
    assert isinstance(packed.structure, dict)
    again = packed.unpack()
    x = torch.from_numpy(digits.copy())
    assert torch.equal(again.encode(x), network.encode(x))
    assert torch.equal(again.decode(again.encode(x)), network.decode(network.encode(x)))
    assert again.state_dict().keys() == network.state_dict().keys()
    assert str(again) == str(network)


def test_equal_networks_pack_into_equal_bytes(network):
    packed = PackedModule.pack(network)
    assert pickle.dumps(packed) == pickle.dumps(PackedModule.pack(packed.unpack()))


def test_tied_weights_stay_tied(digits, autoencoder, small):
    tied = small(autoencoder, tied_weights=True, max_iter=1, init="random").fit(digits)
    network = tied.network_
    again = PackedModule.pack(network).unpack()
    assert len(list(again.parameters())) == len(list(network.parameters()))
    code = network.encode(torch.from_numpy(digits.copy()))
    with torch.no_grad():  # the encoder's matrix, so that the decoder changes
        next(part for part in again.modules() if isinstance(part, nn.Linear)).weight += 1
    assert not torch.equal(again.decode(code), network.decode(code))


@pytest.mark.parametrize(
    "odd",
    [
        nn.Hardtanh(),
        nn.Sequential(nn.Linear(2, 2).requires_grad_(False)),
        nn.Sequential(*[nn.Linear(2, 2)] * 2),
    ],
    ids=["unknown", "frozen", "shared"],
)
def test_a_module_that_no_structure_describes_is_kept(odd):
    packed = PackedModule.pack(odd)
    assert isinstance(packed.structure, nn.Module)
    x = torch.ones(1, 2)
    assert torch.equal(packed.unpack()(x), odd(x))


def test_arguments_of_torch_layers_are_kept():
    layer = nn.Conv2d(2, 4, 3, dilation=2, groups=2, padding_mode="circular", padding=1, bias=False)
    packed = PackedModule.pack(layer)
    assert isinstance(packed.structure, dict)
    x = torch.arange(128.0).reshape(1, 2, 8, 8)
    assert torch.equal(packed.unpack()(x), layer(x))


def test_unpacking_draws_no_random_number():
    packed, before = PackedModule.pack(nn.Linear(3, 3)), torch.get_rng_state()
    packed.unpack()
    assert torch.equal(torch.get_rng_state(), before)


class Custom(nn.Module):
    """A layer that no structure describes unless its class is passed."""

    def __init__(self):
        super().__init__()
        self.linear, self.power, self.offset = nn.Linear(2, 2), 3, None

    def forward(self, x):
        return self.linear(x) ** self.power


def test_a_class_that_is_passed_is_described():
    network, classes = nn.Sequential(Custom(), nn.Tanh()), {"Custom": Custom}
    assert isinstance(PackedModule.pack(network).structure, nn.Module)
    packed = PackedModule.pack(network, classes)
    assert packed.class_names() == {"Sequential", "Custom", "Linear", "Tanh"}
    assert not packed.kept_modules()
    again = packed.unpack(classes)
    assert again[0].offset is None
    x = torch.ones(1, 2)
    assert torch.equal(again(x), network(x))
    with pytest.raises(KeyError):
        packed.unpack()


def test_only_the_unknown_layers_of_torch_are_kept():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.LayerNorm(2), nn.Linear(2, 2)))
    packed = PackedModule.pack(network)
    (kept,) = packed.kept_modules()
    assert type(kept) is nn.LayerNorm
    assert kept.weight.is_meta
    x = torch.ones(1, 2)
    assert torch.equal(pickle.loads(pickle.dumps(packed)).unpack()(x), network(x))


def test_a_custom_layer_that_refers_to_another_layer_is_kept_with_it():
    network = nn.Sequential(nn.Linear(2, 2), Custom())
    network[1].reference = (network[0],)
    packed = PackedModule.pack(network)
    assert isinstance(packed.structure, nn.Module)
    again = packed.unpack()
    assert again[1].reference[0] is again[0]


def test_old_names_are_translated_in_a_structure():
    packed = PackedModule.pack(LayerScale(2))
    again = change(packed, **{"class": "Gate"}).unpack()
    assert type(again) is LayerScale
    network = nn.Sequential(nn.Linear(2, 3))
    network.append(TransposedLinear(network[0]))
    packed = PackedModule.pack(network)
    inner = packed.structure["modules"]["1"]
    inner["class"], inner["values"] = "Transposed", {"_other": inner["values"]["_linear"]}
    again = packed.unpack()
    assert again[1]._linear[0] is again[0]


def change(packed, **changes):
    return PackedModule(packed.structure | changes, packed.arrays)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: change(p, **{"class": "Module"}),
        lambda p: change(p, **{"class": "Hardtanh"}),
        lambda p: change(p, parameters=["weight"]),
        lambda p: change(p, parameters=["bias"]),
        lambda p: change(p, parameters=["weight", "bias", "other"]),
        lambda p: change(p, values={"in_features": 10**12, "out_features": 2}),
        lambda p: change(p, values={"in_features": 3, "out_features": 2, "device": "cpu"}),
        lambda p: change(p, modules={"child": {}}),
        lambda p: p._replace(arrays={**p.arrays, "more": np.zeros(1)}),
        lambda p: p._replace(arrays={}),
    ],
)
def test_a_structure_that_does_not_match_its_arrays_is_refused(spoil):
    packed = PackedModule.pack(nn.Linear(3, 2))
    with pytest.raises(Exception):  # noqa: B017
        spoil(packed).unpack()


def test_a_structure_cannot_replace_a_method():
    packed = PackedModule.pack(SoftClip(2.0))
    with pytest.raises(ValueError, match="'forward' of its own"):
        change(packed, values={"forward": 1}).unpack()


def as_of_version(estimator, version):
    """The reconstruction of an estimator from a state of another version."""
    state = estimator.__getstate__() | {VERSION: version}
    again = type(estimator)()
    again.__setstate__(state)
    return again


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_pickles_carry_the_version(cls, recwarn):
    estimator = cls()
    assert estimator.__getstate__()[VERSION] == skae.__version__
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_equal(vars(again), vars(estimator))
    as_of_version(estimator, "0.1.0")
    assert not recwarn.list
    with pytest.warns(UserWarning, match=f"This {cls.__name__} was pickled by skae 99.0, which"):
        as_of_version(estimator, "99.0")


def test_a_pickle_that_cannot_be_read_names_both_versions(digits, small):
    estimator = small(AutoencoderTransformer, max_iter=1).fit(digits)
    state = estimator.__getstate__() | {VERSION: "0.1.5", "network_": {"structure": 3}}
    expected = f"skae {skae.__version__} cannot read .* was pickled by skae 0.1.5"
    with pytest.raises(ValueError, match=expected):
        AutoencoderTransformer().__setstate__(state)
    state[VERSION] = skae.__version__
    with pytest.raises(KeyError):
        AutoencoderTransformer().__setstate__(state)
