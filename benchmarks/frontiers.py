"""`python -m benchmarks.frontiers`: how much the repairs of `benchmarks.subjects` fix at few negative flips.

Nothing is trained: the curves are those of `python -m study.frontier`. Writes frontiers.csv and frontiers.md beside
this file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

import pandas

from benchmarks.markdown import table
from benchmarks.subject_rows import Subject
from benchmarks.subjects import HERE, chosen, finished, parser_of, renewed, store, stored
from study.frontier.repairs import Row, Stored, rows_of
from study.runtime.progress import log_lines
from study.tracking.result import Result

TABLE = HERE / "frontiers.csv"
LIMIT = 0.003
"""Rate of negative flips at which the approaches are compared."""
HEAD = f"""# What each approach repairs at few negative flips

Repair rate / negative flips in percent, means over the seeds that ended with a repair, on the test split. *Alone*: the
repair as it is. *At {100 * LIMIT:g} %*: the most that it repairs within so many negative flips, on the way from the
faulty model to the repaired one by interpolated weights or a soft vote. *Best other*: which of the other approaches
repairs most, by the same means or alone, at no more negative flips than the repair alone has."""


def main() -> None:
    """Measure the curves subject by subject, and store the table after each; subjects not chosen stay as they are."""
    options = parser_of(__doc__).parse_args()
    os.environ.setdefault("STUDY_HOME", str(HERE / "home"))
    log_lines(sys.stderr)
    frame = stored(TABLE)
    for subject in chosen(options):
        print(f"{subject.name} ({subject.scale})", file=sys.stderr)
        frame = store(renewed(frame, subject, lines(subject)), TABLE, HEAD, markdown)
    print(markdown(frame))


def lines(subject: Subject) -> Iterator[dict[str, object]]:
    """A line of the table for each approach that repaired the subject."""
    rows = {}
    for method, folders in finished(subject).items():
        repairs = [Stored(folder=folder, result=Result.read(folder)) for folder in folders]
        if repaired := [each for each in repairs if each.result.tags["outcome"] == "repaired"]:
            (rows[method],) = rows_of(repaired)
    for method, row in rows.items():
        own = method.partition(",")[0]
        others = {name: other for name, other in rows.items() if name.partition(",")[0] != own}
        yield {"subject": subject.name, "method": method} | line(row, others)


def line(row: Row, others: Mapping[str, Row]) -> dict[str, object]:
    """What a row of the frontier comes to, beside those of the other approaches; rates in percent."""
    alone, within = row.alone, row.best(LIMIT)
    told: dict[str, object] = {
        "seeds": row.seeds,
        "repair rate": 100 * alone.repaired,
        "NFR": 100 * alone.broken,
    }
    told |= {"repair rate within": 100 * within.repaired, "NFR within": 100 * within.broken}
    if not others:
        return told
    rivals = {method: other.best(alone.broken) for method, other in others.items()}
    rival = max(rivals, key=lambda method: rivals[method].repaired)
    return told | {"best other": rival, "repair rate of best other": 100 * rivals[rival].repaired}


def markdown(frame: pandas.DataFrame) -> str:
    """A line per subject and approach."""
    told = []
    for record in frame.to_dict(orient="records"):
        alone, within = (f"{record[f'repair rate{of}']:.1f} / {record[f'NFR{of}']:.2f}" for of in ("", " within"))
        rival = record.get("best other")
        other = f"{rival} {record['repair rate of best other']:.1f}" if isinstance(rival, str) else ""
        told.append([str(record["subject"]), str(record["method"]), f"{record['seeds']:.0f}", alone, within, other])
    return "\n".join(table(["subject", "approach", "seeds", "alone", f"at {100 * LIMIT:g} %", "best other"], told))


if __name__ == "__main__":
    main()
