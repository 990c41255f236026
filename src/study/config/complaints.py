"""What pydantic complains of, as a sentence for each setting: `setting=value: should be ...`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

from study.errors import nearest

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list, as in [1,2]",
    "list": "a list, as in [1,2]",
    "dict": "settings of its own (.KEY=VALUE)",
    "model": "settings of its own (.KEY=VALUE)",
}
LIMITS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "text of {min_length} or more characters",
}


def sentences(problems: Sequence[ErrorDetails], group: str, target: Any) -> str:
    """All complaints, each naming the setting, the value and what would be right.

    group: what the settings belong to, "" for none; target: the class whose constructor was given them, or None.
    """
    wrong: dict[str, str] = {}
    wanted: dict[str, tuple[Any, list[str]]] = {}
    for problem in problems:
        place = [str(part) for part in problem["loc"] if not _is_branch(part)]
        if _is_short_list(problem):
            place = place[:-1]
        path = ".".join([group, *place] if group else place)
        if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            wrong[path] = f"{path}: there is no such setting; {nearest(place[-1], _settings_of(target, place[:-1]))}"
        elif problem["type"].startswith("missing") and not _is_short_list(problem):
            wrong[path] = f"{path}: is missing"
        elif right := right_values(problem):
            wanted.setdefault(path, (problem["input"], []))[1].extend(right)
        else:
            message = problem["msg"].removeprefix("Value error, ")
            wrong[path] = f"{path}={shown(problem['input'])}: {message[0].lower()}{message[1:]}"
    for path, (value, right) in wanted.items():
        inside = any(other.startswith(f"{path}.") for other in (*wrong, *wanted))  # an item of it is what is wrong
        if path not in wrong and not inside:
            wrong[path] = f"{path}={shown(value)}: should be {one_of(right)}"
    return "; ".join(wrong.values())


def _settings_of(target: Any, place: Sequence[str]) -> list[str]:
    """What a class takes, or the class of one of its settings, if that can be told."""
    for name in place:
        target = target.model_fields[name].annotation if name in getattr(target, "model_fields", {}) else None
    return [name for name in inspect.signature(target).parameters if name != "self"] if target else []


def right_values(problem: ErrorDetails) -> list[str]:
    """What would have been right in the place of a value; empty where pydantic does not say it in that form."""
    kind, context = problem["type"], problem.get("ctx", {})
    if _is_short_list(problem):
        return ["a longer list"]
    found = re.fullmatch(r"([a-z]+)_(type|parsing|from_float|parsing_size)", kind)
    if found and found.group(1) in KINDS:
        return [KINDS[found.group(1)]]
    if kind == "literal_error":
        return re.split(r", | or ", str(context["expected"]).replace("'", ""))
    if kind in LIMITS:
        return [LIMITS[kind].format(**{name: str(value).removesuffix(".0") for name, value in context.items()})]
    if problem["msg"].startswith("Input should be "):
        return [problem["msg"].removeprefix("Input should be ")]
    return []


def one_of(names: Sequence[str]) -> str:
    """The names as a list in prose, each once.

    >>> one_of(["a", "b", "a", "c"])
    'a, b or c'
    """
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} or {last}" if others else last


def shown(value: Any) -> str:
    """A value as one writes it on the command line.

    >>> shown([None, True, 0.5])
    '[null,true,0.5]'
    """
    if isinstance(value, (list, tuple)):
        return f"[{','.join(shown(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{name}:{shown(item)}' for name, item in value.items())}}}"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_short_list(problem: ErrorDetails) -> bool:
    """Whether a tuple lacks an item: pydantic then misses a setting that is called by its number."""
    return problem["type"] == "missing" and bool(problem["loc"]) and isinstance(problem["loc"][-1], int)


def _is_branch(part: int | str) -> bool:
    """Whether a part of pydantic's location names a member of a union (`constrained-int`, `literal[...]`)."""
    return isinstance(part, str) and ("[" in part or "-" in part or part in ("int", "float", "str", "bool"))
