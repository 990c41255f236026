"""Breaks one step of the package after the other, in a copy, and says which of these mutants no test sees.

    python -m tests.mutants.run [--jobs N] [LIST ...]

A mutant has died where a test fails on it that passes on the package as it is, and where the tests do not end. Exit
code 1 where fewer than 90 % have died, 2 where the lists or the tests are not in order.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest

from tests.mutants.mutants import BadList, Mutant, listed

ROOT = Path(__file__).resolve().parents[2]
LEAST = 0.9
SECONDS = 300.0
"""After which the tests of a mutant do not end."""
ENDS = {0: "survived", 1: "died"}  # pytest's exit codes; any other: it ran no tests
CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = [
    "torch",
    "torchvision",
    "pytorch_lightning",
    "torchmetrics",
    "sklearn.cluster",
    "sklearn.datasets",
    "pytest",
]
"""What takes seconds to import: each process of the runner starts with it, and without the package."""
Fate = Literal["died", "endless", "survived", "no tests ran"]


@dataclass(frozen=True)
class Result:
    """What became of a mutant; killer: the test that failed, as pytest names it."""

    mutant: Mutant
    fate: Fate
    killer: str = ""
    seconds: float = 0.0

    @property
    def dead(self) -> bool:
        return self.fate in ("died", "endless")


@dataclass(frozen=True)
class Bench:
    """Where mutants are tried: `root` holds src/PACKAGE, tests/ and, if the package reads it, conf/."""

    root: Path = ROOT
    package: str = "study"
    seconds: float = SECONDS

    def check(self, mutants: Iterable[Mutant]) -> None:
        """Raises BadList where a mutant cannot be made or its tests are not there."""
        for mutant in mutants:
            path = self.root / "src" / self.package / mutant.file
            if not path.is_file():
                raise BadList(f"{mutant.file}: there is no such file ({mutant.breaks})")
            compile(mutant.applied(path.read_text()), mutant.file, "exec")
            for test in mutant.tests:
                if not (self.root / "tests" / test).is_file():
                    raise BadList(f"tests/{test}: there is no such file ({mutant.breaks})")

    def tried(self, mutant: Mutant) -> Result:
        """What the tests of a mutant say, run on a copy of the package."""
        start = time.perf_counter()
        with TemporaryDirectory(prefix="mutant-") as folder:
            copy = self._copied(Path(folder))
            broken = copy / "src" / self.package / mutant.file
            source = broken.read_text()
            broken.unlink()
            broken.write_text(mutant.applied(source))
            code, failed = self._tested(copy, [f"tests/{test}" for test in mutant.tests])
        fate: Fate = "endless" if code is None else ENDS.get(code, "no tests ran")  # type: ignore[assignment]
        return Result(mutant, fate, failed[0] if failed else "", time.perf_counter() - start)

    def failing(self, tests: Sequence[str]) -> list[str]:
        """Those of some tests that fail on an unchanged copy: what they say of a mutant counts for nothing."""
        with TemporaryDirectory(prefix="mutant-") as folder:
            code, failed = self._tested(self._copied(Path(folder)), tests, stop=False)
        return [] if code == 0 else failed or ["the tests as a whole"]

    def _copied(self, folder: Path) -> Path:
        shutil.copytree(self.root / "src", folder / "src")
        if (self.root / "conf").is_dir():
            (folder / "conf").symlink_to(self.root / "conf")
        return folder

    def _tested(self, copy: Path, tests: Sequence[str], stop: bool = True) -> tuple[int | None, list[str]]:
        """Exit code of pytest (None: it did not end) with the copy as the package, and which tests failed."""
        cache = copy / "cache"
        plain = ["-q", "--tb=no", "-p", "no:xdist", "-o", f"cache_dir={cache}", f"--rootdir={self.root}"]
        arguments = [*plain, *(["-x"] if stop else []), *tests]
        process = CONTEXT.Process(target=_pytest, args=(self.root, copy / "src", arguments))
        process.start()
        process.join(self.seconds if stop else 10 * self.seconds)
        code = process.exitcode
        if code is None:
            os.killpg(process.pid or 0, signal.SIGKILL)
            process.join()
        last = cache / "v" / "cache" / "lastfailed"
        return code, list(json.loads(last.read_text())) if last.is_file() else []


def _pytest(root: Path, source: Path, arguments: list[str]) -> None:
    """Runs pytest in this process, a new one, with what lies in `source` in front of what is installed."""
    os.setsid()
    os.chdir(root)
    os.environ |= {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.path[:0] = [str(source), str(root)]
    sys.dont_write_bytecode = True
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os._exit(int(pytest.main(arguments)))


def results_of(mutants: Sequence[Mutant], bench: Bench, jobs: int, say: Callable[[str], None]) -> list[Result]:
    """Tries all mutants, `jobs` at a time, and says what became of each; in the order of the list."""
    found: dict[Mutant, Result] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(bench.tried, mutant) for mutant in mutants]):
            result = future.result()
            found[result.mutant] = result
            place, fate = f"{len(found):3d}/{len(mutants)}", f"{result.fate:9s} {result.seconds:5.1f} s"
            say(f"{place} {fate}  {result.mutant.file}: {result.mutant.breaks}")
    return [found[mutant] for mutant in mutants]


def table(results: Sequence[Result]) -> list[str]:
    """Lines of a table by folder, the survivors, and the share of the dead."""
    lines = [f"{'folder':28s} mutants  died"]
    for group in dict.fromkeys(result.mutant.group for result in results):
        mine = [result.dead for result in results if result.mutant.group == group]
        lines.append(f"{group:28s} {len(mine):7d} {sum(mine):5d}")
    lines += [f"{r.fate}: {r.mutant.file}: {r.mutant.breaks}" for r in results if not r.dead]
    dead = sum(result.dead for result in results)
    return [*lines, f"{dead} of {len(results)} mutants have died, {dead / len(results):.1%}"]


def run(mutants: Sequence[Mutant], bench: Bench, jobs: int, say: Callable[[str], None]) -> int:
    """The exit code; see the top of this file."""
    try:
        if not mutants:
            raise BadList("the lists name no mutant")
        bench.check(mutants)
    except (BadList, SyntaxError) as error:
        say(f"mutants: {error}")
        return 2
    results = results_of(mutants, bench, jobs, say)
    for line in table(results):
        say(line)
    killers = sorted({result.killer for result in results if result.killer})
    if killers and (failing := bench.failing(killers)):
        say(f"mutants: these fail on the package as it is: {', '.join(failing)}")
        return 2
    return int(sum(result.dead for result in results) < LEAST * len(results))


def main() -> int:
    parser = argparse.ArgumentParser(description="Which hand-made mutants no test sees.")
    parser.add_argument("lists", nargs="*", help="names of lists in tests/mutants, without .yaml; all without names")
    parser.add_argument("--jobs", type=int, default=min(8, os.cpu_count() or 1), help="mutants tried at a time")
    given = parser.parse_args()
    CONTEXT.set_forkserver_preload(PRELOADED)
    try:
        mutants = listed(names=tuple(given.lists))
    except BadList as error:
        print(f"mutants: {error}")
        return 2
    return run(mutants, Bench(), given.jobs, lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(main())
