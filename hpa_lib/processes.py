"""Which processes of this machine are still there."""

import os
from typing import Any


def is_alive(process: Any) -> bool:
    """Whether this machine has a process of this number; what is no number has none."""
    if type(process) is not int or process <= 0:
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
