"""The cores that a job takes of the machine it runs on; nothing here imports torch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from study.runtime.hardware import Hardware


def shared_out(hardware: Hardware, launcher: Mapping[str, Any]) -> Hardware:
    """Resolve `threads: auto`: the cores, shared out between the jobs that a launcher runs at the same time.

    launcher: the settings of `hydra.launcher`.
    """
    if hardware.threads != "auto":
        return hardware
    threads = len(os.sched_getaffinity(0))
    if per_task := launcher.get("cpus_per_task"):
        threads = int(per_task)
    elif parallel := launcher.get("n_jobs"):
        threads = max(1, threads // (int(parallel) if int(parallel) > 0 else threads))
    return dataclasses.replace(hardware, threads=threads)
