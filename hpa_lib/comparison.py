"""Put finished training runs side by side, and refuse those that can't be compared."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import (
    baselines,
    evaluation,
    labels,
    metrics,
    predictions,
    runs,
    source_evaluation,
    study_metrics,
    trained_runs,
    wording,
)
from hpa_lib.errors import HpaError
from hpa_lib.evaluation import BootstrapResult
from hpa_lib.parameters import CompareParameters
from hpa_lib.source_evaluation import SourceResult
from hpa_lib.trained_runs import TrainedRun

STUDY_SAMPLES = 31072
"""Rows of the label table that the reference study used."""

COMPARED: tuple[str, ...] = (
    "macro_f1",
    "micro_f1",
    "samples_f1",
    "macro_precision",
    "macro_recall",
    "exact_match",
    "macro_average_precision",
    "macro_roc_auc",
)
"""Metrics shown as a figure."""

_TRIVIAL = "the trivial predictor "

_SAME_SAMPLES: dict[str, Callable[[TrainedRun], Any]] = {
    "dataset fingerprint": lambda run: run.manifest["dataset"]["fingerprint"],
    "split": lambda run: run.metrics["split"],
}
_SAME_CONDITIONS: dict[str, Callable[[TrainedRun], Any]] = {
    "image_size": lambda run: run.manifest["parameters"]["image_size"],
    "composition": lambda run: run.manifest["parameters"]["composition"],
    "samples seen": lambda run: run.metrics["samples_seen"],
    "threshold_rule": lambda run: run.metrics["threshold_rule"],
    "never_empty": lambda run: run.metrics["never_empty"],
    "all_views": lambda run: run.manifest["parameters"]["all_views"],
}

_FREE = {"preset", "data", "seed", "device", "deterministic", "cpu_threads", "vgg_cpu_threads"}
"""Parameters that are no part of the study's protocol."""


def load_pair(values: CompareParameters) -> list[TrainedRun]:
    """Read the two runs that a comparison's parameters name.

    Runs of one backbone are told apart by the names of their folders.
    """
    pair = [
        trained_runs.load(values.run_a, "2_train_resnet"),
        trained_runs.load(values.run_b, "3_train_vgg"),
    ]
    if pair[0].backbone == pair[1].backbone:
        pair = [replace(run, label=f"{run.backbone} ({run.folder.name})") for run in pair]
    return pair


def require_comparable(
    first: TrainedRun, second: TrainedRun, allow_differences: bool = False
) -> list[str]:
    """Refuse runs whose figures don't answer the same question.

    Dataset and split must be the same, since samples are compared one by one. Image size,
    composition, samples seen in training, threshold rule and averaging over views are what else
    a fair comparison of networks holds fixed.

    Args:
        first: A run.
        second: Another one.
        allow_differences: Whether the latter may differ.

    Returns:
        Sentences that name the differences, or say that there are none.

    Raises:
        HpaError: If the runs differ where they must not, or both are one run.
    """
    if first.folder == second.folder:
        raise HpaError(
            f"Parameters run_a and run_b both name {first.folder.name}.", "Name two runs."
        )
    pair = f"{first.folder.name} and {second.folder.name}"
    one_by_one = "Compare runs of one dataset and split: their samples are compared one by one."
    for name, (one, other) in _facts(first, second, _SAME_SAMPLES).items():
        if one != other:
            raise HpaError(f"{pair} differ in {name}: {one} and {other}.", one_by_one)
    samples = ["Id", "part", "Target"]
    if not first.predictions[samples].equals(second.predictions[samples]):
        raise HpaError(
            f"{pair} differ in the samples of {predictions.FILE}, though not in their split: one "
            "of the files was changed.",
            one_by_one,
        )
    differences = [
        f"{name}: {one} and {other}"
        for name, (one, other) in _facts(first, second, _SAME_CONDITIONS).items()
        if one != other
    ]
    if not differences:
        return [f"Both runs share {', '.join([*_SAME_SAMPLES, *_SAME_CONDITIONS])}."]
    if not allow_differences:
        raise HpaError(
            f"{pair} differ in {'; '.join(differences)}.",
            "Train both alike, or set allow_differences to true to see them side by side all "
            "the same.",
        )
    return [
        f"**This is no fair comparison of networks.** {first.label} and {second.label} differ in "
        f"{'; '.join(differences)}. A difference between their figures may come from that."
    ]


def _facts(
    first: TrainedRun, second: TrainedRun, facts: dict[str, Callable[[TrainedRun], Any]]
) -> dict[str, tuple[Any, Any]]:
    """What two runs record, by name."""
    found = {}
    for name, fact in facts.items():
        try:
            found[name] = fact(first), fact(second)
        except KeyError as error:
            raise HpaError(
                f"{first.folder} or {second.folder} doesn't record its {name} (no entry {error}).",
                "Name runs that a training notebook of this project has finished.",
            ) from error
    return found


def parameter_differences(first: TrainedRun, second: TrainedRun) -> pd.DataFrame:
    """Parameters in which two runs differ, and the numbers of samples that each has seen."""
    one, other = (
        run.manifest["parameters"] | {"samples seen": run.metrics["samples_seen"]}
        for run in (first, second)
    )
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return pd.DataFrame(
        {
            first.label: [one.get(name, "–") for name in names],
            second.label: [other.get(name, "–") for name in names],
        },
        index=pd.Index(names, name="parameter"),
    )


def decisions(trained: list[TrainedRun], part: str = "report") -> dict[str, np.ndarray]:
    """Labels that each run gives by its own thresholds, and those of the best trivial predictors.

    The latter are the one with the highest macro F1 and the one with the highest micro F1 on the
    report part itself, which favours them; they are fitted on the training labels.
    """
    truth, _ = trained[0].arrays(part)
    given = _network_decisions(trained, part)
    for trivial in trained[0].metrics["trivial"].values():
        probability = baselines.repeat(np.array(trivial["probability"]), len(truth))
        given[trivial_name(trivial["name"])] = metrics.decide(probability, 0.5)
    return given


def bootstrap(trained: list[TrainedRun], replicates: int, seed: int) -> BootstrapResult:
    """Score networks and trivial predictors on the report part; see `evaluation.bootstrap_metrics`.

    Trivial predictors have the metrics of decisions alone: they rank no sample before another.
    """
    truth, _ = trained[0].arrays("report")
    probabilities = {run.label: run.arrays("report")[1] for run in trained}
    return evaluation.bootstrap_metrics(
        truth, decisions(trained), replicates, seed, probabilities=probabilities
    )


def by_source(trained: list[TrainedRun], replicates: int, seed: int) -> SourceResult:
    """Compare the networks in each source of the report part; see `source_evaluation.bootstrap`.

    Each network's labels are those of `decisions`: its thresholds are the same in every source.
    """
    truth, _ = trained[0].arrays("report")
    rows = predictions.rows_by_source(trained[0].predictions, "report")
    given = _network_decisions(trained, "report")
    return source_evaluation.bootstrap(truth, given, rows, replicates, seed)


def trivial_name(name: str) -> str:
    """How figures and sentences name a trivial predictor of `baselines`."""
    return f"{_TRIVIAL}“{name}”"


def names(*groups: Sequence[TrainedRun]) -> tuple[str, ...]:
    """Names of the run folders, each once, in their order."""
    return tuple(dict.fromkeys(run.folder.name for group in groups for run in group))


def metric_intervals(bootstrap: BootstrapResult) -> pd.DataFrame:
    """Estimates of `COMPARED` for every model, as `plots.intervals` takes them."""
    table = bootstrap.metrics.reset_index()
    return _interval_rows(table, table["model"])


def difference_intervals(bootstrap: BootstrapResult) -> pd.DataFrame:
    """Differences of `COMPARED` for every pair with a network, as `plots.intervals` takes them."""
    table = bootstrap.differences.reset_index()
    table = table[~table["first"].str.startswith(_TRIVIAL)]
    return _interval_rows(table, table["first"] + " − " + table["second"])


def metric_table(bootstrap: BootstrapResult) -> pd.DataFrame:
    """Every metric of the networks with its interval, and the difference of the first two.

    Returns:
        Index metric; columns of text, one a network, and one for the difference if there are two.
    """
    models = bootstrap.metrics.index.unique("model")
    networks = [name for name in models if not name.startswith(_TRIVIAL)]
    columns = {name: bootstrap.metrics.xs(name, level="model") for name in networks}
    if len(networks) > 1:
        pair = tuple(networks[:2])
        columns[" − ".join(pair)] = bootstrap.differences.xs(pair, level=("first", "second"))
    shown = pd.DataFrame(
        {name: rows.apply(_interval_text, axis=1) for name, rows in columns.items()}
    )
    shown = shown.loc[list(evaluation.METRICS)].rename(index=metrics.READABLE_NAMES)
    return shown.rename_axis(f"metric ({wording.percent(bootstrap.level)} interval)")


def sentences(bootstrap: BootstrapResult) -> list[str]:
    """What the data allow to say of every pair of models, in macro and micro F1.

    Two networks are also compared in macro average precision, which no threshold decides. Two
    trivial predictors are no pair.
    """
    said = []
    for first, second in bootstrap.differences.index.droplevel("metric").unique():
        if not first.startswith(_TRIVIAL):
            names = ["macro_f1", "micro_f1"]
            if not second.startswith(_TRIVIAL):
                names.append("macro_average_precision")
            said += [
                evaluation.difference_sentence(bootstrap, first, second, name) for name in names
            ]
    return [wording.capitalized(sentence) for sentence in said]  # “the trivial predictor …”


def results(
    trained: list[TrainedRun], bootstrap: BootstrapResult, sources: SourceResult
) -> dict[str, Any]:
    """Everything that a comparison writes to ``metrics.json``."""
    pair = tuple(run.label for run in trained)
    differences = bootstrap.differences.xs(pair, level=("first", "second"))
    return {
        "runs": list(names(trained)),
        "samples": bootstrap.samples,
        "replicates": bootstrap.replicates,
        "metrics": evaluation.nested(bootstrap.metrics),
        "differences": evaluation.nested(bootstrap.differences),
        "sources": sources.values(),
        "headline": {
            "Macro F1 difference": float(differences.loc["macro_f1", "estimate"]),
            "Micro F1 difference": float(differences.loc["micro_f1", "estimate"]),
        },
    }


def per_class_tables(trained: list[TrainedRun], part: str = "report") -> dict[str, pd.DataFrame]:
    """Per-class metrics of each run by its own thresholds; see `metrics.per_class`."""
    return {
        run.label: metrics.per_class(
            *run.arrays(part), run.thresholds(), run.metrics["never_empty"]
        )
        for run in trained
    }


def shown_samples(trained: list[TrainedRun], threshold: float) -> pd.DataFrame:
    """The samples shown one by one: truth and each run's labels at one threshold, as names.

    Args:
        trained: Runs of the same split.
        threshold: Probability from which a label is given; the study used 0.2.
    """
    first = trained[0].predictions
    chosen = first[first["part"] == "shown"]
    columns = {
        "truth": [labels.class_names(labels.parse_target(text)) for text in chosen["Target"]]
    }
    for run in trained:
        _, probability = run.arrays("shown")
        given = labels.from_multi_hot(metrics.decide(probability, threshold))
        columns[run.label] = [labels.class_names(indices) for indices in given]
    return pd.DataFrame(columns, index=pd.Index(chosen["Id"], name="Id"))


def beside_study(trained: list[TrainedRun]) -> pd.DataFrame:
    """The study's reported numbers beside ours, with what may be compared and why not.

    Ours are the figures of the last epoch in the same sense as the study's: averages over
    training batches, or over the validation samples.
    """
    ours = {run.backbone: run for run in trained}
    columns = {"f1": "batch_averaged_f1", "accuracy": "binary_accuracy", "loss": "loss"}
    rows = []
    for number in study_metrics.REPORTED:
        run = ours.get(number.network)
        if run is None or number.stage != 2:
            continue
        column = ("val_" if number.rows == "validation" else "") + columns[number.quantity]
        rows.append(
            {
                "network": number.network,
                "quantity": f"{columns[number.quantity].replace('_', ' ')} ({number.rows})",
                "study": number.value,
                "ours": float(run.history[column].iloc[-1]),
                "may be compared": _obstacle(run) or "yes",
                "what the study's number is": number.meaning,
            }
        )
    return pd.DataFrame(rows).set_index(["network", "quantity"])


def _interval_text(row: pd.Series) -> str:
    if pd.isna(row["estimate"]):
        return "undefined"
    return wording.bracketed(row["estimate"], row["low"], row["high"])


def _network_decisions(trained: list[TrainedRun], part: str) -> dict[str, np.ndarray]:
    return {run.label: run.decisions(part) for run in trained}


def _interval_rows(table: pd.DataFrame, series: pd.Series) -> pd.DataFrame:
    table = table.assign(series=series)[table["metric"].isin(COMPARED)]
    table = table.assign(name=table["metric"].map(metrics.READABLE_NAMES))
    order = table["metric"].map(COMPARED.index)
    columns = ["name", "series", "estimate", "low", "high"]
    return table.iloc[np.argsort(order, kind="stable")][columns].reset_index(drop=True)


def _obstacle(run: TrainedRun) -> str | None:
    values, samples = run.manifest["parameters"], run.manifest["dataset"]["samples"]
    if samples != STUDY_SAMPLES:
        name = run.manifest["dataset"]["name"]
        return f"no: {samples} samples of {name}, not the study's {STUDY_SAMPLES}"
    expected = runs.preset_parameters("seed", run.manifest["notebook"])
    different = [
        name for name, value in expected.items() if name not in _FREE and values.get(name) != value
    ]
    if different:
        return f"no: other protocol ({', '.join(different)})"
    return None
