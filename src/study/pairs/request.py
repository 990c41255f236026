"""What a command line of `study.compare` asks for; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from study.config.compose import Composed, composed, parsed, with_plus
from study.errors import UsageError, nearest
from study.storage.paths import conf_folder

Side = Literal["before", "after"]
SIDES: tuple[Side, ...] = ("before", "after")
NORMALISED = {"true": SIDES, "false": (), "before": ("before",), "after": ("after",)}
"""By the value of `normalised`: which of the two models take inputs that are normalised."""
NO_HYDRA = ("multirun", "run", "cfg", "info", "hydra_help", "shell_completion", "resolve", "package")
"""Options of Hydra's that are of no use for one comparison."""
LINE = "python -m study.compare before=FILE after=FILE dataset=NAME"


@dataclass(frozen=True)
class Request:
    """Two models, as the command line names them, and the job that they are measured in.

    normalised: those of the two whose network takes inputs normalised as the data set says, as `faulty.checkpoint`
    does; job: data set, architecture, metrics and seed, composed.
    """

    before: str
    after: str
    normalised: tuple[Side, ...]
    job: Composed

    @staticmethod
    def of(arguments: Sequence[str]) -> Request:
        """From the arguments of a command line.

        Raises:
            UsageError: One is missing, unknown or of no use here.
        """
        own = {name: [text for text in arguments if text.startswith(f"{name}=")] for name in (*SIDES, "normalised")}
        values = {name: texts[-1].partition("=")[2] for name, texts in own.items() if texts}
        for side in SIDES:
            if not values.get(side):
                raise UsageError(f"{side}=FILE is missing: {LINE}")
            if not Path(values[side]).expanduser().exists() and "/" in values[side]:
                raise UsageError(f"{side}={values[side]}: there is no such file or folder")
        normalised = values.get("normalised", "true")
        if normalised not in NORMALISED:
            raise UsageError(f"normalised={normalised}: {nearest(normalised, NORMALISED)}")
        taken = {text for texts in own.values() for text in texts}
        job = _job([text for text in arguments if text not in taken])
        return Request(values["before"], values["after"], NORMALISED[normalised], job)


def _job(arguments: Sequence[str]) -> Composed:
    options = parsed(with_plus(arguments))
    for name in NO_HYDRA:
        if getattr(options, name, None):
            raise UsageError(f"--{name.replace('_', '-')}: a comparison is one job; leave the option out")
    (job,) = composed(options, conf_folder())
    if "method" in job.config:
        raise UsageError(f"method={job.choices['method']}: nothing is repaired here; python -m study repairs")
    if job.choices["safeguard"] != "none":
        raise UsageError(f"safeguard={job.choices['safeguard']}: the two models are compared as they are; leave it out")
    if job.config.faulty.checkpoint is not None:
        raise UsageError(f"faulty.checkpoint={job.config.faulty.checkpoint}: before=FILE takes its place")
    if job.config.plan:
        raise UsageError("plan=true: a comparison is one job; leave it out")
    return job
