"""What can be wrong with a request, as opposed to wrong with the program."""


class Refusal(Exception):
    """A user's mistake: one clear sentence that names the setting, the value and what would be right.

    It ends the program with exit code 2, before any work starts and before anything is written.
    """
