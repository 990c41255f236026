"""`python -m benchmarks.subjects`: every subject trained and repaired by four approaches, at a scale for one core.

One faulty model per subject (`subject.seed=0`) and three seeds of each repair. Jobs that are finished are not run
again; subjects whose files are missing are left out. Writes subjects.csv beside this file, and prints the README's
table.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import pandas

from benchmarks.subject_rows import SUBJECTS, Subject
from study.cli.plan import check
from study.config.compose import composed, parsed
from study.config.keys import keys_of
from study.errors import UsageError
from study.report.published import published
from study.storage.files import write_atomically
from study.storage.paths import conf_folder
from study.tracking import ledger
from study.tracking.result import Result

HERE = Path(__file__).parent
TABLE = HERE / "subjects.csv"
HEAD = """# Every subject, repaired on one core

Means over the seeds that ended with a repair of one faulty model per subject, in percent; the scale of each subject
stands in subject_rows.py. Published repair rates are at the study's full scale: nothing to compare these with. A cell
without an arrow: no seed was repaired, or the property is not applicable. Seconds: of the clock, beside other work."""
METHODS = ("finetune", "joint", "arachne", "fsgmix")
SEEDS = 3
RATES = {
    "accuracy": "accuracy",
    "margin ASR": "margin_attack_success_rate",
    "AAOD": "aaod",
}
"""What is measured before and after, in percent."""


def main() -> None:
    """Run the subjects, then print and store the table."""
    names = [subject.name for subject in SUBJECTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=names, metavar="SUBJECT", help=f"any of: {', '.join(names)}")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS, help="these approaches alone")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"run seeds from 0 up to so many (default {SEEDS})")
    parser.add_argument("--collect", action="store_true", help="run nothing: the table of what is there")
    options = parser.parse_args()
    os.environ.setdefault("STUDY_HOME", str(HERE / "home"))
    chosen = [subject for subject in SUBJECTS if subject.name in (options.only or names)]
    for subject in [] if options.collect else chosen:
        for method in options.methods:
            run = [sys.executable, "-m", "study", *command(subject, method, options.seeds)]
            if subprocess.run(run).returncode:
                print(f"{subject.name}: {method} did not end well", file=sys.stderr)
    frame = pandas.DataFrame([line for subject in SUBJECTS for line in lines(subject)])
    write_atomically(TABLE, frame.to_csv(index=False, float_format="%.4g"))
    write_atomically(TABLE.with_suffix(".md"), f"{HEAD}\n\n{markdown(frame)}\n")


def command(subject: Subject, method: str, seeds: int) -> list[str]:
    """What a user would type after `python -m study`."""
    passes = subject.views if method == "fsgmix" else subject.epochs
    epochs = () if passes is None or method == "arachne" else (f"method.epochs={passes}",)
    return [
        "--multirun",
        "--config-dir",
        str(HERE / "conf"),
        f"+method={method}",
        f"dataset={subject.dataset}",
        *subject.overrides,
        *epochs,
        "metric=margin",
        f"metric.attacks.margin_attack_success_rate.samples={subject.attacked}",
        "subject.seed=0",
        f"seed=range({seeds})",
        "trainer.threads=1",
    ]


def lines(subject: Subject) -> Iterator[dict[str, object]]:
    """A line of the table for each approach whose jobs are finished, of however many seeds."""
    for method, folders in finished(subject).items():
        if folders:
            yield line(subject, method, [Result.read(folder) for folder in folders])


def finished(subject: Subject) -> dict[str, list[Path]]:
    """By approach, the folders of those of a subject's jobs that are finished; none where its files are missing."""
    try:
        jobs = {name: check(composed(parsed(command(subject, name, SEEDS)), conf_folder())) for name in METHODS}
    except UsageError as reason:
        print(f"{subject.name} is left out: {reason}", file=sys.stderr)
        return {}
    keys = keys_of(job for seeds in jobs.values() for job in seeds)  # of all jobs at once: they share their data
    folders = {name: [ledger.folder_of(next(keys).job) for _ in seeds] for name, seeds in jobs.items()}
    return {name: [folder for folder in found if folder is not None] for name, found in folders.items()}


def line(subject: Subject, method: str, results: Sequence[Result]) -> dict[str, object]:
    """Means over the seeds that ended with a repair, rates in percent, and the study's figures beside them."""
    outcomes = Counter(result.tags["outcome"] for result in results)
    told: dict[str, object] = {"subject": subject.name, "scale": subject.scale, "method": method}
    told |= {"seeds": len(results), "repaired": outcomes["repaired"], "check": subject.check}
    for title, metric in RATES.items():
        for when in ("before", "after"):
            told[f"{title} {when}"] = percent(results, f"{when}/{metric}")
    told["repair rate"] = percent(results, "after/repair_rate")
    told["NFR"] = percent(results, "after/negative_flip_rate")
    seconds = [result.metrics["time/repair"] for result in results if "time/repair" in result.metrics]
    told["seconds"] = mean(seconds) if seconds else None
    told["outcome"] = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    told["reason"] = next((result.tags["reason"] for result in results if "reason" in result.tags), None)
    beside = published(method, subject.dataset)
    for title, key in (("repair rate", "repair_rate"), ("NFR", "negative_flip_rate"), ("accuracy", "accuracy")):
        told[f"published {title}"] = 100 * beside.figures[key] if beside and key in beside.figures else None
    return told


def percent(results: Sequence[Result], metric: str) -> float | None:
    """Mean over the seeds that have the metric, in percent."""
    values = [result.metrics[metric] for result in results if metric in result.metrics]
    return 100 * mean(values) if values else None


def markdown(frame: pandas.DataFrame) -> str:
    """Before and after with an arrow between, the published repair rate beside ours."""
    titles = ("accuracy", "repair rate", "published", "NFR", "margin ASR", "AAOD", "seconds")
    told = [["subject", "approach", "seeds", *titles], ["---"] * (3 + len(titles))]
    for record in frame.to_dict(orient="records"):
        change = {title: f"{_shown(record[f'{title} before'])} → {_shown(record[f'{title} after'])}" for title in RATES}
        if not record["repaired"]:
            kept = [change["accuracy"].partition(" →")[0], str(record["outcome"]), *[""] * 5]
            told.append([str(record["subject"]), str(record["method"]), str(record["seeds"]), *kept])
            continue
        cells = {title: text.replace("- → -", "") for title, text in change.items()}
        cells |= {title: _shown(record[title]) for title in ("repair rate", "seconds")}
        cells |= {"NFR": _shown(record["NFR"], 2), "published": _shown(record["published repair rate"], none="")}
        seeds = f"{record['repaired']} of {record['seeds']}"
        told.append([str(record["subject"]), str(record["method"]), seeds, *(cells[title] for title in titles)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in told)


def _shown(value: float | None, digits: int = 1, none: str = "-") -> str:
    """A number of the table, `none` where there is none."""
    return none if value is None or pandas.isna(value) else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
