"""What can be gained from trained networks without training: each step with its interval.

* one view → eight views: a network's probabilities averaged over the flips and quarter turns;
* best network → average of all networks → weighted average;
* each of these → the same with temperature scaling.

Whatever is fitted is fitted on the threshold part: temperature and thresholds of each variant,
the weights, and which network is called the best (the one with the lowest cross-entropy). All
scores are those of the report part. Without a threshold part nothing is fitted, and the average
is set against every network.

Scaling keeps the order of all probabilities, and average precision with it: it has no gain there.

Gains are paired: both sides are scored on the same resamples of `evaluation`. A gain in a loss is
how much lower it is, so that gains above 0 are good in every metric. Intervals cover the draw of
the report part and take what was fitted as given: another threshold part of the same size would
give other weights, temperatures and thresholds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import (
    calibration,
    ensembles,
    evaluation,
    metrics,
    predictions,
    thresholds,
    trained_runs,
    wording,
)
from hpa_lib.evaluation import BootstrapResult
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.trained_runs import TrainedRun

SCORES: tuple[str, ...] = ("macro_f1", "micro_f1", "macro_average_precision")
LOSSES: tuple[str, ...] = ("cross_entropy", "brier_score")
"""Metrics of gains: those in which higher is better, and those in which lower is."""

READABLE_NAMES: dict[str, str] = {
    **{name: metrics.READABLE_NAMES[name] for name in SCORES},
    "cross_entropy": "cross-entropy",
    "brier_score": "Brier score",
    "calibration_error": "expected calibration error",
    "class_calibration_error": "expected calibration error, class by class",
}
"""Columns of `BetterPredictions.scores` after the temperature, with the name a reader sees."""

# Equal probabilities that were computed in two ways differ by less.
_ROUNDING_ERROR = 1e-12

_AVERAGE, _WEIGHTED_AVERAGE, _SCALED = "average", "weighted average", ", scaled"

# What the probabilities are, by the sign of temperature − 1.
_CONFIDENCE = {1: "overconfident", 0: "as confident as they should be", -1: "underconfident"}


@dataclass(frozen=True)
class BetterPredictions:
    """Scores of all variants on the report part, and what each step gains.

    Attributes:
        scores: Index variant; columns temperature (1 where nothing is scaled) and those of
            `READABLE_NAMES`. Cross-entropy, in nats, and Brier score are means over all entries.
        gains: Index (step, metric), metrics `SCORES` and `LOSSES` where they are defined and can
            differ; columns before and after (variants), estimate, low, high. Intervals are not
            corrected for their number.
        class_brier_scores: What scaling gains class by class. Index (variant before, class);
            columns positives, before, after (Brier scores), estimate (before minus after), low,
            high (not corrected).
        reliability: By network and average, the tables of `calibration.reliability` before and,
            where there is a threshold part, after scaling; index (scaling, bin).
        best_network: Label of the network with the lowest cross-entropy on the threshold part;
            None where there is no such part.
        weights: Weight of each network in the weighted average; empty where there is none.
        threshold_rule: Rule by which each variant gives labels.
        samples: Samples of the report part.
        level: Confidence level of the intervals, between 0 and 1.
    """

    scores: pd.DataFrame
    gains: pd.DataFrame
    class_brier_scores: pd.DataFrame
    reliability: dict[str, pd.DataFrame]
    best_network: str | None
    weights: dict[str, float]
    threshold_rule: str
    samples: int
    level: float

    def values(self) -> dict[str, Any]:
        """Scores, gains and what was fitted, as numbers and names for ``metrics.json``."""
        scores = self.scores.astype(object).where(self.scores.notna(), None)
        return {
            "threshold_rule": self.threshold_rule,
            "best_network": self.best_network,
            "weights": self.weights,
            "scores": scores.to_dict(orient="index"),
            "gains": evaluation.nested(self.gains),
        }


def of_runs(
    trained: Sequence[TrainedRun], replicates: int = 2000, seed: int = 0
) -> BetterPredictions:
    """What `improve` finds for training runs of one split, by the first one's threshold rule."""
    parts = ("threshold", "report")
    truth, probabilities = trained_runs.arrays_by_part(trained, *parts)
    several_views = [run for run in trained if run.one_view is not None]
    return improve(
        truth,
        probabilities,
        trained[0].metrics["threshold_rule"],
        np.array(trained[0].metrics["training_frequency"]),
        {
            run.label: {part: predictions.arrays(run.one_view, part)[1] for part in parts}
            for run in several_views
        },
        replicates,
        seed,
    )


def improve(
    truth: Mapping[str, np.ndarray],
    probabilities: Mapping[str, Mapping[str, np.ndarray]],
    threshold_rule: str,
    class_frequency: np.ndarray | None = None,
    one_view: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    class_names: Sequence[str] = CLASS_NAMES,
) -> BetterPredictions:
    """Build all variants from the probabilities of trained networks, and score every step.

    Args:
        truth: Labels of the parts ``"threshold"`` and ``"report"``, each of shape (samples,
            classes), values 0 and 1. The threshold part may have no sample.
        probabilities: By label of each of two or more networks and by part, same shapes, values
            0–1.
        threshold_rule: One of `thresholds.RULES`; tuned anew for every variant.
        class_frequency: Shares of the training part, shape (classes,); see `thresholds.tune`.
        one_view: Like `probabilities`, from a single view of each image, for networks whose
            `probabilities` are averages over eight.
        replicates: See `evaluation.bootstrap_metrics`.
        seed: See `evaluation.bootstrap_metrics`.
        level: See `evaluation.bootstrap_metrics`.
        class_names: One name a class.

    Raises:
        HpaError: If there are fewer than two networks, the threshold rule needs a threshold part
            and there is none, or an argument isn't valid.
    """
    variants = _Variants(truth["threshold"], probabilities, one_view or {})
    report = {name: parts["report"] for name, parts in variants.parts.items()}
    tuned = {
        name: thresholds.tune(
            threshold_rule, truth["threshold"], parts["threshold"], class_frequency
        )
        for name, parts in variants.parts.items()
    }
    # A step leads to a later variant; reversed, its difference is after minus before.
    bootstrap = evaluation.bootstrap_metrics(
        truth["report"],
        {name: metrics.decide(report[name], tuned[name]) for name in reversed(report)},
        replicates,
        seed,
        level,
        class_names,
        probabilities={
            name: values for name, values in report.items() if name not in variants.temperatures
        },
    )
    losses = {
        name: np.stack(
            [
                calibration.cross_entropy(truth["report"], probability),
                calibration.squared_error(truth["report"], probability),
            ]
        )
        for name, probability in report.items()
    }
    lowered = _lowered(truth["report"], variants.steps, losses, bootstrap)
    return BetterPredictions(
        scores=_scores(truth["report"], variants, losses, bootstrap),
        gains=_gains(variants.steps, lowered, bootstrap),
        class_brier_scores=_class_brier_scores(
            truth["report"], variants, losses, lowered, class_names
        ),
        reliability=_reliability(truth["report"], variants),
        best_network=variants.best_network,
        weights=variants.weights,
        threshold_rule=threshold_rule,
        samples=bootstrap.samples,
        level=level,
    )


def table(result: BetterPredictions) -> pd.DataFrame:
    """Scores of all variants on the report part, as a reader sees them."""
    return result.scores.rename(columns=READABLE_NAMES)


def intervals(result: BetterPredictions, names: Sequence[str]) -> pd.DataFrame:
    """Gains of every step in some metrics, as `plots.intervals` takes them.

    Args:
        result: See `improve`.
        names: `SCORES` or `LOSSES`, which have scales of their own.
    """
    rows = result.gains.reset_index()
    rows = rows[rows["metric"].isin(names)]
    rows = rows.assign(name=rows["step"], series=rows["metric"].map(READABLE_NAMES))
    return rows[["name", "series", "estimate", "low", "high"]].reset_index(drop=True)


def class_table(result: BetterPredictions) -> pd.DataFrame | None:
    """Brier score of each class, and what scaling gains, for the networks.

    Returns:
        Index class; columns positives, and for each network, as text, its score before scaling
        and the gain with its interval. None where nothing is scaled.
    """
    if result.class_brier_scores.empty:
        return None
    columns = {}
    for name in [name for name in result.reliability if name not in (_AVERAGE, _WEIGHTED_AVERAGE)]:
        rows = result.class_brier_scores.loc[name]
        columns["positives"] = rows["positives"]
        columns[f"Brier score, {name}"] = rows["before"].map("{:.4f}".format)
        columns[f"gain by scaling, {name} ({wording.percent(result.level)} interval)"] = [
            "{} ({} to {})".format(*(wording.number(value, 4) for value in interval))
            for interval in rows[["estimate", "low", "high"]].itertuples(index=False)
        ]
    return pd.DataFrame(columns)


def sentences(result: BetterPredictions) -> list[str]:
    """Say what was fitted, and what each step but scaling gains or that the data don't tell."""
    return [
        _fitted_sentence(result),
        *(
            _step_sentence(rows.droplevel("step"), result.level)
            for _, rows in result.gains.groupby(level="step", sort=False)
            if not rows["after"].iloc[0].endswith(_SCALED)
        ),
    ]


def calibration_sentences(result: BetterPredictions) -> list[str]:
    """Say what each temperature means, and what scaling does to the report part."""
    said = []
    for name in result.reliability:
        if name + _SCALED in result.scores.index:
            before, after = result.scores.loc[name], result.scores.loc[name + _SCALED]
            kind = _CONFIDENCE[int(np.sign(after["temperature"] - 1))]
            pooled, by_class = (
                "from {} to {}".format(*wording.numbers(before[column], after[column]))
                for column in ("calibration_error", "class_calibration_error")
            )
            step = result.gains[result.gains["after"] == name + _SCALED].droplevel("step")
            said.append(
                f"By the temperature of {wording.number(after['temperature'])} the probabilities "
                f"of “{name}” are {kind} on the threshold part. On the report part scaling takes "
                f"the expected calibration error {pooled}, and class by class {by_class}; "
                f"it is {_told(step, result.level)}."
            )
    return said


@dataclass(frozen=True)
class _Step:
    """Two variants, of which the second may be better."""

    name: str
    before: str
    after: str


class _Variants:
    """All variants in the order in which they are shown, and the steps from one to another.

    Args:
        truth: Labels of the threshold part; may have no sample.
        probabilities: See `improve`.
        one_view: See `improve`.

    Attributes:
        parts: Probabilities by name of the variant and by part.
        steps: A variant is always compared with an earlier one.
        final: Names of those that are neither of a single view, where there are eight, nor
            scaled.
        temperatures: By name of the variant with temperature scaling.
        best_network: See `BetterPredictions`.
        weights: See `BetterPredictions`.
    """

    def __init__(
        self,
        truth: np.ndarray,
        probabilities: Mapping[str, Mapping[str, np.ndarray]],
        one_view: Mapping[str, Mapping[str, np.ndarray]],
    ) -> None:
        self.parts: dict[str, Mapping[str, np.ndarray]] = {}
        self.steps: list[_Step] = []
        self.temperatures: dict[str, float] = {}
        self.best_network: str | None = None
        self.weights: dict[str, float] = {}
        networks, singles = {}, set()
        for label, parts in probabilities.items():
            networks[label] = f"{label}, eight views" if label in one_view else label
            if label in one_view:
                single = f"{label}, one view"
                singles.add(single)
                self.parts[single] = one_view[label]
                self.steps.append(_Step(f"eight views: {label}", single, networks[label]))
            self.parts[networks[label]] = parts
        self._average(truth, networks)
        self.final = [name for name in self.parts if name not in singles]
        if len(truth):
            self._scale(truth)

    def _average(self, truth: np.ndarray, networks: Mapping[str, str]) -> None:
        """Add the averages of the networks.

        Args:
            truth: Labels of the threshold part.
            networks: Names of their variants by label.
        """
        members = [self.parts[name] for name in networks.values()]
        self.parts[_AVERAGE] = _averaged(members)
        compared = networks
        if len(truth):
            tuning = {label: self.parts[name]["threshold"] for label, name in networks.items()}
            self.best_network = min(
                tuning, key=lambda label: calibration.cross_entropy(truth, tuning[label]).mean()
            )
            compared = {self.best_network: networks[self.best_network]}
            weights = ensembles.fit_weights(truth, list(tuning.values()))
            self.weights = dict(zip(networks, weights.tolist(), strict=True))
            self.parts[_WEIGHTED_AVERAGE] = _averaged(members, weights)
        for label, name in compared.items():
            self.steps.append(_Step(f"{_AVERAGE} − {label}", name, _AVERAGE))
        if self.best_network:
            for label, name in (*compared.items(), (_AVERAGE, _AVERAGE)):
                self.steps.append(_Step(f"{_WEIGHTED_AVERAGE} − {label}", name, _WEIGHTED_AVERAGE))

    def _scale(self, truth: np.ndarray) -> None:
        """Add each variant with temperature scaling fitted on the threshold part."""
        for name, parts in list(self.parts.items()):
            after = name + _SCALED
            self.temperatures[after] = calibration.fit_temperature(truth, parts["threshold"])
            self.parts[after] = {
                part: calibration.scaled(values, self.temperatures[after])
                for part, values in parts.items()
            }
            self.steps.append(_Step(f"scaling: {name}", name, after))


def _averaged(
    members: Sequence[Mapping[str, np.ndarray]], weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    return {
        part: ensembles.average([member[part] for member in members], weights)
        for part in ("threshold", "report")
    }


def _scores(
    truth: np.ndarray,
    variants: _Variants,
    losses: Mapping[str, np.ndarray],
    bootstrap: BootstrapResult,
) -> pd.DataFrame:
    """See `BetterPredictions.scores`, and `_lowered` for the arguments."""
    rows = {}
    for name, parts in variants.parts.items():
        found = bootstrap.metrics["estimate"].xs(name, level="model").reindex(SCORES)
        precision = "macro_average_precision"
        if name in variants.temperatures:
            found[precision] = rows[name.removesuffix(_SCALED)][precision]
        rows[name] = {
            "temperature": variants.temperatures.get(name, 1.0),
            **found,
            **dict(zip(LOSSES, losses[name].mean(axis=(1, 2)), strict=True)),
            "calibration_error": calibration.expected_calibration_error(truth, parts["report"]),
            "class_calibration_error": calibration.expected_calibration_error(
                truth, parts["report"], class_wise=True
            ),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def _lowered(
    truth: np.ndarray,
    steps: Sequence[_Step],
    losses: Mapping[str, np.ndarray],
    bootstrap: BootstrapResult,
) -> dict[str, np.ndarray]:
    """How much each step lowers the losses, with percentile intervals.

    Args:
        truth: Labels of the report part.
        steps: What is compared.
        losses: By variant, of each entry, shape (losses, samples, classes).
        bootstrap: Bootstrap of the same samples; its resamples are drawn once more.

    Returns:
        By name of the step, shape (losses + classes, 3): estimate, low, high of the mean of each
        loss, then of the Brier score of each class.
    """
    blocks = []
    for step in steps:
        difference = losses[step.before] - losses[step.after]
        blocks += [difference.mean(axis=2).T, difference[LOSSES.index("brier_score")]]
    by_sample = np.column_stack(blocks)
    by_sample[np.abs(by_sample) < _ROUNDING_ERROR] = 0
    weights = evaluation.resampling_weights(
        evaluation.strata(truth), bootstrap.replicates, bootstrap.seed
    )
    resampled = np.concatenate([some @ by_sample for some in weights]) / len(truth)
    tail = (1 - bootstrap.level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    found = np.column_stack([by_sample.mean(axis=0), low, high])
    return dict(zip([step.name for step in steps], np.split(found, len(steps)), strict=True))


def _gains(
    steps: Sequence[_Step], lowered: Mapping[str, np.ndarray], bootstrap: BootstrapResult
) -> pd.DataFrame:
    """See `BetterPredictions.gains`, and `_lowered` for the arguments."""
    cells = ["estimate", "low", "high"]
    tables = {}
    for step in steps:
        pair = bootstrap.differences.xs((step.after, step.before), level=("first", "second"))
        of_losses = pd.DataFrame(lowered[step.name][: len(LOSSES)], LOSSES, cells)
        tables[step.name] = pd.concat([pair.reindex(SCORES)[cells].dropna(), of_losses])
        tables[step.name].insert(0, "before", step.before)
        tables[step.name].insert(1, "after", step.after)
    return pd.concat(tables, names=["step", "metric"])


def _class_brier_scores(
    truth: np.ndarray,
    variants: _Variants,
    losses: Mapping[str, np.ndarray],
    lowered: Mapping[str, np.ndarray],
    class_names: Sequence[str],
) -> pd.DataFrame:
    """See `BetterPredictions.class_brier_scores`, and `_lowered` for the arguments."""
    brier = LOSSES.index("brier_score")
    tables = {}
    for step in variants.steps:
        if step.after in variants.temperatures:
            tables[step.before] = pd.DataFrame(
                lowered[step.name][len(LOSSES) :],
                index=pd.Index(class_names, name="class"),
                columns=["estimate", "low", "high"],
            )
            for place, name in enumerate(("before", "after")):
                scores = losses[getattr(step, name)][brier].mean(axis=0)
                tables[step.before].insert(place, name, scores)
            tables[step.before].insert(0, "positives", truth.sum(axis=0, dtype=int))
    return pd.concat(tables, names=["variant"]) if tables else pd.DataFrame()


def _reliability(truth: np.ndarray, variants: _Variants) -> dict[str, pd.DataFrame]:
    """See `BetterPredictions.reliability`."""
    tables = {}
    for name in variants.final:
        shown = {"before scaling": name, "after scaling": name + _SCALED}
        tables[name] = pd.concat(
            {
                scaling: calibration.reliability(truth, variants.parts[one]["report"])
                for scaling, one in shown.items()
                if one in variants.parts
            },
            names=["scaling"],
        )
    return tables


def _fitted_sentence(result: BetterPredictions) -> str:
    if not result.weights:
        return (
            "The split has no threshold part, so no weight, temperature or best network is fitted."
        )
    shares = _listed(
        [f"{wording.number(one)} for {label}" for label, one in result.weights.items()]
    )
    return (
        f"On the threshold part {result.best_network} has the lowest cross-entropy of the "
        f"networks; the weights with the lowest are {shares}."
    )


def _step_sentence(rows: pd.DataFrame, level: float) -> str:
    """Name a step, and say what it changes; see `_told`."""
    return f"“{rows['after'].iloc[0]}” against “{rows['before'].iloc[0]}”: {_told(rows, level)}."


def _told(rows: pd.DataFrame, level: float) -> str:
    """Say in which metrics a step gains, loses, changes nothing, or can't be told to.

    Args:
        rows: Index metric; columns before, after, estimate, low, high.
        level: Confidence level of the intervals.
    """
    kinds: dict[str, list[str]] = {
        "better in": [], "worse in": [], "the same in": [], "not told apart in": []
    }  # fmt: skip
    for metric, row in rows.iterrows():
        name, (estimate, low, high) = READABLE_NAMES[metric], row[["estimate", "low", "high"]]
        gain = wording.with_interval(estimate, low, high, level)
        if low == estimate == high == 0:
            kinds["the same in"].append(name)
        elif low > 0:
            kinds["better in"].append(f"{name} by {gain}")
        elif high < 0:
            loss = wording.with_interval(-estimate, -high, -low, level)
            kinds["worse in"].append(f"{name} by {loss}")
        else:
            kinds["not told apart in"].append(name)
    return "; ".join(f"{kind} {_listed(found)}" for kind, found in kinds.items() if found)


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
