"""What a command line of `study.compare` may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.errors import UsageError
from study.pairs.request import Request

PAIR = ("before=a.pt", "after=b=c.pt")


@pytest.mark.parametrize(
    ("value", "sides"),
    [
        ((), ("before", "after")),
        (("normalised=true",), ("before", "after")),
        (("normalised=false",), ()),
        (("normalised=before",), ("before",)),
        (("normalised=after",), ("after",)),
    ],
)
def test_it_names_two_files_and_a_job(value: tuple[str, ...], sides: tuple[str, ...]) -> None:
    request = Request.of([*PAIR, "dataset=mnist", *value, "metric=fast", "seed=3"])
    assert (request.before, request.after, request.normalised) == ("a.pt", "b=c.pt", sides)
    assert request.job.choices["dataset"] == "mnist" and request.job.config.seed == 3
    assert request.job.overrides == ["dataset=mnist", "metric=fast", "seed=3"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("before=a.pt",), "after=FILE is missing: python -m study.compare before=FILE after=FILE"),
        (("after=b.pt", "before="), "before=FILE is missing"),
        (("before=a.pt", "after=gone/b.pt"), "after=gone/b.pt: there is no such file or folder"),
        ((*PAIR, "normalised=yes"), "normalised=yes: there are: after, before, false, true"),
        ((*PAIR, "method=arachne"), "method=arachne: nothing is repaired here"),
        ((*PAIR, "+method=arachne"), "method=arachne: nothing is repaired here"),
        ((*PAIR, "safeguard=soft_voting"), "safeguard=soft_voting: the two models are compared as they are"),
        ((*PAIR, "faulty.checkpoint=a.pt"), "faulty.checkpoint=a.pt: before=FILE takes its place"),
        ((*PAIR, "plan=true"), "plan=true: a comparison is one job"),
        ((*PAIR, "-m", "seed=1,2"), "--multirun: a comparison is one job"),
        ((*PAIR, "--cfg", "job"), "--cfg: a comparison is one job"),
        ((*PAIR, "metrik=fast"), "metrik: the configuration has no key metrik; did you mean metric"),
    ],
)
def test_what_is_of_no_use_is_refused(arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        Request.of(list(arguments))
    assert str(refusal.value).startswith(sentence)
    assert not list(tmp_path.iterdir())
