"""Exported models in onnxruntime."""

import pytest


def session(model):
    """A session of one thread: those that wait for work take as much time as the one that works."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(model.SerializeToString(), options)
