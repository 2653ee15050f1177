"""Possible label errors: entries whose given label the networks contradict most.

An entry is one class of one sample; its given label is present or absent, and each network gives
both states a probability, p and 1 - p. Confident learning (Northcutt et al.) asks whether a state
is likely *for its class*: the threshold of a state is the mean probability that the networks give
it where it is the given label. So a class that they always underrate has a low threshold for
"present". We apply this to each class by itself, as several may be present at once:

* A label is contradicted where the opposite state reaches its threshold.
* Contradicted labels are ordered by their score, how far the opposite state lies above its
  threshold plus how far the given state lies below its own.
* A class is judged only where it has both states and the two thresholds add up to more than 1,
  which means that p is higher on average where the class is present.

p is the mean over the networks. Thresholds are fitted on the threshold part; where that has no
sample, on the report part, as in the publication. Networks must not have been trained on the
samples in question: a large one learns wrong labels by heart.

A contradicted label is wrong, or the networks are, and nothing here tells which. How much the list
finds with these networks is therefore tested: labels are exchanged on purpose, and found again or
not (`Planted`). Neighbours in the embedding stand beside each entry as a second opinion: their
labels took no part in training. They don't enter the score, which gained nothing by them in that
test with the networks of the preset ``quick``.

Source: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels",
Journal of Artificial Intelligence Research 70 (2021).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import labels, metrics, wording
from hpa_lib.neighbours import Neighbours

SHOWN = 15
"""Entries of the list that `table` shows."""

PLANTED_SHARE = 0.05
"""Share of the samples of which a label is exchanged in the test."""

REPETITIONS = 100
"""Repetitions of the test."""

_LEVEL = 0.95
_STATES = ("absent", "present")


@dataclass(frozen=True)
class Planted:
    """How many labels that were made wrong on purpose the list finds again.

    In each repetition some samples lose one label, and get another that they don't have, drawn by
    how often classes occur. As many entries of the list are looked at as are wrong. Labels that
    are wrong already count against the list.

    Attributes:
        samples: Samples with an exchanged label.
        entries: Entries made wrong, two a sample, and entries of the list looked at.
        found: Mean number of wrong entries among those looked at.
        low, high: Limits within which 95 % of the repetitions lie.
        by_chance: The number expected of entries taken at random.
        repetitions: Number of repetitions.
    """

    samples: int
    entries: int
    found: float
    low: float
    high: float
    by_chance: float
    repetitions: int


@dataclass(frozen=True)
class LabelErrors:
    """Entries of the report part whose label is contradicted, and a test of the method.

    Attributes:
        entries: The most contradicted first; columns sample (row of the report part), class
            (index), given (0 or 1), score, the probability of each network under its name,
            agreeing (neighbours of the sample with the opposite state), expected (how many of as
            many other samples taken at random would have it).
        neighbours: Neighbours of each sample.
        judged: Classes that the networks can judge.
        fitted_on: Part on which thresholds were fitted.
        samples: Samples of the report part.
        planted: The test; None where there is no sample to exchange a label of.
    """

    entries: pd.DataFrame
    neighbours: int
    judged: int
    fitted_on: str
    samples: int
    planted: Planted | None

    def values(self) -> dict[str, Any]:
        """Numbers for ``metrics.json``."""
        planted = vars(self.planted) if self.planted else None
        return {"entries": len(self.entries), "judged": self.judged, "planted": planted}


def state_thresholds(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Mean probability of each state of each class where it is the given label.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Probability that the class is present, same shape.

    Returns:
        Shape (2, classes): thresholds of "absent" and of "present"; NaN where no sample has the
        state.
    """
    given = np.stack([1 - truth, truth]).astype(np.float64)
    states = np.stack([1 - probability, probability])
    counts = given.sum(axis=1)
    sums = (given * states).sum(axis=1)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def scores(truth: np.ndarray, probability: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How strongly each given label is contradicted.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Probability that the class is present, same shape.
        thresholds: From `state_thresholds`.

    Returns:
        Same shape, from 0 to 2; minus infinity where the label isn't contradicted, or the class
        can't be judged.
    """
    present = probability - thresholds[1]
    absent = 1 - probability - thresholds[0]
    opposite, given = np.where(truth == 1, (absent, present), (present, absent))
    contradicted = (opposite >= 0) & _judged(thresholds)
    return np.where(contradicted, opposite - given, -np.inf)


def find(
    truth: Mapping[str, np.ndarray],
    probabilities: Mapping[str, Mapping[str, np.ndarray]],
    near: Neighbours,
    seed: int = 0,
) -> LabelErrors:
    """List the entries of the report part whose label the networks contradict.

    Args:
        truth: Labels of the parts ``"threshold"`` and ``"report"``, each of shape (samples,
            classes), values 0 and 1. The threshold part may have no sample.
        probabilities: By label of each network and by part, same shapes, values 0–1.
        near: Neighbours of the samples of the report part.
        seed: Seed of the test.

    Raises:
        HpaError: If arrays of the report part are not valid.
    """
    report, fitted_on = truth["report"], "threshold" if len(truth["threshold"]) else "report"
    for parts in probabilities.values():
        metrics.checked_scores(report, parts["report"])
    mean = {
        part: np.mean([parts[part] for parts in probabilities.values()], axis=0, dtype=np.float64)
        for part in ("threshold", "report")
    }
    thresholds = state_thresholds(truth[fitted_on], mean[fitted_on])
    score = scores(report, mean["report"], thresholds)
    sample, label = np.unravel_index(_ranked(score), score.shape)
    given = report[sample, label]
    having_opposite = np.where(given, (1 - report).sum(axis=0)[label], report.sum(axis=0)[label])
    entries = pd.DataFrame(
        {
            "sample": sample,
            "class": label,
            "given": given,
            "score": score[sample, label],
            **{name: parts["report"][sample, label] for name, parts in probabilities.items()},
            "agreeing": (report[near.rows[sample], label[:, None]] != given[:, None]).sum(axis=1),
            "expected": near.count * having_opposite / max(len(report) - 1, 1),
        }
    )
    planted = _plant(report, mean["report"], thresholds if fitted_on == "threshold" else None, seed)
    judged = int(_judged(thresholds).sum())
    return LabelErrors(entries, near.count, judged, fitted_on, len(report), planted)


def table(
    result: LabelErrors, ids: Sequence[str], truth: np.ndarray, count: int = SHOWN
) -> pd.DataFrame:
    """The most contradicted entries as a reader sees them.

    Args:
        result: From `find`.
        ids: Id of each sample of the report part.
        truth: Labels of the report part.
        count: Entries shown at most.
    """
    shown = result.entries.head(count)
    shown = shown.set_axis(pd.RangeIndex(1, len(shown) + 1, name="rank"))
    given_labels = labels.from_multi_hot(truth)
    probabilities = shown.drop(
        columns=["sample", "class", "given", "score", "agreeing", "expected"]
    )
    return pd.DataFrame(
        {
            "Id": [ids[sample] for sample in shown["sample"]],
            "given labels": [labels.class_names(given_labels[row]) for row in shown["sample"]],
            "class": [labels.CLASS_NAMES[label] for label in shown["class"]],
            "given": [_STATES[given] for given in shown["given"]],
            "suggested": [_STATES[1 - given] for given in shown["given"]],
            **{f"probability, {name}": values for name, values in probabilities.items()},
            "score": shown["score"],
            "neighbours that agree": [f"{n} of {result.neighbours}" for n in shown["agreeing"]],
            "expected of them": shown["expected"],
        },
        index=shown.index,
    )


def sentences(result: LabelErrors, right_by_construction: bool, count: int = SHOWN) -> list[str]:
    """Say what the list is, how much it finds, and how it is to be read.

    Args:
        result: From `find`.
        right_by_construction: Whether no label can be wrong, as in a synthetic dataset.
        count: Entries shown; see `table`.
    """
    entries = result.entries
    said = [
        f"The networks contradict {len(entries):,} of {result.samples * result.judged:,} entries "
        f"(one class of one sample each, in the {wording.classes(result.judged)} that they can "
        f"judge), among them {int(entries['given'].sum()):,} labels that are given; thresholds "
        f"come from the {result.fitted_on} part."
    ]
    if len(entries) and result.neighbours:
        shown = entries.head(count)
        most = int((shown["agreeing"] > result.neighbours / 2).sum())
        said.append(
            f"Of the first {len(shown)}, {most} are also contradicted by most of the sample's "
            f"{result.neighbours} nearest neighbours."
        )
    if result.planted:
        said.append(_planted_sentence(result.planted))
    if right_by_construction:
        said.append(
            "All labels of this dataset are right by construction: whatever is listed is an error "
            "of the networks."
        )
    else:
        said.append(
            "Whatever is listed may be a wrong label or an error of the networks; only the "
            "pictures can tell, and no label is changed."
        )
    return said


def _planted_sentence(planted: Planted) -> str:
    found, low, high = (f"{value:.3g}" for value in (planted.found, planted.low, planted.high))
    text = (
        f"Test: with a label of {planted.samples} samples exchanged on purpose, the first "
        f"{planted.entries} entries hold {found} of the {planted.entries} wrong ones on average "
        f"({wording.percent(_LEVEL)} of {planted.repetitions} repetitions: {low} to {high}), and "
        f"{planted.by_chance:.2g} would be there by chance."
    )
    if planted.low <= planted.by_chance:
        return f"{text} So with these networks the list does not reliably find wrong labels."
    missed = 1 - planted.found / planted.entries
    return (
        f"{text} So it finds wrong labels, and misses {wording.percent(round(missed, 2))} of them."
    )


def _judged(thresholds: np.ndarray) -> np.ndarray:
    """Whether each class can be judged, shape (classes,); NaN is never above 1."""
    return thresholds.sum(axis=0) > 1


def _ranked(score: np.ndarray) -> np.ndarray:
    """Flat positions of contradicted entries, the highest score first."""
    contradicted = np.flatnonzero(score > -np.inf)
    return contradicted[np.argsort(-score.ravel()[contradicted], kind="stable")]


def _plant(
    truth: np.ndarray, probability: np.ndarray, thresholds: np.ndarray | None, seed: int
) -> Planted | None:
    """Exchange labels and look for them; `thresholds` None to fit them on the exchanged labels."""
    added = (1 - truth) * truth.mean(axis=0)
    eligible = np.flatnonzero(truth.any(axis=1) & (added > 0).any(axis=1))
    if not len(eligible):
        return None
    samples = min(len(eligible), max(1, round(PLANTED_SHARE * len(truth))))
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(REPETITIONS):
        rows = generator.choice(eligible, samples, replace=False)
        columns = np.stack([_drawn(weights[rows], generator) for weights in (truth, added)])
        wrong = np.zeros(truth.shape, dtype=bool)
        wrong[rows, columns] = True
        exchanged = np.where(wrong, 1 - truth, truth)
        limits = state_thresholds(exchanged, probability) if thresholds is None else thresholds
        first = _ranked(scores(exchanged, probability, limits))[: 2 * samples]
        found.append(int(wrong.ravel()[first].sum()))
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(found, [tail, 1 - tail], method="inverted_cdf")
    by_chance = (2 * samples) ** 2 / truth.size
    return Planted(
        samples, 2 * samples, float(np.mean(found)), float(low), float(high), by_chance, REPETITIONS
    )


def _drawn(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """For each row one column, drawn by the row's weights: the first of exponential clocks."""
    clocks = generator.standard_exponential(weights.shape)
    waiting = np.full(weights.shape, np.inf)
    np.divide(clocks, weights, out=waiting, where=weights > 0)
    return waiting.argmin(axis=1)
