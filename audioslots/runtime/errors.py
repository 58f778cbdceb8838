"""The two ways a command ends early on purpose: bad input, and being asked to stop."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input of any kind: a file, a config key or an argument.

    The command line prints it as one line and exits with status 2, so a message names the file or key, says what
    is wrong and what was expected::

        raise InputError("data/test.csv: row 7: gain is nan; expected a positive number")
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Interrupted(Exception):
    """Asked to stop, with everything saved: the same command resumes. The command line exits with status 75."""
