"""Fields of cultured cells: outlines, nuclei and nucleoli of synthetic microscopy images.

A field is what the microscope would see without any stain: which pixel belongs to which cell,
where the nuclei and nucleoli lie, and how far each pixel is from the nearest outline. The
patterns of `hpa_lib.synthetic_patterns` are drawn into it. Lengths are micrometres; unless less
is asked for, one image spans `FIELD_MICROMETRES`, as the confocal images of the Human Protein
Atlas do (2048 pixels of 0.08 µm; Thul et al. 2017, https://doi.org/10.1126/science.aal3321).
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from hpa_lib.errors import HpaError

FIELD_MICROMETRES = 164.0
"""Width and height of the area that the Human Protein Atlas images."""

SMALLEST_FIELD_MICROMETRES = 40.0
"""Less would be hardly more than one cell."""

INTERPHASE, METAPHASE, DAUGHTER = 0, 1, 2
"""States of a cell: between divisions, with a spindle, or joined to its sister by a bridge."""

_MARGIN = 12.0
"""How far outside the image centres of cells may lie (µm), so that the border cuts cells."""

_MOST_CELLS = 250
"""Cells of one field at most: with their daughters they are counted in one byte."""

_OUTLINE_ANGLES = 256
"""Directions in which the radius of an outline is tabulated."""

_ANGLES = np.linspace(0, 2 * np.pi, _OUTLINE_ANGLES, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_HARMONICS = np.exp(1j * np.outer(np.arange(9), _ANGLES))

_POLYGON_SHIFT = 4
"""Bits after the binary point in coordinates handed to OpenCV."""


@dataclass(frozen=True)
class CellLine:
    """How the cells of one field look; every field draws its own.

    Attributes:
        radius: Mean radius of a cell (µm).
        elongation: Long over short semi-axis.
        irregularity: Relative amplitude of lobes and protrusions of the outline.
        coverage: Share of the field that cells may settle, from 0 to 1.
        crowding: Distance between centres relative to the sum of radii; small values make
            cells touch.
        alignment: Direction that elongated cells share (radians).
        disorder: Standard deviation of the cells' directions about it (radians).
        nucleus: Radius of the nucleus relative to that of the cell.
        raggedness: Amplitude of the fine irregularity of outlines, relative to the radius.
        processes: Mean length of pointed processes, relative to the radius.
        lamella: Distance from the outline over which cells grow to their full height (µm).
        lobing: Relative amplitude of the irregularity of nuclei.
    """

    radius: float
    elongation: float
    irregularity: float
    coverage: float
    crowding: float
    alignment: float
    disorder: float
    nucleus: float
    raggedness: float
    processes: float
    lamella: float
    lobing: float


@dataclass(frozen=True)
class CellField:
    """One field of cells on a square canvas.

    Arrays of one value a cell have a first entry for the background, so that `labels` indexes
    them. Images have shape (size, size); coordinates are (x, y) in pixels.

    Attributes:
        size: Width and height of the canvas (pixels).
        scale: Pixels a micrometre.
        labels: Cell at each pixel, uint8; 0 is background.
        inside: Share of each pixel covered by a cell, float32 from 0 to 1.
        nucleus: The same for interphase nuclei.
        nucleoli: The same for nucleoli.
        chromosomes: The same for condensed chromosomes of dividing cells.
        edge_distance: Distance to the cell's own outline (µm), 0 on the background.
        nucleus_distance: Distance to the nearest nucleus (µm), 0 inside.
        nucleus_depth: Distance to the nuclear envelope (µm) inside nuclei, 0 outside.
        contact: 1 near outlines that two cells share, falling to 0 at free outlines.
        lamella: Distance from the outline over which cells grow to their full height (µm).
        state: `INTERPHASE`, `METAPHASE` or `DAUGHTER` for each cell.
        centre: Centre of each cell's nucleus or metaphase plate.
        direction: Direction of each cell's long axis, or of its spindle (radians).
        nucleus_radius: Mean radius of each cell's nucleus (µm).
        organizer: Place of each cell's microtubule organizing centre.
        radius: Mean radius of each cell (µm).
        bridges: Ends of each bridge between two daughter cells, shape (bridges, 2, 2).
    """

    size: int
    scale: float
    labels: np.ndarray
    inside: np.ndarray
    nucleus: np.ndarray
    nucleoli: np.ndarray
    chromosomes: np.ndarray
    edge_distance: np.ndarray
    nucleus_distance: np.ndarray
    nucleus_depth: np.ndarray
    contact: np.ndarray
    lamella: float
    state: np.ndarray
    centre: np.ndarray
    direction: np.ndarray
    nucleus_radius: np.ndarray
    organizer: np.ndarray
    radius: np.ndarray
    bridges: np.ndarray

    @property
    def cells(self) -> np.ndarray:
        """Indices of the cells, from 1."""
        return np.arange(1, len(self.state))

    @functools.cached_property
    def cytoplasm(self) -> np.ndarray:
        """Share of each pixel covered by cytoplasm: inside a cell, outside its nucleus."""
        return self.inside * (1 - np.maximum(self.nucleus, self.chromosomes))

    def scatter(
        self, rng: np.random.Generator, weight: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw random places in the cells.

        Args:
            rng: Source of randomness.
            weight: Density of places, shape (size, size), not negative. A cell without any
                weight receives no place.
            counts: Places to draw in each cell, the background's entry being ignored.

        Returns:
            Places of shape (places, 2) and the cell that each lies in.
        """
        labels = self.labels[::2, ::2].ravel()
        order = np.argsort(labels, kind="stable")
        cumulative = np.concatenate(
            [[0.0], np.cumsum(weight[::2, ::2].ravel()[order], dtype=float)]
        )
        bounds = cumulative[np.searchsorted(labels[order], np.arange(len(self.state) + 1))]
        room = np.diff(bounds)
        cells = np.repeat(np.arange(len(counts)), np.where(room > 1e-6, counts, 0))
        cells = cells[cells > 0]
        targets = bounds[cells] + rng.random(len(cells)) * room[cells]
        pixels = order[np.clip(np.searchsorted(cumulative, targets) - 1, 0, len(order) - 1)]
        width = (self.size + 1) // 2
        places = 2.0 * np.stack([pixels % width, pixels // width], axis=1)
        return places + rng.uniform(0, 2, places.shape), cells

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Give each pixel the value of its cell.

        Args:
            values: One value a cell, the background's first.

        Returns:
            Array of shape (size, size), float32.
        """
        table = np.zeros(256, np.float32)
        table[: len(values)] = values
        return cv2.LUT(self.labels, table)

    def sample(self, image: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Values of an image at places (x, y); places outside take the nearest pixel."""
        columns, rows = np.minimum(np.maximum(places.astype(np.intp), 0), self.size - 1).T
        return image.ravel()[rows * self.size + columns]


def draw_cell_line(rng: np.random.Generator, touching: bool, spread: bool) -> CellLine:
    """Draw the looks of one field's cells.

    Args:
        rng: Source of randomness.
        touching: The cells form a sheet, as cell junctions need.
        spread: The cells are large and flat, as stress fibres and focal adhesions need.
    """
    radius = rng.uniform(13.0, 20.0) if spread else rng.lognormal(np.log(15.5), 0.26)
    sparse = not touching and rng.random() < 0.06
    confluent = touching or rng.random() < 0.4
    slender = 0.0 if touching else float(rng.random() < 0.35)
    return CellLine(
        radius=float(np.clip(radius, 9.5, 24.0)),
        elongation=float(1.1 + rng.gamma(1.5, 0.25 + 0.3 * slender)),
        irregularity=float(rng.uniform(0.06, 0.22)),
        coverage=0.12 if sparse else 1.0 if touching else float(rng.beta(1.7, 1.0)),
        crowding=float(rng.uniform(0.60, 0.70) if confluent else rng.uniform(0.70, 0.95)),
        alignment=float(rng.uniform(0, np.pi)),
        disorder=float(rng.uniform(0.2, 1.6)),
        nucleus=float(rng.uniform(0.42, 0.52)),
        raggedness=float(rng.uniform(0.01, 0.045)),
        processes=float(rng.uniform(0.05, 0.3) + slender * rng.uniform(0.0, 0.5)),
        lamella=float(rng.uniform(0.5, 1.5) if confluent else rng.lognormal(np.log(2.5), 0.5)),
        lobing=float(rng.uniform(0.03, 0.10)),
    )


@functools.lru_cache(maxsize=4)
def texture_bank(size: int, scale: float) -> dict[str, np.ndarray]:
    """Textures that crops are taken from, the same in every process.

    Args:
        size: Width and height of the canvas (pixels).
        scale: Pixels a micrometre.

    Returns:
        Arrays 1.5 times as wide and high as the canvas, dtype float32: ``grain`` and ``cloud``
        (fine and coarse noise), ``blobs`` and ``ripple`` (noise at the scales of nuclear
        speckles and of the folds of a cell's edge) and ``white`` (noise that differs from
        pixel to pixel), all with mean 0 and standard deviation 1, and ``mesh``, a network of
        thin lines from 0 to 1.
    """
    rng = np.random.default_rng(2018)
    width = size * 3 // 2

    def noise(micrometres: float) -> np.ndarray:
        shrink = max(1, int(micrometres * scale / 2))
        side = -(-width // shrink)
        small = rng.standard_normal((side, side), dtype=np.float32)
        small = cv2.GaussianBlur(small, (0, 0), micrometres * scale / shrink)
        large = cv2.resize(small, (width, width), interpolation=cv2.INTER_CUBIC)
        return (large - large.mean()) / large.std()

    tubes = noise(0.42)
    return {
        "grain": noise(0.22),
        "cloud": noise(5.0),
        "blobs": noise(0.55),
        "ripple": noise(1.3),
        "white": rng.standard_normal((width, width), dtype=np.float32),
        "mesh": np.exp(-((tubes / 0.45) ** 2)) * (0.6 + 0.4 * np.tanh(noise(1.6))),
    }


def texture(rng: np.random.Generator, name: str, size: int, scale: float) -> np.ndarray:
    """Take a random crop of a texture, by chance upside down.

    Rows stay contiguous in memory: turned crops would slow all arithmetic down.

    Returns:
        Array of shape (size, size), float32. It is a view; do not write to it.
    """
    bank = texture_bank(size, scale)[name]
    top, left = rng.integers(0, bank.shape[0] - size + 1, 2)
    crop = bank[top : top + size, left : left + size]
    return crop[::-1] if rng.random() < 0.5 else crop


def soft_step(value: np.ndarray, softness: float) -> np.ndarray:
    """Rise from 0 to 1 around value 0, linearly over `softness`."""
    return np.clip(value / softness + 0.5, 0, 1).astype(np.float32, copy=False)


def bump(value: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Gaussian profile of standard deviation `width`: 1 where `value` is `centre`."""
    scaled = (value - np.float32(centre)) * np.float32(1 / width)
    with np.errstate(over="ignore"):  # a field without the outline is infinitely far from it
        return cv2.exp(-0.5 * scaled * scaled)


def decay(value: np.ndarray, length: float) -> np.ndarray:
    """Exponential profile: 1 where `value` is 0, 1/e where it is `length`."""
    return cv2.exp(value * np.float32(-1 / length))


def fill_polygons(size: int, polygons: list[np.ndarray]) -> np.ndarray:
    """Fill polygons with smooth edges.

    Args:
        size: Width and height of the canvas (pixels).
        polygons: Corners (x, y) of each, shape (corners, 2).

    Returns:
        Array of shape (size, size), float32, from 0 to 1.
    """
    canvas = np.zeros((size, size), np.uint8)
    for polygon in polygons:
        corners = np.round(polygon * 2**_POLYGON_SHIFT).astype(np.int32)
        cv2.fillPoly(canvas, [corners], 255, cv2.LINE_AA, _POLYGON_SHIFT)
    return canvas.astype(np.float32) / 255


def draw_lines(
    size: int, lines: np.ndarray, thickness: float, brightness: tuple[float, ...] = (1.0,)
) -> np.ndarray:
    """Draw lines with smooth edges, in layers that add up.

    Where lines of one layer cross, intensities do not add up.

    Args:
        size: Width and height of the canvas (pixels).
        lines: Points (x, y) of each line, shape (lines, points, 2).
        thickness: Width of the lines (pixels); less than one pixel dims the line.
        brightness: Brightness of each layer; lines are dealt out to the layers in turn.

    Returns:
        Array of shape (size, size), float32, from 0 to the sum of `brightness`.
    """
    points = np.round(lines * 2**_POLYGON_SHIFT).astype(np.int32)
    width, total = max(1, round(thickness)), sum(brightness)
    image = np.zeros((size, size), np.uint8)
    for layer, share in enumerate(np.array(brightness) / total):
        canvas = np.zeros((size, size), np.uint8)
        drawn = list(points[layer :: len(brightness)])
        level = int(255 * share * min(1.0, thickness))
        cv2.polylines(canvas, drawn, False, level, width, cv2.LINE_AA, _POLYGON_SHIFT)
        image = cv2.add(image, canvas)
    return image * np.float32(total / 255)


def _outline(rng: np.random.Generator, roughness: float, lowest: int, highest: int) -> np.ndarray:
    """Radius of an irregular outline at `_OUTLINE_ANGLES` directions, with mean near 1."""
    orders = np.arange(lowest, highest + 1)
    heights = rng.normal(0, roughness, len(orders)) / orders**0.75
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    waves = (heights * np.exp(1j * phases)) @ _HARMONICS[lowest : highest + 1]
    return np.clip(1 + waves.real, 0.35, 1.9)


def _turned(along: np.ndarray, aside: np.ndarray, direction: float) -> np.ndarray:
    """Points (x, y) with coordinates along and across an axis of a given direction."""
    cosine, sine = np.cos(direction), np.sin(direction)
    return np.stack([along * cosine - aside * sine, along * sine + aside * cosine], axis=1)


def _processes(rng: np.random.Generator, amount: float) -> np.ndarray:
    """Pointed processes to add to an outline, at `_OUTLINE_ANGLES` directions.

    Slender cells taper towards both ends of their long axis (direction 0); further processes
    point anywhere.
    """
    tips = np.concatenate([[0.0, np.pi], rng.uniform(0, 2 * np.pi, rng.poisson(2.0))])
    tips += rng.normal(0, 0.15, len(tips))
    lengths = np.minimum(rng.exponential(amount, len(tips)), 0.8)
    sharpness = rng.uniform(10, 90, (len(tips), 1))
    return lengths @ np.exp(sharpness * (np.cos(_ANGLES - tips[:, None]) - 1))


def _settle(
    rng: np.random.Generator, line: CellLine, micrometres: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw centres (µm) and radii (µm) of cells that keep their distance from each other."""
    settled = cv2.GaussianBlur(rng.standard_normal((24, 24)), (0, 0), 2.0)
    threshold = np.quantile(settled, 1 - line.coverage)
    area = (micrometres + 2 * _MARGIN) ** 2
    tries = int(4 * area / line.radius**2)
    places = rng.uniform(-_MARGIN, micrometres + _MARGIN, (tries, 2))
    radii = line.radius * rng.lognormal(0, 0.16, tries)
    rows, columns = ((places + _MARGIN) / (micrometres + 2 * _MARGIN) * 23.99).astype(int).T
    free = settled[rows, columns] >= threshold
    places, radii = places[free], radii[free]
    kept: list[int] = []
    crowded = np.zeros(len(places), bool)
    for candidate in range(len(places)):
        if not crowded[candidate] and len(kept) < _MOST_CELLS:
            kept.append(candidate)
            gaps = np.hypot(*(places - places[candidate]).T)
            crowded |= gaps < line.crowding * (radii + radii[candidate])
    if not kept:
        return rng.uniform(0.3, 0.7, (1, 2)) * micrometres, np.array([line.radius])
    return places[kept], radii[kept]


def check_micrometres(micrometres: float) -> None:
    """Refuse a width of the imaged area that can't be drawn.

    Raises:
        HpaError: Unless it lies from `SMALLEST_FIELD_MICROMETRES` to `FIELD_MICROMETRES`.
    """
    if not SMALLEST_FIELD_MICROMETRES <= micrometres <= FIELD_MICROMETRES:
        raise HpaError(
            f"micrometres is {micrometres}.",
            f"Choose {SMALLEST_FIELD_MICROMETRES:g} to {FIELD_MICROMETRES:g}.",
        )


def draw_field(
    rng: np.random.Generator,
    size: int,
    line: CellLine,
    micrometres: float = FIELD_MICROMETRES,
    *,
    metaphase: bool = False,
    daughters: bool = False,
) -> CellField:
    """Draw a field of cells.

    Args:
        rng: Source of randomness.
        size: Width and height of the canvas (pixels).
        line: Looks of the cells.
        micrometres: Width and height of the imaged area.
        metaphase: At least one cell has a mitotic spindle. Otherwise few fields have one.
        daughters: At least one pair of sister cells is joined by a bridge. Otherwise few
            fields have one.
    """
    scale = size / micrometres
    centres, radii = _settle(rng, line, micrometres)
    directions = line.alignment + rng.normal(0, line.disorder, len(radii))
    state = np.zeros(len(radii), int)
    central = np.argsort(np.abs(centres - micrometres / 2).max(1))
    if metaphase:
        state[central[: 1 + rng.integers(2)]] = METAPHASE
    state[(rng.random(len(radii)) < 0.008) & (state == INTERPHASE)] = METAPHASE
    radii[state == METAPHASE] = rng.uniform(8.0, 10.0, int((state == METAPHASE).sum()))

    mothers = []
    if daughters:
        mothers = [cell for cell in central if state[cell] == INTERPHASE][: 1 + rng.integers(2)]
        if not mothers:
            mothers = [central[0]]
    elif rng.random() < 0.05:
        mothers = [rng.integers(len(radii))]
    centres, radii, directions, state, sisters = _divide(
        rng, centres, radii, directions, state, mothers
    )
    return _Drawing(rng, size, scale, line, centres, radii, directions, state, sisters).field()


def _divide(
    rng: np.random.Generator,
    centres: np.ndarray,
    radii: np.ndarray,
    directions: np.ndarray,
    state: np.ndarray,
    mothers: list[int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Replace each mother cell by two daughters that lie apart along its direction."""
    sisters = []
    for mother in mothers:
        radius = np.clip(0.62 * radii[mother], 6.5, 9.0)
        axis = directions[mother]
        step = (radius + rng.uniform(1.5, 4.0)) * np.array([np.cos(axis), np.sin(axis)])
        centres = np.vstack([centres, centres[mother] + step])
        centres[mother] -= step
        radii[mother] = radius
        radii = np.append(radii, radius * rng.uniform(0.9, 1.1))
        directions = np.append(directions, axis + np.pi / 2)
        directions[mother] = axis + np.pi / 2
        state[mother] = DAUGHTER
        state = np.append(state, DAUGHTER)
        sisters.append((mother, len(state) - 1))
    return centres, radii, directions, state, sisters


@dataclass
class _Drawing:
    """Turns centres, radii and directions into the images of a `CellField`."""

    rng: np.random.Generator
    size: int
    scale: float
    line: CellLine
    centres: np.ndarray
    radii: np.ndarray
    directions: np.ndarray
    state: np.ndarray
    sisters: list[tuple[int, int]]

    def field(self) -> CellField:
        labels, inside, contact = self._territories()
        bridges = self._bridges(labels, inside)
        nuclei, nucleus_radii, nucleus_lengths = self._nuclei()
        nucleus = fill_polygons(self.size, nuclei) * (inside > 0.5)
        nucleoli = fill_polygons(self.size, self._nucleoli(nuclei)) * nucleus
        nucleoli = cv2.GaussianBlur(nucleoli, (0, 0), 0.16 * self.scale)
        chromosomes = fill_polygons(self.size, self._plates())
        outline = (labels > 0).astype(np.uint8)
        outline[:, 1:][labels[:, 1:] != labels[:, :-1]] = 0
        outline[1:][labels[1:] != labels[:-1]] = 0
        solid = (nucleus > 0.5).astype(np.uint8)

        def distance(mask: np.ndarray) -> np.ndarray:
            return cv2.distanceTransform(mask, cv2.DIST_L2, 3) / self.scale

        background = np.zeros((1, 2))
        centre = np.vstack([background, self.centres * self.scale])
        # Organizing centres lie before or behind the nucleus, where long cells have room.
        towards = self.directions + self.rng.choice([0.0, np.pi], len(self.radii))
        towards = towards + self.rng.normal(0, 0.5, len(self.radii))
        reach = nucleus_lengths + self.rng.uniform(0.6, 2.2, len(self.radii))
        organizer = self.centres + reach[:, None] * np.stack(
            [np.cos(towards), np.sin(towards)], axis=1
        )
        return CellField(
            size=self.size,
            scale=self.scale,
            labels=labels,
            inside=inside,
            nucleus=nucleus,
            nucleoli=nucleoli,
            chromosomes=chromosomes,
            edge_distance=distance(outline),
            nucleus_distance=distance(1 - solid),
            nucleus_depth=distance(solid),
            contact=contact,
            lamella=self.line.lamella,
            state=np.append(INTERPHASE, self.state),
            centre=centre,
            direction=np.append(0.0, self.directions),
            nucleus_radius=np.append(0.0, nucleus_radii),
            organizer=np.vstack([background, organizer * self.scale]),
            radius=np.append(0.0, self.radii),
            bridges=bridges,
        )

    def _territories(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Share the plane among the cells: each pixel goes to the cell that reaches it best.

        The reach of a cell is the distance from its centre over the radius of its irregular
        elliptic outline in that direction; it is 1 on the outline.
        """
        half = (self.size + 1) // 2
        scale = self.scale / 2
        nearest = np.full((half, half), 9.0, np.float32)
        second = nearest.copy()
        labels = np.zeros((half, half), np.uint8)
        for cell, (centre, radius) in enumerate(zip(self.centres, self.radii, strict=True)):
            round_cell = self.state[cell] != INTERPHASE
            stretch = 1.0 if round_cell else self.line.elongation * self.rng.lognormal(0, 0.12)
            stretch = max(1.0, stretch)
            roughness = 0.04 if round_cell else self.line.irregularity
            outline = _outline(self.rng, roughness, 2, 8)
            if not round_cell:
                outline = outline + _processes(self.rng, self.line.processes)
            long_axis = radius * np.sqrt(stretch) * scale
            short_axis = radius / np.sqrt(stretch) * scale
            x, y = centre * scale
            beyond = 1.3 * _turned(
                long_axis * outline * _CIRCLE[:, 0],
                short_axis * outline * _CIRCLE[:, 1],
                self.directions[cell],
            )
            left, top = np.clip(np.floor(beyond.min(0) + centre * scale), 0, half).astype(int)
            right, bottom = np.clip(np.ceil(beyond.max(0) + centre * scale), 0, half).astype(int)
            if left >= right or top >= bottom:
                continue
            across = np.arange(left, right, dtype=np.float32) - np.float32(x)
            down = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
            cosine, sine = np.cos(self.directions[cell]), np.sin(self.directions[cell])
            along = (across * cosine + down * sine) * np.float32(1 / long_axis)
            aside = (down * cosine - across * sine) * np.float32(1 / short_axis)
            distance, angle = cv2.cartToPolar(along.astype(np.float32), aside.astype(np.float32))
            turn = angle * np.float32(_OUTLINE_ANGLES / (2 * np.pi))
            low = turn.astype(np.int16).astype(np.uint8)
            slopes = (np.roll(outline, -1) - outline).astype(np.float32)
            radii = cv2.LUT(low, outline.astype(np.float32))
            radii += cv2.LUT(low, slopes) * (turn - np.floor(turn))
            reach = distance / radii
            box = np.s_[top:bottom, left:right]
            wins = reach < nearest[box]
            second[box] = np.where(wins, nearest[box], np.minimum(second[box], reach))
            nearest[box] = np.where(wins, reach, nearest[box])
            labels[box][wins] = cell + 1
        # The same ripple for both keeps borders between cells smooth and frays free edges.
        ripple = texture(self.rng, "ripple", self.size, self.scale)[::2, ::2] * self.line.raggedness
        nearest += ripple
        second += ripple
        whole = (self.size, self.size)
        nearest = cv2.resize(nearest, whole, interpolation=cv2.INTER_LINEAR)
        second = cv2.resize(second, whole, interpolation=cv2.INTER_LINEAR)
        labels = cv2.resize(labels, whole, interpolation=cv2.INTER_NEAREST)
        inside = soft_step(1 - nearest, 0.08) * soft_step(second - nearest - 0.02, 0.04)
        labels[nearest > 1] = 0
        contact = soft_step(1.25 - second, 0.2)
        return labels, inside, contact

    def _bridges(self, labels: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Join sister cells by a thin bridge, drawn into `labels` and `inside`."""
        ends = []
        for first, second in self.sisters:
            towards = self.centres[second] - self.centres[first]
            towards /= np.hypot(*towards)
            start = self.centres[first] + towards * 0.8 * self.radii[first]
            stop = self.centres[second] - towards * 0.8 * self.radii[second]
            ends.append(np.stack([start, stop]) * self.scale)
            bridge = draw_lines(self.size, ends[-1][None], 1.6 * self.scale)
            np.maximum(inside, bridge, out=inside)
            labels[(bridge > 0.5) & (labels == 0)] = first + 1
        return np.array(ends).reshape(-1, 2, 2)

    def _nuclei(self) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Draw the nuclei.

        Returns:
            Outlines (pixels) of the nuclei that have an envelope; for each cell the mean radius
            and the long semi-axis of its nucleus (µm).
        """
        polygons, radii, lengths = [], [], []
        for cell, centre in enumerate(self.centres):
            share = self.line.nucleus * self.rng.lognormal(0, 0.07)
            if self.state[cell] == DAUGHTER:
                share = 0.5
            radius = float(np.clip(share * self.radii[cell], 3.2, 10.5))
            radii.append(radius)
            outline = radius * _outline(self.rng, self.line.lobing, 2, 6)
            if self.rng.random() < 0.15:  # a dent makes a kidney
                dent = np.maximum(0, np.cos(_ANGLES - self.rng.uniform(0, 2 * np.pi)))
                outline = outline * (1 - self.rng.uniform(0.15, 0.4) * dent**5)
            stretch = min(2.2, 1 + 0.35 * (self.line.elongation - 1) + self.rng.uniform(0, 0.25))
            along = outline * np.sqrt(stretch) * _CIRCLE[:, 0]
            aside = outline / np.sqrt(stretch) * _CIRCLE[:, 1]
            lengths.append(radius * np.sqrt(stretch))
            corners = _turned(along, aside, self.directions[cell])
            shift = self.rng.normal(0, 0.06 * self.radii[cell], 2)
            if self.state[cell] == INTERPHASE:
                self.centres[cell] = centre + shift
            if self.state[cell] != METAPHASE:
                polygons.append((self.centres[cell] + corners) * self.scale)
        return polygons, np.array(radii), np.array(lengths)

    def _nucleoli(self, nuclei: list[np.ndarray]) -> list[np.ndarray]:
        """Outlines (pixels) of one to five nucleoli within each nucleus."""
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        polygons = []
        for nucleus in nuclei:
            centre = nucleus.mean(0)
            for _ in range(1 + self.rng.binomial(4, 0.4)):
                corner = nucleus[self.rng.integers(len(nucleus))]
                place = centre + (corner - centre) * self.rng.uniform(0.05, 0.62)
                radius = self.rng.uniform(0.6, 1.5) * self.scale
                wobble = 1 + 0.22 * np.cos(2 * angle + self.rng.uniform(0, 6.3))
                circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
                polygons.append(place + radius * wobble[:, None] * circle)
        return polygons

    def _plates(self) -> list[np.ndarray]:
        """Outlines (pixels) of metaphase plates: bars across the spindle axis."""
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        polygons = []
        for cell in np.flatnonzero(self.state == METAPHASE):
            turn = self.directions[cell] + np.pi / 2
            along = (
                self.rng.uniform(4.5, 5.5) * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.6
            )
            aside = self.rng.uniform(1.3, 1.8) * np.sin(angle)
            aside = aside * (1 + 0.15 * np.cos(7 * angle + self.rng.uniform(0, 6.3)))
            corners = _turned(along, aside, turn)
            polygons.append((self.centres[cell] + corners) * self.scale)
        return polygons
