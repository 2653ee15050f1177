"""Check a data folder: decode every file once and report what is wrong or doubtful.

An *error* is a sample that can't be used as it is; a *warning* is one to look at. Both are
findings, and nothing is left out or mended here.
"""

import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from hpa_lib import dataset, image_files, label_tables, labels, layouts
from hpa_lib.errors import HpaError
from hpa_lib.image_files import Header
from hpa_lib.images import CHANNELS
from hpa_lib.label_tables import LabelTable
from hpa_lib.layouts import Layout

ACQUISITION_SIZES = frozenset({1728, 2048, 3072})
"""Heights and widths in pixels of full-size images; they occur side by side in one dataset."""

EMPTY_BELOW = 10
"""An image is empty where no value reaches this one of 255."""

SATURATED_SHARE = 0.1
"""An image is saturated where more than this share of its pixels is 255."""

NARROW_BELOW = 33
"""A 16-bit image uses a narrow range where no value reaches this one of 255 after scaling.

Images of 12 or 13 bits kept in 16 don't reach it: they would keep 17 or 33 of 256 grey levels.
"""

_SAMPLES_A_TASK = 8


@dataclass(frozen=True)
class Finding:
    """Something wrong or doubtful.

    Attributes:
        level: ``"error"`` or ``"warning"``.
        kind: What kind of thing it is, in one or two words.
        sample: Id of the sample.
        text: A sentence that names the file or row.
    """

    level: str
    kind: str
    sample: str
    text: str


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        folder: The data folder.
        label_table: Name of its label table.
        samples: Rows of the table, without those left out.
        images: Files that were decoded.
        unused_images: Channel images in the same folders that belong to none of these rows.
        left_out: Ids that were left out on request.
        fingerprint: As `dataset.Dataset.fingerprint`; None where there is an error.
        image_kinds: Size, depth, mode and format, with the number of images.
        class_counts: Samples of each class.
        sources: For each source the number of samples, labels a sample, and mean and standard
            deviation of each channel on a scale from 0 to 1.
        findings: In the order of the table.
    """

    folder: str
    label_table: str
    samples: int
    images: int
    unused_images: int
    left_out: tuple[str, ...]
    fingerprint: str | None
    image_kinds: dict[str, int]
    class_counts: dict[str, int]
    sources: dict[str, dict[str, Any]]
    findings: tuple[Finding, ...]

    @property
    def unusable(self) -> tuple[str, ...]:
        """Ids of samples with an error, in the order of the table."""
        return tuple(dict.fromkeys(f.sample for f in self.findings if f.level == "error"))

    @property
    def can_be_left_out(self) -> tuple[str, ...]:
        """Those of `unusable` that ``leave_out`` can name: not an empty Id, or one with commas."""
        return tuple(filter(label_tables.can_be_left_out, self.unusable))

    def as_json(self) -> dict[str, Any]:
        """The report as a value that JSON can express, with the properties."""
        names = {"unusable": self.unusable, "can_be_left_out": self.can_be_left_out}
        return asdict(self) | names


@dataclass(frozen=True)
class _Channel:
    """What one decoded image is like; values on a scale from 0 to 255."""

    header: Header
    mark: bytes
    lowest: int
    highest: int
    mean: float
    deviation: float
    saturated: float
    checksum: int

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for equal pixels; other pixels of equal mean and deviation agree once in 2³²."""
        header = self.header
        return (header.width, header.height, self.checksum, self.mean, self.deviation)

    @property
    def constant(self) -> bool:
        return self.lowest == self.highest


def check(folder: Path, leave_out: Collection[str] = (), *, progress: bool = True) -> Report:
    """Decode every image of a data folder once, in threads, and report.

    Args:
        folder: The data folder; see `layouts`.
        leave_out: Ids of samples that aren't wanted; their files aren't looked at.
        progress: Show a progress bar where standard error is a terminal.

    Raises:
        HpaError: If there is no dataset to check: the folder or its label table is missing or
            ambiguous, or the table can't be read as a table of samples.
    """
    layout = layouts.detect(folder)
    table, problems = label_tables.read_sound_rows(layout.label_table, leave_out)
    findings = [Finding("error", "row", row.sample_id, row.error.problem) for row in problems]
    patterns = []
    for row, sample_id in enumerate(table.ids):
        pattern, found = _find_files(layout, sample_id, table.source(row))
        patterns.append(pattern)
        findings += found
    channels = []
    for found, decoded in _decode_all(layout.folder, table, patterns, progress):
        findings += found
        channels.append(decoded)
    findings += _unexpected_kinds(table, channels)
    findings += _duplicates(table.ids, channels)
    order = {sample_id: row for row, sample_id in enumerate(table.ids)}
    findings.sort(key=lambda finding: order.get(finding.sample, -1))
    decoded = [channel for sample in channels for channel in sample if channel]
    sound = not any(finding.level == "error" for finding in findings)
    multi_hot = labels.to_multi_hot(table.label_sets)
    return Report(
        folder=str(layout.folder),
        label_table=layout.label_table.name,
        samples=len(table.ids) + len(problems),
        images=len(decoded),
        unused_images=layout.unused_files([pattern for pattern in patterns if pattern]),
        left_out=table.left_out,
        fingerprint=dataset.fingerprint(table, [c.mark for c in decoded]) if sound else None,
        image_kinds=dict(Counter(str(channel.header) for channel in decoded).most_common()),
        class_counts=dict(
            zip(labels.CLASS_NAMES, multi_hot.sum(axis=0, dtype=int).tolist(), strict=True)
        ),
        sources=_source_facts(table, multi_hot, channels),
        findings=tuple(findings),
    )


def as_text(report: Report, most_of_a_kind: int = 20) -> str:
    """Write a report as a table to read.

    Args:
        report: What to write.
        most_of_a_kind: Findings of one kind that are listed; of more, the number is given.
    """
    rows = [
        ("folder", report.folder),
        ("label table", report.label_table),
        ("samples", f"{report.samples:,}, {report.images:,} images decoded"),
        ("left out", f"{len(report.left_out):,}: {', '.join(report.left_out[:5])}"),
        ("other images", f"{report.unused_images:,} files of no sample of the table"),
        ("fingerprint", report.fingerprint or "none: there are errors"),
    ]
    shown = [row for row in rows if row[0] != "left out" or report.left_out]
    lines = [f"{name:<14}{text}" for name, text in shown]
    lines += ["", "images  kind"]
    lines += [f"{count:>6}  {kind}" for kind, count in report.image_kinds.items()]
    lines += ["", "samples  class"]
    lines += [f"{count:>7}  {name}" for name, count in report.class_counts.items()]
    head = "".join(f"{channel:>16}" for channel in CHANNELS)
    lines += ["", f"samples  labels a sample{head}  source (mean ± deviation of each channel)"]
    for name, facts in report.sources.items():
        brightness = "".join(
            f"{mean:>8.3f} ± {deviation:.3f}" if mean is not None else f"{'–':>16}"
            for mean, deviation in zip(facts["mean"], facts["deviation"], strict=True)
        )
        count, labels_a_sample = facts["samples"], facts["labels_a_sample"]
        lines.append(f"{count:>7}  {labels_a_sample:>15.2f}{brightness}  {name}")
    lines += ["", f"{len(report.findings):,} findings" if report.findings else "no findings"]
    listed: Counter[str] = Counter()
    for finding in report.findings:
        listed[finding.kind] += 1
        if listed[finding.kind] <= most_of_a_kind:
            lines.append(f"{finding.level:<8} {finding.kind:<10} {finding.text}")
    lines += [
        f"         {kind:<10} … and {count - most_of_a_kind:,} more; --json lists all"
        for kind, count in listed.items()
        if count > most_of_a_kind
    ]
    return "\n".join(lines)


def _find_files(layout: Layout, sample_id: str, source: str) -> tuple[str | None, list[Finding]]:
    """Pattern of a sample's files, None where it can't be told, and what is wrong with them."""
    try:
        files = layout.find(sample_id, source)
    except HpaError as error:
        return None, [Finding("error", "files", sample_id, error.problem)]
    missing = [
        layouts.channel_path(layout.folder, files.pattern, channel) for channel in files.missing
    ]
    found = [
        Finding("error", "missing", sample_id, f"Image {path} is missing.") for path in missing
    ]
    return (None if len(missing) == len(CHANNELS) else files.pattern), found


def _decode_all(
    folder: Path, table: LabelTable, patterns: list[str | None], progress: bool
) -> Iterator[tuple[list[Finding], list[_Channel | None]]]:
    """Decode all samples in threads; yields findings and channels of each, in their order."""

    def decode(start: int) -> list[tuple[list[Finding], list[_Channel | None]]]:
        rows = range(start, min(start + _SAMPLES_A_TASK, len(patterns)))
        return [_decode_sample(folder, table, row, patterns[row]) for row in rows]

    pool = ThreadPoolExecutor()
    try:
        parts = pool.map(decode, range(0, len(patterns), _SAMPLES_A_TASK))
        with tqdm(total=len(patterns), desc="Checking", disable=None if progress else True) as bar:
            for part in parts:
                yield from part
                bar.update(len(part))
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_sample(
    folder: Path, table: LabelTable, row: int, pattern: str | None
) -> tuple[list[Finding], list[_Channel | None]]:
    if pattern is None:
        return [], [None] * len(CHANNELS)
    sample_id = table.ids[row]
    maximum = table.maxima[row] if table.maxima else image_files.FULL_RANGE_16_BIT
    findings: list[Finding] = []
    decoded: list[_Channel | None] = []
    for channel in CHANNELS:
        path = layouts.channel_path(folder, pattern, channel)
        try:
            facts = _describe(*image_files.decode(path, channel, maximum))
        except HpaError as error:
            decoded.append(None)
            if path.exists():  # a missing file is reported already
                findings.append(Finding("error", "unreadable", sample_id, error.problem))
            continue
        decoded.append(facts)
        findings += [
            Finding("warning", kind, sample_id, f"Image {path} {text}.")
            for kind, text in _doubts(facts)
        ]
    present = [facts.header for facts in decoded if facts]
    if len(present) == len(CHANNELS):
        try:
            shapes = [(header.height, header.width) for header in present]
            image_files.refuse_different_shapes(path, shapes)
        except HpaError as error:
            findings.append(Finding("error", "size", sample_id, error.problem))
    return findings, decoded


def _describe(trace: image_files.Trace, image: np.ndarray) -> _Channel:
    lowest, highest, _, _ = cv2.minMaxLoc(image)
    mean, deviation = cv2.meanStdDev(image)
    saturated = np.count_nonzero(image == 255) / image.size if highest == 255 else 0.0
    return _Channel(
        trace.header,
        trace.mark,
        int(lowest),
        int(highest),
        mean.item(),
        deviation.item(),
        saturated,
        zlib.crc32(image),
    )


def _doubts(image: _Channel) -> Iterable[tuple[str, str]]:
    if image.constant:
        yield "constant", f"has the value {image.lowest} everywhere"
    elif image.header.bits == 16 and image.highest < NARROW_BELOW:
        yield (
            "narrow",
            f"has 16 bits and uses {image.highest + 1} of 256 grey levels after scaling; declare "
            "its true maximum in the label table's column maximum",
        )
    elif image.highest < EMPTY_BELOW:
        yield "empty", f"is nearly black: its brightest value is {image.highest} of 255"
    if image.saturated > SATURATED_SHARE and not image.constant:
        yield "saturated", f"has {image.saturated:.0%} of its pixels at 255"


def _unexpected_kinds(
    table: LabelTable, channels: list[list[_Channel | None]]
) -> Iterable[Finding]:
    """Samples whose size, depth, mode or format isn't that of most samples of their source."""
    by_source: dict[str, list[tuple[str, Header]]] = {}
    for row, sample in enumerate(channels):
        headers = {channel.header for channel in sample if channel}
        by_source.setdefault(table.source(row), []).extend(
            (table.ids[row], header) for header in headers
        )
    for source, found in by_source.items():
        if not found:  # no image of this source could be decoded
            continue
        sizes = Counter((header.height, header.width) for _, header in found)
        modes = Counter((header.bits, header.tinted, header.format) for _, header in found)
        size, mode = sizes.most_common(1)[0][0], modes.most_common(1)[0][0]
        full_size = ACQUISITION_SIZES.issuperset(size)
        where = f"of source {source}" if source else "of the dataset"
        for sample_id, header in found:
            shape = (header.height, header.width)
            if shape != size and not (full_size and ACQUISITION_SIZES.issuperset(shape)):
                text = f"Sample {sample_id} is {header}; most {where} are {size[1]}×{size[0]}."
                yield Finding("warning", "size", sample_id, text)
            if (header.bits, header.tinted, header.format) != mode:
                usual = Header(mode[2], size[1], size[0], mode[0], mode[1])
                text = f"Sample {sample_id} is {header}; most {where} are {usual}."
                yield Finding("warning", "mode", sample_id, text)


def _duplicates(ids: tuple[str, ...], channels: list[list[_Channel | None]]) -> Iterable[Finding]:
    """Samples with the pixels of an earlier one; single images with those of an earlier one."""
    samples: dict[tuple[Any, ...], str] = {}
    images: dict[tuple[Any, ...], tuple[str, str]] = {}
    for sample_id, sample in zip(ids, channels, strict=True):
        if all(sample) and not all(channel.constant for channel in sample):
            first = samples.setdefault(tuple(c.identity for c in sample), sample_id)
            if first != sample_id:
                text = f"Sample {sample_id} has the same pixels as {first} in all channels."
                yield Finding("warning", "duplicate", sample_id, text)
                continue
        for name, channel in zip(CHANNELS, sample, strict=True):
            if channel is None or channel.constant:
                continue
            first_id, first_name = images.setdefault(channel.identity, (sample_id, name))
            if (first_id, first_name) != (sample_id, name):
                text = (
                    f"The {name} image of {sample_id} has the same pixels as the {first_name} "
                    f"image of {first_id}."
                )
                yield Finding("warning", "duplicate", sample_id, text)


def _source_facts(
    table: LabelTable, multi_hot: np.ndarray, channels: list[list[_Channel | None]]
) -> dict[str, dict[str, Any]]:
    facts = {}
    names = np.array(table.sources or ["all"] * len(table.ids))
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        brightness = [
            _brightness([channels[row][position] for row in rows])
            for position in range(len(CHANNELS))
        ]
        facts[str(name)] = {
            "samples": len(rows),
            "labels_a_sample": float(multi_hot[rows].sum(axis=1).mean()),
            "mean": [mean for mean, _ in brightness],
            "deviation": [deviation for _, deviation in brightness],
        }
    return facts


def _brightness(images: list[_Channel | None]) -> tuple[float, float] | tuple[None, None]:
    """Mean and deviation over all pixels of images of equal weight, on a scale from 0 to 1."""
    present = [image for image in images if image]
    if not present:
        return None, None
    means = np.array([image.mean for image in present]) / 255
    variances = np.square([image.deviation / 255 for image in present])
    deviation = np.sqrt(variances.mean() + means.var())
    return float(means.mean()), float(deviation)
