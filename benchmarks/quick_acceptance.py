"""Claim: with preset quick both networks beat every trivial predictor, whatever the seed.

Runs both training notebooks with several seeds and compares each network on its report part with
the trivial predictors that are best there, by the paired bootstrap of `4_compare`. Each network
and seed takes some minutes on two cores.

    python benchmarks/quick_acceptance.py --seeds 3 4 5 --runs FOLDER

The preset was chosen on runs with the seeds 0, 1 and 2; others are used here. Runs are kept in
FOLDER, and those that were finished there with the same code and preset are not repeated. Without
it they go into a temporary folder.
"""

import argparse
import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd

from hpa_lib import (
    code_digest,
    comparison,
    evaluation,
    execution,
    paths,
    results,
    runs,
    trained_runs,
)
from hpa_lib.metrics import READABLE_NAMES

NOTEBOOKS = {"InceptionResNetV2": "2_train_resnet", "VGG16": "3_train_vgg"}
FACTOR = {"InceptionResNetV2": 2.0, "VGG16": 1.0}
"""How many times the best trivial macro F1 each network must reach."""


def train(folder: Path, seed: int, backbone: str) -> str:
    """Name of the run of one network and seed; trained now unless `folder` has it."""
    notebook = NOTEBOOKS[backbone]
    wanted = runs.preset_parameters("quick", notebook) | {"seed": seed}
    for path in folder.glob(f"*/{runs.MANIFEST}"):
        manifest = runs.read_manifest(path.parent)
        found = (manifest["status"], manifest["parameters"], manifest["code_digest"])
        if found == ("complete", wanted, code_digest.of_notebook(notebook)):
            return manifest["run"]
    executed = folder / f"{backbone}-{seed}.ipynb"
    preset = paths.PRESETS / "quick.yaml"
    return execution.execute(notebook, executed, preset, {"seed": seed}).name


def rows(run: trained_runs.TrainedRun, seed: int) -> Iterator[dict[str, object]]:
    """One row for each metric in which the network is set beside a trivial predictor."""
    truth, _ = run.arrays("report")
    bootstrap = evaluation.bootstrap_metrics(truth, comparison.decisions([run]))
    for metric in results.TRIVIAL_METRICS:
        trivial = run.metrics["trivial"][metric]
        pair = (run.label, comparison.trivial_name(trivial["name"]), metric)
        difference = bootstrap.differences.loc[pair]
        network, bar = (bootstrap.metrics.loc[(name, metric), "estimate"] for name in pair[:2])
        factor = FACTOR[run.backbone] if metric == "macro_f1" else 1.0
        yield {
            "network": run.backbone,
            "seed": seed,
            "metric": READABLE_NAMES[metric],
            "reached": network,
            "best trivial": bar,
            "its name": trivial["name"],
            "ratio": network / bar,
            "difference": difference["estimate"],
            "low": difference["low"],
            "high": difference["high"],
            "holds": bool(difference["low"] > 0 and network >= factor * bar),
        }


def main() -> None:
    """Train, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5], help="3 4 5 by default")
    parser.add_argument("--runs", type=Path, help="where runs are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.runs or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["HPA_RUNS"] = str(folder)
        jobs = list(itertools.product([folder], options.seeds, NOTEBOOKS))
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(len(NOTEBOOKS), mp_context=spawn) as pool:
            names = list(pool.map(train, *zip(*jobs, strict=True)))
        found = [
            row
            for name, (_, seed, backbone) in zip(names, jobs, strict=True)
            for row in rows(trained_runs.load(name, NOTEBOOKS[backbone]), seed)
        ]
    print(pd.DataFrame(found).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
