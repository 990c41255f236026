"""The pause of Python's search for garbage."""

from __future__ import annotations

import gc

import pytest

from study.runtime.garbage import uncollected


def test_the_search_goes_on_afterwards_whatever_happened() -> None:
    with pytest.raises(RuntimeError), uncollected():
        assert not gc.isenabled()
        raise RuntimeError
    assert gc.isenabled()


def test_a_search_that_somebody_else_turned_off_stays_off() -> None:
    gc.disable()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
