"""Sweeps: one training for each combination of folds, seeds, backbones and other parameters.

A sweep file names a preset, the number of folds, and lists of values:

    preset: best
    folds: 5
    grid:
      seed: [0, 1, 2]
      backbone: [InceptionResNetV2, VGG16]

Each combination is a member. ``folds: 5`` is short for the axis ``split: [fold 1 of 5, …]``; an
axis ``split`` of some of these trains some of them. Members that differ in fold and seed alone make
a group. VGG16 is trained by the notebook ``3_train_vgg``, all else by ``2_train_resnet``.
"""

import difflib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hpa_lib import code_digest, files, parameters, paths, runs
from hpa_lib.errors import HpaError, shown
from hpa_lib.parameters import MOST_FOLDS, SweepParameters, TrainParameters, fold_of

MOST_MEMBERS = 10_000
"""Members of a sweep at most."""

COMPLETE = "complete"
"""Status of a member with a finished run."""

ABSENT = "absent"
"""Status of a member that no run is there for."""

_KEYS = ("preset", "folds", "grid")
_EXAMPLE = "A sweep file looks like params/sweeps/folds.yaml."

# Parameters that all members share: their samples are compared one by one.
_SHARED = ("preset", "data", "leave_out", "synthetic_samples", "synthetic_size",
           "synthetic_micrometres")  # fmt: skip

_LONGEST_VALUE = 40
_ALL_CORES = 8


@dataclass(frozen=True)
class Member:
    """One training of a sweep.

    Attributes:
        notebook: Training notebook that it is run by.
        given: Values of the sweep's axes.
        values: All its parameters, checked.
        group: What tells its group from others, for reading.
    """

    notebook: str
    given: dict[str, Any]
    values: TrainParameters
    group: str

    @property
    def fold(self) -> int:
        """Number of the fold, from 1."""
        return fold_of(self.values.split)[0]

    @property
    def threads(self) -> int:
        """CPU threads that it is meant to use; 8 where it takes what there is."""
        own = getattr(self.values, "vgg_cpu_threads", -1)
        return (own if own >= 0 else self.values.cpu_threads) or _ALL_CORES

    @property
    def gpus(self) -> int:
        """GPUs that it takes: 1, or 0 where the parameter ``device`` is ``"cpu"``."""
        return int(self.values.device != "cpu")

    @property
    def identity(self) -> str:
        """Digest of what all of its runs share, whatever their dataset and code."""
        given = self.values.model_dump()
        recorded = {
            name: paths.portable(value) if isinstance(value, str) else value
            for name, value in given.items()
        }
        return _digest(self.notebook, recorded, runs.file_digests(given))

    @property
    def name(self) -> str:
        """A name for files, which no other member of the sweep has."""
        words = [self.values.split, f"seed {self.values.seed}", self.group]
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", " ".join(words)).strip("-.")[:60]
        return f"{slug}-{files.digest_json([self.notebook, self.given])[:8]}"


@dataclass(frozen=True)
class Sweep:
    """A sweep, read and expanded.

    Attributes:
        name: Name of its file, without the ending.
        preset: File with the parameters that the grid doesn't set.
        overrides: Parameters that take precedence over the preset.
        axes: Lists of values by name of the parameter, the split first.
        members: One a combination, the last axis fastest.
    """

    name: str
    preset: Path
    overrides: dict[str, Any]
    axes: dict[str, tuple[Any, ...]]
    members: tuple[Member, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in their order."""
        return tuple(dict.fromkeys(member.group for member in self.members))

    def member(self, name: str) -> Member:
        """The member of a name.

        Raises:
            HpaError: If there is none.
        """
        for one in self.members:
            if one.name == name:
                return one
        close = difflib.get_close_matches(name, [one.name for one in self.members], n=1, cutoff=0)
        raise HpaError(
            f"Sweep {self.name} has no member {shown(name)}.", f"One of them is {close[0]}."
        )


@dataclass(frozen=True)
class Standing:
    """How far a member is.

    Attributes:
        member: The member.
        status: `COMPLETE`, ``"running"``, ``"failed"``, ``"interrupted"`` or `ABSENT`.
        run: Name of its newest complete run, or else of its newest run; empty without a run.
        reason: Why it is not complete; empty where it is.
    """

    member: Member
    status: str
    run: str
    reason: str


def read(name_or_path: str, overrides: dict[str, Any] | None = None) -> Sweep:
    """Read a sweep file and expand it.

    Args:
        name_or_path: Name of a file in ``params/sweeps``, or a path that ends in ``.yaml``.
        overrides: Parameters that take precedence over the preset; ``preset`` itself names
            another preset than the file does.

    Raises:
        HpaError: Naming the file and its entry, if it can't be read or expanded.
    """
    path = _path(name_or_path)
    content = _content(path)
    overrides = dict(overrides or {})
    preset_name = overrides.pop("preset", content["preset"])
    preset = paths.PRESETS / f"{preset_name}.yaml"
    base = parameters.read_preset(preset) | overrides
    axes = _axes(path, content)
    for name in sorted(set(axes) & set(overrides)):
        raise HpaError(
            f"Parameter {name} is {shown(overrides[name])}, and an axis of {path} too.",
            "Leave it out of the command, or out of the file's grid.",
        )
    count = math.prod(len(values) for values in axes.values())
    if count > MOST_MEMBERS:
        raise HpaError(
            f"Sweep {path} has {count:,} members; at most {MOST_MEMBERS:,} are taken.",
            "Shorten its lists.",
        )
    members, first = [], {}
    for combination in itertools.product(*axes.values()):
        member = _member(path, base, dict(zip(axes, combination, strict=True)), axes)
        twin = first.setdefault(member.identity, member)
        if twin is not member:
            raise HpaError(
                f"Sweep {path} has members that are the same training: {twin.given} and "
                f"{member.given}.",
                "Remove the values, or the axis, that make no difference for the backbone.",
            )
        members.append(member)
    return Sweep(path.stem, preset, overrides, axes, tuple(members))


def of(values: SweepParameters) -> Sweep:
    """The sweep that the parameters of ``5_sweep`` name."""
    given = {"data": values.data} if values.data else {}
    return read(values.sweep, values.overrides | given)


def look_up(sweep: Sweep, fingerprint: str, any_code: bool = True) -> list[Standing]:
    """Find the newest complete run of each member, or else say why there is none.

    Args:
        sweep: The sweep.
        fingerprint: That of the dataset; runs of other datasets don't count.
        any_code: Whether runs count that other code than the present one has trained.

    Returns:
        One a member, in their order.
    """
    notebooks = {member.notebook for member in sweep.members}
    code = {} if any_code else {name: code_digest.of_notebook(name) for name in notebooks}
    found: dict[str, list[dict[str, Any]]] = {}
    for folder, manifest in runs.readable(paths.runs_folder()):
        known, notebook = manifest.get("parameters"), manifest["notebook"]
        if not isinstance(known, dict) or notebook not in notebooks:
            continue
        if any_code or manifest.get("code_digest") == code[notebook]:
            key = _digest(notebook, known, manifest.get("files") or {})
            found.setdefault(key, []).append(manifest | {"run": folder.name})
    return [
        _standing(member, found.get(member.identity, []), fingerprint) for member in sweep.members
    ]


def table(standings: Sequence[Standing]) -> pd.DataFrame:
    """One row a member: what it is, how far it is, and why it is not complete."""
    rows = [
        (one.member.group, one.member.fold, one.member.values.seed, one.status, one.run, one.reason)
        for one in standings
    ]
    columns = ["group", "fold", "seed", "status", "run", "reason"]
    return pd.DataFrame(rows, columns=columns).set_index(columns[:3])


def counts(standings: Sequence[Standing]) -> dict[str, int]:
    """Number of members by status."""
    return dict(sorted(Counter(one.status for one in standings).items()))


def sentences(standings: Sequence[Standing]) -> list[str]:
    """How many members are complete, and which are missing, why."""
    missing = [one for one in standings if one.status != COMPLETE]
    if not missing:
        return [f"All {len(standings)} members of the sweep are complete."]
    said = [
        f"**{len(missing)} of the {len(standings)} members of the sweep are missing**; all "
        "figures come from the others."
    ]
    for one in missing:
        member = one.member
        said.append(
            f"{member.group}, {member.values.split}, seed {member.values.seed} is {one.status}: "
            f"{one.reason}"
        )
    return said


def _path(name_or_path: str) -> Path:
    if name_or_path.endswith(".yaml"):
        return paths.expanded(name_or_path)
    return paths.SWEEPS / f"{name_or_path}.yaml"


def _content(path: Path) -> dict[str, Any]:
    """The file's entries, with a preset and a grid."""
    try:
        content = parameters.parse_yaml(files.read_text(path))
    except OSError as error:
        available = ", ".join(sorted(known.stem for known in paths.SWEEPS.glob("*.yaml")))
        raise HpaError(
            f"Sweep {path} can't be read ({error.strerror}).", f"There are: {available}."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HpaError(f"Sweep {path} isn't YAML: {error}.", _EXAMPLE) from error
    if not isinstance(content, dict):
        raise HpaError(f"Sweep {path} isn't a mapping.", _EXAMPLE)
    for key in content:
        if key not in _KEYS:
            close = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise HpaError(
                f"Sweep {path} has the entry {shown(key)}.",
                f"{hint}It takes {', '.join(_KEYS)}; parameters belong into grid.",
            )
    if not isinstance(content.get("preset"), str):
        raise HpaError(f"Sweep {path} names no preset ({shown(content.get('preset'))}).", _EXAMPLE)
    content.setdefault("grid", {})
    if not isinstance(content["grid"], dict):
        raise HpaError(
            f"Sweep {path}: grid is {shown(content['grid'])}.",
            "Write a list of values for each parameter, such as seed: [0, 1, 2].",
        )
    return content


def _axes(path: Path, content: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Lists of values by parameter, the split first."""
    grid = dict(content["grid"])
    for name in grid:
        if not isinstance(name, str):
            raise HpaError(f"Sweep {path}: grid names {shown(name)}.", "Name a parameter.")
    try:
        parameters.check_names(set(grid))
    except HpaError as error:
        raise HpaError(f"Sweep {path}: {error.problem}", error.remedy) from error
    known = parameters.MODELS["3_train_vgg"].model_fields
    for name, values in grid.items():
        place = f"Sweep {path}: {name} in grid"
        if name not in known or name in _SHARED:
            raise HpaError(
                f"{place} can't differ between members.",
                "Give it on the command line, or in the preset, for all of them.",
            )
        if not isinstance(values, list) or not values:
            raise HpaError(f"{place} is {shown(values)}.", "Give a list of at least one value.")
        seen = set()
        for value in values:
            digest = _json(value)
            if digest in seen:
                raise HpaError(f"{place} gives {shown(value)} twice.", "Name each value once.")
            seen.add(digest)
    folds = content.get("folds")
    if (folds is None) == ("split" not in grid):
        raise HpaError(
            f"Sweep {path} gives {'neither' if folds is None else 'both'} folds "
            f"{'nor' if folds is None else 'and'} split in grid.",
            "Give folds: 5 for all five folds, or split: [fold 1 of 5] for some of them.",
        )
    if folds is not None:
        if type(folds) is not int or not 2 <= folds <= MOST_FOLDS:
            raise HpaError(
                f"Sweep {path}: folds is {shown(folds)}.",
                f"Give a whole number from 2 to {MOST_FOLDS}.",
            )
        grid["split"] = [f"fold {fold} of {folds}" for fold in range(1, folds + 1)]
    numbers = {(fold_of(value) or (0, 0))[1] if isinstance(value, str) else 0
               for value in grid["split"]}  # fmt: skip
    if len(numbers) > 1 or 0 in numbers:
        raise HpaError(
            f"Sweep {path}: split in grid is {shown(grid['split'])}.",
            "Name folds of one cross-validation, such as [fold 1 of 5, fold 2 of 5].",
        )
    return {"split": tuple(grid.pop("split"))} | {name: tuple(grid[name]) for name in grid}


def _member(
    path: Path, base: dict[str, Any], given: dict[str, Any], axes: dict[str, tuple[Any, ...]]
) -> Member:
    values = base | given
    notebook = "3_train_vgg" if values.get("backbone") == "VGG16" else "2_train_resnet"
    try:
        checked = parameters.validate(notebook, values)
    except HpaError as error:
        raise HpaError(f"Sweep {path}: {error.problem}", error.remedy) from error
    words = []
    for name, value in given.items():
        if name not in ("split", "seed"):
            text = value if isinstance(value, str) else _json(value)
            if len(text) > _LONGEST_VALUE:
                text = f"no. {axes[name].index(value) + 1}"
            words.append(text if name == "backbone" else f"{name} {text}")
    return Member(notebook, given, checked, ", ".join(words) or checked.backbone)


def _digest(notebook: str, values: dict[str, Any], named_files: dict[str, str]) -> str:
    free = runs.PARAMETERS_WITHOUT_INFLUENCE
    kept = {name: value for name, value in values.items() if name not in free}
    named = {name: digest for name, digest in named_files.items() if name not in free}
    return files.digest_json([notebook, kept, named])


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _standing(member: Member, manifests: list[dict[str, Any]], fingerprint: str) -> Standing:
    own = [one for one in manifests if (one.get("dataset") or {}).get("fingerprint") == fingerprint]
    if not own:
        elsewhere = f"{manifests[-1]['run']} saw another dataset." if manifests else ""
        nothing = "No run is there: its job has not begun, or ended before the run opened."
        return Standing(member, ABSENT, "", elsewhere or nothing)
    complete = [one for one in own if one["status"] == COMPLETE]
    newest = max(complete or own, key=lambda one: one.get("finished") or one.get("started") or "")
    reason = ""
    if newest["status"] == "running":
        reason = (
            f"It has run since {newest.get('started')}, or its job ended without a word; then the "
            "same command goes on after its last finished epoch."
        )
    elif newest["status"] != COMPLETE:
        reason = str(newest.get("reason") or "No reason is recorded.")
    return Standing(member, newest["status"], newest["run"], reason)
