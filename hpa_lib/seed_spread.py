"""How much a figure depends on the training seed, and how much on the choice of samples.

Runs that differ in nothing but the seed are trainings that could as well have been reported. Each
seed also draws another split, so that figures of several seeds spread for both reasons. What the
samples alone would do is known from each run's bootstrap; what is left of the variance is ascribed
to the seed: its weights, batches and training part.

The mean difference of two networks gets a t interval over the seeds that both have. Report parts
of different seeds share samples, which makes that interval somewhat too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hpa_lib import evaluation, metrics, runs, trained_runs, wording
from hpa_lib.trained_runs import TrainedRun

METRICS: tuple[str, ...] = ("macro_f1", "micro_f1")
"""Metrics whose spread is shown."""


@dataclass(frozen=True)
class SeedSpread:
    """Figures of several seeds.

    Attributes:
        figures: Index (network, seed, metric); columns run (name), estimate, low, high: the
            figure on the run's own report part, and its interval over samples.
        spread: Index (network, metric); columns seeds (their number), mean, deviation (standard
            deviation over seeds), of_samples (what the choice of samples alone would give) and
            of_seeds (square root of what is left of the variance); the last three are NaN for one
            seed.
        differences: Index (first, second, metric); columns seeds (those that both have),
            estimate (mean of first minus second), low, high; NaN for fewer than two seeds.
        level: Confidence level of the intervals, between 0 and 1.
    """

    figures: pd.DataFrame
    spread: pd.DataFrame
    differences: pd.DataFrame
    level: float

    def values(self) -> dict[str, Any]:
        """All figures for ``metrics.json``."""
        figures = self.figures.rename(index=str, level="seed")
        return {
            "figures": evaluation.nested(figures),
            "spread": evaluation.nested(self.spread),
            "differences": evaluation.nested(self.differences),
        }


def find(run: TrainedRun) -> list[TrainedRun]:
    """Finished runs that differ from one in the seed alone, that one included, in order of seeds.

    Of several runs of one seed the one that finished last is taken.
    """
    by_seed = {}
    for manifest in sorted(runs.finished(), key=lambda manifest: manifest["finished"]):
        if _identity(manifest) == _identity(run.manifest):
            by_seed[manifest["seed"]] = manifest["run"]
    by_seed[run.manifest["seed"]] = run.folder.name
    return [
        run if name == run.folder.name else trained_runs.load(name, run.manifest["notebook"])
        for _, name in sorted(by_seed.items())
    ]


def compare(
    trained: Mapping[str, Sequence[TrainedRun]],
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> SeedSpread:
    """Score the runs of all seeds of one or two networks, each on its own report part.

    Args:
        trained: The runs of each network by its name, as `find` gives them.
        replicates: See `evaluation.bootstrap_metrics`.
        seed: Seed of the bootstrap.
        level: Confidence level of the intervals, between 0 and 1.
    """
    parts = {}
    for network, group in trained.items():
        for run in group:
            scored = evaluation.bootstrap_metrics(
                run.arrays("report")[0], {"run": run.decisions("report")}, replicates, seed, level
            )
            found = scored.metrics.xs("run", level="model").loc[list(METRICS)]
            parts[network, run.manifest["seed"]] = found.assign(run=run.folder.name)
    figures = pd.concat(parts, names=["network", "seed", "metric"])
    spread = figures.groupby(level=["network", "metric"], sort=False).apply(_spread, level=level)
    return SeedSpread(
        figures=figures[["run", "estimate", "low", "high"]],
        spread=spread.astype({"seeds": int}),
        differences=_differences(figures, list(trained), level),
        level=level,
    )


def table(result: SeedSpread) -> pd.DataFrame:
    """One row a network and seed: its run, and each metric with its interval, as text."""
    rows = result.figures
    text = rows[["estimate", "low", "high"]].apply(lambda row: wording.bracketed(*row), axis=1)
    shown = text.unstack("metric", sort=False)[list(METRICS)].rename(columns=metrics.READABLE_NAMES)
    shown.insert(0, "run", rows["run"].xs(METRICS[0], level="metric"))
    return shown.rename_axis(columns=None)


def sentences(result: SeedSpread) -> list[str]:
    """Say how many seeds there are, what they change, and whether a difference outlasts them."""
    said = []
    for (network, metric), row in result.spread.iterrows():
        name = metrics.READABLE_NAMES[metric]
        if row["seeds"] == 1:
            if metric == METRICS[0]:
                said.append(
                    f"There is one run of {network} with these parameters: how much its figures "
                    "depend on the training seed isn't known. Train it with other seeds to see."
                )
            continue
        said.append(
            f"Over {row['seeds']:.0f} seeds {network} has a mean {name} of "
            f"{wording.number(row['mean'])} with a standard deviation of "
            f"{wording.number(row['deviation'])}; the choice of samples alone would give "
            f"{wording.number(row['of_samples'])}, so {wording.number(row['of_seeds'])} is left "
            "for the seed."
        )
    for (first, second, metric), row in result.differences.iterrows():
        if row["seeds"] > 1:
            told = wording.difference(
                row, first, second, metrics.READABLE_NAMES[metric], result.level
            )
            said.append(f"Over the {row['seeds']:.0f} seeds of both: {told}")
    return said


def _identity(manifest: dict[str, Any]) -> tuple[Any, ...]:
    """What runs of several seeds share."""
    free = {"seed", *runs.PARAMETERS_WITHOUT_INFLUENCE}
    values = {name: value for name, value in manifest["parameters"].items() if name not in free}
    fingerprint = (manifest["dataset"] or {}).get("fingerprint")
    return manifest["notebook"], manifest["code_digest"], fingerprint, values


def _spread(rows: pd.DataFrame, level: float) -> pd.Series:
    estimates = rows["estimate"].to_numpy()
    found = {"seeds": len(estimates), "mean": estimates.mean()}
    if len(estimates) == 1:
        return pd.Series(found | dict.fromkeys(("deviation", "of_samples", "of_seeds"), np.nan))
    widths = (rows["high"] - rows["low"]).to_numpy() / (2 * stats.norm.ppf((1 + level) / 2))
    variance, of_samples = estimates.var(ddof=1), (widths**2).mean()
    return pd.Series(
        found
        | {
            "deviation": np.sqrt(variance),
            "of_samples": np.sqrt(of_samples),
            "of_seeds": np.sqrt(max(variance - of_samples, 0)),
        }
    )


def _differences(figures: pd.DataFrame, labels: Sequence[str], level: float) -> pd.DataFrame:
    rows = {}
    if len(labels) > 1:
        first, second = (figures["estimate"].xs(label, level="network") for label in labels[:2])
        for metric in METRICS:
            both = (first.xs(metric, level="metric") - second.xs(metric, level="metric")).dropna()
            low = high = np.nan
            if len(both) > 1:
                low, high = stats.t.interval(
                    level, len(both) - 1, loc=both.mean(), scale=stats.sem(both)
                )
            rows[(*labels[:2], metric)] = [len(both), both.mean(), low, high]
    columns = ["seeds", "estimate", "low", "high"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table.index = pd.MultiIndex.from_tuples(rows, names=["first", "second", "metric"])
    return table
