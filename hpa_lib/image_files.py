"""Read one image file as one channel: what is accepted, and how it becomes eight bits.

Accepted are greyscale PNG and TIFF of 8 or 16 bits, greyscale JPEG, and JPEG tinted in the
stain's colour as the Human Protein Atlas serves its version 18. What a file claims to be is
read from its header and checked before anything is decoded.
"""

import io
import os
import struct
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from hpa_lib import files, png_unpacking
from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS

FORMATS: dict[str, str] = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
}
"""File name endings that are read, with their format."""

MOST_PIXELS = 2**26
"""Images that declare more pixels than 8192×8192 are refused before they are decoded."""

LARGEST_FILE = 2**30
"""Files of more bytes are refused before they are read."""

FULL_RANGE_16_BIT = 65_535
"""Value of a 16-bit image that becomes 255, where the dataset declares no other maximum."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = struct.Struct(">8s4x4sIIBB")  # signature, IHDR: width, height, bit depth, colour type
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
# The end of a PNG: Adler-32 of the whole pixel stream, CRC-32 of the last data chunk, IEND chunk.
_PNG_TAIL_BYTES = 4 + 4 + len(_PNG_END)
_JPEG_END = b"\xff\xd9"
_OTHER_TAIL_BYTES = 4096
_HEAD_SIGNATURES = {
    "PNG": (_PNG_SIGNATURE,),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG": (b"\xff\xd8\xff",),
}
_PNG_GREYSCALE = 0
_TIFF_PHOTOMETRIC, _TIFF_WHITE_IS_ZERO = 262, 0

_TIFF_SPANS = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles
_PLANE_NAMES = ("blue", "green", "red")  # in OpenCV's order
_STAIN_PLANES = {"red": (2,), "green": (1,), "blue": (0,), "yellow": (1, 2)}


@dataclass(frozen=True)
class Header:
    """What an image file declares about itself.

    Attributes:
        format: One of the values of `FORMATS`.
        width: Pixels a row.
        height: Pixels a column.
        bits: Bits a value, 8 or 16.
        tinted: The image has three colour planes, one stain's tint.
    """

    format: str
    width: int
    height: int
    bits: int
    tinted: bool

    def __str__(self) -> str:
        mode = "tinted" if self.tinted else "greyscale"
        return f"{self.width}×{self.height} {self.bits}-bit {mode} {self.format}"


@dataclass(frozen=True)
class Trace:
    """What `inspect` learns of a file without decoding it.

    Attributes:
        header: What the file declares.
        mark: What enters the dataset's fingerprint: the file's size, and for a PNG its last 20
            bytes, which hold a checksum of all pixels; for TIFF and JPEG the SHA-256 of the
            last 4096 bytes. A change of pixels before those bytes that leaves the size of a
            TIFF or JPEG as it is isn't seen.
    """

    header: Header
    mark: bytes


def inspect(path: Path | str) -> Trace:
    """Read header, size and end of an image file.

    Raises:
        HpaError: If it is missing, can't be read, isn't of the format that its name says, is
            truncated, declares too many pixels, or is of a kind that isn't accepted.
    """
    try:
        with files.open_bytes(path) as stream:
            return _inspect(stream, path)
    except OSError as error:
        raise _unopened(path, error) from error


def read_channel(path: Path, channel: str, maximum: int = FULL_RANGE_16_BIT) -> np.ndarray:
    """Read one channel of a sample from its file.

    An 8-bit greyscale image is taken as it is. A value v of a 16-bit image becomes
    round(255·v / `maximum`); with the full range that is v / 257, and nothing is cut off. Of a
    tinted JPEG the stain's own plane is taken: red, green or blue, and for yellow the mean of
    red and green.

    Args:
        path: The file; its ending, one of `FORMATS`, says the format.
        channel: One of `images.CHANNELS`.
        maximum: Value of a 16-bit image that becomes 255.

    Returns:
        Array of shape (height, width), dtype uint8.

    Raises:
        HpaError: If the file is missing, can't be decoded, is refused by `inspect`, holds a
            value above `maximum`, or is tinted in another stain's colour.
    """
    return decode(path, channel, maximum)[1]


def read_channels(
    paths: Sequence[Path],
    maximum: int = FULL_RANGE_16_BIT,
    workers: Executor | None = None,
    marks: Sequence[bytes] = (),
) -> list[np.ndarray]:
    """Read the four channels of a sample.

    Args:
        paths: Their files, in the order of `images.CHANNELS`.
        maximum: Value of 16-bit images that becomes 255.
        workers: Threads that decode the channels side by side; None: one after the other.
        marks: `Trace.mark` that each file must have; empty where they aren't known.

    Returns:
        Four arrays of shape (height, width), dtype uint8, in the order of `images.CHANNELS`.

    Raises:
        HpaError: As `read_channel`; also if the channels differ in size, or a file has another
            mark.
    """
    each = workers.map if workers else map
    traces, channels = zip(*each(decode, paths, CHANNELS, [maximum] * len(CHANNELS)), strict=True)
    refuse_different_shapes(paths[0], [image.shape for image in channels])
    for path, trace, mark in zip(paths, traces, marks, strict=False):
        if trace.mark != mark:
            raise HpaError(
                f"Image {path} has changed since its dataset was opened.",
                "Start again, and leave the data folder as it is meanwhile.",
            )
    return list(channels)


def read_sample(
    paths: Sequence[Path], maximum: int = FULL_RANGE_16_BIT, marks: Sequence[bytes] = ()
) -> np.ndarray:
    """Read a sample as `read_channels` does, as one array.

    Returns:
        Array of shape (height, width, 4), dtype uint8, in the order of `images.CHANNELS`.
    """
    return cv2.merge(read_channels(paths, maximum, marks=marks))


def refuse_different_shapes(first: Path, shapes: Sequence[tuple[int, ...]]) -> None:
    """Refuse channels of one sample that differ in size.

    Raises:
        HpaError: Naming the file of the first channel and each channel's (height, width).
    """
    if len(set(shapes)) > 1:
        raise HpaError(
            f"The channels of the sample of {first} differ in size: "
            f"{dict(zip(CHANNELS, shapes, strict=True))}.",
            "All four channels of a sample must show the same field.",
        )


def decode(path: Path, channel: str, maximum: int = FULL_RANGE_16_BIT) -> tuple[Trace, np.ndarray]:
    """Read one channel as `read_channel` does, and what `inspect` says, in one pass."""
    try:
        with files.open_bytes(path) as stream:
            trace = _inspect(stream, path)
            stream.seek(0)
            content = stream.read()
    except OSError as error:
        raise _unopened(path, error) from error
    header = trace.header
    if header.format == "PNG" and not png_unpacking.is_whole(content):
        raise _damaged(path)
    if header.format == "PNG":
        row_bytes = 1 + header.width * header.bits // 8
        content = png_unpacking.stored(content, header.height * row_bytes) or content
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise _damaged(path)
    if image.shape[:2] != (header.height, header.width):
        raise HpaError(
            f"Image {path} declares {header.width}×{header.height} pixels and decodes to "
            f"{image.shape[1]}×{image.shape[0]}.",
            "Download or copy the file again.",
        )
    if (image.ndim == 3) != header.tinted:
        raise _unsuitable(path, f"a {header} with transparency or further planes")
    if header.tinted:
        image = _stain_plane(image, path, channel)
    elif header.bits == 16:
        image = _to_8_bits(image, path, maximum)
    return trace, image


def _inspect(stream: BinaryIO, path: Path | str) -> Trace:
    expected = FORMATS.get(os.path.splitext(path)[1])  # noqa: PTH122
    size = stream.seek(0, io.SEEK_END)
    if size > LARGEST_FILE:
        raise HpaError(
            f"Image {path} has {size:,} bytes; at most {LARGEST_FILE:,} are read.",
            "Store the image in a smaller file.",
        )
    stream.seek(0)
    head = stream.read(_PNG_HEAD.size)
    if expected is None or not head.startswith(_HEAD_SIGNATURES[expected]):
        raise HpaError(
            f"Image {path} isn't a {expected or 'known image'} file.",
            "Files hold what their ending says: .png, .tif, .tiff, .jpg or .jpeg.",
        )
    if expected == "PNG":
        header = _png_header(head, path)
    else:
        header = _pillow_header(stream, path, expected, size)
    if header.width * header.height > MOST_PIXELS:
        raise HpaError(
            f"Image {path} declares {header.width}×{header.height} pixels; at most "
            f"{MOST_PIXELS:,} are decoded.",
            "Leave the sample out, or store the image in its true size.",
        )
    tail_bytes = _PNG_TAIL_BYTES if expected == "PNG" else _OTHER_TAIL_BYTES
    stream.seek(max(0, size - tail_bytes))
    tail = stream.read(tail_bytes)
    ends = {"PNG": tail.endswith(_PNG_END), "JPEG": tail.rstrip(b"\0").endswith(_JPEG_END)}
    if not ends.get(expected, True):  # of a TIFF the header's directory tells
        raise _truncated(path, size)
    mark = tail if expected == "PNG" else bytes.fromhex(files.digest_bytes(tail))
    return Trace(header, size.to_bytes(8, "little") + mark)


def _png_header(head: bytes, path: Path | str) -> Header:
    if len(head) < _PNG_HEAD.size:
        raise _truncated(path, len(head))
    _, kind, width, height, bits, colours = _PNG_HEAD.unpack(head)
    if kind != b"IHDR" or not width or not height:
        raise HpaError(
            f"Image {path} can't be decoded: its PNG header is damaged.",
            "Download or copy the file again.",
        )
    if colours != _PNG_GREYSCALE or bits not in (8, 16):
        raise _unsuitable(path, f"a PNG of colour type {colours} with {bits} bits a value")
    return Header("PNG", width, height, bits, tinted=False)


def _pillow_header(stream: BinaryIO, path: Path | str, expected: str, size: int) -> Header:
    stream.seek(0)
    try:
        with Image.open(stream, formats=(expected,)) as image:
            mode, (width, height) = image.mode, image.size
            pages = getattr(image, "n_frames", 1) if expected == "TIFF" else 1
            tags = image.tag_v2 if expected == "TIFF" else {}
            white_is_zero = tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO
            data_end = max(
                (
                    int(offset) + int(count)
                    for spans in _TIFF_SPANS
                    for offset, count in zip(*(tags.get(tag, ()) for tag in spans), strict=False)
                ),
                default=0,
            )
    except Image.DecompressionBombError as error:
        raise HpaError(
            f"Image {path} declares too many pixels: {error}",
            "Leave the sample out, or store the image in its true size.",
        ) from error
    except Exception as error:  # Pillow lets errors of many kinds through
        raise HpaError(
            f"Image {path} can't be decoded: its header is damaged or cut off ({error}).",
            "Download or copy the file again.",
        ) from error
    if data_end > size:
        raise _truncated(path, size)
    if pages > 1:
        raise _unsuitable(path, f"a TIFF with {pages} pages")
    if white_is_zero:
        raise _unsuitable(path, "a TIFF in which zero means white")
    if mode == "L":
        return Header(expected, width, height, 8, tinted=False)
    if mode.startswith("I;16") and expected == "TIFF":
        return Header(expected, width, height, 16, tinted=False)
    if mode == "RGB" and expected == "JPEG":
        return Header(expected, width, height, 8, tinted=True)
    raise _unsuitable(path, f"a {expected} of mode {mode}")


def _to_8_bits(image: np.ndarray, path: Path, maximum: int) -> np.ndarray:
    brightest = int(image.max())
    if brightest > maximum:
        raise HpaError(
            f"Image {path} holds the value {brightest}; its row declares the maximum {maximum}.",
            "Give the true maximum in the label table's column maximum, or drop the column.",
        )
    return cv2.convertScaleAbs(image, alpha=255 / maximum)


def _stain_plane(image: np.ndarray, path: Path, channel: str) -> np.ndarray:
    means = cv2.mean(image)[:3]
    planes = _STAIN_PLANES[channel]
    # A grey picture stored with three planes passes: each of its planes is the stain's.
    if min(means[plane] for plane in planes) + 1 < max(means) / 2:
        shown = ", ".join(
            f"{name} {mean:.1f}" for name, mean in zip(_PLANE_NAMES, means, strict=True)
        )
        raise HpaError(
            f"Image {path} isn't tinted {channel}: its planes have the means {shown}.",
            "Check that the file shows the stain that its name says.",
        )
    if channel == "yellow":
        return cv2.addWeighted(image[..., 1], 0.5, image[..., 2], 0.5, 0)
    return np.ascontiguousarray(image[..., planes[0]])


def _unopened(path: Path | str, error: OSError) -> HpaError:
    return HpaError(
        f"Image {path} can't be opened ({error.strerror or error}).",
        "Check that the file is there, and its rights.",
    )


def _damaged(path: Path | str) -> HpaError:
    return HpaError(
        f"Image {path} can't be decoded: it is damaged.", "Download or copy the file again."
    )


def _truncated(path: Path | str, size: int) -> HpaError:
    return HpaError(
        f"Image {path} is truncated at {size} bytes.", "Download or copy the file again."
    )


def _unsuitable(path: Path | str, found: str) -> HpaError:
    return HpaError(
        f"Image {path} is {found}.",
        "Channels are greyscale PNG or TIFF of 8 or 16 bits, or JPEG in grey or the stain's tint.",
    )
