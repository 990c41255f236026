"""What a repair computes, in forward passes of the whole network, and the CPU seconds that these alone would take.

The floating-point operations of all matrix products and convolutions of a repair, forward and backward, on cached
activations or on the whole network, divided by those of one forward pass over one input.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from study.config.job import Job
from study.config.keys import Keys
from study.job import problem_of
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.repairs.run import run_repair
from study.storage.files import write_atomically

REPEATS = 5


def passes_of(job: Job, home: Path) -> tuple[float, float]:
    """Forward passes over one input that a job's repair is worth, and the CPU seconds that they take; counted once."""
    job.data.load(job.settings.subject.seed)
    keys = Keys.of(job)
    place = home / "passes" / f"{keys.repair}-{keys.code}.json"
    if not place.exists():
        torch.set_num_threads(int(job.hardware.threads))
        problem = problem_of(job, keys, job.data.splits)
        assert job.approach is not None
        with FlopCounterMode(display=False) as counter:
            run_repair(job.approach, problem, job.hardware)
        passes = counter.get_total_flops() / flops_of_a_pass(problem)
        place.parent.mkdir(exist_ok=True)
        write_atomically(place, json.dumps([passes, passes * seconds_of_a_pass(problem)]))
    passes, seconds = json.loads(place.read_text())
    return passes, seconds


def flops_of_a_pass(problem: Problem) -> int:
    """Floating-point operations of one forward pass over one input."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        problem.faulty(problem.repair_set.fetch(torch.tensor([0])).inputs)
    flops: int = counter.get_total_flops()
    return flops


def seconds_of_a_pass(problem: Problem) -> float:
    """CPU seconds of one forward pass over one input, in large batches; the best of a few runs."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        predict(problem.faulty, problem.repair_set)
        best = min(best, time.process_time() - start)
    return best / len(problem.repair_set)
