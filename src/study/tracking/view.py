"""Ready-made views of the runs in MLflow's own UI: kept as tags of the experiment and opened by a link.

The format is internal to MLflow, so nothing but the convenience of the link depends on it.
"""

import json
from typing import Any
from urllib.parse import quote, urlencode

PREFIX = "mlflow.sharedViewState."
RUN_NAME, CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
WIDTHS = {
    "tags.`outcome`": 92,
    "metrics.`after/accuracy`": 104,
    "metrics.`after/repair_rate`": 122,
    "metrics.`after/negative_flip_rate`": 110,
    "metrics.`time/repair`": 90,
    "metrics.`gain/accuracy`": 104,
    "metrics.`after/attack_success_rate`": 165,
    "metrics.`after/margin_attack_success_rate`": 215,
}
"""Columns from left to right, in pixels: the first five fit beside MLflow's own panels on a small screen."""


def _view(group_by: tuple[str, ...]) -> str:
    """The state of a view as MLflow's UI stores it; grouped runs are averaged."""
    groups = [{"mode": "tag", "groupByData": tag} for tag in group_by]
    state: dict[str, Any] = {
        "searchFilter": "",
        "orderByKey": "metrics.`after/repair_rate`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(WIDTHS),
        "columnOrder": [RUN_NAME, CREATED, *WIDTHS],
        "columnWidths": {RUN_NAME: 310 if groups else 220, CREATED: 40, **WIDTHS},
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


TAGS = {f"{PREFIX}by_method": _view(("method", "dataset")), f"{PREFIX}runs": _view(())}
"""Tags of an experiment that hold the views."""


def link(address: str, experiment_id: str, name: str, *, charts: bool = False) -> str:
    """Where a browser finds a view (`by_method`, `runs`) of an experiment, as a table or as charts."""
    query = {"workflowType": "machine_learning", "viewStateShareKey": name}
    if charts:
        query["compareRunsMode"] = "CHART"
    return f"{address}/#/experiments/{quote(experiment_id)}/runs?{urlencode(query)}"
