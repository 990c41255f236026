"""Every exception of the package, and what each means for a job: its exit code or its outcome."""

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(Exception):
    """A user's mistake: one clear sentence that names the setting, the value and what would be right.

    It ends the program with exit code 2, before any work starts and before anything is written. What it quotes may hold
    anything, a line break for one; the sentence stays a single line.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class Damaged(UsageError):
    """A stored file is not what was written: the message names it and says what is wrong.

    What can be made again is made again, with a warning; elsewhere it is told like a mistake.
    """


class NotRecorded(Exception):
    """A job's result is whole in its folder, but the store did not take it: exit code 1.

    The message is a whole sentence; reason: why not, the same for every job that the store refuses for it. The same
    command, or `python -m study.record`, records the result without measuring again.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # two arguments, when a worker sends it to its parent
        return type(self), (str(self), self.reason)


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


def printable(text: str) -> str:
    r"""The text on one line: what cannot be printed as it is, escaped.

    >>> print(printable("a name\nof two lines"))
    a name\nof two lines
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


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
