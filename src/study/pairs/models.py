"""What a file, or a job's folder, holds: a model that maps inputs in their natural range to logits."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from study.api.loading import RUN, folder_of, load
from study.config.job import Job
from study.data.module import DataModule
from study.errors import UsageError
from study.models.classifier import Classifier
from study.models.onnx_program import OnnxProgram
from study.pairs.request import Side
from study.problem.faulty import checkpoint_fits
from study.storage.checksums import digest_of
from study.storage.files import key_of
from study.storage.models import MODEL_FILES

Form = Literal["weights", "folder", "torchscript", "onnx"]
TORCHSCRIPT = "torchscript"
"""In `trust`: programs in TorchScript may run, whose operations can also read and write files."""


@dataclass(frozen=True)
class Model:
    """A model that somebody brought.

    form: weights of the job's architecture; a folder that `study.load` reads; a program in TorchScript or ONNX. name:
    of the file or folder; digest: SHA-256 of its content; normalised: whether inputs are normalised as the data set
    says before its network, None for a folder, whose model says so itself; module: in eval mode, on the job's device.
    """

    form: Form
    name: str
    digest: str
    normalised: bool | None
    module: nn.Module

    @property
    def identity(self) -> list[object]:
        """What determines its answers."""
        return [self.form, self.digest, self.normalised]

    @property
    def stored(self) -> bool:
        """Whether it can be kept as safetensors and JSON."""
        return self.form in ("weights", "folder")


def read(side: Side, source: str, job: Job, *, normalised: bool) -> Model:
    """The model that `side=source` names.

    Args:
        job: its data is loaded; its `trust` lets programs in TorchScript run, and code that a stored model names.
        normalised: whether the network of a file takes inputs that are normalised as the data set says.

    Raises:
        UsageError: There is no such model, it may not be opened, or it does not fit the data set.
    """
    path, where = Path(source).expanduser(), f"{side}={source}"
    form = _form(path, source, where)
    if form == "folder":
        model = _stored(source, job.settings.trust, where)
    else:
        net = _net(form, path, side, job, where)
        scale = (job.data.mean, job.data.std) if normalised else (None, None)
        module = Classifier(net, *scale, len(job.data.input_shape))
        model = Model(form, path.name, digest_of(path), normalised, module)
    model.module.to(job.hardware.device).eval()
    _check_answers(model.module, job.task.example(2).to(job.hardware.device), job.data, where)
    return model


def _form(path: Path, source: str, where: str) -> Form:
    if path.is_dir() or (RUN.fullmatch(source) and not path.exists()):
        return "folder"
    if not path.is_file():
        raise UsageError(f"{where}: there is no such file or folder")
    if path.suffix == ".onnx":
        return "onnx"
    if path.suffix == ".pt2":
        raise UsageError(
            f"{where}: programs of torch.export are not read; study.export(model, 'FILE.onnx') writes ONNX"
        )
    return "torchscript" if _is_torchscript(path) else "weights"


def _is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code beside tensors, as torch.jit.save writes it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _stored(source: str, trust: Sequence[str], where: str) -> Model:
    try:
        folder, module = folder_of(source), load(source, trust)
    except UsageError as problem:
        raise UsageError(f"{where}: {str(problem).removeprefix(f'{source}: ')}") from problem
    inner = [part for part in Path(source).absolute().parts if part not in ("artifacts", "repaired")]
    digest = key_of([digest_of(folder / name) for name in MODEL_FILES])
    return Model("folder", inner[-1], digest, None, module)


def _net(form: Form, path: Path, side: Side, job: Job, where: str) -> nn.Module:
    if form == "onnx":
        return OnnxProgram(path, where)
    if form == "torchscript":
        return _script(path, job.settings.trust, where)
    net = job.make_model().get_submodule("net")
    net.load_state_dict(checkpoint_fits(net, path, side))
    return net


def _script(path: Path, trust: Sequence[str], where: str) -> nn.Module:
    if TORCHSCRIPT not in trust:
        raise UsageError(
            f"{where}: a TorchScript file is a program, which can read and write files; trust=[{TORCHSCRIPT}] lets it "
            "run; a state dict, safetensors and ONNX need no trust"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated
            module: nn.Module = torch.jit.load(str(path), map_location="cpu")
    except Exception as problem:  # torch raises errors of many kinds
        reason = " ".join(str(problem).split())[:200]
        raise UsageError(f"{where}: cannot be read as TorchScript ({reason})") from problem
    return module


def _check_answers(module: nn.Module, example: Tensor, data: DataModule, where: str) -> None:
    """Run two inputs through a model."""
    shape = "x".join(map(str, data.input_shape))
    try:
        with torch.no_grad():
            logits = module(example)
    except Exception as problem:  # a program may raise anything
        reason = " ".join(str(problem).split())[-200:].lstrip(": ")
        raise UsageError(f"{where}: cannot take inputs of shape {shape}: {reason}") from problem
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 2:
        raise UsageError(f"{where}: gives no logits [B, classes], one row for each input of shape {shape}")
    if logits.shape[1] != data.num_classes:
        raise UsageError(
            f"{where}: gives {logits.shape[1]} outputs per input; the data set has {data.num_classes} classes"
        )
