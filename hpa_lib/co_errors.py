"""Which class is taken for which: a confusion matrix for samples with several labels.

A sample with m missed and f falsely given labels shares them out equally: each pair of a missed
and a false label counts 1 / max(m, f). So each missed label counts once in its row, shared among
the false labels in its place, with what is left over under "nothing"; and each false label counts
once in its column, with what is left over in the row "nothing". Rows add up to false negatives and
columns to false positives, and samples with a single label give the usual confusion matrix.

The definition is this project's. It differs from that of Heydarian, Doyle and Samavi, "MLCM:
Multi-label confusion matrix" (2022), which counts each pair as one, so that a sample with several
errors counts more often than it has errors.

That two classes stand in one sample as a miss and a false label doesn't mean that one was seen in
place of the other: a class that is given often is also given falsely beside any miss. So each
frequent pair is compared with how often the false label is given elsewhere. The interval of the
difference takes the pair as given; of many pairs the most frequent is so partly by chance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpa_lib import evaluation, metrics, wording
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.trained_runs import TrainedRun

NOTHING = "nothing"
"""Row of false labels in no miss's place, and column of misses without a false label."""

_INDEX = pd.Index([*CLASS_NAMES, NOTHING])


@dataclass(frozen=True)
class CoErrors:
    """Confusions of some networks.

    Attributes:
        matrices: See `matrix`, by network.
        pairs: The most frequent pairs of classes of each network; index (network, missed, given);
            columns count (as in the matrix), misses (of the missed class), rate_beside and
            rate_elsewhere (shares of samples without the given class that get it: where the other
            is missed, and where it isn't), and estimate, low and high of their difference, the
            latter two NaN where either share is of fewer than `evaluation.MINIMUM_POSITIVES`
            samples.
        level: Confidence level of the intervals, between 0 and 1.
    """

    matrices: dict[str, pd.DataFrame]
    pairs: pd.DataFrame
    level: float

    @property
    def table(self) -> pd.DataFrame:
        """The frequent pairs as a reader sees them, with the interval in brackets."""
        rows = self.pairs.reset_index()
        difference = [
            "too few misses" if np.isnan(values).any() else wording.bracketed(*values)
            for values in rows[["estimate", "low", "high"]].to_numpy()
        ]
        return pd.DataFrame(
            {
                "network": rows["network"],
                "missed class": rows["missed"],
                "given in its place": rows["given"],
                "times": rows["count"],
                "of misses": rows["misses"],
                "given falsely beside the miss": rows["rate_beside"],
                "given falsely elsewhere": rows["rate_elsewhere"],
                f"difference ({wording.percent(self.level)} interval)": difference,
            }
        ).set_index(["network", "missed class", "given in its place"])


def matrix(truth: np.ndarray, prediction: np.ndarray) -> pd.DataFrame:
    """Count missed labels by the false labels in their place, as this module defines it.

    Args:
        truth: Labels, shape (samples, 28), values 0 and 1.
        prediction: Predicted labels, same shape, values 0 and 1.

    Returns:
        Index missed class and `NOTHING`, columns given class and `NOTHING`; counts, float64. The
        diagonal is 0. In the corner stand the samples without error.

    Raises:
        HpaError: If the shapes differ, there is no sample, or other values than 0 and 1 occur.
    """
    truth, prediction = metrics.checked_labels(truth, prediction)
    missed, false = truth & (1 - prediction), (1 - truth) & prediction
    errors = np.maximum(missed.sum(axis=1), false.sum(axis=1))
    pairs = (missed / np.maximum(errors, 1)[:, None]).T @ false
    alone = missed.sum(axis=0) - pairs.sum(axis=1)
    extra = false.sum(axis=0) - pairs.sum(axis=0)
    counts = np.block([[pairs, alone[:, None]], [extra, np.sum(errors == 0)]])
    # Sums of shares such as 1/3 leave rounding errors where nothing is left over.
    return pd.DataFrame(np.round(counts, 9), _INDEX.rename("missed"), _INDEX.rename("given"))


def compare(
    trained: Sequence[TrainedRun],
    count: int = 5,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    part: str = "report",
) -> CoErrors:
    """Count the confusions of some runs of the same split by their own thresholds.

    Args:
        trained: The runs.
        count: Pairs of classes that are compared for each network.
        replicates: Resamples behind each interval; see `evaluation`.
        seed: Seed of the resamples.
        level: Confidence level, between 0 and 1.
        part: Name of the part.
    """
    truth, _ = trained[0].arrays(part)
    stratum = evaluation.strata(truth)
    matrices, pairs = {}, {}
    for run in trained:
        given = run.decisions(part)
        matrices[run.label] = matrix(truth, given)
        frequent = _most_frequent(matrices[run.label], count)
        weights = evaluation.resampling_weights(stratum, replicates, seed)
        rates = _beside_and_elsewhere(truth, given, frequent.index, weights, level)
        pairs[run.label] = frequent.join(rates)
    return CoErrors(matrices, pd.concat(pairs, names=["network"]), level)


def sentences(result: CoErrors) -> list[str]:
    """Say for each network how many misses have a false label in their place, and which most."""
    said = []
    for name, counts in result.matrices.items():
        of_classes = counts.loc[list(CLASS_NAMES)]
        misses = of_classes.to_numpy().sum()
        if not misses:
            said.append(f"{name} misses no label.")
            continue
        replaced = misses - of_classes[NOTHING].sum()
        said.append(
            f"{name} misses {misses:.0f} label{'' if misses == 1 else 's'}, and gives a false one "
            f"in the place of {_count(replaced)} of them."
        )
        if replaced:
            pair = result.pairs.loc[[name]].iloc[0]
            said.append(_pair_sentence(pair, result.level))
    return said


def _pair_sentence(row: pd.Series, level: float) -> str:
    _, missed, given = row.name
    said = (
        f"Its most frequent confusion is {given} in the place of {missed}, {_count(row['count'])} "
        f"of {row['misses']:.0f} misses."
    )
    if np.isnan(row["low"]):
        return f"{said} That is too few to tell whether it is more than chance."
    verdict = "which these samples don't tell apart"
    if row["low"] > 0:
        verdict = "so that the miss goes with the false label"
    elif row["high"] < 0:
        verdict = "so that the false label is given less often beside the miss"
    interval = wording.with_interval(row["estimate"], row["low"], row["high"], level)
    beside, elsewhere = (
        wording.percent(round(row[name], 3)) for name in ("rate_beside", "rate_elsewhere")
    )
    return (
        f"{said} Of the samples without {given} it gives this label to {beside} where {missed} is "
        f"missed and to {elsewhere} of the others; the difference of the shares is {interval}, "
        f"{verdict}."
    )


def _count(value: float) -> str:
    """A count that may have a fraction."""
    return f"{value:.1f}".removesuffix(".0")


def _most_frequent(counts: pd.DataFrame, count: int) -> pd.DataFrame:
    """The pairs with the highest counts above 0; index (missed, given), columns count, misses."""
    names = list(CLASS_NAMES)
    pairs = counts.loc[names, names].stack().sort_values(ascending=False, kind="stable")
    pairs = pairs[pairs > 0].head(count)
    misses = counts.loc[names].sum(axis=1)[pairs.index.get_level_values("missed")]
    return pd.DataFrame({"count": pairs, "misses": np.rint(misses.to_numpy())})


def _beside_and_elsewhere(
    truth: np.ndarray,
    prediction: np.ndarray,
    pairs: pd.MultiIndex,
    resamples: Iterable[np.ndarray],
    level: float,
) -> pd.DataFrame:
    """The columns rate_beside, rate_elsewhere, estimate, low and high of `CoErrors.pairs`.

    Args:
        truth: Labels, shape (samples, 28).
        prediction: Predicted labels, same shape.
        pairs: Names of the missed and the given class.
        resamples: Weights; see `evaluation.resampling_weights`.
        level: Confidence level of the intervals.
    """
    columns = {name: position for position, name in enumerate(CLASS_NAMES)}
    indicators = np.zeros((len(pairs), 4, len(truth)))
    for row, (missed, given) in zip(indicators, pairs, strict=True):
        missed, given = columns[missed], columns[given]
        lacks, gets = truth[:, given] == 0, prediction[:, given] == 1
        beside = lacks & (truth[:, missed] == 1) & (prediction[:, missed] == 0)
        row[:] = beside & gets, beside, lacks & ~beside & gets, lacks & ~beside
    beside, elsewhere = _rates(indicators.sum(axis=-1))
    resampled = [_rates(np.tensordot(weights, indicators, (1, 2))) for weights in resamples]
    differences = np.concatenate([first - second for first, second in resampled])
    tail = (1 - level) / 2
    few = indicators.sum(axis=-1)[:, [1, 3]].min(axis=1) < evaluation.MINIMUM_POSITIVES
    # A resample may hold none of the misses; it says nothing then.
    low, high = (
        np.where(few, np.nan, np.nanquantile(np.where(few, 0, differences), share, axis=0))
        for share in (tail, 1 - tail)
    )
    return pd.DataFrame(
        {
            "rate_beside": beside,
            "rate_elsewhere": elsewhere,
            "estimate": beside - elsewhere,
            "low": low,
            "high": high,
        },
        index=pairs,
    )


def _rates(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares that get the label beside the miss and elsewhere; NaN where there is no sample.

    Args:
        sums: Last axis: beside the miss those that get it, and all; elsewhere the same.
    """
    with np.errstate(invalid="ignore"):
        return sums[..., 0] / sums[..., 1], sums[..., 2] / sums[..., 3]
