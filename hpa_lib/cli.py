"""The command ``hpa``."""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from hpa_lib import downloads, paths
from hpa_lib.errors import HpaError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, 1 for a finding, 2 for a mistake, 130 for an interruption.
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        return options.action(options)
    except HpaError as error:
        print(f"hpa: {error.problem}\n     {error.remedy}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"hpa: {error}\n     Check that the path exists and may be written, and that its disk "
            "isn't full.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("hpa: interrupted; the same command goes on, or starts anew.", file=sys.stderr)
        return 130


def _doctor(options: argparse.Namespace) -> int:
    from hpa_lib import doctor

    findings = doctor.examine()
    if options.json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{finding.level:5}  {finding.subject}: {finding.text}")
            if finding.remedy:
                print(f"       → {finding.remedy}")
    return int(any(finding.level == "error" for finding in findings))


def _synth(options: argparse.Namespace) -> int:
    from hpa_lib import synthetic

    variants = synthetic.Variants(
        test_samples=options.test_samples,
        test_exposure=options.test_exposure,
        near_duplicates=options.near_duplicates,
        corrupted_files=options.corrupted_files,
    )
    folder = synthetic.write_dataset(
        options.folder,
        options.samples,
        seed=options.seed,
        size=options.size,
        micrometres=options.micrometres,
        balance=options.balance,
        variants=variants,
        workers=options.workers,
    )
    print(folder)
    return 0


def _embedded(options: argparse.Namespace) -> int:
    from hpa_lib import embedded

    print(embedded.write_embedded(options.samples, options.size, options.micrometres))
    return 0


def _gallery(options: argparse.Namespace) -> int:
    from hpa_lib import gallery

    print(gallery.write(options.folder))
    return 0


def _check(options: argparse.Namespace) -> int:
    import cv2

    from hpa_lib import checks, label_tables, layouts

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the report says it
    leave_out = label_tables.parse_leave_out(options.leave_out)
    report = checks.check(layouts.data_path(options.folder), leave_out)
    print(json.dumps(report.as_json(), indent=2) if options.json else checks.as_text(report))
    if report.unusable and not options.json:
        print()
        if report.can_be_left_out != report.unusable:
            print(
                f"Mend the rows of {report.label_table} whose Id can't be named in --leave-out, "
                "such as an empty one; the findings give their lines."
            )
        if report.can_be_left_out:
            names = ",".join(report.can_be_left_out)
            print(f"Mend these files or rows, or go on without them: --leave-out {names}")
            print("In notebooks and the pipeline this is the parameter leave_out.")
    return int(bool(report.findings))


def _prepare(options: argparse.Namespace) -> int:
    from hpa_lib import cache, dataset, label_tables, layouts, near_duplicates, parameters

    names = ("image_size", "composition", "interpolation")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    values = parameters.validate("2_train_resnet", given)
    leave_out = label_tables.parse_leave_out(options.leave_out)
    opened = dataset.load(layouts.data_path(options.folder), leave_out)
    wanted = (opened, values.image_size, values.composition, values.interpolation)
    cache.open_cache(*wanted, verify=options.verify)
    near_duplicates.open_pictures(opened, verify=options.verify)
    print(cache.cache_folder(*wanted))
    return 0


def _prune(options: argparse.Namespace) -> int:
    from hpa_lib import cache_pruning

    found = cache_pruning.outdated()
    if options.list:
        removed, locked = found, []
    else:
        removed, locked = cache_pruning.remove(found)
    for entry in removed:
        print(f"{entry.size:>15,} bytes  {entry.path}")
    for entry in locked:
        print(f"in use, and left: {entry.path}")
    done = "could be freed" if options.list else "freed"
    print(f"{sum(entry.size for entry in removed):,} bytes {done}")
    return 0


def _unpack(options: argparse.Namespace) -> int:
    from hpa_lib import archives

    report = archives.unpack(options.archives, options.folder, most_bytes=options.limit * 2**30)
    print(f"{report.written:,} files written, {report.present:,} there already: {options.folder}")
    for nested in report.nested:
        print(f"An archive lay inside: hpa data unpack {nested} {options.folder}")
    return 0


def _fetch_kaggle(options: argparse.Namespace) -> int:
    from hpa_lib import fetch

    print(fetch.fetch_kaggle(options.folder, keep_archive=options.keep_archive))
    return 0


def _fetch_atlas(options: argparse.Namespace) -> int:
    from hpa_lib import fetch

    base = fetch.ATLAS_IMAGES if options.base is None else options.base
    politeness = downloads.Politeness(options.connections, options.per_second)
    report = fetch.fetch_atlas(options.folder, options.ids, base=base, politeness=politeness)
    print(
        f"{report.written:,} files written, {report.present:,} there already; "
        f"{report.samples:,} whole samples: {options.folder}"
    )
    if len(report.missing):
        print(f"{len(report.missing):,} files are missing:")
        print(report.missing.to_csv(index=False, lineterminator="\n"), end="")
    return int(bool(len(report.missing)))


def _predict(options: argparse.Namespace) -> int:
    files = [path for path in (options.output, options.submission) if path]
    _refuse_outputs(files, options.force)

    from hpa_lib import (
        dataset,
        folder_prediction,
        label_tables,
        predictions,
        submissions,
        trained_runs,
    )

    run = trained_runs.load(options.run, "2_train_resnet")
    images = dataset.load_images(options.images, label_tables.parse_leave_out(options.leave_out))
    if options.submission:
        sample = options.sample_submission or submissions.find_sample(options.images)
        order = submissions.read_order(sample, images.ids)
    values = run.values()
    device = folder_prediction.prepare(
        values.model_copy(update={"device": options.device or values.device})
    )
    started = time.monotonic()
    probability = folder_prediction.predict(
        run, images, all_views=options.all_views, batch_size=options.batch_size
    )
    seconds = time.monotonic() - started
    predicted = folder_prediction.table(run, images, probability, never_empty=options.never_empty)
    predictions.write(options.output, predicted)
    if options.submission:
        submissions.write(options.submission, predicted, order)
    summary = folder_prediction.summary(run, images, predicted, all_views=options.all_views)
    if options.json:
        more = {"device": device, "seconds": round(seconds, 3), "files": list(map(str, files))}
        print(json.dumps(summary | more, indent=2))
    else:
        print(
            f"{len(images):,} samples predicted by {run.label} on {device} in {seconds:,.1f} s; "
            f"{summary['without_label']:,} got no label"
        )
        print(*files, sep="\n")
    return 0


def _refuse_outputs(files: Sequence[Path], force: bool) -> None:
    """Refuse files that can't be written, or shouldn't be, before hours of work."""
    if len(set(files)) < len(files):
        raise HpaError(f"{files[0]} is named for two outputs.", "Name two files.")
    for path in files:
        if path.is_dir() or (path.exists() and not force):
            raise HpaError(
                f"{path} is there already.",
                "Name another file, or replace this one with --force; a folder isn't replaced.",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def _execute(options: argparse.Namespace) -> int:
    from hpa_lib import execution

    overrides = {name: _yaml_value(name, text) for name, text in options.parameter}
    folder = execution.execute(options.notebook, options.output, options.preset, overrides)
    print(folder)
    return 0


def _yaml_value(name: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise HpaError(
            f"Parameter {name} received {text!r}, which isn't YAML.",
            "Put text with special characters into quotes, such as '\"[a\"'.",
        ) from error


def _publish(options: argparse.Namespace) -> int:
    from hpa_lib import execution, reports, runs

    for executed in options.notebooks:
        if execution.store(executed) is None:
            raise HpaError(
                f"{executed} belongs to no run in {paths.runs_folder()}.",
                "Give a notebook that papermill executed, and keep its run folder.",
            )
    runs.settle(paths.runs_folder())
    pages = reports.publish(paths.runs_folder(), paths.reports_folder())
    print(f"{len(pages)} pages written; open {paths.reports_folder() / 'index.html'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hpa",
        description="Subcellular locations of human proteins: data, notebooks, reports.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    doctor = commands.add_parser(
        "doctor",
        help="check whether the main job can run here",
        description="Check this machine; exit status 1 if the main job could not run.",
    )
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.set_defaults(action=_doctor)

    data = commands.add_parser("data", help="write, check, download, unpack and decode datasets")
    data_commands = data.add_subparsers(required=True, metavar="COMMAND")

    synth = data_commands.add_parser(
        "synth",
        help="write the synthetic dataset in the Kaggle layout",
        epilog="Example: hpa data synth /tmp/synthetic --samples 200 --seed 1",
    )
    synth.add_argument("folder", type=Path, help="folder to write; new, empty, or unfinished")
    synth.add_argument("--samples", type=int, default=1000, help="number of samples (%(default)s)")
    synth.add_argument("--seed", type=int, default=0, help="seed of all randomness (%(default)s)")
    synth.add_argument("--size", type=int, default=512, help="pixels a side (%(default)s)")
    synth.add_argument(
        "--micrometres", type=float, default=164.0,
        help="height and width of what an image shows; less shows fewer, larger cells "
        "(%(default)s, as on Kaggle)",
    )  # fmt: skip
    synth.add_argument("--balance", action="store_true", help="make all classes equally frequent")
    synth.add_argument(
        "--test-samples", type=int, default=0,
        help="samples of a test part without labels, as on Kaggle (%(default)s)",
    )  # fmt: skip
    synth.add_argument(
        "--test-exposure", type=float, default=0.75,
        help="brightness of the test part relative to training (%(default)s, as on Kaggle)",
    )  # fmt: skip
    synth.add_argument(
        "--near-duplicates", type=float, default=0.0, metavar="SHARE",
        help="share of samples that are a second crop of another's field (%(default)s)",
    )  # fmt: skip
    synth.add_argument(
        "--corrupted-files", type=int, default=0, help="damaged image files (%(default)s)"
    )
    synth.add_argument("--workers", type=int, help="processes (one a core)")
    synth.set_defaults(action=_synth)

    embedded = data_commands.add_parser(
        "embedded",
        help="write the synthetic dataset that the notebooks use where no data is given",
        epilog="Example: hpa data embedded --samples 1500 --size 256",
    )
    embedded.add_argument("--samples", type=int, default=1500, help="(%(default)s)")
    embedded.add_argument("--size", type=int, default=256, help="pixels a side (%(default)s)")
    embedded.add_argument(
        "--micrometres", type=float, default=90.0, help="shown by an image, a side (%(default)s)"
    )
    embedded.set_defaults(action=_embedded)

    gallery = data_commands.add_parser(
        "gallery",
        help="draw the 28 patterns and write a page that describes them",
        epilog="Example: hpa data gallery docs",
    )
    gallery.add_argument("folder", type=Path, help="folder for gallery.md and its figures")
    gallery.set_defaults(action=_gallery)

    check = data_commands.add_parser(
        "check",
        help="decode every file of a dataset and report",
        description="Decode every file of a dataset; exit status 1 if there is a finding.",
        epilog="Example: hpa data check ~/kaggle/human-protein-atlas",
    )
    check.add_argument("folder", help="data folder, or kaggle for the competition's folder")
    check.add_argument(
        "--leave-out", default="", metavar="IDS",
        help="Ids to leave out, separated by commas, or a .txt or .csv file that lists them",
    )  # fmt: skip
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    check.set_defaults(action=_check)

    prepare = data_commands.add_parser(
        "prepare",
        help="decode a dataset once, ahead of the notebooks",
        description="Decode a dataset once and keep the images as notebooks with the same "
        "parameters use them. An interrupted command is taken up again by the same command.",
        epilog="Example: hpa data prepare ~/kaggle/hpa --size 299 --composition rgby",
    )
    prepare.add_argument("folder", help="data folder, or kaggle for the competition's folder")
    prepare.add_argument(
        "--size", type=int, dest="image_size", help="as the notebooks' parameter image_size"
    )
    prepare.add_argument("--composition", help="as the notebooks' parameter: composite or rgby")
    prepare.add_argument("--interpolation", help="as the notebooks' parameter: area or bilinear")
    prepare.add_argument(
        "--leave-out", default="", metavar="IDS", help="as the notebooks' parameter leave_out"
    )
    prepare.add_argument(
        "--verify", action="store_true",
        help="compare all decoded images with their digests; decode damaged ones again",
    )  # fmt: skip
    prepare.set_defaults(action=_prepare)

    prune = data_commands.add_parser(
        "prune",
        help="remove decoded images that other versions of the code made",
        description="Remove the decoded images and near-duplicates that this version of the code "
        "and of OpenCV doesn't use, whatever their dataset. Unfinished ones, and those that are "
        "being made, are left.",
        epilog="Example: hpa data prune --list",
    )
    prune.add_argument("--list", action="store_true", help="list them and remove nothing")
    prune.set_defaults(action=_prune)

    unpack = data_commands.add_parser(
        "unpack",
        help="unpack downloaded zip archives safely",
        epilog="Example: hpa data unpack train.zip test.zip ~/kaggle/hpa; "
        "an interrupted command is taken up again by the same command",
    )
    unpack.add_argument("archives", type=Path, nargs="+", metavar="archive", help="zip archives")
    unpack.add_argument("folder", type=Path, help="folder to unpack into")
    unpack.add_argument(
        "--limit", type=int, default=100, metavar="GIB",
        help="refuse archives that expand to more than this (%(default)s GiB)",
    )  # fmt: skip
    unpack.set_defaults(action=_unpack)

    fetch = data_commands.add_parser(
        "fetch", help="download published images",
        description="Download published images; an interrupted command is taken up again by the "
        "same command.",
    )  # fmt: skip
    sources = fetch.add_subparsers(required=True, metavar="SOURCE")
    kaggle = sources.add_parser(
        "kaggle",
        help="the competition's files, through Kaggle's client (pip install kaggle)",
        epilog="Needs a Kaggle account, an API token, and that you have accepted the rules of "
        "the competition Human Protein Atlas Image Classification.",
    )
    kaggle.add_argument("folder", type=Path, help="folder to write")
    kaggle.add_argument("--keep-archive", action="store_true", help="keep the downloaded archive")
    kaggle.set_defaults(action=_fetch_kaggle)
    atlas = sources.add_parser(
        "hpav18",
        help="images of the Human Protein Atlas, version 18, by id",
        description="Exit status 1 if a file could not be had.",
        epilog="Example: hpa data fetch hpav18 ~/hpav18 --ids HPAv18RBGY_wodpl.csv",
    )
    atlas.add_argument("folder", type=Path, help="folder to write")
    atlas.add_argument(
        "--ids", type=Path, required=True, help="CSV file with the columns Id and Target"
    )
    atlas.add_argument(
        "--base", help="address below which the images lie (that of the Human Protein Atlas)"
    )
    atlas.add_argument(
        "--connections", type=int, default=downloads.Politeness.connections,
        help="downloads at the same time (%(default)s)",
    )  # fmt: skip
    atlas.add_argument(
        "--per-second", type=float, default=downloads.Politeness.per_second,
        help="requests a second at most (%(default)s)",
    )  # fmt: skip
    atlas.set_defaults(action=_fetch_atlas)

    predict = commands.add_parser(
        "predict",
        help="predict the images of a folder with a trained run",
        description="Predict the images of a folder with the network and the thresholds of a "
        "training run, on all cores or a GPU.",
        epilog="Example: hpa predict runs/best-2_train_resnet-0f1e2d3c ~/kaggle/hpa/test "
        "-o predictions.csv --submission submission.csv",
    )
    predict.add_argument("run", help="name or folder of a finished training run")
    predict.add_argument(
        "images", type=Path,
        help="data folder, whose labels are ignored, or a folder of images without labels",
    )  # fmt: skip
    predict.add_argument(
        "-o", "--output", type=Path, required=True, metavar="CSV",
        help="file for Ids, labels, and the probability of each class",
    )  # fmt: skip
    predict.add_argument(
        "--submission", type=Path, metavar="CSV", help="file for a submission to Kaggle"
    )
    predict.add_argument(
        "--sample-submission", type=Path, metavar="CSV",
        help="gives the submission's order (sample_submission.csv in IMAGES or its parent)",
    )  # fmt: skip
    views = predict.add_mutually_exclusive_group()
    views.add_argument(
        "--all-views", action="store_true", default=None,
        help="average over eight flips and turns (as the run, whose thresholds fit that)",
    )  # fmt: skip
    views.add_argument(
        "--one-view", action="store_false", dest="all_views", default=None,
        help="predict images as they are, eight times as fast",
    )  # fmt: skip
    empty = predict.add_mutually_exclusive_group()
    empty.add_argument(
        "--never-empty", action="store_true", default=None,
        help="give the nearest class where no probability reaches its threshold (as the run)",
    )  # fmt: skip
    empty.add_argument(
        "--may-be-empty", action="store_false", dest="never_empty", default=None,
        help="give no class there",
    )  # fmt: skip
    predict.add_argument(
        "--leave-out", default="", metavar="IDS",
        help="Ids to leave out, separated by commas, or a .txt or .csv file that lists them",
    )  # fmt: skip
    predict.add_argument(
        "--batch-size", type=int, default=0, metavar="N",
        help="images computed together, at least 2 (32; on a processor fewer if they are large)",
    )  # fmt: skip
    predict.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), help="as the notebooks' parameter (as the run)"
    )
    predict.add_argument("--json", action="store_true", help="print a summary as JSON")
    predict.add_argument("--force", action="store_true", help="replace files that are there")
    predict.set_defaults(action=_predict)

    execute = commands.add_parser(
        "execute",
        help="run one notebook headless and keep it with its run",
        epilog="Example: hpa execute 2_train_resnet --preset params/quick.yaml -p seed 1",
    )
    execute.add_argument("notebook", choices=paths.NOTEBOOK_NAMES)
    execute.add_argument(
        "--output", type=Path, default=Path("out.ipynb"), help="executed notebook (%(default)s)"
    )
    execute.add_argument("--preset", type=Path, help="YAML file with parameters")
    execute.add_argument(
        "-p", dest="parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter that takes precedence; VALUE is read as YAML",
    )  # fmt: skip
    execute.set_defaults(action=_execute)

    publish = commands.add_parser(
        "publish",
        help="render all runs as HTML pages with an index",
        epilog="Example: papermill … out.ipynb && hpa publish out.ipynb",
    )
    publish.add_argument(
        "notebooks", type=Path, nargs="*", help="executed notebooks to keep with their runs first"
    )
    publish.set_defaults(action=_publish)
    return parser


if __name__ == "__main__":
    sys.exit(main())
