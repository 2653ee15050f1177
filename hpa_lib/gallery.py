"""A gallery of the 28 patterns: one synthetic crop each, with what to look for.

The pictures are drawn, not photographed. The page that `write` makes is ``docs/gallery.md``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from hpa_lib import files, images, labels
from hpa_lib.errors import HpaError
from hpa_lib.pattern_descriptions import CELL_ATLAS, DICTIONARY, PATTERN_DESCRIPTIONS, Source
from hpa_lib.synthetic_cells import FIELD_MICROMETRES
from hpa_lib.synthetic_images import draw_sample

PAGE = "gallery.md"
FIGURES = "gallery"
"""Folder of the figures beside the page."""

COMMAND = "hpa data gallery docs"
"""What writes the page anew."""

CROP_MICROMETRES = 41.0
"""Width and height of a crop: a cell of average size, with its neighbours' edges."""

_SEED = 5
_PAGE_FIELD_PIXELS = 1024
"""Width at which fields are drawn for the page; crops are a quarter as wide."""

_SEARCH_SIDE = 64
"""Width of a crop in the reduced field where the place that shows best is searched."""

_LANDMARKS = np.array([0.35, 0.0, 0.55, 0.15], np.float32)
"""Brightness of each landmark channel beside the protein's."""

_BRIGHTEST = 0.998
"""Quantile of a crop's channel that is shown at full brightness."""

_JPEG_QUALITY = 75


def crop(index: int, field_pixels: int) -> np.ndarray:
    """Draw a protein that is found in one place alone, and cut out where it shows best.

    That is where fine structure is brightest and nuclei are near.

    Args:
        index: Class index.
        field_pixels: Width and height of the field that is drawn, at least 256.

    Returns:
        Square of `CROP_MICROMETRES`, shape (side, side, 4), dtype uint8, channels as in
        `images.CHANNELS`.
    """
    sample = draw_sample((index,), _SEED, index, field_pixels)
    side = round(field_pixels * CROP_MICROMETRES / FIELD_MICROMETRES)
    shrink = max(1, side // _SEARCH_SIDE)
    small = cv2.resize(
        sample, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    _, protein, nucleus, _ = cv2.split(small)
    fine, coarse = (cv2.GaussianBlur(protein, (0, 0), side / shrink / width) for width in (80, 12))
    reach = side / shrink / 5
    shown = cv2.GaussianBlur(np.maximum(fine - coarse, 0) ** 3, (0, 0), reach)
    nuclei = (nucleus > 0.3 * nucleus.max()).astype(np.float32)
    shown *= 0.05 + cv2.GaussianBlur(nuclei, (0, 0), reach)
    half = -(-side // (2 * shrink))
    inner = shown[half : len(shown) - half, half : len(shown) - half]
    top, left = shrink * np.array(np.unravel_index(int(inner.argmax()), inner.shape))
    return sample[top : top + side, left : left + side]


def picture(sample: np.ndarray) -> np.ndarray:
    """Overlay the protein in green on dimmed landmarks, all stretched to the same brightness.

    Args:
        sample: Array of shape (height, width, 4), dtype uint8.

    Returns:
        Array of shape (height, width, 3), dtype uint8, red–green–blue.
    """
    brightest = np.maximum(np.quantile(sample, _BRIGHTEST, axis=(0, 1)), 1).astype(np.float32)
    weights = _LANDMARKS.copy()
    weights[images.CHANNELS.index("green")] = 1
    stretched = np.minimum(sample / brightest, 1) * weights * 255
    return images.to_display(stretched.astype(np.uint8))


def pictures(field_pixels: int = 512) -> Iterator[np.ndarray]:
    """The 28 crops as `picture` shows them, in the order of `labels.CLASS_NAMES`."""
    for index in range(labels.CLASS_COUNT):
        yield picture(crop(index, field_pixels))


def table() -> pd.DataFrame:
    """What to look for: index class; columns seen, distinguished, source."""
    return pd.DataFrame(
        {
            "seen": [PATTERN_DESCRIPTIONS[name].seen for name in labels.CLASS_NAMES],
            "distinguished": [
                PATTERN_DESCRIPTIONS[name].distinguished for name in labels.CLASS_NAMES
            ],
            "source": [PATTERN_DESCRIPTIONS[name].source.name for name in labels.CLASS_NAMES],
        },
        index=pd.Index(labels.CLASS_NAMES, name="class"),
    )


def figure_file(index: int) -> str:
    """Path of a class's figure, seen from the page."""
    words = re.findall(r"[a-z]+", labels.CLASS_NAMES[index].lower())
    return f"{FIGURES}/{index:02}-{'-'.join(words)}.jpg"


def alternative_text(index: int) -> str:
    """What a class's figure shows, for readers who can't see it."""
    name = labels.CLASS_NAMES[index]
    return f"{name}, synthetic. {PATTERN_DESCRIPTIONS[name].seen}"


def page() -> str:
    """The gallery as Markdown, with the figures by relative path."""
    lines = [
        "# Gallery of the 28 patterns",
        "",
        "One synthetic cell crop for each subcellular location of the embedded dataset, drawn by",
        "`hpa_lib/synthetic_patterns.py` after the literature. No picture is a photograph, and",
        "none is made from one. Left: the protein alone. Right: the protein in green over dimmed",
        "landmarks, microtubules in red, the nucleus in blue, the endoplasmic reticulum in",
        f"yellow. Each picture is {CROP_MICROMETRES:.0f} µm wide and stretched to full brightness.",
        "",
        f"`{COMMAND}` writes this page and its figures anew.",
        "",
        f"Names and indices are those of the column `Target`. General sources: {_link(CELL_ATLAS)}",
        f"and the {_link(DICTIONARY)}.",
    ]
    for index, name in enumerate(labels.CLASS_NAMES):
        described = PATTERN_DESCRIPTIONS[name]
        lines += [
            "",
            f"## {index}: {name}",
            "",
            f"![{alternative_text(index)}]({figure_file(index)})",
            "",
            f"{described.seen} {described.distinguished} Source: {_link(described.source)}.",
        ]
    return "\n".join(lines) + "\n"


def write(folder: Path) -> Path:
    """Write the page and its figures.

    Args:
        folder: Where ``gallery.md`` and the folder ``gallery`` are written; created if missing.

    Returns:
        The page.

    Raises:
        HpaError: If `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise HpaError(f"{folder} is a file.", "Name a folder for the gallery.")
    for index in range(labels.CLASS_COUNT):
        sample = crop(index, _PAGE_FIELD_PIXELS)
        protein = sample.copy()
        protein[..., [images.CHANNELS.index(name) for name in ("red", "blue", "yellow")]] = 0
        alone = np.repeat(picture(protein)[..., 1:2], 3, axis=-1)
        side_by_side = np.concatenate([alone, picture(sample)], axis=1)
        with files.replacing(folder / figure_file(index)) as temporary:
            Image.fromarray(side_by_side).save(
                temporary, "JPEG", quality=_JPEG_QUALITY, optimize=True
            )
    files.write_text(folder / PAGE, page())
    return folder / PAGE


def _link(source: Source) -> str:
    return f"[{source.name}]({source.address})"
