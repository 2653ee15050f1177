"""How sure a comparison is: paired bootstrap over samples, and sentences that say the outcome.

All models are scored on the same resamples, so that the interval of a difference leaves out
what makes a sample easy or hard for all of them. Resampling is stratified:

* The stratum of a sample is its rarest label, counted over the samples at hand (the lowest class
  index among equally rare ones). Samples without labels form a stratum of their own.
* A single sample carries no spread. So all strata of one sample are joined; if there is only one
  such stratum, it joins the rarest other one.
* From a stratum of h samples, h - 1 are drawn with replacement, and each draw weighs
  h / (h - 1). The weights of a stratum then add up to h in every resample, and the variance of
  a mean is right down to strata of two, where plain resampling halves it.

So a class keeps a positive in every resample if its stratum is not a joined one. A resample that
holds no positive of a class present in the truth says nothing about it: the class then counts in
macro averages with the precision, recall and F1 of the samples at hand.

Intervals are percentile intervals. They cover the choice of samples, not the training seed. They
take the size of each stratum as given, which suits a part cut by the label-stratified split; for
samples drawn without regard to labels, the interval of one model's macro F1 is too narrow, while
intervals of differences and micro averages hold. Of a class with few positives they say little:
its difference between models is tested only from `MINIMUM_POSITIVES` on.

Source of the weights: Rao and Wu, "Resampling inference with complex survey data", Journal of
the American Statistical Association 83 (1988).

A bootstrap resample is a vector of weights over samples, and every metric here is a function of
weighted sums. One matrix product gives these sums for many resamples at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from hpa_lib import metrics, wording
from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_NAMES

MINIMUM_POSITIVES = 5
"""Positives that a class needs for its difference to be tested."""

METRICS: tuple[str, ...] = (
    "macro_f1",
    "macro_f1_present",
    "micro_f1",
    "samples_f1",
    "macro_precision",
    "micro_precision",
    "samples_precision",
    "macro_recall",
    "micro_recall",
    "samples_recall",
    "binary_accuracy",
    "exact_match",
)
"""Metrics with intervals, named as in `metrics.summary`; higher is better in all."""

# Weights held at a time: resamples × samples.
_CHUNK_ENTRIES = 1_000_000

# Equal metrics of two models may differ by the rounding of float64 sums, never by more than this.
_ROUNDING_ERROR = 1e-12


@dataclass(frozen=True)
class BootstrapResult:
    """Estimates on the samples at hand, with intervals.

    Attributes:
        metrics: Index (model, metric); columns estimate, low, high.
        differences: Index (first, second, metric) for each pair of models in their order;
            columns estimate (first minus second), low, high, p_value (two-sided, not corrected).
        class_f1: Index (model, class); columns positives, estimate, low, high.
        class_f1_differences: Index (first, second, class); columns positives, estimate, low,
            high (not corrected), p_value, tested (at least `MINIMUM_POSITIVES`) and p_corrected
            (Holm, over the tested classes of the pair; NaN where not tested).
        samples: Number of samples.
        strata: Number of strata.
        replicates: Number of resamples.
        level: Confidence level of the intervals, between 0 and 1.
        seed: Seed of the resampling.
    """

    metrics: pd.DataFrame
    differences: pd.DataFrame
    class_f1: pd.DataFrame
    class_f1_differences: pd.DataFrame
    samples: int
    strata: int
    replicates: int
    level: float
    seed: int


def bootstrap_metrics(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    class_names: Sequence[str] = CLASS_NAMES,
) -> BootstrapResult:
    """Estimate metrics, per-class F1 and their differences between models, with intervals.

    ``macro_f1_present`` runs over the classes present in `truth`, in every resample.

    Args:
        truth: Labels of at least two samples, shape (samples, classes), values 0 and 1.
        predictions: Predicted labels by the name of the model (or of the threshold rule, or
            whatever is compared), each of the same shape, values 0 and 1; see `metrics.decide`.
        replicates: Number of resamples, at least 2 / (1 - level). The smallest p value is
            2 / (replicates + 1).
        seed: The same seed gives the same result.
        level: Confidence level, between 0 and 1.
        class_names: One name a class.

    Returns:
        Estimates, intervals and differences.

    Raises:
        HpaError: If an array is not valid, no prediction is given, there are fewer than two
            samples, or a parameter is out of its range.
    """
    if not predictions:
        raise HpaError("predictions is empty.", "Give the predictions of at least one model.")
    checked = {}
    for name, prediction in predictions.items():
        truth, checked[name] = metrics.checked_labels(truth, prediction)
    samples, classes = truth.shape
    metrics.check_class_names(class_names, classes)
    if samples < 2:
        raise HpaError("truth has 1 sample.", "Intervals need at least two samples.")
    if not 0 < level < 1:
        raise HpaError(f"level is {level}.", "Give a confidence level between 0 and 1.")
    if replicates * (1 - level) < 2 - 1e-9:
        raise HpaError(
            f"replicates is {replicates}.",
            f"An interval at level {level} needs at least {np.ceil(2 / (1 - level)):.0f}.",
        )

    scorers = {name: _Scorer(truth, prediction) for name, prediction in checked.items()}
    estimates = {name: scorer(np.ones((1, samples)))[0] for name, scorer in scorers.items()}
    stratum = strata(truth)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in scorers}
    for weights in resampling_weights(stratum, replicates, seed):
        for name, scorer in scorers.items():
            parts[name].append(scorer(weights))
    resampled = {name: np.concatenate(parts.pop(name)) for name in scorers}

    pairs = list(combinations(scorers, 2))
    positives = pd.Series(truth.sum(axis=0), pd.Index(class_names))
    of_metrics, of_classes = _tables(
        {(name,): _statistics(estimates[name], resampled[name], level) for name in scorers},
        ["model"],
        positives,
    )
    metric_differences, class_differences = _tables(
        {
            (first, second): _statistics(
                _difference(estimates[first], estimates[second]),
                _difference(resampled[first], resampled[second]),
                level,
            )
            for first, second in pairs
        },
        ["first", "second"],
        positives,
    )
    tested = class_differences["positives"] >= MINIMUM_POSITIVES
    p_values = class_differences["p_value"].where(tested)
    return BootstrapResult(
        metrics=of_metrics.drop(columns="p_value"),
        differences=metric_differences,
        class_f1=of_classes.drop(columns="p_value"),
        class_f1_differences=class_differences.assign(
            tested=tested,
            p_corrected=p_values.groupby(level=["first", "second"]).transform(holm),
        ),
        samples=samples,
        strata=int(stratum.max()) + 1,
        replicates=replicates,
        level=level,
        seed=seed,
    )


def strata(truth: np.ndarray) -> np.ndarray:
    """Number the stratum of each sample by the scheme of this module.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.

    Returns:
        Array of shape (samples,), dtype int64, values from 0, without gaps. Each stratum has at
        least two samples, unless there is one sample in all.
    """
    truth = np.asarray(truth)
    classes = truth.shape[1]
    rank = np.empty(classes, dtype=np.int64)
    rank[np.argsort(truth.sum(axis=0), kind="stable")] = np.arange(classes)
    rarest = np.where(truth == 1, rank, classes).min(axis=1)
    sizes = np.bincount(rarest, minlength=classes + 1)
    single = sizes[rarest] == 1
    if single.sum() == 1 and len(truth) > 1:
        rarest[single] = rarest[~single].min()
    else:
        rarest[single] = -1
    return np.unique(rarest, return_inverse=True)[1]


def resampling_weights(stratum: np.ndarray, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the weights of samples in bootstrap resamples, some resamples at a time.

    Args:
        stratum: Stratum of each sample, shape (samples,), values from 0 without gaps, each
            at least twice.
        replicates: Number of resamples in all.
        seed: The same seed gives the same weights.

    Yields:
        Arrays of shape (resamples, samples), dtype float64. In each row the weights of a
        stratum of h samples add up to h.
    """
    samples = len(stratum)
    sizes = np.bincount(stratum)
    members = np.argsort(stratum, kind="stable")
    drawn = sizes - 1
    first = np.repeat(np.cumsum(sizes) - sizes, drawn)
    size = np.repeat(sizes, drawn).astype(np.float64)
    scale = (sizes / drawn)[stratum]
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK_ENTRIES // samples)
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        position = first + (generator.random((rows, len(first))) * size).astype(np.int64)
        entry = members[position] + samples * np.arange(rows)[:, None]
        counts = np.bincount(entry.ravel(), minlength=rows * samples).reshape(rows, samples)
        yield counts * scale


def holm(p_values: pd.Series) -> pd.Series:
    """Correct p values for their number, so that any false finding is as rare as one would be.

    Args:
        p_values: Values 0–1; NaN marks a comparison that is not made.

    Returns:
        Corrected values in the same order, at most 1; NaN stays NaN.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    ordered = p_values.dropna().sort_values(kind="stable")
    factors = np.arange(len(ordered), 0, -1)
    corrected = np.minimum(np.maximum.accumulate(ordered.to_numpy() * factors), 1.0)
    return pd.Series(corrected, index=ordered.index).reindex(p_values.index)


def estimate_sentence(result: BootstrapResult, model: str, metric: str) -> str:
    """Say what one model reaches, with the interval.

    Raises:
        HpaError: If the model or the metric is unknown.
    """
    row = _rows(_rows(result.metrics, model, "model"), metric, "metric")
    return (
        f"{model} reaches a {metrics.READABLE_NAMES[metric]} of "
        f"{wording.with_interval(row['estimate'], row['low'], row['high'], result.level)} "
        f"on {result.samples:,} samples."
    )


def difference_sentence(result: BootstrapResult, first: str, second: str, metric: str) -> str:
    """Say which of two models is better in a metric, or that the data do not tell.

    A model is called better if the interval of the difference leaves out 0. The interval is not
    corrected for the number of metrics that are looked at.

    Raises:
        HpaError: If the pair of models or the metric is unknown.
    """
    row = _rows(_pair(result.differences, first, second), metric, "metric")
    return wording.difference(row, first, second, metrics.READABLE_NAMES[metric], result.level)


def class_difference_sentence(result: BootstrapResult, first: str, second: str) -> str:
    """Say in which classes the F1 of two models differs after Holm's correction.

    Raises:
        HpaError: If the pair of models is unknown.
    """
    table = _pair(result.class_f1_differences, first, second)
    tested, skipped = table[table["tested"]], table[~table["tested"]]
    error_rate = 1 - result.level
    significant = tested.loc[tested["p_corrected"] < error_rate, "estimate"]
    sentences = [
        f"F1 is compared in {wording.classes(len(tested))} of {len(table)}, those with at least "
        f"{MINIMUM_POSITIVES} positives (Holm correction, family-wise error rate "
        f"{wording.percent(error_rate)})."
    ]
    for name, gains in ((first, significant), (second, -significant)):
        gains = gains[gains > 0].sort_values(ascending=False)
        if len(gains):
            listed = ", ".join(
                f"{label} by {wording.number(gain)}" for label, gain in gains.items()
            )
            sentences.append(f"{name} is better in {wording.classes(len(gains))}: {listed}.")
    undecided = len(tested) - len(significant)
    if undecided:
        sentences.append(f"The data do not tell which is better in {wording.classes(undecided)}.")
    needed = int(2 * len(tested) / error_rate + 1e-9)
    if result.replicates < needed:
        sentences.append(
            f"{result.replicates:,} resamples are too few for this correction; "
            f"take at least {needed:,}."
        )
    few = skipped.loc[skipped["positives"] > 0, "positives"]
    if len(few):
        listed = ", ".join(f"{label} ({count})" for label, count in few.items())
        sentences.append(f"Too few positives to compare: {listed}.")
    if len(skipped) > len(few):
        sentences.append(f"Without any positive: {wording.classes(len(skipped) - len(few))}.")
    return " ".join(sentences)


def nested(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Rows by their index levels joined with a slash, as ``metrics.json`` holds them."""
    return {" / ".join(key): row for key, row in table.to_dict(orient="index").items()}


class _Scorer:
    """All metrics of one model as functions of sample weights."""

    def __init__(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        self._samples, self._classes = truth.shape
        self._present = truth.any(axis=0)
        self._counts = metrics.confusion_counts(truth, prediction)
        by_sample = metrics.sample_scores(truth, prediction)
        self._by_sample_names = list(by_sample)
        self._contributions = np.column_stack(
            [truth & prediction, prediction, truth, *by_sample.values()]
        ).astype(np.float64)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Score resamples.

        Args:
            weights: Shape (resamples, samples); each row adds up to the number of samples.

        Returns:
            Shape (resamples, metrics + classes): `METRICS`, then F1 of each class.
        """
        sums = weights @ self._contributions
        true_positives, predicted, positives, by_sample = np.split(
            sums, np.arange(1, 4) * self._classes, axis=1
        )
        counts = metrics.ConfusionCounts(true_positives, predicted, positives, self._samples)
        lost = (positives == 0) & self._present
        at_hand = self._counts
        kept = metrics.ConfusionCounts(
            np.where(lost, at_hand.true_positives, true_positives),
            np.where(lost, at_hand.predicted, predicted),
            np.where(lost, at_hand.positives, positives),
            self._samples,
        )
        values = counts.micro_averages() | kept.macro_averages(self._present)
        values |= dict(zip(self._by_sample_names, by_sample.T / self._samples, strict=True))
        return np.column_stack([*(values[name] for name in METRICS), kept.f1])


def _statistics(estimate: np.ndarray, resampled: np.ndarray, level: float) -> np.ndarray:
    """Estimate, percentile interval and two-sided p value against 0, shape (values, 4)."""
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    at_most, at_least = (resampled <= 0).sum(axis=0), (resampled >= 0).sum(axis=0)
    p_value = 2 * (1 + np.minimum(at_most, at_least)) / (len(resampled) + 1)
    return np.column_stack([estimate, low, high, np.minimum(p_value, 1.0)])


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """First minus second, with rounding errors of equal values set to 0."""
    difference = first - second
    difference[np.abs(difference) < _ROUNDING_ERROR] = 0
    return difference


def _tables(
    statistics: Mapping[tuple[str, ...], np.ndarray],
    owner_names: Sequence[str],
    positives: pd.Series,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Statistics of metrics, and of classes with their positives, one row an owner and value.

    Args:
        statistics: By model or pair of models, shape (metrics + classes, 4).
        owner_names: Names of the index levels before the metric or class.
        positives: Positives of each class, indexed by class name.
    """

    def table(value_name: str, values: Sequence[str], part: slice) -> pd.DataFrame:
        rows = [(*owner, value) for owner in statistics for value in values]
        index = pd.MultiIndex.from_tuples(rows, names=[*owner_names, value_name])
        cells = [owned[part] for owned in statistics.values()]
        columns = ["estimate", "low", "high", "p_value"]
        return pd.DataFrame(np.reshape(cells, (len(rows), len(columns))), index, columns)

    of_metrics = table("metric", METRICS, slice(None, len(METRICS)))
    of_classes = table("class", list(positives.index), slice(len(METRICS), None))
    of_classes.insert(0, "positives", np.tile(positives.to_numpy(), len(statistics)))
    return of_metrics, of_classes


def _pair(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The rows of one pair as first minus second, whichever way round it was computed."""
    firsts, seconds = (table.index.get_level_values(level) for level in ("first", "second"))
    rows = table[(firsts == first) & (seconds == second)]
    if len(rows):
        return rows.droplevel(["first", "second"])
    rows = table[(firsts == second) & (seconds == first)]
    if len(rows):
        turned = rows.assign(estimate=-rows["estimate"], low=-rows["high"], high=-rows["low"])
        return turned.droplevel(["first", "second"])
    raise HpaError(
        f"{first!r} and {second!r} were not compared.",
        "Name two of the predictions that were given to bootstrap_metrics.",
    )


def _rows(table: pd.DataFrame, key: str, what: str) -> pd.DataFrame | pd.Series:
    """The rows of `table` under `key` in the first level of its index."""
    known = table.index.get_level_values(0).unique()
    if key not in known:
        raise HpaError(f"The result has no {what} {key!r}.", f"Choose one of {', '.join(known)}.")
    return table.loc[key]
