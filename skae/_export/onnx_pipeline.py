"""Pipelines as ONNX models, by skl2onnx."""

import re
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._data.messages import described
from .custom_objects import autoencoder_classes
from .methods import program
from .onnx_columns import column_inputs, name_inputs, without_names
from .onnx_encoders import converters
from .onnx_nodes import ML_OPSET, OPSET, optional, outputs_of, typed_nodes


def register() -> None:
    """Register the autoencoders with skl2onnx."""
    skl2onnx = optional("skl2onnx")
    for cls in autoencoder_classes():
        skl2onnx.update_registered_converter(
            cls, f"Skae{cls.__name__}", _output_shapes, _convert, overwrite=True
        )


def pipeline_to_onnx(pipeline: Any, dtype: np.dtype) -> Any:
    """Translate a fitted pipeline; with one input for each column if it selects them by names."""
    skl2onnx = optional("skl2onnx")
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    if not isinstance(pipeline, BaseEstimator):
        raise TypeError(f"`estimator` must be a fitted estimator, got {described(pipeline)}.")
    check_is_fitted(pipeline)
    if not hasattr(pipeline, "n_features_in_"):
        raise TypeError(f"`estimator` must be fitted to rows of numbers to be exported; {DIRECTLY}")
    register()
    numbers = FloatTensorType if dtype == np.float32 else DoubleTensorType
    columns, pipeline = column_inputs(pipeline), without_names(pipeline)
    if columns is None:
        inputs = [("X", numbers([None, pipeline.n_features_in_]))]
    else:
        inputs = [
            (f"column_{i}", StringTensorType([None, 1]) if is_text else numbers([None, 1]))
            for i, is_text in enumerate(columns.values())
        ]
    # Probabilities as one array, not as one dictionary per row.
    options = {id(pipeline): {"zipmap": False}} if hasattr(pipeline, "predict_proba") else None
    functions, shapes = converters(numbers)
    try:
        model = skl2onnx.convert_sklearn(
            pipeline,
            name=type(pipeline).__name__,
            initial_types=inputs,
            options=options,
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
            custom_conversion_functions=functions,
            custom_shape_calculators=shapes,
        )
    except Exception as error:
        raise TypeError(_explanation(error)) from error
    for imported in model.opset_import:
        if imported.domain == "":
            imported.version = OPSET  # skl2onnx may write an older one
    if columns is not None:
        name_inputs(model.graph, {f"column_{i}": name for i, name in enumerate(columns)})
    return model


DIRECTLY = (
    "call skae.register_onnx_converters(), then skl2onnx.to_onnx(estimator, X[:1]) with rows as in "
    "`fit`: the model has one input for each column of a data frame."
)
# What to export instead of an estimator without a converter.
INSTEAD = {
    "AutoencoderClassifier": "export its `encoder_`, and apply `coef_` and `intercept_` to codes",
    "AutoencoderImputer": "write it with skae.save",
    "AutoencoderOutlierDetector": (
        "export its `estimator_` with method='score_samples' if that is an autoencoder, or write "
        "it with skae.save"
    ),
    "DenoisingEnsemble": "write it with skae.save",
    "ReconstructionTransformer": "export its `estimator_` with method='reconstruct'",
    "SlidingWindows": "export the step after it, which takes windows",
    "TimeSeriesOutlierDetector": "export its `estimator_`, which takes windows",
}


def _explanation(error: Exception) -> str:
    """The explanation of an error of skl2onnx for a user of `to_onnx`."""
    text = str(error)
    if "Unable to find column name" in text:
        return f"`estimator` selects columns by names, which an array does not have; {DIRECTLY}"
    if without := re.search(r"for type '<class '([\w.<>]+)'>'", text):
        name = without.group(1).rpartition(".")[2]
        remedy = INSTEAD.get(name, "register one with skl2onnx.update_registered_converter")
        return f"`estimator` cannot be exported to ONNX: {name} has no converter; {remedy}."
    return f"`estimator` cannot be exported to ONNX; skl2onnx says: {text}"


def _output_shapes(operator: Any) -> None:
    """Shape calculator of skl2onnx: set the type and the shape of the output of a step."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    double = isinstance(operator.inputs[0].type, DoubleTensorType)
    shape = [None, operator.raw_operator.n_components_]
    operator.outputs[0].type = (DoubleTensorType if double else FloatTensorType)(shape)


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Converter of skl2onnx: add the nodes and constants of a step to the container."""
    from skl2onnx.common.data_types import DoubleTensorType

    onnx = optional("onnx")
    double = isinstance(operator.outputs[0].type, DoubleTensorType)
    kind = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
    made = program(operator.raw_operator, "transform")
    names = {
        name: scope.get_unique_variable_name(name)
        for name in ("X", *made.graph.constants, *(node.output for node in made.graph.nodes))
    } | {made.output: operator.outputs[0].full_name}
    for name, constant in made.graph.constants.items():
        integers = constant.dtype == np.int64
        constant_kind = onnx.TensorProto.INT64 if integers else kind
        container.add_initializer(
            names[name], constant_kind, constant.shape, constant.ravel().tolist()
        )
    # The input may be of integers.
    container.add_node("Cast", [operator.inputs[0].full_name], [names["X"]], to=kind)
    for node in typed_nodes(made, names.get, kind):
        container.add_node(node.operation, list(node.inputs), outputs_of(node), **node.attributes)
