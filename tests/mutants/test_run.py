"""The runner of the mutants on a package of one line, and the lists against the package as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.mutants import BadList, Mutant, listed
from tests.mutants.run import ROOT, Bench, run

STRONG = "from tiny.sums import add\n\n\ndef test_adds():\n    assert add(2, 3) == 5\n"
WEAK = "from tiny.sums import add\n\n\ndef test_runs():\n    add(0, 0)\n"
ENDLESS = "import time\n\nfrom tiny.sums import add\n\n\ndef test_ends():\n    time.sleep(add(0, 0))\n"
RED = "def test_fails():\n    assert False\n"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    package, tests = tmp_path / "src" / "tiny", tmp_path / "tests"
    package.mkdir(parents=True)
    tests.mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (package / "__init__.py").write_text("")
    (package / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    for name, text in {"strong": STRONG, "weak": WEAK, "endless": ENDLESS, "red": RED}.items():
        (tests / f"test_{name}.py").write_text(text)
    return Bench(tmp_path, "tiny", seconds=20.0)


def mutant(becomes: str = "a - b", test: str = "test_strong.py", text: str = "a + b") -> Mutant:
    return Mutant("sums.py", "it does not add", text, becomes, (test,))


@pytest.mark.slow
def test_a_mutant_dies_where_a_test_sees_it_and_survives_where_none_does(bench: Bench) -> None:
    said = list[str]()
    assert run([mutant(), mutant(test="test_weak.py")], bench, 2, said.append) == 1
    assert sum("died" in line for line in said[:2]) == sum("survived" in line for line in said[:2]) == 1
    assert said[-2] == "survived: sums.py: it does not add" and said[-1] == "1 of 2 mutants have died, 50.0%"
    assert run([mutant()], bench, 1, said.append) == 0
    assert (bench.root / "src" / "tiny" / "sums.py").read_text().endswith("a + b\n")
    assert not list((bench.root / "src").rglob("__pycache__"))


@pytest.mark.slow
def test_the_test_that_failed_is_named_and_what_does_not_end_is_dead(bench: Bench) -> None:
    died = bench.tried(mutant())
    assert (died.fate, died.killer) == ("died", "tests/test_strong.py::test_adds")
    endless = Bench(bench.root, "tiny", seconds=2.0).tried(mutant("a + b + 60", "test_endless.py"))
    assert endless.fate == "endless" and endless.dead and endless.seconds < 10


@pytest.mark.slow
def test_tests_that_cannot_run_kill_nothing(bench: Bench) -> None:
    result = bench.tried(mutant("sum = a", text="add(a, b)"))  # not Python: `check` would refuse it
    assert result.fate == "no tests ran" and not result.dead


@pytest.mark.slow
def test_a_test_that_fails_anyway_is_no_witness(bench: Bench) -> None:
    said = list[str]()
    assert run([mutant(test="test_red.py")], bench, 1, said.append) == 2
    assert "tests/test_red.py::test_fails" in said[-1]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (mutant(text="a * b"), "stands there 0 times"),
        (mutant(text="a"), "stands there 3 times"),
        (mutant("a + b"), "nothing changes"),
        (mutant("a +"), "invalid syntax"),
        (mutant(test="test_none.py"), "no such file"),
    ],
)
def test_a_list_that_is_not_in_order_runs_nothing(bench: Bench, bad: Mutant, reason: str) -> None:
    said = list[str]()
    assert run([mutant(), bad], bench, 1, said.append) == 2
    assert len(said) == 1 and reason in said[0]


def test_lists_name_the_tests_at_the_same_place_unless_they_name_others(tmp_path: Path) -> None:
    entry = "  - {breaks: all, text: a, becomes: b"
    (tmp_path / "one.yaml").write_text(f"parts/x.py:\n{entry}}}\n{entry}, tests: [y/test_y.py]}}\n")
    assert [each.tests for each in listed(tmp_path)] == [("parts/test_x.py",), ("y/test_y.py",)]
    (tmp_path / "two.yaml").write_text("x.py:\n  - {breaks: all, text: a}\n")
    assert len(listed(tmp_path, ("one",))) == 2
    for names in ((), ("three",)):
        with pytest.raises(BadList):
            listed(tmp_path, names)


def test_every_mutant_can_be_made_and_every_approach_has_some() -> None:
    mutants = listed()
    Bench().check(mutants)
    assert len(mutants) == len({(each.file, each.text, each.becomes) for each in mutants}) >= 60
    methods = ROOT / "src" / "study" / "methods"
    files = {str(file.relative_to(methods.parent)) for file in methods.glob("*_level/*.py")}
    assert {file for file in files if not file.endswith("__init__.py")} <= {each.file for each in mutants}
