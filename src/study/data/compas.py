"""COMPAS (ProPublica): is a person who was arrested in Broward County charged again within two years?"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from study.data.demographics import LABEL, Demographics
from study.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

FILE = "compas-scores-two-years.csv"
INPUTS = (
    "sex",
    "age",
    "race",
    "juv_fel_count",
    "juv_misd_count",
    "juv_other_count",
    "priors_count",
    "c_charge_degree",
)
FILTERED_BY = ("days_b_screening_arrest", "is_recid", "score_text")
TARGET = "two_year_recid"
SCORES = ("Low", "Medium", "High")
CLASSES = ("charged again", "not charged again")


class Compas(Demographics):
    """6,172 people, 8 attributes: the rows that ProPublica's own filter leaves of 7,214.

    That is: charged within 30 days of the assessment, whether they were charged again is known, not for an ordinary
    traffic offence, and with a score. Of the file only these attributes and what the filter needs are read, never a
    name, a birthday or a case number. COMPAS' own scores are no inputs. The split is drawn at random: 50 % train, 10 %
    validation, 20 % repair and test each.
    """

    name = "compas"
    description = "criminal justice (ProPublica): is a person not charged again within two years?"
    licence = "none stated by propublica/compas-analysis"
    citation = 'Angwin, Larson, Mattu, Kirchner, "Machine Bias", ProPublica, 2016'
    source = (
        f"Set dataset.download=true, or put {FILE} of https://github.com/propublica/compas-analysis into tables in the "
        "data folder."
    )
    usual_sizes = (3_087, 617, 1_234, 1_234)
    files: ClassVar[Mapping[str, str]] = {"train": FILE}
    rows: ClassVar[Mapping[str, int]] = {FILE: 7_214}
    urls: ClassVar[Mapping[str, str]] = {
        FILE: f"https://raw.githubusercontent.com/propublica/compas-analysis/master/{FILE}"
    }
    classes = CLASSES
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 10,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 64,
        "augmentation": "none",
    }

    @staticmethod
    def table(text: str, where: str) -> pd.DataFrame:
        """See `Demographics.table`."""
        import pandas as pd

        wanted = {*INPUTS, *FILTERED_BY, TARGET}
        try:
            frame = pd.read_csv(io.StringIO(text), usecols=lambda name: name in wanted)
        except ValueError as problem:
            raise UsageError(f"{where} cannot be read ({' '.join(str(problem).split())})") from problem
        if lacking := sorted(wanted - set(frame.columns)):
            raise UsageError(f"{where} has no column {lacking[0]}; expected is {FILE}, as ProPublica published it")
        return frame

    @staticmethod
    def chosen(frame: pd.DataFrame) -> pd.DataFrame:
        """ProPublica's filter."""
        kept = frame["days_b_screening_arrest"].between(-30, 30) & (frame["is_recid"] != -1)
        kept &= (frame["c_charge_degree"] != "O") & frame["score_text"].isin(SCORES)
        people = frame.loc[kept, list(INPUTS)].reset_index(drop=True)
        people[LABEL] = frame.loc[kept, TARGET].map({1: CLASSES[0], 0: CLASSES[1]}).to_numpy()
        return people
