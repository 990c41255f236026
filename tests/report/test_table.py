import csv
import io

import pandas as pd
import pytest

from study.report import table
from study.report.comparison import compare
from study.report.selection import newest

Lines = dict[tuple[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def lines(frame: pd.DataFrame) -> Lines:
    text = table.csv(compare(*newest(frame)))
    return {(line["dataset"], line["method"]): line for line in csv.DictReader(io.StringIO(text))}


def test_a_line_per_subject_and_approach_and_the_faulty_model(lines: Lines) -> None:
    assert len(lines) == 10
    assert float(lines["mnist", "none"]["accuracy_mean"]) == pytest.approx(0.9)


def test_numbers_are_plain(lines: Lines) -> None:
    finetune = lines["mnist", "finetune"]
    assert float(finetune["accuracy_mean"]) == pytest.approx(0.94)
    assert float(finetune["accuracy_std"]) == pytest.approx(0.0141421, abs=1e-6)
    assert (finetune["accuracy_n"], finetune["time/repair_mean"], finetune["control"]) == ("2", "100.0", "True")
    assert float(finetune["accuracy_difference"]) == pytest.approx(0.04)
    assert float(finetune["accuracy_gain"]) == pytest.approx(0.04 / 0.9)
    assert finetune["repair_rate_difference"] == "" and finetune["accuracy_best"] == "False"
    assert lines["mnist", "reassure"]["verdict"] == "no better than the faulty model"


def test_subject_and_settings_have_columns_of_their_own(frame: pd.DataFrame) -> None:
    runs = frame[frame["method"] == "arachne"]
    runs = runs.assign(approach="arachne population=7 + soft_voting nfr_max=0.1", safeguard="soft_voting")
    text = table.csv(compare(*newest(runs)))
    line = list(csv.DictReader(io.StringIO(text)))[1]
    assert (line["subject"], line["settings"]) == ("mnist / lenet5", "population=7 nfr_max=0.1")


def test_outcomes_and_what_was_published(lines: Lines) -> None:
    assert lines["mnist", "arachne"]["outcome"] == "repaired 1/2; failure 1/2"
    assert lines["mnist", "vere"]["reason"] == "needs BatchNorm: LeNet5 has none"
    assert lines["mnist", "vere"]["accuracy_mean"] == ""
    assert float(lines["mnist", "arachne"]["repair_rate_published"]) == pytest.approx(0.127)
