"""A copy of a network is the one of `copy.deepcopy`."""

import copy

import pytest
import torch
from conftest import AUTOENCODERS
from torch import nn

from skae._nn.copying import copy_module


def storages(tensors):
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()}


@pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)
def test_a_copy_equals_a_deep_copy_and_shares_no_memory(cls, digits, small):
    network = small(cls, max_iter=1).fit(digits).network_
    state, before = network.state_dict(), {k: v.clone() for k, v in network.state_dict().items()}
    copied, expected = copy_module(network), copy.deepcopy(network)
    assert type(copied) is type(network)
    assert str(copied) == str(expected)
    for part, other in zip(copied.modules(), expected.modules(), strict=True):
        assert vars(part).keys() == vars(other).keys()
        assert vars(part)["_buffers"].keys() == vars(other)["_buffers"].keys()
    copied_state, expected_state = copied.state_dict(), expected.state_dict()
    assert copied_state.keys() == expected_state.keys()
    for name, tensor in copied_state.items():
        assert tensor.dtype == expected_state[name].dtype
        assert tensor.stride() == expected_state[name].stride()
        assert torch.equal(tensor, expected_state[name])
    assert not storages(copied_state.values()) & storages(state.values())
    copied.register_forward_hook(lambda *_: None)
    for tensor in copied_state.values():
        tensor.zero_()
    assert not network._forward_hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_layers_and_tensors_that_are_shared_are_shared_by_the_copy():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = self.again = nn.Linear(3, 3)
            self.register_buffer("one", torch.arange(6.0))
            self.register_buffer("part", self.one[:2])

    copied = copy_module(Shared())
    assert copied.layer is copied.again
    copied.one.zero_()
    assert torch.equal(copied.part, torch.zeros(2))


def test_replaced_parts_are_those_of_the_caller():
    network, part = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)), nn.Linear(2, 3)
    copied = copy_module(network, {id(network[0]): part})
    assert copied[0] is part
    assert copied[1] is not network[1]
