"""Where and with what a job runs; torch is imported only when a device is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from study.errors import UsageError
from study.runtime.settings import settings

if TYPE_CHECKING:
    import torch


@settings
class Hardware:
    """Where and with what a job runs (conf/trainer).

    threads: CPU threads of torch, a part of what determines a result; memory_gib: budget of the process, None without;
    progress: how a job shows it, see `study.runtime.progress`.
    """

    accelerator: Literal["cpu", "gpu"] = "cpu"
    threads: Annotated[int, Field(ge=1, le=512)] | Literal["auto"] = "auto"
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    progress: bool | Literal["auto"] = "auto"

    @property
    def device(self) -> torch.device:
        """The torch device; raises UsageError for a GPU that is not there."""
        import torch

        if self.accelerator == "cpu":
            return torch.device("cpu")
        if not torch.cuda.is_available():
            raise UsageError("trainer=gpu: torch sees no GPU on this machine; leave trainer out to run on the CPU")
        return torch.device("cuda", 0)
