"""Random changes of files of `skae.save`, each with a correct digest, as an attacker makes them."""

import copy

import numpy as np
from tampering import rewrite

ATOMS = (None, True, -1, 0, 1, 2, 3, 700, 10**12, 2**63, 0.5, -1e300, "", "abc", "mean_", [], {})
SPECIAL = ({"kind": "float", "value": "nan"}, {"kind": "tuple", "value": []})


def places(value, path=()):
    """The paths of all values in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from places(value[key], (*path, key))


def at(value, path):
    """The value at a path."""
    for key in path:
        value = value[key]
    return value


def change_header(header, rng):
    """Replace, remove or repeat one value of the content."""
    content = header["content"]
    found = [path for path in places(content) if path]
    path = found[rng.randint(len(found))]
    parent, key = at(content, path[:-1]), path[-1]
    kind = rng.randint(4)
    if kind == 0:
        del parent[key]
    elif kind == 1:
        other = at(content, found[rng.randint(len(found))])
        parent[key] = copy.deepcopy(other)
    elif kind == 2 and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    else:
        parent[key] = copy.deepcopy([*ATOMS, *SPECIAL][rng.randint(len(ATOMS) + len(SPECIAL))])


def change_array(arrays, rng):
    """Change the shape, the dtype or the values of one array."""
    name = sorted(arrays)[rng.randint(len(arrays))]
    array = arrays[name]
    changes = [
        lambda a: a[:-1] if a.ndim else a[None],
        lambda a: a[..., :-1] if a.ndim else a[None, None],
        lambda a: a[..., None],
        lambda a: a[None],
        lambda a: a.T,
        lambda a: np.concatenate([a, a]) if a.ndim else a,
        lambda a: a.ravel(),
        lambda a: a[:0] if a.ndim else a,
        lambda a: a.astype(np.float32),
        lambda a: a.astype(np.int64),
        lambda a: a.astype(np.uint8),
        lambda a: a.astype(bool),
        lambda a: np.full_like(a, np.nan) if a.dtype.kind == "f" else a - a,
        lambda a: np.zeros_like(a),
        lambda a: -a if a.dtype.kind != "b" else ~a,
        lambda a: np.full_like(a, 120),
    ]
    with np.errstate(all="ignore"):
        changed = changes[rng.randint(len(changes))](array)
    return arrays | {name: np.ascontiguousarray(changed)}


def mutate(path, rng):
    """Change a file once or twice, at random."""

    def change(header, arrays):
        for _ in range(rng.randint(1, 3)):
            if rng.randint(3) and arrays:
                arrays = change_array(arrays, rng)
            else:
                change_header(header, rng)
        return arrays

    rewrite(path, change)
