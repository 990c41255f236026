"""German credit (UCI): is a customer of a bank a good risk?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from study.data.demographics import LABEL, Demographics, Sensitive, fields
from study.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

FILE = "german.data"
URL = f"https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/{FILE}"
NUMBERS = ("months", "amount", "instalment_rate", "residence_since", "age", "credits", "dependants")
COLUMNS = (
    "account",
    "months",
    "history",
    "purpose",
    "amount",
    "savings",
    "employment",
    "instalment_rate",
    "status_and_sex",
    "debtors",
    "residence_since",
    "property",
    "age",
    "other_plans",
    "housing",
    "credits",
    "job",
    "dependants",
    "telephone",
    "foreign_worker",
    LABEL,
)
SEX = {"A91": "male", "A92": "female", "A93": "male", "A94": "male", "A95": "female"}
RISK = {1: "good", 2: "bad"}


class German(Demographics):
    """1,000 customers, 20 attributes; sex is read out of the ninth, the marital status.

    The split is drawn at random: 500 train, 100 validation, 200 repair and 200 test rows.
    """

    name = "german"
    description = "German credit (UCI): is a customer of a bank a good risk?"
    licence = "CC BY 4.0, as UCI states it"
    citation = "Hofmann, Statlog (German Credit Data), UCI Machine Learning Repository, 1994"
    source = f"Set dataset.download=true, or put {URL} into tables in the data folder."
    usual_sizes = (500, 100, 200, 200)
    files: ClassVar[Mapping[str, str]] = {"train": FILE}
    rows: ClassVar[Mapping[str, int]] = {FILE: 1_000}
    urls: ClassVar[Mapping[str, str]] = {FILE: URL}
    classes = ("bad", "good")
    sensitive: ClassVar[tuple[Sensitive, ...]] = ("sex", "age")
    tells: ClassVar[Mapping[str, str]] = {"sex": "status_and_sex"}
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 15,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 32,
        "augmentation": "none",
    }

    @staticmethod
    def table(text: str, where: str) -> pd.DataFrame:
        """See `Demographics.table`."""
        frame = fields(text, None, COLUMNS, (*NUMBERS, LABEL), where)
        for name, known in (("status_and_sex", SEX), (LABEL, RISK)):
            if odd := set(frame[name]) - set(known):
                raise UsageError(
                    f"{where}: {name} holds {min(odd)}, which is none of {', '.join(map(str, known))}: is it {FILE}?"
                )
        frame["sex"] = frame["status_and_sex"].map(SEX)
        frame[LABEL] = frame[LABEL].map(RISK)
        return frame
