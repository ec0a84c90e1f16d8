"""The columns of a frame as the inputs of an ONNX model: texts and numbers."""

import copy
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from .column_state import active


def column_inputs(estimator: Any) -> dict[str, bool] | None:
    """The names of the columns, each with whether it is text; None if the input is an array.

    A model has one input for each column if its first step selects columns of a frame, by names or
    of different types.
    """
    first = _first_step(estimator)
    names = getattr(first, "feature_names_in_", None)
    if not isinstance(first, ColumnTransformer) or names is None:
        return None
    are_texts = _are_texts(first, len(names))
    if not any(are_texts) and not any(map(_is_name, first._columns)):
        return None
    return dict(zip(names.tolist(), are_texts, strict=True))


def without_names(estimator: Any) -> Any:
    """A shallow copy in which the first step, and those in it, select columns by numbers.

    A mask, and numbers from the end, are others to skl2onnx.
    """
    copied = copy.copy(estimator)
    if isinstance(estimator, Pipeline):
        copied.steps = [(name, without_names(step)) for name, step in estimator.steps[:1]]
        copied.steps += estimator.steps[1:]
    if isinstance(estimator, ColumnTransformer):
        copied.transformers_ = [
            (name, without_names(transformer), numbers)
            for name, transformer, numbers in active(estimator)
        ]
    return copied


def name_inputs(graph: Any, names: dict[str, str]) -> None:
    """Give the inputs of a model these names, and remove the inputs that no step takes.

    Results and constants that have one of the names get another one.
    """
    used = {name for node in graph.node for name in node.input}
    for value in list(graph.input):
        if value.name not in used:
            graph.input.remove(value)
    others = {name for node in graph.node for name in node.output}
    others |= {constant.name for constant in graph.initializer}
    taken = others | set(names.values())
    for name in sorted(others & set(names.values())):
        new = f"{name}_output"
        while new in taken:
            new += "_"
        taken.add(new)
        names = names | {name: new}
    _rename(graph, names)


def _rename(graph: Any, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _rename(inner, names)


def _first_step(estimator: Any) -> Any:
    return _first_step(estimator.steps[0][1]) if isinstance(estimator, Pipeline) else estimator


def _is_name(selected: Any) -> bool:
    if isinstance(selected, slice):
        return str in (type(selected.start), type(selected.stop))
    entries = selected if isinstance(selected, list | np.ndarray) else [selected]
    return any(isinstance(entry, str) for entry in entries)


def _are_texts(estimator: Any, n_columns: int) -> list[bool]:
    """Whether a fitted estimator takes strings, for each of its columns."""
    if isinstance(estimator, Pipeline):
        return _are_texts(estimator.steps[0][1], n_columns)
    if isinstance(estimator, OneHotEncoder | OrdinalEncoder):
        return [any(isinstance(c, str) for c in entries) for entries in estimator.categories_]
    if isinstance(estimator, SimpleImputer):
        return [isinstance(value, str) for value in estimator.statistics_]
    are_texts = [False] * n_columns
    if isinstance(estimator, ColumnTransformer):
        for _, transformer, numbers in active(estimator):
            for i, is_text in zip(numbers, _are_texts(transformer, len(numbers)), strict=True):
                are_texts[i] |= is_text
    return are_texts
