"""A network in ONNX, run as a module."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from study.errors import NotApplicable, UsageError
from study.metrics.base import check_gradient
from study.models.classifier import Classifier
from study.models.onnx_program import OnnxProgram
from study.runtime.randomness import stream
from tests import onnx_programs

INPUTS = torch.rand(7, 1, 4, 4, generator=stream(0, "inputs"))


def net() -> nn.Sequential:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        for tensor in layers.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=stream(0, "net", str(tuple(tensor.shape)))))
    return layers


@pytest.mark.parametrize("batch", ["batch", 1, 3, 20])
def test_it_answers_as_the_network_whatever_the_size_of_its_batches(tmp_path: Path, batch: int | str) -> None:
    file = onnx_programs.write(tmp_path / "net.onnx", list(net()), (1, 4, 4), batch)
    answers = OnnxProgram(file, "after=net.onnx")(INPUTS)
    assert answers.shape == (7, 3) and answers.dtype == torch.float32
    assert answers.allclose(net()(INPUTS), atol=1e-6)
    assert OnnxProgram(file, "after=net.onnx")(INPUTS.double()).allclose(answers)


def test_no_attack_can_follow_it_nor_what_it_is_a_part_of(tmp_path: Path) -> None:
    file = onnx_programs.write(tmp_path / "net.onnx", list(net()), (1, 4, 4))
    program = Classifier(OnnxProgram(file, "after=net.onnx"), [0.5], [0.2])
    with pytest.raises(NotApplicable, match="without a gradient"):
        check_gradient(net(), program)
    check_gradient(net())
    assert program(INPUTS).allclose(net()((INPUTS - 0.5) / 0.2), atol=1e-5)


def test_a_program_whose_weights_lie_elsewhere_is_refused(tmp_path: Path) -> None:
    file = onnx_programs.write(tmp_path / "net.onnx", list(net()), (1, 4, 4))
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(UsageError, match=r"after=net.onnx: weight1 lies in another file; write one file"):
        OnnxProgram(file, "after=net.onnx")


def test_a_program_of_two_outputs_or_of_texts_is_refused(tmp_path: Path) -> None:
    file = onnx_programs.write(tmp_path / "net.onnx", list(net()), (1, 4, 4))
    model = onnx.load(file)
    model.graph.output.append(onnx.helper.make_tensor_value_info("output1", onnx.TensorProto.FLOAT, ["batch", 5]))
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(UsageError, match="has 1 inputs and 2 outputs; it takes one of each"):
        OnnxProgram(tmp_path / "two.onnx", "after=two.onnx")
    text = onnx.helper.make_tensor_value_info("text", onnx.TensorProto.STRING, [None])
    same = onnx.helper.make_tensor_value_info("same", onnx.TensorProto.STRING, [None])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["text"], ["same"])], "text", [text], [same])
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=model.opset_import), tmp_path / "text.onnx")
    with pytest.raises(UsageError, match=r"takes a tensor\(string\)"):
        OnnxProgram(tmp_path / "text.onnx", "after=text.onnx")


def test_without_the_packages_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = onnx_programs.write(tmp_path / "net.onnx", list(net()), (1, 4, 4))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"after=net.onnx: .*pip install 'repair-study\[onnx\]'"):
        OnnxProgram(file, "after=net.onnx")
