"""Figures of where networks fail and why; see `plots` for what every figure has."""

import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from hpa_lib import co_errors as confusions
from hpa_lib import confident_errors as confident
from hpa_lib import explanations as explained
from hpa_lib import images
from hpa_lib.co_errors import CoErrors
from hpa_lib.confident_errors import ConfidentErrors
from hpa_lib.explanations import Explanations
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.plots import COLOURS, WIDTH, Picture, grid_of_axes
from hpa_lib.precision_recall import PrecisionRecall

# Steps drawn of a curve; more can't be told apart.
_STEPS = 100

# Characters of a title as wide as two images of a confident error.
_PAIR_CHARACTERS = 72

_PROTEIN = images.CHANNELS.index("green")

# Share of pixels that may be brighter than white where an image is brightened.
_OVEREXPOSED = 0.002

_AGAINST_AND_FOR = LinearSegmentedColormap.from_list(
    "against_and_for", [COLOURS[0], "white", COLOURS[1]]
)


def precision_recall(result: PrecisionRecall) -> Picture:
    """Lines: precision over recall of each class, all networks in one panel a class."""
    names, networks = list(result.share.index), list(result.classes)
    columns = 4
    rows = -(-len(names) // columns)
    figure, panels = grid_of_axes(0.8 + 1.6 * rows, rows, columns, sharex=True, sharey=True)
    for panel in panels.ravel()[len(names) :]:
        panel.axis("off")
    for panel, name in zip(panels.ravel(), names, strict=False):
        panel.axhline(result.share[name], color="#444444", linewidth=1, linestyle=":")
        for colour, marker, network in zip(COLOURS, "osD^vP", networks, strict=False):
            curve = _thinned(result.curves[name, network])
            own = result.classes[network].loc[name]
            panel.plot(
                curve["recall"], curve["precision"], drawstyle="steps-pre", color=colour,
                linewidth=1.2, label=network,
            )  # fmt: skip
            panel.plot(own["recall"], own["precision"], marker, color=colour, markersize=4)
        values = " / ".join(
            f"{result.classes[network].loc[name, 'average_precision']:.2f}" for network in networks
        )
        positives = result.classes[networks[0]].loc[name, "positives"]
        panel.set_title(f"{name}, {positives}\n{values}", fontsize=8)
        panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    figure.supxlabel("recall", fontsize=10)
    figure.supylabel("precision", fontsize=10)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3,
        frameon=False,
    )  # fmt: skip
    table = result.table
    extremes = "; ".join(
        f"{network}: average precision from {table[network].min():.2f} for "
        f"{table[network].idxmin()} to {table[network].max():.2f} for {table[network].idxmax()}"
        for network in networks
    )
    alt = (
        f"Precision over recall in one panel for each of the {len(names)} classes with a positive. "
        f"{extremes}."
    )
    caption = (
        "Precision over recall. Above each panel the number of positives and the average "
        f"precision of {' / '.join(networks)}; a mark where the network's own threshold lies; "
        "dotted the share of samples that have the class, which guessing reaches."
    )
    return Picture(figure, alt, caption, table)


def co_errors(result: CoErrors) -> Picture:
    """Heat maps, one a network: for the misses of a row's class, the share of each false label."""
    names = list(CLASS_NAMES)
    missed = [n for n in names if any(m.loc[n].any() for m in result.matrices.values())]
    given = [n for n in names if any(m.loc[names, n].any() for m in result.matrices.values())]
    height = 2.2 + 0.2 * len(missed)
    count = len(result.matrices)
    figure, panels = grid_of_axes(height * count, count, 1)
    for axes, (network, counts) in zip(panels[:, 0], result.matrices.items(), strict=True):
        cells = counts.loc[missed, [*given, confusions.NOTHING]]
        misses = counts.loc[missed].sum(axis=1)
        shares = cells.div(misses.where(misses > 0), axis=0)
        shares.index = [f"{name} ({misses[name]:.0f})" for name in missed]
        sns.heatmap(
            shares, ax=axes, cmap="viridis", vmin=0, vmax=1, rasterized=True,
            cbar_kws={"label": "share of the row's misses"}, xticklabels=True, yticklabels=True,
        )  # fmt: skip
        axes.grid(visible=False)
        axes.set(title=network, xlabel="given in its place", ylabel="missed (misses)")
        axes.tick_params(labelsize=8)
    values = "; ".join(
        f"{network}: {'; '.join(_pair(row) for row in result.pairs.loc[[network]].itertuples())}"
        if network in result.pairs.index
        else f"{network}: no pair"
        for network in result.matrices
    )
    alt = (
        "Heat maps of which label is falsely given where another is missed, as shares of the "
        f"misses. Most frequent pairs: {values}."
    )
    caption = (
        "Which class is taken for which: each row shares the misses of a class among the labels "
        "that were falsely given in their place. Below, the most frequent pairs, and whether the "
        "false label is more frequent beside the miss than elsewhere."
    )
    return Picture(figure, alt, caption, result.table)


def confident_errors(result: ConfidentErrors) -> Picture:
    """Photographs: protein channel and reference channels of each error, with all labels."""
    columns = 2
    rows = max(1, -(-len(result.samples) // columns))
    figure, panels = grid_of_axes(3.05 * rows, rows, 2 * columns)
    for panel in panels.ravel():
        panel.axis("off")
    errors = result.table.iterrows()
    pairs = panels.reshape(-1, 2)
    for (left, right), sample, (number, row) in zip(pairs, result.samples, errors, strict=False):
        _show_protein(left, sample[..., _PROTEIN])
        reference = sample.copy()
        reference[..., _PROTEIN] = 0
        right.imshow(_brightened(images.to_display(reference)))
        lines = [
            f"{number}. {row['class']} {row['error']} by {row['network']}",
            *(f"{name}: {row[name]}" for name in ("truth", *result.networks)),
        ]
        title = "\n".join(
            textwrap.shorten(line, _PAIR_CHARACTERS, placeholder=" …") for line in lines
        )
        left.set_title(title, loc="left", fontsize=7.5)
    kinds = (confident.GIVEN, confident.MISSED)
    numbers = [int((result.table["error"] == kind).sum()) for kind in kinds]
    alt = (
        f"{len(result.samples)} samples, {numbers[0]} with a label {kinds[0]} and {numbers[1]} "
        f"with one {kinds[1]}: of each the protein channel in grey and the overlay of the "
        "reference channels, with truth and the labels of each network."
    )
    caption = (
        "The most confident errors. Left the protein channel, right microtubules red, nucleus "
        "blue and endoplasmic reticulum yellow; both brightened."
    )
    return Picture(figure, alt, caption, result.table, photograph=True)


def explanations(result: Explanations) -> Picture:
    """Photographs: protein channel of each sample and a map of each network beside it."""
    networks = list(result.trained)
    rows = len(result.cases)
    columns = 2 + len(networks)
    figure, panels = grid_of_axes(
        0.3 + rows * WIDTH / columns * 0.95, rows, columns, width_ratios=[0.9, *[1] * (columns - 1)]
    )
    for panel in panels.ravel():
        panel.axis("off")
    for number, (sample_id, case) in enumerate(result.cases.iterrows()):
        text, protein, *maps = panels[number]
        lines = [
            textwrap.shorten(str(sample_id), 26, placeholder="…"),
            f"explained: {case['class']}",
            f"truth: {case['truth']}",
            *(
                f"{network}: {explained_by.difference[number]:+.1f}".replace("-", "−")
                for network, explained_by in result.trained.items()
            ),
        ]
        wrapped = "\n".join(textwrap.fill(line, 28, subsequent_indent="  ") for line in lines)
        text.text(0, 1, wrapped, va="top", fontsize=8, transform=text.transAxes)
        _show_protein(protein, result.proteins[number])
        for panel, network in zip(maps, networks, strict=True):
            smoothed = explained.smooth(result.trained[network].maps)[number]
            limit = np.abs(smoothed).max() or 1.0
            panel.imshow(
                smoothed, cmap=_AGAINST_AND_FOR, vmin=-limit, vmax=limit, interpolation="bilinear"
            )
        for panel, title in zip((protein, *maps), ("protein", *networks), strict=True):
            panel.set_title(title if number == 0 else "", fontsize=8)
    shown = "; ".join(
        f"{case['class']} in {sample_id}, " + ("right" if case["right"] else "wrong")
        for sample_id, case in result.cases.iterrows()
    )
    alt = (
        f"{rows} rows of the protein channel and a map for each of {', '.join(networks)}, showing "
        f"which of its pixels speak for or against a label: {shown}."
    )
    caption = (
        "Where the protein channel speaks for a label (orange) and against it (blue), each map on "
        "a scale of its own; at the left how much the whole channel adds to the log-odds. Below, "
        "the sum of each map, which should be that."
    )
    return Picture(figure, alt, caption, result.table, photograph=True)


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most `_STEPS` rows of a curve, evenly chosen, with both ends."""
    if len(curve) <= _STEPS:
        return curve
    return curve.iloc[np.rint(np.linspace(0, len(curve) - 1, _STEPS)).astype(int)]


def _pair(row: tuple) -> str:
    _, missed, given = row.Index
    return f"{given} for {missed}, {row.count:.3g} of {row.misses:.0f}"


def _show_protein(panel: Axes, channel: np.ndarray) -> None:
    panel.imshow(_brightened(channel), cmap="gray", vmin=0, vmax=255)


def _brightened(values: np.ndarray) -> np.ndarray:
    """Intensities 0–255 scaled so that few are above 255; shape and dtype uint8 stay."""
    highest = max(1.0, float(np.quantile(values, 1 - _OVEREXPOSED)))
    return np.clip(values * (255 / highest), 0, 255).astype(np.uint8)
