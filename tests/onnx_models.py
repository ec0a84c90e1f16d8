"""Exported models in onnxruntime."""

import functools

import pytest


def session(model):
    """A session of one thread: those that wait for work take as much time as the one that works."""
    return session_of_bytes(model.SerializeToString())


@functools.lru_cache(maxsize=4)
def session_of_bytes(serialized):
    """The session of a model, which takes longer to make than to run."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(serialized, options)
