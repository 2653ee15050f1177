"""Claim: whatever bytes a file holds, only `HpaError` leaves the reader that opens it.

Atheris (libFuzzer for Python) changes sound files byte by byte, keeps what reaches new branches of
the library, of Pillow, PyYAML and zipfile, and calls one reader after the other, each in a process
of its own. Counted as a finding is any other exception, an input that takes longer than 20 seconds
or more than 4 GB, and what a reader promises and breaks: an archive that leaves something outside
of its folder, an image that is no array of 8 bits, a page with a script.

    pip install atheris
    python benchmarks/fuzz_readers.py --minutes 30
    python benchmarks/fuzz_readers.py --minutes 5 --reader png

The table has one row a reader: inputs tried, branches and features that libFuzzer counts, size of
the corpus, findings. The exit status is 1 where there is a finding; the inputs stay in --keep.
"""

import argparse
import importlib.util
import io
import json
import re
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

PROJECT = Path(__file__).parent.parent
FINDINGS, ARTEFACT = "findings.json", "artefact-"
LONGEST_INPUT, SECONDS_AN_INPUT, MEGABYTES = 8192, 20, 4096
INSTRUMENTED = ["hpa_lib", "PIL", "yaml", "zipfile"]
FINGERPRINT = "f" * 64
STATISTICS = {
    "inputs": r"stat::number_of_executed_units:\s+(\d+)",
    "branches": r"cov: (\d+) ft: \d+ corp: \d+",
    "features": r"cov: \d+ ft: (\d+) corp: \d+",
    "corpus": r"cov: \d+ ft: \d+ corp: (\d+)",
}

Reader = Callable[[Path, bytes], None]


def written(folder: Path, name: str, content: bytes) -> Path:
    """A file with this content."""
    path = folder / name
    path.write_bytes(content)
    return path


def table(folder: Path, content: bytes) -> None:
    """Label tables, and lists of Ids to leave out."""
    from hpa_lib import label_tables, layouts

    path = written(folder, "train.csv", content)
    layouts.has_label_table(folder)
    found, problems = label_tables.read_sound_rows(path)
    assert all(found.ids) and len(set(found.ids)) == len(found.ids)
    assert all(problem.line > 1 for problem in problems)
    label_tables.parse_leave_out(str(path))


def target(folder: Path, content: bytes) -> None:
    """Values of the column Target."""
    from hpa_lib import labels

    found = labels.parse_target(content.decode("utf-8", "surrogateescape"))
    assert labels.parse_target(labels.format_target(found)) == found


def image_reader(ending: str) -> Reader:
    """Image files of one ending."""

    def image(folder: Path, content: bytes) -> None:
        from hpa_lib import image_files

        path = written(folder, f"image{ending}", content)
        found = image_files.read_channel(path, "green")
        assert found.dtype == np.uint8 and found.ndim == 2

    return image


def archive(folder: Path, content: bytes) -> None:
    """Zip archives."""
    from hpa_lib import archives

    path = written(folder, "archive.zip", content)
    with tempfile.TemporaryDirectory(dir=folder) as outer:
        try:
            archives.unpack([path], Path(outer) / "to", most_bytes=2**20, progress=False)
        finally:
            assert {one.name for one in Path(outer).iterdir()} <= {"to"}
            assert not any(one.is_symlink() for one in Path(outer).rglob("*"))


def split(folder: Path, content: bytes) -> None:
    """Split files of a dataset of four samples."""
    from hpa_lib import dataset, splits

    ids = ("a", "b", "c", "d")
    opened = dataset.Dataset("fuzz", folder, ids, ((0,),) * 4, FINGERPRINT)
    found = splits.read(written(folder, "split.csv", content), opened)
    assert sorted(row for rows in found.parts.values() for row in rows) == [0, 1, 2, 3]


def preset(folder: Path, content: bytes) -> None:
    """Presets: each notebook's parameters are refused, or written and read back unchanged."""
    from hpa_lib import parameters

    values = parameters.read_preset(written(folder, "preset.yaml", content))
    for notebook in parameters.MODELS:
        checked = parameters.validate(notebook, values)
        parameters.write_yaml(folder / "params.yaml", checked.model_dump())
        again = parameters.read_preset(folder / "params.yaml")
        assert parameters.validate(notebook, again) == checked


def manifest(folder: Path, content: bytes) -> None:
    """Manifests: of a run that is looked for, and of one that a report shows."""
    from hpa_lib import report_runs, runs

    written(folder, runs.METRICS, b'{"backbone": "VGG16"}')
    written(folder, runs.MANIFEST, content)
    report_runs.read_run(folder)
    assert runs.find(str(folder), "3_train_vgg") == folder


def run_metrics(folder: Path, content: bytes) -> None:
    """``metrics.json``: of a run that is looked for, and of one that a report shows."""
    from hpa_lib import report_runs, runs

    written(folder, runs.MANIFEST, b'{"status": "complete", "notebook": "3_train_vgg"}')
    written(folder, runs.METRICS, content)
    report_runs.read_run(folder)
    runs.find(str(folder), "3_train_vgg")


def predicted(folder: Path, content: bytes) -> None:
    """Predictions: probabilities lie from 0 to 1."""
    from hpa_lib import predictions

    found = predictions.read(written(folder, predictions.FILE, content))
    for part in set(found["part"]):
        truth, probability = predictions.arrays(found, part)
        assert truth.shape == probability.shape
        assert ((probability >= 0) & (probability <= 1)).all()


def submission(folder: Path, content: bytes) -> None:
    """Sample submissions."""
    from hpa_lib import submissions

    order = submissions.read_order(written(folder, "sample_submission.csv", content), ("a", "b"))
    assert sorted(set(order)) == sorted(order)


def notebook(folder: Path, content: bytes) -> None:
    """Executed notebooks."""
    from hpa_lib import execution

    execution.run_folder(written(folder, "out.ipynb", content))


def page(folder: Path, content: bytes) -> None:
    """HTML and Markdown outputs that a page takes over."""
    from hpa_lib import report_html

    found = str(report_html.safe_html(content.decode("utf-8", "replace"))).casefold()
    assert not re.search(r"<script|<iframe|<[^>]*\son\w+\s*=|javascript:[^<]*\"[^<]*>", found)


READERS: dict[str, Reader] = {
    "table": table,
    "target": target,
    "png": image_reader(".png"),
    "tiff": image_reader(".tif"),
    "jpeg": image_reader(".jpg"),
    "archive": archive,
    "split": split,
    "preset": preset,
    "manifest": manifest,
    "metrics": run_metrics,
    "predictions": predicted,
    "submission": submission,
    "notebook": notebook,
    "page": page,
}


def encoded(ending: str, image: np.ndarray) -> bytes:
    """An image file as OpenCV writes it."""
    return cv2.imencode(ending, image)[1].tobytes()


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return buffer.getvalue()


def sound_files(reader: str) -> list[bytes]:
    """Files that a reader takes, from which atheris begins."""
    from hpa_lib import labels

    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    deep, tint = grey.astype(np.uint16) * 1000, np.dstack((0 * grey, grey, 0 * grey))
    probabilities = ",".join(["0.5"] * labels.CLASS_COUNT)
    parts = b"Id,part\na,training\nb,validation\nc,threshold\nd,report\n"
    told = {
        "run": "r", "notebook": "3_train_vgg", "status": "complete", "process": 1, "host": "h",
        "finished": "2026-01-01T00:00:00+00:00", "inputs": [], "dataset": {"samples": 3},
    }  # fmt: skip
    cell = {
        "cell_type": "code", "execution_count": 1, "metadata": {}, "source": "1",
        "outputs": [
            {"output_type": "display_data", "data": {}, "metadata": {"hpa_run": "r"}}
        ],
    }  # fmt: skip
    executed = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    files: dict[str, list[bytes]] = {
        "table": [
            b"Id,Target\na,16 0\nb,\n",
            b'\xef\xbb\xbfTarget,Id,source,maximum,"no, te"\r\n"0 1",a-1,s,4095,"x\ny"\r\n',
        ],
        "target": [b"16 0", b"", b"27\t5  3"],
        "png": [encoded(".png", grey), encoded(".png", deep)],
        "tiff": [encoded(".tiff", grey), encoded(".tiff", deep)],
        "jpeg": [encoded(".jpg", grey), encoded(".jpg", tint)],
        "archive": [
            zipped(("train/a_red.png", b"x" * 99), ("train.csv", b"Id,Target\na,0\n")),
            zipped(("a_red.png", b"x"), compression=zipfile.ZIP_STORED),
            zipped(("a.txt", b"x" * 99), compression=zipfile.ZIP_BZIP2),
            zipped(("a.txt", b"x" * 99), compression=zipfile.ZIP_LZMA),
        ],
        "split": [f"# dataset: {FINGERPRINT}\n# protocol: file\n".encode() + parts],
        "preset": [path.read_bytes() for path in sorted((PROJECT / "params").glob("*.yaml"))],
        "manifest": [json.dumps(told).encode(), json.dumps(told | {"status": "running"}).encode()],
        "metrics": [b'{"backbone": "VGG16", "headline": {"Macro F1": 0.5}}'],
        "predictions": [
            f"Id,part,Target,{','.join(labels.CLASS_NAMES)}\n"
            f"a,report,0 1,{probabilities}\n".encode()
        ],
        "submission": [b"Id,Predicted\nb,0\na,0\n"],
        "notebook": [json.dumps(executed).encode()],
        "page": [b'<table><tr><th scope="col">a</th></tr></table><p onclick="x">b</p>'],
    }
    return files[reader]


def fuzz(reader: str, corpus: Path, folder: Path, seconds: int) -> None:
    """Fuzz one reader until the time is over; what was found lies in `folder` then."""
    import atheris

    place = folder / "place"
    place.mkdir(exist_ok=True)
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        READERS[reader](place, sound_files(reader)[0])  # imports what it needs
    from hpa_lib.errors import HpaError

    found: dict[str, str] = {}

    def one_input(content: bytes) -> None:
        try:
            READERS[reader](place, content)
        except HpaError as error:
            assert error.problem and error.remedy.endswith((".", ")", ":", "?")), error
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            name = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
            if name not in found:
                found[name] = f"{reader}-{len(found)}.bin"
                written(folder, found[name], content)
                written(folder, FINDINGS, json.dumps(found).encode())

    options = [
        f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}", f"-artifact_prefix={folder}/{ARTEFACT}",
        "-print_final_stats=1", "-verbosity=1", str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


def measure(reader: str, seconds: int, keep: Path) -> dict[str, int | str]:
    """Fuzz one reader in a process of its own."""
    folder, corpus = keep / reader, keep / reader / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(sound_files(reader)):
        written(corpus, f"sound-{number}", content)
    command = [sys.executable, __file__, "--child", str(keep), "--reader", reader]
    log = folder / "log.txt"
    with log.open("wb") as stream:
        subprocess.run([*command, "--seconds", str(seconds)], stderr=stream, stdout=stream)
    text = log.read_text(encoding="utf-8", errors="replace")
    counted = {name: re.findall(pattern, text) for name, pattern in STATISTICS.items()}
    findings = folder / FINDINGS
    found = list(json.loads(findings.read_text()) if findings.is_file() else {})
    found += [path.name for path in folder.glob(f"{ARTEFACT}*")]
    if not counted["inputs"]:
        found.append(f"ended early, see {log}")
    numbers = {name: int(values[-1]) if values else 0 for name, values in counted.items()}
    return {"reader": reader, **numbers, "findings": "; ".join(found) or "none"}


def main() -> int:
    """Fuzz the readers one after the other and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="of all readers (%(default)s)")
    parser.add_argument("--reader", choices=READERS, help="only this one")
    parser.add_argument("--keep", type=Path, help="folder for corpora and findings")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("Left out: atheris isn't installed (pip install atheris).")
        return 0
    if options.child:
        folder = options.child / options.reader
        fuzz(options.reader, folder / "corpus", folder, options.seconds)
    names = [options.reader] if options.reader else list(READERS)
    seconds = max(1, round(options.minutes * 60 / len(names)))
    with tempfile.TemporaryDirectory(prefix="hpa-fuzz-") as temporary:
        rows = [measure(name, seconds, options.keep or Path(temporary)) for name in names]
    print(f"{'reader':12}{'inputs':>10}{'branches':>10}{'features':>10}{'corpus':>8}  findings")
    for row in rows:
        print(
            f"{row['reader']:12}{row['inputs']:>10,}{row['branches']:>10,}{row['features']:>10,}"
            f"{row['corpus']:>8,}  {row['findings']}"
        )
    print(
        f"{sum(row['inputs'] for row in rows):,} inputs in {seconds * len(names) / 60:.1f} minutes"
    )
    return int(any(row["findings"] != "none" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
