"""Claim: the recipe as a whole at least doubles the macro F1 of the study's protocol.

From the study's protocol to preset `best`, one ingredient after the other is added to all those
before it, on the embedded dataset and from random weights, with equal numbers of samples seen.
The first row is the study to the letter but for its split, which validates on training rows: all
rows have the stratified split of their seed, and are measured on its report part. The study's two
stages keep their proportions. What only changes the evaluation comes first, and then what lets
so short a training from random weights learn at all: without these no other ingredient shows.

Macro F1 is that of the report parts of all seeds together; its difference from the row above has
a 95 % interval from a paired bootstrap over their samples.

    python benchmarks/ablation.py --seeds 0 1 2 --epochs 6 --keep FOLDER

A training takes eight minutes on one core, and there are 16 for each seed; two run at a time.
Predictions are kept in FOLDER, and a training whose predictions lie there isn't repeated. What
the networks of a seed decide is written to benchmarks/ablation/, with the digest of their code;
such seeds are read, unless --again is given or a parameter has changed.
"""

import argparse
import itertools
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import code_digest, evaluation, files, labels, metrics, parameters, paths, thresholds

NOTEBOOK = "2_train_resnet"
RESULTS = Path(__file__).with_name("ablation")
BATCH, WIDER_BATCH = 10, 16
FACTOR = 2.0
REESTIMATION_BATCHES = 12
EVALUATION = ("reestimation_batches", "threshold_rule", "all_views")
"""Parameters that change nothing in the weights; the network is trained without them."""


def arms(epochs: int, training_rows: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Each row's name and its parameters, those of the rows above included."""
    study = parameters.read_preset(paths.PRESETS / "seed.yaml")
    quick = parameters.read_preset(paths.PRESETS / "quick.yaml")
    best = parameters.read_preset(paths.PRESETS / "best.yaml")
    first, second = study["stages"]
    part = max(1, round(epochs * first["epochs"] / (first["epochs"] + second["epochs"])))
    embedded = ("synthetic_samples", "synthetic_size", "synthetic_micrometres", "image_size")
    values = study | {name: quick[name] for name in embedded}
    values |= {
        "weights": "none",
        "split": "stratified",
        "image_source": "cache",
        "deterministic": True,
        "cpu_threads": 1,
        "steps_per_epoch": training_rows // BATCH,
        "stages": [first | {"epochs": part}, second | {"epochs": epochs - part}],
    }
    course = [quick["stages"][0] | {"epochs": epochs}]
    wider = {"batch_size": WIDER_BATCH, "steps_per_epoch": training_rows // WIDER_BATCH}
    added = {
        "the study's protocol": {},
        "statistics re-estimated": {"reestimation_batches": REESTIMATION_BATCHES},
        "thresholds by expected F1": {"threshold_rule": quick["threshold_rule"]},
        "eight views": {"all_views": True},
        "one stage, warm-up, cosine": {
            "stages": course,
            "learning_rate_schedule": "cosine",
            "warmup_epochs": 1.0,
        },
        "no dropout": {"dropout": 0.0},
        "scaled random weights": {"random_weights": "scaled"},
        "whole passes, batches of 16": {"draws": "epochs", **wider},
        "all four stains": {"composition": "rgby"},
        "reduced by area": {"interpolation": "area"},
        "square root of intensities": {"intensity": "square_root"},
    }
    names = {
        "augmentation": "all eight views in training",
        "head": "average and maximum pooled",
        "input_scaling": "input scaled for the backbone",
        "loss": "focal loss",
        "sampling": "rare classes more often",
        "gradient_clip": "gradients clipped",
        "dropout": "dropout again",
    }
    added |= {name: {parameter: best[parameter]} for parameter, name in names.items()}
    added["weights averaged"] = {"weight_averaging": 0.98}  # of as many steps as there are here
    added["thresholds by training frequency"] = {"threshold_rule": best["threshold_rule"]}
    for name, ingredient in added.items():
        values = values | ingredient
        yield name, values


def trained(values: dict[str, object]) -> dict[str, object]:
    """The parameters that the weights depend on, the others as in the study."""
    return values | {"reestimation_batches": 0, "threshold_rule": "0.5", "all_views": False}


def kept(folder: Path, values: dict[str, object]) -> Path:
    """Where the predictions of a training lie."""
    return folder / f"{files.digest_json(trained(values))[:16]}.npz"


def train(folder: Path, given: dict[str, object]) -> None:
    """Train, and keep predictions before and after statistics are re-estimated."""
    if kept(folder, given).is_file():
        return
    from hpa_lib import devices, feed, inference, initialization, models, notebook, splits, training
    from hpa_lib.batch_normalization import Reestimator

    values = parameters.validate(NOTEBOOK, trained(given))
    devices.prepare(values)
    dataset = notebook.open_dataset(values)
    division = splits.split(dataset, values.split, values.seed)
    source = feed.open_source(
        dataset, values.image_source, values.image_size, values.composition, values.interpolation
    )
    batches = feed.training_feed(source, dataset, division, values)
    model = models.configured(values, source.shape[-1])
    initialization.initialize(model, source, dataset, division, values)
    predictor = inference.Predictor(model)
    validation = training.open_validation(source, dataset, division, values)
    with tempfile.TemporaryDirectory() as temporary:
        settings = training.options(values)
        trainer = training.Trainer(model, batches, validation, predictor, Path(temporary), settings)
        trainer.run(*training.stages(values))
    parts = {name: division.parts[name] for name in ("threshold", "report")}
    found = {f"{name} truth": dataset.multi_hot[rows] for name, rows in parts.items()}
    found["frequency"] = dataset.multi_hot[division.parts["training"]].mean(axis=0)
    found |= {f"{name} lagging": predictor(source, rows) for name, rows in parts.items()}
    order = batches.epoch_rows(len(trainer.history))[:REESTIMATION_BATCHES]
    Reestimator(model)(batches.batch(0, step, rows)[0] for step, rows in enumerate(order))
    for name, rows in parts.items():
        found[f"{name} False"] = predictor(source, rows)
        found[f"{name} True"] = predictor(source, rows, all_views=True)
    with files.replacing(kept(folder, given)) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **found)


def decisions(folder: Path, values: dict[str, object]) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the report part, and those that the network gives."""
    way = str(values["all_views"]) if values["reestimation_batches"] else "lagging"
    with np.load(kept(folder, values)) as found:
        cut = thresholds.tune(
            values["threshold_rule"],
            found["threshold truth"],
            found[f"threshold {way}"],
            found["frequency"],
        )
        return found["report truth"], metrics.decide(found[f"report {way}"], cut)


def written(seed: int) -> Path:
    """The file with all decisions of a seed: a row a sample, a column a row of the table."""
    return RESULTS / f"seed-{seed}.csv"


def write(seed: int, folder: Path, rows: list[tuple[str, dict[str, object]]]) -> None:
    """Write down what the trainings of a seed decide, with what identifies them."""
    found = {name: decisions(folder, values | {"seed": seed}) for name, values in rows}
    truth = next(iter(found.values()))[0]
    arrays = {"truth": truth} | {name: decided for name, (_, decided) in found.items()}
    table = {
        name: [labels.format_target(each) for each in labels.from_multi_hot(array)]
        for name, array in arrays.items()
    }
    RESULTS.mkdir(exist_ok=True)
    files.write_text(written(seed), pd.DataFrame(table).to_csv(index=False))
    code = code_digest.of_notebook(NOTEBOOK)
    record = {"code": code, "parameters": files.digest_json([values for _, values in rows])}
    files.write_json(written(seed).with_suffix(".json"), record)


def read(seed: int, rows: list[tuple[str, dict[str, object]]]) -> tuple[pd.DataFrame, str] | None:
    """Decisions of a seed and the digest of their code; None if there are none of these rows."""
    record = written(seed).with_suffix(".json")
    if not record.is_file():
        return None
    known = files.read_json(record)
    if known["parameters"] != files.digest_json([values for _, values in rows]):
        return None
    table = pd.read_csv(written(seed), dtype=str, keep_default_na=False)
    return table, known["code"]


def main() -> None:
    """Train what is missing, and print one row an ingredient."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="0 1 2 by default")
    parser.add_argument("--epochs", type=int, default=6, help="of 900 samples (%(default)s)")
    parser.add_argument("--keep", type=Path, help="where predictions are kept")
    parser.add_argument("--again", action="store_true", help="train, whatever is written down")
    given = parser.parse_args()
    samples = parameters.TrainParameters().synthetic_samples
    rows = list(arms(given.epochs, round(0.6 * samples)))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).absolute()
        missing = [seed for seed in given.seeds if given.again or not read(seed, rows)]
        spawn = multiprocessing.get_context("spawn")
        for seed in missing:
            jobs = {
                kept(folder, each): each for _, values in rows if (each := values | {"seed": seed})
            }
            with ProcessPoolExecutor(2, mp_context=spawn, max_tasks_per_child=1) as pool:
                list(pool.map(train, itertools.repeat(folder), jobs.values()))
            write(seed, folder, rows)
    found = [read(seed, rows) for seed in given.seeds]
    table = pd.concat([each for each, _ in found])
    arrays = {
        name: labels.to_multi_hot([labels.parse_target(text) for text in column])
        for name, column in table.items()
    }
    truth = arrays.pop("truth")
    print_table(evaluation.bootstrap_metrics(truth, arrays))
    for seed, (_, code) in zip(given.seeds, found, strict=True):
        print(f"seed {seed}: code {code[:8]}")


def print_table(result: evaluation.BootstrapResult) -> None:
    """Print one row an ingredient, and what the whole is worth."""
    macro = result.metrics.xs("macro_f1", level="metric")["estimate"]
    table = []
    for number, name in enumerate(macro.index):
        row = {
            "added": name,
            "macro F1": macro[name],
            "times the study's": macro[name] / macro.iloc[0],
        }
        if number:
            pair = result.differences.loc[(macro.index[number - 1], name, "macro_f1")]
            row |= {"difference": -pair["estimate"], "low": -pair["high"], "high": -pair["low"]}
        table.append(row)
    print(pd.DataFrame(table).to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    whole = macro.iloc[-1] / macro.iloc[0]
    print(f"The whole: {whole:.1f} times (at least {FACTOR:g})")


if __name__ == "__main__":
    main()
