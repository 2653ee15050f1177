"""What in the protein channel speaks for a label, for several networks, and whether to trust it.

The label explained is the one that the networks together are most confident of, the same for all
of them. Half of the samples have it, and half don't. Explained are the log-odds of an image as it
is, also where predictions are averages over its eight views. See `attribution` for the method, and
`confident_errors.log_odds_distance` for confidence.

The check shuffles all weights of a network and explains the same samples again. A map that stays
shows the image and not what the network has learned. Without their signs maps stay somewhat alike
in any case: no pixel can add more than its brightness allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from hpa_lib import attribution, images, labels, wording
from hpa_lib.attribution import Attribution
from hpa_lib.confident_errors import log_odds_distance
from hpa_lib.dataset import Dataset
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.trained_runs import TrainedRun

UNCHANGED = 0.5
"""Rank correlation from which a map counts as unchanged: the ranks share a quarter of their
variance then."""

_PROTEIN = images.CHANNELS.index("green")

# Standard deviation of the smoothing as a share of the image's width: single pixels are noisy.
_SMOOTHING = 1 / 75


@dataclass(frozen=True)
class Explanations:
    """Maps of some samples for some networks, and the same with shuffled weights.

    Attributes:
        cases: Index Id; columns class, truth (names of all labels) and right (whether the class
            is one of them).
        proteins: The protein channel of each sample, shape (height, width), dtype uint8.
        visible: Where a network's input changes with the protein channel, shape (samples, size,
            size), by network.
        trained: By network.
        shuffled: By network, with shuffled weights.
    """

    cases: pd.DataFrame
    proteins: tuple[np.ndarray, ...]
    visible: dict[str, np.ndarray]
    trained: dict[str, Attribution]
    shuffled: dict[str, Attribution]

    @property
    def table(self) -> pd.DataFrame:
        """What the protein channel adds to the log-odds, and the sum of the map beside it."""
        columns = {"class": self.cases["class"], "truth": self.cases["truth"]}
        for name, explained in self.trained.items():
            columns[f"{name}: log-odds"] = explained.log_odds
            columns[f"{name}: added by the protein channel"] = explained.difference
            columns[f"{name}: sum of the map"] = explained.total
        return pd.DataFrame(columns, index=self.cases.index)

    @property
    def check(self) -> pd.DataFrame:
        """Rank correlation of each map with that of shuffled weights, with and without signs."""
        columns = {}
        for name in self.trained:
            first, second = smooth(self.trained[name].maps), smooth(self.shuffled[name].maps)
            for title, pair in (
                ("with signs", (first, second)),
                ("without signs", (np.abs(first), np.abs(second))),
            ):
                columns[name, title] = attribution.rank_correlation(*pair, self.visible[name])
        return pd.DataFrame(columns, index=self.cases.index)


def smooth(maps: np.ndarray) -> np.ndarray:
    """Smooth maps of shape (samples, height, width) over neighbouring pixels, as they are shown.

    The sum of a map stays the same.
    """
    deviation = _SMOOTHING * maps.shape[-1]
    return gaussian_filter(maps, (0, deviation, deviation))


def explain(
    trained: Sequence[TrainedRun],
    dataset: Dataset,
    count: int = 6,
    steps: int = 16,
    seed: int = 0,
    part: str = "report",
) -> Explanations:
    """Explain some samples by each network.

    Args:
        trained: Runs of the same split.
        dataset: The dataset that they were trained on.
        count: Samples.
        steps: See `attribution.IntegratedGradients`; the check, which is about ranks, takes half
            as many.
        seed: Of the shuffling.
        part: Name of the part.

    Raises:
        HpaError: If it is another dataset, or images or weights can't be read.
    """
    rows = trained[0].rows(dataset, part)
    truth, _ = trained[0].arrays(part)
    distances = [log_odds_distance(run.arrays(part)[1], run.thresholds()) for run in trained]
    chosen, classes = choose(truth, np.mean(distances, axis=0), count)
    samples = [dataset.read_sample(row) for row in rows[chosen]]
    cases = pd.DataFrame(
        {
            "class": [CLASS_NAMES[index] for index in classes],
            "truth": [
                labels.class_names(indices) for indices in labels.from_multi_hot(truth[chosen])
            ],
            "right": truth[chosen, classes] == 1,
        },
        index=pd.Index([dataset.ids[row] for row in rows[chosen]], name="Id"),
    )
    explained, shuffled, visible = {}, {}, {}
    for run in trained:
        pictures, baselines = _inputs(samples, run)
        network = run.network(pictures.shape[-1])
        gradients = attribution.IntegratedGradients(network)
        explained[run.label] = gradients(pictures, baselines, classes, steps)
        attribution.shuffle_weights(network, seed)
        shuffled[run.label] = gradients(pictures, baselines, classes, -(-steps // 2))
        visible[run.label] = (pictures != baselines).any(axis=-1)
    proteins = tuple(sample[..., _PROTEIN] for sample in samples)
    return Explanations(cases, proteins, visible, explained, shuffled)


def choose(truth: np.ndarray, confidence: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose samples with the label of each that is most confidently given.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        confidence: Same shape; NaN in classes that are left out.
        count: Samples.

    Returns:
        Positions of the samples, first those that have the label, each half from the most
        confident on with one class not repeated before all others have come; and the class
        of each. Where there are too few of a kind the other fills up.
    """
    confidence = np.where(np.isnan(confidence), -np.inf, confidence)
    classes = confidence.argmax(axis=1)
    samples = np.arange(len(truth))
    table = pd.DataFrame(
        {
            "class": classes,
            "right": truth[samples, classes] == 1,
            "confidence": confidence[samples, classes],
        }
    ).sort_values("confidence", ascending=False, kind="stable")
    table["repeated"] = table.groupby(["right", "class"]).cumcount()
    table = table.sort_values("repeated", kind="stable")
    table["place"] = table.groupby("right").cumcount()
    # Places 0, 1, 2 … of both kinds in turn, and then each kind by itself.
    chosen = table.sort_values("place", kind="stable").head(count)
    chosen = chosen.sort_values(["right", "place"], ascending=[False, True]).index.to_numpy()
    return chosen, classes[chosen]


def sentences(result: Explanations) -> list[str]:
    """Say how exact the maps are, and whether they depend on the weights."""
    said = []
    for name, explained in result.trained.items():
        gap = np.abs(explained.total - explained.difference).mean()
        check = result.check[name].median()
        signed, unsigned = check["with signs"], check["without signs"]
        said.append(
            f"For {name} the protein channel changes the log-odds of the class by "
            f"{wording.number(np.abs(explained.difference).mean(), 2)} on average over the "
            f"{len(result.cases)} samples; the sums of the maps differ from that by "
            f"{wording.number(gap, 2)}."
        )
        if np.isnan(signed):
            said.append("All maps are constant with its own or with shuffled weights.")
            continue
        said.append(
            f"With shuffled weights the median rank correlation with these maps is "
            f"{wording.number(signed, 2)}, and {wording.number(unsigned, 2)} without signs: "
            + (
                "the maps hardly depend on what the network has learned, and explain nothing."
                if abs(signed) >= UNCHANGED
                else "the maps depend on what the network has learned."
            )
        )
    return said


def _inputs(samples: Sequence[np.ndarray], run: TrainedRun) -> tuple[np.ndarray, np.ndarray]:
    """Network input of samples, and the same with a black protein channel.

    Where channels are mixed, the baseline keeps what the others add to the same input channel.

    Returns:
        Two arrays of shape (samples, size, size, channels), dtype uint8.
    """
    values = run.values()
    pictures, baselines = [], []
    for sample in samples:
        black = sample.copy()
        black[..., _PROTEIN] = 0
        for composed, source in ((pictures, sample), (baselines, black)):
            composed.append(
                images.compose(source, values.image_size, values.composition, values.interpolation)
            )
    return np.stack(pictures), np.stack(baselines)
