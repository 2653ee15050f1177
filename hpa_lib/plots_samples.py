"""A figure of samples as the image browser shows them; see `plots` for what every figure has."""

import contextlib
import textwrap

import numpy as np
import pandas as pd

from hpa_lib import image_view, labels, plots
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError
from hpa_lib.image_view import Region, Tone
from hpa_lib.images import CHANNEL_MEANINGS, CHANNELS
from hpa_lib.plots import Picture
from hpa_lib.run_decisions import RunDecisions
from hpa_lib.splits import Split

_SIZE = 240  # pixels of each image at most
_GAP = 6  # pixels
_STRIP_HEIGHT = 2.05  # inches, title included
_TITLE_CHARACTERS = 130


def samples(
    dataset: Dataset,
    division: Split,
    rows: np.ndarray,
    decided: RunDecisions | None = None,
) -> Picture:
    """Photographs: of each sample the overlay, and the four channels in their colours.

    Args:
        dataset: The samples.
        division: Their split.
        rows: Row numbers of those that are shown.
        decided: What a run decided; None to show the labels alone.

    Returns:
        The figure. Its table has the columns Id, part, labels, and one named after the run with
        the labels that it gives. Samples whose images can't be read are in the table alone, and
        the caption counts them.
    """
    table = _table(dataset, division, rows, decided)
    strips: dict[int, np.ndarray] = {}
    for number, row in zip(table.index, rows, strict=True):
        with contextlib.suppress(HpaError):
            strips[number] = _strip(dataset.read_sample(row))
    count = max(1, len(strips))
    figure, panels = plots.grid_of_axes(count * _STRIP_HEIGHT, count, 1)
    for panel in panels[:, 0]:
        panel.axis("off")
    for panel, (number, strip) in zip(panels[:, 0], strips.items(), strict=False):
        panel.imshow(strip)
        lines = [f"{number}. {table.loc[number, 'Id']}: {table.loc[number, 'labels']}"]
        if decided is not None:
            lines.append(f"{decided.run}: {table.loc[number, decided.run]}")
        short = (textwrap.shorten(line, _TITLE_CHARACTERS, placeholder=" …") for line in lines)
        panel.set_title("\n".join(short), loc="left", fontsize=8)
    caption = f"From left to right: overlay, {', '.join(CHANNEL_MEANINGS.values())}."
    unread = len(rows) - len(strips)
    if unread:
        caption += f" The images of {unread} of {len(rows)} samples can't be read."
    shown = "; ".join(f"{entry.Id}: {entry.labels}" for entry in table.itertuples())
    alt = f"Fluorescence images, a row for each of {len(strips)} samples: {shown or 'none fits'}."
    return Picture(figure, alt, caption, table, photograph=True)


def _strip(sample: np.ndarray) -> np.ndarray:
    """Overlay and channels side by side with white between them."""
    pixels = image_view.cut_out(sample, Region(), _SIZE)
    alone = [Tone(tuple(float(one == name) for one in CHANNELS)) for name in CHANNELS]
    gap = np.full((len(pixels), _GAP, 3), 255, np.uint8)
    parts = [(gap, image_view.colour(pixels, tone)) for tone in (Tone(), *alone)]
    return np.concatenate([part for pair in parts for part in pair][1:], axis=1)


def _table(
    dataset: Dataset, division: Split, rows: np.ndarray, decided: RunDecisions | None
) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "Id": [dataset.ids[row] for row in rows],
            "part": [division.parts_of(row) for row in rows],
            "labels": [labels.class_names(dataset.label_sets[row]) for row in rows],
        },
        index=pd.RangeIndex(1, len(rows) + 1, name="number"),
    )
    if decided is not None:
        given = labels.from_multi_hot(decided.decisions[rows])
        table[decided.run] = [
            labels.class_names(indices) if predicted else "(not predicted)"
            for indices, predicted in zip(given, decided.predicted[rows], strict=True)
        ]
    return table
