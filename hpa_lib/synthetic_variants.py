"""Flaws of real datasets that a synthetic dataset can be asked for.

Real datasets hold a test part that is darker than the training part, samples that show nearly
the same field, and damaged files. `Variants` says how much of each is wanted, `plan` chooses
the samples, and `draw` draws one planned sample. Everything depends on the seed alone.
"""

from dataclasses import dataclass

import numpy as np

from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS
from hpa_lib.synthetic_damage import KINDS
from hpa_lib.synthetic_images import draw_sample
from hpa_lib.synthetic_labels import draw_label_sets

TEST_EXPOSURE = 0.75
"""Brightness of the Kaggle test images relative to the training images.

The channel means on a scale from 0 to 1 are 0.059, 0.045, 0.041 and 0.059 in the test part and
0.081, 0.053, 0.055 and 0.083 in the training part (red, green, blue, yellow); the ratio of
their sums is 0.75.
"""

_MARGIN_SHARE = 4
"""A field that two samples show is wider and higher than an image by its size over this."""

_SMALL_SHIFT_SHARE = 128
"""Every other pair of near-duplicates lies at most an image's size over this apart."""

_OWN_PHOTONS = 60
"""Photons at full scale of the noise that each of two near-duplicates has for itself."""

_PAIRS_STREAM, _NOISE_STREAM, _DAMAGE_STREAM = 2, 3, 4
"""Keys of the random streams; `synthetic_labels` uses stream 1."""


@dataclass(frozen=True)
class Variants:
    """What a synthetic dataset holds beside sound, different training samples.

    Attributes:
        test_samples: Samples of the test part; 0 writes none.
        test_exposure: Brightness of the test images, above 0; 1 is as bright as training.
        near_duplicates: Share of training samples, from 0 to 0.5, that are a second crop of
            another training sample's field. Half of the pairs lie at most 1/128 of their width
            and height apart, as two exposures of one field do, the others 1/8 to 1/4.
        corrupted_files: Damaged image files in the training part, one a sample at most.

    Raises:
        HpaError: If a value is out of range.
    """

    test_samples: int = 0
    test_exposure: float = TEST_EXPOSURE
    near_duplicates: float = 0.0
    corrupted_files: int = 0

    def __post_init__(self) -> None:
        if self.test_samples < 0:
            raise HpaError(f"test_samples is {self.test_samples}.", "Choose 0 or more.")
        if not 0 < self.test_exposure < np.inf:
            raise HpaError(
                f"test_exposure is {self.test_exposure}.",
                "Choose a factor above 0; below 1 the test images are darker.",
            )
        if not 0 <= self.near_duplicates <= 0.5:
            raise HpaError(
                f"near_duplicates is {self.near_duplicates}.", "Choose a share from 0 to 0.5."
            )
        if self.corrupted_files < 0:
            raise HpaError(f"corrupted_files is {self.corrupted_files}.", "Choose 0 or more.")


@dataclass(frozen=True)
class PlannedSample:
    """One sample to draw.

    Attributes:
        part: Folder that it belongs to, ``"train"`` or ``"test"``.
        index: Position in the dataset, which its identifier is made from.
        labels: Class indices, in ascending order.
        exposure: Factor on its brightness.
        field: Position of the sample whose field it shows; its own index unless it is the
            second crop.
        window: Left and upper edge of its crop in pixels of a larger field; None if it shows
            a whole field.
    """

    part: str
    index: int
    labels: tuple[int, ...]
    exposure: float
    field: int
    window: tuple[int, int] | None


@dataclass(frozen=True)
class NearDuplicate:
    """Two training samples that show overlapping parts of one field.

    Attributes:
        index: Position of the second crop.
        other: Position of the first crop.
        shift: Pixels to the right and downwards from the first crop to the second: what lies
            at (x, y) in the second lies at (x, y) + shift in the first.
    """

    index: int
    other: int
    shift: tuple[int, int]


@dataclass(frozen=True)
class Damage:
    """One damaged file: position of the sample, channel, and kind (`synthetic_damage.KINDS`)."""

    index: int
    channel: str
    kind: str


@dataclass(frozen=True)
class Plan:
    """All samples of a dataset, training part first, with what is wrong with them."""

    samples: tuple[PlannedSample, ...]
    near_duplicates: tuple[NearDuplicate, ...]
    damage: tuple[Damage, ...]


def plan(samples: int, seed: int, size: int, balance: bool, variants: Variants) -> Plan:
    """Choose labels, near-duplicates and damaged files.

    Without variants, and for all samples that no variant concerns, the samples are the same.

    Args:
        samples: Number of training samples, at least 1.
        seed: Seed, at least 0.
        size: Width and height of the images (pixels).
        balance: See `synthetic_labels.draw_label_sets`.
        variants: What is asked for.

    Raises:
        HpaError: If there are too few samples for what is asked for, or `samples` or `seed` is
            too small.
    """
    label_sets = draw_label_sets(samples + variants.test_samples, seed, balance)
    pairs = min(round(variants.near_duplicates * samples), samples // 2)
    if variants.near_duplicates and not pairs:
        raise HpaError(
            f"near_duplicates is {variants.near_duplicates} of {samples} samples: no pair.",
            "Ask for a larger share or for more samples.",
        )
    sound = samples - 2 * pairs
    if variants.corrupted_files > sound:
        raise HpaError(
            f"corrupted_files is {variants.corrupted_files}, but {sound} of {samples} samples "
            "have no near-duplicate and can be damaged.",
            "Ask for fewer corrupted files or for more samples.",
        )
    random = _stream(seed, _PAIRS_STREAM)
    order = random.permutation(samples).tolist()
    windows: dict[int, tuple[int, int]] = {}
    fields: dict[int, int] = {}
    near_duplicates = []
    for number in range(pairs):
        first, second = order[number], order[pairs + number]
        draw_windows = _overlapping_windows if number % 2 else _nearly_equal_windows
        windows[first], windows[second] = draw_windows(random, size)
        fields[second] = first
        (left, top), (own_left, own_top) = windows[first], windows[second]
        near_duplicates.append(NearDuplicate(second, first, (own_left - left, own_top - top)))
    planned = []
    for index in range(len(label_sets)):
        training = index < samples
        field = fields.get(index, index)
        planned.append(
            PlannedSample(
                part="train" if training else "test",
                index=index,
                labels=label_sets[field],
                exposure=1.0 if training else variants.test_exposure,
                field=field,
                window=windows.get(index),
            )
        )
    damage = _choose_damage(order[2 * pairs :], seed, variants.corrupted_files)
    return Plan(tuple(planned), tuple(near_duplicates), damage)


def draw(sample: PlannedSample, seed: int, size: int, micrometres: float) -> np.ndarray:
    """Draw one planned sample.

    Near-duplicates are two windows of one larger drawing, so that they show a smaller area
    than other samples, at a larger scale; each has photon noise of its own on top.

    Returns:
        Array of shape (size, size, 4), dtype uint8, as `synthetic_images.draw_sample`.
    """
    canvas = size if sample.window is None else size + size // _MARGIN_SHARE
    field = draw_sample(
        sample.labels,
        seed,
        sample.field,
        canvas,
        exposure=sample.exposure,
        micrometres=micrometres,
    )
    if sample.window is None:
        return field
    left, top = sample.window
    crop = field[top : top + size, left : left + size].astype(np.float32)
    noise = _stream(seed, _NOISE_STREAM, sample.index).standard_normal(crop.shape, np.float32)
    crop += np.sqrt(crop * np.float32(255 / _OWN_PHOTONS)) * noise
    return np.clip(np.rint(crop), 0, 255).astype(np.uint8)


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _nearly_equal_windows(
    random: np.random.Generator, size: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Left and upper edges of two crops that differ as two exposures of one field do."""
    most = size // _SMALL_SHIFT_SHARE
    first = random.integers(most, size // _MARGIN_SHARE - most + 1, 2)
    second = first + random.integers(-most, most + 1, 2)
    return tuple(first.tolist()), tuple(second.tolist())


def _overlapping_windows(
    random: np.random.Generator, size: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Left and upper edges of two crops, an eighth to a quarter of their size apart."""
    margin = size // _MARGIN_SHARE
    gap = int(random.integers(margin // 2, margin + 1))
    start = int(random.integers(0, margin - gap + 1))
    along = [start, start + gap]
    if random.random() < 0.5:
        along.reverse()
    aside = random.integers(0, margin + 1, 2).tolist()
    pairs = [along, aside] if random.random() < 0.5 else [aside, along]
    first, second = zip(*pairs, strict=True)
    return first, second


def _choose_damage(candidates: list[int], seed: int, count: int) -> tuple[Damage, ...]:
    """Choose channels at random and take the kinds in turn."""
    random = _stream(seed, _DAMAGE_STREAM)
    kinds = list(KINDS)
    return tuple(
        Damage(index, CHANNELS[random.integers(len(CHANNELS))], kinds[turn % len(kinds)])
        for turn, index in enumerate(candidates[:count])
    )
