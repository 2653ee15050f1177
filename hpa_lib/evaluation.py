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
macro averages with the precision, recall, F1, average precision and ROC AUC of the samples at hand.
ROC AUC is kept likewise without negatives. Average precision and ROC AUC that the samples at hand
leave undefined are NaN, have no interval, and are left out of macro averages.

Intervals are percentile intervals. They cover the choice of samples, not the training seed. They
take the size of each stratum as given, which suits a part cut by the label-stratified split; for
samples drawn without regard to labels, the interval of one model's macro F1 is too narrow, while
intervals of differences and micro averages hold. Of a class with few positives they say little:
its difference between models is tested only from `MINIMUM_POSITIVES` on, and the interval of its
ROC AUC is too narrow (in draws from simulated predictions a 95 % interval held the true value in
about 87 % of draws with 10 or 20 positives, and in 69 % with 4).

Source of the weights: Rao and Wu, "Resampling inference with complex survey data", Journal of
the American Statistical Association 83 (1988).

A bootstrap resample is a vector of weights over samples, and every metric here is a function of
weighted sums. One matrix product gives these sums for many resamples at once; what ranking metrics
need besides is in `hpa_lib.ranking_bootstrap`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, combinations

import joblib
import numpy as np
import pandas as pd

from hpa_lib import metrics, ranking_bootstrap, wording
from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.ranking_bootstrap import RankingScorer

MINIMUM_POSITIVES = 5
"""Positives that a class needs for its difference to be tested."""

DECISION_METRICS: tuple[str, ...] = (
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
    "hamming_loss",
    "exact_match",
)
"""Metrics of predicted labels with intervals, named as in `metrics.summary`."""

METRICS: tuple[str, ...] = DECISION_METRICS + ranking_bootstrap.METRICS
"""All metrics with intervals: those of `metrics.summary` that are no counts, in their order."""

CLASS_METRICS: dict[str, str] = {
    "f1": "F1",
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
}
"""Metrics of each class with intervals, named as in `metrics.per_class`, and as a reader sees
them; all but F1 need probabilities."""

# Weights held at a time: resamples × samples.
_CHUNK_ENTRIES = 1_000_000

# Equal metrics of two models may differ by the rounding of float64 sums, never by more than this.
_ROUNDING_ERROR = 1e-12


@dataclass(frozen=True)
class BootstrapResult:
    """Estimates on the samples at hand, with intervals.

    Attributes:
        metrics: Index (model, metric); columns estimate, low, high. A model without
            probabilities has `DECISION_METRICS` only, as has each pair with it.
        differences: Index (first, second, metric) for each pair of models in their order;
            columns estimate (first minus second), low, high, p_value (two-sided, not corrected).
        class_metrics: Index (model, metric, class), metrics as in `CLASS_METRICS`; columns
            positives, estimate, low, high.
        class_differences: Index (first, second, metric, class); columns positives, estimate, low,
            high (not corrected), p_value, tested (defined, with at least `MINIMUM_POSITIVES`) and
            p_corrected (Holm, over the tested classes of the pair and metric; NaN where not
            tested).
        samples: Number of samples.
        strata: Number of strata.
        replicates: Number of resamples.
        level: Confidence level of the intervals, between 0 and 1.
        seed: Seed of the resampling.
    """

    metrics: pd.DataFrame
    differences: pd.DataFrame
    class_metrics: pd.DataFrame
    class_differences: pd.DataFrame
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
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> BootstrapResult:
    """Estimate metrics, those of classes and their differences between models, with intervals.

    ``macro_f1_present`` runs over the classes present in `truth`, in every resample; macro
    average precision and macro ROC AUC over the classes where `truth` defines them.

    Args:
        truth: Labels of at least two samples, shape (samples, classes), values 0 and 1.
        predictions: Predicted labels by the name of the model (or of the threshold rule, or
            whatever is compared), each of the same shape, values 0 and 1; see `metrics.decide`.
        replicates: Number of resamples, at least 2 / (1 - level). The smallest p value is
            2 / (replicates + 1).
        seed: The same seed gives the same result.
        level: Confidence level, between 0 and 1.
        class_names: One name a class.
        probabilities: Predicted probabilities of all or some of the models, each of the same
            shape, values 0–1. They add `ranking_bootstrap.METRICS`, and average precision and
            ROC AUC of each class.

    Returns:
        Estimates, intervals and differences.

    Raises:
        HpaError: If an array is not valid, no prediction is given, probabilities are given for
            another model, there are fewer than two samples, or a parameter is out of its range.
    """
    if not predictions:
        raise HpaError("predictions is empty.", "Give the predictions of at least one model.")
    checked = {}
    for name, prediction in predictions.items():
        truth, checked[name] = metrics.checked_labels(truth, prediction)
    probabilities = dict(probabilities or {})
    for name, probability in probabilities.items():
        if name not in checked:
            raise HpaError(
                f"probabilities names {name!r}, and predictions doesn't.",
                f"Name some of {', '.join(checked)}, or give its predictions too.",
            )
        _, probabilities[name] = metrics.checked_scores(truth, probability)
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

    stratum = strata(truth)
    scorers = {name: _Scorer(truth, prediction) for name, prediction in checked.items()}
    rankings = {name: RankingScorer(truth, given) for name, given in probabilities.items()}
    scored = _scores(scorers, stratum, replicates, seed, threads=1)  # BLAS has threads of its own
    # Alone, for the threads of BLAS hold on to the cores for a while after each product.
    ranked = _scores(rankings, stratum, replicates, seed, threads=joblib.cpu_count())
    scored |= {name: np.hstack([scored[name], values]) for name, values in ranked.items()}
    estimates = {name: values[0] for name, values in scored.items()}
    resampled = {name: values[1:] for name, values in scored.items()}

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
            for first, second in combinations(scorers, 2)
        },
        ["first", "second"],
        positives,
    )
    p_values = class_differences["p_value"]
    tested = (class_differences["positives"] >= MINIMUM_POSITIVES) & p_values.notna()
    compared = p_values.where(tested).groupby(level=["first", "second", "metric"])
    return BootstrapResult(
        metrics=of_metrics.drop(columns="p_value"),
        differences=metric_differences,
        class_metrics=of_classes.drop(columns="p_value"),
        class_differences=class_differences.assign(
            tested=tested, p_corrected=compared.transform(holm)
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
    if np.isnan(row["estimate"]):
        return f"The {metrics.READABLE_NAMES[metric]} of {model} is undefined on these samples."
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
    return wording.difference(
        row,
        first,
        second,
        metrics.READABLE_NAMES[metric],
        result.level,
        higher_is_better=metric in metrics.HIGHER_IS_BETTER,
    )


def class_difference_sentence(
    result: BootstrapResult, first: str, second: str, metric: str = "f1"
) -> str:
    """Say in which classes a metric of two models differs after Holm's correction.

    Args:
        result: The bootstrap.
        first: Name of a model.
        second: Name of another.
        metric: One of `CLASS_METRICS`.

    Raises:
        HpaError: If the pair of models or the metric is unknown.
    """
    table = _rows(_pair(result.class_differences, first, second), metric, "class metric")
    name = CLASS_METRICS[metric]
    tested, skipped = table[table["tested"]], table[~table["tested"]]
    error_rate = 1 - result.level
    significant = tested.loc[tested["p_corrected"] < error_rate, "estimate"]
    sentences = [
        f"{name[0].upper()}{name[1:]} is compared in {wording.classes(len(tested))} of "
        f"{len(table)}, those with at least "
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
    present, defined = skipped["positives"] > 0, skipped["estimate"].notna()
    few = skipped.loc[present & defined, "positives"]
    if len(few):
        listed = ", ".join(f"{label} ({count})" for label, count in few.items())
        sentences.append(f"Too few positives to compare: {listed}.")
    for missing, rows in (("positive", ~present), ("negative", present & ~defined)):
        if rows.any():
            sentences.append(f"Without any {missing}: {wording.classes(rows.sum())}.")
    return " ".join(sentences)


def nested(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Rows by their index levels joined with a slash, as ``metrics.json`` holds them."""
    return {" / ".join(key): row for key, row in table.to_dict(orient="index").items()}


class _Scorer:
    """All metrics of one model's decisions as functions of sample weights."""

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
            Shape (resamples, metrics + classes): `DECISION_METRICS`, then F1 of each class.
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
        values["hamming_loss"] = 1 - values["binary_accuracy"]
        return np.column_stack([*(values[name] for name in DECISION_METRICS), kept.f1])


def _scores(
    scorers: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    stratum: np.ndarray,
    replicates: int,
    seed: int,
    threads: int,
) -> dict[str, np.ndarray]:
    """Scores of the samples at hand, and then of each resample, by the name of the scorer.

    Scorers work side by side in as many threads. Without scorers nothing is drawn.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in scorers}
    drawn = resampling_weights(stratum, replicates, seed) if scorers else []
    with ThreadPoolExecutor(threads) as pool:
        for weights in chain([np.ones((1, len(stratum)))], drawn):
            scored = pool.map(lambda scorer, given=weights: scorer(given), scorers.values())
            for part, values in zip(parts.values(), scored, strict=True):
                part.append(values)
    return {name: np.concatenate(part) for name, part in parts.items()}


def _value_names(class_names: Sequence[str]) -> list[tuple[str, str | None]]:
    """Metric, and class or None, of each value of a `_Scorer` and then of a `RankingScorer`."""
    of_classes = {
        metric: [(metric, class_name) for class_name in class_names] for metric in CLASS_METRICS
    }
    return [
        *((metric, None) for metric in DECISION_METRICS),
        *of_classes["f1"],
        *((metric, None) for metric in ranking_bootstrap.METRICS),
        *of_classes["average_precision"],
        *of_classes["roc_auc"],
    ]


def _statistics(estimate: np.ndarray, resampled: np.ndarray, level: float) -> np.ndarray:
    """Estimate, percentile interval and two-sided p value against 0, shape (values, 4).

    All are NaN where the estimate is.
    """
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    at_most, at_least = (resampled <= 0).sum(axis=0), (resampled >= 0).sum(axis=0)
    p_value = np.minimum(2 * (1 + np.minimum(at_most, at_least)) / (len(resampled) + 1), 1.0)
    p_value[np.isnan(estimate)] = np.nan
    return np.column_stack([estimate, low, high, p_value])


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """First minus second, with rounding errors of equal values set to 0.

    Args:
        first: Values along the last axis, in the order of `_value_names`.
        second: The same of another model. The values that both have are compared.
    """
    shared = min(first.shape[-1], second.shape[-1])
    difference = first[..., :shared] - second[..., :shared]
    difference[np.abs(difference) < _ROUNDING_ERROR] = 0
    return difference


def _tables(
    statistics: Mapping[tuple[str, ...], np.ndarray],
    owner_names: Sequence[str],
    positives: pd.Series,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Statistics of metrics, and of classes with their positives, one row an owner and value.

    Args:
        statistics: By model or pair of models, shape (values, 4), in the order of `_value_names`;
            without probabilities the first values only.
        owner_names: Names of the index levels before the metric.
        positives: Positives of each class, indexed by class name.
    """
    names = _value_names(positives.index)
    rows = [(*owner, *name) for owner, cells in statistics.items() for name in names[: len(cells)]]
    table = pd.DataFrame(
        np.concatenate([np.empty((0, 4)), *statistics.values()]),
        pd.MultiIndex.from_tuples(rows, names=[*owner_names, "metric", "class"]),
        ["estimate", "low", "high", "p_value"],
    )
    of_set = table.index.get_level_values("class").isna()
    of_classes = table[~of_set].copy()
    of_classes.insert(0, "positives", np.tile(positives, len(of_classes) // len(positives)))
    return table[of_set].droplevel("class"), of_classes


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
