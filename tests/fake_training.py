"""The command `hpa` for tests of sweeps: all of it is real, but that nothing is learned.

In place of a training notebook a run is left with probabilities drawn from its seed. Faults are
files in the folder `HPA_FAULTS`: `<fold>-<seed>` holds a word for each attempt, such as `kill`.
Each attempt adds a line to `attempts` there.
"""

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import (
    cache,
    cli,
    execution,
    files,
    notebook,
    parameters,
    predictions,
    results,
    runs,
    splits,
)
from hpa_lib.errors import HpaError

execute_notebook = execution.execute


def execute(name, output, preset=None, overrides=None):
    if not name.endswith(("train_resnet", "train_vgg")):
        return execute_notebook(name, output, preset, overrides)
    values = parameters.validate(name, parameters.read_preset(preset) | overrides)
    dataset = notebook.open_dataset(values)
    image = (dataset, values.image_size, values.composition, values.interpolation)
    decoded = cache.cache_folder(*image).exists()
    run = runs.Run(name, values, "Fake training", dataset.description())
    going_on = (run.folder / runs.STATE).is_file()
    (run.folder / runs.STATE).write_bytes(b"an epoch")
    fault = next_fault(values, run.name, decoded, going_on)
    if fault == "slow":
        time.sleep(3)
    elif fault == "fail":
        run.fail("HpaError: The disk is full.")
        raise HpaError("The disk is full.", "Make room.")
    elif fault == "lose-log":
        shutil.rmtree(output.parent / "logs")
    elif fault in ("kill", "kill-elsewhere"):
        if fault == "kill-elsewhere":  # as another machine sees it: nobody can look for the process
            manifest = files.read_json(run.folder / runs.MANIFEST)
            files.write_json(run.folder / runs.MANIFEST, manifest | {"host": "elsewhere"})
        os.killpg(0, signal.SIGKILL)
    division = splits.split(dataset, values.split)
    random = np.random.default_rng([values.seed, len(values.split)])
    parts = division.evaluation_parts
    probabilities = {
        part: np.clip(
            0.3 + 0.3 * dataset.multi_hot[rows] + random.normal(0, 0.2, (len(rows), 28)), 0, 1
        )
        for part, rows in parts.items()
    }
    table = predictions.table(dataset, parts, probabilities)
    predictions.write(run.folder / predictions.FILE, table)
    if values.all_views:
        predictions.write(run.folder / predictions.ONE_VIEW_FILE, table)
    run.write_table("history", pd.DataFrame({"epoch": [1], "val_loss": [0.5]}))
    found = results.training_results(
        values.backbone, dataset, division, table, threshold_rule=values.threshold_rule,
        never_empty=values.never_empty, epoch=1, samples_seen=1,
    )  # fmt: skip
    run.write_metrics(found)
    run.finish()
    return run.folder


def next_fault(values, run, decoded, going_on):
    """The word for this attempt, which is written down with what the attempt has met."""
    folder = Path(os.environ["HPA_FAULTS"])
    name = f"{values.split.split()[1]}-{values.seed}"
    with (folder / "attempts").open("a+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        earlier = [json.loads(line) for line in stream]
        number = sum(one["member"] == name for one in earlier)
        words = (folder / name).read_text().split() if (folder / name).is_file() else []
        fault = words[number] if number < len(words) else ""
        attempt = {
            "member": name,
            "run": run,
            "fault": fault,
            "decoded": decoded,
            "going_on": going_on,
            "scratch": os.environ.get("TMPDIR", ""),
        }
        stream.write(json.dumps(attempt) + "\n")
    return fault


if __name__ == "__main__":
    execution.execute = execute
    sys.exit(cli.main())
