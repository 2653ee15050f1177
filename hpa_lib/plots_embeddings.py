"""Figures of embeddings: a map with pictures on hover, and samples beside their neighbours.

In JupyterLab the map is HTML: the drawing, and over each marker a spot that shows the sample's
picture under the pointer or the keyboard's focus, by CSS alone. The report, which keeps no styles,
shows the drawing. So does JupyterLab in a notebook that isn't trusted: it drops the styles, and
what they would show is hidden.
"""

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from hpa_lib import labels, plots
from hpa_lib.embedding_map import NEIGHBOURS, EmbeddingMap
from hpa_lib.embeddings import EmbeddedPart
from hpa_lib.neighbours import Neighbours
from hpa_lib.plots import Picture

THUMBNAIL_BYTES = 380_000
"""What the pictures of one map may take in a notebook, as text."""

# Size in pixels and WebP quality, tried one after the other until the pictures fit.
_THUMBNAILS = ((64, 60), (64, 40), (48, 40), (32, 30))

_MARKERS = "osD^vP"
_OTHERS = "other labels"
_NO_LABEL = "no label"
_SAME = "same group among neighbours on the map"
_BY_CHANCE = "by chance"

_HEIGHT = 6.2
# Left, bottom, width and height of the drawing as shares of the figure; the legend stands right.
_PLANE = (0.01, 0.01, 0.7, 0.98)
_MARGIN = 0.04

_FRAMES = {"query": "#888888", "yes": plots.COLOURS[0], "no": plots.COLOURS[1]}
_FRAME_SHARE = 0.04

_STYLE = """
.hpa-map {max-width: 864px; color: #000; background: #fff; padding: 4px}
.hpa-map-plane {position: relative}
.hpa-map-plane > img {display: block; width: 100%; max-width: none; height: auto}
.hpa-map-point {position: absolute; width: 14px; height: 14px; margin: -7px 0 0 -7px;
  border-radius: 50%}
.hpa-map-point:hover, .hpa-map-point:focus {outline: 2px solid #000; z-index: 1}
.hpa-map-point:hover {z-index: 2}
.hpa-map-card {position: absolute; left: 18px; top: 18px; width: 136px; padding: 4px;
  font: 12px/1.3 sans-serif; color: #000; background: #fff; border: 1px solid #444;
  pointer-events: none; overflow-wrap: anywhere}
.hpa-map-west .hpa-map-card {left: auto; right: 18px}
.hpa-map-north .hpa-map-card {top: auto; bottom: 18px}
.hpa-map-card > img {display: block; width: 128px; max-width: none; height: auto}
.hpa-map-point:hover > .hpa-map-card, .hpa-map-point:focus > .hpa-map-card {display: block}
"""


@dataclass(frozen=True)
class Spot:
    """A marker's place and what is shown there.

    Attributes:
        left: Distance from the figure's left edge as a share of its width.
        top: Distance from its upper edge as a share of its height.
        name: Labels of the sample.
        identifier: Id of the sample.
        thumbnail: Its picture as a data address.
    """

    left: float
    top: float
    name: str
    identifier: str
    thumbnail: str

    def html(self) -> str:
        """The spot as HTML; its card opens towards the middle of the figure."""
        sides = " hpa-map-west" * (self.left > 0.4) + " hpa-map-north" * (self.top > 0.5)
        text = f"{escape(self.name)}<br>{escape(self.identifier)}"
        return (
            f'<span class="hpa-map-point{sides}" style="left:{self.left:.2%};top:{self.top:.2%}" '
            f'tabindex="0" role="img" aria-label="{escape(self.name)}; {escape(self.identifier)}">'
            f'<span class="hpa-map-card" hidden><img src="{self.thumbnail}" alt="">{text}</span>'
            "</span>"
        )


@dataclass(frozen=True)
class HoverPicture(Picture):
    """A figure with spots that show a picture under the pointer or the keyboard's focus.

    Attributes:
        spots: Such places.
    """

    spots: tuple[Spot, ...] = ()

    def bundle(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """The figure as every picture, and with its spots as HTML, which JupyterLab prefers."""
        data, metadata = super().bundle()
        drawing = data["image/svg+xml"]
        after = f"hpa-map-{hashlib.sha256(drawing.encode()).hexdigest()[:12]}"
        address = f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"
        html = (
            f'<div class="hpa-map"><style>{_STYLE}</style>'
            "<p>Point at a marker, or reach it with the tab key, to see its sample. "
            f'<a href="#{after}">Skip the {len(self.spots)} markers</a></p>'
            f'<div class="hpa-map-plane"><img src="{address}" alt="{escape(self.alt)}">'
            f"{''.join(spot.html() for spot in self.spots)}</div>"
            f'<p id="{after}">{escape(self.caption)}</p></div>'
        )
        return data | {"text/html": html}, metadata


def embedding_map(placed: EmbeddingMap, part: EmbeddedPart) -> HoverPicture:
    """Scatter plot of samples, coloured by their rarest label, with their pictures on hover.

    The rarest label, counted over the part, is what tells a sample from others best; the bootstrap
    of `evaluation` uses it too. The groups with the most samples get a colour and a marker of
    their own.

    Args:
        placed: From `embedding_map.place` on the part's features.
        part: The samples.
    """
    groups = _groups(part.truth, placed.rows)
    plane = _on_plane(placed.positions)
    figure = Figure(figsize=(plots.WIDTH, _HEIGHT))
    axes = figure.add_axes(_PLANE, xlim=(0, 1), ylim=(0, 1), xticks=(), yticks=())
    _scatter(axes, plane, groups)
    left, bottom, width, height = _PLANE
    thumbnails = _thumbnails([part.picture(row) for row in placed.rows])
    label_sets = labels.from_multi_hot(part.truth[placed.rows])
    spots = tuple(
        Spot(
            left + width * x,
            1 - bottom - height * y,
            labels.class_names(label_set),
            part.ids[row],
            thumbnail,
        )
        for (x, y), label_set, row, thumbnail in zip(
            plane.tolist(), label_sets, placed.rows, thumbnails, strict=True
        )
    )
    table = _group_table(groups, placed)
    alt = f"Scatter plot of {len(plane)} samples on a map of embeddings. {_trend(table)}"
    caption = (
        "Samples that the network finds alike lie close together; colour and marker show the "
        "rarest label of each. Axes and distances between clusters have no meaning."
    )
    return HoverPicture(figure, alt, caption, table, spots=spots)


def neighbour_pictures(part: EmbeddedPart, near: Neighbours, queries: dict[str, int]) -> Picture:
    """A few samples, each followed by its nearest neighbours.

    Args:
        part: The samples.
        near: Neighbours of all of them.
        queries: Rows of the part by the reason for which they are shown; see `neighbours.queries`.
    """
    names = [labels.class_names(indices) for indices in labels.from_multi_hot(part.truth)]
    rows, pictures = [], []
    for reason, query in queries.items():
        for rank, row in enumerate([query, *near.rows[query]]):
            shared = "yes" if (part.truth[query] & part.truth[row]).any() else "no"
            pictures.append(_framed(part.picture(row), _FRAMES[shared if rank else "query"]))
            found = (near.similarity[query, rank - 1], shared) if rank else (1.0, "–")
            rows.append((reason, rank or "itself", part.ids[row], names[row], *found))
    columns = ["shown as", "neighbour", "Id", "given labels", "similarity", "shares a label"]
    table = pd.DataFrame(rows, columns=columns)
    caption = (
        f"Each row: a sample in a grey frame and its {near.count} nearest neighbours in the "
        "embedding, in blue frames where they share a label with it, in orange ones where not. "
        f"From above: {'; '.join(queries)}."
    )
    grid = plots.image_grid(pictures, table["given labels"], near.count + 1, caption)
    return replace(grid, table=table.set_index(["shown as", "neighbour"]))


def _groups(truth: np.ndarray, rows: np.ndarray) -> pd.Categorical:
    """The group of each row: its rarest label, or one for all but the commonest of these."""
    counts = np.where(truth == 1, truth.sum(axis=0), len(truth) + 1)
    rarest = np.array(labels.CLASS_NAMES)[counts.argmin(axis=1)]
    own = pd.Series(np.where(truth.any(axis=1), rarest, _NO_LABEL)[rows])
    commonest = own.value_counts().index[: len(_MARKERS)].tolist()
    return pd.Categorical(own.where(own.isin(commonest), _OTHERS), [*commonest, _OTHERS])


def _on_plane(positions: np.ndarray) -> np.ndarray:
    """Places as shares of the drawing's width and height; both axes keep one scale."""
    size = np.array([plots.WIDTH * _PLANE[2], _HEIGHT * _PLANE[3]])
    middle = (positions.max(axis=0) + positions.min(axis=0)) / 2
    scale = (np.ptp(positions, axis=0) / size).max() / (1 - 2 * _MARGIN)
    return 0.5 + (positions - middle) / (size * (scale or 1.0))


def _scatter(axes: Axes, plane: np.ndarray, groups: pd.Categorical) -> None:
    looks = dict(zip(groups.categories, zip(plots.COLOURS, _MARKERS, strict=True), strict=False))
    looks[_OTHERS] = ("#777777", ".")
    for name, (colour, marker) in looks.items():
        x, y = plane[groups == name].T
        if len(x):
            label = f"{name} ({len(x)})"
            axes.scatter(x, y, s=26, c=colour, marker=marker, linewidths=0, label=label)
    axes.legend(
        title="rarest label", loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False,
        alignment="left", borderaxespad=0,
    )  # fmt: skip


def _group_table(groups: pd.Categorical, placed: EmbeddingMap) -> pd.DataFrame:
    """Of the neighbours that the samples of each group have on the map, how many are of it."""
    count = min(NEIGHBOURS, len(groups) - 1)
    sizes = pd.Series(groups).value_counts().reindex(groups.categories)
    if count:
        near = NearestNeighbors(n_neighbors=count).fit(placed.positions).kneighbors()[1]
        same = pd.Series((groups.codes[near] == groups.codes[:, None]).mean(axis=1))
        own = same.groupby(groups, observed=False).mean()
    else:
        own = sizes * np.nan
    table = pd.DataFrame(
        {
            "samples": sizes,
            _SAME: own,
            _BY_CHANCE: (sizes - 1) / max(len(groups) - 1, 1),
        }
    ).rename_axis("rarest label")
    return table[table["samples"] > 0]


def _trend(table: pd.DataFrame) -> str:
    """Which group lies together most and which least, beside chance."""
    named = table.drop(index=[_OTHERS], errors="ignore")
    own, chance = named[_SAME], named[_BY_CHANCE]
    if own.isna().all():
        return "It has one marker."
    excess = own - chance
    ends = {excess.idxmax(): "most", excess.idxmin(): "least"}
    return " ".join(
        f"The group that lies together {end} is {name}: {own[name]:.0%} of its samples' "
        f"neighbours on the map belong to it, {chance[name]:.0%} by chance."
        for name, end in ends.items()
    )


def _thumbnails(pictures: Sequence[np.ndarray]) -> list[str]:
    """Small pictures as data addresses, in the best quality in which all of them fit."""
    for size, quality in _THUMBNAILS:
        addresses = [_thumbnail(picture, size, quality) for picture in pictures]
        if sum(map(len, addresses)) <= THUMBNAIL_BYTES:
            break
    return addresses


def _thumbnail(picture: np.ndarray, size: int, quality: int) -> str:
    scale = min(1.0, size / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, format="webp", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _framed(picture: np.ndarray, colour: str) -> np.ndarray:
    width = max(1, round(_FRAME_SHARE * picture.shape[0]))
    value = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return cv2.copyMakeBorder(picture, *[width] * 4, cv2.BORDER_CONSTANT, value=value)
