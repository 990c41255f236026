"""Small ONNX programs, made without torch's exporter, which takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn


def write(file: Path, layers: Sequence[nn.Module], shape: Sequence[int], batch: int | str = "batch") -> Path:
    """A program of Flatten, Linear and ReLU layers for inputs [batch, *shape]; a number: batches of that size alone."""
    nodes, weights, last = [], [], "inputs"
    for number, layer in enumerate(layers):
        output = f"output{number}"
        if isinstance(layer, nn.Linear):
            for name, tensor in (("weight", layer.weight), ("bias", layer.bias)):
                weights.append(numpy_helper.from_array(tensor.detach().numpy(), f"{name}{number}"))
            nodes.append(helper.make_node("Gemm", [last, f"weight{number}", f"bias{number}"], [output], transB=1))
        else:
            nodes.append(helper.make_node({nn.Flatten: "Flatten", nn.ReLU: "Relu"}[type(layer)], [last], [output]))
        last = output
    given = helper.make_tensor_value_info("inputs", TensorProto.FLOAT, [batch, *shape])
    answered = helper.make_tensor_value_info(last, TensorProto.FLOAT, [batch, None])
    graph = helper.make_graph(nodes, "net", [given], [answered], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    return file
