"""A network in ONNX, run by onnxruntime: it answers, and cannot be trained, attacked or taken apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from study.errors import UsageError

KINDS = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
}
"""Types of an input that a data set's inputs can be turned into, as onnxruntime names them."""


class OnnxProgram(nn.Module):
    """Maps inputs [B, ...] to logits [B, classes], without a gradient; runs on the CPU, wherever the inputs lie.

    A program for batches of one size runs over parts of that size, the last filled up.

    Args:
        file: a .onnx file that holds its weights.
        where: setting and file, for a refusal.

    Raises:
        UsageError: A package is missing, or the file is no program of one input and one output.
    """

    no_gradient = "an ONNX program answers without a gradient, along which an attack moves an input"

    def __init__(self, file: Path, where: str) -> None:
        super().__init__()
        self.session = _session(file, where)
        given, answered = self.session.get_inputs(), self.session.get_outputs()
        if len(given) != 1 or len(answered) != 1:
            raise UsageError(
                f"{where}: the program has {len(given)} inputs and {len(answered)} outputs; it takes one of each"
            )
        if given[0].type not in KINDS:
            raise UsageError(f"{where}: the program takes a {given[0].type}; {', '.join(KINDS)} can be given")
        self.name, self.kind = given[0].name, KINDS[given[0].type]
        size = given[0].shape[0] if given[0].shape else None
        self.size = size if isinstance(size, int) else None

    def forward(self, inputs: Tensor) -> Tensor:
        parts = [inputs] if self.size is None else inputs.split(self.size)
        return torch.cat([self._answers(part) for part in parts])

    def _answers(self, inputs: Tensor) -> Tensor:
        count = len(inputs)
        if self.size is not None and count < self.size:
            inputs = torch.cat([inputs, inputs[-1:].expand(self.size - count, *inputs.shape[1:])])
        given = inputs.detach().cpu().to(self.kind).contiguous().numpy()
        (answers,) = self.session.run(None, {self.name: given})
        return torch.from_numpy(answers)[:count].float().to(inputs.device)


def _session(file: Path, where: str) -> Any:
    """The program, ready to run; no file but the one that is named is opened."""
    try:
        import onnx
        import onnxruntime
    except ImportError as missing:
        raise UsageError(f"{where}: ONNX takes packages more: pip install 'repair-study[onnx]'") from missing
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; what a warning says is not the user's to mend
    content = file.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
        elsewhere = [tensor.name for tensor in model.graph.initializer if tensor.data_location == tensor.EXTERNAL]
        if elsewhere:
            raise UsageError(
                f"{where}: {elsewhere[0]} lies in another file; write one file: torch.onnx.export(external_data=False)"
            )
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except UsageError:
        raise
    except Exception as problem:  # protobuf and onnxruntime raise errors of many kinds
        reason = " ".join(str(problem).split())[:200]
        raise UsageError(f"{where}: cannot be read as an ONNX program ({reason})") from problem
