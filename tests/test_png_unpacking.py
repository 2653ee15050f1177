import io
import itertools
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from hpa_lib import png_unpacking

HEIGHT, WIDTH = 37, 53


def chunk(name, content):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(rows, bits=8, interlaced=0, pieces=1, between=b""):
    """A greyscale PNG of these filtered rows, its pixels in so many chunks."""
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, interlaced)
    packed = zlib.compress(rows)
    cuts = np.linspace(0, len(packed), pieces + 1).astype(int)
    parts = [chunk(b"IDAT", packed[start:end]) for start, end in itertools.pairwise(cuts)]
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), between.join(parts), chunk(b"IEND", b""))
    )


def filtered_rows(bits, seed=0):
    """Random bytes, each row with one of the five prediction filters."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 256, (HEIGHT, 1 + WIDTH * bits // 8), np.uint8)
    rows[:, 0] = np.arange(HEIGHT) % 5
    return rows.tobytes()


def decoded(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pieces", [1, 5])
def test_the_stored_image_decodes_to_the_same(bits, pieces):
    rows = filtered_rows(bits)
    content = png(rows, bits, pieces=pieces)
    made = png_unpacking.stored(content, len(rows))
    assert len(made) > len(rows)
    assert decoded(made).dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(decoded(made), decoded(content))


def test_other_chunks_stay(tmp_path):
    image = Image.fromarray(np.full((HEIGHT, WIDTH), 7, np.uint8))
    stream = io.BytesIO()
    image.save(stream, "PNG", dpi=(300, 300), transparency=7)
    content = stream.getvalue()
    made = png_unpacking.stored(content, HEIGHT * (1 + WIDTH))
    for name in (b"pHYs", b"tRNS"):
        assert name in made
    np.testing.assert_array_equal(decoded(made), decoded(content))


def spoiled(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def with_other_checksum(rows):
    """A PNG whose chunks are sound, and whose pixel stream isn't: its Adler-32 is wrong."""
    packed = spoiled(zlib.compress(rows), -1 % len(zlib.compress(rows)))
    whole = png(rows)
    return whole.replace(chunk(b"IDAT", zlib.compress(rows)), chunk(b"IDAT", packed))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda rows: spoiled(png(rows), 60), id="a flipped bit"),
        pytest.param(with_other_checksum, id="a wrong checksum of the pixels"),
        pytest.param(lambda rows: png(rows)[:-40], id="cut off"),
        pytest.param(lambda rows: png(rows)[:8], id="nothing but the signature"),
        pytest.param(lambda rows: png(rows[:-9]), id="too few pixels"),
        pytest.param(lambda rows: png(rows + bytes(1)), id="too many pixels"),
        pytest.param(lambda rows: png(rows + bytes(10**8)), id="expands enormously"),
        pytest.param(
            lambda rows: png(rows, pieces=2, between=chunk(b"tEXt", b"a\0b")),
            id="pixels' chunks apart",
        ),
    ],
)
def test_what_is_not_sure_is_left_to_the_decoder(content):
    rows = filtered_rows(8)
    assert png_unpacking.stored(content(rows), len(rows)) is None
