"""The one exception that users meet: what is wrong, which value was received, what to do."""

import reprlib
from typing import Any

_SHOWN = reprlib.Repr()
_SHOWN.maxlevel, _SHOWN.maxlist, _SHOWN.maxdict = 2, 30, 10
_SHOWN.maxstring = _SHOWN.maxother = 120


class HpaError(Exception):
    """A mistake that the user can mend.

    The message names the file or parameter, the value received, and the remedy. The command
    line prints it without a traceback and exits with status 2.

    Args:
        problem: What is wrong, naming the file or parameter and the value received.
        remedy: What the user can do about it, as a full sentence.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(problem, remedy)  # as given, so that it can cross process borders

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [f"{type(self).__name__}: {self.problem}", f"What to do: {self.remedy}"]


def shown(value: Any) -> str:
    """A received value for a message: its `repr`, shortened where it's long or deeply nested."""
    return _SHOWN.repr(value)
