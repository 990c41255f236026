"""Keys of results: what determines a faulty model, a repair and a job, hashed."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from study.config.job import Job
from study.problem import faulty
from study.repair.approach import Approach
from study.storage import paths
from study.storage.files import key_of

PACKAGE = Path(__file__).parents[1]
CODE = ("methods", "parts", "repair", "problem", "data", "models", "runtime")
"""Folders whose code a repair depends on."""


@dataclass(frozen=True)
class Keys:
    """Keys of a job's results, and fingerprints of its data: equal keys mean equal results.

    data: the items in use; split: which of them are in which split; faulty: the faulty model; repair: the repair; job:
    the whole result and the name it is recorded under; code: fingerprint of the code that trains and repairs, which is
    no part of the others: a reused result of other code is tagged.
    """

    data: str
    split: str
    faulty: str
    repair: str
    job: str
    code: str

    @classmethod
    def of(cls, job: Job) -> Keys:
        """The keys of a job whose data is loaded."""
        hardware, checkpoint = job.hardware, job.recipe.checkpoint
        machine = [hardware.accelerator, str(hardware.threads), torch.__version__]  # determines a result bit for bit
        recipe = dataclasses.asdict(job.recipe) if checkpoint is None else key_of(_hash_of(Path(checkpoint)))
        faulty_key = key_of(
            {
                "data": [job.data.fingerprint, job.data.split_hash],
                "architecture": job.architecture,
                "recipe": recipe,
                "code": faulty.CODE_VERSION,
                "seed": job.settings.subject.seed,
                "machine": machine,
            }
        )
        threat = None if job.data.threat is None else dataclasses.asdict(job.data.threat)
        repair_key = key_of([faulty_key, job.config.get("method"), job.settings.seed, threat, machine])
        job_key = key_of([job.names.method, repair_key, job.config["safeguard"], job.config["metric"]])
        return cls(
            data=job.data.fingerprint,
            split=job.data.split_hash,
            faulty=faulty_key,
            repair=repair_key,
            job=job_key,
            code=_code_of(job.approach),
        )

    @property
    def faulty_folder(self) -> Path:
        return paths.cache() / "faulty" / self.faulty

    @property
    def repair_folder(self) -> Path:
        return paths.cache() / "repairs" / self.repair


def _code_of(approach: Approach | None) -> str:
    """Fingerprint of this package's code that a repair depends on, and of the file of a user's own approach."""
    own = None if approach is None else inspect.getsourcefile(type(approach))
    return key_of([*_package(), *([Path(own).read_text()] if own and not Path(own).is_relative_to(PACKAGE) else [])])


@cache
def _package() -> list[str]:
    """The code of the package, read once: a sweep asks for it at each job."""
    return [file.read_text() for name in CODE for file in sorted(PACKAGE.glob(f"{name}/**/*.py"))]


def _hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
