import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from hpa_lib import image_files
from hpa_lib.errors import HpaError

GREY = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65_536, (30, 40), dtype=np.uint16)
READERS = (image_files.inspect, lambda path: image_files.read_channel(path, "green"))
"""Both ways to open a file refuse the same files."""


def refusals(path):
    """Messages of `inspect` and `read_channel`."""
    found = []
    for reader in READERS:
        with pytest.raises(HpaError) as caught:
            reader(path)
        assert str(path) in caught.value.problem
        assert caught.value.remedy.endswith(".")
        found.append(caught.value.problem)
    return found


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tinted(path, channel, brightness=60):
    """Write a smooth picture as the Atlas tints it; returns the stain's values."""
    values = np.tile(np.linspace(0, 2 * brightness, 64), (64, 1)).astype(np.uint8)
    planes = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
    picture = values[..., None] * np.array(planes[channel], np.uint8)
    Image.fromarray(picture).save(path, quality=95, subsampling=0)
    return values


@pytest.mark.parametrize("ending", [".png", ".tif", ".tiff"])
def test_8_bit_images_are_taken_as_they_are(tmp_path, ending):
    path = tmp_path / f"image{ending}"
    Image.fromarray(GREY).save(path)
    np.testing.assert_array_equal(image_files.read_channel(path, "red"), GREY)


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("maximum", [65_535, 4095])
def test_16_bit_images_are_scaled_by_the_declared_maximum(tmp_path, ending, maximum):
    path = tmp_path / f"image{ending}"
    values = np.minimum(DEEP, maximum)
    values[0, :2] = 0, maximum
    assert cv2.imwrite(str(path), values)
    found = image_files.read_channel(path, "red", maximum)
    assert found.dtype == np.uint8
    assert found[0, :2].tolist() == [0, 255]
    assert np.abs(found - values / maximum * 255).max() <= 0.5 + 1e-3


def test_value_above_the_declared_maximum_is_not_cut_off(tmp_path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((5, 5), 4096, np.uint16))
    with pytest.raises(HpaError, match=r"value 4096.*maximum 4095"):
        image_files.read_channel(path, "red", 4095)


@pytest.mark.parametrize("channel", ["red", "green", "blue", "yellow"])
def test_tinted_jpeg_gives_the_stain_with_its_own_brightness(tmp_path, channel):
    path = tmp_path / "image.jpg"
    values = tinted(path, channel)
    found = image_files.read_channel(path, channel)
    assert found.shape == values.shape
    assert np.abs(found.astype(int) - values).mean() < 1.5


def test_tinted_jpeg_of_another_stain_is_refused(tmp_path):
    path = tmp_path / "image.jpg"
    tinted(path, "red")
    for channel in ("green", "blue", "yellow"):
        with pytest.raises(HpaError, match=f"isn't tinted {channel}"):
            image_files.read_channel(path, channel)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_jpeg(tmp_path, mode):
    path = tmp_path / "image.jpeg"
    Image.fromarray(np.tile(np.arange(0, 240, 4, dtype=np.uint8), (60, 1))).convert(mode).save(path)
    found = image_files.read_channel(path, "blue").astype(int)
    assert np.abs(found - np.arange(0, 240, 4)).mean() < 2


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 a JPEG", b"<html>403</html>" * 50])
def test_file_that_is_not_what_its_ending_says(tmp_path, content):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    assert all("isn't a PNG file" in problem for problem in refusals(path))


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif"])
def test_truncated_file(tmp_path, ending):
    path = tmp_path / f"image{ending}"
    Image.fromarray(GREY).save(path)  # Pillow puts a TIFF's directory first
    content = path.read_bytes()
    for kept in (len(content) // 2, len(content) - 3):
        path.write_bytes(content[:kept])
        assert all(f"truncated at {kept} bytes" in problem for problem in refusals(path))


@pytest.mark.parametrize("damage", ["cut in the middle", "one byte"])
def test_damage_inside_a_png_is_found_on_decoding(tmp_path, damage):
    path = tmp_path / "image.png"
    Image.fromarray(GREY).save(path)
    content = path.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    path.write_bytes(changed if damage == "one byte" else content[:middle] + content[-12:])
    with pytest.raises(HpaError, match="can't be decoded"):
        image_files.read_channel(path, "red")


@pytest.mark.parametrize(
    ("ending", "mode", "found"),
    [
        (".png", "RGB", "colour type 2"),
        (".png", "P", "colour type 3"),
        (".png", "LA", "colour type 4"),
        (".png", "1", "1 bits"),
        (".tif", "RGB", "mode RGB"),
        (".tif", "F", "mode F"),
        (".jpg", "CMYK", "mode CMYK"),
    ],
)
def test_images_of_another_mode(tmp_path, ending, mode, found):
    path = tmp_path / f"image{ending}"
    Image.fromarray(GREY).convert(mode).save(path)
    assert all(found in problem for problem in refusals(path))


def test_tiff_of_several_pages_loses_none_of_them_silently(tmp_path):
    path = tmp_path / "image.tif"
    Image.fromarray(GREY).save(path, save_all=True, append_images=[Image.fromarray(GREY)])
    assert all("2 pages" in problem for problem in refusals(path))


def test_png_that_declares_an_enormous_image_is_refused_before_decoding(tmp_path, monkeypatch):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000))
    path = tmp_path / "bomb.png"
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
    monkeypatch.setattr(cv2, "imread", lambda *_: pytest.fail("decoded"))
    assert all("declares 100000×100000 pixels" in problem for problem in refusals(path))


@pytest.mark.parametrize(("ending", "side"), [(".tif", 9000), (".tif", 60_000), (".jpg", 60_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_other_formats_that_declare_an_enormous_image(tmp_path, monkeypatch, ending, side):
    buffer = io.BytesIO()
    if ending == ".tif":
        Image.fromarray(GREY).save(buffer, "TIFF", tiffinfo={258: 8})
        content = bytearray(buffer.getvalue())
        count = struct.unpack_from("<H", content, 8)[0]
        for entry in range(10, 10 + 12 * count, 12):
            tag, kind = struct.unpack_from("<HH", content, entry)
            if tag in (256, 257):
                struct.pack_into("<H" if kind == 3 else "<I", content, entry + 8, side)
    else:
        Image.fromarray(GREY).save(buffer, "JPEG")
        content = bytearray(buffer.getvalue())
        frame = content.index(b"\xff\xc0")
        struct.pack_into(">HH", content, frame + 5, side, side)
    path = tmp_path / f"bomb{ending}"
    path.write_bytes(content)
    monkeypatch.setattr(cv2, "imread", lambda *_: pytest.fail("decoded"))
    assert all("pixels" in problem and "declares" in problem for problem in refusals(path))


def test_missing_file_and_folder(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("absent.png", "folder.png"):
        assert all("can't be opened" in problem for problem in refusals(tmp_path / name))


@pytest.mark.parametrize("ending", [".tif", ".jpg"])
def test_mark_sees_a_changed_end_and_a_changed_size(tmp_path, ending):
    marks = set()
    for changed in (GREY, np.concatenate((GREY[:-1], 255 - GREY[-1:])), GREY[:-1]):
        path = tmp_path / f"image{ending}"
        Image.fromarray(changed).save(path)
        marks.add(image_files.inspect(path).mark)
    assert len(marks) == 3
