"""What each threshold rule, and the rule that no sample stays empty, costs or gains.

Thresholds are tuned on a run's threshold part alone and scored on its report part. Every gain
is a paired difference there: over the fixed threshold 0.5, or of the never-empty rule over the
same thresholds without it. The intervals are not corrected for the number of rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import evaluation, metrics, thresholds, wording
from hpa_lib.evaluation import BootstrapResult
from hpa_lib.trained_runs import TrainedRun

COMPARED: tuple[str, ...] = ("macro_f1", "micro_f1", "samples_f1", "exact_match")
"""Metrics that the rules are compared in."""

BASELINE = "0.5"
"""The rule that gains are counted from."""

NEVER_EMPTY = ", never empty"
"""What the name of a rule ends with where no sample may stay without a label."""

_INTERVAL = ["estimate", "low", "high"]


@dataclass(frozen=True)
class ThresholdComparison:
    """Scores and gains on the report part.

    A way to give labels is a rule, such as ``"matched"``, or a rule with the never-empty rule,
    ``"matched, never empty"``.

    Attributes:
        scores: Index (network, labels), where labels is a way to give them; columns `COMPARED`,
            labels_a_sample and empty_share, the share of samples that get no label.
        gains: Index (network, labels, metric): the gain over `BASELINE` of every other way.
            Columns estimate, low, high.
        never_empty_gains: Index (network, rule, metric): the gain of the never-empty rule over
            the same thresholds without it. Columns estimate, low, high.
        own: By network: the way in which its run gives labels.
        true_labels_a_sample: By network: mean number of labels in the truth of its report part.
        level: Confidence level of the intervals, between 0 and 1.
    """

    scores: pd.DataFrame
    gains: pd.DataFrame
    never_empty_gains: pd.DataFrame
    own: dict[str, str]
    true_labels_a_sample: dict[str, float]
    level: float

    def values(self) -> dict[str, Any]:
        """Everything as numbers, for ``metrics.json``."""
        return {
            "scores": evaluation.nested(self.scores),
            "gains": evaluation.nested(self.gains),
            "never_empty_gains": evaluation.nested(self.never_empty_gains),
        }


def compare(
    trained: Sequence[TrainedRun], replicates: int = 2000, seed: int = 0, level: float = 0.95
) -> ThresholdComparison:
    """Score every rule on each run's report part, with and without the never-empty rule.

    Args:
        trained: At least one run, each with a label of its own. Of a run without a threshold part
            the fixed rules alone are compared.
        replicates: See `evaluation.bootstrap_metrics`.
        seed: See `evaluation.bootstrap_metrics`; the same for each run.
        level: See `evaluation.bootstrap_metrics`.

    Returns:
        Scores and gains, the rules in the order of `thresholds.RULES`.

    Raises:
        HpaError: If a parameter is out of its range, or the report part has one sample only.
    """
    scores, gains, never_empty_gains = {}, {}, {}
    for run in trained:
        truth, _ = run.arrays("report")
        given = _decisions(run)
        # A difference is first minus second: the baseline comes last, and each rule after itself
        # with the never-empty rule.
        last_first = {name: given[name] for name in reversed(given)}
        bootstrap = evaluation.bootstrap_metrics(truth, last_first, replicates, seed, level)
        estimates = bootstrap.metrics["estimate"].unstack("metric")
        estimates = estimates.loc[list(given), list(COMPARED)].rename_axis(columns=None)
        scores[run.label] = estimates.assign(
            labels_a_sample=[labels.sum(axis=1).mean() for labels in given.values()],
            empty_share=[(~labels.any(axis=1)).mean() for labels in given.values()],
        )
        gains[run.label] = _gains(
            bootstrap, {name: (name, BASELINE) for name in given if name != BASELINE}
        )
        never_empty_gains[run.label] = _gains(
            bootstrap, {rule: (rule + NEVER_EMPTY, rule) for rule in _rules(run)}
        )
    return ThresholdComparison(
        scores=pd.concat(scores, names=["network", "labels"]),
        gains=pd.concat(gains, names=["network", "labels", "metric"]),
        never_empty_gains=pd.concat(never_empty_gains, names=["network", "rule", "metric"]),
        own={run.label: _own(run) for run in trained},
        true_labels_a_sample={
            run.label: float(run.arrays("report")[0].sum(axis=1).mean()) for run in trained
        },
        level=level,
    )


def table(result: ThresholdComparison) -> pd.DataFrame:
    """One row a network and way to give labels, as a reader sees it.

    Returns:
        Index (network, threshold rule); columns of text: the metrics, labels a sample, share of
        samples without a label, and gains in macro F1 with intervals.
    """
    scores = result.scores
    shown = scores[list(COMPARED)].map(wording.number).rename(columns=metrics.READABLE_NAMES)
    shown["labels a sample"] = scores["labels_a_sample"].map("{:.2f}".format)
    shown["samples without a label"] = scores["empty_share"].map(_percent)
    gains = result.gains.xs("macro_f1", level="metric")
    shown[f"gain in macro F1 over {BASELINE} ({wording.percent(result.level)} interval)"] = [
        wording.bracketed(*gains.loc[key]) if key in gains.index else "–" for key in shown.index
    ]
    return shown.rename_axis(index=["network", "threshold rule"])


def gain_intervals(result: ThresholdComparison, metric: str = "macro_f1") -> pd.DataFrame:
    """Gains of the rules alone over `BASELINE`, in one of `COMPARED`, for `plots.intervals`."""
    rows = _interval_rows(result.gains, metric)
    return rows[~rows["name"].str.endswith(NEVER_EMPTY)]


def never_empty_intervals(result: ThresholdComparison, metric: str = "samples_f1") -> pd.DataFrame:
    """Gains by the never-empty rule in one metric of `COMPARED`, for `plots.intervals`."""
    return _interval_rows(result.never_empty_gains, metric)


def sentences(result: ThresholdComparison) -> list[str]:
    """Say for each network what its rule, the other rules and the never-empty rule gain or cost."""
    return [
        *(_network_sentences(result, network) for network in result.own),
        "These intervals are not corrected for the number of rules.",
    ]


def _rules(run: TrainedRun) -> tuple[str, ...]:
    """The rules that can be compared: without a threshold part the fixed ones alone."""
    truth, _ = run.arrays("threshold")
    return thresholds.RULES if len(truth) else thresholds.FIXED_RULES


def _own(run: TrainedRun) -> str:
    """The way in which a run gives labels."""
    return run.metrics["threshold_rule"] + (NEVER_EMPTY if run.metrics["never_empty"] else "")


def _decisions(run: TrainedRun) -> dict[str, np.ndarray]:
    """Labels of the report part by the way to give them, `BASELINE` first."""
    _, probability = run.arrays("report")
    frequency = np.array(run.metrics["training_frequency"])
    given = {}
    for rule in _rules(run):
        chosen = thresholds.tune(rule, *run.arrays("threshold"), frequency)
        given[rule] = metrics.decide(probability, chosen)
        given[rule + NEVER_EMPTY] = metrics.decide(probability, chosen, never_empty=True)
    return given


def _gains(bootstrap: BootstrapResult, pairs: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """Differences of some pairs in `COMPARED`, index (name of the pair, metric)."""
    found = {
        name: bootstrap.differences.xs(pair, level=("first", "second")).loc[list(COMPARED)]
        for name, pair in pairs.items()
    }
    return pd.concat(found)[_INTERVAL]


def _interval_rows(gains: pd.DataFrame, metric: str) -> pd.DataFrame:
    rows = gains.xs(metric, level="metric").reset_index()
    rows.columns = ["series", "name", *_INTERVAL]
    return rows[["name", "series", *_INTERVAL]]


def _network_sentences(result: ThresholdComparison, network: str) -> str:
    """What can be said of one network, in macro F1 where nothing else is named."""
    own = result.own[network]
    gains = result.gains.loc[network].xs("macro_f1", level="metric")
    rules = result.never_empty_gains.loc[network].index.unique("rule")
    others = [rule for rule in rules if rule not in (own, BASELINE)]
    parts = [
        f"{network} gives labels by “{own}”: "
        f"{result.scores.loc[(network, own), 'labels_a_sample']:.2f} a sample, where the truth has "
        f"{result.true_labels_a_sample[network]:.2f}."
    ]
    if own != BASELINE:
        pair = f"“{own}”", f"“{BASELINE}”"
        parts.append(wording.difference(gains.loc[own], *pair, "macro F1", result.level))
    if others:
        parts.append(_others_sentence(gains.loc[others]))
    if tuple(rules) == thresholds.FIXED_RULES:
        parts.append(
            "Its split has no threshold part, so only the fixed rules are compared: thresholds "
            "tuned on the report part would look better there than on other samples."
        )
    parts.append(_never_empty_sentence(result, network, own.removesuffix(NEVER_EMPTY)))
    return " ".join(parts)


def _others_sentence(gains: pd.DataFrame) -> str:
    """Which rules are better or worse than the baseline in macro F1; index rule."""
    kinds = {
        "better": gains["low"] > 0,
        "worse": gains["high"] < 0,
        "not told apart": (gains["low"] <= 0) & (gains["high"] >= 0),
    }
    listed = [
        f"{kind}: {', '.join(f'“{rule}”' for rule in gains.index[chosen])}"
        for kind, chosen in kinds.items()
        if chosen.any()
    ]
    return f"Other rules against “{BASELINE}” in macro F1, {'; '.join(listed)}."


def _never_empty_sentence(result: ThresholdComparison, network: str, rule: str) -> str:
    """What the never-empty rule does to the thresholds of one rule."""
    empty = result.scores.loc[(network, rule), "empty_share"]
    if empty == 0:
        return f"By “{rule}” every sample gets a label, so the never-empty rule changes nothing."
    gains = result.never_empty_gains.xs((network, rule), level=("network", "rule"))
    pair = f"“{rule}{NEVER_EMPTY}”", f"“{rule}”"
    told = [
        wording.difference(gains.loc[metric], *pair, metrics.READABLE_NAMES[metric], result.level)
        for metric in ("samples_f1", "macro_f1")
    ]
    return " ".join([f"By “{rule}” {_percent(empty)} of the samples get no label.", *told])


def _percent(share: float) -> str:
    return wording.percent(round(share, 3))
