"""`python -m study.compare`: measure and track two models, one repaired elsewhere, as a job does with its repair."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from study.__main__ import find_own_modules
from study.errors import NotRecorded, UsageError
from study.runtime.progress import log_lines
from study.storage.paths import multirun
from study.storage.space import full_disk

HELP = """\
Measures what a repair made elsewhere changed: two models from files, on the test split of a data set.

  python -m study.compare before=FILE after=FILE dataset=mnist architecture=lenet5
  python -m study.compare before=old.onnx after=new.onnx dataset=image_folder dataset.root=pictures
  python -m study.compare before=net.pt after=multirun/DATE/TIME dataset=mnist metric=all seed=1

before, after: weights of the architecture (a state dict of torch.save, or safetensors); an ONNX program (its
  robustness is n/a: it gives no gradient); a TorchScript program, with trust=[torchscript]; a folder or the
  id of an MLflow run that study.load reads.
normalised: true: the networks in files take inputs that are normalised as the data set says, as with
  faulty.checkpoint; false: inputs in their natural range, as what study.export writes does; before or after:
  one of the two takes normalised ones.
Data set, architecture, metric, seed, trainer, tracking, trust, force and --config-dir are those of
`python -m study`. The result is recorded, skipped and reported as a job's is, as method `compare`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 after a crash, or where the result could not be recorded; 2 for a user's mistake; 130: Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(given):
        print(HELP, end="")
        return 0
    find_own_modules()
    log_lines(sys.stdout)
    try:
        return _run(given)
    except (UsageError, NotRecorded) as refusal:
        print(f"study.compare: {refusal}", file=sys.stderr)
        return 2 if isinstance(refusal, UsageError) else 1
    except KeyboardInterrupt:
        print("study.compare: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"study.compare: {full_disk(error, multirun()) or traceback.format_exc()}", file=sys.stderr)
        return 1


def _run(arguments: Sequence[str]) -> int:
    from study.pairs.request import Request

    request = Request.of(arguments)
    from study.cli.launch import record_crash
    from study.pairs.comparing import compare

    compare(request, record_crash)
    return 0


if __name__ == "__main__":
    sys.exit(main())
