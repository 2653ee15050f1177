"""The notebooks' parameters: names, types, ranges and meanings.

Each notebook has one model below. The notebook's `parameters` cell repeats names, types,
defaults and meanings, so that JupyterLab and ``papermill --help-notebook`` show them; a test
holds the two together. A preset in ``params/`` serves all notebooks: each takes the parameters
that it declares, and a name that no notebook declares is an error.
"""

import difflib
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from hpa_lib import files, paths
from hpa_lib.errors import HpaError, shown
from hpa_lib.paths import NOTEBOOK_NAMES, PRESETS

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

SPLIT_FILE_ENDING = ".csv"
"""A value of the parameter ``split`` that ends so names a file; see `splits.read`."""

MOST_FOLDS = 20
"""Folds of a cross-validation at most."""

BackboneName = Literal[
    "InceptionResNetV2", "VGG16", "ResNet50V2", "DenseNet121", "EfficientNetV2S", "ConvNeXtTiny"
]
"""The keys of `backbones.BACKBONES`."""

_BACKBONE = "network below the head; see hpa_lib.backbones"


class Parameters(BaseModel):
    """What every notebook takes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    preset: str = Field("quick", description="name of the preset that these values come from")


class DataParameters(Parameters):
    """What every notebook that opens a dataset takes."""

    data: str = Field(
        "", description="data folder; kaggle: found in a Kaggle notebook; empty: synthetic"
    )
    leave_out: str = Field(
        "", description="Ids to leave out, separated by commas, or a .txt or .csv file with them"
    )
    synthetic_samples: int = Field(
        1500, ge=20, le=1_000_000, description="samples of the synthetic dataset"
    )
    synthetic_size: int = Field(
        256, ge=64, le=4096, description="height and width of synthetic images in pixels"
    )
    synthetic_micrometres: float = Field(
        90.0,
        ge=40,
        le=164,
        description="micrometres that an image shows a side; real images: 164",
    )
    image_size: int = Field(
        75, ge=75, le=3072, description="height and width of the network input in pixels"
    )
    composition: Literal["composite", "rgby"] = Field(
        "rgby", description="composite: the study's three channels; rgby: all four"
    )
    interpolation: Literal["area", "bilinear"] = Field(
        "area", description="area: anti-aliased; bilinear: the study's, which skips pixels"
    )
    split: str = Field(
        "stratified",
        description="honest parts; or fold 1 of 5; study: as printed, flawed; a .csv file",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the split and of all random choices")

    @field_validator("split")
    @classmethod
    def _known_split(cls, value: str) -> str:
        if value in ("stratified", "study") or value.endswith(SPLIT_FILE_ENDING):
            return value
        fold, folds = fold_of(value) or (0, 0)
        if not (1 <= fold <= folds and 2 <= folds <= MOST_FOLDS):
            raise PydanticCustomError(
                "split",
                "should be stratified, study, a fold such as 'fold 2 of 5' of at most "
                f"{MOST_FOLDS}, or a file ending in {SPLIT_FILE_ENDING}",
            )
        return value


class ExploreParameters(DataParameters):
    """Parameters of ``1_explore``."""

    sample: int = Field(0, ge=0, description="row of the sample that is shown in detail")


class StageParameters(BaseModel):
    """One part of training, with an optimizer state of its own."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(ge=1, description="number of epochs")
    learning_rate: float = Field(gt=0, le=1, description="highest learning rate of Adam")
    backbone_rate: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of it that the backbone's weights learn with; 0: they stay frozen",
    )


class TrainParameters(DataParameters):
    """Parameters of the training notebooks."""

    weights: str = Field(
        "none", min_length=1, description="imagenet, none, or a file with weights of the backbone"
    )
    backbone: BackboneName = Field("InceptionResNetV2", description=_BACKBONE)
    head: Literal["study", "average", "average_max", "generalized_mean"] = Field(
        "study",
        description="layers above the backbone: study, average, average_max or generalized_mean",
    )
    input_scaling: Literal["study", "backbone"] = Field(
        "study", description="study: batch normalization; backbone: as its ImageNet weights expect"
    )
    random_weights: Literal["scaled", "keras"] = Field(
        "scaled", description="where weights is none: scaled to the images, or keras, its default"
    )
    intensity: Literal["linear", "square_root"] = Field(
        "square_root", description="pixel values: linear as in the study, or square_root"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of features left out in training; the study's is 0.5"
    )
    batch_size: int = Field(16, ge=1, le=4096, description="samples in a training step")
    steps_per_epoch: int = Field(
        0, ge=0, description="training steps in an epoch; 0: as many as the training part fills"
    )
    draws: Literal["epochs", "replacement"] = Field(
        "epochs", description="epochs: shuffled passes; replacement: the study's random draws"
    )
    sampling: Literal["uniform", "class_balanced", "repeat_factor"] = Field(
        "uniform",
        description="or class_balanced, repeat_factor: how often rare classes are drawn",
    )
    image_source: Literal["cache", "decode"] = Field(
        "cache", description="cache: decoded once to 8 bits; decode: read files in every step"
    )
    augmentation: Literal["study", "dihedral", "strong", "none"] = Field(
        "study", description="changes to training images: study, dihedral, strong or none"
    )
    augment_on: Literal["host", "device"] = Field(
        "host", description="where strong is computed: host, by imgaug, or device, as Keras layers"
    )
    mixup: float = Field(
        0.0, ge=0, le=10, description="strength of mixing training images; 0: none"
    )
    loss: Literal["binary_crossentropy", "focal", "asymmetric", "soft_f1"] = Field(
        "binary_crossentropy", description="what training makes small; see hpa_lib.losses"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share by which labels are drawn towards one half"
    )
    gradient_clip: float = Field(
        0.0, ge=0, description="largest norm of all gradients together; 0: no limit"
    )
    gradient_accumulation: int = Field(
        1, ge=1, le=4096, description="batches whose gradients are averaged for one update"
    )
    stages: list[StageParameters] = Field(
        [{"epochs": 9, "learning_rate": 3.0e-4, "backbone_rate": 1.0}],
        min_length=1,
        validate_default=True,
        description="parts of training",
    )
    learning_rate_schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="in each stage constant, or cosine, which falls to 0"
    )
    warmup_epochs: float = Field(
        1.0, ge=0, le=1000, description="epochs in which the learning rate rises to its peak"
    )
    early_stopping: int = Field(
        0, ge=0, description="epochs without a lower validation loss that end a stage; 0: never"
    )
    weight_averaging: float = Field(
        0.0, ge=0, lt=1, description="decay of averages that stand in for the weights; 0: none"
    )
    validation_draws: int = Field(
        0, ge=0, description="samples drawn once for validation; 0: the whole validation part"
    )
    reestimation_batches: int = Field(
        12,
        ge=0,
        description="batches that renew batch-normalization statistics; 0: none",
    )
    evaluate: Literal["best", "last"] = Field(
        "best", description="weights to evaluate: of the best validation loss, or the last epoch"
    )
    all_views: bool = Field(
        True, description="average held-out predictions over the eight flips and turns"
    )
    threshold_rule: Literal["0.5", "0.2", "global", "per_class", "matched", "expected_f1"] = Field(
        "expected_f1",
        description="0.5, 0.2, global, per_class, matched: what sets thresholds",
    )
    never_empty: bool = Field(
        False, description="a sample without a label gets the class nearest to its threshold"
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="auto: a GPU where there is one; cpu; gpu: an error where there is none"
    )
    precision: Literal["float32", "mixed", "auto"] = Field(
        "float32",
        description="float32; mixed: half where it is safe; auto: mixed where it saves time",
    )
    deterministic: bool = Field(True, description="the same bits in every run with as many threads")
    cpu_threads: int = Field(
        1, ge=0, le=1024, description="CPU threads of each TensorFlow operation; 0: one a core"
    )
    tensorboard: bool = Field(False, description="write logs for TensorBoard into the run folder")


class VggParameters(TrainParameters):
    """Parameters of ``3_train_vgg``: the study leaves out stage 1 here."""

    backbone: BackboneName = Field("VGG16", description=_BACKBONE)
    vgg_stages: list[StageParameters] = Field([], description="stages for VGG16; empty: as stages")
    vgg_cpu_threads: int = Field(
        2, ge=-1, le=1024, description="cpu_threads for VGG16; -1: as cpu_threads"
    )


class CompareParameters(Parameters):
    """Parameters of ``4_compare``."""

    run_a: str = Field(
        "", description="first run folder, its name or path; empty: the newest of 2_train_resnet"
    )
    run_b: str = Field(
        "", description="second run folder, its name or path; empty: the newest of 3_train_vgg"
    )
    data: str = Field("", description="data folder of the runs; empty: where the first found it")
    allow_differences: bool = Field(
        False, description="compare runs that saw other samples, sizes or thresholds"
    )
    replicates: int = Field(
        2000, ge=100, le=1_000_000, description="bootstrap replicates behind each interval"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the bootstrap")


class SweepParameters(Parameters):
    """Parameters of ``5_sweep``."""

    sweep: str = Field("folds", description="name of a file in params/sweeps, or a path to a .yaml")
    overrides: dict[str, Any] = Field(
        {}, description="parameters of all trainings that take precedence over the sweep's preset"
    )
    data: str = Field("", description="data folder of the trainings; empty: synthetic")
    allow_differences: bool = Field(False, description="put trainings of different code together")
    replicates: int = Field(
        2000, ge=100, le=1_000_000, description="bootstrap replicates behind each interval"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the bootstrap")


MODELS: dict[str, type[Parameters]] = dict(
    zip(
        NOTEBOOK_NAMES,
        (
            ExploreParameters,
            TrainParameters,
            VggParameters,
            CompareParameters,
            SweepParameters,
        ),
        strict=True,
    )
)
"""The parameter model of each notebook."""

KNOWN_NAMES: frozenset[str] = frozenset().union(*(model.model_fields for model in MODELS.values()))
"""Names that at least one notebook declares."""


def fold_of(split: str) -> tuple[int, int] | None:
    """Number of a fold, from 1, and of all folds, for a ``split`` such as ``"fold 2 of 5"``.

    None for a split of another kind.
    """
    found = re.fullmatch(r"fold (\d{1,3}) of (\d{1,3})", split)
    return (int(found[1]), int(found[2])) if found else None


def check_names(names: set[str]) -> None:
    """Refuse names that no notebook declares.

    Raises:
        HpaError: Naming the first unknown one and the nearest known ones.
    """
    for name in sorted(names - KNOWN_NAMES):
        close = difflib.get_close_matches(name, KNOWN_NAMES, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(close)}?" if close else "See papermill --help-notebook."
        if name in StageParameters.model_fields:
            hint = "It belongs into a stage, as in stages: [{epochs: 9, learning_rate: 3.0e-4}]."
        raise HpaError(f"Parameter {name:.80} is unknown to every notebook.", hint)


def validate(notebook: str, values: dict[str, Any]) -> Parameters:
    """Check the parameters of one notebook.

    Args:
        notebook: One of `paths.NOTEBOOK_NAMES`.
        values: Values by name. Names of other notebooks' parameters are left aside.

    Returns:
        The notebook's parameters, with defaults for those not given.

    Raises:
        HpaError: If a name is unknown to every notebook, or a value has the wrong type or lies
            out of range.
    """
    check_names(set(values))
    model = MODELS[notebook]
    try:
        checked = model(
            **{name: value for name, value in values.items() if name in model.model_fields}
        )
    except ValidationError as error:
        raise _refusal(model, error.errors()[0]) from error
    if isinstance(checked, TrainParameters):
        _refuse_conflicts(checked)
    return checked


def _refusal(model: type[Parameters], found: ErrorDetails) -> HpaError:
    """What is wrong with a value, and what its parameter means."""
    name, *inner = found["loc"]
    field = model.model_fields[name]
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    kind = f"one of {', '.join(choices)}" if choices else field.annotation.__name__
    place, reason = name, found["msg"].lower()
    if kind == "list":
        kind = f"list of mappings with {', '.join(StageParameters.model_fields)}"
    if found["type"] == "missing":
        reason = f"{inner.pop()} is missing"
    elif found["type"] == "model_type":
        reason = "it should be a mapping"
    if inner:  # a stage's number, from 0, and the name of one of its fields
        place = f"{name}, stage {inner[0] + 1}" + (f", {inner[1]}" if inner[1:] else "")
    hint = ""
    if isinstance(found["input"], str) and found["type"] == "float_type":
        hint = " YAML reads 1e-3 as text: write 1.0e-3."
    elif isinstance(found["input"], float | int) and str(found["input"]) in choices:
        hint = " It is text: write it in quotes, and pass it to papermill with -r."
    return HpaError(
        f"Parameter {place} received {shown(found['input'])} ({type(found['input']).__name__}): "
        f"{reason}.",
        f"{name} is {field.description} ({kind}; default {field.default!r}).{hint}",
    )


def _refuse_conflicts(values: TrainParameters) -> None:
    """Refuse values that can't go together, before anything is computed."""
    if values.split == "study" and values.threshold_rule not in ("0.5", "0.2"):
        raise HpaError(
            f"Parameter threshold_rule is {values.threshold_rule!r} while split is 'study', which "
            "has no part to tune thresholds on.",
            "Set threshold_rule to '0.5' or '0.2', or split to 'stratified'.",
        )
    composed = (values.composition, values.interpolation)
    if values.image_source == "decode" and composed != ("composite", "bilinear"):
        raise HpaError(
            f"Parameter image_source is 'decode' while composition is {composed[0]!r} and "
            f"interpolation is {composed[1]!r}.",
            "Reading images in every step is the study's way: set composition to 'composite' and "
            "interpolation to 'bilinear', or image_source to 'cache'.",
        )
    if values.augmentation == "strong" and values.image_source == "decode":
        raise HpaError(
            "Parameter augmentation is 'strong' while image_source is 'decode'.",
            "It takes images of 8 bits: set image_source to 'cache'.",
        )
    if values.augment_on == "device" and values.augmentation != "strong":
        raise HpaError(
            f"Parameter augment_on is 'device' while augmentation is {values.augmentation!r}.",
            "Flips and turns cost next to nothing on the host: set augment_on to 'host', or "
            "augmentation to 'strong'.",
        )
    if values.label_smoothing and values.loss not in ("binary_crossentropy", "focal"):
        raise HpaError(
            f"Parameter label_smoothing is {values.label_smoothing} while loss is {values.loss!r}.",
            "Set it to 0, or loss to 'binary_crossentropy' or 'focal'.",
        )


class _UniqueKeyLoader(yaml.SafeLoader):
    """Reads plain YAML, and refuses a mapping that gives a key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = Counter(str(self.construct_object(key, deep=True)) for key, _ in node.value)
        repeated = [key for key, count in keys.items() if count > 1]
        if repeated:
            raise yaml.YAMLError(f"{', '.join(sorted(repeated))} is given twice")
        return super().construct_mapping(node, deep)


def check_files(values: Parameters) -> None:
    """Refuse files that can't be what a parameter needs, before anything is computed.

    Raises:
        HpaError: If ``weights`` or ``split`` names no file, or the weights aren't HDF5.
    """
    weights = getattr(values, "weights", "none")
    if weights not in ("none", "imagenet"):
        weights_file(weights)
    split = getattr(values, "split", "")
    if split.endswith(SPLIT_FILE_ENDING) and not paths.expanded(split).is_file():
        raise HpaError(
            f"Parameter split names {split!r}, which isn't a file.",
            "Give the path of a split file, such as the split.csv of a run.",
        )


def weights_file(weights: str) -> Path:
    """The file with weights that the parameter ``weights`` names; it is HDF5, which holds no code.

    Raises:
        HpaError: If there is no such file, or it is none of HDF5.
    """
    path = paths.expanded(weights)
    remedy = "Give the path of a .h5 or .weights.h5 file with weights of the backbone."
    if not path.is_file():
        raise HpaError(
            f"Parameter weights names {weights!r}, which is neither 'imagenet', 'none' nor a file.",
            remedy,
        )
    with path.open("rb") as stream:
        begins_well = stream.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE
    if path.suffix != ".h5" or not begins_well:
        raise HpaError(f"Weights {path} (parameter weights) aren't an HDF5 file.", remedy)
    return path


def parse_yaml(text: str) -> Any:
    """Read YAML that holds plain values only.

    Raises:
        yaml.YAMLError: If it is no YAML, names a Python object, gives a key twice, or holds a
            value that no parameter can have, such as a date that isn't one.
    """
    try:
        return yaml.load(text, _UniqueKeyLoader)
    except (ValueError, RecursionError, TypeError) as error:
        raise yaml.YAMLError(f"a value can't be read ({error})") from error


def given_to_snakemake(config: dict[str, Any], *other: str) -> dict[str, Any]:
    """The parameters among what ``--config`` gives, where Snakemake takes truth values for text.

    Args:
        config: Snakemake's configuration.
        other: Names in it that are no parameters.
    """
    words = {"true": True, "false": False}
    return {
        name: words.get(value, value) if isinstance(value, str) else value
        for name, value in config.items()
        if name not in other
    }


def read_preset(path: Path) -> dict[str, Any]:
    """Read a preset, a YAML file that maps parameter names to values.

    Raises:
        HpaError: If the file is missing, no YAML, no mapping, or names an unknown parameter.
    """
    try:
        values = parse_yaml(files.read_text(paths.expanded(path)))
    except OSError as error:
        available = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.yaml")))
        raise HpaError(
            f"Preset {path} can't be read ({error.strerror}).", f"There are: {available}."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HpaError(
            f"Preset {path} isn't YAML: {error}.", "Write 'name: value' lines."
        ) from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise HpaError(f"Preset {path} isn't a mapping.", "Write 'name: value' lines.")
    check_names(set(values))
    return values


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """Write parameters as YAML that `read_preset` and ``papermill -f`` read back unchanged."""
    files.write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
