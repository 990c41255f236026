"""Small tables of people, in the layouts of their publishers; no row is of a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from study.data.adult import Adult
from study.data.compas import Compas
from study.data.german import German

COUNTS = {"adult.data": 80, "adult.test": 40, "compas-scores-two-years.csv": 90, "german.data": 100}
SETS = {"adult": Adult, "compas": Compas, "german": German}
FILTERED = 6
"""Rows of the COMPAS file that ProPublica's filter takes out, the last ones."""


def write_people(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """The four files in `folder/tables`; the classes expect their numbers of rows."""
    for data in SETS.values():
        patch.setattr(data, "rows", {name: COUNTS[name] for name in data.files.values()})
    (folder / "tables").mkdir(parents=True)
    for name, text in (
        ("adult.data", "".join(f"{row}\n" for row in adult_rows(80, "")) + "\n"),
        ("adult.test", "|1x3 Cross validator\n" + "".join(f"{row}\n" for row in adult_rows(40, ".")) + "\n"),
        ("compas-scores-two-years.csv", compas()),
        ("german.data", "".join(f"{row}\n" for row in german_rows(100))),
    ):
        (folder / "tables" / name).write_text(text)
    return folder


def adult_rows(count: int, stop: str) -> list[str]:
    """Every fourth earns more; sexes alternate; of ten, one is Black, and one has no known workclass."""
    return [
        f"{20 + n % 50}, {'?' if n % 10 == 3 else 'Private'}, {1000 + n}, HS-grad, 9, Divorced, Sales, Husband, "
        f"{'Black' if n % 10 < 4 else 'White'}, {'Male' if n % 2 else 'Female'}, {100 * (n % 4)}, 0, 40, Peru, "
        f"{'>50K' if n % 4 == 3 else '<=50K'}{stop}"
        for n in range(count)
    ]


def compas() -> str:
    """Names, and one row for each reason to be left out, then six of these."""
    header = (
        "id,name,first,last,sex,dob,age,race,juv_fel_count,juv_misd_count,juv_other_count,priors_count,"
        "days_b_screening_arrest,c_case_number,c_charge_degree,is_recid,score_text,two_year_recid"
    )
    usual = {"days": "0", "degree": "F", "recid": "0", "score": "Low"}
    odd = [{"days": "31"}, {"days": "-31"}, {"days": ""}, {"recid": "-1"}, {"degree": "O"}, {"score": "N/A"}]
    rows = []
    for n in range(COUNTS["compas-scores-two-years.csv"]):
        now = usual | (odd[n - 84] if n >= 84 else {})
        race = ("African-American", "Caucasian", "Native American")[0 if n % 2 else 1 if n > 9 else 2]
        rows.append(
            f"{n},ann secret,ann,secret,{'Male' if n % 3 else 'Female'},1990-01-01,{18 + n % 40},{race},0,{n % 2},0,"
            f"{n % 5},{now['days']},NO-{n},{now['degree']},{now['recid']},{now['score']},{n % 2}"
        )
    return "\n".join([header, *rows]) + "\n"


def german_rows(count: int) -> list[str]:
    codes = np.array(["A91", "A92", "A93", "A94", "A95"])
    return [
        f"A1{1 + n % 4} {6 + n} A34 A43 {1000 + n} A65 A75 4 {codes[n % 5]} A101 4 A121 {19 + n % 50} A143 A152 2 A173 "
        f"1 A192 A201 {2 if n % 10 < 3 else 1}"
        for n in range(count)
    ]
