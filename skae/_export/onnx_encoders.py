"""Converters of skl2onnx for encoders of categories, and for imputers of strings.

Those of skl2onnx have no infrequent categories that stand for unknown ones, no missing strings, and
no output in double precision.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

Converter = Callable[..., None]


def converters(numbers: type) -> tuple[dict[type, Converter], dict[type, Converter]]:
    """The converters and the shape calculators, by class; `numbers` is the type of tensors."""
    from skl2onnx.common._registration import get_shape_calculator

    functions: dict[type, Converter] = {
        OneHotEncoder: _convert_one_hot,
        OrdinalEncoder: _convert_ordinal,
        SimpleImputer: _convert_imputer,
    }

    def set_width(operator: Any) -> None:
        operator.outputs[0].type = numbers([None, _width(operator.raw_operator)])

    shapes: dict[type, Converter] = {
        OneHotEncoder: set_width,
        OrdinalEncoder: set_width,
        SimpleImputer: get_shape_calculator("SklearnSimpleImputer"),
    }
    return functions, shapes


def _width(encoder: OneHotEncoder | OrdinalEncoder) -> int:
    if isinstance(encoder, OneHotEncoder):
        return int(sum(encoder._n_features_outs))
    return encoder.n_features_in_


class _Nodes:
    """The nodes of one step: each has one output, whose name is returned."""

    def __init__(self, scope: Any, container: Any):
        self.scope, self.container = scope, container

    def constant(self, value: np.ndarray) -> str:
        """Add a constant of integers or of numbers."""
        from onnx.helper import np_dtype_to_tensor_dtype

        name = self.scope.get_unique_variable_name("constant")
        kind = np_dtype_to_tensor_dtype(value.dtype)
        self.container.add_initializer(name, kind, value.shape, value.ravel().tolist())
        return name

    def add(
        self, operation: str, *inputs: str, output: str | None = None, **attributes: Any
    ) -> str:
        """Add an operation."""
        output = output or self.scope.get_unique_variable_name(operation.lower())
        name = self.scope.get_unique_operator_name(operation)
        self.container.add_node(operation, list(inputs), [output], name=name, **attributes)
        return output

    def columns(self, operator: Any) -> list[tuple[str, bool]]:
        """The columns of the inputs of a step, each with whether it is of strings."""
        from skl2onnx.common.data_types import StringTensorType

        found = []
        for value in operator.inputs:
            is_text, width = isinstance(value.type, StringTensorType), value.type.shape[1]
            for j in range(operator.raw_operator.n_features_in_ if width is None else width):
                column = self.constant(np.array([j]))
                found.append((self.add("Gather", value.full_name, column, axis=1), is_text))
        return found

    def positions(self, column: str, is_text: bool, categories: np.ndarray) -> str:
        """Positions of the entries of a column in its categories; unknown ones are the next."""
        from onnx import TensorProto

        size, keys = len(categories), categories.tolist()
        if is_text:
            attributes: dict[str, Any] = {"keys_strings": list(map(str, keys))}
        else:
            attributes = {"keys_floats": np.array(keys, dtype=np.float32).tolist()}
            column = self.add("Cast", column, to=TensorProto.FLOAT)
        if any(len(set(entries)) < size for entries in attributes.values()):
            raise NotImplementedError("two categories are equal in single precision, or as strings")
        attributes |= {"values_int64s": list(range(size)), "default_int64": size}
        return self.add("LabelEncoder", column, op_domain="ai.onnx.ml", op_version=2, **attributes)

    def output_dtype(self, operator: Any) -> np.dtype:
        """The precision of the output of a step."""
        from skl2onnx.common.data_types import DoubleTensorType

        return np.dtype("f8" if isinstance(operator.outputs[0].type, DoubleTensorType) else "f4")


def _convert_one_hot(scope: Any, operator: Any, container: Any) -> None:
    from onnx.helper import np_dtype_to_tensor_dtype

    nodes, encoder, parts = _Nodes(scope, container), operator.raw_operator, []
    widths = encoder._n_features_outs
    for i, (column, is_text) in enumerate(nodes.columns(operator)):
        if not widths[i]:
            continue
        table = nodes.constant(_one_hot_positions(encoder, i))
        position = nodes.add(
            "Gather", table, nodes.positions(column, is_text, encoder.categories_[i])
        )
        one_hot = nodes.add(
            "OneHotEncoder", position, cats_int64s=list(range(widths[i])), zeros=1,
            op_domain="ai.onnx.ml", op_version=1,
        )  # fmt: skip
        parts.append(nodes.add("Reshape", one_hot, nodes.constant(np.array([-1, widths[i]]))))
    _concatenate(nodes, operator, parts, np_dtype_to_tensor_dtype(nodes.output_dtype(operator)))


def _one_hot_positions(encoder: OneHotEncoder, i: int) -> np.ndarray:
    """The position in the output of each category of a column, -1 for none; then of unknown ones.

    If these are an error, they have no entry, and the model raises one.
    """
    categories, mapping = encoder.categories_[i], None
    if encoder._infrequent_enabled:
        mapping = encoder._default_to_infrequent_mappings[i]
    positions = np.arange(len(categories)) if mapping is None else mapping
    unknown = [] if encoder.handle_unknown == "error" else [-1]
    if mapping is not None and encoder.handle_unknown in ("infrequent_if_exist", "warn"):
        unknown = [mapping.max()]
    positions = np.append(positions, np.array(unknown, dtype=int))
    dropped = None
    if encoder._drop_idx_after_grouping is not None:
        dropped = encoder._drop_idx_after_grouping[i]
    if dropped is not None:
        positions = np.where(positions == dropped, -1, positions - (positions > dropped))
    return positions


def _convert_ordinal(scope: Any, operator: Any, container: Any) -> None:
    from onnx.helper import np_dtype_to_tensor_dtype

    nodes, encoder, parts = _Nodes(scope, container), operator.raw_operator, []
    dtype = nodes.output_dtype(operator)
    for i, (column, is_text) in enumerate(nodes.columns(operator)):
        table = nodes.constant(_codes(encoder, i).astype(dtype))
        position = nodes.positions(column, is_text, encoder.categories_[i])
        parts.append(nodes.add("Gather", table, position))
    _concatenate(nodes, operator, parts, np_dtype_to_tensor_dtype(dtype))


def _codes(encoder: OrdinalEncoder, i: int) -> np.ndarray:
    """The code of each category of a column; then of unknown ones, if they are no error."""
    codes = np.arange(len(encoder.categories_[i]), dtype=float)
    if encoder._infrequent_enabled:
        mapping = encoder._default_to_infrequent_mappings[i]
        if mapping is not None:
            codes[: len(mapping)] = mapping
    if i in encoder._missing_indices:
        codes[encoder._missing_indices[i]] = encoder.encoded_missing_value
    is_error = encoder.handle_unknown == "error"
    return codes if is_error else np.append(codes, encoder.unknown_value)


def _concatenate(nodes: _Nodes, operator: Any, parts: list[str], kind: int) -> None:
    joined = nodes.add("Concat", *parts, axis=1)
    nodes.container.add_node("Cast", [joined], [operator.outputs[0].full_name], to=kind)


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """As skl2onnx, also in double precision, and for strings with NaN or None.

    In ONNX these are the strings "nan" and "None", which onnxruntime makes of them.
    """
    from skl2onnx.common._registration import get_converter
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
    from skl2onnx.operator_converters.common import concatenate_variables

    imputer, kind = operator.raw_operator, operator.inputs[0].type
    if imputer.add_indicator or any(value != value for value in imputer.statistics_):
        raise NotImplementedError(
            "SimpleImputer with `add_indicator` or with columns without observed entries has no "
            "converter"
        )
    if isinstance(kind, DoubleTensorType):
        rows = concatenate_variables(scope, operator.inputs, container)
        _impute_numbers(_Nodes(scope, container), imputer, rows, operator.outputs[0].full_name)
        return
    if isinstance(kind, StringTensorType):
        operator.raw_operator = copy.copy(imputer)
        operator.raw_operator.missing_values = str(imputer.missing_values)
    get_converter("SklearnSimpleImputer")(scope, operator, container)
    operator.raw_operator = imputer


def _impute_numbers(nodes: _Nodes, imputer: SimpleImputer, rows: str, output: str) -> None:
    values, marker = imputer.statistics_.astype(float), imputer.missing_values
    if np.isnan(marker):
        is_missing = nodes.add("IsNaN", rows)
    else:
        is_missing = nodes.add("Equal", rows, nodes.constant(np.array([float(marker)])))
    nodes.container.add_node("Where", [is_missing, nodes.constant(values[None]), rows], [output])
