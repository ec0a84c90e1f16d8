"""A network from a file can take no more memory than its size explains."""

import numpy as np
import pytest
import torch
from tampering import attribute, rewrite
from torch import nn

from skae import AutoencoderTransformer, load, save
from skae._export import network_check
from skae._export.module_state import MAX_STEPS
from skae._export.network_check import MAX_ENTRIES, SizeLimit, _bound, _sizes

IMAGES = {"image_shape": (8, 8), "hidden_layer_sizes": (2,), "max_iter": 1}


@pytest.fixture
def path(tmp_path, digits, small):
    path = tmp_path / "model.skae"
    save(small(AutoencoderTransformer, **IMAGES).fit(digits), path)
    return path


def layers(header, cls):
    """The encoded arguments of all layers of a class."""

    def parts(table):
        described = dict(table["value"])
        yield described
        for _, part in described["modules"]["value"]:
            yield from parts(part)

    structure = dict(attribute(header, "network_")["value"])["structure"]
    return [part["values"]["value"] for part in parts(structure) if part["class"] == cls]


def set_argument(cls, name, value):
    def change(header, arrays):
        assert layers(header, cls)
        for values in layers(header, cls):
            values[:] = [entry for entry in values if entry[0] != name]
            values.append([name, {"kind": "tuple", "value": value}])

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_argument("Conv2d", "padding", [10**5, 10**5]),
        set_argument("ConvTranspose2d", "stride", [10**5, 10**5]),
        set_argument("ConvTranspose2d", "dilation", [10**5, 10**5]),
    ],
    ids=["padding", "stride", "dilation"],
)
def test_a_convolution_that_enlarges_an_image_is_refused(change, path):
    rewrite(path, change)
    with pytest.raises(ValueError, match="its network would need too much memory"):
        load(path)


def test_factors_that_multiply_to_a_large_array_are_refused(path):
    def change(header, arrays):
        (name,) = [n for n in arrays if n.endswith("inverse_input_scale")]
        arrays[name] = np.ones((2 * 10**5, 1))

    rewrite(path, change)
    with pytest.raises(ValueError, match="its network would need too much memory"):
        load(path)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(2, 3, 3, padding=1), (1, 2, 8, 8)),
        (nn.Conv2d(4, 4, (3, 5), groups=4, stride=2), (1, 4, 9, 9)),
        (nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1), (1, 2, 4, 4)),
        (nn.Linear(5, 7), (1, 5)),
        (nn.Flatten(), (1, 5, 7)),
    ],
    ids=str,
)
def test_sizes_are_those_of_the_results(layer, shape):
    class Recorder(SizeLimit):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            sizes = _sizes(func, args, kwargs or {})
            result = func(*args, **kwargs or {})
            if isinstance(result, torch.Tensor):
                assert sizes[0] == result.numel()
                self.limit = max(self.limit, *sizes)
            return result

    with torch.no_grad(), Recorder(0) as recorder:
        result = layer(torch.zeros(shape))
    unfolded = 1
    if "Conv" in str(layer):
        positions = max(result[0, 0].numel(), shape[2] * shape[3])
        unfolded = positions * max(result.shape[1], shape[1]) * layer.weight[0, 0].numel()
    assert recorder.limit == max(result.numel(), unfolded)


class BoundChecker(SizeLimit):
    """Asserts that no result has more entries than its bound."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        bound = _bound(func, args, kwargs or {})
        assert all(size <= bound for size in _sizes(func, args, kwargs or {})), func
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("shape", [None, (8, 8)])
def test_no_result_has_more_entries_than_its_bound(autoencoder, shape, digits, small, monkeypatch):
    fitted = small(autoencoder, max_iter=1, image_shape=shape).fit(digits[:60])
    monkeypatch.setattr(network_check, "SizeLimit", BoundChecker)
    network_check.check_network(fitted)


def test_products_and_sums_over_no_entries_are_limited_too():
    for function in (
        lambda: torch.zeros(3000, 0) @ torch.zeros(0, 3000),
        lambda: torch.zeros(2**24, 0).sum(1),
        lambda: torch.diag(torch.zeros(3000)),
        lambda: nn.functional.linear(torch.zeros(3000, 0), torch.zeros(3000, 0)),
        lambda: torch.cat([torch.zeros(2**22)] * 3),
        lambda: torch.zeros(2, 2**20)[torch.zeros(9, dtype=torch.long)],
    ):
        with SizeLimit(MAX_ENTRIES), pytest.raises(ValueError, match="too much memory"):
            function()


def test_a_network_that_is_large_for_its_images_is_loaded(tmp_path, small):
    """64 channels at the full size of colour images."""

    def network(n_features, n_components):
        encoder = nn.Sequential(
            nn.Unflatten(1, (3, 32, 32)),
            nn.Conv2d(3, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 64, 3, padding=1, stride=2),
            nn.Flatten(),
            nn.Linear(64 * 256, n_components),
        )
        return encoder, nn.Linear(n_components, n_features)

    X = np.random.RandomState(0).uniform(size=(10, 3 * 32 * 32))
    estimator = small(AutoencoderTransformer, 2, network=network, max_iter=1).fit(X)
    save(estimator, tmp_path / "model.skae", custom_objects=[network])
    again = load(tmp_path / "model.skae", custom_objects=[network])
    np.testing.assert_array_equal(again.transform(X), estimator.transform(X))


@pytest.mark.parametrize("attribute_name", ["n_components_", "n_features_in_"])
def test_shapes_have_to_agree_with_the_estimator(attribute_name, path):
    def change(header, arrays):
        entries = header["content"]["value"]
        entries[:] = [e if e[0] != attribute_name else [attribute_name, 5] for e in entries]

    rewrite(path, change)
    with pytest.raises(ValueError, match="must be a whole file"):
        load(path)


def test_the_limit_is_exact():
    with SizeLimit(MAX_ENTRIES), pytest.raises(ValueError, match="too much memory"):
        torch.zeros(1).expand(MAX_ENTRIES + 1).add(1)
    with SizeLimit(MAX_ENTRIES):
        torch.zeros(1).expand(MAX_ENTRIES)


def set_value(cls, name, value):
    def change(header, arrays):
        for values in layers(header, cls):
            values[:] = [[key, value if key == name else old] for key, old in values]

    return change


@pytest.fixture
def dense_path(tmp_path, digits, small):
    path = tmp_path / "dense.skae"
    save(small(AutoencoderTransformer, max_iter=1).fit(digits), path)
    return path


def test_a_file_does_not_choose_how_long_a_projection_takes(dense_path):
    rewrite(dense_path, set_value("Autoencoder", "n_projection_steps", MAX_STEPS))
    load(dense_path)
    for n_steps in (MAX_STEPS + 1, -1, 2.5, "2"):
        rewrite(dense_path, set_value("Autoencoder", "n_projection_steps", n_steps))
        too_many = n_steps == MAX_STEPS + 1
        message = "more than 1000" if too_many else "another kind of 'n_projection_steps'"
        with pytest.raises(ValueError, match=message):
            load(dense_path)


def test_anchors_of_another_shape_are_refused(dense_path):
    def change(header, arrays):
        (name,) = [name for name in arrays if name.endswith("anchors")]
        return arrays | {name: np.zeros((3, 2))}

    rewrite(dense_path, change)
    with pytest.raises(ValueError, match="must be a whole file"):
        load(dense_path)
