"""Learning curves of all runs as small multiples: geometry for inline SVG, and words.

All runs share the vertical axes. Loss is drawn on a logarithmic axis, as it may explode for an
epoch; F1 on a linear one that begins at 0.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hpa_lib import report_text
from hpa_lib.report_runs import ReportedRun

PANELS: tuple[tuple[str, str], ...] = (("loss", "Loss"), ("macro_f1", "Macro F1"))
"""Quantities with a panel: column of the history, also with the prefix ``val_``, and name."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 234, 8, 84
_MOST_POINTS = 120
_LOSS = "loss"

_Points = list[tuple[int, float]]


def learning_curves(runs: Iterable[ReportedRun]) -> list[dict[str, Any]]:
    """Geometry of the curves, in units of the drawing (240 wide, 102 high).

    Args:
        runs: Runs; those without any curve are left out.

    Returns:
        For each run a mapping with ``run`` and ``panels``. A panel has ``label``, ``epochs``,
        ``text`` (the curves in words), ``ticks`` (height, text), ``lines`` and ``ends`` (by
        "training" and "validation": points of the line, and its last point), and ``stages``
        (where a new stage begins). Lines have at most some 120 points.
    """
    drawn = [(run, {column: _curves(run, column) for column, _ in PANELS}) for run in runs]
    drawn = [(run, curves) for run, curves in drawn if any(curves.values())]
    axes = {column: _axis(column, (curves[column] for _, curves in drawn)) for column, _ in PANELS}
    return [
        {
            "run": run,
            "panels": [
                _panel(run, label, curves[column], axes[column])
                for column, label in PANELS
                if curves[column]
            ],
        }
        for run, curves in drawn
    ]


def _curves(run: ReportedRun, column: str) -> dict[str, _Points]:
    """Points (epoch, value) of the training and the validation curve, where they are finite.

    Epochs are counted through all stages.
    """
    curves = {}
    for name, key in (("training", column), ("validation", f"val_{column}")):
        values = enumerate(map(_number, run.history.get(key, ())), start=1)
        points = [
            (epoch, value)
            for epoch, value in values
            if math.isfinite(value) and (column != _LOSS or value > 0)
        ]
        if points:
            curves[name] = points
    return curves


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@dataclass(frozen=True)
class _Axis:
    """A vertical axis: its limits, its ticks, and whether it is logarithmic."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool

    def position(self, value: float) -> float:
        """Vertical position in the drawing, cut to the plot."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return _BOTTOM - share * (_BOTTOM - _TOP)


def _axis(column: str, drawn: Iterable[dict[str, _Points]]) -> _Axis:
    """The axis that holds the curves of all runs."""
    values = [value for curves in drawn for points in curves.values() for _, value in points]
    if column != _LOSS:
        high = min(1.0, math.ceil(max(values, default=1.0) * 5) / 5) or 1.0
        return _Axis(0.0, high, (0.0, high / 2, high), logarithmic=False)
    low, high = min(values, default=0.1), max(values, default=1.0)
    steps = [digit * 10.0**power for power in range(-6, 9) for digit in (1, 2, 5)]
    low = max((step for step in steps if step <= low), default=steps[0])
    high = min((step for step in steps if step >= high and step > low), default=steps[-1])
    inside = [step for step in steps if low <= step <= high]
    stride = max(1, math.ceil((len(inside) - 1) / 3))
    return _Axis(low, high, tuple(inside[::stride]), logarithmic=True)


def _panel(run: ReportedRun, label: str, curves: dict[str, _Points], axis: _Axis) -> dict[str, Any]:
    epochs = max(map(len, run.history.values()))

    def horizontal(epoch: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * ((epoch - 1) / (epochs - 1) if epochs > 1 else 0.5)

    def line(points: _Points) -> str:
        stride = math.ceil(len(points) / _MOST_POINTS)
        thinned = points[:-1:stride] + points[-1:]
        return " ".join(f"{horizontal(x):.1f},{axis.position(y):.1f}" for x, y in thinned)

    ends = {name: points[-1] for name, points in curves.items()}
    return {
        "label": label,
        "epochs": epochs,
        "text": _in_words(label, curves),
        "ticks": [(axis.position(tick), f"{tick:g}") for tick in axis.ticks],
        "lines": {name: line(points) for name, points in curves.items()},
        "ends": {name: (horizontal(x), axis.position(y)) for name, (x, y) in ends.items()},
        "stages": [
            horizontal(epoch + 0.5)
            for epoch, (before, after) in enumerate(pairwise(run.history.get("stage", ())), start=1)
            if before != after
        ],
    }


def _in_words(label: str, curves: dict[str, _Points]) -> str:
    """A sentence with where each curve begins, ends and is best."""
    sentences = []
    for name, points in curves.items():
        (first, start), (last, end) = points[0], points[-1]
        if first == last:
            sentences.append(f"{name} {report_text.metric(end)} at epoch {last}")
            continue
        pick = min if label == "Loss" else max
        epoch, best = pick(points, key=lambda point: point[1])
        verb = "falls" if end < start else "rises" if end > start else "stays"
        sentences.append(
            f"{name} {verb} from {report_text.metric(start)} to {report_text.metric(end)} over "
            f"{last} epochs, best {report_text.metric(best)} at epoch {epoch}"
        )
    return f"{label}: " + "; ".join(sentences) + "."
