"""Disks that fill, folders that can't be written, data and bytes that change, clocks, neighbours.

Each case breaks something on purpose, and asks for an error that names the file, or for the
undisturbed result, and for nothing in between. Disks that fill are file systems in memory, which
only root can mount; where that fails, their cases are skipped.
"""

import datetime
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa_lib import (
    cache,
    cli,
    dataset,
    embedding_store,
    feed,
    file_marks,
    files,
    near_duplicates,
    parameters,
    paths,
    predictions,
    report_runs,
    reports,
    run_decisions,
    run_digests,
    runs,
    splits,
    synthetic,
    trained_runs,
)
from hpa_lib.embedding_store import Embeddings, EmbeddingStore
from hpa_lib.errors import HpaError

FLIPS = 20
"""Bytes of each kind of file that are changed, one after the other."""

FULL = "its disk is full"


class Disk:
    """A file system in memory of a given size."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir()
        mounted = self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")
        if mounted.returncode:
            pytest.skip(f"no file system can be mounted: {mounted.stderr.strip()}")

    def _mount(self, *options):
        command = ["mount", *options, str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def resize(self, size):
        assert self._mount("-o", f"remount,size={size}").returncode == 0

    def make_read_only(self):
        assert self._mount("-o", "remount,ro").returncode == 0

    def remove(self):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False)


@pytest.fixture
def disk(tmp_path):
    """Function that mounts a small disk of some bytes, or ``"8k"``."""
    mounted = []

    def mount(size):
        mounted.append(Disk(tmp_path / f"disk-{len(mounted)}", size))
        return mounted[-1]

    yield mount
    for one in mounted:
        one.remove()


def contents(folder):
    """Bytes of all visible files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def hpa(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    return status, capsys.readouterr().err


# --- A disk that fills -----------------------------------------------------------------------

SYNTHETIC = ("--samples", "4", "--size", "64", "--workers", "1")


@pytest.mark.parametrize("size", ["4k", "12k", "20k", "40k", "60k", "68k"])
def test_disk_fills_while_synthetic_images_are_written(disk, capsys, tmp_path, size):
    small = disk(size)
    folder = small.folder / "images"
    status, error = hpa(capsys, "data", "synth", folder, *SYNTHETIC)
    assert status == 2
    assert FULL in error
    assert str(folder) in error
    assert "Free some space" in error
    assert not (folder / "train.csv").exists()
    small.resize("9m")
    assert hpa(capsys, "data", "synth", folder, *SYNTHETIC)[0] == 0
    synthetic.write_dataset(tmp_path / "whole", 4, size=64, workers=1, progress=False)
    assert contents(folder) == contents(tmp_path / "whole")


def open_cache(opened):
    return cache.open_cache(opened, 20, "rgby", progress=False)


@pytest.mark.parametrize("size", ["8k", "16k", "24k", "36k"])
@pytest.mark.parametrize("foreseen", [True, False])
def test_disk_fills_while_images_are_decoded(tiny, disk, monkeypatch, size, foreseen):
    monkeypatch.setattr(cache._BlockFile, "MOST_ROWS", 2)
    whole = np.array(open_cache(tiny))
    small = disk(size)
    monkeypatch.setenv("HPA_DATA", str(small.folder))
    if not foreseen:  # others write to the disk too
        monkeypatch.setattr(cache, "_refuse_full_disk", lambda *_: None)
    with pytest.raises(HpaError, match=r"are free|No space left") as caught:
        open_cache(tiny)
    assert str(small.folder) in caught.value.problem
    assert not cache.cache_folder(tiny, 20, "rgby").exists()
    small.resize("9m")
    np.testing.assert_array_equal(open_cache(tiny), whole)


def test_disk_fills_while_near_duplicates_are_kept(tiny, disk, monkeypatch):
    found = near_duplicates.find(tiny)
    small = disk("9m")
    monkeypatch.setenv("HPA_DATA", str(small.folder))
    near_duplicates.open_pictures(tiny)
    (small.folder / "ballast").write_bytes(b"")
    with pytest.raises(OSError, match="No space"), (small.folder / "ballast").open("wb") as stream:
        stream.write(bytes(2**24))
    with pytest.raises(HpaError, match=FULL) as caught:
        near_duplicates.find(tiny)
    assert str(near_duplicates.kept_pairs(tiny)) in caught.value.problem
    (small.folder / "ballast").unlink()
    assert near_duplicates.find(tiny).digest == found.digest


def leave(tiny):
    """What a training notebook writes, in its order, but for images and the network."""
    preset = parameters.read_preset(paths.PRESETS / "smoke.yaml")
    values = parameters.validate("3_train_vgg", preset | {"data": str(tiny.folder)})
    run = runs.Run("3_train_vgg", values, "Title", tiny.description())
    division = splits.split(tiny, values.split)
    splits.write(run.folder / "split.csv", division, tiny)
    run.write_table("history", pd.DataFrame({"epoch": [1], "val_loss": [0.5]}))
    probability = np.random.default_rng(0).random((24, 28))
    table = predictions.table(tiny, {"shown": np.arange(24)}, {"shown": probability})
    predictions.write(run.folder / predictions.FILE, table)
    predictions.write(run.folder / predictions.ONE_VIEW_FILE, table)
    found = {"backbone": "VGG16", "thresholds": [0.5] * 28, "never_empty": True, "split": "s" * 64}
    run.write_metrics(found | {"headline": {"Macro F1": 0.5}})
    run.finish()
    return run


RESULTS = ("split.csv", "history.csv", "predictions.csv", "predictions_one_view.csv",
           "metrics.json")  # fmt: skip


def test_disk_fills_at_each_file_of_a_run(tiny, disk, monkeypatch):
    whole = contents(leave(tiny).folder)
    small = disk("4k")
    monkeypatch.setenv("HPA_RUNS", str(small.folder / "runs"))
    named = []
    for pages in range(2, 60):
        small.resize(4096 * pages)
        try:
            run = leave(tiny)
        except HpaError as error:
            assert FULL in error.problem
            assert str(small.folder) in error.problem
            named.append(Path(error.problem.split(" can't be written")[0]).name)
            assert runs.finished() == []
        else:
            break
    assert {runs.MANIFEST, "params.yaml", *RESULTS, run_digests.FILE} <= set(named)
    assert runs.read_manifest(run.folder)["status"] == "complete"
    found = contents(run.folder)
    assert {name: found[name] for name in RESULTS} == {name: whole[name] for name in RESULTS}
    assert len(runs.finished()) == 1


@pytest.fixture(scope="module")
def network():
    import keras

    layers = [keras.Input((40,)), keras.layers.Dense(50), keras.layers.Dense(28)]
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("room", [0, 40_000, 80_000, 90_000, 100_000])
def test_disk_fills_while_state_and_weights_are_written(network, disk, room):
    from hpa_lib import training, training_state

    small = disk("9m")
    state, weights = small.folder / runs.STATE, small.folder / runs.BEST_WEIGHTS

    def save(history):
        training.save_weights(network, weights)
        variables = network.optimizer.variables
        training_state.save(state, network, variables, history, files.digest_file(weights))

    save([{"epoch": 1}])
    before = contents(small.folder)
    small.resize(sum(map(len, before.values())) + 8192 + room)
    with pytest.raises(HpaError, match=FULL) as caught:
        save([{"epoch": 1}] * 5000)
    assert str(small.folder) in caught.value.problem
    assert contents(small.folder) == before
    small.resize("9m")
    save([{"epoch": 1}] * 5000)
    assert len(training_state.read_history(state)) == 5000
    assert weights.read_bytes() == before[weights.name]


@pytest.mark.parametrize("size", ["4k", "20k", "40k"])
def test_disk_fills_while_pages_are_published(leave_run, disk, monkeypatch, capsys, size):
    run = leave_run()
    assert hpa(capsys, "publish")[0] == 0
    whole = contents(paths.reports_folder())
    small = disk(size)
    monkeypatch.setenv("HPA_REPORTS", str(small.folder / "reports"))
    status, error = hpa(capsys, "publish")
    assert status == 2
    assert FULL in error
    assert str(small.folder) in error
    assert not (small.folder / "reports" / "index.html").exists()
    page = small.folder / "reports" / run.folder.name / "index.html"
    assert not page.exists() or page.read_bytes() == whole[f"{run.folder.name}/index.html"]
    small.resize("9m")
    assert hpa(capsys, "publish")[0] == 0
    assert contents(small.folder / "reports") == whole


def embeddings(run="run-a", samples=300):
    vectors = np.random.default_rng(len(run)).normal(size=(samples, 16)).astype(np.float32)
    ids = tuple(f"sample-{row}" for row in range(samples))
    return Embeddings(run, "f" * 64, ids, ("report",) * samples, vectors)


@pytest.mark.parametrize("size", ["40k", "44k", "48k"])
def test_disk_fills_while_embeddings_are_added(disk, tmp_path, size):
    small = disk("9m")
    path = small.folder / "embeddings.parquet"
    for target in (path, tmp_path / path.name):
        embedding_store.write(target, embeddings())
    before = path.read_bytes()
    small.resize(size)
    with pytest.raises(HpaError, match=FULL) as caught:
        embedding_store.write(path, embeddings("run-two"), append=True)
    assert str(path) in caught.value.problem
    assert path.read_bytes() == before
    small.resize("9m")
    for target in (path, tmp_path / path.name):
        embedding_store.write(target, embeddings("run-two"), append=True)
    assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.parametrize("room", [0, 8192])
def test_disk_fills_while_an_index_is_written(disk, room):
    from hpa_lib import retrieval

    small = disk("9m")
    path = small.folder / "embeddings.parquet"
    embedding_store.write(path, embeddings())
    store = EmbeddingStore(path)
    small.resize(-(-path.stat().st_size // 4096) * 4096 + 4096 + room)
    with pytest.raises(HpaError, match=r"index .*can't be written") as caught:
        retrieval.open_index(store, "run-a")
    index = retrieval.index_path(store, "run-a")
    assert str(index) in caught.value.problem
    assert not index.exists()
    small.resize("9m")
    assert retrieval.open_index(store, "run-a").ntotal == 300


# --- Folders that can't be written -----------------------------------------------------------


def test_read_only_folder_of_runs_is_refused_before_work(tiny, disk, monkeypatch):
    small = disk("1m")
    small.make_read_only()
    monkeypatch.setenv("HPA_RUNS", str(small.folder))
    with pytest.raises(HpaError, match=r"can't be written \(Read-only file system\)") as caught:
        leave(tiny)
    assert str(small.folder) in caught.value.problem
    assert "HPA_RUNS" in caught.value.remedy


def test_read_only_reports_are_refused_before_work(leave_run, disk, monkeypatch, capsys):
    leave_run()
    small = disk("1m")
    small.make_read_only()
    monkeypatch.setenv("HPA_REPORTS", str(small.folder))
    monkeypatch.setattr(reports, "render_page", None)
    status, error = hpa(capsys, "publish")
    assert status == 2
    assert f"{small.folder} can't be written (Read-only file system)" in error
    assert "HPA_REPORTS" in error


def test_read_only_images_do_as_input(tiny_dataset, disk):
    small = disk("1m")
    folder = Path(shutil.copytree(tiny_dataset, small.folder / "tiny"))
    small.make_read_only()
    opened = dataset.load(folder)
    array = open_cache(opened)
    near_duplicates.find(opened)
    np.testing.assert_array_equal(array, open_cache(dataset.load(tiny_dataset)))


def test_read_only_decoded_images_do_where_they_are_whole(tiny, disk, monkeypatch):
    small = disk("1m")
    monkeypatch.setenv("HPA_DATA", str(small.folder))
    whole, near = np.array(open_cache(tiny)), near_duplicates.find(tiny)
    small.make_read_only()
    assert dataset.load(tiny.folder) == tiny
    np.testing.assert_array_equal(open_cache(tiny), whole)
    assert near_duplicates.find(tiny).digest == near.digest
    with pytest.raises(HpaError, match="Read-only file system") as caught:
        cache.open_cache(tiny, 10, "rgby", progress=False)
    assert str(small.folder) in caught.value.problem


# --- Images that change while they are used --------------------------------------------------


def replace_image(path):
    size = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape
    assert cv2.imwrite(str(path), np.full(size, 7, np.uint8))


CHANGES = {
    "replaced": (replace_image, "has changed since its dataset was opened"),
    "removed": (Path.unlink, "can't be opened"),
    "truncated": (lambda path: os.truncate(path, path.stat().st_size - 5), "is truncated"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("row", [0, 11, 23])
def test_image_changes_between_opening_and_decoding(tiny, change, row):
    path = tiny.paths(row)[2]
    original = path.read_bytes()
    act, words = CHANGES[change]
    act(path)
    with pytest.raises(HpaError, match=words) as caught:
        open_cache(tiny)
    assert str(path) in caught.value.problem
    assert not cache.cache_folder(tiny, 20, "rgby").exists()
    path.write_bytes(original)
    np.testing.assert_array_equal(open_cache(tiny), direct(tiny))


def direct(opened):
    """The pixels as they are decoded now."""
    return np.stack([opened.read_sample(row) for row in range(len(opened))])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("done", [4, 13, 20])
def test_image_changes_while_others_are_decoded(tiny, monkeypatch, change, done):
    monkeypatch.setattr(cache._BlockFile, "MOST_ROWS", 3)
    whole, path = direct(tiny), tiny.paths(done)[1]
    original = path.read_bytes()
    read, seen = dataset.Dataset.read_channels, []

    def changing(opened, row):
        seen.append(row)
        if len(seen) == 4:
            CHANGES[change][0](path)
        return read(opened, row)

    monkeypatch.setattr(dataset.Dataset, "read_channels", changing)
    monkeypatch.setattr(cache, "ThreadPoolExecutor", lambda: ThreadPoolExecutor(1))
    with pytest.raises(HpaError, match=CHANGES[change][1]):
        open_cache(tiny)
    path.write_bytes(original)
    np.testing.assert_array_equal(open_cache(dataset.load(tiny.folder)), whole)


def test_image_that_changes_after_decoding_is_another_dataset(tiny, leave_run):
    source = feed.open_source(tiny, "cache", 20, "rgby")
    run, before = leave_run(), np.array(source[np.arange(24)])
    replace_image(tiny.paths(5)[0])
    np.testing.assert_array_equal(source[np.arange(24)], before)
    changed = dataset.load(tiny.folder)
    assert changed.fingerprint != tiny.fingerprint
    assert (open_cache(changed)[5] != before[5]).any()
    with pytest.raises(HpaError, match="fingerprint"):
        run.require_dataset(changed)


def test_images_that_are_read_in_each_step_are_those_of_the_dataset(tiny):
    source = feed.open_source(tiny, "decode", 20, "composite", "bilinear")
    replace_image(tiny.paths(5)[0])
    with pytest.raises(HpaError, match="has changed since its dataset was opened"):
        source[np.arange(24)]


# --- Two at once -----------------------------------------------------------------------------


def at_once(*arguments):
    """Errors and exit statuses of the same command, started twice."""
    command = [sys.executable, "-m", "hpa_lib.cli", *map(str, arguments)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    return [(process.communicate(timeout=120)[1], process.returncode) for process in processes]


def test_two_write_the_same_synthetic_images(tmp_path):
    folder = tmp_path / "images"
    for error, status in at_once("data", "synth", folder, *SYNTHETIC):
        assert status == 0, error
    synthetic.write_dataset(tmp_path / "whole", 4, size=64, workers=1, progress=False)
    assert contents(folder) == contents(tmp_path / "whole")


def test_two_prepare_the_same_images(tiny):
    ended = at_once("data", "prepare", tiny.folder, "--size", "75")
    assert [status for _, status in ended] == [0, 0], ended
    decoded = paths.data_folder() / "cache"
    assert len([path for path in decoded.iterdir() if path.is_dir()]) == 2  # and small pictures
    found = contents(decoded)
    shutil.rmtree(decoded)
    assert cli.main(["data", "prepare", str(tiny.folder), "--size", "75"]) == 0
    assert contents(decoded).keys() == found.keys()
    arrays = [name for name in found if name.endswith((".npy", ".bin"))]
    assert all(contents(decoded)[name] == found[name] for name in arrays)


def test_two_publish_the_same_runs(leave_run, capsys):
    for seed in range(3):
        leave_run(seed=seed)
    ended = at_once("publish")
    assert [status for _, status in ended] == [0, 0], ended
    found = contents(paths.reports_folder())
    shutil.rmtree(paths.reports_folder())
    assert hpa(capsys, "publish")[0] == 0
    assert contents(paths.reports_folder()) == found


def test_run_that_ends_while_another_process_looks_stays_finished(leave_run, monkeypatch):
    run = leave_run()
    path = run.folder / runs.MANIFEST
    finished = path.read_text()
    gone = {"status": "running", "process": 2**22 + 1}
    files.write_json(path, files.read_json(path) | gone)
    read = runs.read_manifest

    def ending(folder):
        seen = read(folder)
        path.write_text(finished)
        return seen

    monkeypatch.setattr(runs, "read_manifest", ending)
    runs.settle(paths.runs_folder())
    assert path.read_text() == finished


# --- A clock that is set back ----------------------------------------------------------------

HOUR = 3600


def set_clock(monkeypatch, seconds):
    """Let the time of day be another one, in this process."""
    clock, clock_ns = time.time, time.time_ns

    class Moment(datetime.datetime):
        @classmethod
        def now(cls, zone=None):
            return super().fromtimestamp(clock() + seconds, zone)

    monkeypatch.setattr(datetime, "datetime", Moment)
    monkeypatch.setattr(time, "time", lambda: clock() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: clock_ns() + seconds * 10**9)


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_clock_changes_while_a_run_goes_on(leave_run, monkeypatch, capsys, seconds):
    finish = runs.Run.finish

    def later(run):
        set_clock(monkeypatch, seconds)
        finish(run)

    monkeypatch.setattr(runs.Run, "finish", later)
    run = leave_run()
    manifest = runs.read_manifest(run.folder)
    assert (manifest["finished"] < manifest["started"]) == (seconds < 0)
    assert 0 <= manifest["seconds"] < 60
    assert hpa(capsys, "publish")[0] == 0
    page = (paths.reports_folder() / run.folder.name / "index.html").read_text()
    assert "-59" not in page
    assert runs.find("", "3_train_vgg") == run.folder


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_clock_changes_between_two_runs_of_which_one_goes_on(leave_run, monkeypatch, seconds):
    first = leave_run()
    set_clock(monkeypatch, seconds)
    again = leave_run()
    assert again.folder.name == f"{first.folder.name}-2"
    assert len(runs.finished()) == 2


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_images_of_another_time_are_read_anew_when_they_change(tiny_dataset, monkeypatch, seconds):
    moment = time.time() + seconds
    for path in (tiny_dataset / "train").iterdir():
        os.utime(path, (moment, moment))
    now = time.time_ns
    with monkeypatch.context() as later:  # all times have settled by a clock that is set back then
        later.setattr(time, "time_ns", lambda: now() + 2 * HOUR * 10**9)
        first = dataset.load(tiny_dataset)
    path = first.paths(3)[2]
    replace_image(path)
    os.utime(path, (moment, moment))
    assert dataset.load(tiny_dataset).fingerprint != first.fingerprint


@pytest.mark.parametrize("seconds", [-HOUR, 0, HOUR])
def test_decoded_images_that_change_at_another_time_are_noticed(tiny, caplog, seconds):
    whole = np.array(open_cache(tiny))
    folder = cache.cache_folder(tiny, 20, "rgby")
    # As if they had been decoded before the clock was set: their seal lies at another time.
    status = (folder / "images.npy").stat()
    spoil(folder / "images.npy", 200, 1)
    sealed = max(status.st_mtime_ns, status.st_ctime_ns) + seconds * 10**9
    os.utime(folder / "digests.bin", ns=(sealed, sealed))
    np.testing.assert_array_equal(open_cache(tiny), whole)
    assert "are damaged" in caplog.text


# --- One byte that has changed ---------------------------------------------------------------


def spoil(path, position, bit):
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def each_flip(path, seed=0):
    """Change one bit of a file, `FLIPS` times; in between the file is as it was."""
    whole, random = path.read_bytes(), np.random.default_rng(seed)
    for position in random.choice(len(whole), FLIPS, replace=len(whole) < FLIPS).tolist():
        spoil(path, position, int(random.integers(8)))
        yield position
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["images.npy", "digests.bin"])
def test_flipped_byte_in_decoded_images_is_mended(tiny, name):
    whole = np.array(open_cache(tiny))
    folder = cache.cache_folder(tiny, 20, "rgby")
    before = contents(folder)
    path = folder / name
    for seed in range(FLIPS):
        random = np.random.default_rng(seed)
        time.sleep(0.01)  # file times are coarse
        spoil(path, int(random.integers(len(before[name]))), int(random.integers(8)))
        np.testing.assert_array_equal(open_cache(tiny), whole)
        assert (folder / "images.npy").read_bytes() == before["images.npy"]
    cache.open_cache(tiny, 20, "rgby", verify=True, progress=False)
    assert contents(folder) == before


def test_flipped_byte_in_near_duplicates_is_mended(write_dataset, tmp_path, caplog):
    folder = write_dataset(tmp_path / "images", size=40)
    for channel in ("red", "green", "blue", "yellow"):
        shutil.copy(*(folder / "train" / f"sample-{row:02}_{channel}.png" for row in (3, 17)))
    opened = dataset.load(folder)
    found = near_duplicates.find(opened)
    assert found.rows.tolist() == [[3, 17]]
    for _ in each_flip(near_duplicates.kept_pairs(opened)):
        caplog.clear()
        again = near_duplicates.find(opened)
        assert again.rows.tolist() == [[3, 17]]
        assert again.distances.tolist() == found.distances.tolist()
        assert "is damaged" in caplog.text or not caplog.text


def test_flipped_byte_in_marks_of_files_changes_no_fingerprint(tiny_dataset, monkeypatch):
    now = time.time_ns
    monkeypatch.setattr(file_marks.time, "time_ns", lambda: now() + HOUR * 10**9)
    first = dataset.load(tiny_dataset)
    [kept] = (paths.data_folder() / "cache").glob(f"*{file_marks.NAME_PART}*")
    for _ in each_flip(kept):
        assert dataset.load(tiny_dataset) == first


def test_flipped_byte_in_the_state_of_a_training_is_noticed(network, tmp_path):
    from hpa_lib import training_state

    path, variables = tmp_path / runs.STATE, network.optimizer.variables
    training_state.save(path, network, variables, [{"epoch": 1, "val_loss": 0.5}], "d" * 64)
    wanted = [variable.numpy() for variable in (*network.variables, *variables)]
    refused = 0
    for _ in each_flip(path):
        try:
            found = training_state.read_history(path), training_state.read_best(path)
            training_state.load(path, network, variables)
        except HpaError as error:
            refused += 1
            assert str(path) in error.problem
        else:  # in a date, or another field of the archive that nothing is read from
            assert found == ([{"epoch": 1, "val_loss": 0.5}], "d" * 64)
        for variable, value in zip((*network.variables, *variables), wanted, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)
    assert refused > FLIPS / 2


def read_everything(run, opened):
    """Everything that is read from a training run's folder but for its weights."""
    loaded = trained_runs.load(str(run.folder), "3_train_vgg")
    decided = run_decisions.read(run.name, opened)
    division = splits.read(run_digests.checked(run.folder / "split.csv"), opened)
    tables = [loaded.history, loaded.predictions, loaded.one_view]
    arrays = [decided.probability.tolist(), decided.thresholds.tolist(), decided.split]
    read = [loaded.manifest, loaded.metrics, *(table.to_csv() for table in tables), *arrays]
    return repr([*read, {part: rows.tolist() for part, rows in division.parts.items()}])


@pytest.mark.parametrize("name", [*RESULTS, runs.MANIFEST, run_digests.FILE])
def test_flipped_byte_in_a_file_of_a_run_is_noticed(tiny, name):
    run = leave(tiny)
    whole = read_everything(run, tiny)
    for position in each_flip(run.folder / name):
        try:
            found = read_everything(run, tiny)
        except HpaError as error:
            assert run.name in str(error)
        else:
            assert name == run_digests.FILE, position
            assert found == whole


@pytest.mark.parametrize("name", [runs.MANIFEST, runs.METRICS, "history.csv", "predictions.csv"])
def test_run_with_a_flipped_byte_is_not_shown_as_complete(tiny, name):
    run = leave(tiny)
    assert report_runs.read_run(run.folder).status == "complete"
    for position in each_flip(run.folder / name):
        shown = report_runs.read_run(run.folder)
        assert shown.status == "failed", position
        assert name in shown.reason or name == runs.MANIFEST


def test_flipped_byte_in_weights_is_noticed(leave_run, network):
    from hpa_lib import training

    run = leave_run()
    training.save_weights(network, run.folder / runs.BEST_WEIGHTS)
    run_digests.add(run.folder / runs.BEST_WEIGHTS)
    for _ in each_flip(run.folder / runs.BEST_WEIGHTS):
        with pytest.raises(HpaError, match=r"best\.weights\.h5 has changed since its run ended"):
            run.network(4)


def test_flipped_byte_in_embeddings_is_noticed_wherever_it_is(tmp_path):
    path = tmp_path / "embeddings.parquet"
    embedding_store.write(path, embeddings(samples=40))
    embedding_store.write(path, embeddings("run-two", 40), append=True)

    def read():
        store = EmbeddingStore(path)
        return repr([
            (run, store.samples(run).to_csv(), *(block.tolist() for block in store.blocks(run)))
            for run in store.runs
        ])  # fmt: skip

    whole, noticed, trials = read(), 0, 0
    for seed in range(20):
        for _ in each_flip(path, seed):
            trials += 1
            try:
                found = read()
            except HpaError as error:
                noticed += 1
                assert str(path) in error.problem
            else:  # in statistics, or other fields that nothing is read from
                assert found == whole
    assert noticed > trials / 2


def test_run_of_an_earlier_version_has_no_digests_and_is_read(tiny):
    run = leave(tiny)
    whole = read_everything(run, tiny)
    (run.folder / run_digests.FILE).unlink()
    assert read_everything(run, tiny) == whole


def test_coreutils_check_a_run(tiny):
    if not shutil.which("sha256sum"):
        pytest.skip("no sha256sum on the PATH")
    folder = leave(tiny).folder
    command = ["sha256sum", "--check", "--strict", run_digests.FILE]
    checked = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    names = {path.name for path in folder.iterdir()} - {run_digests.FILE}
    assert {line.split(":")[0] for line in checked.stdout.splitlines()} == names
