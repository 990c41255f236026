"""Every exception of the package, and what each means for a job: its exit code or its outcome."""


class UsageError(Exception):
    """A user's mistake: one clear sentence that names the setting, the value and what would be right.

    It ends the program with exit code 2, before any work starts and before anything is written.
    """


class NotApplicable(Exception):
    """By its design an approach, a safeguard or a metric cannot be applied; the message says in one sentence why not.

    Of an approach it is the outcome `unadaptable`, a result like any other (exit code 0); a metric is left out.
    """


class RepairFailed(Exception):
    """The approach ended and found no repair: the outcome `failure` (exit code 0); the message says why."""


class BudgetExceeded(Exception):
    """A repair ran over its time or memory budget: the outcome `corrupted` (exit code 0)."""


class OutOfTime(BudgetExceeded):
    """The budget was one of time."""
