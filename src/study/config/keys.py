"""Keys of results: what determines a faulty model, a repair and a job, hashed."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from study.config.job import Job
from study.config.names import PLACES
from study.data.module import DataModule
from study.metrics.base import descriptions_of
from study.problem import faulty
from study.repairs.approach import Approach
from study.storage import paths
from study.storage.files import key_of

PACKAGE = Path(__file__).parents[1]
CODE = ("methods", "parts", "repairs", "problem", "data", "models", "runtime")
"""Folders whose code a repair depends on."""


@dataclass(frozen=True)
class Keys:
    """Keys of a job's results, and fingerprints of its data: equal keys mean equal results.

    data: the items in use; split: which of them are in which split; faulty: the faulty model; repair: the repair; job:
    the whole result and the name it is recorded under; code: fingerprint of the code that trains and repairs, which is
    no part of the others: a reused result of other code is tagged.
    What the report goes by leaves out the seed and the machine: subject, what is repaired (runs of one subject differ
    in no more than what follows from their seed); row, the approach and the safeguard with all their settings;
    measures: of each metric, how it measures, by the name it reports under.
    """

    data: str
    split: str
    faulty: str
    repair: str
    job: str
    code: str
    subject: str
    row: str
    measures: dict[str, str]

    @classmethod
    def of(cls, job: Job) -> Keys:
        """The keys of a job whose data is loaded."""
        hardware, checkpoint = job.hardware, job.recipe.checkpoint
        machine = [hardware.accelerator, str(hardware.threads), torch.__version__]  # determines a result bit for bit
        model = {
            "architecture": job.architecture,
            "recipe": dataclasses.asdict(job.recipe) if checkpoint is None else key_of(job.checkpoint_digest),
            "code": faulty.CODE_VERSION,
        }
        data = [job.data.fingerprint, job.data.split_hash]
        faulty_key = key_of({**model, "data": data, "seed": job.settings.subject.seed, "machine": machine})
        threat = None if job.data.threat is None else dataclasses.asdict(job.data.threat)
        repair_key = key_of([faulty_key, job.config.get("method"), job.settings.seed, threat, machine])
        subject_key = key_of({**model, "data": _data_of(job), "threat": threat, "seed": job.names.subject_seed})
        measured = [subject_key, job.config["safeguard"], job.config["metric"]]
        return cls(
            data=job.data.fingerprint,
            split=job.data.split_hash,
            faulty=faulty_key,
            repair=repair_key,
            job=key_of([job.names.method, repair_key, *measured]),
            code=_code_of(job.approach),
            subject=subject_key,
            row=key_of([job.names.method, job.config.get("method"), job.names.safeguard, job.config["safeguard"]]),
            measures=_measures_of(job),
        )

    def tags(self) -> dict[str, str]:
        """What the UI and the report group by, and what identifies the data."""
        return {
            "data": self.data,
            "split": self.split,
            "subject": self.subject,
            "row": self.row,
            "measures": json.dumps(self.measures, separators=(",", ":")),
        }

    @property
    def faulty_folder(self) -> Path:
        return paths.cache() / "faulty" / self.faulty

    @property
    def repair_folder(self) -> Path:
        return paths.cache() / "repairs" / self.repair


def keys_of(jobs: Iterable[Job]) -> Iterator[Keys]:
    """The keys of jobs whose data are not loaded.

    Data that several jobs share are loaded once, and no items are kept: those of a sweep do not fit in memory.
    """
    loaded: dict[str, DataModule] = {}
    for job in jobs:
        seed = job.settings.subject.seed
        place = key_of([job.config["dataset"], job.config["architecture"], seed])
        if place not in loaded:
            job.data.load(seed)
            job.data.unload()
            loaded[place] = job.data
        yield Keys.of(dataclasses.replace(job, data=loaded[place]))


def _data_of(job: Job) -> list[object]:
    """What the data set is, whatever the seed draws from it.

    With a limit the items in use follow from the seed: then the place of the data stands for them.
    """
    limited = job.data.limit is not None
    left_out = set(PLACES) - ({"root", "file"} if limited else set())
    settings = {name: value for name, value in job.config["dataset"].items() if name not in left_out}
    if isinstance(inner := settings.get("of"), Mapping):
        settings["of"] = {name: value for name, value in inner.items() if name not in left_out}
    return [settings, None if limited else job.data.content]


def _measures_of(job: Job) -> dict[str, str]:
    """How each metric measures, by the name it reports under; the size of its batches is no part of it."""
    metric: dict[str, dict[str, dict[str, object]]] = job.config["metric"]
    found: dict[str, str] = {}
    for group, built in (("comparisons", job.suite.comparisons), ("attacks", job.suite.attacks)):
        for entry, item in built.items():
            settings = {name: value for name, value in metric[group][entry].items() if name != "batch_size"}
            found |= dict.fromkeys(descriptions_of(item), key_of(settings)[:8])
    return found


def _code_of(approach: Approach | None) -> str:
    """Fingerprint of this package's code that a repair depends on, and of the file of a user's own approach."""
    own = None if approach is None else inspect.getsourcefile(type(approach))
    return _code(own if own and not Path(own).is_relative_to(PACKAGE) else None)


@cache
def _code(own: str | None) -> str:
    """The same, of the code that runs: read once, as a sweep asks for it at each job."""
    package = [file.read_text() for name in CODE for file in sorted(PACKAGE.glob(f"{name}/**/*.py"))]
    return key_of([*package, *([Path(own).read_text()] if own else [])])
