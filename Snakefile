"""The pipeline: dataset → explore and two trainings → comparison → report pages.

    snakemake --cores 2 --config preset=quick data=/path/to/kaggle

Any parameter of a notebook can be given in --config beside these two. Each step runs one
notebook and keeps it as executed in the pipeline's folder; its results lie in run folders,
which are never overwritten. A step runs again only when its parameters, its code or its
inputs changed.
"""

import functools
import json
import shlex
from pathlib import Path

from hpa_lib import (
    code_digest, dataset, execution, label_tables, layouts, parameters, paths, pipeline_lock, runs,
)

if workflow.is_main_process:  # not where Snakemake starts itself for a step
    pipeline_lock.hold(Path.cwd())

PRESET = str(config.get("preset", "quick"))
OVERRIDES = parameters.given_to_snakemake(config, "preset")
VALUES = parameters.read_preset(paths.PRESETS / f"{PRESET}.yaml") | OVERRIDES
DATA = VALUES.get("data", "")

# One pipeline folder for each preset and data folder, so that none replaces another's steps.
PIPELINE = paths.runs_folder() / ".pipeline" / "-".join([PRESET, *([runs.data_label(DATA)] if DATA else [])])
if workflow.is_main_process:
    pipeline_lock.hold_alone(PIPELINE)
TRAININGS = ["2_train_resnet", "3_train_vgg"]
INDEX = paths.reports_folder() / "index.html"

# Every step's parameters are checked before the first one runs.
CHECKED = {step: parameters.validate(step, VALUES).model_dump() for step in paths.PIPELINE_NOTEBOOKS}

# An executed notebook whose run folder is gone counts as not run.
for step in paths.PIPELINE_NOTEBOOKS:
    executed = PIPELINE / f"{step}.ipynb"
    if executed.is_file() and execution.run_folder(executed) is None:
        executed.unlink()


@functools.cache
def fingerprint():
    """Content of a given data folder; the synthetic images follow from the parameters."""
    if not DATA:
        return ""
    left_out = label_tables.parse_leave_out(VALUES.get("leave_out", ""))
    return dataset.load(layouts.data_path(DATA), left_out).fingerprint


@functools.cache
def code(notebook):
    return code_digest.of_notebook(notebook)


def given(step):
    """Options of `hpa execute` for the parameters given on the command line."""
    declared = {name: value for name, value in OVERRIDES.items() if name in CHECKED[step]}
    return " ".join(f"-p {name} {shlex.quote(json.dumps(value))}" for name, value in declared.items())


def run_names(wildcards, input):
    folders = [execution.run_folder(executed) for executed in input.trainings]
    return " ".join(f"-p run_{letter} {folder.name}" for letter, folder in zip("ab", folders))


rule all:
    input:
        # Where a step failed, the index is there already.
        expand(PIPELINE / "{step}.ipynb", step=paths.PIPELINE_NOTEBOOKS),
        INDEX,


rule images:
    """Write the synthetic images once, before several steps want them."""
    output:
        touch(PIPELINE / "images.done"),
    params:
        samples=CHECKED["1_explore"]["synthetic_samples"],
        size=CHECKED["1_explore"]["synthetic_size"],
        micrometres=CHECKED["1_explore"]["synthetic_micrometres"],
        fingerprint=lambda _: fingerprint(),
    threads: workflow.cores
    run:
        if not DATA:
            shell("hpa data embedded --samples {params.samples} --size {params.size} --micrometres {params.micrometres}")


rule one_dataset_step:
    """Exploration or a training."""
    wildcard_constraints:
        step="1_explore|2_train_resnet|3_train_vgg",
    input:
        rules.images.output,
        notebook=lambda wildcards: paths.NOTEBOOKS / f"{wildcards.step}.ipynb",
    output:
        PIPELINE / "{step}.ipynb",
    params:
        checked=lambda wildcards: CHECKED[wildcards.step],
        given=lambda wildcards: given(wildcards.step),
        fingerprint=lambda _: fingerprint(),
        files=lambda wildcards: runs.file_digests(CHECKED[wildcards.step]),
        code=lambda wildcards: code(wildcards.step),
        preset=paths.PRESETS / f"{PRESET}.yaml",
    shell:
        "hpa execute {wildcards.step} --output {output} --preset {params.preset} {params.given}"


rule compare:
    input:
        notebook=paths.NOTEBOOKS / "4_compare.ipynb",
        trainings=expand(PIPELINE / "{step}.ipynb", step=TRAININGS),
    output:
        PIPELINE / "4_compare.ipynb",
    params:
        checked=CHECKED["4_compare"],
        given=given("4_compare"),
        runs=run_names,
        code=code("4_compare"),
        preset=paths.PRESETS / f"{PRESET}.yaml",
    shell:
        "hpa execute 4_compare --output {output} --preset {params.preset} {params.given} {params.runs}"


rule publish:
    input:
        expand(PIPELINE / "{step}.ipynb", step=paths.PIPELINE_NOTEBOOKS),
    output:
        INDEX,
    shell:
        "hpa publish"


onerror:
    shell("hpa publish")  # a failed step is shown with its reason
