"""Why the reference study's figures can't rank networks: quite different predictors reach them.

The study gives a network two figures, its F1 and its accuracy. With the number of positives they
fix the precision and the recall pooled over all classes, and nothing about single classes. Two
predictors are built from the true labels of the Kaggle training set so that they reach the same
figures: one knows the commonest classes and never gives another, one knows all classes equally
well. Predictors that look at no image stand below them.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpa_lib import baselines, labels, metrics, study_metrics, synthetic_labels, wording

COMMONEST = 8
"""Classes that the first built predictor knows."""

COLUMNS: dict[str, str] = {
    "batch_averaged_f1": f"F1, mean over batches of {study_metrics.STUDY_BATCH_SIZE}",
    "binary_accuracy": "binary accuracy",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "classes_found": "classes ever found",
}
"""Columns of `MisleadingMetric.scores` with the names that a reader sees; the study has the first
two."""

STUDY = "the study's network"
COMMONEST_ONLY = f"knows the {COMMONEST} commonest classes"
ALL_EQUALLY = f"knows all {labels.CLASS_COUNT} classes equally well"
NO_IMAGE = "looks at no image"

# Each round takes most of what still lies between the study's F1 and that of the predictor.
_ROUNDS = 3

_ORDER_SEED = 0

_TRAINING = " (training rows)"


@dataclass(frozen=True)
class MisleadingMetric:
    """What predictors score in the study's metrics, and in those that tell them apart.

    Attributes:
        scores: Index (figures of, predictor): for each network and kind of rows of which the
            study gives both figures, `STUDY` with these figures, `COMMONEST_ONLY` and
            `ALL_EQUALLY`; then, under `NO_IMAGE`, the trivial predictors. Columns as in
            `COLUMNS`, NaN where the study says nothing.
        knowledge: What `COMMONEST_ONLY` knows of its classes; index figures of, columns recall
            and precision, from 0 to 1.
        share_of_labels: Share of all labels that are of the commonest classes.
        commonest: Name of the commonest class.
        constant_accuracy: Categorical accuracy of always giving that class.
        samples: Rows of the label table.
    """

    scores: pd.DataFrame
    knowledge: pd.DataFrame
    share_of_labels: float
    commonest: str
    constant_accuracy: float
    samples: int


def label_table() -> np.ndarray:
    """Labels of the Kaggle training set, rebuilt from its label-set counts, in random order.

    The order matters to the batch-averaged F1; the study draws its batches at random.

    Returns:
        Array of shape (31072, 28), dtype uint8, values 0 and 1; the same in every call.
    """
    sets, counts = zip(*synthetic_labels.label_set_counts().items(), strict=True)
    rows = np.repeat(labels.to_multi_hot(sets), counts, axis=0)
    return np.random.default_rng(_ORDER_SEED).permutation(rows)


def compare(truth: np.ndarray) -> MisleadingMetric:
    """Build the predictors that reach the study's figures, and score them.

    Args:
        truth: Labels of the Kaggle training set in random order, shape (samples, 28), values 0
            and 1; see `label_table`.

    Returns:
        All scores.
    """
    positives = np.sort(truth.sum(axis=0, dtype=np.int64))[::-1]
    share = float(positives[:COMMONEST].sum() / positives.sum())
    rows, knowledge = {}, {}
    for (network, kind), (accuracy, f1) in _reported_pairs().iterrows():
        name = f"{network} ({kind} rows)"
        few = _reaching(truth, COMMONEST, share, f1, accuracy)
        every = _reaching(truth, labels.CLASS_COUNT, 1.0, f1, accuracy)
        rows[name, STUDY] = {"batch_averaged_f1": f1, "binary_accuracy": accuracy}
        rows[name, COMMONEST_ONLY] = _scores(truth, few)
        rows[name, ALL_EQUALLY] = _scores(truth, every)
        pooled = metrics.confusion_counts(truth, few).micro_averages()
        knowledge[name] = {
            "recall": float(pooled["micro_recall"]) / share,
            "precision": float(pooled["micro_precision"]),
        }
    commonest = labels.CLASS_NAMES[truth.sum(axis=0, dtype=np.int64).argmax()]
    fitted = baselines.trivial_predictors(truth)
    trivial = {
        title: baselines.repeat(fitted[name], len(truth))
        for title, name in (
            ("always gives nothing", "nothing"),
            ("always gives every class", "everything"),
            (f"always gives {commonest}", "commonest class"),
        )
    }
    rows |= {(NO_IMAGE, title): _scores(truth, given) for title, given in trivial.items()}
    scores = pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))
    return MisleadingMetric(
        scores=scores.rename_axis(index=["figures of", "predictor"]),
        knowledge=pd.DataFrame.from_dict(knowledge, orient="index"),
        share_of_labels=share,
        commonest=commonest,
        constant_accuracy=study_metrics.categorical_accuracy(
            truth, trivial[f"always gives {commonest}"]
        ),
        samples=len(truth),
    )


def table(result: MisleadingMetric) -> pd.DataFrame:
    """The scores as a reader sees them; a dash where the study says nothing."""
    shown = pd.DataFrame(index=result.scores.index)
    for column, title in COLUMNS.items():
        digits = 0 if column == "classes_found" else 4
        shown[title] = [
            "–" if np.isnan(value) else wording.number(value, digits)
            for value in result.scores[column]
        ]
    return shown


def sentences(result: MisleadingMetric) -> list[str]:
    """Say what the study's figures leave open, of the network with the higher headline F1."""
    scores = result.scores
    of_study = scores.xs(STUDY, level="predictor")["batch_averaged_f1"]
    headline = of_study[of_study.index.str.endswith(_TRAINING)]
    higher, lower = headline.idxmax(), headline.idxmin()
    winner = higher.removesuffix(_TRAINING)
    nothing = scores.loc[(NO_IMAGE, "always gives nothing"), "binary_accuracy"]
    return [
        f"Of the {result.samples:,} samples of the Kaggle training set the {COMMONEST} commonest "
        f"classes hold {_whole_percent(result.share_of_labels)} of all labels.",
        *(_figures_sentence(result, name) for name in of_study.index if name.startswith(winner)),
        f"So the study's F1 and accuracy can't tell which network has the higher macro F1: those "
        f"of {higher} fit one of "
        f"{wording.number(scores.loc[(higher, COMMONEST_ONLY), 'macro_f1'])}, and those of "
        f"{lower} one of {wording.number(scores.loc[(lower, ALL_EQUALLY), 'macro_f1'])}.",
        "Accuracy says little by itself: giving no label at all reaches "
        f"{wording.number(nothing)}.",
        _first_stage_sentence(result),
    ]


def _reported_pairs() -> pd.DataFrame:
    """Accuracy and F1 by network and rows, where the study gives both in its second stage."""
    reported = study_metrics.reported_table()
    chosen = reported[(reported["stage"] == 2) & reported["quantity"].isin(["accuracy", "f1"])]
    return chosen.pivot(index=["network", "rows"], columns="quantity", values="value").dropna()


def _reaching(
    truth: np.ndarray, classes: int, share: float, f1: float, accuracy: float
) -> np.ndarray:
    """Labels of a predictor of the commonest classes that has a certain F1 and accuracy.

    With d the share of entries that are positive, the pooled F1 and the accuracy a leave one
    share t of true positives among the entries, t = F1 (1 - a) / (2 (1 - F1)); recall is t / d,
    and precision t / (1 - a + 2t - d). The average over batches is a little lower than the pooled
    F1, which is raised until the average fits.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        classes: How many of the commonest classes are known.
        share: Share of all labels that are of these classes.
        f1: Batch-averaged F1 to reach.
        accuracy: Binary accuracy to reach.

    Returns:
        Labels of the same shape, dtype uint8.
    """
    wrong, positive = 1 - accuracy, truth.mean()
    pooled = f1
    for _ in range(_ROUNDS):
        right = pooled * wrong / (2 * (1 - pooled))
        given = baselines.commonest_classes_predictor(
            truth,
            classes,
            precision=right / (wrong + 2 * right - positive),
            recall=right / positive / share,
        )
        pooled += f1 - study_metrics.batch_averaged_f1(truth, given)
    return given


def _scores(truth: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """Values of `COLUMNS`."""
    counts = metrics.confusion_counts(truth, given)
    return {
        "batch_averaged_f1": study_metrics.batch_averaged_f1(truth, given),
        "binary_accuracy": study_metrics.binary_accuracy(truth, given),
        "micro_f1": float(counts.micro_averages()["micro_f1"]),
        "macro_f1": float(counts.f1.mean()),
        "classes_found": int((counts.true_positives > 0).sum()),
    }


def _figures_sentence(result: MisleadingMetric, name: str) -> str:
    """Say who else reaches the study's figures of one network and kind of rows."""
    rows = result.scores.loc[name]
    measured = rows[["batch_averaged_f1", "binary_accuracy"]]
    study, deviations = measured.loc[STUDY], (measured - measured.loc[STUDY]).abs()
    known = result.knowledge.loc[name]
    return (
        f"The study's figures of {name}, an F1 of {study.iloc[0]} and an accuracy of "
        f"{study.iloc[1]}, are reached to within {wording.number(deviations.max(axis=None), 4)} "
        f"by a predictor that finds {_whole_percent(known['recall'])} of the labels of these "
        f"classes, with a precision of {_whole_percent(known['precision'])}, and never one of the "
        f"other {wording.classes(labels.CLASS_COUNT - COMMONEST)}: its macro F1 is "
        f"{wording.number(rows.loc[COMMONEST_ONLY, 'macro_f1'])}. A predictor that knows all "
        "classes equally well reaches them with a macro F1 of "
        f"{wording.number(rows.loc[ALL_EQUALLY, 'macro_f1'])}."
    )


def _first_stage_sentence(result: MisleadingMetric) -> str:
    """Set the "acc" of the study's first stage beside a predictor that never changes its answer."""
    reported = study_metrics.reported_table()
    logged = reported.loc[reported["quantity"] == "categorical_accuracy", "value"]
    return (
        "In its first stage the study's “acc” is another metric, the share of samples whose most "
        f"probable class is their first label: it logs {wording.number(logged.min())} to "
        f"{wording.number(logged.max())} on validation rows, and always giving "
        f"{result.commonest} reaches {wording.number(result.constant_accuracy)}."
    )


def _whole_percent(share: float) -> str:
    return wording.percent(round(share, 2))
