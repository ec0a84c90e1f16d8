"""Files of `skae.save` that are changed and have a correct digest, as an attacker can make them."""

import json

from safetensors import safe_open

from skae._export import safetensors


def rewrite(path, change):
    """Apply a function of the header and the arrays; it changes them, or returns new arrays."""
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["skae"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    arrays = change(header, arrays) or arrays
    path.write_bytes(safetensors._to_bytes(json.dumps(header), arrays))


def state(header):
    """The state of the estimator: a list of its attributes, as pairs of a name and a value."""
    return header["content"]["value"]


def attribute(header, name):
    """The value of an attribute in the state."""
    return dict(state(header))[name]
