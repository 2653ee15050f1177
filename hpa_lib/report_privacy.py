"""Leave out of published texts what only concerns the computer and the person that made them.

Home folders become ``~``, whoever's they are. Of the folders that a run works with, only the last
name stays: ``/mnt/lab/ada/hpa`` becomes ``…/hpa``. Values of environment variables that hold
tokens, keys or passwords, tokens of JupyterLab, and user names in addresses become ``…``.
"""

import os
import re
from pathlib import Path
from typing import Any

from hpa_lib import paths

_SECRET_NAMES = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIALS?|_KEY)$", re.IGNORECASE)
_SHORTEST_SECRET = 8
_HOME_MARKS = ("/home/", "/root", "Users")  # one of them is in all that `_HOMES` fits
_BEFORE = r"(?<![\w.~+=-])"
# In JSON, and so in notebooks, a backslash is written as two.
_HOMES = re.compile(
    rf"{_BEFORE}(?:/home/[^/\\\s\"'<>:,;)\]]+|/Users/[^/\\\s\"'<>:,;)\]]+|/root(?![\w.-])"
    r"|[A-Za-z]:(?:\\+|/)Users(?:\\+|/)[^/\\\"'<>:|?*\n]+)"
)
_JUPYTER_TOKEN = re.compile(r"(token=)[0-9A-Za-z]+")
_USER_IN_ADDRESS = re.compile(r"(://)[^/\s\"'<>@]+@")


class Concealer:
    """Leaves out of a text what shouldn't be published, when it is called with it.

    Args:
        data: Value of the parameter ``data`` of the run that the text belongs to.
    """

    def __init__(self, data: str = "") -> None:
        folders = {
            paths.PROJECT_ROOT, paths.data_folder(), paths.runs_folder(), paths.reports_folder(),
            *([Path(data)] if Path(data).is_absolute() else []),
        }  # fmt: skip
        secrets = {
            value
            for name, value in os.environ.items()
            if _SECRET_NAMES.search(name) and len(value) >= _SHORTEST_SECRET
        }
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._folders = sorted((str(one) for one in folders if one.name), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text as it can be published."""
        # Most of a notebook is pictures. To look for fixed texts first is far faster there than
        # to try a pattern at each character.
        for secret in self._secrets:
            text = text.replace(secret, "…")
        if "/" not in text and "\\" not in text and "token=" not in text:
            return text
        text = _USER_IN_ADDRESS.sub(r"\1…@", _JUPYTER_TOKEN.sub(r"\1…", text))
        folders = [folder for folder in self._folders if folder in text]
        if folders:
            pattern = "|".join(map(re.escape, folders))
            pattern = rf"{_BEFORE}(?:{pattern})(?![\w.-])"
            text = re.sub(pattern, lambda match: f"…/{Path(match[0]).name}", text)
        text = paths.portable(text)
        return _HOMES.sub("~", text) if any(mark in text for mark in _HOME_MARKS) else text


def conceal_all(value: Any, conceal: Concealer) -> Any:
    """The same value, as JSON has it, with `conceal` applied to each text in it."""
    if isinstance(value, str):
        return conceal(value)
    if isinstance(value, dict):
        return {conceal(name): conceal_all(entry, conceal) for name, entry in value.items()}
    if isinstance(value, list):
        return [conceal_all(entry, conceal) for entry in value]
    return value
