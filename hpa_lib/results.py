"""What a training run reports: metrics on held-out rows beside trivial predictors."""

from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import baselines, metrics, predictions, source_evaluation, thresholds
from hpa_lib.dataset import Dataset
from hpa_lib.source_evaluation import SourceResult
from hpa_lib.splits import Split

HEADLINE: dict[str, str] = {
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "macro_average_precision": "Macro average precision",
    "binary_accuracy": "Binary accuracy",
}
"""Metrics of a training run's headline."""

TRIVIAL_METRICS: tuple[str, ...] = ("macro_f1", "micro_f1")
"""Metrics in which a network is set beside the trivial predictor that is best in them."""


def training_results(
    backbone: str,
    dataset: Dataset,
    division: Split,
    table: pd.DataFrame,
    *,
    threshold_rule: str,
    never_empty: bool,
    epoch: int,
    samples_seen: int,
) -> dict[str, Any]:
    """Everything that a training run writes to ``metrics.json``.

    Thresholds are tuned on the threshold part and scored on the report part; ``"matched"`` takes
    its class frequencies from the training part. All rules are scored, the tuned ones only where
    there is a threshold part, and the one asked for makes the headline.

    Args:
        backbone: Name of the backbone.
        dataset: The samples.
        division: Their split.
        table: Predictions of the evaluation parts; see `predictions.table`.
        threshold_rule: One of `thresholds.RULES`.
        never_empty: See `metrics.decide`.
        epoch: Epoch (from 1) that the evaluated weights come from.
        samples_seen: Training samples drawn in all epochs.

    Returns:
        A mapping with the keys backbone, protocol, split, epoch, samples_seen, threshold_rule,
        never_empty, thresholds, training_frequency (share of each class), trivial (metric →
        name, probability, report), report (rule → metrics) and headline.

    Raises:
        HpaError: If the rule is tuned and there is no threshold part.
    """
    truth, probability = predictions.arrays(table, "report")
    tuning = predictions.arrays(table, "threshold")
    training_labels = dataset.multi_hot[division.parts["training"]]
    rules = thresholds.RULES if len(tuning[0]) else thresholds.FIXED_RULES
    by_rule = {
        rule: thresholds.tune(rule, *tuning, training_labels.mean(axis=0))
        for rule in {*rules, threshold_rule}
    }
    scores = {
        rule: metrics.summary(truth, probability, by_rule[rule], never_empty)
        for rule in thresholds.RULES
        if rule in by_rule
    }
    return {
        "backbone": backbone,
        "protocol": division.protocol,
        "split": division.fingerprint,
        "epoch": epoch,
        "samples_seen": samples_seen,
        "threshold_rule": threshold_rule,
        "never_empty": never_empty,
        "thresholds": by_rule[threshold_rule].tolist(),
        "training_frequency": training_labels.mean(axis=0).tolist(),
        "trivial": {name: _trivial(training_labels, truth, name) for name in TRIVIAL_METRICS},
        "report": scores,
        "headline": {HEADLINE[name]: scores[threshold_rule][name] for name in HEADLINE},
    }


def _trivial(training_labels: np.ndarray, truth: np.ndarray, metric: str) -> dict[str, Any]:
    """The trivial predictor that is best in one metric on the report part itself.

    Choosing it there favours it over the network.
    """
    name, _ = baselines.best_trivial(training_labels, truth, metric)
    constant = baselines.trivial_predictors(training_labels)[name]
    repeated = baselines.repeat(constant, len(truth))
    return {
        "name": name,
        "probability": constant.tolist(),
        "report": metrics.summary(truth, repeated, 0.5),
    }


def by_source(results: dict[str, Any], table: pd.DataFrame) -> SourceResult:
    """Score each source of the report part alone, by the headline's thresholds.

    Args:
        results: See `training_results`.
        table: The predictions that they were computed from.
    """
    truth, probability = predictions.arrays(table, "report")
    given = metrics.decide(probability, np.array(results["thresholds"]), results["never_empty"])
    rows = predictions.rows_by_source(table, "report")
    return source_evaluation.bootstrap(truth, {results["backbone"]: given}, rows)


def score_table(results: dict[str, Any]) -> pd.DataFrame:
    """Metrics of the report part: one column a threshold rule, trivial predictors last."""
    names = [name for name in metrics.READABLE_NAMES if name != "samples"]
    columns = {f"threshold {rule}": scores for rule, scores in results["report"].items()}
    for trivial in results["trivial"].values():
        columns[f"trivial: {trivial['name']}"] = trivial["report"]
    table = pd.DataFrame(columns).loc[names]
    table.index = pd.Index([metrics.READABLE_NAMES[name] for name in names], name="metric")
    return table


def verdict(results: dict[str, Any]) -> str:
    """One sentence that sets the network beside the best trivial predictors."""
    rule = results["threshold_rule"]
    scores = results["report"][rule]
    parts = []
    for name, trivial in results["trivial"].items():
        network, bar = scores[name], trivial["report"][name]
        relation = "above" if network > bar else "not above"
        parts.append(
            f"a {metrics.READABLE_NAMES[name]} of {network:.3f}, {relation} the {bar:.3f} of the "
            f"best trivial predictor ({trivial['name']})"
        )
    return (
        f"On the {int(scores['samples'])} samples of the report part {results['backbone']} reaches "
        f"{', and '.join(parts)}; threshold rule: {rule}"
        f"{', and no sample stays without a label' if results['never_empty'] else ''}."
    )


def check(results: dict[str, Any], table: pd.DataFrame, division: Split) -> None:
    """Assert what must hold of every training run, whatever it has learned.

    Raises:
        AssertionError: If a probability is none, a part lacks rows, or the report part shares a
            row with training.
    """
    parts = division.evaluation_parts
    counts = table["part"].value_counts()
    assert {name: len(rows) for name, rows in parts.items()} == counts.to_dict()
    for name in parts:
        truth, probability = predictions.arrays(table, name)
        assert truth.shape == probability.shape
        assert np.isfinite(probability).all()
        assert ((probability >= 0) & (probability <= 1)).all()
    assert not np.isin(division.parts["report"], division.parts["training"]).any()
    assert all(0 <= value <= 1 for value in results["headline"].values() if np.isfinite(value))
