import json
import math

import pytest

from study.errors import UsageError
from study.tracking.result import RESULT, Result, flattened
from tests.tracking.results import PROPERTIES, written


def test_a_result_survives_the_file(tmp_path):
    result = Result.read(written(tmp_path / "job"))

    assert result.curves == {"repair/fitness": [(0, 1.0), (1, 0.5), (2, 1 / 3)]}
    assert (result.started, result.ended) == (1_700_000_000.25, 1_700_000_060.25)
    assert (result.status, result.tags["outcome"], result.params["method.population"]) == (
        "FINISHED",
        "repaired",
        "100",
    )


def test_what_metrics_state_survives_the_file_in_its_order(tmp_path):
    result = Result.read(written(tmp_path / "job"))

    assert list(result.properties.items()) == list(PROPERTIES.items())
    assert result.not_applicable == {"aaod": "the data set has no sensitive groups"}


def test_a_file_of_the_first_schema_states_nothing(tmp_path):
    path = written(tmp_path / "job") / RESULT
    older = json.loads(path.read_text()) | {"schema": 1}
    del older["properties"], older["not_applicable"]
    path.write_text(json.dumps(older))

    result = Result.read(tmp_path / "job")

    assert (result.properties, result.not_applicable) == ({}, {})
    assert result.metrics["after/accuracy"] == 0.9375


def test_infinity_is_left_out_and_nan_is_kept(tmp_path):
    metrics = Result.read(written(tmp_path / "job")).metrics

    assert metrics.keys() == {"after/accuracy", "after/aaod"}
    assert metrics["after/accuracy"] == 0.9375
    assert math.isnan(metrics["after/aaod"])


def test_the_file_is_json_for_any_reader(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    json.loads((written(tmp_path / "job") / RESULT).read_text(), parse_constant=refuse)


def test_an_unknown_schema_is_refused(tmp_path):
    path = written(tmp_path / "job") / RESULT
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 3'))

    with pytest.raises(UsageError, match=r"result.json has schema 3, and this version of study reads schema 2"):
        Result.read(tmp_path / "job")


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '{"key": 3}'])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / RESULT).write_text(content)

    with pytest.raises(UsageError) as caught:
        Result.read(tmp_path)

    assert "is not a result file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_is_flattened_with_dots():
    assert flattened({"a": {"b": 1, "c": {"d": None}}, "e": [1, 2]}) == {"a.b": "1", "a.c.d": "None", "e": "[1, 2]"}
