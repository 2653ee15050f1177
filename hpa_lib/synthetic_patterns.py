"""The structures that fluorescent stains show, drawn into a field of cells.

`PATTERNS` holds one function for each of the 28 subcellular locations. Each takes the stage
(the field of cells and what all stains share) and returns the fluorescence of a protein that
is found there alone: shape (size, size), float32, 0 where nothing glows and about 1 at the
brightest structures. Sizes, numbers and places follow the descriptions of the Human Protein
Atlas' cell dictionary, https://www.proteinatlas.org/learn/dictionary/cell.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from hpa_lib.synthetic_cells import (
    METAPHASE,
    CellField,
    bump,
    decay,
    draw_lines,
    fill_polygons,
    soft_step,
    texture,
)

_TURNS = (0.0, 0.5, -0.5, 1.2)
"""Changes of direction (radians) that a growing line tries when it meets an obstacle."""


@dataclass
class Stage:
    """A field of cells with the structures that more than one stain shows.

    Attributes:
        field: The cells.
        rng: Source of randomness.
    """

    field: CellField
    rng: np.random.Generator

    @functools.cached_property
    def thickness(self) -> np.ndarray:
        """Height of the cell at each pixel relative to its middle, from 0 to about 1."""
        field = self.field
        uneven = cv2.exp(0.3 * texture(self.rng, "cloud", field.size, field.scale) - 0.1)
        thin = decay(field.edge_distance, field.lamella) * (1 - 0.7 * field.contact)
        return (1 - thin) * field.inside * uneven

    @functools.cached_property
    def cytosol(self) -> np.ndarray:
        """Cell height without nuclei, which leave little light: the faint diffuse stain."""
        return self.thickness * (self.field.cytoplasm + 0.25 * self.field.nucleus)

    @functools.cached_property
    def near_nucleus(self) -> np.ndarray:
        """1 at the nucleus, falling to 0 towards the cell's edge."""
        return decay(self.field.nucleus_distance, 6.0)

    @functools.cached_property
    def filaments(self) -> np.ndarray:
        """Microtubules: long curved filaments around the nucleus and out to the edge."""
        return microtubule_network(self)

    @functools.cached_property
    def reticulum(self) -> np.ndarray:
        """Endoplasmic reticulum: a mesh, denser around the nucleus, with its envelope."""
        field = self.field
        mesh = texture(self.rng, "mesh", field.size, field.scale)
        reach = self.rng.uniform(0.05, 0.45)
        spread = reach + (1 - reach) * self.near_nucleus
        envelope = 0.35 * bump(field.nucleus_depth, 0.2, 0.4) * field.nucleus
        grain = 0.33 * texture(self.rng, "grain", field.size, field.scale)
        tubes = np.maximum(0.75 * mesh + 0.2 + grain, 0)
        return tubes * spread * self.thickness * field.cytoplasm + envelope

    @functools.cached_property
    def nucleoplasm(self) -> np.ndarray:
        """Nuclei without nucleoli, finely textured."""
        field = self.field
        blobs, grain = (
            texture(self.rng, name, field.size, field.scale) for name in ("blobs", "grain")
        )
        return field.nucleus * (1 - 0.8 * field.nucleoli) * (1 + 0.13 * blobs + 0.10 * grain)

    @functools.cached_property
    def organizer_side(self) -> np.ndarray:
        """1 near the cell's microtubule organizing centre, falling to 0 within some µm."""
        field = self.field
        rows, columns = np.indices((field.size // 4 + 1, field.size // 4 + 1), dtype=np.float32) * 4
        labels = np.zeros(rows.shape, np.int16)
        known = field.labels[::4, ::4]
        labels[: known.shape[0], : known.shape[1]] = known
        places = field.organizer[labels]
        gap = np.hypot(columns - places[..., 0], rows - places[..., 1]) / field.scale
        near = np.where(labels > 0, np.exp(-((gap / 6.0) ** 2)), 0).astype(np.float32)
        return cv2.resize(near, (field.size + 4,) * 2)[: field.size, : field.size]

    def counts(self, mean: float) -> np.ndarray:
        """Draw a number of structures for each cell, varying more than Poisson counts do."""
        number = len(self.field.state)
        return self.rng.poisson(mean * self.rng.lognormal(0, 0.3, number))

    def walk(
        self,
        starts: np.ndarray,
        cells: np.ndarray,
        headings: np.ndarray,
        *,
        length: float,
        step: float,
        wander: float,
        through_nucleus: bool = False,
    ) -> np.ndarray:
        """Grow curved lines that stay within their cell and go around its nucleus.

        Args:
            starts: First points (x, y), shape (lines, 2), pixels.
            cells: Cell of each line.
            headings: First directions (radians).
            length: Length of each line (µm). Lines that find no way on stay shorter.
            step: Distance between points (µm).
            wander: Standard deviation of the change of direction a step (radians).
            through_nucleus: Lines may pass over and under the nucleus.

        Returns:
            Points of shape (lines, points, 2), pixels.
        """
        ground = (self.field.labels if through_nucleus else self._open_ground).ravel()
        size, reach = self.field.size, np.float32(step * self.field.scale)
        steps = max(1, round(length / step))
        bends = self.rng.normal(0, wander, (steps, len(starts))).cumsum(0) * 0.25
        bends += self.rng.normal(0, wander, (steps, len(starts)))
        bends = bends.astype(np.float32)
        headings = np.array(headings, np.float32)
        side = np.where(self.rng.random(len(starts)) < 0.5, 1, -1).astype(np.float32)
        points = np.empty((steps + 1, 2, len(starts)), np.float32)
        points[0] = np.asarray(starts).T
        for bend, here, there in zip(bends, points, points[1:], strict=False):
            headings += bend
            there[:] = here
            waiting = np.arange(len(starts))
            for turn in _TURNS:
                ways = headings[waiting] + turn * side[waiting]
                x = here[0, waiting] + reach * np.cos(ways)
                y = here[1, waiting] + reach * np.sin(ways)
                columns = np.minimum(np.maximum(x.astype(np.intp), 0), size - 1)
                rows = np.minimum(np.maximum(y.astype(np.intp), 0), size - 1)
                free = ground[rows * size + columns] == cells[waiting]
                moved = waiting[free]
                there[0, moved], there[1, moved] = x[free], y[free]
                headings[moved] = ways[free]
                waiting = waiting[~free]
                if not len(waiting):
                    break
        return points.transpose(2, 0, 1)

    @functools.cached_property
    def _open_ground(self) -> np.ndarray:
        """Cell at each pixel of cytoplasm, 0 elsewhere."""
        return np.where(self.field.nucleus < 0.5, self.field.labels, 0).astype(np.uint8)

    def lines(
        self, lines: np.ndarray, width: float, brightness: tuple[float, ...] = (1.0,)
    ) -> np.ndarray:
        """Draw lines of a width (µm), as `synthetic_cells.draw_lines` does."""
        return draw_lines(self.field.size, lines, width * self.field.scale, brightness)

    def dots(
        self, places: np.ndarray, radius: float, brightness: np.ndarray | float = 1.0
    ) -> np.ndarray:
        """Draw round dots with blurred edges.

        Args:
            places: Centres (x, y) in pixels, shape (dots, 2).
            radius: Standard deviation of the dot's Gaussian profile (µm).
            brightness: Peak of each dot.
        """
        field = self.field
        image = np.zeros((field.size, field.size), np.float32)
        columns, rows = np.floor(places).astype(int).T
        seen = (columns >= 0) & (rows >= 0) & (columns < field.size) & (rows < field.size)
        values = np.broadcast_to(brightness, len(places))[seen]
        np.add.at(image, (rows[seen], columns[seen]), values.astype(np.float32))
        sigma = max(0.5, radius * field.scale)
        return cv2.GaussianBlur(image, (0, 0), sigma) * np.float32(2 * np.pi * sigma**2)

    def discs(
        self, places: np.ndarray, radii: np.ndarray, width: float | None = None
    ) -> np.ndarray:
        """Draw filled discs of given radii (µm), or rings of line width `width` (µm)."""
        field = self.field
        canvas = np.zeros((field.size, field.size), np.uint8)
        thickness = -1 if width is None else max(1, round(width * field.scale))
        centres = np.round(places * 16).astype(int)
        for (x, y), radius in zip(
            centres, np.round(radii * field.scale * 16).astype(int), strict=True
        ):
            cv2.circle(canvas, (int(x), int(y)), int(radius), 255, thickness, cv2.LINE_AA, 4)
        return canvas.astype(np.float32) / 255

    def each(self, low: float, high: float) -> np.ndarray:
        """Draw a value for each cell and spread it over the cell's pixels."""
        return self.field.spread(self.rng.uniform(low, high, len(self.field.state)))


def microtubule_network(stage: Stage) -> np.ndarray:
    """Filaments from the organizing centre and around the nucleus, spindles and bridges."""
    field, rng = stage.field, stage.rng
    density = rng.uniform(35, 70) * (field.radius / 14.0) ** 1.5
    number = (density * (field.state != METAPHASE)).astype(int)
    around = bump(field.nucleus_distance, 1.5, 1.7) * field.cytoplasm
    places, owners = field.scatter(rng, around * 0.8 + 0.2 * field.cytoplasm, number)
    radial = np.arctan2(*(places - field.centre[owners]).T[::-1])
    swing = rng.normal(0, 0.4, len(owners)) + rng.choice([-1.3, 0.0, 1.3], len(owners))
    along = field.direction[owners] + np.pi * rng.integers(0, 2, len(owners))
    parallel = rng.random(len(owners)) < rng.uniform(0.1, 0.6)
    first = np.where(parallel, along + rng.normal(0, 0.2, len(owners)), radial + swing)
    anchored = np.repeat(np.arange(len(number)), number // 3)
    starts = np.concatenate([places, field.organizer[anchored]])
    cells = np.concatenate([owners, anchored])
    headings = np.concatenate([first, rng.uniform(0, 2 * np.pi, len(anchored))])
    over = bool(rng.random() < 0.35)
    lines = stage.walk(
        starts, cells, headings,
        length=26.0, step=1.4, wander=rng.uniform(0.08, 0.2), through_nucleus=over,
    )  # fmt: skip
    lines = lines[rng.permutation(len(lines))]
    image = stage.lines(lines, 0.26, (1.9, 0.9, 0.35, 0.2)) * (0.3 + 0.7 * stage.thickness)
    image *= 1 - np.float32(rng.uniform(0.3, 0.9)) * field.nucleus  # these lie out of focus
    spindle = mitotic_spindle_fibres(stage)
    bridge = bridge_lines(stage, 0.9)
    reach = rng.uniform(0.1, 0.5)
    return image * 0.8 * (reach + (1 - reach) * stage.near_nucleus**0.5) + spindle + bridge


def mitotic_spindle_fibres(stage: Stage) -> np.ndarray:
    """Bipolar spindles: fibres from two poles to the metaphase plate."""
    field, rng = stage.field, stage.rng
    fibres = []
    for cell in np.flatnonzero(field.state == METAPHASE):
        axis = np.array([np.cos(field.direction[cell]), np.sin(field.direction[cell])])
        across = np.array([-axis[1], axis[0]])
        for pole in (-1, 1):
            start = field.centre[cell] + pole * axis * 5.2 * field.scale
            for offset in np.linspace(-4.2, 4.2, 13):
                stop = field.centre[cell] + across * (offset + rng.normal(0, 0.2)) * field.scale
                middle = (start + stop) / 2 + across * offset * 0.28 * field.scale
                bulge = (start + middle) / 2 + across * offset * 0.1 * field.scale
                fibres.append([start, bulge, middle, stop])
    if not fibres:
        return np.zeros((field.size, field.size), np.float32)
    image = stage.lines(np.array(fibres), 0.45, (1.0, 1.0))
    return cv2.GaussianBlur(image, (0, 0), 0.3 * field.scale)


def bridge_lines(stage: Stage, width: float) -> np.ndarray:
    """Bridges between daughter cells as lines of a width (µm)."""
    field = stage.field
    if not len(field.bridges):
        return np.zeros((field.size, field.size), np.float32)
    return stage.lines(field.bridges, width)


def _nucleoplasm(stage: Stage) -> np.ndarray:
    return stage.nucleoplasm * stage.each(0.45, 1.0) + 0.5 * stage.field.chromosomes


def _nuclear_membrane(stage: Stage) -> np.ndarray:
    field = stage.field
    rim = bump(field.nucleus_depth, 0.45, 0.3) * field.nucleus
    folds = 0.06 * soft_step(texture(stage.rng, "mesh", field.size, field.scale) - 0.75, 0.2)
    return (rim + (0.10 + folds) * field.nucleus) * stage.each(0.6, 1.0)


def _nucleoli(stage: Stage) -> np.ndarray:
    field = stage.field
    return (field.nucleoli + 0.10 * stage.nucleoplasm) * stage.each(0.6, 1.0)


def _fibrillar_centres(stage: Stage) -> np.ndarray:
    field = stage.field
    places, cells = field.scatter(stage.rng, field.nucleoli**2, stage.counts(6))
    image = stage.dots(places, 0.28, stage.rng.uniform(0.9, 1.4, len(cells)))
    return np.minimum(image, 1.4) + 0.06 * stage.nucleoplasm


def _speckles(stage: Stage) -> np.ndarray:
    field = stage.field
    blobs = soft_step(texture(stage.rng, "blobs", field.size, field.scale) - 1.05, 0.6)
    deep = soft_step(field.nucleus_depth - 0.9, 0.8) * (1 - field.nucleoli)
    return (blobs * deep + 0.14 * stage.nucleoplasm) * stage.each(0.6, 1.0)


def _nuclear_bodies(stage: Stage) -> np.ndarray:
    field = stage.field
    deep = soft_step(field.nucleus_depth - 0.9, 0.6) * (1 - field.nucleoli)
    places, cells = field.scatter(stage.rng, deep, 1 + stage.counts(3.5))
    image = stage.discs(places, stage.rng.uniform(0.3, 0.65, len(cells)))
    return cv2.GaussianBlur(image, (0, 0), 0.15 * field.scale) + 0.07 * stage.nucleoplasm


def _reticulum(stage: Stage) -> np.ndarray:
    return stage.reticulum * stage.each(0.7, 1.3)


def _golgi(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    belt = bump(field.nucleus_distance, 2.0, 1.2) * field.cytoplasm
    places, cells = field.scatter(rng, belt * stage.organizer_side**2, stage.counts(15))
    tangent = np.arctan2(*(places - field.centre[cells]).T[::-1]) + np.pi / 2
    ribbons = stage.walk(
        places, cells, tangent + rng.normal(0, 0.5, len(cells)), length=2.6, step=0.5, wander=0.35
    )
    image = cv2.GaussianBlur(stage.lines(ribbons, 0.42, (1.0, 1.0, 1.0)), (0, 0), 0.2 * field.scale)
    return np.minimum(image, 1.3) + 0.04 * stage.cytosol


def _peroxisomes(stage: Stage) -> np.ndarray:
    field = stage.field
    places, cells = field.scatter(stage.rng, field.cytoplasm, stage.counts(110))
    image = stage.dots(places, 0.22, stage.rng.uniform(0.4, 1.0, len(cells)))
    return np.minimum(image, 1.2) + 0.03 * stage.cytosol


def _endosomes(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    weight = (
        field.cytoplasm
        * (0.25 + soft_step(field.edge_distance - 1, 2))
        * (1.1 - stage.near_nucleus)
    )
    places, cells = field.scatter(rng, weight, stage.counts(30))
    radii = rng.uniform(0.3, 0.75, len(cells))
    image = stage.discs(places, radii, width=0.35)
    small, few = field.scatter(rng, weight, stage.counts(25))
    image += stage.dots(small, 0.3, rng.uniform(0.3, 0.8, len(few)))
    return (
        np.minimum(cv2.GaussianBlur(image, (0, 0), 0.18 * field.scale), 1.2) + 0.04 * stage.cytosol
    )


def _lysosomes(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    weight = field.cytoplasm * stage.near_nucleus**2 * (0.15 + stage.organizer_side)
    places, cells = field.scatter(rng, weight, stage.counts(28))
    image = stage.discs(places, rng.uniform(0.45, 0.95, len(cells)))
    return cv2.GaussianBlur(image, (0, 0), 0.25 * field.scale) + 0.03 * stage.cytosol


def _intermediate_filaments(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    weight = field.cytoplasm * stage.near_nucleus**2
    places, cells = field.scatter(rng, weight, stage.counts(55))
    tangent = np.arctan2(*(places - field.centre[cells]).T[::-1]) + np.pi / 2
    heading = tangent + rng.normal(0, 0.6, len(cells))
    bundles = stage.walk(places, cells, heading, length=11.0, step=0.8, wander=0.38)
    image = stage.lines(bundles, 0.32, (0.9, 0.7, 0.5))
    return image * stage.each(0.6, 1.2) + 0.05 * stage.cytosol


def _stress_fibres(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    weight = field.cytoplasm + 0.7 * field.nucleus
    places, cells = field.scatter(rng, weight, stage.counts(24))
    heading = field.direction[cells] + rng.normal(0, 0.09, len(cells))
    halves = [
        stage.walk(
            places, cells, heading + turn, length=13.0, step=1.3, wander=0.008, through_nucleus=True
        )
        for turn in (0.0, np.pi)
    ]
    fibres = np.concatenate([halves[0][:, ::-1], halves[1]], axis=1)
    cortex = bump(field.edge_distance, 0.5, 0.5) * field.inside
    return stage.lines(fibres, 0.45, (1.0, 0.6)) + 0.45 * cortex + 0.05 * stage.cytosol


def _focal_adhesions(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    rim = bump(field.edge_distance, 2.2, 1.0) * field.cytoplasm
    places, cells = field.scatter(rng, rim + 0.03 * field.cytoplasm, stage.counts(22))
    heading = np.arctan2(*(places - field.centre[cells]).T[::-1]) + rng.normal(0, 0.25, len(cells))
    streaks = stage.walk(places, cells, heading, length=2.2, step=0.55, wander=0.02)
    image = cv2.GaussianBlur(stage.lines(streaks, 0.5), (0, 0), 0.18 * field.scale)
    patches = np.maximum(0, 0.14 + 0.04 * texture(rng, "grain", field.size, field.scale))
    return image + patches * stage.cytosol


def _microtubules(stage: Stage) -> np.ndarray:
    return stage.filaments * stage.each(0.5, 1.2)


def _microtubule_ends(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    weight = field.cytoplasm * (1.15 - stage.near_nucleus) * decay(field.edge_distance, 4.0)
    places, cells = field.scatter(rng, weight, stage.counts(65))
    heading = np.arctan2(*(places - field.centre[cells]).T[::-1]) + rng.normal(0, 0.35, len(cells))
    comets = stage.walk(places, cells, heading, length=1.8, step=0.6, wander=0.05)
    image = stage.lines(comets, 0.4) + stage.dots(comets[:, -1], 0.25, 0.6)
    return np.minimum(image, 1.2) + 0.05 * stage.filaments


def _cytokinetic_bridge(stage: Stage) -> np.ndarray:
    field = stage.field
    image = cv2.GaussianBlur(bridge_lines(stage, 0.9), (0, 0), 0.2 * field.scale)
    if len(field.bridges):
        image += stage.dots(field.bridges.mean(1), 0.7, 0.9)
    return image + 0.08 * stage.cytosol


def _mitotic_spindle(stage: Stage) -> np.ndarray:
    return mitotic_spindle_fibres(stage) + 0.07 * stage.cytosol


def _organizing_centre(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    cells = field.cells[field.state[1:] != METAPHASE]
    repeated = np.repeat(cells, 7)
    places = field.organizer[repeated] + rng.normal(0, 0.8 * field.scale, (len(repeated), 2))
    blob = stage.discs(places, rng.uniform(0.5, 1.1, len(repeated)))
    spread = np.repeat(cells, 14)
    rays = stage.walk(
        field.organizer[spread], spread, rng.uniform(0, 2 * np.pi, len(spread)),
        length=5.0, step=1.0, wander=0.15, through_nucleus=True,
    )  # fmt: skip
    image = cv2.GaussianBlur(blob, (0, 0), 0.5 * field.scale) + 0.25 * stage.lines(rays, 0.35)
    return image + 0.06 * stage.cytosol


def _centrosome(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    places = [field.organizer[1:]]
    pairs = field.cells[rng.random(len(field.cells)) < 0.6]
    turn = rng.uniform(0, 2 * np.pi, len(pairs))
    apart = rng.uniform(1.0, 1.8, len(pairs)) * field.scale
    places.append(
        field.organizer[pairs] + apart[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    )
    everything = np.concatenate(places)
    return (
        stage.dots(everything, 0.38, rng.uniform(1.1, 1.7, len(everything))) + 0.04 * stage.cytosol
    )


def _lipid_droplets(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    weight = (
        field.cytoplasm
        * np.maximum(0, texture(rng, "cloud", field.size, field.scale))
        * (0.2 + stage.near_nucleus)
    )
    places, cells = field.scatter(rng, weight, stage.counts(18))
    radii = rng.gamma(4.0, 0.17, len(cells)) + 0.25
    image = stage.discs(places, radii, width=0.35) + 0.25 * stage.discs(places, radii)
    return image + 0.03 * stage.cytosol


def _plasma_membrane(stage: Stage) -> np.ndarray:
    field = stage.field
    edge = bump(field.edge_distance, 0.4, 0.42) * (field.labels > 0)
    ruffles = soft_step(texture(stage.rng, "mesh", field.size, field.scale) - 0.55, 0.5)
    patches = np.clip(0.8 + 0.25 * texture(stage.rng, "cloud", field.size, field.scale), 0.2, 1.3)
    return (edge * patches + (0.05 + 0.10 * ruffles) * field.inside) * stage.each(0.6, 1.1)


def _cell_junctions(stage: Stage) -> np.ndarray:
    field = stage.field
    edge = bump(field.edge_distance, 0.3, 0.45) * (field.labels > 0)
    return edge * field.contact + 0.05 * stage.cytosol


def _mitochondria(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    weight = field.cytoplasm * (0.08 + stage.near_nucleus**1.3)
    places, cells = field.scatter(rng, weight, stage.counts(75))
    radial = np.arctan2(*(places - field.centre[cells]).T[::-1])
    worms = stage.walk(
        places, cells, radial + rng.normal(0, 0.9, len(cells)), length=4.2, step=0.5, wander=0.4
    )
    image = cv2.GaussianBlur(stage.lines(worms, 0.46, (0.8, 0.8)), (0, 0), 0.15 * field.scale)
    return np.minimum(image, 1.3) * stage.each(0.6, 1.0) + 0.03 * stage.cytosol


def _aggresome(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    polygons = []
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for cell in field.cells[rng.random(len(field.cells)) < 0.8]:
        radius = rng.uniform(1.9, 3.3) * field.scale
        wobble = 1 + 0.15 * np.cos(2 * angle + rng.uniform(0, 6.3)) + 0.08 * np.cos(5 * angle)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        polygons.append(field.organizer[cell] + radius * wobble[:, None] * circle)
    image = cv2.GaussianBlur(fill_polygons(field.size, polygons), (0, 0), 0.3 * field.scale)
    return image * field.inside + 0.10 * stage.cytosol


def _cytosol(stage: Stage) -> np.ndarray:
    field = stage.field
    grain = (
        1
        + 0.12 * texture(stage.rng, "grain", field.size, field.scale)
        + 0.10 * texture(stage.rng, "cloud", field.size, field.scale)
    )
    vacuoles = 1 - 0.5 * soft_step(texture(stage.rng, "blobs", field.size, field.scale) - 2.0, 0.4)
    return stage.cytosol * grain * vacuoles * stage.each(0.4, 1.0)


def _cytoplasmic_bodies(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    weight = field.cytoplasm * soft_step(field.edge_distance - 1.5, 1.0)
    places, cells = field.scatter(rng, weight, 1 + stage.counts(6))
    image = stage.discs(places, rng.uniform(0.4, 0.85, len(cells)))
    return cv2.GaussianBlur(image, (0, 0), 0.2 * field.scale) + 0.06 * stage.cytosol


def _rods_and_rings(stage: Stage) -> np.ndarray:
    field, rng = stage.field, stage.rng
    weight = field.cytoplasm * soft_step(field.edge_distance - 1.5, 1.0)
    places, cells = field.scatter(rng, weight, 1 + stage.counts(0.5))
    image = np.zeros((field.size, field.size), np.float32)
    lengths = rng.uniform(3.0, 10.0, len(cells))
    heading = rng.uniform(0, 2 * np.pi, len(cells))
    reach = (lengths * field.scale / 2)[:, None] * np.stack(
        [np.cos(heading), np.sin(heading)], axis=1
    )
    image += stage.lines(np.stack([places - reach, places, places + reach], axis=1), 0.6)
    rings, around = field.scatter(rng, weight, stage.counts(0.7))
    image += stage.discs(rings, rng.uniform(1.0, 2.2, len(around)), width=0.5)
    return np.minimum(image, 1.0) * field.inside + 0.05 * stage.cytosol


PATTERNS: tuple[Callable[[Stage], np.ndarray], ...] = (
    _nucleoplasm,
    _nuclear_membrane,
    _nucleoli,
    _fibrillar_centres,
    _speckles,
    _nuclear_bodies,
    _reticulum,
    _golgi,
    _peroxisomes,
    _endosomes,
    _lysosomes,
    _intermediate_filaments,
    _stress_fibres,
    _focal_adhesions,
    _microtubules,
    _microtubule_ends,
    _cytokinetic_bridge,
    _mitotic_spindle,
    _organizing_centre,
    _centrosome,
    _lipid_droplets,
    _plasma_membrane,
    _cell_junctions,
    _mitochondria,
    _aggresome,
    _cytosol,
    _cytoplasmic_bodies,
    _rods_and_rings,
)
"""Drawing function of each class, in the order of `hpa_lib.labels.CLASS_NAMES`."""
