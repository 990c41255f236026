"""Where and with what a job runs."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from study.errors import UsageError


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Hardware:
    """Where and with what a job runs (conf/trainer).

    threads: CPU threads of torch, a part of what determines a result; memory_gib: budget of the process, None without;
    progress: draw a progress bar, `auto`: if stderr is a terminal.
    """

    accelerator: Literal["cpu", "gpu"] = "cpu"
    threads: Annotated[int, Field(ge=1, le=512)] | Literal["auto"] = "auto"
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    progress: bool | Literal["auto"] = "auto"

    @property
    def device(self) -> torch.device:
        """The torch device; raises UsageError for a GPU that is not there."""
        if self.accelerator == "cpu":
            return torch.device("cpu")
        if not torch.cuda.is_available():
            raise UsageError("trainer=gpu: torch sees no GPU on this machine; leave trainer out to run on the CPU")
        return torch.device("cuda", 0)

    @property
    def shows_progress(self) -> bool:
        """Whether to draw a progress bar."""
        return sys.stderr.isatty() if self.progress == "auto" else self.progress
