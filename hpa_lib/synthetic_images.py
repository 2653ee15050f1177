"""Draw one synthetic sample: stain a field of cells and photograph it through a microscope."""

from dataclasses import dataclass

import cv2
import numpy as np

from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS
from hpa_lib.labels import CLASS_COUNT, CLASS_NAMES
from hpa_lib.synthetic_cells import (
    FIELD_MICROMETRES,
    bump,
    check_micrometres,
    draw_cell_line,
    draw_field,
    soft_step,
    texture,
)
from hpa_lib.synthetic_patterns import PATTERNS, Stage

SMALLEST_SIZE = 64
_SMALLEST_CANVAS = 256
"""Smaller images are drawn on a canvas of this size and reduced."""

_READ_OUT_NOISE = 0.006
"""Standard deviation of the camera's noise in the dark, relative to full scale."""

_TOUCHING = frozenset({CLASS_NAMES.index("Cell junctions")})
_SPREAD = frozenset(CLASS_NAMES.index(name) for name in ("Actin filaments", "Focal adhesion sites"))
_METAPHASE = frozenset({CLASS_NAMES.index("Mitotic spindle")})
_DAUGHTERS = frozenset({CLASS_NAMES.index("Cytokinetic bridge")})


@dataclass(frozen=True)
class Stain:
    """How one channel is exposed.

    Attributes:
        level: Median brightness of the stain's brightest structures, on a scale where the
            camera saturates at 1.
        spread: Standard deviation of the logarithm of that brightness over samples.
        variation: The same over the cells of one field.
        photons: Photons at full scale; fewer make a noisier image.
        haze: Most light from out of focus, as a share of the light in focus.
    """

    level: float
    spread: float
    variation: float
    photons: float
    haze: float


STAINS: dict[str, Stain] = {
    "red": Stain(level=0.64, spread=0.45, variation=0.38, photons=32, haze=0.5),
    "green": Stain(level=0.38, spread=0.60, variation=0.45, photons=22, haze=0.4),
    "blue": Stain(level=0.68, spread=0.25, variation=0.22, photons=160, haze=0.05),
    "yellow": Stain(level=0.54, spread=0.45, variation=0.42, photons=28, haze=0.35),
}
"""Exposure of each channel, set so that means and deviations are those of real images."""


def draw_sample(
    labels: tuple[int, ...],
    seed: int,
    index: int,
    size: int = 512,
    *,
    exposure: float = 1.0,
    micrometres: float = FIELD_MICROMETRES,
) -> np.ndarray:
    """Draw one sample.

    The result depends on the arguments alone.

    Args:
        labels: Class indices of the protein's locations, at least one.
        seed: Seed of the dataset, at least 0.
        index: Position of the sample in the dataset, at least 0.
        size: Width and height (pixels), at least 64.
        exposure: Factor on the light of all channels that reaches the camera, above 0. A
            darker sample shows the same cells with more noise; a brighter one saturates.
        micrometres: Width and height of the imaged area, 40 to 164; less shows fewer cells,
            each larger.

    Returns:
        Array of shape (size, size, 4), dtype uint8; channels as in `images.CHANNELS`.

    Raises:
        HpaError: If an argument is out of range.
    """
    if not labels or not all(0 <= label < CLASS_COUNT for label in labels):
        raise HpaError(
            f"labels is {labels}.", f"Give one or more class indices from 0 to {CLASS_COUNT - 1}."
        )
    if size < SMALLEST_SIZE:
        raise HpaError(f"size is {size}.", f"Choose {SMALLEST_SIZE} pixels or more.")
    if seed < 0 or index < 0:
        raise HpaError(f"seed is {seed} and index is {index}.", "Neither may be negative.")
    if not 0 < exposure < np.inf:
        raise HpaError(f"exposure is {exposure}.", "Choose a number above 0; 1 changes nothing.")
    check_micrometres(micrometres)
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    wanted = frozenset(labels)
    line = draw_cell_line(rng, touching=bool(wanted & _TOUCHING), spread=bool(wanted & _SPREAD))
    field = draw_field(
        rng,
        max(size, _SMALLEST_CANVAS),
        line,
        micrometres,
        metaphase=bool(wanted & _METAPHASE),
        daughters=bool(wanted & _DAUGHTERS),
    )
    stage = Stage(field, rng)
    images = {
        "red": _microtubule_stain(stage),
        "green": _protein_stain(stage, labels),
        "blue": _nuclear_stain(stage),
        "yellow": _reticulum_stain(stage),
    }
    return _photograph(rng, images, stage, size, exposure)


def _microtubule_stain(stage: Stage) -> np.ndarray:
    field = stage.field
    diffuse = np.float32(stage.rng.uniform(0.01, 0.12))
    return stage.filaments + diffuse * stage.thickness * (field.cytoplasm + field.nucleus)


def _nuclear_stain(stage: Stage) -> np.ndarray:
    """Chromatin: clumps, dark nucleoli, and the layer that lines the envelope."""
    field, rng = stage.field, stage.rng
    clumps = rng.uniform(0.05, 0.3) * texture(rng, "blobs", field.size, field.scale)
    clumps = clumps + rng.uniform(0.12, 0.3) * texture(rng, "grain", field.size, field.scale)
    lining = rng.uniform(-0.2, 0.4) * bump(field.nucleus_depth, 0.4, 0.35)
    chromatin = np.maximum(0.8 + clumps + lining, 0.1)
    return field.nucleus * (1 - 0.7 * field.nucleoli) * chromatin + 1.35 * field.chromosomes


def _reticulum_stain(stage: Stage) -> np.ndarray:
    """Reticulum, which spreads along microtubules and leaves out vacuoles."""
    vacuoles = soft_step(
        texture(stage.rng, "blobs", stage.field.size, stage.field.scale) - 2.2, 0.5
    )
    holes = 1 - np.float32(stage.rng.uniform(0, 0.8)) * vacuoles
    diffuse = np.float32(stage.rng.uniform(0.05, 0.25)) * stage.thickness
    along = np.float32(stage.rng.uniform(0.1, 0.4)) * stage.filaments
    return (stage.reticulum + diffuse + along) * holes


def _protein_stain(stage: Stage, labels: tuple[int, ...]) -> np.ndarray:
    """Add the patterns of all labels, each with its own strength, and faint unspecific stain."""
    strengths = stage.rng.uniform(0.45, 1.0, len(labels))
    strengths /= strengths.max()
    image = min(stage.rng.exponential(0.025), 0.08) * stage.cytosol
    for label, strength in zip(sorted(labels), strengths, strict=True):
        image = image + np.float32(strength) * PATTERNS[label](stage)
    return image + _debris(stage)


def _debris(stage: Stage) -> np.ndarray | float:
    """Bright specks of precipitated antibody, in a few fields."""
    if stage.rng.random() > 0.1:
        return 0.0
    specks = stage.rng.uniform(0, stage.field.size, (1 + stage.rng.poisson(1.0), 2))
    return stage.dots(specks, stage.rng.uniform(0.3, 0.8), stage.rng.uniform(0.5, 2.0, len(specks)))


def _photograph(
    rng: np.random.Generator,
    images: dict[str, np.ndarray],
    stage: Stage,
    size: int,
    exposure: float,
) -> np.ndarray:
    """Expose the stains: blur, focus, haze, vignetting, noise, saturation.

    The light is limited so that few pixels saturate, as an operator would set it; `exposure`
    comes on top.
    """
    field = stage.field
    blur = rng.uniform(0.10, 0.22) + (rng.random() < 0.03) * rng.uniform(0.2, 0.6)
    hazy = rng.uniform(0, 1)
    focus = field.spread(_focus(rng, len(field.state)))
    dimming = rng.uniform(0.08, 0.5) if rng.random() < 0.12 else 1.0
    coordinate = np.linspace(-1, 1, size, dtype=np.float32)
    offset = rng.uniform(-0.25, 0.25, 2).astype(np.float32)
    radius = (coordinate[:, None] - offset[0]) ** 2 + (coordinate - offset[1]) ** 2
    vignette = 1 - np.float32(rng.uniform(0, 0.18)) * radius
    brightness = rng.normal(0, 1, len(field.state))
    sample = []
    for name in CHANNELS:
        stain, image = STAINS[name], images[name].astype(np.float32, copy=False)
        own = 0.8 * brightness + 0.6 * rng.normal(0, 1, len(brightness))
        image = image * field.spread(np.exp(stain.variation * own))
        image = cv2.GaussianBlur(image, (0, 0), blur * field.scale)
        glow = _haze(image, field.scale)
        image = (image - glow) * focus + glow * np.float32(1 + hazy * stain.haze)
        if field.size != size:
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        light = stain.level * dimming * rng.lognormal(0, stain.spread)
        brightest = np.quantile(image[::4, ::4], 0.998)
        limit = rng.uniform(0.8, 1.25) / max(brightest, 1e-3)
        image *= vignette * np.float32(exposure * min(light, limit))
        photons = stain.photons * rng.lognormal(0, 0.35)
        noise = cv2.sqrt(image * np.float32(1 / photons) + _READ_OUT_NOISE**2)
        image += noise * texture(rng, "white", size, field.scale * size / field.size)
        image -= np.float32(rng.uniform(0.004, 0.02))
        sample.append(cv2.convertScaleAbs(np.maximum(image, 0), alpha=255))
    return cv2.merge(sample)


def _focus(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Share of each cell's light that is in focus, the background's first.

    Cells reach up to different heights, so that in most fields some are cut near their top.
    """
    focus = np.where(rng.random(cells) < rng.uniform(0, 0.3), rng.uniform(0.2, 0.9, cells), 1.0)
    focus[0] = 1.0
    return focus


def _haze(image: np.ndarray, scale: float) -> np.ndarray:
    """Light from above and below the focal plane: the image, blurred.

    Args:
        image: Array of shape (size, size), float32.
        scale: Pixels a micrometre.
    """
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 2.6 * scale / 4)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)
