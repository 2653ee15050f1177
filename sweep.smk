"""A sweep: shared data → one training for each member → their aggregate → report pages.

    snakemake --snakefile sweep.smk --cores 2 --keep-going --retries 2 --config sweep=folds data=/path

Any parameter of a notebook can be given in --config beside these two; `preset` stands in for that
of the sweep's file. Each member is one job. What one job has finished is not done again, and what
it had begun goes on after the last finished epoch. Where members fail, the others are aggregated,
and the report says which are missing, and why.
"""

import functools
import json
import shlex
from pathlib import Path

from hpa_lib import (
    code_digest, dataset, files, label_tables, layouts, parameters, paths, pipeline_lock, runs,
    sweep_jobs, sweeps,
)

if workflow.is_main_process:  # not where Snakemake starts itself for a step
    pipeline_lock.hold(Path.cwd())

NAME = str(config.get("sweep", "folds"))
GIVEN = parameters.given_to_snakemake(config, "sweep")
AGGREGATE = {"replicates", "allow_differences"}  # parameters of 5_sweep alone
OVERRIDES = {name: value for name, value in GIVEN.items() if name not in AGGREGATE}
SWEEP = sweeps.read(NAME, OVERRIDES)
FIRST = SWEEP.members[0].values
DATA = FIRST.data

# One pipeline folder for each sweep, preset and data folder, so that none replaces another's steps.
LABEL = [SWEEP.name, SWEEP.preset.stem, *([runs.data_label(DATA)] if DATA else [])]
PIPELINE = paths.runs_folder() / ".pipeline" / f"sweep-{'-'.join(LABEL)}"
if workflow.is_main_process:
    pipeline_lock.hold_alone(PIPELINE)
MEMBERS = {member.name: member for member in SWEEP.members}
INDEX = paths.reports_folder() / "index.html"

AGGREGATED = {"sweep": NAME, "data": DATA, "overrides": OVERRIDES} | {
    name: value for name, value in GIVEN.items() if name in AGGREGATE
}
CHECKED = parameters.validate(
    "5_sweep", parameters.read_preset(SWEEP.preset) | AGGREGATED
).model_dump()

# A member whose run folder is gone counts as not trained.
for name in MEMBERS:
    written = PIPELINE / f"{name}.run"
    if written.is_file() and sweep_jobs.finished_run(written) is None:
        written.unlink()


@functools.cache
def fingerprint():
    """Content of a given data folder; the synthetic images follow from the parameters."""
    if not DATA:
        return ""
    left_out = label_tables.parse_leave_out(FIRST.leave_out)
    return dataset.load(layouts.data_path(DATA), left_out).fingerprint


@functools.cache
def code(notebook):
    return code_digest.of_notebook(notebook)


def options(values):
    """Options of `hpa` for parameters."""
    return " ".join(f"-p {name} {shlex.quote(json.dumps(value))}" for name, value in values.items())


def resource(name):
    """What `hpa sweep prepare` has counted for a member, times the number of the attempt."""

    def counted(wildcards, input, attempt):
        with open(input.prepared, encoding="utf-8") as stream:
            return attempt * json.load(stream)["members"][wildcards.member][name]

    return counted


wildcard_constraints:
    member="|".join(MEMBERS),


localrules:
    all,
    publish,


rule all:
    input:
        PIPELINE / "5_sweep.ipynb",  # where members failed, the index is there already
        local(INDEX),  # written by `hpa publish` itself, wherever Snakemake keeps other files


rule prepare:
    """Write synthetic images, near-duplicates and caches once, before several jobs want them."""
    output:
        PIPELINE / "prepared.json",
    params:
        sweep=NAME,
        given=options(OVERRIDES),
        members=[member.values.model_dump() for member in SWEEP.members],
        fingerprint=lambda _: fingerprint(),
    threads: 8
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 8000,
        runtime=lambda wildcards, attempt: attempt * 120,
    shell:
        "hpa sweep prepare {params.sweep} --output {output} {params.given}"


rule member:
    """One training."""
    input:
        prepared=ancient(rules.prepare.output[0]),
    output:
        PIPELINE / "{member}.run",
    log:
        PIPELINE / "logs" / "{member}.log",
    params:
        sweep=NAME,
        given=options(OVERRIDES),
        checked=lambda wildcards: MEMBERS[wildcards.member].values.model_dump(),
        fingerprint=lambda _: fingerprint(),
        files=lambda wildcards: runs.file_digests(MEMBERS[wildcards.member].values.model_dump()),
        code=lambda wildcards: code(MEMBERS[wildcards.member].notebook),
    threads: lambda wildcards: MEMBERS[wildcards.member].threads
    resources:
        gpu=lambda wildcards: MEMBERS[wildcards.member].gpus,
        mem_mb=resource("mem_mb"),
        runtime=resource("runtime"),
    shell:
        "hpa sweep train {params.sweep} {wildcards.member} --output {output} {params.given} 2> {log}"


rule aggregate:
    input:
        expand(PIPELINE / "{member}.run", member=MEMBERS),
    output:
        PIPELINE / "5_sweep.ipynb",
    params:
        checked=CHECKED,
        given=options(AGGREGATED),
        preset=SWEEP.preset,
        code=code("5_sweep"),
        notebook=files.digest_file(paths.NOTEBOOKS / "5_sweep.ipynb"),
    resources:
        mem_mb=8000,
        runtime=60,
    shell:
        "hpa execute 5_sweep --output {output} --preset {params.preset} {params.given}"


rule publish:
    input:
        PIPELINE / "5_sweep.ipynb",
    output:
        local(INDEX),
    shell:
        "hpa publish"


# Where members are missing, the report tells of the others, and why these aren't there.
INCOMPLETE = (
    f"hpa execute 5_sweep --output {PIPELINE}/incomplete.ipynb --preset {SWEEP.preset}"
    f" {options(AGGREGATED)} || true; hpa publish; hpa sweep list {NAME} {options(OVERRIDES)} || true"
)


onerror:
    shell("{INCOMPLETE}")
