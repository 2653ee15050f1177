"""Out-of-fold predictions: each sample predicted by networks that have not seen it.

A fold's report part is predicted by the networks that were trained on the rest. Networks of
several seeds are averaged within their fold, which they may be, since folds don't depend on the
seed. Thresholds are tuned anew for the average, in each fold on its own threshold part, by the
trainings' own rule; threshold parts of different folds never meet. The report parts of all folds
together are the whole dataset, each sample once.

Decisions of all folds are counted together. Average precision and ROC AUC aren't computed over all
folds: they would rank probabilities of different networks against each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpa_lib import ensembles, labels, metrics, predictions, thresholds
from hpa_lib.errors import HpaError
from hpa_lib.trained_runs import TrainedRun


@dataclass(frozen=True)
class FoldPrediction:
    """What the networks of one group and fold predict together.

    Attributes:
        networks: Number of networks averaged.
        tuning: Truth and probabilities of the threshold part, each of shape (rows, 28).
        report: Columns Id and Target of the report part.
        truth: Labels of the report part, shape (rows, 28), values 0 and 1.
        probability: Probabilities of the report part, float64, same shape.
        thresholds: One a class.
        decisions: Labels given, same shape as `truth`, uint8.
    """

    networks: int
    tuning: tuple[np.ndarray, np.ndarray]
    report: pd.DataFrame
    truth: np.ndarray
    probability: np.ndarray
    thresholds: np.ndarray
    decisions: np.ndarray


def of_runs(trained: Sequence[TrainedRun]) -> FoldPrediction:
    """Average the runs of one group and fold, one a seed.

    Raises:
        HpaError: If their samples differ.
    """
    samples = [_samples(run) for run in trained]
    for run, one in zip(trained, samples, strict=True):
        if not one.equals(samples[0]):
            raise HpaError(
                f"{trained[0].folder.name} and {run.folder.name} differ in the samples of "
                f"{predictions.FILE}, though not in their fold.",
                "Train them again with one version of the code.",
            )
    tuning, report = ([run.arrays(part) for run in trained] for part in ("threshold", "report"))
    return _decided(
        trained[0],
        len(trained),
        (tuning[0][0], _average([probability for _, probability in tuning])),
        samples[0].loc[samples[0]["part"] == "report", ["Id", "Target"]].reset_index(drop=True),
        (report[0][0], _average([probability for _, probability in report])),
    )


def ensemble(groups: Sequence[FoldPrediction], like: TrainedRun) -> FoldPrediction:
    """Average several groups on one fold; each counts alike, whatever its number of seeds.

    Args:
        groups: What two or more groups predict on the same fold.
        like: A run whose threshold rule is taken.

    Raises:
        HpaError: If their samples differ.
    """
    first = groups[0]
    if not all(one.report.equals(first.report) for one in groups):
        raise HpaError(
            "Groups of the sweep differ in the samples of a fold.",
            "Train them again with one version of the code.",
        )
    return _decided(
        like,
        sum(one.networks for one in groups),
        (first.tuning[0], _average([one.tuning[1] for one in groups])),
        first.report,
        (first.truth, _average([one.probability for one in groups])),
    )


def table(by_fold: dict[str, dict[int, FoldPrediction]]) -> pd.DataFrame:
    """What ``out_of_fold.csv`` holds.

    Args:
        by_fold: Predictions by group and fold.

    Returns:
        One row a group and sample, sorted by group as given and then fold; columns group, Id,
        fold, networks, Target (truth), Predicted (labels given) and a probability for each class.
    """
    blocks = []
    for group, folds in by_fold.items():
        for fold, one in sorted(folds.items()):
            given = [labels.format_target(row) for row in labels.from_multi_hot(one.decisions)]
            head = one.report.assign(group=group, fold=fold, networks=one.networks, Predicted=given)
            columns = ["group", "Id", "fold", "networks", "Target", "Predicted"]
            probability = pd.DataFrame(one.probability, columns=list(labels.CLASS_NAMES))
            blocks.append(head[columns].join(probability))
    return pd.concat(blocks, ignore_index=True)


def _samples(run: TrainedRun) -> pd.DataFrame:
    rows = run.predictions["part"].isin(["threshold", "report"])
    return run.predictions.loc[rows, ["Id", "part", "Target"]].reset_index(drop=True)


def _average(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    if len(probabilities) == 1:
        return np.asarray(probabilities[0], np.float64)
    return ensembles.average(probabilities)


def _decided(
    like: TrainedRun,
    networks: int,
    tuning: tuple[np.ndarray, np.ndarray],
    report: pd.DataFrame,
    predicted: tuple[np.ndarray, np.ndarray],
) -> FoldPrediction:
    rule, frequency = like.metrics["threshold_rule"], like.metrics["training_frequency"]
    tuned = thresholds.tune(rule, *tuning, np.array(frequency))
    truth, probability = predicted
    given = metrics.decide(probability, tuned, like.metrics["never_empty"])
    return FoldPrediction(networks, tuning, report, truth, probability, tuned, given)
