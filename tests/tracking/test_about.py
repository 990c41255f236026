"""What a result says of the job that it is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.config.keys import Keys
from study.job import run
from study.metrics.measured import Measured
from tests.commands import FAST, about, prepared


def test_a_job_that_crashes_in_its_repair_has_its_keys_by_then(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "crash.yaml").write_text("_target_: tests.crashing.Crashing\nmax_seconds: null\n")
    (job,) = prepared("--config-dir", str(tmp_path), "+method=crash", "method.max_seconds=9", *FAST)
    known = about(job)
    with pytest.raises(Exception, match="broken") as crash:
        run(job, known, tmp_path / "job")
    tags = known.crash(crash.value).tags
    assert tags["outcome"] == "crashed"
    assert (tags["approach"], tags["subject_name"]) == ("crash max_seconds=9", "digits / mlp, faulty.epochs=4")
    assert {name: tags[name] for name in Keys.of(job).tags()} == Keys.of(job).tags()
    assert all(len(tags[name]) == 20 for name in ("subject", "row", "data", "split"))


def test_what_is_doubtful_in_a_metric_is_a_tag(tmp_path: Path) -> None:
    (job,) = prepared("+method=finetune", *FAST)
    measured = Measured({"after/a": 1.0}, flags={"a": "after: zero gradients"}) | Measured(flags={"b": "before: odd"})
    tags = about(job).result("key", {"outcome": "repaired"}, measured).tags
    found = {name: text for name, text in tags.items() if name.startswith("flags.")}
    assert found == {"flags.a": "after: zero gradients", "flags.b": "before: odd"}
