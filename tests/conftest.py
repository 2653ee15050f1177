import logging
import os
import shutil
import sys
from pathlib import Path

import cv2
import deprecations
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from jupyter_client.manager import start_new_kernel

from hpa_lib import dataset as datasets
from hpa_lib import labels
from hpa_lib.images import CHANNELS, channel_file

# Times vary with whatever else the machine does.
settings.register_profile("hpa", deadline=None)
settings.load_profile("hpa")


@pytest.fixture(scope="session", autouse=True)
def tensorflow_warns():
    """TensorFlow only logs what it gives up; see `deprecations.LoggedByTensorFlow`."""
    logging.getLogger("tensorflow").addHandler(deprecations.LoggedByTensorFlow())


@pytest.fixture(autouse=True)
def own_folders(monkeypatch, tmp_path_factory):
    """Data, runs and reports of a test lie in a folder of its own."""
    folder = tmp_path_factory.mktemp("hpa")
    for name in ("data", "runs", "reports"):
        monkeypatch.setenv(f"HPA_{name.upper()}", str(folder / name))


@pytest.fixture(scope="session", autouse=True)
def one_operation_at_a_time():
    """TensorFlow as `devices.prepare` wants it, before any test has computed something."""
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].config.threading.set_inter_op_parallelism_threads(1)


@pytest.fixture(scope="session")
def real_images():
    """The folder of real images in the Kaggle layout, which isn't part of the project."""
    folder = os.environ.get("HPA_REAL_IMAGES")
    if not folder:
        pytest.skip("HPA_REAL_IMAGES doesn't name a folder of real images")
    return Path(folder)


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright; it can't reach any other computer."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no chromium on the PATH")
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    refused = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", refused]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=options)
        yield started
        started.close()


def _write(folder, *, samples=24, size=20, seed=0, label_sets=None):
    random = np.random.default_rng(seed)
    if label_sets is None:
        label_sets = [(row % 28, 27 - row % 7) for row in range(samples)]
    (folder / "train").mkdir(parents=True)
    lines = ["Id,Target"]
    for row, indices in enumerate(label_sets):
        lines.append(f"sample-{row:02},{labels.format_target(set(indices))}")
        for channel in CHANNELS:
            path = channel_file(folder / "train", f"sample-{row:02}", channel)
            assert cv2.imwrite(str(path), random.integers(0, 256, (size, size), dtype=np.uint8))
    (folder / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def write_dataset():
    """Function that writes a folder in the Kaggle layout with random pixels."""
    return _write


@pytest.fixture
def tiny_dataset(tmp_path):
    """A folder in the Kaggle layout: 24 samples of 20×20 random pixels, for a test to spoil."""
    return _write(tmp_path / "tiny")


@pytest.fixture
def tiny(tiny_dataset):
    """The tiny dataset, opened."""
    return datasets.load(tiny_dataset)


@pytest.fixture(scope="session")
def labelled():
    """Function that makes a dataset of label sets, without image files."""

    def dataset(label_sets, name="labelled", fingerprint="f" * 64):
        ids = tuple(f"sample-{row}" for row in range(len(label_sets)))
        return datasets.Dataset(name, Path("nowhere"), ids, tuple(label_sets), fingerprint)

    return dataset


@pytest.fixture(scope="module")
def execute():
    """Function that runs code in an IPython kernel; returns the messages that a front end gets."""
    manager, client = start_new_kernel()

    def run(code, **metadata):
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        request = client.session.msg("execute_request", content, metadata=metadata)
        client.shell_channel.send(request)
        messages = []
        while not messages or messages[-1]["content"].get("execution_state") != "idle":
            message = client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                assert message["msg_type"] != "error", message["content"]["evalue"]
                messages.append(message)
        return messages

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


class ArraySource:
    """Images of an array, as `feed.ImageSource` gives them."""

    def __init__(self, pixels):
        self.shape, self.dtype, self._pixels = pixels.shape[1:], pixels.dtype, pixels

    def __getitem__(self, rows):
        return self._pixels[rows]


@pytest.fixture(scope="session")
def array_source():
    """Makes a source of images from an array of shape (samples, height, width, channels)."""
    return ArraySource


@pytest.fixture
def leave_run(tiny):
    """Function that leaves a finished training run of VGG16 behind, without training or weights."""
    from hpa_lib import parameters, paths, predictions, runs, trained_runs

    def leave(thresholds=(0.5,) * 28, **given):
        preset = parameters.read_preset(paths.PRESETS / "smoke.yaml")
        values = parameters.validate("3_train_vgg", preset | {"data": str(tiny.folder)} | given)
        run = runs.Run("3_train_vgg", values, "Title", tiny.description())
        run.write_table("history", pd.DataFrame({"epoch": [1], "val_loss": [0.5]}))
        table = predictions.table(tiny, {"shown": [0]}, {"shown": np.full((1, 28), 0.25)})
        predictions.write(run.folder / predictions.FILE, table)
        if values.all_views:
            predictions.write(run.folder / predictions.ONE_VIEW_FILE, table)
        found = {"backbone": "VGG16", "thresholds": list(thresholds), "never_empty": True}
        run.write_metrics(found | {"split": "s" * 64})
        run.finish()
        return trained_runs.load(run.name, "3_train_vgg")

    return leave
