"""A job's result in one line, and in a sentence."""

from __future__ import annotations

import math

from study.tracking.result import Result

FORMATS = {"rate": "{:.2%}", "seconds": "{:.1f} s"}


def summary(result: Result) -> str:
    """Name, outcome and the figures that the metrics themselves call a summary: before, and after if there is one."""
    reason = result.tags.get("reason")
    parts = [f"{result.run_name}: {result.tags.get('outcome', 'crashed')}" + (f" ({reason})" if reason else "")]
    for name, description in result.properties.items():
        if not description.summary:
            continue
        write = FORMATS.get(description.unit, "{:.4g}").format
        values = [result.metrics.get(key) for key in (f"before/{name}", f"after/{name}", name)]
        written = [write(value) for value in values if value is not None]
        if written:
            parts.append(f"{description.label} {' to '.join(written)}")
    return ", ".join(parts) + _caution(result)


def _caution(result: Result) -> str:
    """What is to be said of a repair that lowers validation accuracy, and how not to get one."""
    before, after = (result.metrics.get(f"{when}/validation_accuracy", math.nan) for when in ("before", "after"))
    if not after < before:
        return ""
    advice = ": method.guard=true hands over no such repair" if result.params.get("method.guard") == "False" else ""
    return f" (validation accuracy falls from {before:.2%} to {after:.2%}{advice})"


def sentence(result: Result) -> str:
    """What a run did to what, and what came of it, for a reader who sees that run alone."""
    tags, parts = result.tags, _changes(result)
    outcome, reason = tags.get("outcome", "crashed"), tags.get("reason")
    about = f"{tags.get('approach') or tags.get('method', '')} on {subject(result)}"
    if outcome == "faulty":
        about = f"The faulty model of {subject(result)}"
    elif outcome != "repaired":
        parts = [f"{outcome} ({reason})" if reason else outcome, *parts]
    seed = f" (seed {tags['seed']})" if "seed" in tags else ""
    return f"{about}{seed}: {', '.join(parts)}." if parts else f"{about}{seed}."


def subject(result: Result) -> str:
    """What is repaired, as a reader calls it."""
    parts = (result.tags.get(tag, "") for tag in ("dataset", "architecture"))
    return result.tags.get("subject_name") or " / ".join(filter(None, parts))


def _changes(result: Result) -> list[str]:
    """Accuracy, and how many test inputs were repaired and newly broken, as far as the metrics with those roles say."""
    names = {description.role: name for name, description in result.properties.items() if description.role}
    values = {key: value for key, value in result.metrics.items() if not math.isnan(value)}
    accuracy = names.get("accuracy")
    before = values.get(f"before/{accuracy}")
    right = [value for value in (before, values.get(f"after/{accuracy}")) if value is not None]
    parts = [f"accuracy {' to '.join(f'{value:.2%}'.rstrip('%') for value in right)} %"] if right else []
    inputs = result.origin.items.get("test") if result.origin else None
    failing = round(inputs * (1 - before)) if inputs and before is not None else None
    if (rate := values.get(f"after/{names.get('repaired')}")) is not None:
        share = f"{rate:.2%} of the" if failing is None else f"{round(rate * failing)} of {failing}"
        parts.append(f"{share} failing test inputs repaired")
    if (rate := values.get(f"after/{names.get('broken')}")) is not None:
        parts.append(f"{rate:.2%} of all newly broken" if not inputs else f"{round(rate * inputs)} newly broken")
    return parts
