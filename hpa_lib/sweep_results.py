"""What the finished members of a sweep are worth, together.

Two questions, two intervals. How good is a recipe, whichever samples it is trained on? That is told
by the figures of the single trainings, averaged over seeds and folds; see `fold_statistics`. How
good are these very networks on samples such as these? That is told by the out-of-fold
predictions of all folds, resampled; see `out_of_fold` and `evaluation`. A difference between two
groups is taken training by training, over the folds and seeds that both have, and p values are
corrected for the number of pairs by Holm's method.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import (
    evaluation,
    fold_statistics,
    metrics,
    out_of_fold,
    sweeps,
    trained_runs,
    wording,
)
from hpa_lib.errors import HpaError
from hpa_lib.evaluation import BootstrapResult
from hpa_lib.out_of_fold import FoldPrediction
from hpa_lib.sweeps import Member, Standing
from hpa_lib.trained_runs import TrainedRun

METRICS: tuple[str, ...] = ("macro_f1", "micro_f1", "macro_average_precision")
"""Metrics of single trainings."""

POOLED: tuple[str, ...] = ("macro_f1", "micro_f1")
"""Metrics of the out-of-fold predictions that are told in words."""

_MOST_SENTENCES = 9
"""Differences that are told one by one: those of three groups."""

ENSEMBLE = "average of all groups"
"""How figures and sentences name the ensemble."""

_MOST_SHOWN = 6
"""Groups in a figure of classes: as many as `plots` has colours."""


@dataclass(frozen=True)
class SweepRun:
    """A member and its finished run."""

    member: Member
    run: TrainedRun


@dataclass(frozen=True)
class SweepResult:
    """Figures of all finished members.

    Attributes:
        figures: Index (group, fold, seed); columns `METRICS` by the run's own thresholds on the
            report part of its fold, NaN where undefined.
        means: Index (group, metric); columns of `fold_statistics.FoldMean` and
            `fold_statistics.Spread`; intervals end at 0 and 1, as the metrics do.
        differences: Index (first, second, metric); columns of `fold_statistics.FoldMean` for first
            minus second, and p_corrected (Holm, over all pairs); none for one group.
        test_share: Test samples of a fold by its training samples.
        predictions: By group and fold; `ENSEMBLE`, where there are two groups, has the folds that
            all groups have.
        folds: Folds that all groups have.
        bootstrap: Out-of-fold predictions of these folds, resampled.
        samples: Samples of the dataset.
        level: Confidence level of the intervals, between 0 and 1.
    """

    figures: pd.DataFrame
    means: pd.DataFrame
    differences: pd.DataFrame
    test_share: float
    predictions: dict[str, dict[int, FoldPrediction]]
    folds: tuple[int, ...]
    bootstrap: BootstrapResult
    samples: int
    level: float

    @property
    def best_known(self) -> str:
        """The ensemble, or the only group."""
        return ENSEMBLE if ENSEMBLE in self.predictions else next(iter(self.predictions))

    def values(self) -> dict[str, Any]:
        """Everything for ``metrics.json``."""
        pooled = self.bootstrap.metrics["estimate"]
        figures = self.figures.rename(index=str)
        return {
            "samples": self.bootstrap.samples,
            "replicates": self.bootstrap.replicates,
            "folds": list(self.folds),
            "trainings": evaluation.nested(figures),
            "means": evaluation.nested(self.means),
            "differences": evaluation.nested(self.differences),
            "out_of_fold": evaluation.nested(self.bootstrap.metrics),
            "out_of_fold_differences": evaluation.nested(self.bootstrap.differences),
            "headline": {
                f"Out-of-fold {metrics.READABLE_NAMES[name]}": float(pooled[self.best_known, name])
                for name in POOLED
            },
        }


def load(standings: Iterable[Standing]) -> list[SweepRun]:
    """Read the runs of all complete members.

    Raises:
        HpaError: If there are none, or one is damaged.
    """
    complete = [one for one in standings if one.status == sweeps.COMPLETE]
    if not complete:
        raise HpaError(
            "No member of the sweep has a finished run.",
            "Train them: make sweep, with the sweep, data and parameters named here.",
        )
    return [
        SweepRun(one.member, trained_runs.load(one.run, one.member.notebook)) for one in complete
    ]


def names(trained: Sequence[SweepRun]) -> tuple[str, ...]:
    """Names of the run folders, in their order."""
    return tuple(one.run.folder.name for one in trained)


def require_alike(trained: Sequence[SweepRun], allow_differences: bool = False) -> list[str]:
    """Refuse runs that don't belong together.

    Args:
        trained: The runs.
        allow_differences: Whether they may have been trained with different versions of the code.

    Returns:
        A sentence that says what they share, or that they differ.

    Raises:
        HpaError: If their dataset, the parts of a fold, or without `allow_differences` their
            code differ.
    """
    _require_one(trained, lambda one: one.run.manifest["dataset"]["fingerprint"], "dataset")
    for fold in sorted({one.member.fold for one in trained}):
        of_fold = [one for one in trained if one.member.fold == fold]
        _require_one(of_fold, lambda one: one.run.metrics["split"], f"parts of fold {fold}")
    try:
        _require_one(trained, lambda one: one.run.manifest["code_digest"], "code")
    except HpaError as error:
        if not allow_differences:
            raise
        return [f"**Not all of this was trained with the same code.** {error.problem}"]
    return ["All members share the dataset, the parts of each fold, and the code."]


def aggregate(
    trained: Sequence[SweepRun], replicates: int = 2000, seed: int = 0, level: float = 0.95
) -> SweepResult:
    """Score all runs alone, their out-of-fold predictions, and the differences between groups.

    Args:
        trained: Runs that `require_alike` has let pass. The ensemble takes the threshold rule of
            the first.
        replicates: See `evaluation.bootstrap_metrics`.
        seed: Seed of the bootstrap.
        level: Confidence level of the intervals, between 0 and 1.

    Raises:
        HpaError: If no fold is finished in all groups that have a finished run.
    """
    groups: dict[str, dict[int, list[TrainedRun]]] = {}
    figures = {}
    for one in trained:
        member = one.member
        groups.setdefault(member.group, {}).setdefault(member.fold, []).append(one.run)
        figures[member.group, member.fold, member.values.seed] = _scores(one.run)
    table = pd.DataFrame.from_dict(figures, orient="index", columns=METRICS)
    table.index = pd.MultiIndex.from_tuples(figures, names=["group", "fold", "seed"])

    folds = tuple(sorted(set.intersection(*(set(folds) for folds in groups.values()))))
    if not folds:
        raise HpaError(
            f"No fold is finished in all of {', '.join(groups)}.",
            "Go on with the sweep: groups are compared on folds that all of them have.",
        )
    predicted = {
        group: {fold: out_of_fold.of_runs(found) for fold, found in sorted(by_fold.items())}
        for group, by_fold in groups.items()
    }
    if len(groups) > 1:
        like = trained[0].run
        predicted[ENSEMBLE] = {
            fold: out_of_fold.ensemble([predicted[group][fold] for group in groups], like)
            for fold in folds
        }
    first = next(iter(predicted.values()))
    truth = np.concatenate([first[fold].truth for fold in folds])
    decisions = {
        group: np.concatenate([by_fold[fold].decisions for fold in folds])
        for group, by_fold in predicted.items()
    }
    test_share = _test_share(trained)
    return SweepResult(
        figures=table,
        means=_means(table, test_share, level),
        differences=_differences(table, test_share, level),
        test_share=test_share,
        predictions=predicted,
        folds=folds,
        bootstrap=evaluation.bootstrap_metrics(truth, decisions, replicates, seed, level),
        samples=trained[0].run.manifest["dataset"]["samples"],
        level=level,
    )


def figure_table(result: SweepResult) -> pd.DataFrame:
    """Metrics of each training."""
    return result.figures.rename(columns=metrics.READABLE_NAMES)


def mean_table(result: SweepResult) -> pd.DataFrame:
    """Means over folds and seeds, their intervals, and where their spread comes from."""
    rows = result.means
    shown = pd.DataFrame(
        {
            "folds": rows["folds"].astype(int),
            "trainings": rows["trainings"].astype(int),
            f"mean ({wording.percent(result.level)} interval)": rows.apply(_interval, axis=1),
            "deviation of folds": rows["of_folds"],
            "deviation of seeds": rows["of_seeds"],
            "share of seeds in the variance": rows["share_of_seeds"],
        }
    )
    return shown.rename(index=metrics.READABLE_NAMES, level="metric")


def mean_intervals(result: SweepResult) -> pd.DataFrame:
    """The means as `plots.intervals` takes them, a line a group; an unknown interval is a point."""
    rows = result.means.reset_index().rename(columns={"group": "name"})
    rows["series"] = rows["metric"].map(metrics.READABLE_NAMES)
    rows = rows.dropna(subset="estimate")
    for end in ("low", "high"):
        rows[end] = rows[end].fillna(rows["estimate"])
    return rows[["name", "series", "estimate", "low", "high"]].reset_index(drop=True)


def mean_sentences(result: SweepResult) -> list[str]:
    """What each group reaches on average in macro F1, and how much of the spread seeds make."""
    said = []
    for group in result.means.index.unique("group"):
        row = result.means.loc[(group, METRICS[0])]
        name = metrics.READABLE_NAMES[METRICS[0]]
        folds, trainings = int(row["folds"]), int(row["trainings"])
        if folds == 0:
            said.append(f"The {name} of {group} is undefined in all of its trainings.")
            continue
        counted = f"{_counted(folds, 'fold')} and {_counted(trainings, 'training')}"
        if folds < 2:
            said.append(
                f"{group} has a mean {name} of {wording.number(row['estimate'])} over {counted}: "
                "an interval needs two folds."
            )
            continue
        told = wording.with_interval(row["estimate"], row["low"], row["high"], result.level)
        sentence = f"Over {counted} {group} has a mean {name} of {told}"
        if np.isnan(row["of_seeds"]):
            sentence += "; no fold has two seeds, so that their share in the spread isn't known."
        elif np.isnan(row["share_of_seeds"]):
            sentence += "; neither folds nor seeds change it."
        else:
            seeds = wording.percent(round(row["share_of_seeds"], 2))
            sentence += f"; {seeds} of its variance comes from seeds, the rest from folds."
        said.append(sentence)
    return said


def difference_table(result: SweepResult) -> pd.DataFrame:
    """Differences between groups over folds and seeds, and whether they hold."""
    rows = result.differences
    shown = pd.DataFrame(
        {
            "folds": rows["folds"].astype(int),
            "trainings": rows["trainings"].astype(int),
            f"first − second ({wording.percent(result.level)} interval)": [
                _interval(row) for _, row in rows.iterrows()
            ],
            "p": rows["p_value"],
            "p, corrected": rows["p_corrected"],
            "holds": ["yes" if _holds(row, result.level) else "no" for _, row in rows.iterrows()],
        },
        index=rows.index,
    )
    return shown.rename(index=metrics.READABLE_NAMES, level="metric")


def difference_sentences(result: SweepResult) -> list[str]:
    """Which differences between groups hold over folds and seeds.

    Of many groups only those are told that do; the others are counted.
    """
    if not len(result.differences):
        return ["There is one group: nothing to compare."]
    holding = [_holds(row, result.level) for _, row in result.differences.iterrows()]
    if len(holding) <= _MOST_SENTENCES:
        return _each_difference(result, result.differences)
    counted = f"{sum(holding) or 'None'} of the {len(holding)} differences between groups"
    return [
        f"{counted} {'holds' if sum(holding) < 2 else 'hold'} after the correction for the "
        "number of pairs.",
        *_each_difference(result, result.differences[holding]),
    ]


def _each_difference(result: SweepResult, differences: pd.DataFrame) -> list[str]:
    said = []
    for (first, second, metric), row in differences.iterrows():
        name = metrics.READABLE_NAMES[metric]
        if row["folds"] < 2:
            said.append(
                f"{first} and {second} share {_counted(int(row['folds']), 'fold')}: too few "
                f"to tell whether they differ in {name}."
            )
        elif _holds(row, result.level) or row["low"] <= 0 <= row["high"]:
            said.append(wording.difference(row, first, second, name, result.level))
        else:
            told = wording.with_interval(row["estimate"], row["low"], row["high"], result.level)
            said.append(
                f"{first} minus {second} is {told} in {name}, which doesn't hold after the "
                "correction for the number of pairs."
            )
    return [wording.capitalized(sentence) for sentence in said]


def coverage_sentences(result: SweepResult) -> list[str]:
    """How many samples the out-of-fold predictions cover."""
    folds = _counted(len(result.folds), "fold")
    if result.bootstrap.samples == result.samples:
        return [f"The report parts of {folds} cover each of the {result.samples:,} samples once."]
    return [
        f"The report parts of {folds} that all groups have cover "
        f"{result.bootstrap.samples:,} of {result.samples:,} samples, each once."
    ]


def pooled_intervals(result: SweepResult) -> pd.DataFrame:
    """Out-of-fold metrics as `plots.intervals` takes them, a line a group."""
    rows = result.bootstrap.metrics.loc[(slice(None), list(POOLED)), :].reset_index()
    rows["series"] = rows["metric"].map(metrics.READABLE_NAMES)
    rows = rows.rename(columns={"model": "name"})
    return rows[["name", "series", "estimate", "low", "high"]]


def pooled_sentences(result: SweepResult) -> list[str]:
    """What out-of-fold predictions reach, and what the ensemble gains over each group."""
    pooled = result.bootstrap
    said = [evaluation.estimate_sentence(pooled, group, POOLED[0]) for group in result.predictions]
    if ENSEMBLE in result.predictions:
        said += [
            evaluation.difference_sentence(pooled, ENSEMBLE, group, POOLED[0])
            for group in result.predictions
            if group != ENSEMBLE
        ]
    return [wording.capitalized(sentence) for sentence in said]


def class_tables(result: SweepResult) -> dict[str, pd.DataFrame]:
    """Out-of-fold F1 of each class as `plots.per_class_f1` takes it.

    Of more groups than the figure has colours, those with the highest macro F1 are taken.
    """
    reached = result.bootstrap.metrics["estimate"].xs("macro_f1", level="metric")
    best = set(reached.sort_values(ascending=False, kind="stable").index[:_MOST_SHOWN])
    rows = result.bootstrap.class_metrics.xs("f1", level="metric")
    return {
        group: rows.xs(group, level="model")
        .assign(f1=lambda table: table["estimate"])[["positives", "f1", "low", "high"]]
        .rename_axis("class")
        for group in result.predictions
        if group in best
    }


def class_table(result: SweepResult) -> pd.DataFrame:
    """Out-of-fold F1 of each class and group, with intervals."""
    rows = result.bootstrap.class_metrics.xs("f1", level="metric")
    shown = pd.DataFrame(
        {
            group: rows.xs(group, level="model").apply(_interval, axis=1)
            for group in result.predictions
        }
    )
    shown.insert(0, "positives", rows.xs(shown.columns[0], level="model")["positives"])
    return shown.rename_axis(f"class (F1, {wording.percent(result.level)} interval)")


def check(result: SweepResult, ids: Sequence[str]) -> None:
    """Assert what must hold of every sweep.

    Args:
        result: The result.
        ids: Ids of the dataset's samples.

    Raises:
        AssertionError: If a group predicts a sample twice, or one of another dataset.
    """
    for by_fold in result.predictions.values():
        predicted = pd.concat([one.report["Id"] for one in by_fold.values()])
        assert predicted.is_unique
        assert predicted.isin(set(ids)).all()


def _require_one(trained: Sequence[SweepRun], fact: Callable[[SweepRun], Any], name: str) -> None:
    """Refuse runs that differ in a fact, naming two of them."""
    found: dict[Any, str] = {}
    for one in trained:
        found.setdefault(fact(one), one.run.folder.name)
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise HpaError(
            f"{one} and {other} differ in their {name}.",
            "Call make sweep again, which trains what is outdated; only where their code differs, "
            "allow_differences puts them together all the same.",
        )


def _scores(run: TrainedRun) -> list[float]:
    truth, probability = run.arrays("report")
    scores = metrics.summary(truth, probability, run.thresholds(), run.metrics["never_empty"])
    return [scores[name] for name in METRICS]


def _test_share(trained: Sequence[SweepRun]) -> float:
    """Samples of the report part by those of the training part, over all runs."""
    tested = learned = 0
    for one in trained:
        sizes = one.run.predictions["part"].value_counts().drop("shown", errors="ignore")
        tested += sizes["report"]
        learned += one.run.manifest["dataset"]["samples"] - sizes.sum()
    return float(tested / learned)


def _means(figures: pd.DataFrame, test_share: float, level: float) -> pd.DataFrame:
    rows = {}
    for group, of_group in figures.groupby(level="group", sort=False):
        for metric in METRICS:
            values = of_group[metric].droplevel("group")
            mean = fold_statistics.mean_over_folds(values, test_share, level)
            rows[group, metric] = asdict(mean) | asdict(fold_statistics.spread(values))
    table = pd.DataFrame.from_dict(rows, orient="index").drop(columns="p_value")
    table.index = pd.MultiIndex.from_tuples(rows, names=["group", "metric"])
    return table.assign(low=table["low"].clip(lower=0), high=table["high"].clip(upper=1))


def _differences(figures: pd.DataFrame, test_share: float, level: float) -> pd.DataFrame:
    rows = {}
    for first, second in combinations(figures.index.unique("group"), 2):
        paired = figures.loc[first] - figures.loc[second]  # by fold and seed
        for metric in METRICS:
            mean = fold_statistics.mean_over_folds(paired[metric], test_share, level)
            rows[first, second, metric] = asdict(mean)
    columns = [field.name for field in fields(fold_statistics.FoldMean)]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table.index = pd.MultiIndex.from_tuples(rows, names=["first", "second", "metric"])
    corrected = table["p_value"].groupby(level="metric").transform(evaluation.holm)
    return table.assign(p_corrected=corrected)


def _holds(row: pd.Series, level: float) -> bool:
    return bool(row["p_corrected"] < 1 - level)


def _interval(row: pd.Series) -> str:
    if pd.isna(row["estimate"]):
        return "undefined"
    if pd.isna(row["low"]):
        return wording.number(row["estimate"])
    return wording.bracketed(row["estimate"], row["low"], row["high"])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
