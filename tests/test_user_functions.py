"""Functions of the user: a call that does not fit names the parameter, other errors are kept."""

from functools import partial

import numpy as np
import pytest
import torch

from skae import AutoencoderTransformer, DenoisingAutoencoder
from skae._data.user_functions import call_user_function


class OfNothing:
    """Takes no arguments."""


DO_NOT_FIT = [
    int,
    np.sin,
    torch.relu,
    OfNothing,
    torch.nn.ReLU,
    torch.nn.ReLU(),
    lambda: None,
    lambda first: None,
    lambda first, second, third: None,
    lambda first, second, *, third: None,
    partial(max, key=None, unknown=1),
]


@pytest.mark.parametrize("function", DO_NOT_FIT, ids=range(len(DO_NOT_FIT)))
@pytest.mark.parametrize(
    ("cls", "name"), [(AutoencoderTransformer, "network"), (DenoisingAutoencoder, "corruption")]
)
def test_a_function_of_other_arguments_is_refused_by_name(cls, name, function, digits, small):
    with pytest.raises(TypeError, match=rf"^`{name}` must be a function: {name}\("):
        small(cls, **{name: function}).fit(digits[:50])


@pytest.mark.parametrize("error", [TypeError("inside"), ValueError("inside"), KeyError("inside")])
def test_an_error_within_a_function_is_its_own(error):
    def inner():
        raise error

    class Layer(torch.nn.Module):
        def forward(self, first, second):
            inner()

    for function in (lambda first, second: inner(), Layer()):
        with pytest.raises(type(error), match="inside") as raised:
            call_user_function("network", "rule", function, 1, 2)
        assert raised.value is error


def test_a_function_that_fits_is_called_once_with_the_arguments():
    calls = []
    assert call_user_function("network", "rule", lambda *args: calls.append(args) or 7, 1, 2) == 7
    assert calls == [(1, 2)]
