"""True and false positives and negatives, sample by sample, and whether one network has more.

The study infers "far more true positives" from ten samples. Here they are counted for the ten
shown samples, and compared over the whole report part, false positives with them: a network that
gives more labels has more of both.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hpa_lib import evaluation, metrics, wording
from hpa_lib.trained_runs import TrainedRun

STUDY_THRESHOLD = 0.2
"""Threshold of the reference study's comparison."""

SHOWN_SAMPLES = 10
"""Samples that the study compares its networks on."""

KINDS: tuple[str, ...] = (
    "true positives", "false positives", "false negatives", "true negatives",
)  # fmt: skip

COMPARED: tuple[str, ...] = KINDS[:2]
"""Counts that are compared over the report part."""

TOTAL = "all together"
OWN = "each run's own thresholds"


def shown(trained: Sequence[TrainedRun]) -> pd.DataFrame:
    """Count right and wrong decisions for each of the samples shown one by one.

    Args:
        trained: Runs of the same split.

    Returns:
        Index (threshold, Id): the study's threshold, then each run's own thresholds, each
        followed by a row `TOTAL`. For each run one column a kind of count.
    """
    ids = trained[0].predictions.loc[trained[0].predictions["part"] == "shown", "Id"]
    tables = {}
    for threshold in (str(STUDY_THRESHOLD), OWN):
        columns = {}
        for run in trained:
            counts = _counts(run, "shown", threshold)
            columns |= {f"{run.label}: {kind}": counts[kind] for kind in KINDS}
        by_sample = pd.DataFrame(columns, index=pd.Index(ids, name="Id"))
        tables[threshold] = pd.concat([by_sample, by_sample.sum().rename(TOTAL).to_frame().T])
    return pd.concat(tables, names=["threshold", "Id"])


def differences(
    trained: Sequence[TrainedRun], replicates: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Compare the counts a sample of two runs over the report part.

    Intervals come from the paired, stratified bootstrap of `evaluation`.

    Args:
        trained: Two runs of the same split.
        replicates: Number of resamples, and of random draws of `SHOWN_SAMPLES` samples.
        seed: The same seed gives the same result.
        level: Confidence level, between 0 and 1.

    Returns:
        Index (threshold, count), counts as in `COMPARED`. Columns first and second (mean a
        sample), estimate (first minus second), low, high, and misleading_draws: the share of
        random draws of `SHOWN_SAMPLES` report samples, with replacement, whose difference is 0
        or has the other sign; NaN where the estimate is 0.
    """
    truth, _ = trained[0].arrays("report")
    thresholds = (str(STUDY_THRESHOLD), OWN)
    index = pd.MultiIndex.from_product([thresholds, COMPARED], names=["threshold", "count"])
    first, second = (
        np.stack([_counts(run, "report", threshold)[kind] for threshold, kind in index])
        for run in trained
    )
    by_sample = first - second
    weights = evaluation.resampling_weights(evaluation.strata(truth), replicates, seed)
    resampled = np.concatenate([some @ by_sample.T for some in weights]) / len(truth)
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    rows = np.random.default_rng(seed).integers(0, len(truth), (replicates, SHOWN_SAMPLES))
    estimate = by_sample.mean(axis=1)
    agrees = np.sign(by_sample[:, rows].sum(axis=2)) == np.sign(estimate)[:, None]
    return pd.DataFrame(
        {
            "first": first.mean(axis=1),
            "second": second.mean(axis=1),
            "estimate": estimate,
            "low": low,
            "high": high,
            "misleading_draws": np.where(estimate == 0, np.nan, 1 - agrees.mean(axis=1)),
        },
        index=index,
    )


def sentences(
    trained: Sequence[TrainedRun], compared: pd.DataFrame, level: float = 0.95
) -> list[str]:
    """Say whether the first run has more true positives than the second, and at what cost.

    Args:
        trained: See `differences`.
        compared: See `differences`.
        level: Confidence level of its intervals.
    """
    labels = tuple(run.label for run in trained)
    samples = len(trained[0].arrays("report")[0])
    lines = [f"These are counts over the {samples:,} samples of the report part."]
    for threshold, rows in compared.groupby(level="threshold", sort=False):
        at = OWN if threshold == OWN else f"the study's threshold of {threshold}"
        lines.append(_threshold_sentence(rows.droplevel("threshold"), at, *labels, level))
    return lines


def _counts(run: TrainedRun, part: str, threshold: str) -> dict[str, np.ndarray]:
    """Counts of `KINDS` of each sample of a part, shape (samples,), at one kind of threshold."""
    truth, probability = run.arrays(part)
    own = threshold == OWN
    given = run.decisions(part) if own else metrics.decide(probability, float(threshold))
    counts = metrics.confusion_counts(truth.T, given.T)
    return {kind: getattr(counts, kind.replace(" ", "_")) for kind in KINDS}


def _threshold_sentence(rows: pd.DataFrame, at: str, first: str, second: str, level: float) -> str:
    """Who has more true and false positives at one kind of threshold.

    Args:
        rows: Index count, see `differences`.
        at: Which thresholds.
        first: Label of the first run.
        second: Label of the second run.
        level: Confidence level of the intervals.
    """
    true, false = (rows.loc[count] for count in COMPARED)
    return (
        f"At {at} {first} has {true['first']:.2f} true and {false['first']:.2f} false positives a "
        f"sample, {second} {true['second']:.2f} and {false['second']:.2f}. "
        f"{_claim(true, first, second, level)} {_cost(true, false, first, level)}"
    )


def _claim(true: pd.Series, first: str, second: str, level: float) -> str:
    """Whether the first run has more true positives, and whether ten samples would tell."""
    interval = wording.with_interval(true["estimate"], true["low"], true["high"], level)
    if true["low"] <= 0 <= true["high"]:
        return (
            f"That {first} has more true positives than {second} is not shown: the difference is "
            f"{interval}."
        )
    if true["estimate"] < 0:
        return f"{first} has fewer true positives, not more: the difference is {interval}."
    more = "" if true["second"] == 0 else f", {_percent(true['estimate'] / true['second'])} more"
    return (
        f"{first} has more true positives{more}: the difference is {interval}. In "
        f"{_percent(true['misleading_draws'])} of random draws of {SHOWN_SAMPLES} samples it has "
        "no more."
    )


def _cost(true: pd.Series, false: pd.Series, first: str, level: float) -> str:
    """Whether the first run has more false positives, and what that says of the true ones."""
    interval = wording.with_interval(false["estimate"], false["low"], false["high"], level)
    if false["low"] <= 0 <= false["high"]:
        return f"In false positives the data do not tell them apart: {interval}."
    if false["estimate"] < 0:
        return f"{first} has fewer false positives: the difference is {interval}."
    both = (
        " So it gives more labels, which brings more of both: true positives alone do not make it "
        "better."
        if true["low"] > 0
        else ""
    )
    return f"{first} has more false positives: the difference is {interval}.{both}"


def _percent(share: float) -> str:
    return wording.percent(round(share, 2))
