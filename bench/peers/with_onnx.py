"""ONNX Runtime: queries only, of a model made here."""

from __future__ import annotations

import numpy as np

from entrant import Entrant, Entry, missing, one_or_all
from workloads import Data, Workload


def _version() -> str:
    import onnxruntime

    return onnxruntime.__version__


def _model(work: Workload, data: Data) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    hidden = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[work.hidden]
    nodes, constants, name = [], [], "x"
    for l, (W, b) in enumerate(zip(data.W, data.b, strict=True)):
        constants += [numpy_helper.from_array(W, f"W{l}"), numpy_helper.from_array(b, f"b{l}")]
        nodes.append(helper.make_node("Gemm", [name, f"W{l}", f"b{l}"], [f"Z{l}"], transB=1))
        name = f"A{l}"
        activation = hidden if l < len(data.W) - 1 else "Sigmoid"
        nodes.append(helper.make_node(activation, [f"Z{l}"], [name]))
    kind = helper.np_dtype_to_tensor_dtype(data.X.dtype)
    assert kind in (TensorProto.FLOAT, TensorProto.DOUBLE)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", kind, [None, work.sizes[0]])],
        [helper.make_tensor_value_info(name, kind, [None, work.sizes[-1]])],
        constants,
    )
    # Versions that runtimes of some years can read.
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def _prepare(work: Workload, data: Data, threads: int) -> Entry | str:
    import onnxruntime

    if work.kind != "query":
        return "answers queries only"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        _model(work, data), options, providers=["CPUExecutionProvider"]
    )
    told = {"x": data.X}

    def query(n: int) -> list[np.ndarray]:
        for _ in range(n):
            A = session.run(None, told)
        return A

    return Entry(query, lambda A: A[0].ravel())


def _available() -> str | None:
    return missing("onnxruntime") or missing("onnx")


ENTRANTS = [Entrant("ONNX Runtime", _version, _available, _prepare, one_or_all())]
