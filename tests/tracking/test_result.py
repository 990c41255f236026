import json
import math

import pytest

from study.errors import UsageError
from study.tracking.result import RESULT, SCHEMA, Result, flattened
from tests.tracking.results import ORIGIN, PROPERTIES, written


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


def test_where_the_faulty_model_lies_survives_the_file(tmp_path):
    folder = written(tmp_path / "job")

    origin = Result.read(folder).origin

    assert origin == ORIGIN
    assert (folder / origin.folder / "faulty.safetensors").is_file()


def test_infinity_is_left_out_and_nan_is_kept(tmp_path):
    metrics = Result.read(written(tmp_path / "job")).metrics

    assert metrics.keys() == {"before/accuracy", "after/accuracy", "after/repair_rate", "after/aaod"}
    assert metrics["after/accuracy"] == 0.9375
    assert math.isnan(metrics["after/aaod"])


def test_the_file_is_json_for_any_reader(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    json.loads((written(tmp_path / "job") / RESULT).read_text(), parse_constant=refuse)


@pytest.mark.parametrize("schema", [SCHEMA - 1, SCHEMA + 1])
def test_another_schema_is_refused(tmp_path, schema):
    path = written(tmp_path / "job") / RESULT
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {schema}'))

    with pytest.raises(
        UsageError, match=rf"result.json has schema {schema}, and this version .* reads schema {SCHEMA}"
    ):
        Result.read(tmp_path / "job")


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '{"key": 3}'])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / RESULT).write_text(content)

    with pytest.raises(UsageError) as caught:
        Result.read(tmp_path)

    assert "is not a result file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_how_objects_are_built_is_no_part_of_a_flattened_configuration():
    built = {
        "_target_": "study.models.mlp.MLP",
        "_convert_": "all",
        "widths": [64],
        "inner": {"_target_": "torch.nn.ReLU"},
    }

    assert flattened({"architecture": built, "seed": 0}) == {"architecture.widths": "[64]", "seed": "0"}


def test_a_configuration_is_flattened_with_dots():
    assert flattened({"a": {"b": 1, "c": {"d": None}}, "e": [1, 2]}) == {"a.b": "1", "a.c.d": "None", "e": "[1, 2]"}
