"""`make bench`: every approach on MNIST/LeNet5 beside its control, by the commands a user would type.

With `--published` (`make bench-published`): the approaches in their authors' regime instead.

The jobs run in a folder of their own, one at a time with all cores; a benchmark that was cut off goes on where it
stopped. Writes results.csv, overhead.json and results.md beside this file, and the README's table; of rows that are not
run (`--only`) the lines stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import pandas

from benchmarks.commands import measure_commands
from benchmarks.overhead import measure_overhead
from benchmarks.passes import passes_of
from benchmarks.published import AS_PUBLISHED
from benchmarks.rows import ROWS, Row
from benchmarks.table import CONTROL, line, markdown, with_table
from study.cli.plan import check
from study.config.compose import composed, parsed
from study.config.job import Job
from study.config.keys import keys_of
from study.storage.files import write_atomically
from study.storage.paths import conf_folder
from study.tracking import ledger
from study.tracking.result import Result

HERE = Path(__file__).parent
HOME = HERE / "home"
RESULTS = HERE / "results.csv"
OVERHEAD = HERE / "overhead.json"
ALL: Sequence[Row] = (*ROWS, *AS_PUBLISHED)


def main() -> None:
    """Run the rows, then print and store the table."""
    labels = [row.label for row in ALL]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=labels, metavar="ROW", help=f"any of: {'; '.join(labels)}")
    parser.add_argument("--slow", action="store_true", help="the slow rows too, otherwise shown if they were run")
    parser.add_argument("--published", action="store_true", help="the approaches in their authors' regime, no others")
    options = parser.parse_args()
    readme = HERE.parent / "README.md"
    if "STUDY_DATA" not in os.environ:
        sys.exit("the benchmark needs MNIST: set STUDY_DATA to the folder that holds MNIST/raw")
    os.environ["STUDY_HOME"] = str(HOME)
    suite = ALL if options.only else AS_PUBLISHED if options.published else ROWS
    chosen = [row for row in suite if row.label in (options.only or labels)]
    rows = [row for row in chosen if options.only or options.slow or not row.slow or was_run(row)]
    if suite is ROWS:
        OVERHEAD.write_text(json.dumps(measure_overhead(HOME) | measure_commands(HOME / "commands"), indent=2) + "\n")
    frame = merged({row.label: measured(row) for row in rows})
    write_atomically(RESULTS, frame.to_csv(index=False))
    table = markdown(frame, json.loads(OVERHEAD.read_text()))
    write_atomically(RESULTS.with_suffix(".md"), table)
    write_atomically(readme, with_table(readme.read_text(), frame))
    print(table)


def merged(lines: Mapping[str, list[dict[str, object]]]) -> pandas.DataFrame:
    """The lines of all rows, in their order: those measured now, and of the others what the last benchmark wrote."""
    told = dict(lines)
    if RESULTS.exists():
        before = pandas.read_csv(RESULTS)
        owners = before["approach"].where(~before["approach"].str.startswith(CONTROL)).ffill()
        for label, group in before.groupby(owners, sort=False):
            told.setdefault(str(label), group.to_dict(orient="records"))  # type: ignore[arg-type]
    frame = pandas.DataFrame([line for row in ALL for line in told.get(row.label, [])])
    first = ["approach", "seeds", "repaired"]
    return frame[[*first, *frame.columns.drop(first)]]


def measured(row: Row) -> list[dict[str, object]]:
    """The lines of a row: the approach, and its control."""
    results = jobs(row.method, row.overrides, row.seeds)
    lines = [line(row.label, row.published, results) | {"threads": prepared(row.method, (), 1)[0].hardware.threads}]
    if row.passes:
        passes, bound = passes_of(prepared(row.method, row.overrides, 1)[0], HOME)
        lines[0] |= {"passes": passes, "seconds / passes": mean(r.metrics["time/repair_cpu"] for r in results) / bound}
    if row.control == "steps":
        budget = f"method.steps={round(mean(result.metrics['cost/steps'] for result in results))}"
        lines.append(line("· finetune, the same steps", "", jobs("finetune", (budget,), row.seeds)))
    elif row.control == "seconds":
        budget = f"method.seconds={mean(result.metrics['time/repair'] for result in results):.1f}"
        lines.append(line("· finetune, the same seconds", "", jobs("finetune", (budget,), row.seeds)))
    return lines


def jobs(method: str, overrides: Sequence[str], seeds: int) -> list[Result]:
    """The result of each seed's job, run now unless it is there already."""
    results = finished(method, overrides, seeds)
    if None in results:
        subprocess.run([sys.executable, "-m", "study", *command(method, overrides, seeds)], check=True)
        results = finished(method, overrides, seeds)
    if missing := [seed for seed, result in enumerate(results) if result is None]:
        sys.exit(f"no result of {method} with seed {', '.join(map(str, missing))}")
    return [result for result in results if result is not None]


def was_run(row: Row) -> bool:
    """Whether every seed's job has its result."""
    return None not in finished(row.method, row.overrides, row.seeds)


def finished(method: str, overrides: Sequence[str], seeds: int) -> list[Result | None]:
    """The result of each seed's job, None where there is none yet."""
    folders = [ledger.folder_of(keys.job) for keys in keys_of(prepared(method, overrides, seeds))]
    return [None if folder is None else Result.read(folder) for folder in folders]


def prepared(method: str, overrides: Sequence[str], seeds: int) -> list[Job]:
    """Each seed's job, checked."""
    return check(composed(parsed(command(method, overrides, seeds)), conf_folder()))


def command(method: str, overrides: Sequence[str], seeds: int) -> list[str]:
    """What a user would type after `python -m study`."""
    return ["--multirun", f"+method={method}", "dataset=mnist", f"seed=range({seeds})", *overrides]


if __name__ == "__main__":
    main()
