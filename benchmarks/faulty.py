"""`python -m benchmarks.faulty`: how often the faulty models of `benchmarks.subjects` are right before any repair.

Nothing is trained: it measures the models that finished jobs started from. Writes faulty.csv and faulty.md beside this
file; of subjects without a finished job stay the figures that the last benchmark wrote.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import pandas

from benchmarks.markdown import table
from benchmarks.subject_rows import SUBJECTS, Subject
from benchmarks.subjects import HERE, chosen, finished, parser_of, store, stored
from study.config.stored import subject_of
from study.problem.prediction import right
from study.tracking.result import Result

TABLE = HERE / "faulty.csv"
HEAD = """# The faulty models before any repair

Accuracy in percent, means over faulty models, each of a split of its own. Repair and test are random halves of the
data's test part, where it has one, so *both* is the accuracy on that part; but of skewed data (`digits_s`, `mnist_s`,
`cifar10s`) the test split alone holds each image in both versions. Beside it the accuracy of a quick model of another
kind on the same data, measured once and not by this package. Failing: inputs of the repair split that the faulty model
gets wrong."""


class Counts(NamedTuple):
    """Of a faulty model, how many inputs of the test and of the repair split there are, and are classified right."""

    test: int
    right_in_test: int
    repair: int
    right_in_repair: int


def main() -> None:
    """Measure the chosen subjects, and store the table; subjects not chosen stay as they are."""
    options = parser_of(__doc__).parse_args()
    os.environ.setdefault("STUDY_HOME", str(HERE / "home"))
    told = {str(record["subject"]): record for record in stored(TABLE).to_dict(orient="records")}
    for subject in chosen(options):
        print(f"{subject.name} ({subject.scale})", file=sys.stderr)
        if models := [counts(folder) for folder in starts(subject)]:
            told[subject.name] = line(subject.name, models)
    if not told:
        sys.exit("no subject has a finished job: python -m benchmarks.subjects runs them")
    frame = pandas.DataFrame([told[subject.name] for subject in SUBJECTS if subject.name in told])
    print(markdown(store(frame, TABLE, HEAD, markdown)))


def starts(subject: Subject) -> list[Path]:
    """A finished job for each of a subject's faulty models."""
    found: dict[str, Path] = {}
    for folder in (folder for folders in finished(subject).values() for folder in folders):
        if (origin := Result.read(folder).origin) is not None:
            found.setdefault(origin.faulty, folder)
    return list(found.values())


def counts(folder: Path) -> Counts:
    """What the faulty model of a job classifies right."""
    data, model = subject_of(folder)
    test, repair = (data.splits[name] for name in ("test", "repair"))
    return Counts(len(test), int(right(model, test).sum()), len(repair), int(right(model, repair).sum()))


def line(name: str, models: Sequence[Counts]) -> dict[Hashable, object]:
    """What the faulty models of a subject come to: mean accuracies in percent, and failing repair inputs."""
    failing = [each.repair - each.right_in_repair for each in models]
    return {
        "subject": name,
        "models": len(models),
        "test": 100 * mean(each.right_in_test / each.test for each in models),
        "repair": 100 * mean(each.right_in_repair / each.repair for each in models),
        "both": 100 * mean((each.right_in_test + each.right_in_repair) / (each.test + each.repair) for each in models),
        "failing": mean(failing),
        "fewest failing": min(failing),
        "repair inputs": mean(each.repair for each in models),
    }


def markdown(frame: pandas.DataFrame) -> str:
    """A line per subject, what it can be compared with beside it."""
    known = {subject.name: subject for subject in SUBJECTS}
    told = []
    for record in frame.to_dict(orient="records"):
        check = known[str(record["subject"])].check
        accuracies = [f"{record[name]:.1f}" for name in ("test", "repair", "both")]
        beside = f"{check.accuracy:.1f} ({check.model})" if check else ""
        failing = f"{record['failing']:.0f} of {record['repair inputs']:.0f}"
        if record["models"] > 1:
            failing += f", at least {record['fewest failing']}"
        told.append([str(record["subject"]), str(record["models"]), *accuracies, beside, failing])
    return "\n".join(table(["subject", "models", "test", "repair", "both", "another model", "failing"], told))


if __name__ == "__main__":
    main()
