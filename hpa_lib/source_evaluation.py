"""Score samples source by source.

Each source is resampled alone. Thresholds and networks stay the same; what differs is the images
and how often each class occurs. Macro F1 runs over the classes that have at least
`evaluation.MINIMUM_POSITIVES` positives in every source: averages over other classes in each
source would differ even where the network is equally good in both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import evaluation, wording
from hpa_lib.labels import CLASS_NAMES

MINIMUM_SAMPLES = 30
"""Samples that a source needs for figures of its own.

In random draws from Kaggle's label table with simulated predictions, the 95 % interval of micro
F1 holds the true value about as often from 30 samples as it does from 100, and less often from 10.
"""


@dataclass(frozen=True)
class SourceResult:
    """Scores in each source, with intervals; empty tables where sources aren't told apart.

    A source with fewer than `MINIMUM_SAMPLES` samples is in `counts` only.

    Attributes:
        counts: Index source; columns samples and classes present.
        classes: Names of the classes that macro F1 runs over.
        metrics: Index (source, model, metric); columns estimate, low, high.
        differences: Index (source, first, second, metric) for each pair of models; columns
            estimate (first minus second), low, high, p_value (not corrected).
        level: Confidence level of the intervals, between 0 and 1.
    """

    counts: pd.DataFrame
    classes: tuple[str, ...]
    metrics: pd.DataFrame
    differences: pd.DataFrame
    level: float

    def values(self) -> dict[str, Any]:
        """Everything as numbers and names, for ``metrics.json``."""
        return {
            "counts": self.counts.to_dict(orient="index"),
            "macro_f1_classes": list(self.classes),
            "metrics": evaluation.nested(self.metrics),
            "differences": evaluation.nested(self.differences),
        }


def bootstrap(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    rows_by_source: Mapping[str, np.ndarray],
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    class_names: Sequence[str] = CLASS_NAMES,
) -> SourceResult:
    """Score models in each source: macro F1 over shared classes, and micro F1 over all.

    Args:
        truth: See `evaluation.bootstrap_metrics`.
        predictions: See `evaluation.bootstrap_metrics`.
        rows_by_source: Row numbers by name of source; with fewer than two there is no result.
        replicates: See `evaluation.bootstrap_metrics`.
        seed: See `evaluation.bootstrap_metrics`; the same in each source.
        level: See `evaluation.bootstrap_metrics`.
        class_names: See `evaluation.bootstrap_metrics`.

    Returns:
        The metrics macro_f1 and micro_f1 of each source with at least `MINIMUM_SAMPLES` samples.
        Shared classes have at least `evaluation.MINIMUM_POSITIVES` positives in each of these
        sources; without any, macro_f1 is left out.

    Raises:
        HpaError: As `evaluation.bootstrap_metrics`.
    """
    rows_by_source = rows_by_source if len(rows_by_source) > 1 else {}
    truth, names = np.asarray(truth), np.array(class_names)
    positives = {source: truth[rows].sum(axis=0) for source, rows in rows_by_source.items()}
    large = [name for name, rows in rows_by_source.items() if len(rows) >= MINIMUM_SAMPLES]
    shared = np.full(len(names), bool(large))
    for source in large:
        shared &= positives[source] >= evaluation.MINIMUM_POSITIVES
    found = {}
    for source in large:
        for metric, chosen in (("macro_f1", shared), ("micro_f1", np.full(len(names), True))):
            if chosen.any():
                part = np.ix_(rows_by_source[source], np.flatnonzero(chosen))
                given = {name: np.asarray(labels)[part] for name, labels in predictions.items()}
                found[source, metric] = evaluation.bootstrap_metrics(
                    truth[part], given, replicates, seed, level, list(names[chosen])
                )
    return SourceResult(
        counts=pd.DataFrame(
            {
                "samples": {source: len(rows) for source, rows in rows_by_source.items()},
                "classes present": {
                    source: int((counts > 0).sum()) for source, counts in positives.items()
                },
            },
            dtype=int,
        ).rename_axis("source"),
        classes=tuple(names[shared].tolist()),
        metrics=_joined({key: result.metrics for key, result in found.items()}),
        differences=_joined({key: result.differences for key, result in found.items()}),
        level=level,
    )


def table(result: SourceResult) -> pd.DataFrame | None:
    """One row a source, as a reader sees it: counts, then figures with intervals in brackets.

    Returns:
        Index source; columns samples and classes present, and one of text for each metric and
        model, or pair of models. None where sources aren't told apart.
    """
    if result.counts.empty:
        return None
    table = result.counts.copy()
    models = result.metrics.index.unique("model") if len(result.metrics) else []
    figures = [(model, result.metrics.xs(model, level="model")) for model in models]
    figures += [
        (f"{first} − {second}", result.differences.xs((first, second), level=("first", "second")))
        for first, second in combinations(models, 2)
    ]
    over = f"macro F1 over {wording.classes(len(result.classes))}"
    shown = {"macro_f1": over} if result.classes else {}
    for metric, name in (shown | {"micro_f1": "micro F1"}).items():
        for owner, rows in figures:
            heading = f"{name}, {owner}" if len(models) > 1 else name
            texts = {
                source: wording.bracketed(row["estimate"], row["low"], row["high"])
                for source, row in rows.xs(metric, level="metric").iterrows()
            }
            column = f"{heading} ({wording.percent(result.level)} interval)"
            table[column] = [texts.get(source, "–") for source in table.index]
    return table


def sentences(result: SourceResult) -> list[str]:
    """Say whether the sources differ for each model, and which model is better in each source.

    Sources are said to differ where the intervals of the lowest and the highest macro F1 lie
    apart, which is stricter than a test of the difference. F1 also depends on how often a class
    occurs, and nothing is corrected for the number of sources.
    """
    if result.counts.empty:
        return ["All samples are of one source."]
    samples = result.counts["samples"]
    few = samples[samples < MINIMUM_SAMPLES]
    sentences = []
    if len(few):
        listed = ", ".join(f"“{source}” ({count})" for source, count in few.items())
        sentences.append(f"Too few samples for figures (under {MINIMUM_SAMPLES}): {listed}.")
    if len(few) < len(samples):
        sentences += _macro_f1_of_sources(result)
    return sentences


def _joined(tables: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Rows of one metric from each table, by source and metric, under the name of the source."""
    if not tables:
        return pd.DataFrame()
    rows = [_of_metric(table, metric) for (_, metric), table in tables.items()]
    return pd.concat(rows, keys=[source for source, _ in tables], names=["source"])


def _of_metric(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return table[table.index.get_level_values("metric") == metric]


def _macro_f1_of_sources(result: SourceResult) -> list[str]:
    every = f"at least {evaluation.MINIMUM_POSITIVES} positives in every source with figures"
    if not result.classes:
        return [f"No class has {every}, so macro F1 can't be compared between them."]
    sentences = [f"Macro F1 is over the {wording.classes(len(result.classes))} with {every}."]
    for model, rows in _of_metric(result.metrics, "macro_f1").groupby(level="model", sort=False):
        ordered = rows.droplevel(["model", "metric"]).sort_values("estimate", kind="stable")
        if len(ordered) > 1:
            sentences.append(_extremes(model, ordered, result.level))
    sentences += [
        f"In “{source}”: {wording.difference(row, first, second, 'macro F1', result.level)}"
        for (source, first, second, _), row in _of_metric(result.differences, "macro_f1").iterrows()
    ]
    return sentences


def _extremes(model: str, ordered: pd.DataFrame, level: float) -> str:
    """Say whether the sources with the lowest and the highest macro F1 differ.

    Args:
        model: Name of the model.
        ordered: Index source; columns estimate, low, high; from the lowest estimate up.
        level: Confidence level of the intervals.
    """
    lowest, highest = ordered.iloc[0], ordered.iloc[-1]
    if lowest["estimate"] == highest["estimate"]:
        value = wording.number(lowest["estimate"])
        return f"{model} has the same macro F1 of {value} in every source with figures."
    places = [
        f"“{row.name}” with {wording.with_interval(*row, level)}" for row in (lowest, highest)
    ]
    overlap = lowest["high"] >= highest["low"]
    return f"{model} is lowest in {places[0]} and highest in {places[1]}; " + (
        "the intervals overlap, so these samples do not show that the sources differ."
        if overlap
        else "the intervals do not overlap, so more than the draw of samples sets them apart: "
        "the images, or how often each class occurs."
    )
