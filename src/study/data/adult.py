"""Adult (UCI): does a person of the census of 1994 earn more than 50,000 dollars a year?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from study.data.demographics import LABEL, Demographics, fields

if TYPE_CHECKING:
    import pandas as pd

UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult"
NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
    LABEL,
)


class Adult(Demographics):
    """48,842 people in UCI's own files, 14 attributes.

    `adult.data` is train and validation, random halves of `adult.test` are repair and test: 29,304 / 3,257 / 8,140 /
    8,141 rows. A missing value ("?") is a value of its own.
    """

    name = "adult"
    description = "census of 1994 (UCI): does a person earn over 50,000 dollars a year?"
    licence = "CC BY 4.0, as UCI states it"
    citation = 'Kohavi, "Scaling Up the Accuracy of Naive-Bayes Classifiers", KDD 1996'
    source = f"Set dataset.download=true, or put adult.data and adult.test of {UCI} into tables in the data folder."
    usual_sizes = (29_304, 3_257, 8_140, 8_141)
    files: ClassVar[Mapping[str, str]] = {"train": "adult.data", "test": "adult.test"}
    rows: ClassVar[Mapping[str, int]] = {"adult.data": 32_561, "adult.test": 16_281}
    urls: ClassVar[Mapping[str, str]] = {name: f"{UCI}/{name}" for name in ("adult.data", "adult.test")}
    classes = ("<=50K", ">50K")
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 5,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 128,
        "augmentation": "none",
    }

    @staticmethod
    def table(text: str, where: str) -> pd.DataFrame:
        """See `Demographics.table`; labels of `adult.test` end in a full stop."""
        frame = fields(text, ",", COLUMNS, NUMBERS, where).replace("?", "unknown")
        frame[LABEL] = frame[LABEL].str.removesuffix(".")
        return frame
