"""What a run started from, as MLflow records it: the data set with its digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from study.tracking.result import Result

if TYPE_CHECKING:
    from mlflow.entities import Dataset

PLACES = ("dataset.root", "dataset.file")
"""Params that say where the data lies, if it is not a part of some package."""
LONGEST_DIGEST = 36
"""Characters that MLflow keeps."""


def dataset_of(result: Result) -> Dataset | None:
    """The data set of a result, None where its content was not known yet: the job crashed before."""
    from mlflow.entities import Dataset

    digest = result.tags.get("data", "")[:LONGEST_DIGEST]
    if not digest:
        return None
    kind, source = _source(result)
    items = result.origin.items if result.origin else {}
    profile = {"num_rows": sum(items.values()), **items} if items else {}
    return Dataset(
        name=result.tags.get("dataset", "data"),
        digest=digest,
        source_type=kind,
        source=json.dumps(source),
        profile=json.dumps(profile) if profile else None,
    )


def _source(result: Result) -> tuple[str, dict[str, object]]:
    """Type and content, as MLflow's UI reads them: files of this machine, or what the code brings along."""
    places = [result.params.get(name, "None") for name in PLACES]
    found = next((place for place in places if place != "None"), None)
    if found is None:
        return "code", {"tags": {"mlflow.source.type": "LOCAL", "mlflow.source.name": "study"}}
    return "local", {"uri": Path(found).expanduser().absolute().as_posix()}
