"""What a dependency gives up is an error where this project's own code uses it."""

import logging
import re
import warnings
from pathlib import Path

from hpa_lib import paths

CATEGORIES = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")

_CALL = re.compile(r"From (.+):(\d+): .* is deprecated")


def environment():
    """Variable that makes it an error in the kernels and programs that a test starts, too.

    It takes whole names of modules; the patterns for the tests themselves are in pyproject.toml.
    """
    library = (f"hpa_lib.{path.stem}" for path in (paths.PROJECT_ROOT / "hpa_lib").glob("*.py"))
    filters = (f"error::{kind}:{name}" for name in ("__main__", *library) for kind in CATEGORIES)
    return {"PYTHONWARNINGS": ",".join(filters)}


class LoggedByTensorFlow(logging.Handler):
    """Makes what TensorFlow logs of a call that it gives up a warning of the caller's module."""

    def emit(self, record):
        message = record.getMessage()
        if found := _CALL.match(message):
            path, line = Path(found[1]), int(found[2])
            package = "hpa_lib." if path.parent.name == "hpa_lib" else ""
            warnings.warn_explicit(
                message, DeprecationWarning, str(path), line, f"{package}{path.stem}"
            )
