"""The command ``hpa``."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from hpa_lib import paths
from hpa_lib.errors import HpaError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 for a finding, 2 for a mistake."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        return options.action(options)
    except HpaError as error:
        print(f"hpa: {error.problem}\n     {error.remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hpa: interrupted; the same command takes the work up again.", file=sys.stderr)
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

    folder = synthetic.write_dataset(
        options.folder,
        options.samples,
        seed=options.seed,
        size=options.size,
        balance=options.balance,
        workers=options.workers,
    )
    print(folder)
    return 0


def _embedded(options: argparse.Namespace) -> int:
    from hpa_lib import embedded

    print(embedded.write_embedded(options.samples, options.size))
    return 0


def _check(options: argparse.Namespace) -> int:
    from hpa_lib import dataset, images

    opened = dataset.load(options.folder)
    for sample_id in opened.ids:
        images.read_sample(opened.image_folder, sample_id)
    print(json.dumps(opened.description(), indent=2))
    return 0


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

    data = commands.add_parser("data", help="write and check datasets")
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
    synth.add_argument("--balance", action="store_true", help="make all classes equally frequent")
    synth.add_argument("--workers", type=int, help="processes (one a core)")
    synth.set_defaults(action=_synth)

    embedded = data_commands.add_parser(
        "embedded",
        help="write the synthetic dataset that the notebooks use where no data is given",
        epilog="Example: hpa data embedded --samples 1000 --size 256",
    )
    embedded.add_argument("--samples", type=int, default=1000, help="(%(default)s)")
    embedded.add_argument("--size", type=int, default=256, help="pixels a side (%(default)s)")
    embedded.set_defaults(action=_embedded)

    check = data_commands.add_parser(
        "check",
        help="decode every file of a dataset",
        epilog="Example: hpa data check ~/kaggle/human-protein-atlas",
    )
    check.add_argument("folder", type=Path, help="folder in the Kaggle layout")
    check.set_defaults(action=_check)

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
