import json

from study.metrics.description import Description
from study.tracking.result import Result
from study.tracking.store import Store
from study.tracking.view import PREFIX, link, shows_more, views
from tests.tracking.results import PROPERTIES, written

APPLICABLE = {name: text for name, text in PROPERTIES.items() if name != "aaod"}


def _columns(ready, name="by_approach"):
    return json.loads(ready[f"{PREFIX}{name}"])["selectedColumns"]


def test_a_new_experiment_has_the_views_of_what_its_first_result_states(uri, tmp_path):
    from mlflow import MlflowClient

    Store(uri=uri, experiment="views").write(written(tmp_path / "job"))

    tags = MlflowClient(uri).get_experiment_by_name("views").tags
    ready = views(APPLICABLE)
    assert ready and {name: tags.get(name) for name in ready} == ready


def test_a_result_that_states_more_extends_the_views(uri, tmp_path):
    from mlflow import MlflowClient

    store = Store(uri=uri, experiment="growing")
    results = [written(tmp_path / key, key) for key in ("none", "all", "some")]
    for folder, names in zip(results, ([], ["accuracy", "repair_rate"], ["accuracy"]), strict=True):
        result = Result.read(folder)
        result.properties = {name: PROPERTIES[name] for name in names}
        result.write(folder)
        store.write(folder)

    tags = MlflowClient(uri).get_experiment_by_name("growing").tags
    both = ["metrics.`after/accuracy`", "metrics.`after/repair_rate`", "metrics.`gain/accuracy`"]
    assert _columns(tags) == _columns(tags, "runs") == ["tags.`outcome`", *both]


def test_outcome_comes_before_the_metrics_and_groups_are_averaged():
    state = json.loads(views(PROPERTIES)[f"{PREFIX}by_approach"])

    assert state["selectedColumns"][0] == "tags.`outcome`"
    assert state["groupBy"]["aggregateFunction"] == "average"
    assert [key["groupByData"] for key in state["groupBy"]["groupByKeys"]] == ["approach", "subject_name"]


def test_columns_follow_from_the_descriptions():
    own = {"churn_rate": Description(label="churn"), "noise": Description(label="noise", summary=False)}
    state = json.loads(views(APPLICABLE | own)[f"{PREFIX}runs"])

    names = ["after/accuracy", "after/repair_rate", "time/repair", "gain/accuracy", "after/attack_success_rate"]
    assert state["selectedColumns"][1:] == [f"metrics.`{name}`" for name in [*names, "after/churn_rate"]]
    assert state["columnOrder"][2:] == state["selectedColumns"]
    assert state["columnWidths"].keys() == set(state["columnOrder"])
    assert state["orderByKey"] == "metrics.`after/repair_rate`"
    assert state["groupBy"] is None


def test_five_columns_fit_beside_the_panels_of_the_ui():
    flips = Description(label="negative flips", role="broken")
    state = json.loads(views({**APPLICABLE, "negative_flip_rate": flips})[f"{PREFIX}runs"])

    assert sum(state["columnWidths"][column] for column in state["selectedColumns"][:5]) <= 518


def test_views_are_extended_and_never_cut():
    few, many = views({"accuracy": PROPERTIES["accuracy"]}), views(APPLICABLE)

    assert shows_more(many, few) and not shows_more(few, many) and not shows_more(many, many)
    assert shows_more(few, {}) and shows_more(few, dict.fromkeys(few, "of another version"))


def test_links_open_the_views_without_a_click():
    table = "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=by_approach"

    assert link("http://127.0.0.1:5000", "1", "by_approach") == table
    assert link("http://127.0.0.1:5000", "1", "by_approach", charts=True) == f"{table}&compareRunsMode=CHART"
