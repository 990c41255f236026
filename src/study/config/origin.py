"""What a job starts from, as its result tells."""

from __future__ import annotations

import os
from pathlib import Path

from study.config.job import Job
from study.config.keys import Keys
from study.tracking.result import Origin


def origin_of(job: Job, keys: Keys, folder: Path) -> Origin:
    """The faulty model and the splits of a job whose data is loaded; `folder` is the job's own."""
    cached = keys.faulty_folder.is_dir()  # neither a checkpoint nor a model that nothing was done with
    return Origin(
        faulty=keys.faulty,
        folder=os.path.relpath(keys.faulty_folder, folder.resolve()) if cached else "",
        checkpoint=job.checkpoint_digest,
        items={name: len(split) for name, split in job.data.splits.items()},
    )
