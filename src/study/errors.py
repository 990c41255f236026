"""Every exception of the package, and what each means for a job: its exit code or its outcome."""

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(Exception):
    """A user's mistake: one clear sentence that names the setting, the value and what would be right.

    It ends the program with exit code 2, before any work starts and before anything is written.
    """


class NotApplicable(Exception):
    """By its design an approach, a safeguard or a metric cannot be applied; the message says in one sentence why not.

    Of an approach it is the outcome `unadaptable`, a result like any other (exit code 0); a metric is left out.
    """


class RepairFailed(Exception):
    """The approach ended and found no repair: the outcome `failure` (exit code 0).

    reason: why; costs: what it used or counted until then, as in `Repaired`.
    """

    def __init__(self, reason: str, **costs: float) -> None:
        super().__init__(reason)
        self.costs = costs


class BudgetExceeded(Exception):
    """A repair ran over its time or memory budget: the outcome `corrupted` (exit code 0)."""


class OutOfTime(BudgetExceeded):
    """The budget was one of time."""


def nearest(name: str, known: Iterable[str], rest: str = "") -> str:
    """The end of a refusal of `name`: which of the known names may have been meant, or else what there is.

    rest: what follows the name, to be kept in a suggestion.

    >>> nearest("aracne", ["arachne", "care"]), nearest("x", ["care", "vere"]), nearest("x", [])
    ('did you mean arachne?', 'there are: care, vere', 'there are none')
    >>> nearest("metod", ["method", "seed"], rest=".population")
    'did you mean method.population?'
    """
    names = sorted(known)
    if close := get_close_matches(name, names, n=3, cutoff=0.65):
        return f"did you mean {' or '.join(f'{match}{rest}' for match in close)}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
