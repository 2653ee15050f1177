"""How report pages write numbers, times and sizes."""

import json
import math
import re
from datetime import datetime
from typing import Any


def is_number(value: object) -> bool:
    """Whether `value` is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def metric(value: float) -> str:
    """A metric for reading: whole numbers as they are, others with three decimals."""
    if isinstance(value, int):
        return f"{value:,}"
    if value and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.2e}"
    return f"{value:.3f}"


def parameter(value: Any) -> str:
    """A parameter as it is written in YAML."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def moment(text: str) -> str:
    """A time in ISO 8601 for reading; text in another form stays as it is."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = " UTC" if time.tzinfo is not None else ""
    return f"{time.day} {time:%b %Y, %H:%M}{zone}"


def duration(seconds: float | None) -> str:
    """A duration given in seconds, in its two largest units; empty for no number."""
    if not is_number(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def file_size(size: int) -> str:
    """A size given in bytes, in kB or MB."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"


def slug(text: str) -> str:
    """Turn a heading into an identifier: lower case, words joined by hyphens."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")
