"""What a job costs beyond the repair: its fixed overhead, and an epoch of training against a bare loop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional

from study.data.mnist import MNIST
from study.data.split import Split
from study.models.lenet5 import LeNet5
from study.problem.faulty import FaultyTraining
from study.problem.recipe import Recipe
from study.runtime.fit import Curves, fit
from study.runtime.hardware import Hardware
from study.runtime.memory import keep_freed_memory
from study.runtime.randomness import forked

REPEATS = 3
IMPORTS = "import study.__main__, study.job, study.metrics.suite, study.data.mnist, mlflow"
IMPORTS += ", mlflow.store.tracking.sqlalchemy_store"  # which MLflow imports when a local store is first used
BATCH, RATE = 128, 1e-4


def measure_overhead(home: Path) -> dict[str, float]:
    """Seconds of an empty job beyond the bare imports (warm cache), and the ratio of an epoch to a bare loop."""
    conf = Path(__file__).parent / "conf"
    job = ["-m", "study", "--config-dir", str(conf), "+method=nothing", "dataset=mnist", "metric=fast"]
    job += ["force=true"]
    seconds(job, home)  # the faulty model is in the cache from here on
    empty = median(seconds(job, home) for _ in range(REPEATS))
    imports = median(seconds(["-c", IMPORTS], home) for _ in range(REPEATS))
    ours, bare = epoch_times()
    return {
        "job that does nothing, seconds": empty,
        "bare imports, seconds": imports,
        "overhead of a job, seconds": empty - imports,
        "epoch of training, seconds": ours,
        "epoch of a bare loop, seconds": bare,
        "ratio": ours / bare,
    }


def seconds(arguments: list[str], home: Path) -> float:
    """Wall-clock time of a Python process."""
    start = time.perf_counter()
    environment = os.environ | {"STUDY_HOME": str(home)}
    subprocess.run([sys.executable, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def epoch_times() -> tuple[float, float]:
    """Seconds of an epoch on MNIST through `FaultyTraining` and through a plain loop; alternated, the medians."""
    keep_freed_memory()
    data = MNIST()
    data.load(0)
    train, validation = data.splits["train"], data.splits["validation"]
    pairs = [(ours(train, validation), bare(train)) for _ in range(REPEATS)]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)


def ours(train: Split, validation: Split) -> float:
    """One epoch as the faulty model is trained, validation included."""
    recipe = Recipe(epochs=1, optimizer="adam", lr=RATE, batch_size=BATCH, augmentation="none")
    training = FaultyTraining(network(), recipe, train, validation, 0)
    start = time.perf_counter()
    fit(training, Hardware(progress=False), Curves())
    return time.perf_counter() - start


def bare(train: Split) -> float:
    """One epoch of the shortest PyTorch loop that does the same."""
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), RATE, fused=True)
    inputs, labels = train.tensors()[:2]
    start = time.perf_counter()
    order = torch.randperm(len(labels))
    for chosen in order.split(BATCH):
        loss = functional.cross_entropy(net(inputs[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def network() -> LeNet5:
    """A LeNet5 for MNIST, always with the same weights."""
    with forked(0, "benchmark"):
        return LeNet5(input_shape=(1, 28, 28), num_classes=10)
