"""The values of layers in files."""

import copy

import numpy as np
import pytest
import torch
from conftest import ESTIMATORS
from torch import nn

from skae import AutoencoderTransformer, SparseAutoencoder, load, save
from skae._export.module_state import VALUES, check_module

VARIANTS = [
    (AutoencoderTransformer, {"tied_weights": True}),
    (AutoencoderTransformer, {"image_shape": (2, 5), "hidden_layer_sizes": (2,)}),
    (AutoencoderTransformer, {"image_shape": (2, 5), "tied_weights": True}),
    *((SparseAutoencoder, {"sparsity": name}) for name in ("batch_topk", "l1", "kl", "jumprelu")),
    *((cls, {}) for cls in ESTIMATORS),
]


@pytest.fixture(params=VARIANTS, ids=str, scope="module")
def modules_once(request, digits, small):
    """All networks of an estimator; tests use copies of them, `modules`."""
    cls, parameters = request.param
    if "image_shape" in parameters:
        parameters = {"hidden_layer_sizes": (2,)} | parameters
    estimator = small(cls, max_iter=1, **parameters)
    return [
        v
        for v in vars(estimator.fit(digits[:60, 10:20], np.arange(60) % 3)).values()
        if isinstance(v, nn.Module)
    ]


@pytest.fixture
def modules(modules_once):
    """All networks of an estimator."""
    return copy.deepcopy(modules_once)


def test_a_value_of_another_kind_is_refused(modules):
    for module in modules:
        check_module(module, {})
        for part in module.modules():
            for attribute in vars(part).keys() & VALUES.keys():
                before = getattr(part, attribute)
                for other in ("text", [[None]], {}, -1.0j, float("nan")):
                    setattr(part, attribute, other)
                    with pytest.raises(ValueError, match=f"another kind of '{attribute}'"):
                        check_module(module, {})
                setattr(part, attribute, before)
        check_module(module, {})


def test_a_value_that_the_layer_does_not_have_is_refused(modules):
    for module in modules:
        module.encode = "text"
        with pytest.raises(ValueError, match="another kind of 'encode'"):
            check_module(module, {})


def test_networks_of_two_precisions_are_refused(modules):
    for module in modules:
        next(module.parameters()).data = next(module.parameters()).data.to(torch.float16)
        with pytest.raises(ValueError, match="different precisions"):
            check_module(module, {})


def test_a_file_does_not_choose_how_long_a_pursuit_takes(digits, small, tmp_path):
    fitted = small(SparseAutoencoder, hidden_layer_sizes=(), max_iter=1).fit(digits)
    fitted.network_.network.n_pursuit_steps = 10**12
    with pytest.raises(TypeError, match="`transform_max_iter` is 1000000000000, more than 1000"):
        save(fitted, tmp_path / "model")
    fitted.network_.network.n_pursuit_steps = 3
    save(fitted, tmp_path / "model")
    assert load(tmp_path / "model").network_.network.n_pursuit_steps == 3
