"""Watch a training: its history as a file, TensorBoard logs, and a live view in a front end.

Where nobody looks on, the lines that `training.Trainer` logs after each epoch are all there is.
"""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import DisplayHandle, display
from tqdm import tqdm

from hpa_lib import front_end, plots
from hpa_lib.backend import tf
from hpa_lib.parameters import TrainParameters
from hpa_lib.runs import Run
from hpa_lib.training import Watcher

TENSORBOARD = "tensorboard"
"""Subfolder of a run with TensorBoard's event files."""

log = logging.getLogger(__name__)


def watchers(values: TrainParameters, run: Run) -> list[Watcher]:
    """What watches the training of a notebook.

    The history file always does, TensorBoard where the parameter ``tensorboard`` asks for it, and
    a live view where someone looks on. The latter two are dispensable.

    Args:
        values: The notebook's parameters.
        run: Its run.
    """
    dispensable: list[Watcher] = []
    if values.tensorboard:
        log.info("To see the curves in TensorBoard: tensorboard --logdir runs")
        dispensable.append(TensorBoard(run.folder / TENSORBOARD))
    if front_end.someone_looks_on():
        dispensable.append(LiveView(values.backbone))
    return [HistoryFile(run), *map(Dispensable, dispensable)]


class HistoryFile(Watcher):
    """Keeps ``history.csv`` of a run up to date.

    Args:
        run: The run that is being written.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def epochs(self, history: pd.DataFrame) -> None:
        """Write the table anew, all or nothing."""
        self._run.write_table("history", history)


class TensorBoard(Watcher):
    """Writes what the history says of each epoch as event files for TensorBoard.

    What begins with ``val_`` goes, without it, into the subfolder ``validation``, all else into
    ``training``, so that both lie in one chart.

    Args:
        folder: Where to write. Event files that lie there are removed, and the epochs of an
            interrupted training are written again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        self._written = 0

    def epochs(self, history: pd.DataFrame) -> None:
        """Write the epochs that aren't written yet."""
        if not self._writers:
            if self._folder.exists():
                shutil.rmtree(self._folder)
            for part in ("training", "validation"):
                self._writers[part] = tf.summary.create_file_writer(str(self._folder / part))
        for row in history.iloc[self._written :].to_dict("records"):
            self._write(row.pop("epoch"), row)
        self._written = len(history)
        for writer in self._writers.values():
            writer.flush()

    def _write(self, epoch: int, row: dict[str, float | str]) -> None:
        for column, value in row.items():
            name = column.removeprefix("val_")
            write = tf.summary.text if isinstance(value, str) else tf.summary.scalar
            with self._writers["training" if name == column else "validation"].as_default():
                write(name, value, step=epoch)


class LiveView(Watcher):
    """A progress bar and growing learning curves below the cell that trains; gone afterwards.

    The notebooks draw the curves of a finished training in a cell of its own.

    Args:
        name: Name of the network.
    """

    _PAUSE = 0.5  # seconds between two states of the bar

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: DisplayHandle | None = None
        self._curves: DisplayHandle | None = None
        self._shown = self._first_ended = 0.0
        self._first = 0

    def steps(self, done: int, total: int) -> None:
        """Move the bar. The first step isn't counted in the time left: it builds the network."""
        now = time.monotonic()
        if self._bar is None:
            bar = _bar("", "The first step takes the longest.")
            self._bar = display(bar, raw=True, display_id=True)
            self._curves = display({}, raw=True, display_id=True)
        elif not self._first:
            self._first, self._first_ended = done, now
        elif now - self._shown >= self._PAUSE or done == total:
            self._shown = now
            left = (total - done) * (now - self._first_ended) / (done - self._first)
            text = f"{done} of {total} steps, about {tqdm.format_interval(left)} left"
            self._bar.update(_bar(f'value="{done}" max="{total}"', text), raw=True)

    def epochs(self, history: pd.DataFrame) -> None:
        """Draw the curves anew, in place; a single epoch is no curve yet."""
        if len(history) < 2:
            return
        data, metadata = plots.curves({self._name: history}).bundle()
        self._curves.update(data, metadata=metadata, raw=True)

    def end(self) -> None:
        """Take both away."""
        for handle in (self._bar, self._curves):
            handle.update({}, raw=True)
        self._bar, self._first = None, 0


class Dispensable(Watcher):
    """A watcher that no training is lost by: when it fails, it is left out from then on.

    Args:
        watcher: The watcher.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._failed = False

    def steps(self, done: int, total: int) -> None:
        """Pass it on."""
        self._pass_on("steps", done, total)

    def epochs(self, history: pd.DataFrame) -> None:
        """Pass it on."""
        self._pass_on("epochs", history)

    def end(self) -> None:
        """Pass it on."""
        self._pass_on("end")

    def _pass_on(self, event: str, *arguments: Any) -> None:
        if self._failed:
            return
        try:
            getattr(self._watcher, event)(*arguments)
        except Exception as error:
            self._failed = True
            log.warning(
                "The training goes on without %s, which has failed (%s: %s).",
                type(self._watcher).__name__,
                type(error).__name__,
                error,
            )


def _bar(state: str, text: str) -> dict[str, str]:
    """Notebook output: a bar, which moves to and fro where no state is given, and a text."""
    return {"text/html": f'<progress style="width: 24em" {state}></progress> {text}'}
