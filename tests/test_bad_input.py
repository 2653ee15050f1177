"""Bad input, as one table a kind: what is given, and words that the refusal must contain.

Each case ends within seconds with one `HpaError` that names the file or the parameter and says what
to do, and leaves every folder as it was. Unusual input that is legal is read with the right result.
Property tests over labels, tables, parameters and file names follow at the end.
"""
# ruff: noqa: E501 - one case a line

import io
import json
import os
import pickle
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hpa_lib import (
    archives,
    dataset,
    files,
    image_files,
    label_tables,
    labels,
    layouts,
    parameters,
    paths,
    predictions,
    run_digests,
    runs,
    splits,
    submissions,
)
from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS

pytestmark = pytest.mark.timeout(60)


def cases(table):
    """A table's rows as parameters of a test; the first field is the name."""
    return pytest.mark.parametrize(
        ("given", "words"), [pytest.param(*row[1:], id=row[0]) for row in table]
    )


def snapshot(*folders):
    """Every file below some folders, with its kind, size and content."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            status = path.lstat()
            small = stat.S_ISREG(status.st_mode) and status.st_size < 10**6
            found[path] = status.st_mode, status.st_size, path.read_bytes() if small else b""
    return found


@pytest.fixture
def refusal(tmp_path):
    """Function that calls something, and gives its refusal; nothing may have been written."""

    def refuse(action, *words, allowed=()):
        places = tmp_path, paths.data_folder().parent
        before = snapshot(*places)
        with pytest.raises(HpaError) as caught:
            action()
        after = snapshot(*places)
        assert {path for path in after if path not in before} <= set(allowed)
        assert {path: after.get(path) for path in before} == before
        for word in words:
            assert word in caught.value.problem
        assert len(caught.value.problem) < 1500
        assert caught.value.remedy.strip()[-1] in ".)?"
        assert "\n" not in caught.value.problem or "YAML" in caught.value.problem
        return caught.value

    return refuse


# --- What can stand in place of any file -----------------------------------------------------


def absent(path):
    return path


def folder(path):
    path.mkdir()


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def circle(path):
    path.symlink_to(path)


def enormous(path):
    with path.open("wb") as stream:
        stream.truncate(2**40)


NO_FILES = [
    ("missing", absent, "No such file"),
    ("folder", folder, "directory"),
    ("pipe", pipe, "it is a pipe or a device"),
    ("device", device, "it is a pipe or a device"),
    ("link to itself", circle, "symbolic links"),
]
NO_TEXTS = [*NO_FILES, ("terabyte", enormous, "1,099,511,627,776 bytes")]

READERS = {
    "label table": ("train.csv", label_tables.read),
    "leave_out": ("ids.txt", lambda path: label_tables.parse_leave_out(str(path))),
    "preset": ("preset.yaml", parameters.read_preset),
    "predictions": ("predictions.csv", predictions.read),
    "sample submission": ("sample_submission.csv", lambda path: submissions.read_order(path, ())),
    "split": ("split.csv", lambda path: splits.read(path, four_samples(path.parent))),
    "metrics": ("metrics.json", lambda path: runs.read_metrics(path.parent)),
    "manifest": ("manifest.json", lambda path: runs.read_manifest(path.parent)),
}


@pytest.mark.parametrize("reader", READERS)
@cases(NO_TEXTS)
def test_what_is_no_text_file(tmp_path, refusal, reader, given, words):
    name, read = READERS[reader]
    given(tmp_path / name)
    refusal(lambda: read(tmp_path / name), name, words)


@cases([*NO_FILES, ("terabyte", enormous, "1,099,511,627,776 bytes")])
def test_what_is_no_image_file(tmp_path, refusal, given, words):
    path = tmp_path / "image.png"
    given(path)
    refusal(lambda: image_files.inspect(path), str(path), words)
    refusal(lambda: image_files.read_channel(path, "red"), str(path), words)


@cases([*NO_FILES, ("empty", Path.touch, "isn't a whole zip file")])
def test_what_is_no_archive_file(tmp_path, refusal, given, words):
    path = tmp_path / "train.zip"
    given(path)
    refusal(lambda: unpack(tmp_path, path), str(path), words)


# --- Label tables ----------------------------------------------------------------------------

REFUSED_TABLES = [
    ("latin-1", "Id,Target\nzellä,0\n".encode("latin-1"), "isn't UTF-8"),
    ("utf-16 with a mark", "Id,Target\na,0\n".encode("utf-16"), "isn't UTF-8"),
    ("utf-16 without", "Id,Target\na,0\n".encode("utf-16-le"), "needs one column Id"),
    ("semicolons", b"Id;Target\na;0\n", "needs one column Id; it has ['Id;Target']"),
    ("tabs", b"Id\tTarget\na\t0\n", "needs one column Id; it has ['Id\\tTarget']"),
    ("empty", b"", "needs one column Id; it has []"),
    ("blank lines", b"\n\n  \n", "needs one column Id; it has []"),
    ("header alone", b"Id,Target\n", "holds no sample"),
    ("no header", b"a,0\nb,1\n", "needs one column Id; it has ['a', '0']"),
    ("no Target", b"Id,Predicted\na,0\n", "needs one column Target"),
    ("Id in small letters", b"id,Target\na,0\n", "needs one column Id"),
    ("two columns Id", b"Id,Target,Id\na,0,a\n", "needs one column Id"),
    ("two columns source", b"Id,Target,source,source\na,0,b,c\n", "the column source more than"),
    ("an Id twice", b"Id,Target\na,0\na,1\n", "line 3, Id 'a': The Id is repeated"),
    ("a field of 200,000", b"Id,Target\na," + b"1" * 200_000, "line 2, can't be parsed (field"),
    ("an open quote", b'Id,Target\na,"0\n', "line 2, can't be parsed"),
    ("text after a quote", b'Id,Target\na,"0"1\n', "line 2, can't be parsed"),
    ("label 28", b"Id,Target\na,28\n", "line 2, Id 'a': Target '28'"),
    ("label -1", b"Id,Target\na,-1\n", "Target '-1'"),
    ("label 1.0", b"Id,Target\na,0 1.0\n", "holds '1.0'"),
    ("label 1e1", b"Id,Target\na,1e1\n", "holds '1e1'"),
    ("a name as label", b"Id,Target\na,Cytosol\n", "holds 'Cytosol'"),
    ("nan as label", b"Id,Target\na,nan\n", "holds 'nan'"),
    ("a label of 5,000 digits", b"Id,Target\na," + b"1" * 5000, "which is no class index"),
    ("an Arabic digit", "Id,Target\na,٣\n".encode(), "holds '٣'"),
    ("a label twice", b"Id,Target\na,3 3\n", "names a class twice"),
    ("labels with commas", b"Id,Target\na,0,1\n", "The row has 3 fields, and the header 2"),
    ("too few fields", b"Id,Target\na\n", "The row has 1 fields, and the header 2"),
    ("a zero byte in an Id", b"Id,Target\na\0b,0\n", r"Id 'a\x00b'"),
    ("a zero byte in a label", b"Id,Target\na,0\0\n", r"'0\x00'"),
    ("an Id that climbs out", b"Id,Target\n../a,0\n", "Id '../a'"),
    ("an absolute Id", b"Id,Target\n/etc/a,0\n", "Id '/etc/a'"),
    ("a Windows path", b"Id,Target\nC:\\a,0\n", r"Id 'C:\\a'"),
    ("a formula", b"Id,Target\n=1+1,0\n", "Id '=1+1'"),
    ("no Id", b"Id,Target\n,0\n", "Id ''"),
    ("a source that climbs out", b"Id,Target,source\na,0,../b\n", "The source '../b'"),
    ("maximum 0", b"Id,Target,maximum\na,0,0\n", "The maximum '0'"),
    ("maximum 4095.0", b"Id,Target,maximum\na,0,4095.0\n", "The maximum '4095.0'"),
    ("a maximum of 5,000 digits", b"Id,Target,maximum\na,0," + b"9" * 5000, "The maximum '999"),
    ("JSON", b'{"Id": "a", "Target": "0"}', "needs one column Id"),
    ("an image", cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes(), "isn't UTF-8"),
]

LEGAL_TABLES = [
    ("byte-order mark", b"\xef\xbb\xbfId,Target\na,16 0\n", (0, 16)),
    ("CRLF", b"Id,Target\r\na,16 0\r\n", (0, 16)),
    ("CR", b"Id,Target\ra,16 0\r", (0, 16)),
    ("quotes", b'"Id","Target"\n"a","16 0"\n', (0, 16)),
    ("lines in quotes", b'Id,Target,note\na,16 0,"x\r\ny, ""z"""\n', (0, 16)),
    ("other order", b"Target,Id\n16 0,a\n", (0, 16)),
    ("no line feed at the end", b"Id,Target\na,16 0", (0, 16)),
    ("blank lines", b"\n\nId,Target\n\na,16 0\n\n", (0, 16)),
    ("white space", b"Id,Target\na,  16\t0 \n", (0, 16)),
    ("leading zeros", b"Id,Target\na,016 00\n", (0, 16)),
    ("no label", b"Id,Target\na,\n", ()),
]


@cases(REFUSED_TABLES)
def test_label_table_that_is_refused(tmp_path, refusal, given, words):
    path = tmp_path / "train.csv"
    path.write_bytes(given)
    refusal(lambda: label_tables.read(path), str(path), words)


@cases(LEGAL_TABLES)
def test_label_table_that_is_legal(tmp_path, given, words):
    path = tmp_path / "train.csv"
    path.write_bytes(given)
    table = label_tables.read(path)
    assert (table.ids, table.label_sets) == (("a",), (words,))


# --- Images ----------------------------------------------------------------------------------

GREY = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)


def saved(ending, mode=None, image=GREY, **options):
    """Bytes of an image as Pillow writes it."""
    picture = Image.fromarray(image)
    buffer = io.BytesIO()
    kind = {".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG", ".gif": "GIF", ".bmp": "BMP"}[ending]
    (picture.convert(mode) if mode else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, content):
    size, checksum = struct.pack(">I", len(content)), zlib.crc32(kind + content)
    return size + kind + content + struct.pack(">I", checksum)


def png(width, height, rows, bits=8, colours=0):
    """A PNG that declares one thing and holds another."""
    head = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :]


def widened(content, tag, value):
    """A little-endian TIFF that declares another value in a tag of its only directory."""
    (directory,) = struct.unpack_from("<I", content, 4)
    changed = bytearray(content)
    (count,) = struct.unpack_from("<H", content, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry)[0] == tag:
            struct.pack_into("<HII", changed, entry + 2, 4, 1, value)
    return bytes(changed)


PNG, TIFF, JPEG = saved(".png"), saved(".tif"), saved(".jpg")
TWO = {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]}

REFUSED_IMAGES = [
    ("empty", (".png", b""), "isn't a PNG file"),
    ("signature alone", (".png", PNG[:8]), "is truncated at 8 bytes"),
    ("cut in its pixels", (".png", PNG[: len(PNG) // 2]), "is truncated"),
    ("cut by one byte", (".png", PNG[:-1]), "is truncated"),
    ("bytes after the end", (".png", PNG + b"more"), "is truncated"),
    ("TIFF cut in its pixels", (".tif", TIFF[: len(TIFF) // 2]), "truncated"),
    ("TIFF header alone", (".tif", TIFF[:8]), "its header is damaged or cut off"),
    ("JPEG cut", (".jpg", JPEG[: len(JPEG) // 2]), "truncated"),
    ("text", (".png", b"Not found"), "isn't a PNG file"),
    ("web page", (".jpg", b"<html>404</html>"), "isn't a JPEG file"),
    ("JPEG named PNG", (".png", JPEG), "isn't a PNG file"),
    ("PNG named TIFF", (".tif", PNG), "isn't a TIFF file"),
    ("GIF named PNG", (".png", saved(".gif")), "isn't a PNG file"),
    ("unknown ending", (".bmp", saved(".bmp")), "isn't a known image file"),
    ("ending in capitals", (".PNG", PNG), "isn't a known image file"),
    ("palette", (".png", saved(".png", "P")), "colour type 3"),
    ("RGB", (".png", saved(".png", "RGB")), "colour type 2"),
    ("RGBA", (".png", saved(".png", "RGBA")), "colour type 6"),
    ("grey with alpha", (".png", saved(".png", "LA")), "colour type 4"),
    ("1 bit", (".png", saved(".png", "1")), "with 1 bits"),
    ("CMYK", (".jpg", saved(".jpg", "CMYK")), "JPEG of mode CMYK"),
    ("RGB TIFF", (".tif", saved(".tif", "RGB")), "TIFF of mode RGB"),
    ("32-bit TIFF", (".tif", saved(".tif", "I")), "TIFF of mode I"),
    ("floating TIFF", (".tif", saved(".tif", "F")), "TIFF of mode F"),
    ("several pages", (".tif", saved(".tif", **TWO)), "a TIFF with 2 pages"),
    ("zero means white", (".tif", widened(TIFF, 262, 0)), "zero means white"),
    ("PNG of 60,000²", (".png", png(60_000, 60_000, b"")), "declares 60000×60000 pixels"),
    ("PNG of 2³¹ pixels a row", (".png", png(2**31 - 1, 1, b"")), "declares 2147483647×1"),
    ("TIFF of 100,000²", (".tif", widened(widened(TIFF, 256, 10**5), 257, 10**5)), "pixels"),
    ("no width", (".png", png(0, 5, b"")), "its PNG header is damaged"),
    ("3 bits a value", (".png", png(5, 5, b"", bits=3)), "with 3 bits a value"),
]

UNDECODABLE_IMAGES = [
    ("too few pixels", (".png", png(8, 8, b"\0" * 9)), "can't be decoded"),
    ("no pixels", (".png", png(8, 8, b"")), "can't be decoded"),
    ("a chunk of 4 GB", (".png", PNG[:33] + b"\xff" + PNG[34:]), "can't be decoded"),
    ("a changed pixel", (".png", flipped(PNG, len(PNG) // 2)), "can't be decoded"),
    ("red where green was expected", (".jpg", saved(".jpg", image=np.dstack((GREY, GREY * 0, GREY * 0)))), "isn't tinted green"),
]  # fmt: skip

LEGAL_IMAGES = [
    ("16 bit", ".png", cv2.imencode(".png", GREY.astype(np.uint16) * 257)[1].tobytes()),
    ("16-bit TIFF", ".tif", cv2.imencode(".tiff", GREY.astype(np.uint16) * 257)[1].tobytes()),
    ("a transparent value", ".png", saved(".png", transparency=5)),
    ("animated: its default picture", ".png", saved(".png", **TWO)),
    ("a text beside the pixels", ".png", PNG[:33] + chunk(b"tEXt", b"a\0b" * 99) + PNG[33:]),
    ("compressed TIFF", ".tif", saved(".tif", compression="tiff_lzw")),
    ("big TIFF", ".tif", saved(".tif", big_tiff=True)),
]


@cases(REFUSED_IMAGES)
def test_image_that_is_refused_by_its_header(tmp_path, refusal, monkeypatch, given, words):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    path = tmp_path / f"image{given[0]}"
    path.write_bytes(given[1])
    for read in (image_files.inspect, lambda path: image_files.read_channel(path, "green")):
        refusal(lambda read=read: read(path), str(path), words)


@cases(UNDECODABLE_IMAGES)
def test_image_that_is_refused_by_its_pixels(tmp_path, refusal, given, words):
    path = tmp_path / f"image{given[0]}"
    path.write_bytes(given[1])
    refusal(lambda: image_files.read_channel(path, "green"), str(path), words)


@cases(LEGAL_IMAGES)
def test_image_that_is_legal(tmp_path, given, words):
    path = tmp_path / f"image{given}"
    path.write_bytes(words)
    np.testing.assert_array_equal(image_files.read_channel(path, "green"), GREY)


# --- Data folders ----------------------------------------------------------------------------


def image(data, row=3, channel="green"):
    return data / "train" / f"sample-{row:02}_{channel}.png"


def replaced(change):
    """Spoil one image of a data folder: it is removed, and something else put in its place."""

    def spoil(data):
        path = image(data)
        path.unlink()
        change(path)

    return spoil


def linked(data, path):
    """Put a file outside of the data folder, and a link to it in its place."""
    outside = data.parent / f"outside-{path.name}"
    path.rename(outside)
    path.symlink_to(outside)


def smaller(data):
    cv2.imwrite(str(image(data)), GREY)


SPOILT_FOLDERS = [
    ("no folder", shutil.rmtree, ("data", "doesn't exist")),
    ("empty folder", lambda data: (shutil.rmtree(data), data.mkdir()), ("no label table",)),
    ("an archive alone", lambda data: (data / "train.csv").rename(data / "a.zip"), ("archives: a.zip",)),
    ("no table", lambda data: (data / "train.csv").unlink(), ("no label table",)),
    ("two tables", lambda data: (shutil.copy(data / "train.csv", data / "b.csv"), (data / "train.csv").rename(data / "a.csv")), ("several label tables: a.csv, b.csv",)),
    ("a table outside", lambda data: linked(data, data / "train.csv"), ("train.csv is a link that leads out",)),
    ("images outside", lambda data: linked(data, data / "train"), ("train is a link that leads out",)),
    ("an image outside", lambda data: linked(data, image(data)), ("sample-03_green.png is a link",)),
    ("an image missing", replaced(absent), ("1 of 96 image files are missing", "sample-03_green.png")),
    ("a folder as image", replaced(folder), ("sample-03_green.png can't be opened",)),
    ("a pipe as image", replaced(pipe), ("sample-03_green.png can't be opened",)),
    ("a device as image", replaced(device), ("sample-03_green.png is a link",)),
    ("a dangling link", replaced(lambda path: path.symlink_to("gone.png")), ("sample-03_green.png can't",)),
    ("an empty image", replaced(Path.touch), ("sample-03_green.png isn't a PNG file",)),
    ("two kinds", lambda data: image(data).with_suffix(".tif").write_bytes(TIFF), ("files of two kinds",)),
    ("two places", lambda data: shutil.copy(image(data), data), ("files of two kinds",)),
]  # fmt: skip


@cases(SPOILT_FOLDERS)
def test_data_folder_that_is_refused(tiny_dataset, refusal, given, words):
    given(tiny_dataset)
    refusal(lambda: dataset.load(tiny_dataset), str(tiny_dataset), *words)


def test_channels_of_different_sizes(tiny_dataset, refusal):
    smaller(tiny_dataset)
    opened = dataset.load(tiny_dataset)
    refusal(lambda: opened.read_sample(3), "sample-03_red.png differ in size", "(30, 40)")


@cases(
    [
        ("unknown home", "~nobody-here/data", "begins with a home folder that isn't known"),
        ("zero byte", "/tmp/a\0b", "doesn't exist"),
        ("name of 300 letters", "/tmp/" + "a" * 300, "doesn't exist"),
        ("a file", __file__, "isn't a folder"),
    ]
)
def test_name_of_a_data_folder_that_is_refused(refusal, given, words):
    for read in (dataset.load, dataset.load_images):
        message = refusal(lambda read=read: read(given)).problem.replace("images", "")
        assert words in message or "isn't a folder" in message


@cases(
    [
        ("unknown Id", "sample-99", "leave_out names the Id 'sample-99'"),
        ("every Id", ",".join(f"sample-{row:02}" for row in range(24)), "all 24 samples"),
        ("missing file", "absent.txt", "File absent.txt (parameter leave_out)"),
        ("missing table", "absent.csv", "File absent.csv (parameter leave_out)"),
    ]
)
def test_leave_out_that_is_refused(tiny_dataset, refusal, given, words):
    refusal(lambda: dataset.load(tiny_dataset, label_tables.parse_leave_out(given)), words)


# --- Parameters ------------------------------------------------------------------------------

STAGE = "{epochs: 1, learning_rate: 0.1}"
BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)

REFUSED_PRESETS = [
    ("unknown", "xyzzy: 1", "Parameter xyzzy is unknown"),
    ("misspelt", "batch_sise: 8", "batch_sise is unknown"),
    ("of a stage", "epochs: 3", "epochs is unknown"),
    ("text for a number", "batch_size: many", "batch_size received 'many' (str)"),
    ("number in quotes", "batch_size: '8'", "batch_size received '8' (str)"),
    ("true for a number", "batch_size: true", "batch_size received True (bool)"),
    ("number for true", "all_views: 1", "all_views received 1 (int)"),
    ("nothing", "batch_size:", "batch_size received None"),
    ("fraction", "batch_size: 2.5", "batch_size received 2.5"),
    ("negative", "batch_size: -1", "batch_size received -1"),
    ("too large", "seed: 2147483648", "seed received 2147483648"),
    ("nan", "gradient_clip: .nan", "gradient_clip received nan"),
    ("infinity", "gradient_clip: .inf", "gradient_clip received inf"),
    ("negative infinity", "mixup: -.inf", "mixup received -inf"),
    ("infinity in a stage", "stages: [{epochs: 1, learning_rate: .inf}]", "stage 1, learning_rate"),
    ("1e-3", "gradient_clip: 1e-3", "gradient_clip received '1e-3' (str)"),
    ("threshold without quotes", "threshold_rule: 0.5", "threshold_rule received 0.5 (float)"),
    ("not a choice", "composition: rgb", "composition received 'rgb'"),
    ("no stages", "stages: []", "stages received []"),
    ("a stage without epochs", "stages: [{learning_rate: 0.1}]", "epochs is missing"),
    ("a stage with more", "stages: [{epochs: 1, learning_rate: 0.1, x: 1}]", "stage 1, x"),
    ("a stage of no epochs", "stages: [{epochs: 0, learning_rate: 0.1}]", "stage 1, epochs"),
    ("a stage as text", "stages: [fast]", "stages, stage 1 received 'fast'"),
    ("stages as a mapping", f"stages: {STAGE}", "stages received {"),
    ("no weights", "weights: ''", "weights received ''"),
    ("an unknown split", "split: random", "split received 'random'"),
    ("study and tuned", "{split: study, threshold_rule: global}", "threshold_rule is 'global'"),
    ("decode and rgby", "{image_source: decode, interpolation: bilinear}", "image_source is 'dec"),
    ("device without strong", "augment_on: device", "augment_on is 'device'"),
    ("smoothing and soft_f1", "{label_smoothing: 0.1, loss: soft_f1}", "label_smoothing is 0.1"),
    ("a Python object", "data: !!python/object:os.system {}", "isn't YAML"),
    ("a Python call", "data: !!python/object/apply:os.system [touch x]", "isn't YAML"),
    ("a Python name", "data: !!python/name:os.system", "isn't YAML"),
    ("an unknown tag", "data: !secret x", "isn't YAML"),
    ("given twice", "seed: 1\nseed: 2", "seed is given twice"),
    ("a list", "[seed, 1]", "isn't a mapping"),
    ("a text", "seed=1", "isn't a mapping"),
    ("empty", "", "isn't a mapping"),
    ("a number as name", "1: 2", "isn't a mapping"),
    ("a list as name", "[a]: 2", "isn't YAML"),
    ("tabs", "seed:\n\t- 1", "isn't YAML"),
    ("a date that is none", "seed: 2001-99-99", "isn't YAML"),
    ("a number of 5,000 digits", f"seed: {'9' * 5000}", "isn't YAML"),
    ("nested 5,000 deep", f"seed: {'[' * 5000}", "isn't YAML"),
    ("a text of 10⁵", f"composition: {'x' * 10**5}", "composition received 'xxx"),
    ("references that multiply", f"stages: &s\n  - {STAGE}\n{BOMB}", "Parameter a0 is unknown"),
    ("a circle", "stages: &s [*s]", "stages, stage 1 received"),
]  # fmt: skip


@cases(REFUSED_PRESETS)
def test_preset_that_is_refused(tmp_path, refusal, given, words):
    path = tmp_path / "preset.yaml"
    path.write_text(given, encoding="utf-8")
    error = refusal(
        lambda: parameters.validate("2_train_resnet", parameters.read_preset(path)), words
    )
    assert str(path) in error.problem or error.problem.startswith("Parameter ")


def test_preset_in_another_encoding(tmp_path, refusal):
    path = tmp_path / "preset.yaml"
    path.write_bytes("data: zellä".encode("latin-1"))
    refusal(lambda: parameters.read_preset(path), str(path), "isn't YAML")


def test_value_that_multiplies_is_not_written_out(refusal):
    value = ["x"]
    for _ in range(60):
        value = [value] * 10
    refusal(lambda: parameters.validate("2_train_resnet", {"stages": value}), "stages, stage 1")


@pytest.mark.parametrize(
    "text",
    ["\ufeffseed: 3\n", "seed: 3\r\n", "---\nseed: 3\n...\n", "{seed: 3}", "'seed': 3 # why"],
)
def test_preset_that_is_legal(tmp_path, text):
    path = tmp_path / "preset.yaml"
    path.write_bytes(text.encode())
    assert parameters.read_preset(path) == {"seed": 3}


def test_reference_within_a_preset_is_legal(tmp_path):
    path = tmp_path / "preset.yaml"
    path.write_text(f"stages: &s [{STAGE}]\nvgg_stages: *s\n")
    found = parameters.validate("3_train_vgg", parameters.read_preset(path))
    assert found.vgg_stages == found.stages


# --- Weights, and the state of a training ----------------------------------------------------


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


HDF5 = b"\x89HDF\r\n\x1a\n"
REFUSED_WEIGHTS = [
    ("missing", ("absent.h5", None), "neither 'imagenet', 'none' nor a file"),
    ("misspelt imagenet", ("image_net", None), "neither 'imagenet', 'none' nor a file"),
    ("text", ("a.h5", b"no weights"), "aren't an HDF5 file"),
    ("empty", ("a.weights.h5", b""), "aren't an HDF5 file"),
    ("Keras archive", ("a.keras", b"PK\x03\x04"), "aren't an HDF5 file"),
    ("PyTorch file", ("a.pt", b"PK\x03\x04"), "aren't an HDF5 file"),
    ("pickle named HDF5", ("a.h5", pickle.dumps(Payload(Path("trace")))), "aren't an HDF5 file"),
    ("HDF5 named pickle", ("a.pkl", HDF5), "aren't an HDF5 file"),
]


@cases(REFUSED_WEIGHTS)
def test_weights_that_are_refused_before_anything_is_computed(tmp_path, refusal, given, words):
    path = tmp_path / given[0]
    if given[1] is not None:
        path.write_bytes(given[1])
    values = parameters.validate("3_train_vgg", {"weights": str(path)})
    refusal(lambda: parameters.check_files(values), str(path), words)
    assert not Path("trace").exists()


@cases(
    [
        ("cut", HDF5 + b"\0" * 40, "don't fit VGG16"),
        ("signature alone", HDF5, "don't fit VGG16"),
    ]
)
def test_weights_that_do_not_fit(tmp_path, refusal, given, words):
    from hpa_lib import backbones

    path = tmp_path / "a.weights.h5"
    path.write_bytes(given)
    refusal(lambda: backbones.build("VGG16", (75, 75, 3), str(path)), str(path), words)


@pytest.mark.parametrize("kind", ["text", "pickle", "pickle in npz", "other arrays"])
def test_state_of_a_training_that_is_refused(tmp_path, refusal, kind):
    from hpa_lib import training_state

    path, trace = tmp_path / "state.npz", tmp_path / "trace"
    if kind == "text":
        path.write_text("state")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(trace)))
    else:
        name = "history" if kind == "pickle in npz" else "other"
        content = np.array([Payload(trace)]) if kind == "pickle in npz" else np.zeros(3)
        with path.open("wb") as stream:
            np.savez(stream, **{name: content})
    refusal(lambda: training_state.read_history(path), str(path), "can't be used")
    assert not trace.exists()


# --- Runs ------------------------------------------------------------------------------------

FINISHED = {
    "status": "complete", "notebook": "3_train_vgg", "finished": "2026-01-01", "process": 1,
}  # fmt: skip

REFUSED_MANIFESTS = [
    ("empty", "", "manifest.json can't be read"),
    ("half-written", '{"status": "comp', "manifest.json can't be read"),
    ("a list", "[1]", "it is no JSON object"),
    ("a number", "7", "it is no JSON object"),
    ("no status", '{"notebook": "3_train_vgg"}', "its status is None"),
    ("status as a number", '{"notebook": "3_train_vgg", "status": 3}', "its status is 3"),
    ("no notebook", '{"status": "complete"}', "its notebook is None"),
    ("not a number", '{"status": NaN}', "NaN isn't JSON"),
    ("a number of 5,000 digits", f'{{"status": {"9" * 5000}}}', "manifest.json can't be read"),
    ("nested 100,000 deep", "[" * 100_000, "it is nested too deeply"),
    ("running", json.dumps(FINISHED | {"status": "running", "host": "x"}), "is running, not"),
    ("failed", json.dumps(FINISHED | {"status": "failed"}), "is failed, not complete"),
    ("interrupted", json.dumps(FINISHED | {"status": "interrupted"}), "is interrupted, not"),
    ("a status of the future", json.dumps(FINISHED | {"status": "paused"}), "is paused, not"),
    ("without metrics", json.dumps(FINISHED), "metrics.json can't be read"),
]  # fmt: skip


@cases(REFUSED_MANIFESTS)
def test_run_that_is_refused_by_its_manifest(tmp_path, refusal, given, words):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / runs.MANIFEST).write_text(given)
    refusal(lambda: runs.find(str(folder), "3_train_vgg"), str(folder), words)


def test_damaged_run_beside_others_stops_nothing(leave_run):
    run = leave_run()
    for name, content in (("a", "{"), ("z", "[]"), ("y", json.dumps({"status": "complete"}))):
        (paths.runs_folder() / name).mkdir()
        (paths.runs_folder() / name / runs.MANIFEST).write_text(content)
    assert runs.find("", "3_train_vgg") == run.folder
    runs.settle(paths.runs_folder())


def edit(name, **entries):
    """Change entries of a JSON file of a run; None removes one."""

    def change(folder):
        values = files.read_json(folder / name) | entries
        kept = {key: value for key, value in values.items() if value is not None}
        files.write_json(folder / name, kept)

    return change


def rewrite(before, after, name=predictions.FILE):
    """Change a text of a run's file; the last place in it counts."""

    def change(folder):
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(after.join(text.rsplit(before, 1)))

    return change


def remove(name):
    return lambda folder: (folder / name).unlink()


def repeat_row(folder):
    path = folder / predictions.FILE
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")


FUTURE = {"quantum": 1}
DAMAGED_RUNS = [
    ("no history", remove("history.csv"), "history.csv"),
    ("empty history", lambda folder: (folder / "history.csv").write_text(""), "isn't a training run"),
    ("no predictions", remove(predictions.FILE), "predictions.csv can't be read"),
    ("no single views", remove(predictions.ONE_VIEW_FILE), "predictions_one_view.csv can't be read"),
    ("predictions without a class", rewrite("Cytosol", "Cytosoll"), "lack the column 'Cytosol'"),
    ("a word as probability", rewrite("0.25", "high"), "can't be read"),
    ("a probability of 1.5", rewrite("0.25", "1.5"), "the probability 1.5 of Rods & rings"),
    ("a probability below 0", rewrite("0.25", "-0.1"), "the probability -0.1"),
    ("nan as probability", rewrite("0.25", "nan"), "can't be read"),
    ("a field too many", rewrite("0.25\n", "0.25,0.25\n"), "more fields than the header"),
    ("a row that is cut", rewrite(",0.25,0.25\n", "\n"), "can't be read"),
    ("a label 28", rewrite(",0 27,", ",0 28,"), "holds '28'"),
    ("a row twice", repeat_row, "an Id and part that occur before"),
    ("27 thresholds", edit(runs.METRICS, thresholds=[0.5] * 27), "thresholds in metrics.json"),
    ("thresholds as text", edit(runs.METRICS, thresholds=["0.5"] * 28), "thresholds in metrics.json"),
    ("no never_empty", edit(runs.METRICS, never_empty=None), "never_empty in metrics.json"),
    ("no backbone", edit(runs.METRICS, backbone=None), "trained no network"),
    ("no dataset", edit(runs.MANIFEST, dataset=None), "dataset in manifest.json"),
    ("no parameters", edit(runs.MANIFEST, parameters=None), "parameters in manifest.json"),
    ("another notebook", edit(runs.MANIFEST, notebook="1_explore"), "notebook in manifest.json"),
    ("a notebook of the future", edit(runs.MANIFEST, notebook="9_future"), "notebook in manifest.json"),
    ("a parameter of the future", edit(runs.MANIFEST, parameters=FUTURE), "Parameter quantum is unknown"),
]  # fmt: skip


@cases(DAMAGED_RUNS)
def test_run_that_is_refused_by_its_files(leave_run, refusal, given, words):
    from hpa_lib import trained_runs

    run = leave_run()
    (run.folder / run_digests.FILE).unlink()  # which would tell that something has changed
    given(run.folder)
    error = refusal(lambda: trained_runs.load(run.folder.name, "3_train_vgg"), words)
    assert run.folder.name in error.problem or "Parameter quantum" in error.problem


@cases(
    [
        ("of another dataset", edit(runs.MANIFEST, dataset={"fingerprint": "b"}), "fingerprint"),
        ("of another split", edit(runs.METRICS, split="other"), "differ in split"),
        ("without a split", edit(runs.METRICS, split=None), "doesn't record its split"),
        ("with another sample", rewrite("sample-00", "sample-01"), "differ in the samples of"),
        ("with another truth", rewrite(",0 27,", ",1 27,"), "differ in the samples of"),
        ("of other samples seen", edit(runs.METRICS, samples_seen=2), "differ in samples seen"),
    ]
)
def test_runs_that_can_not_be_compared(leave_run, refusal, given, words):
    from hpa_lib import comparison, trained_runs

    pair = [leave_run(), leave_run()]
    for run in pair:
        (run.folder / run_digests.FILE).unlink()
        more = {"split": "same", "samples_seen": 1, "threshold_rule": "0.5"}
        edit(runs.METRICS, **more)(run.folder)
    given(pair[1].folder)
    loaded = [trained_runs.load(run.folder.name, "3_train_vgg") for run in pair]
    error = refusal(lambda: comparison.require_comparable(*loaded), words)
    assert pair[1].folder.name in error.problem


# --- Splits ----------------------------------------------------------------------------------

HEAD = f"# dataset: {'f' * 64}\nId,part\n"
ROWS = "a,training\nb,validation\nc,threshold\nd,report\n"


def four_samples(folder):
    return dataset.Dataset("four", folder, ("a", "b", "c", "d"), ((0,),) * 4, "f" * 64)


REFUSED_SPLITS = [
    ("empty", b"", "can't be read"),
    ("of another dataset", (HEAD + ROWS).replace("f" * 64, "e" * 64).encode(), "e" * 64),
    ("without a fingerprint", ("Id,part\n" + ROWS).encode(), "belongs to the dataset missing"),
    ("unknown Id", (HEAD + ROWS + "z,training\n").encode(), "names Id z"),
    ("overlapping parts", (HEAD + ROWS + "a,report\n").encode(), "Id a more than once"),
    ("a row twice", (HEAD + ROWS + "a,training\n").encode(), "Id a more than once"),
    ("a sample missing", (HEAD + ROWS).replace("d,report\n", "").encode(), "says nothing of 1"),
    ("an unknown part", (HEAD + ROWS).replace("report", "test").encode(), "the part 'test'"),
    ("an empty part", (HEAD + ROWS).replace("report", "training").encode(), "part report empty"),
    ("no column part", (HEAD + ROWS).replace("part", "fold").encode(), "lacks the column part"),
    ("semicolons", (HEAD + ROWS).replace(",", ";").encode(), "lacks the column Id"),
    ("a field too many", (HEAD + ROWS).replace("\n", ",x\n").replace("part,x", "part").replace("f,x", "f").encode(), "more fields than the header"),
    ("utf-16", (HEAD + ROWS).encode("utf-16"), "can't be read"),
    ("an open quote", (HEAD + '"' + ROWS).encode(), "can't be read"),
]  # fmt: skip


@cases(REFUSED_SPLITS)
def test_split_that_is_refused(tmp_path, refusal, given, words):
    path = tmp_path / "split.csv"
    path.write_bytes(given)
    refusal(lambda: splits.read(path, four_samples(tmp_path)), str(path), words)


@pytest.mark.parametrize(
    "encode", [lambda t: b"\xef\xbb\xbf" + t, lambda t: t.replace(b"\n", b"\r\n")]
)
def test_split_that_is_legal(tmp_path, encode):
    path = tmp_path / "split.csv"
    path.write_bytes(encode((HEAD + ROWS).encode()))
    parts = splits.read(path, four_samples(tmp_path)).parts
    assert {name: rows.tolist() for name, rows in parts.items()} == {
        "training": [0], "validation": [1], "threshold": [2], "report": [3],
    }  # fmt: skip


def test_split_file_that_is_missing_is_refused_before_anything_is_computed(refusal):
    values = parameters.validate("2_train_resnet", {"split": "absent.csv"})
    refusal(lambda: parameters.check_files(values), "Parameter split names 'absent.csv'")


# --- Submissions -----------------------------------------------------------------------------

REFUSED_SAMPLES = [
    ("empty", b"", "can't be read"),
    ("header alone", b"Id,Predicted\n", "has 0 rows"),
    ("another column", b"Id,Target\na,0\n", "the columns Id, Target"),
    ("semicolons", b"Id;Predicted\na;0\n", "the columns Id;Predicted"),
    ("an Id twice", b"Id,Predicted\na,\na,\n", "the Id 'a' twice"),
    ("unknown Ids", b"Id,Predicted\na,\nz,\n", "1 of 2 Ids"),
    ("a field too many", b"Id,Predicted\na,0,1\n", "more fields than the header"),
    ("utf-16", "Id,Predicted\na,\n".encode("utf-16"), "can't be read"),
    ("zero bytes", b"\0" * 100, "Sample submission"),
]


@cases(REFUSED_SAMPLES)
def test_sample_submission_that_is_refused(tmp_path, refusal, given, words):
    path = tmp_path / "sample_submission.csv"
    path.write_bytes(given)
    refusal(lambda: submissions.read_order(path, ("a", "b")), str(path), words)


# --- Archives --------------------------------------------------------------------------------


def unpack(folder, path, **options):
    return archives.unpack([path], folder / "unpacked", progress=False, **options)


def zipped(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def special(kind):
    info = zipfile.ZipInfo("train/special")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return zipped((info, "/etc/passwd"))


SOUND = zipped(("train/a.txt", b"x" * 999))
CENTRAL = SOUND.rindex(b"PK\x01\x02")

REFUSED_ARCHIVES = [
    ("text", b"Not found", "isn't a whole zip file"),
    ("7-Zip", b"7z\xbc\xaf\x27\x1c" + b"\0" * 99, "isn't a whole zip file"),
    ("cut", SOUND[: len(SOUND) // 2], "isn't a whole zip file"),
    ("climbs out", zipped(("../a", "x")), "'../a'"),
    ("climbs out below", zipped(("train/../../a", "x")), "'train/../../a'"),
    ("climbs out on Windows", zipped(("..\\a", "x")), "can climb out"),
    ("absolute", zipped(("/etc/cron.d/a", "x")), "has an absolute name"),
    ("with a drive", zipped(("C:/a", "x")), "has an absolute name"),
    ("control characters", zipped(("a\x1b[2J", "x")), "isn't plain"),
    ("a name of 300 bytes", zipped(("a" * 300, "x")), "more than 255 bytes"),
    ("a link", special(stat.S_IFLNK), "is a link or a device"),
    ("a device", special(stat.S_IFCHR), "is a link or a device"),
    ("a pipe", special(stat.S_IFIFO), "is a link or a device"),
    ("encrypted", SOUND[: CENTRAL + 8] + b"\x01" + SOUND[CENTRAL + 9 :], "is encrypted"),
    ("names that differ in case", zipped(("A.txt", "x"), ("a.txt", "y")), "would be the same file"),
    ("file and folder", zipped(("a", "x"), ("a/b", "y")), "a folder that is a file as well"),
    ("a name that is no UTF-8", SOUND[: CENTRAL + 9] + b"\x08" + SOUND[CENTRAL + 10 : CENTRAL + 46] + b"\xff\xfe" + SOUND[CENTRAL + 48 :], "isn't a whole zip file"),
    ("a member without a name", SOUND[: CENTRAL + 46] + b"\0" + SOUND[CENTRAL + 47 :], "isn't a whole zip file"),
    ("more than the limit", zipped(("a", b"\0" * 2**21)), "declare 2,097,152 bytes; the limit is"),
    ("a bomb of 80 MB", zipped(("a", b"\0" * 80 * 2**20)), "expand to 83,886,080"),
]  # fmt: skip

DAMAGED_MEMBERS = [
    ("changed content", flipped(SOUND, 45), "isn't what it declares"),
    ("another checksum", SOUND[: CENTRAL + 16] + b"\0\0\0\0" + SOUND[CENTRAL + 20 :], "isn't what"),
    ("an unknown compression", SOUND[: CENTRAL + 10] + b"\x63" + SOUND[CENTRAL + 11 :], "isn't what"),
]  # fmt: skip


@cases(REFUSED_ARCHIVES)
def test_archive_that_is_refused_before_anything_is_written(tmp_path, refusal, given, words):
    path = tmp_path / "train.zip"
    path.write_bytes(given)
    refusal(
        lambda: unpack(tmp_path, path, most_bytes=2**20), str(path) * ("limit" not in words), words
    )


@cases(DAMAGED_MEMBERS)
def test_archive_whose_member_is_damaged_leaves_no_file(tmp_path, refusal, given, words):
    path = tmp_path / "train.zip"
    path.write_bytes(given)
    folders = tmp_path / "unpacked", tmp_path / "unpacked/train"
    refusal(lambda: unpack(tmp_path, path), str(path), words, allowed=folders)


# --- Properties ------------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
LABEL_SETS = st.sets(st.integers(0, 27), max_size=6)


@given(st.dictionaries(NAMES, LABEL_SETS, min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_any_label_table_is_read_as_it_was_written(tmp_path_factory, table, ending):
    path = tmp_path_factory.mktemp("table") / "train.csv"
    rows = [f'"{name}","{labels.format_target(found)}"' for name, found in table.items()]
    path.write_bytes(ending.join(["Id,Target", *rows]).encode())
    read = label_tables.read(path)
    assert dict(zip(read.ids, map(set, read.label_sets), strict=True)) == table


@given(st.binary(max_size=300))
def test_any_bytes_are_a_label_table_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "train.csv"
    path.write_bytes(content)
    try:
        assert label_tables.read(path).ids
    except HpaError as error:
        assert str(path) in error.problem


@given(st.text(alphabet=st.characters(), max_size=40))
def test_any_text_is_a_target_or_refused(text):
    try:
        found = labels.parse_target(text)
    except HpaError:
        assert not all(part.isascii() and part.isdigit() for part in text.split()) or (
            any(int(part) > 27 for part in text.split())
            or len({int(part) for part in text.split()}) < len(text.split())
        )
    else:
        assert list(found) == sorted({int(part) for part in text.split()})


@given(st.text(min_size=1, max_size=30))
def test_any_text_as_an_id_stays_within_its_folder(tmp_path_factory, name):
    path = tmp_path_factory.mktemp("id") / "train.csv"
    field = name.replace('"', '""')
    path.write_text(f'Id,Target\n"{field}",0\n', encoding="utf-8", errors="replace", newline="")
    try:
        (sample_id,) = label_tables.read(path).ids
    except HpaError:
        return
    for channel in CHANNELS:
        found = layouts.channel_path(path.parent, f"train/{sample_id}_*.png", channel)
        assert found.resolve().parent == (path.parent / "train").resolve()


PRESETS = sorted(path.stem for path in paths.PRESETS.glob("*.yaml"))
STAGES = st.lists(
    st.fixed_dictionaries(
        {"epochs": st.integers(1, 500), "learning_rate": st.floats(1e-9, 1)},
        optional={"backbone_rate": st.floats(0, 1)},
    ),
    min_size=1,
    max_size=4,
)
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "stages": STAGES,
        "seed": st.integers(0, 2**31 - 1),
        "gradient_clip": st.floats(0, 1e300),
        "data": st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
        "leave_out": st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
        "all_views": st.booleans(),
    },
)


@settings(max_examples=50)
@given(st.sampled_from(PRESETS), st.sampled_from(paths.NOTEBOOK_NAMES), OVERRIDES)
def test_any_parameters_are_read_back_as_they_were_written(
    tmp_path_factory, preset, notebook, more
):
    path = tmp_path_factory.mktemp("preset") / "params.yaml"
    values = parameters.read_preset(paths.PRESETS / f"{preset}.yaml") | more
    checked = parameters.validate(notebook, values)
    parameters.write_yaml(path, checked.model_dump())
    assert parameters.validate(notebook, parameters.read_preset(path)) == checked


YAML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)


# A sweep checks its overrides when it makes a training's parameters of them.
VALUE_NAMES = sorted(parameters.KNOWN_NAMES - {"overrides"})


@settings(max_examples=60)
@given(st.sampled_from(VALUE_NAMES), YAML_VALUES)
def test_any_value_is_taken_or_refused_by_name(name, value):
    for notebook, model in parameters.MODELS.items():
        if name not in model.model_fields:
            continue
        try:
            checked = parameters.validate(notebook, {name: value})
        except HpaError as error:
            assert f"Parameter {name}" in error.problem
        else:
            json.dumps(checked.model_dump(), allow_nan=False)
