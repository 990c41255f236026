"""Whether the Hugging Face hub answers, asked once."""

from __future__ import annotations

import time

import pytest

from study.data.hub import hub_silence
from tests.data.servers import serving

constants = pytest.importorskip("huggingface_hub.constants")
PATH = "{repo_id}/resolve/{revision}/{filename}"


def test_a_hub_that_cannot_be_reached_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.url}{PATH}")
        assert hub_silence("timm/net", "model.safetensors") is None, "an answer is an answer, if a refusal"
    started = time.process_time()
    assert "refused" in (hub_silence("timm/net", "model.safetensors") or "").lower()
    assert time.process_time() - started < 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_silence("timm/net", "model.safetensors") is None, "then its own functions ask nobody either"
