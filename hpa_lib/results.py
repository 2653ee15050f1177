"""What a training run reports: metrics on held-out rows beside trivial predictors."""

from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import baselines, metrics, predictions, thresholds
from hpa_lib.dataset import Dataset
from hpa_lib.splits import Split

FIXED_RULES: tuple[str, ...] = ("0.5", "0.2")
"""The reference study's thresholds: for its metric, and for its comparison."""

TUNED_RULE = "global"


def training_results(
    backbone: str,
    dataset: Dataset,
    division: Split,
    table: pd.DataFrame,
    *,
    epoch: int,
    samples_seen: int,
) -> dict[str, Any]:
    """Everything that a training run writes to ``metrics.json``.

    Thresholds are tuned on the threshold part and scored on the report part. Where there is no
    threshold part, as in the study's split, the threshold is 0.5.

    Args:
        backbone: Name of the backbone.
        dataset: The samples.
        division: Their split.
        table: Predictions of the evaluation parts; see `predictions.table`.
        epoch: Epoch (from 1) that the evaluated weights come from.
        samples_seen: Training samples drawn in all epochs.

    Returns:
        A mapping with the keys backbone, protocol, split, epoch, samples_seen, threshold_rule,
        thresholds, trivial (name, probability, report), report (rule → metrics) and headline.
    """
    truth, probability = predictions.arrays(table, "report")
    tuning = predictions.arrays(table, "threshold")
    tuned = {TUNED_RULE: thresholds.tune(TUNED_RULE, *tuning)} if len(tuning[0]) else {}
    fixed = {rule: thresholds.tune(rule, truth, probability) for rule in FIXED_RULES}
    by_rule = {**fixed, **tuned}
    rule = TUNED_RULE if tuned else FIXED_RULES[0]
    scores = {name: metrics.summary(truth, probability, value) for name, value in by_rule.items()}

    training_labels = dataset.multi_hot[division.parts["training"]]
    trivial, _ = baselines.best_trivial(training_labels, truth, "macro_f1")
    constant = baselines.trivial_predictors(training_labels)[trivial]
    trivial_scores = metrics.summary(truth, baselines.repeat(constant, len(truth)), 0.5)
    return {
        "backbone": backbone,
        "protocol": division.protocol,
        "split": division.fingerprint,
        "epoch": epoch,
        "samples_seen": samples_seen,
        "threshold_rule": rule,
        "thresholds": by_rule[rule].tolist(),
        "trivial": {"name": trivial, "probability": constant.tolist(), "report": trivial_scores},
        "report": scores,
        "headline": {
            "Macro F1": scores[rule]["macro_f1"],
            "Micro F1": scores[rule]["micro_f1"],
            "Macro average precision": scores[rule]["macro_average_precision"],
            "Binary accuracy": scores[rule]["binary_accuracy"],
        },
    }


def score_table(results: dict[str, Any]) -> pd.DataFrame:
    """Metrics of the report part: one column a threshold rule, the trivial predictor last."""
    names = [name for name in metrics.READABLE_NAMES if name != "samples"]
    columns = {f"threshold {rule}": scores for rule, scores in results["report"].items()}
    columns[f"trivial: {results['trivial']['name']}"] = results["trivial"]["report"]
    table = pd.DataFrame(columns).loc[names]
    table.index = pd.Index([metrics.READABLE_NAMES[name] for name in names], name="metric")
    return table


def verdict(results: dict[str, Any]) -> str:
    """One sentence that sets the network beside the best trivial predictor."""
    network, trivial = results["headline"]["Macro F1"], results["trivial"]["report"]["macro_f1"]
    samples = int(results["report"][results["threshold_rule"]]["samples"])
    relation = "above" if network > trivial else "not above"
    return (
        f"On the {samples} samples of the report part {results['backbone']} reaches a macro F1 of "
        f"{network:.3f} (threshold rule: {results['threshold_rule']}), {relation} the "
        f"{trivial:.3f} of the best trivial predictor ({results['trivial']['name']})."
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
