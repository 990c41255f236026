"""A process ends with the one that started it, whatever ends that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import is_alive, within

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel does it, on Linux")
CHILD = """
import os, signal, sys, time
from study.runtime.parent import end_with
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end_with(os.getppid() if sys.argv[1] == "parent" else int(sys.argv[1]))
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import signal, subprocess, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]])
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_child_ends_when_its_parent_is_killed(number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, "parent"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)
    os.kill(parent.pid, number)
    assert parent.wait(10) == -number
    assert within(5, lambda: not is_alive(child))


def test_a_child_ends_whose_parent_was_gone_before_it_could_say_so() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(20)
    child = subprocess.run([sys.executable, "-c", CHILD, str(gone.pid)], cwd=ROOT, capture_output=True, timeout=30)
    assert child.returncode == -signal.SIGKILL
    assert not child.stdout


WORKERS = """
import os, sys, time
from joblib import Parallel, delayed

def work(number):
    from study.runtime.parent import end_as_worker
    end_as_worker()
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece: both workers write into this pipe
    time.sleep(60)

Parallel(n_jobs=2)(delayed(work)(number) for number in range(2))
"""


def test_workers_of_joblib_end_with_the_process_that_made_them() -> None:
    parent = subprocess.Popen([sys.executable, "-c", WORKERS], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    assert all(map(is_alive, workers)) and parent.pid not in workers
    parent.kill()
    parent.wait(10)
    assert within(5, lambda: not any(map(is_alive, workers)))


def test_who_was_not_made_as_a_worker_goes_on() -> None:
    program = "from study.runtime.parent import end_as_worker; end_as_worker(); print('on')"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert told.stdout == "on\n"
