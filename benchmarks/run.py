"""`make bench`: every approach on MNIST/LeNet5 beside its control, by the commands a user would type.

The jobs run in a folder of their own, two at a time with one thread each; a benchmark that was cut off goes on where
it stopped. Writes results.csv and results.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import pandas

from benchmarks.overhead import measure_overhead
from benchmarks.rows import ROWS, Row
from benchmarks.table import line, markdown
from study.composition import composed, parsed
from study.job import recorded
from study.paths import conf_folder
from study.plan import check
from study.tracking.result import Result

HERE = Path(__file__).parent
HOME = HERE / "home"


def main() -> None:
    """Run the rows, then print and store the table."""
    labels = [row.label for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=labels, metavar="ROW", help=f"any of: {'; '.join(labels)}")
    only = parser.parse_args().only
    if "STUDY_DATA" not in os.environ:
        sys.exit("the benchmark needs MNIST: set STUDY_DATA to the folder that holds MNIST/raw")
    os.environ["STUDY_HOME"] = str(HOME)
    lines = [told for row in ROWS if not only or row.label in only for told in measured(row)]
    overhead = {} if only else measure_overhead(HOME)
    frame = pandas.DataFrame(lines)
    if not only:
        frame.to_csv(HERE / "results.csv", index=False)
        (HERE / "results.md").write_text(markdown(frame, overhead))
    print(markdown(frame, overhead))


def measured(row: Row) -> list[dict[str, object]]:
    """The lines of a row: the approach, and its control."""
    results = jobs(row.method, row.overrides, row.seeds)
    lines = [line(row.label, row.published, results)]
    if row.control == "steps":
        budget = f"method.steps={round(mean(result.metrics['cost/steps'] for result in results))}"
        lines.append(line("· finetune, the same steps", "", jobs("finetune", (budget,), row.seeds)))
    elif row.control == "seconds":
        budget = f"method.seconds={mean(result.metrics['time/repair'] for result in results):.1f}"
        lines.append(line("· finetune, the same seconds", "", jobs("finetune", (budget,), row.seeds)))
    return lines


def jobs(method: str, overrides: Sequence[str], seeds: int) -> list[Result]:
    """The result of each seed's job, run now unless it is there already."""
    arguments = ["--multirun", f"+method={method}", "dataset=mnist", f"seed=range({seeds})", *overrides]
    arguments += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    subprocess.run([sys.executable, "-m", "study", *arguments], check=True)
    prepared = check(composed(parsed(arguments), conf_folder()))
    for job in prepared:
        job.load_data()
    folders = [recorded(job) for job in prepared]
    if missing := [job.names.run for job, folder in zip(prepared, folders, strict=True) if folder is None]:
        sys.exit(f"no result of {', '.join(missing)}")
    return [Result.read(folder) for folder in folders if folder is not None]


if __name__ == "__main__":
    main()
