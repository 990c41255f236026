import json

from study.tracking.store import Store
from study.tracking.view import PREFIX, TAGS, link
from tests.tracking.results import written


def test_a_new_experiment_has_the_views(uri, tmp_path):
    from mlflow import MlflowClient

    Store(uri=uri, experiment="views").write(written(tmp_path / "job"))

    tags = MlflowClient(uri).get_experiment_by_name("views").tags
    assert {name: tags.get(name) for name in TAGS} == TAGS


def test_outcome_comes_before_the_metrics_and_groups_are_averaged():
    state = json.loads(TAGS[f"{PREFIX}by_method"])

    assert state["selectedColumns"][0] == "tags.`outcome`"
    assert state["groupBy"]["aggregateFunction"] == "average"
    assert [key["groupByData"] for key in state["groupBy"]["groupByKeys"]] == ["method", "dataset"]


def test_links_open_the_views_without_a_click():
    table = "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=by_method"

    assert link("http://127.0.0.1:5000", "1", "by_method") == table
    assert link("http://127.0.0.1:5000", "1", "by_method", charts=True) == f"{table}&compareRunsMode=CHART"
