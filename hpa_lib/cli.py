"""The command ``hpa``.

Each command prints its result to standard output, as text or with ``--json`` as one JSON document;
messages, errors and progress bars go to standard error.
"""

import argparse
import json
import logging
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from hpa_lib import __version__, downloads, paths
from hpa_lib.errors import HpaError

_EXIT_STATUS = """\
Exit status:
  0    done
  1    done, and there is something to mend: doctor, data check, data fetch hpav18,
       sweep list
  2    refused or failed; standard error says why and what to do
  130  interrupted; the same command goes on, or starts anew

With --json a command prints its result as one JSON document to standard output. Messages,
errors and progress bars go to standard error, the bars only where that is a terminal."""


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


def _print(options: argparse.Namespace, document: Any, *lines: object) -> None:
    """Print a command's result: lines of text, or with ``--json`` the document."""
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        print(*lines, sep="\n")


def _doctor(options: argparse.Namespace) -> int:
    from hpa_lib import doctor

    findings = doctor.examine()
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:5}  {finding.subject}: {finding.text}")
        lines += [f"       → {finding.remedy}"] if finding.remedy else []
    _print(options, [vars(finding) for finding in findings], *lines)
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
    _print(options, {"folder": str(folder)}, folder)
    return 0


def _embedded(options: argparse.Namespace) -> int:
    from hpa_lib import embedded

    folder = embedded.write_embedded(options.samples, options.size, options.micrometres)
    _print(options, {"folder": str(folder)}, folder)
    return 0


def _gallery(options: argparse.Namespace) -> int:
    from hpa_lib import gallery

    page = gallery.write(options.folder)
    _print(options, {"page": str(page)}, page)
    return 0


def _check(options: argparse.Namespace) -> int:
    import cv2

    from hpa_lib import checks, label_tables, layouts

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the report says it
    leave_out = label_tables.parse_leave_out(options.leave_out)
    report = checks.check(layouts.data_path(options.folder), leave_out)
    lines = [checks.as_text(report)]
    if report.unusable:
        lines.append("")
        if report.can_be_left_out != report.unusable:
            lines.append(
                f"Mend the rows of {report.label_table} whose Id can't be named in --leave-out, "
                "such as an empty one; the findings give their lines."
            )
        if report.can_be_left_out:
            names = ",".join(report.can_be_left_out)
            lines += [
                f"Mend these files or rows, or go on without them: --leave-out {names}",
                "In notebooks and the pipeline this is the parameter leave_out.",
            ]
    _print(options, report.as_json(), *lines)
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
    folder = cache.cache_folder(*wanted)
    _print(options, {"folder": str(folder)}, folder)
    return 0


def _prune(options: argparse.Namespace) -> int:
    from hpa_lib import cache_pruning

    found = cache_pruning.outdated()
    if options.list:
        removed, locked = found, []
    else:
        removed, locked = cache_pruning.remove(found)
    freed = sum(entry.size for entry in removed)
    document = {
        "outdated" if options.list else "removed": [
            {"path": str(entry.path), "bytes": entry.size} for entry in removed
        ],
        "in_use": [str(entry.path) for entry in locked],
        "bytes": freed,
    }
    _print(
        options,
        document,
        *(f"{entry.size:>15,} bytes  {entry.path}" for entry in removed),
        *(f"in use, and left: {entry.path}" for entry in locked),
        f"{freed:,} bytes {'could be freed' if options.list else 'freed'}",
    )
    return 0


def _unpack(options: argparse.Namespace) -> int:
    from hpa_lib import archives

    report = archives.unpack(options.archives, options.folder, most_bytes=options.limit * 2**30)
    document = {
        "folder": str(options.folder),
        "written": report.written,
        "present": report.present,
        "nested": [str(nested) for nested in report.nested],
    }
    _print(
        options,
        document,
        f"{report.written:,} files written, {report.present:,} there already: {options.folder}",
        *(
            f"An archive lay inside: hpa data unpack {nested} {options.folder}"
            for nested in report.nested
        ),
    )
    return 0


def _fetch_kaggle(options: argparse.Namespace) -> int:
    from hpa_lib import fetch

    folder = fetch.fetch_kaggle(options.folder, keep_archive=options.keep_archive)
    _print(options, {"folder": str(folder)}, folder)
    return 0


def _fetch_atlas(options: argparse.Namespace) -> int:
    from hpa_lib import fetch

    base = fetch.ATLAS_IMAGES if options.base is None else options.base
    politeness = downloads.Politeness(options.connections, options.per_second)
    report = fetch.fetch_atlas(options.folder, options.ids, base=base, politeness=politeness)
    document = {
        "folder": str(options.folder),
        "samples": report.samples,
        "written": report.written,
        "present": report.present,
        "missing": report.missing.to_dict("records"),
    }
    lines = [
        f"{report.written:,} files written, {report.present:,} there already; "
        f"{report.samples:,} whole samples: {options.folder}"
    ]
    if len(report.missing):
        table = report.missing.to_csv(index=False, lineterminator="\n")
        lines += [f"{len(report.missing):,} files are missing:", table.rstrip("\n")]
    _print(options, document, *lines)
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
    device = _prepare_prediction(options, run)
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
    more = {"device": device, "seconds": round(seconds, 3), "files": list(map(str, files))}
    _print(
        options,
        summary | more,
        f"{len(images):,} samples predicted by {run.label} on {device} in {seconds:,.1f} s; "
        f"{summary['without_label']:,} got no label",
        *files,
    )
    return 0


def _embed(options: argparse.Namespace) -> int:
    _refuse_outputs([options.output], force=options.force or options.append)

    from hpa_lib import dataset, embedding_store, folder_prediction, label_tables, trained_runs

    run = trained_runs.load(options.run, "2_train_resnet")
    images = dataset.load_images(options.images, label_tables.parse_leave_out(options.leave_out))
    if options.append:
        embedding_store.require_room(options.output, run.folder.name, images.fingerprint)
    device = _prepare_prediction(options, run)
    started = time.monotonic()
    vectors = folder_prediction.embed(run, images, batch_size=options.batch_size)
    seconds = time.monotonic() - started
    seen = folder_prediction.with_parts(run, images, vectors)
    embedding_store.write(options.output, seen, append=options.append)
    samples, features = vectors.shape
    document = {
        "run": seen.run,
        "fingerprint": seen.fingerprint,
        "samples": samples,
        "features": features,
        "device": device,
        "seconds": round(seconds, 3),
        "file": str(options.output),
    }
    _print(
        options,
        document,
        f"{samples:,} samples embedded by {run.label} on {device} in {seconds:,.1f} s, "
        f"{features:,} features each",
        options.output,
    )
    return 0


def _similar(options: argparse.Namespace) -> int:
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it tells of each build that it tries
    from hpa_lib import embedding_store, retrieval

    store = embedding_store.EmbeddingStore(options.embeddings)
    run = store.run(options.run)
    samples = store.samples(run)
    if options.id:
        rows = retrieval.rows_of(samples, options.id, store.path)
        names, queries = samples["Id"].iloc[rows].tolist(), store.vectors(run, rows)
    else:
        rows = None
        names, queries = _embedded_images(options, run)
    started = time.monotonic()
    near = retrieval.nearest(store, run, queries, options.count, leave_out=rows)
    found = retrieval.table(samples, names, near)
    document = {
        "run": run,
        "samples": len(samples),
        "search": "exact" if len(samples) <= retrieval.EXACT_UP_TO else "index",
        "seconds": round(time.monotonic() - started, 3),
        "neighbours": json.loads(found.to_json(orient="records", double_precision=6)),
    }
    lines = found.drop(columns="fingerprint").to_string(
        index=False, na_rep="-", float_format="{:.4f}".format
    )
    _print(options, document, lines)
    return 0


def _embedded_images(options: argparse.Namespace, run_name: str) -> tuple[list[str], Any]:
    """Ids and embeddings of the images that other ones are to be similar to."""
    from hpa_lib import dataset, folder_prediction, label_tables, trained_runs

    run = trained_runs.load(run_name, "2_train_resnet")
    images = dataset.load_images(options.images, label_tables.parse_leave_out(options.leave_out))
    _prepare_prediction(options, run)
    return list(images.ids), folder_prediction.embed(run, images, batch_size=options.batch_size)


def _prepare_prediction(options: argparse.Namespace, run: Any) -> str:
    """Set TensorFlow up for a run's network, on the device that is asked for; which it is."""
    from hpa_lib import folder_prediction

    values = run.values()
    return folder_prediction.prepare(
        values.model_copy(update={"device": options.device or values.device})
    )


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
    document = {"run": folder.name, "folder": str(folder), "notebook": str(options.output)}
    _print(options, document, folder)
    return 0


def _yaml_value(name: str, text: str) -> object:
    from hpa_lib import parameters

    try:
        return parameters.parse_yaml(text)
    except yaml.YAMLError as error:
        raise HpaError(
            f"Parameter {name} received {text!r}, which isn't YAML.",
            "Put text with special characters into quotes, such as '\"[a\"'.",
        ) from error


def _read_sweep(options: argparse.Namespace) -> Any:
    from hpa_lib import sweeps

    return sweeps.read(
        options.sweep, {name: _yaml_value(name, text) for name, text in options.parameter}
    )


def _sweep_list(options: argparse.Namespace) -> int:
    from hpa_lib import notebook, sweeps

    sweep = _read_sweep(options)
    dataset = notebook.open_dataset(sweep.members[0].values)
    standings = sweeps.look_up(sweep, dataset.fingerprint)
    document = [
        {
            "member": one.member.name,
            "notebook": one.member.notebook,
            "given": one.member.given,
            "status": one.status,
            "run": one.run,
            "reason": one.reason,
        }
        for one in standings
    ]
    lines = [f"{one.status:11}  {one.member.name}  {one.run or one.reason}" for one in standings]
    _print(options, document, *lines)
    return int(any(one.status != sweeps.COMPLETE for one in standings))


def _sweep_prepare(options: argparse.Namespace) -> int:
    from hpa_lib import sweep_jobs

    document = sweep_jobs.prepare(_read_sweep(options), options.output)
    _print(options, document, options.output)
    return 0


def _sweep_train(options: argparse.Namespace) -> int:
    from hpa_lib import sweep_jobs

    run = sweep_jobs.train(_read_sweep(options), options.member, options.output)
    folder = paths.runs_folder() / run
    _print(options, {"run": run, "folder": str(folder)}, folder)
    return 0


def _publish(options: argparse.Namespace) -> int:
    from hpa_lib import execution, files, reports, runs

    paths.require_writable(paths.reports_folder(), "HPA_REPORTS")
    for executed in options.notebooks:
        if execution.store(executed) is None:
            raise HpaError(
                f"{executed} belongs to no run in {paths.runs_folder()}.",
                "Give a notebook that papermill executed, and keep its run folder.",
            )
    runs.settle(paths.runs_folder())
    written = (*paths.runs_folder().glob("*"), *paths.data_folder().glob("*"))
    files.remove_leftovers(paths.reports_folder(), *written)
    pages = reports.publish(paths.runs_folder(), paths.reports_folder())
    index = paths.reports_folder() / "index.html"
    document = {"index": str(index), "written": [str(page) for page in pages]}
    _print(options, document, f"{len(pages)} pages written; open {index}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hpa",
        description="Subcellular locations of human proteins: data, notebooks, reports.",
        epilog=f"{_examples('hpa doctor', 'hpa data --help')}\n\n{_EXIT_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hpa {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_doctor(commands)
    data_commands = _group(
        commands,
        "data",
        "write, check, download, unpack and decode datasets",
        "Work on data folders: a label table and four images a sample.",
        "hpa data check ~/kaggle/hpa",
        "hpa data check --help",
    )
    _add_synth(data_commands)
    _add_embedded(data_commands)
    _add_gallery(data_commands)
    _add_check(data_commands)
    _add_prepare(data_commands)
    _add_prune(data_commands)
    _add_unpack(data_commands)
    _add_fetch(data_commands)
    _add_predict(commands)
    _add_embed(commands)
    _add_similar(commands)
    _add_execute(commands)
    _add_sweep(commands)
    _add_publish(commands)
    return parser


def _examples(*commands: str) -> str:
    return "\n  ".join([f"Example{'s' if len(commands) > 1 else ''}:", *commands])


def _group(commands: Any, name: str, summary: str, description: str, *examples: str) -> Any:
    """Add a command that others stand below; what these are added to."""
    group = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=_examples(*examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return group.add_subparsers(required=True, metavar="COMMAND")


def _command(
    commands: Any,
    name: str,
    action: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    *examples: str,
) -> argparse.ArgumentParser:
    """Add a command with the option that all have.

    Args:
        commands: What it is added to.
        name: Its name.
        action: Runs it; gives the exit status.
        summary: One line for the list of commands.
        description: Sentences for its own help.
        examples: Commands as a user types them.
    """
    command = commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(description, 80),
        epilog=_examples(*examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--json", action="store_true", help="print the result as one JSON document"
    )
    command.set_defaults(action=action)
    return command


def _add_leave_out(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--leave-out", default="", metavar="IDS",
        help="Ids to leave out, separated by commas, or a .txt or .csv file that lists them",
    )  # fmt: skip


def _add_doctor(commands: Any) -> None:
    _command(
        commands, "doctor", _doctor,
        "check whether the main job can run here",
        "Check this machine: Python, packages, OpenCV, TensorFlow, weights, disk, kernel. The exit "
        "status is 1 if the main job could not run.",
        "hpa doctor",
        "hpa doctor --json",
    )  # fmt: skip


def _add_synth(commands: Any) -> None:
    synth = _command(
        commands, "synth", _synth,
        "write a synthetic dataset in the Kaggle layout",
        "Draw a dataset in the layout of the Kaggle competition. The same options give the same "
        "files on any number of processes; an interrupted command is taken up by the same command.",
        "hpa data synth /tmp/synthetic --samples 200 --seed 1",
        "hpa data synth /tmp/as-on-kaggle --samples 200 --test-samples 50 --near-duplicates 0.1",
    )  # fmt: skip
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


def _add_embedded(commands: Any) -> None:
    embedded = _command(
        commands, "embedded", _embedded,
        "write the synthetic dataset that the notebooks use where no data is given",
        "Write the synthetic dataset that the notebooks use where no data is given, into the data "
        "folder, and print where it lies.",
        "hpa data embedded --samples 1500 --size 256",
    )  # fmt: skip
    embedded.add_argument("--samples", type=int, default=1500, help="(%(default)s)")
    embedded.add_argument("--size", type=int, default=256, help="pixels a side (%(default)s)")
    embedded.add_argument(
        "--micrometres", type=float, default=90.0, help="shown by an image, a side (%(default)s)"
    )


def _add_gallery(commands: Any) -> None:
    gallery = _command(
        commands, "gallery", _gallery,
        "draw the 28 patterns and write a page that describes them",
        "Draw the 28 patterns and write a page that describes them.",
        "hpa data gallery docs",
    )  # fmt: skip
    gallery.add_argument("folder", type=Path, help="folder for gallery.md and its figures")


def _add_check(commands: Any) -> None:
    check = _command(
        commands, "check", _check,
        "decode every file of a dataset and report",
        "Decode every file of a dataset and list what is wrong or doubtful. The exit status is 1 "
        "if there is a finding.",
        "hpa data check ~/kaggle/hpa",
        "hpa data check ~/kaggle/hpa --json > findings.json",
    )  # fmt: skip
    check.add_argument("folder", help="data folder, or kaggle for the competition's folder")
    _add_leave_out(check)


def _add_prepare(commands: Any) -> None:
    prepare = _command(
        commands, "prepare", _prepare,
        "decode a dataset once, ahead of the notebooks",
        "Decode a dataset once and keep the images as notebooks with the same parameters use "
        "them. An interrupted command is taken up by the same command.",
        "hpa data prepare ~/kaggle/hpa --size 299 --composition rgby",
        "hpa data prepare kaggle --size 512 --verify",
    )  # fmt: skip
    prepare.add_argument("folder", help="data folder, or kaggle for the competition's folder")
    prepare.add_argument(
        "--size", type=int, dest="image_size", help="as the notebooks' parameter image_size"
    )
    prepare.add_argument("--composition", help="as the notebooks' parameter: composite or rgby")
    prepare.add_argument("--interpolation", help="as the notebooks' parameter: area or bilinear")
    _add_leave_out(prepare)
    prepare.add_argument(
        "--verify", action="store_true",
        help="compare all decoded images with their digests; decode damaged ones again",
    )  # fmt: skip


def _add_prune(commands: Any) -> None:
    prune = _command(
        commands, "prune", _prune,
        "remove decoded images that other versions of the code made",
        "Remove the decoded images and near-duplicates that this version of the code and of "
        "OpenCV doesn't use, whatever their dataset. Unfinished ones, and those that are being "
        "made, are left.",
        "hpa data prune --list",
        "hpa data prune",
    )  # fmt: skip
    prune.add_argument("--list", action="store_true", help="list them and remove nothing")


def _add_unpack(commands: Any) -> None:
    unpack = _command(
        commands, "unpack", _unpack,
        "unpack downloaded zip archives safely",
        "Unpack zip archives into a data folder; a dangerous one is refused before anything is "
        "written. An interrupted command is taken up by the same command.",
        "hpa data unpack train.zip ~/kaggle/hpa",
        "hpa data unpack train.zip test.zip ~/kaggle/hpa --limit 200",
    )  # fmt: skip
    unpack.add_argument("archives", type=Path, nargs="+", metavar="archive", help="zip archives")
    unpack.add_argument("folder", type=Path, help="folder to unpack into")
    unpack.add_argument(
        "--limit", type=int, default=100, metavar="GIB",
        help="refuse archives that expand to more than this (%(default)s GiB)",
    )  # fmt: skip


def _add_fetch(commands: Any) -> None:
    sources = _group(
        commands,
        "fetch",
        "download published images",
        "Download published images; an interrupted command is taken up by the same command.",
        "hpa data fetch kaggle ~/kaggle/hpa",
        "hpa data fetch hpav18 ~/hpav18 --ids HPAv18RBGY_wodpl.csv",
    )
    kaggle = _command(
        sources, "kaggle", _fetch_kaggle,
        "the competition's files, through Kaggle's client (pip install kaggle)",
        "Download and unpack the competition's files. Needs a Kaggle account, an API token, and "
        "that you have accepted the rules of the competition Human Protein Atlas Image "
        "Classification.",
        "hpa data fetch kaggle ~/kaggle/hpa",
    )  # fmt: skip
    kaggle.add_argument("folder", type=Path, help="folder to write")
    kaggle.add_argument("--keep-archive", action="store_true", help="keep the downloaded archive")
    atlas = _command(
        sources, "hpav18", _fetch_atlas,
        "images of the Human Protein Atlas, version 18, by id",
        "Download images by id, as a data folder. The exit status is 1 if a file could not be had.",
        "hpa data fetch hpav18 ~/hpav18 --ids HPAv18RBGY_wodpl.csv --per-second 4",
    )  # fmt: skip
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


def _add_predict(commands: Any) -> None:
    predict = _command(
        commands, "predict", _predict,
        "predict the images of a folder with a trained run",
        "Predict the images of a folder with the network and the thresholds of a training run, "
        "on all cores or a GPU.",
        "hpa predict quick-2_train_resnet-0f1e2d3c ~/kaggle/hpa/test -o predictions.csv",
        "hpa predict runs/best-2_train_resnet-0f1e2d3c ~/kaggle/hpa/test -o predictions.csv "
        "--submission submission.csv",
    )  # fmt: skip
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
    _add_network_options(predict)
    predict.add_argument("--force", action="store_true", help="replace files that are there")


def _add_network_options(command: argparse.ArgumentParser) -> None:
    _add_leave_out(command)
    command.add_argument(
        "--batch-size", type=int, default=0, metavar="N",
        help="images computed together, at least 2 (32; on a processor fewer if they are large)",
    )  # fmt: skip
    command.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), help="as the notebooks' parameter (as the run)"
    )


def _add_embed(commands: Any) -> None:
    embed = _command(
        commands, "embed", _embed,
        "keep what a trained run's network makes of the images of a folder",
        "Write the activations before the last layer of a training run's network, for each image "
        "of a folder, as a Parquet file with the columns Id, fingerprint, run, part and embedding. "
        "Images that lie close together there are alike to the network: see hpa similar.",
        "hpa embed quick-2_train_resnet-0f1e2d3c ~/kaggle/hpa -o embeddings.parquet",
        "hpa embed quick-2_train_resnet-0f1e2d3c ~/kaggle/hpa/test -o embeddings.parquet --append",
    )  # fmt: skip
    embed.add_argument("run", help="name or folder of a finished training run")
    embed.add_argument(
        "images", type=Path,
        help="data folder, whose labels are ignored, or a folder of images without labels",
    )  # fmt: skip
    embed.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PARQUET", help="file of embeddings"
    )
    there = embed.add_mutually_exclusive_group()
    there.add_argument(
        "--append", action="store_true",
        help="keep what the file holds, of this or other runs, and add to it",
    )  # fmt: skip
    there.add_argument("--force", action="store_true", help="replace a file that is there")
    _add_network_options(embed)


def _add_similar(commands: Any) -> None:
    similar = _command(
        commands, "similar", _similar,
        "find the samples that a network finds most alike",
        "Find the samples nearest to others in a file of embeddings, by cosine similarity. Up to "
        "100,000 samples all are compared; for more an index is made once, beside the file, which "
        "finds nearly all nearest ones.",
        "hpa similar embeddings.parquet --id 00070df0-bbc3-11e8-b2bc-ac1f6b6435d0",
        "hpa similar embeddings.parquet --images ~/my-images --count 10 --json",
    )  # fmt: skip
    similar.add_argument("embeddings", type=Path, help="file that hpa embed wrote")
    wanted = similar.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--id", nargs="+", help="Ids of samples in the file")
    wanted.add_argument(
        "--images", type=Path,
        help="folder of images, which the run's network embeds first; the run must still be there",
    )  # fmt: skip
    similar.add_argument("--run", default="", help="name of the run, where the file holds several")
    similar.add_argument(
        "--count", type=_positive, default=5, metavar="N", help="neighbours of each (%(default)s)"
    )
    _add_network_options(similar)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} isn't a whole number above 0")
    return number


def _add_execute(commands: Any) -> None:
    execute = _command(
        commands, "execute", _execute,
        "run one notebook headless and keep it with its run",
        "Run one notebook headless, keep the executed notebook with its run, and print the run "
        "folder. Parameters are checked before a kernel starts.",
        "hpa execute 2_train_resnet --preset params/quick.yaml -p seed 1",
        "hpa execute 1_explore -p data ~/kaggle/hpa --output explored.ipynb",
    )  # fmt: skip
    execute.add_argument(
        "notebook", choices=paths.NOTEBOOK_NAMES, help=f"one of {', '.join(paths.NOTEBOOK_NAMES)}",
        metavar="notebook",
    )  # fmt: skip
    execute.add_argument(
        "--output", type=Path, default=Path("out.ipynb"), help="executed notebook (%(default)s)"
    )
    execute.add_argument("--preset", type=Path, help="YAML file with parameters")
    _add_parameter(execute)


def _add_sweep(commands: Any) -> None:
    sweep_commands = _group(
        commands,
        "sweep",
        "list, prepare and train the members of a sweep",
        "The steps of make sweep, one by one: trainings on all folds, seeds and backbones.",
        "hpa sweep list folds -p data ~/kaggle/hpa",
        "hpa sweep train --help",
    )
    listed = _command(
        sweep_commands, "list", _sweep_list,
        "list the members of a sweep, and which are missing",
        "List the members of a sweep with their runs, and why others have none. The exit status "
        "is 1 if any is missing.",
        "hpa sweep list smoke",
        "hpa sweep list folds -p data ~/kaggle/hpa --json",
    )  # fmt: skip
    prepared = _command(
        sweep_commands, "prepare", _sweep_prepare,
        "make what all members share, and count what each takes",
        "Write the synthetic images, find near-duplicates and decode the images once for all "
        "members, and count the memory and time of each.",
        "hpa sweep prepare smoke --output prepared.json",
    )  # fmt: skip
    trained = _command(
        sweep_commands, "train", _sweep_train,
        "train one member of a sweep on a GPU of its own",
        "Train one member, unless it is finished. A second command for the same member waits for "
        "the first; an interrupted training goes on.",
        "hpa sweep train smoke fold-1-of-2-seed-0-VGG16-0a1b2c3d --output member.run",
    )  # fmt: skip
    for command in (listed, prepared, trained):
        command.add_argument("sweep", help="name of a file in params/sweeps, or a path to a .yaml")
        _add_parameter(command)
    trained.add_argument("member", help="its name, as hpa sweep list gives it")
    for command, default in ((prepared, "prepared.json"), (trained, "member.run")):
        command.add_argument(
            "--output", type=Path, default=Path(default), help="file to write (%(default)s)"
        )


def _add_parameter(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-p", dest="parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter that takes precedence; VALUE is read as YAML",
    )  # fmt: skip


def _add_publish(commands: Any) -> None:
    publish = _command(
        commands, "publish", _publish,
        "render all runs as HTML pages with an index",
        "Render all runs as HTML pages with an index, in a folder that any web server can serve. "
        "Only pages whose run changed are built again.",
        "hpa publish",
        "hpa publish out.ipynb",
    )  # fmt: skip
    publish.add_argument(
        "notebooks", type=Path, nargs="*", help="executed notebooks to keep with their runs first"
    )


if __name__ == "__main__":
    sys.exit(main())
