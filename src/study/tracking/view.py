"""Ready-made views of the runs in MLflow's own UI: kept as tags of the experiment and opened by a link.

The format is internal to MLflow, so nothing but the convenience of the link depends on it.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from study.metrics.description import Description

PREFIX = "mlflow.sharedViewState."
RUN_NAME, CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
GROUPS = ("approach", "subject_name")
"""Tags that tell what is repaired and how with all that the command line changed, so that only seeds are averaged."""
OUTCOME, OUTCOME_WIDTH = "tags.`outcome`", 92
LETTER, PADDING = 6.6, 12
"""Pixels of a letter of a column's name, and beside the name."""
LEADING, OTHERS = (90, 116), (90, 215)
"""Least and largest width. The leading ones are narrow: with the outcome, five fit beside MLflow's own panels."""


def views(properties: Mapping[str, Description]) -> dict[str, str]:
    """Tags of an experiment that hold two views of these metrics: `by_approach`, averaged over seeds, and `runs`.

    Metrics with a role in the trade-off come first, then the gain in accuracy, then the others.
    """
    shown = {name: text for name, text in properties.items() if text.summary}
    leading = [_after(name) for name, text in shown.items() if text.role]
    leading += [f"gain/{name}" for name, text in shown.items() if text.role == "accuracy"]
    others = [_after(name) for name, text in shown.items() if not text.role]
    widths = {_column(name): _width(name, *LEADING) for name in leading}
    widths |= {_column(name): _width(name, *OTHERS) for name in others}
    repaired = [_column(_after(name)) for name, text in shown.items() if text.role == "repaired"]
    order = next(iter([*repaired, *widths]), "attributes.start_time")
    columns = {OUTCOME: OUTCOME_WIDTH, **widths}
    groups: dict[str, tuple[str, ...]] = {"by_approach": GROUPS, "runs": ()}
    return {f"{PREFIX}{name}": _view(columns, order, group_by) for name, group_by in groups.items()}


def shows_more(ready: Mapping[str, str], present: Mapping[str, str]) -> bool:
    """Whether views have all columns of those that are present among an experiment's tags, and further ones."""
    try:
        return any(_columns(value) > _columns(present[name]) for name, value in ready.items())
    except (KeyError, ValueError):  # there are none, or of another version of MLflow
        return True


def _columns(view: str) -> set[str]:
    return set(json.loads(view)["selectedColumns"])


def _after(name: str) -> str:
    """The metric that holds a property after the repair; a name with a slash is that of a metric itself."""
    return name if "/" in name else f"after/{name}"


def _column(metric: str) -> str:
    return f"metrics.`{metric}`"


def _width(metric: str, least: int, largest: int) -> int:
    return min(max(round(LETTER * len(metric)) + PADDING, least), largest)


def _view(columns: Mapping[str, int], order: str, group_by: tuple[str, ...]) -> str:
    """The state of a view as MLflow's UI stores it; grouped runs are averaged."""
    groups = [{"mode": "tag", "groupByData": tag} for tag in group_by]
    state: dict[str, Any] = {
        "searchFilter": "",
        "orderByKey": order,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
        "columnOrder": [RUN_NAME, CREATED, *columns],
        "columnWidths": {RUN_NAME: 430 if groups else 220, CREATED: 40, **columns},
        "groupBy": {"aggregateFunction": "average", "groupByKeys": groups} if groups else None,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "runsHiddenMode": "SHOWALL",
        "runsVisibilityMap": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "groupsExpanded": {},
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {},
    }
    return json.dumps(state)


def link(address: str, experiment_id: str, name: str, *, charts: bool = False) -> str:
    """Where a browser finds a view (`by_approach`, `runs`) of an experiment, as a table or as charts."""
    query = {"workflowType": "machine_learning", "viewStateShareKey": name}
    if charts:
        query["compareRunsMode"] = "CHART"
    return f"{address}/#/experiments/{quote(experiment_id)}/runs?{urlencode(query)}"
