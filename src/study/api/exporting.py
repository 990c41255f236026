"""`study.export`: a model for programs without this package."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from study.api.arguments import check_network
from study.api.loading import folder_of, load
from study.data.example import example_inputs
from study.errors import UsageError
from study.storage.models import INPUTS

log = logging.getLogger(__name__)


def export(
    model: nn.Module | str | Path, file: str | Path, example: Tensor | None = None, trust: Collection[str] = ()
) -> Path:
    """Write a model as ONNX (`NAME.onnx`) or as a program of `torch.export` (`NAME.pt2`), for batches of any size.

    Args:
        model: a network; or a job's folder or MLflow run, as in `study.load`.
        file: its ending says the format.
        example: inputs [B, ...] to trace a network with; a folder knows its own.
        trust: as in `study.load`.

    Returns:
        The file.

    Raises:
        UsageError: The format is another one, a package is missing, or the model does not take the example or cannot be
            traced.
    """
    target = Path(file)
    if target.suffix not in (".onnx", ".pt2"):
        raise UsageError(f"{file}: the name of the file ends with .onnx or .pt2")
    if target.suffix == ".onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise UsageError(f"{file}: ONNX takes two packages more: pip install 'repair-study[onnx]'")
    if isinstance(model, (str, Path)):
        example = _example_of(model) if example is None else example
        network = load(model, trust)
    else:
        check_network(model)
        network = copy.deepcopy(model)  # the given one keeps its mode and its device
    if not isinstance(example, Tensor):
        raise UsageError("export: give a batch of inputs to trace the network with: export(model, file, inputs)")
    network, example = network.eval().cpu(), example.cpu()
    _check_takes(network, example)
    program = _traced(network, example)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".pt2":
        torch.export.save(program, target)
    else:
        _write_onnx(program, target)
    return target


def _example_of(source: str | Path) -> Tensor:
    """Two inputs of the kind that a stored model takes."""
    told = json.loads((folder_of(source) / INPUTS).read_text())
    return example_inputs(told["kind"], told["shape"], tuple(told["bounds"]), 2)


def _check_takes(model: nn.Module, example: Tensor) -> None:
    """Raise UsageError where the model does not take the example: before torch, which tells it in many lines."""
    try:
        with torch.no_grad():
            model(example)
    except Exception as error:  # a user's network may raise anything
        first = next(iter(str(error).splitlines()), type(error).__name__)
        shape = "x".join(map(str, example.shape))
        raise UsageError(f"export: {type(model).__name__} cannot take inputs of shape {shape}: {first}") from error


def _traced(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """The model as a program for batches of any size, or, where it does not take that, of the example's."""
    batch = torch.cat([example, example])[:2]  # a batch of one would be taken for a constant
    try:
        return torch.export.export(model, (batch,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as reason:  # torch.export raises a dozen kinds
        log.debug("no program for batches of any size: %s", reason)
    try:
        program = torch.export.export(model, (example,))
    except Exception as reason:
        first = next(iter(str(reason).splitlines()), type(reason).__name__)
        raise UsageError(f"export: torch.export cannot trace {type(model).__name__}: {first}") from reason
    log.warning("the exported program takes batches of %d inputs alone", len(example))
    return program


def _write_onnx(program: torch.export.ExportedProgram, target: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = torch.onnx.export(program, dynamo=True, external_data=False, verbose=False)
    assert written is not None
    written.save(str(target), external_data=False)
