"""Fitted autoencoders for machines without torch: as ONNX models or as NumPy packages."""

import inspect
import io
import json
import keyword
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from sklearn.base import BaseEstimator

from .._autoencoders.base import BaseAutoencoder
from .._data.messages import described
from .._data.user_warnings import warn_user
from .._data.validation import NONE, StrOptions, check_value
from .._graph import numpy_runtime
from .._nn.old_names import REMOVED_IN
from .methods import METHODS, Program, program
from .onnx_nodes import IR_VERSION, OPSET, cast, optional, outputs_of, typed_nodes
from .onnx_pipeline import pipeline_to_onnx, register
from .replacement import as_path, replace_files


def to_onnx(
    estimator: BaseEstimator, method: str | None = None, *, dtype: DTypeLike = np.float32
) -> Any:
    """Translate a fitted autoencoder, or a pipeline with one, to ONNX.

    Parameters
    ----------
    estimator : estimator
        A fitted autoencoder, or a fitted pipeline of autoencoders and of other estimators that
        skl2onnx can convert.
    method : {"transform", "inverse_transform", "reconstruct", "score_samples"}, default=None
        The method of the autoencoder that the model computes. None means "transform". For a
        pipeline it must be None.
    dtype : {np.float32, np.float64}, default=np.float32
        Precision of the input and the output. onnxruntime computes GELU and convolutions in single
        precision in either case.

    Returns
    -------
    model : onnx.ModelProto
        A model with one input, "X", which may have any number of rows. If a pipeline was fitted to
        a data frame and begins with a `ColumnTransformer`, the model has one input for each column
        that is used, with the name of the column: a tensor of strings if the column has categories
        that are strings, and of numbers otherwise. Pass ``model.SerializeToString()`` to
        onnxruntime.

    Raises
    ------
    ImportError
        If onnx or skl2onnx is not installed.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If a layer of the network, the search of a `SparseAutoencoder` or a step of the pipeline
        cannot be converted to ONNX, or if a step after the first selects columns by their names.
    ValueError
        If `method` or `dtype` is not as documented.

    See Also
    --------
    register_onnx_converters : For calling skl2onnx directly.
    export_numpy : Writes a package that needs no onnxruntime.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skae
    >>> X, _ = load_iris(return_X_y=True)
    >>> reducer = skae.AutoencoderTransformer(max_iter=20, random_state=0).fit(X)
    >>> model = skae.to_onnx(reducer)
    >>> [output.name for output in model.graph.output]
    ['transform']
    """
    onnx = optional("onnx")
    try:
        dtype = np.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"`dtype` must be float32 or float64, got {described(dtype)}.") from error
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"`dtype` must be float32 or float64, got {dtype}.")
    if not isinstance(estimator, BaseAutoencoder):
        if method is not None:
            raise ValueError(
                f"`method` must be None except for an autoencoder, got {described(method)}."
            )
        return pipeline_to_onnx(estimator, dtype)
    check_value("method", method, (StrOptions(METHODS), NONE))
    name = method or "transform"
    made, kind = program(estimator, name), onnx.helper.np_dtype_to_tensor_dtype(dtype)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node(node.operation, node.inputs, outputs_of(node), **node.attributes)
            for node in typed_nodes(made, {"X": "X", made.output: name}.get, kind)
        ],
        type(estimator).__name__,
        [value("X", kind, [None, made.n_columns])],
        [value(name, kind, [None, *made.n_outputs])],
        [
            onnx.numpy_helper.from_array(cast(constant, dtype), constant_name)
            for constant_name, constant in made.graph.constants.items()
        ],
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(
        graph, producer_name="skae", opset_imports=opset, ir_version=IR_VERSION
    )
    onnx.checker.check_model(model)
    return model


def register_onnx_converters() -> None:
    """Register the autoencoders with skl2onnx, for use in its pipelines.

    Call this function before ``skl2onnx.to_onnx(pipeline)``. If you define a subclass of an
    autoencoder, call it again. :func:`skae.to_onnx` calls it automatically.

    Raises
    ------
    ImportError
        If onnx or skl2onnx is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import skae
    >>> import skl2onnx
    >>> X, _ = load_iris(return_X_y=True)
    >>> reducer = skae.AutoencoderTransformer(max_iter=20, random_state=0)
    >>> pipeline = make_pipeline(StandardScaler(), reducer).fit(X)
    >>> skae.register_onnx_converters()
    >>> model = skl2onnx.to_onnx(pipeline, X[:1].astype("float32"))
    >>> [output.name for output in model.graph.output]
    ['variable']
    """
    register()


def export_numpy(estimator: BaseAutoencoder, folder: str | os.PathLike[str]) -> None:
    """Write a fitted dense autoencoder as a Python package that needs only NumPy.

    The folder contains two files, ``model.npz`` with the arrays and ``__init__.py``, a program of
    about a hundred lines. Import the folder as a package; its function ``load()`` returns an
    object with `transform`, `inverse_transform`, `reconstruct` and `score_samples`.

    Parameters
    ----------
    estimator : estimator
        A fitted autoencoder without `image_shape`.
    folder : str or path-like
        The folder. It is created if it does not exist. Existing files of an earlier export are
        replaced.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If the network has a layer that is not dense, or for a `SparseAutoencoder` whose
        `transform_max_iter` is above 0.

    See Also
    --------
    to_onnx : A model for onnxruntime, which is faster and has convolutions.

    Examples
    --------
    >>> import sys, tempfile
    >>> from sklearn.datasets import load_iris
    >>> import skae
    >>> X, _ = load_iris(return_X_y=True)
    >>> reducer = skae.AutoencoderTransformer(max_iter=20, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skae.export_numpy(reducer, f"{folder}/iris_codes")
    ...     sys.path.insert(0, folder)
    ...     import iris_codes
    ...     model = iris_codes.load()
    ...     _ = sys.path.pop(0)
    >>> model.transform(X).shape
    (150, 2)
    """
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(f"`estimator` must be an autoencoder of skae, got {described(estimator)}.")
    arrays: dict[str, Any] = {}
    programs = {}
    for method in METHODS:
        made = program(estimator, method)
        _check_operations(made)
        # The methods share constants.
        known = {_key(array): name for name, array in arrays.items()}
        names = {"X": "X"}
        for name, array in made.graph.constants.items():
            names[name] = known.setdefault(_key(array), f"{method}_{name}")
            arrays[names[name]] = array
        nodes = [
            node._replace(inputs=tuple(names.get(i, i) for i in node.inputs))
            for node in made.graph.nodes
        ]
        programs[method] = {"n_columns": made.n_columns, "nodes": nodes, "output": made.output}
    model = io.BytesIO()
    np.savez(model, programs=np.array(json.dumps(programs)), **arrays)
    source = inspect.getsource(numpy_runtime).encode()
    place = as_path("folder", folder)
    _check_is_importable(place.resolve().name)
    _write_folder(place, {"model.npz": model.getvalue(), "__init__.py": source})


def to_numpy(estimator: BaseAutoencoder, folder: str | os.PathLike[str]) -> None:
    """Deprecated name of :func:`export_numpy`; it will be removed in version 0.4."""
    warn_user(
        "`to_numpy` was renamed to `export_numpy`; the old name will be removed in version "
        f"{REMOVED_IN}.",
        FutureWarning,
    )
    export_numpy(estimator, folder)


# Where users import them.
export_numpy.__module__ = to_numpy.__module__ = "skae"
register_onnx_converters.__module__ = to_onnx.__module__ = "skae"


def _key(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype.str, array.shape, array.tobytes()


def _check_is_importable(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        warn_user(
            f"`folder` must have a name that Python can import, such as 'iris_codes', got {name!r}."
            f" This will be an error in version {REMOVED_IN}.",
            FutureWarning,
        )


def _write_folder(folder: Path, contents: dict[str, bytes]) -> None:
    """Write the files of a folder, or none of them; then new folders are removed."""
    above = [folder, *folder.parents]
    new = [place for place in above if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        replace_files({folder / name: raw for name, raw in contents.items()})
    except BaseException:
        for place in new:
            place.rmdir()
        raise


def _check_operations(made: Program) -> None:
    for node in made.graph.nodes:
        if node.operation not in numpy_runtime.OPERATIONS:
            raise TypeError(
                "`estimator` must have dense layers only to be exported to NumPy, got the "
                f"operation {node.operation}; use to_onnx."
            )
