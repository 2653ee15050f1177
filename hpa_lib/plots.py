"""Figures, each with a text that says what it shows and a table of what it draws.

Every function returns a `Picture`. Shown in a notebook it becomes an image with alternative
text and caption, followed by its table; the same bytes serve JupyterLab and the report.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from hpa_lib import images, labels

WIDTH = 9.0
"""Width of every figure in inches."""

COLOURS: tuple[str, ...] = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours for lines and bars, which stay apart under colour blindness."""

# Characters of an 8-point title that fit side by side into a figure.
_TITLE_CHARACTERS = 135

_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "hpa_lib",
}

_CHANNEL_MAPS = {
    name: LinearSegmentedColormap.from_list(name, ["black", colour])
    for name, colour in zip(
        images.CHANNELS, ("#ff3030", "#30ff30", "#5070ff", "#ffff30"), strict=True
    )
}


@dataclass(frozen=True)
class Picture:
    """A figure with what a reader needs who can't see it.

    Attributes:
        figure: The drawing.
        alt: Kind of figure, axes and trend in one or two sentences.
        caption: What the reader should notice.
        table: The values drawn; None where the figure shows photographs.
        photograph: Whether the figure shows images and is stored as pixels, not as vectors.
    """

    figure: Figure
    alt: str
    caption: str
    table: pd.DataFrame | None = None
    photograph: bool = False

    def bundle(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """The picture as notebook output: data and metadata by mime type."""
        buffer = io.BytesIO()
        mime = "image/jpeg" if self.photograph else "image/svg+xml"
        with mpl.rc_context(_STYLE):
            if self.photograph:
                self.figure.savefig(buffer, format="jpeg", dpi=110, pil_kwargs={"quality": 85})
                data = base64.b64encode(buffer.getvalue()).decode()
            else:
                self.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
                data = buffer.getvalue().decode()
        return (
            {mime: data, "text/plain": self.alt},
            {mime: {"alt": self.alt, "caption": self.caption}},
        )

    def _ipython_display_(self) -> None:
        data, metadata = self.bundle()
        display(data, metadata=metadata, raw=True)
        if self.table is not None:
            display(self.table)


def class_counts(multi_hot: np.ndarray) -> Picture:
    """Bars: samples of each class, commonest first."""
    table = pd.DataFrame(
        {"samples": multi_hot.sum(axis=0, dtype=int), "share": multi_hot.mean(axis=0)},
        index=pd.Index(labels.CLASS_NAMES, name="class"),
    ).sort_values("samples", ascending=False, kind="stable")
    figure, axes = _figure(height=6.2)
    _horizontal_bars(axes, table["samples"])
    axes.set_xlabel("samples")
    axes.set_xscale("symlog", linthresh=10)
    absent = int((table["samples"] == 0).sum())
    alt = (
        f"Bar chart of samples for each of the {len(table)} classes on a logarithmic axis, from "
        f"{table.index[0]} with {table['samples'].iloc[0]} down to {table.index[-1]} with "
        f"{table['samples'].iloc[-1]}."
    )
    caption = f"Samples of each class. {absent} classes have no sample."
    return Picture(figure, alt, caption, table)


def labels_per_sample(multi_hot: np.ndarray) -> Picture:
    """Bars: how many samples have one label, two labels, and so on."""
    counts = np.bincount(multi_hot.sum(axis=1, dtype=int))
    table = pd.DataFrame(
        {"samples": counts, "share": counts / counts.sum()},
        index=pd.RangeIndex(len(counts), name="labels"),
    )
    figure, axes = _figure(height=3.0)
    axes.bar(table.index.astype(str), table["samples"], color=COLOURS[0])
    axes.set(xlabel="labels of a sample", ylabel="samples")
    mean = float(multi_hot.sum(axis=1).mean())
    alt = (
        f"Bar chart of samples by number of labels; most have {int(counts.argmax())}, "
        f"the largest number is {len(counts) - 1}."
    )
    return Picture(figure, alt, f"Labels of a sample, {mean:.2f} on average.", table)


def co_occurrence(multi_hot: np.ndarray) -> Picture:
    """Heat map: of the samples with the class of the row, the share that has that of the column."""
    together = multi_hot.astype(np.int64).T @ multi_hot
    own = np.diag(together)
    share = np.divide(together, own[:, None], out=np.zeros(together.shape), where=own[:, None] > 0)
    np.fill_diagonal(share, np.nan)
    frame = pd.DataFrame(share, index=labels.CLASS_NAMES, columns=labels.CLASS_NAMES)
    figure, axes = _figure(height=8.4)
    sns.heatmap(
        frame, ax=axes, cmap="viridis", vmin=0, vmax=1, square=True,
        cbar_kws={"label": "share of the row's samples", "shrink": 0.7},
    )  # fmt: skip
    axes.grid(visible=False)
    axes.set(xlabel="also has", ylabel="samples with")
    axes.tick_params(labelsize=8)
    rows, columns = np.triu_indices(len(own), k=1)
    order = np.argsort(-together[rows, columns], kind="stable")[:10]
    table = pd.DataFrame(
        {
            "class": [labels.CLASS_NAMES[row] for row in rows[order]],
            "other class": [labels.CLASS_NAMES[column] for column in columns[order]],
            "samples with both": together[rows, columns][order],
        }
    )
    first = table.iloc[0]
    alt = (
        f"Heat map, {len(own)} classes by {len(own)} classes, of how often the column's class "
        "occurs among samples of the row's class; the commonest pair is "
        f"{first['class']} with {first['other class']}, {first['samples with both']} samples."
    )
    return Picture(figure, alt, "Classes that occur together; the ten commonest pairs.", table)


def channels(sample: np.ndarray, title: str) -> Picture:
    """The four channels of one sample in their colours, and their overlay."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
        panels = figure.subplots(1, 5)
    for position, name in enumerate(images.CHANNELS):
        panels[position].imshow(sample[..., position], cmap=_CHANNEL_MAPS[name], vmin=0, vmax=255)
        panels[position].set_title(f"{name}\n{images.CHANNEL_MEANINGS[name]}", fontsize=9)
    panels[-1].imshow(images.to_display(sample))
    panels[-1].set_title("overlay\nall four", fontsize=9)
    for panel in panels:
        panel.axis("off")
    means = ", ".join(
        f"{name} {value / 255:.3f}"
        for name, value in zip(images.CHANNELS, sample.mean(axis=(0, 1)), strict=True)
    )
    alt = f"Four greyscale channels of one sample and their overlay: {title}. Mean values: {means}."
    return Picture(figure, alt, title, photograph=True)


def image_grid(
    pictures: Sequence[np.ndarray], titles: Sequence[str], columns: int, caption: str
) -> Picture:
    """Images side by side with a title each.

    Args:
        pictures: Arrays of shape (height, width, 3), uint8 or float from 0 to 1.
        titles: One title an image; cut where it is wider than the image.
        columns: Images in a row.
        caption: What the images are.
    """
    rows = -(-len(pictures) // columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, rows * (WIDTH / columns + 0.25)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for panel in panels:
        panel.axis("off")
    # The last row may have panels to spare, and a list of titles may go on behind the pictures.
    shown = zip(panels[: len(pictures)], pictures, titles[: len(pictures)], strict=True)
    for panel, picture, title in shown:
        panel.imshow(picture)
        panel.set_title(_shortened(title, _TITLE_CHARACTERS // columns), fontsize=8)
    alt = f"{len(pictures)} images in {rows} rows of {columns}: {caption}"
    return Picture(figure, alt, caption, photograph=True)


def training_images(pictures: Sequence[np.ndarray]) -> Picture:
    """The first training images as the network sees them; see `feed.TrainingFeed.preview`."""
    caption = "Training images after augmentation, as the network sees them."
    return image_grid(pictures, [""] * len(pictures), columns=5, caption=caption)


def channel_statistics(table: pd.DataFrame) -> Picture:
    """Bars: mean and standard deviation of each channel; index is the channel."""
    figure, axes = _figure(height=3.0)
    position = np.arange(len(table))
    for shift, column in enumerate(("mean", "standard deviation")):
        axes.bar(
            position + 0.4 * shift - 0.2, table[column], 0.38, color=COLOURS[shift], label=column
        )
    axes.set_xticks(position, [f"{name}\n{images.CHANNEL_MEANINGS[name]}" for name in table.index])
    axes.set_ylabel("intensity, 0 to 1")
    axes.legend(frameon=False)
    brightest = table["mean"].idxmax()
    alt = (
        "Bar chart of mean and standard deviation of the four channels; the brightest is "
        f"{brightest} with a mean of {table['mean'].max():.3f}."
    )
    return Picture(figure, alt, "Intensity of each channel on a scale from 0 to 1.", table)


def split_counts(counts: pd.DataFrame) -> Picture:
    """Stacked bars: the share of each class that falls into each part; index is the class."""
    shares = counts.div(counts.sum(axis="columns").where(lambda total: total > 0), axis="index")
    figure, axes = _figure(height=6.2)
    left = np.zeros(len(counts))
    for colour, part in zip(COLOURS, counts.columns, strict=False):
        values = shares[part].fillna(0).to_numpy()
        axes.barh(counts.index, values, left=left, color=colour, label=part)
        left += values
    axes.invert_yaxis()
    axes.set_xlabel("share of the class's samples")
    axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    missing = {part: int((counts[part] == 0).sum()) for part in counts.columns}
    alt = (
        "Stacked bar chart of how each class is shared among the parts. Classes without a sample: "
        + ", ".join(f"{count} in {part}" for part, count in missing.items())
        + "."
    )
    return Picture(figure, alt, "How each class falls into the parts of the split.", counts)


def curves(histories: dict[str, pd.DataFrame]) -> Picture:
    """Lines: loss, binary accuracy and batch-averaged F1 over epochs, training and validation.

    Args:
        histories: Tables from `training.train` by name of the run.
    """
    measures = {
        "loss": "loss",
        "binary_accuracy": "binary accuracy",
        "batch_averaged_f1": "batch-averaged F1",
    }
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        panels = figure.subplots(1, len(measures))
    for colour, (name, history) in zip(COLOURS, histories.items(), strict=False):
        for panel, measure in zip(panels, measures, strict=True):
            panel.plot(history["epoch"], history[measure], color=colour, label=f"{name}, training")
            panel.plot(
                history["epoch"], history[f"val_{measure}"], color=colour, linestyle="--",
                marker="o", markersize=3, label=f"{name}, validation",
            )  # fmt: skip
            for epoch in history["epoch"][history["stage"].ne(history["stage"].shift())][1:]:
                panel.axvline(epoch - 0.5, color="#888888", linestyle=":", linewidth=1)
    for panel, (measure, title) in zip(panels, measures.items(), strict=True):
        panel.set(xlabel="epoch", title=title)
        panel.xaxis.get_major_locator().set_params(integer=True)
        largest = max(history[f"val_{measure}"].max() for history in histories.values())
        if measure == "loss" and largest > 10:
            panel.set_yscale("log")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    trends = "; ".join(
        f"{name}: training loss from {history['loss'].iloc[0]:.3f} to "
        f"{history['loss'].iloc[-1]:.3f}, validation loss from "
        f"{history['val_loss'].iloc[0]:.3f} to {history['val_loss'].iloc[-1]:.3f}"
        for name, history in histories.items()
    )
    table = pd.concat(
        [
            history.assign(run=name).set_index(["run", "epoch"])
            for name, history in histories.items()
        ]
    )
    alt = (
        f"Three line charts over epochs, of loss, binary accuracy and batch-averaged F1. {trends}."
    )
    caption = "Learning curves; a dotted line marks the start of the next stage."
    return Picture(figure, alt, caption, table)


def per_class_f1(tables: dict[str, pd.DataFrame]) -> Picture:
    """Bars: F1 of each class, for one run or several side by side.

    Args:
        tables: Tables from `metrics.per_class` by name of the run.
    """
    table = pd.DataFrame({name: frame["f1"] for name, frame in tables.items()})
    table.insert(0, "positives", next(iter(tables.values()))["positives"])
    height = 0.8 / len(tables)
    figure, axes = _figure(height=7.4)
    for position, (colour, name) in enumerate(zip(COLOURS, tables, strict=False)):
        axes.barh(
            np.arange(len(table)) + (position - (len(tables) - 1) / 2) * height,
            table[name], height, color=colour, label=name,
        )  # fmt: skip
    names = [f"{name} ({count})" for name, count in table["positives"].items()]
    axes.set_yticks(np.arange(len(table)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="F1", xlim=(0, 1))
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    best = "; ".join(
        f"{name}: highest {frame['f1'].max():.2f} for {frame['f1'].idxmax()}, "
        f"{int((frame['f1'] == 0).sum())} classes at 0"
        for name, frame in tables.items()
    )
    alt = f"Bar chart of F1 for each class, number of positive samples in brackets. {best}."
    return Picture(figure, alt, "F1 of each class on the report part.", table)


def intervals(table: pd.DataFrame, label: str) -> Picture:
    """Points with intervals, a line for each name, the series of a line close together.

    Args:
        table: One row a point; columns name, series, estimate, low, high.
        label: What the horizontal axis shows.
    """
    names, series = table["name"].unique(), table["series"].unique()
    figure, axes = _figure(height=1.2 + 0.2 * len(table) + 0.2 * len(series))
    for number, (colour, marker, one) in enumerate(zip(COLOURS, "osD^vP", series, strict=False)):
        rows = table[table["series"] == one]
        shift = 0.6 * ((number + 0.5) / len(series) - 0.5)
        position = pd.Index(names).get_indexer(rows["name"]) + shift
        spread = np.stack([rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]])
        axes.errorbar(
            rows["estimate"], position, xerr=np.maximum(spread, 0), fmt=marker, color=colour,
            capsize=3, label=one,
        )  # fmt: skip
    axes.set_yticks(np.arange(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    if table["low"].min() < 0:
        axes.axvline(0, color="#444444", linewidth=1)
    if len(series) > 1:
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    values = "; ".join(
        f"{row.name}, {row.series}: {row.estimate:.3f} ({row.low:.3f} to {row.high:.3f})"
        for row in table.itertuples(index=False, name="Row")
    )
    return Picture(figure, f"Points with intervals, {label}: {values}.", label, table)


def confusion_counts(tables: dict[str, pd.DataFrame]) -> Picture:
    """Bars: true and false positives and negatives over all classes, a group of bars a kind.

    Args:
        tables: Tables from `metrics.per_class` by name of the run.
    """
    kinds = ["true_positives", "false_positives", "false_negatives", "true_negatives"]
    table = pd.DataFrame({name: frame[kinds].sum() for name, frame in tables.items()}).astype(int)
    table.index = pd.Index([kind.replace("_", " ") for kind in kinds], name="count")
    figure, axes = _figure(height=3.0)
    width = 0.8 / len(tables)
    for position, (colour, name) in enumerate(zip(COLOURS, tables, strict=False)):
        bars = axes.bar(
            np.arange(len(table)) + (position - (len(tables) - 1) / 2) * width,
            table[name], width, color=colour, label=name,
        )  # fmt: skip
        axes.bar_label(bars, fontsize=8)
    axes.set_xticks(np.arange(len(table)), table.index)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylabel("decisions")
    axes.legend(frameon=False)
    values = "; ".join(
        f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in table[name].items())
        for name in table
    )
    return Picture(
        figure, f"Bar chart of decisions. {values}.", "Decisions over all classes.", table
    )


def reliability(tables: dict[str, pd.DataFrame]) -> Picture:
    """Reliability diagrams side by side, each above the numbers of entries in its bins.

    Args:
        tables: By name of the network, rows of `calibration.reliability` with the index
            (scaling, bin); scaling is ``"before scaling"``, ``"after scaling"`` or both.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
        panels = figure.subplots(
            2, len(tables), sharex=True, sharey="row", squeeze=False, height_ratios=[3, 1]
        )
    for (diagram, counts), (name, table) in zip(panels.T, tables.items(), strict=True):
        diagram.plot([0, 1], [0, 1], color="#444444", linewidth=1, linestyle="--")
        for number, (scaling, rows) in enumerate(table.groupby(level="scaling", sort=False)):
            share = rows["observed_share"]
            spread = np.stack([share - rows["low"], rows["high"] - share])
            diagram.errorbar(
                rows["mean_probability"], share, yerr=np.maximum(spread, 0), fmt="os"[number],
                color=COLOURS[number], markersize=(6, 3)[number], capsize=2, linewidth=1,
                label=scaling,
            )  # fmt: skip
            width = 0.4 * (rows["to"] - rows["from"])
            left = (rows["from"] + rows["to"]) / 2 + (number - 1) * width
            counts.bar(left, rows["entries"], width, align="edge", color=COLOURS[number])
        diagram.set_title(_shortened(name, _TITLE_CHARACTERS // len(tables)), fontsize=8)
        diagram.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1])
        counts.set_yscale("log")
        counts.set_xlabel("probability")
    panels[0, 0].set_ylabel("share that is positive")
    panels[1, 0].set_ylabel("entries")
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
        frameon=False,
    )  # fmt: skip
    trends = "; ".join(
        f"{name}, {scaling}: {_calibration_trend(rows)}"
        for name, table in tables.items()
        for scaling, rows in table.groupby(level="scaling", sort=False)
    )
    alt = (
        "Reliability diagrams: share of positive entries over mean probability in bins, with "
        f"intervals and the diagonal of perfect calibration. {trends}."
    )
    caption = (
        "Where a point lies below the diagonal, labels are rarer than their probability says; "
        "below, how many entries (one class of one sample each) a bin has."
    )
    joined = pd.concat(tables, names=["network"])
    return Picture(figure, alt, caption, joined.rename(columns=lambda name: name.replace("_", " ")))


def _calibration_trend(rows: pd.DataFrame) -> str:
    """In how many bins the probability lies above or below the interval of the share."""
    above = int((rows["mean_probability"] > rows["high"]).sum())
    below = int((rows["mean_probability"] < rows["low"]).sum())
    distance = (rows["mean_probability"] - rows["observed_share"]).abs()
    mean = np.average(distance, weights=rows["entries"])
    return (
        f"probabilities too high in {above} and too low in {below} of {len(rows)} bins, the mean "
        f"distance over entries is {mean:.4f}"
    )


def grid_of_axes(height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, Any]:
    """A figure in the style of all, and its axes as an array of shape (rows, columns).

    Args:
        height: In inches.
        rows: Axes below one another.
        columns: Axes side by side.
        options: For ``Figure.subplots``.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure, axes = grid_of_axes(height, 1, 1)
    return figure, axes[0, 0]


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1].rstrip(", ") + "…"


def _horizontal_bars(axes: Axes, values: pd.Series) -> None:
    bars = axes.barh(values.index, values, color=COLOURS[0])
    axes.bar_label(bars, padding=2, fontsize=8)
    axes.invert_yaxis()
