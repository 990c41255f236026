"""The values of a job that can be checked before torch is imported, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from study.config import hyperparameters
from study.config.complaints import sentences
from study.config.compose import Composed
from study.config.overrides import GROUPS
from study.config.settings import settings_of
from study.config.trust import check_names
from study.errors import UsageError
from study.problem.recipe import Recipe
from study.runtime.hardware import Hardware
from study.storage.paths import check_file
from study.tracking.store import Store


def check_values(job: Composed) -> None:
    """Raise UsageError for whatever is wrong with a job's values and can be told without torch.

    `config.job.prepare` checks all values, these included; here they are refused in a fraction of a second.
    """
    values = job.values
    for group in GROUPS:
        if group in job.choices and not (isinstance(values.get(group), dict) and "_target_" in values[group]):
            raise UsageError(f"{group}={job.choices[group]}: sets no {group}._target_, the class that it makes")
    settings_of(values)
    check_names(values, job.hydra)
    built(values, "trainer", Hardware)
    recipe = built(values, "faulty", Recipe)
    if recipe is not None and recipe.checkpoint is not None:
        check_file(Path(recipe.checkpoint), "faulty.checkpoint")
    if method := values.get("method"):
        hyperparameters.check(job.choices.get("method", ""), method)
    store = built(values, "tracking", Store)
    if store is not None:
        store.check()


def built(values: Mapping[str, Any], group: str, kind: Any) -> Any:
    """What a group makes, None where its `_target_` is not `kind` but a class of the user's own."""
    node = dict(values[group])
    if node.pop("_target_", None) != f"{kind.__module__}.{kind.__qualname__}":
        return None
    try:
        return kind(**node)
    except pydantic.ValidationError as error:
        raise UsageError(sentences(error.errors(), group, kind)) from error
