from typing import Literal, get_args, get_origin

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpa_lib import parameters, paths
from hpa_lib.errors import HpaError

PRESETS = sorted(path.stem for path in paths.PRESETS.glob("*.yaml"))


def refusal(values, notebook="2_train_resnet"):
    with pytest.raises(HpaError) as caught:
        parameters.validate(notebook, values)
    return caught.value


def test_the_presets_that_the_design_names_are_there():
    assert {"smoke", "quick", "seed", "best"} <= set(PRESETS)


@pytest.mark.parametrize("notebook", paths.NOTEBOOK_NAMES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_for_every_notebook(preset, notebook):
    values = parameters.read_preset(paths.PRESETS / f"{preset}.yaml")
    checked = parameters.validate(notebook, values)
    assert checked.preset == preset
    for name, value in checked.model_dump().items():
        if name in values:
            assert value == values[name]
            assert type(value) is type(values[name])


def test_quick_is_what_the_defaults_say():
    values = parameters.read_preset(paths.PRESETS / "quick.yaml")
    for notebook in paths.NOTEBOOK_NAMES:
        assert parameters.validate(notebook, values) == parameters.validate(notebook, {})


def test_seed_preset_is_the_reference_study():
    values = parameters.read_preset(paths.PRESETS / "seed.yaml")
    resnet = parameters.validate("2_train_resnet", values).model_dump()
    protocol = {
        "image_size": 299, "composition": "composite", "split": "study", "weights": "imagenet",
        "batch_size": 10, "steps_per_epoch": 100, "draws": "replacement", "augmentation": "study",
        "stages": [
            {"epochs": 20, "learning_rate": 1e-3, "backbone_rate": 1.0},
            {"epochs": 150, "learning_rate": 1e-4, "backbone_rate": 1.0},
        ], "validation_draws": 256,
        "interpolation": "bilinear", "image_source": "decode", "evaluate": "last",
        "intensity": "linear", "dropout": 0.5, "all_views": False, "threshold_rule": "0.5",
    }  # fmt: skip
    assert {name: resnet[name] for name in protocol} == protocol
    vgg = parameters.validate("3_train_vgg", values)
    assert vgg.vgg_stages == vgg.stages[1:]


@pytest.mark.parametrize("model", parameters.MODELS.values())
def test_every_parameter_has_a_meaning_and_a_valid_default(model):
    for name, field in model.model_fields.items():
        assert field.description, name
    model(**model().model_dump())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("epochs_per_step", "steps_per_epoch"),
        ("image_sise", "image_size"),
        ("lerning_rate_schedule", "learning_rate_schedule"),
        ("batchsize", "batch_size"),
        ("Seed", "seed"),
    ],
)
def test_unknown_parameter_with_a_hint(name, near):
    error = refusal({name: "many"})
    assert error.problem == f"Parameter {name} is unknown to every notebook."
    assert near in error.remedy


def test_unknown_parameter_that_resembles_none():
    assert "help-notebook" in refusal({"xyzzy": 1}).remedy


def test_parameters_of_other_notebooks_are_left_aside():
    checked = parameters.validate("1_explore", {"stages": "not looked at", "seed": 4})
    assert checked.seed == 4
    assert not hasattr(checked, "stages")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", "many"),
        ("batch_size", 2.5),
        ("batch_size", "3"),
        ("batch_size", True),
        ("batch_size", None),
        ("batch_size", -1),
        ("all_views", "yes"),
        ("all_views", 1),
        ("data", 5),
        ("weights", None),
        ("weights", ""),
        ("image_size", 74),
        ("split", "random"),
        ("composition", "rgb"),
        ("seed", 2**31),
        ("gradient_clip", float("nan")),
        ("stages", []),
        ("stages", "3 epochs"),
        ("synthetic_samples", 19),
    ],
)
def test_wrong_type_or_range(name, value):
    error = refusal({name: value})
    assert f"Parameter {name} received {value!r} ({type(value).__name__})" in error.problem
    meaning = parameters.TrainParameters.model_fields[name].description
    assert meaning in error.remedy


def test_learning_rate_that_yaml_reads_as_text():
    text = yaml.safe_load("gradient_clip: 1e-3")["gradient_clip"]
    assert text == "1e-3"
    error = refusal({"gradient_clip": text})
    assert "'1e-3' (str)" in error.problem
    assert "write 1.0e-3" in error.remedy


def test_threshold_that_yaml_reads_as_a_number():
    error = refusal({"threshold_rule": 0.5})
    assert "0.5 (float)" in error.problem
    assert "write it in quotes" in error.remedy


def test_choices_are_named():
    assert "'composite' or 'rgby'" in refusal({"composition": "rgb"}).problem


@pytest.mark.parametrize("split", ["stratified", "fold 2 of 5", "fold 20 of 20", "my/split.csv"])
def test_split_is_a_protocol_a_fold_or_a_csv_file(split):
    assert parameters.validate("1_explore", {"split": split}).split == split


@pytest.mark.parametrize("split", ["random", "fold 0 of 5", "fold 6 of 5", "fold 1 of 1",
                                   "fold 1 of 21", "fold 2 of 5 ", "Fold 2 of 5"])  # fmt: skip
def test_split_of_no_kind_is_refused(split):
    assert (
        "a fold such as 'fold 2 of 5' of at most 20, or a file" in refusal({"split": split}).problem
    )


def test_whole_number_serves_as_learning_rate():
    stage = {"epochs": 2, "learning_rate": 1}
    checked = parameters.validate("2_train_resnet", {"stages": [stage]})
    assert checked.stages[0].learning_rate == 1.0


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ({"epochs": 1}, "stages, stage 2 received {'epochs': 1} (dict): learning_rate is missing."),
        (7, "stages, stage 2 received 7 (int): it should be a mapping."),
        ({"epochs": 0, "learning_rate": 0.1}, "stages, stage 2, epochs received 0 (int)"),
        ({"epochs": 1, "learning_rate": "1e-3"}, "stage 2, learning_rate received '1e-3' (str)"),
        ({"epochs": 1, "learning_rate": 0.1, "freeze": True}, "stage 2, freeze received True"),
        (
            {"epochs": 1, "learning_rate": 0.1, "backbone_rate": -0.1},
            "stage 2, backbone_rate received -0.1 (float)",
        ),
    ],
)
def test_stage_that_is_wrong(stage, problem):
    error = refusal({"stages": [{"epochs": 1, "learning_rate": 0.1}, stage]})
    assert problem in error.problem
    assert "epochs, learning_rate, backbone_rate" in error.remedy
    assert ("write 1.0e-3" in error.remedy) == ("1e-3" in problem)


def test_checked_parameters_can_not_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parameters.validate("1_explore", {}).seed = 3


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text\n", "1: 2\n"])
def test_preset_that_is_no_mapping(tmp_path, text):
    path = tmp_path / "preset.yaml"
    path.write_text(text)
    with pytest.raises(HpaError, match="isn't a mapping") as caught:
        parameters.read_preset(path)
    assert str(path) in caught.value.problem


@pytest.mark.parametrize("content", [b"a: [1", b"a: b: c", b"\xff\xfe\x00"])
def test_preset_that_is_no_yaml(tmp_path, content):
    path = tmp_path / "preset.yaml"
    path.write_bytes(content)
    with pytest.raises(HpaError, match="isn't YAML") as caught:
        parameters.read_preset(path)
    assert str(path) in caught.value.problem


def test_missing_preset_names_those_that_exist(tmp_path):
    with pytest.raises(HpaError, match=r"fast\.yaml can't be read") as caught:
        parameters.read_preset(tmp_path / "fast.yaml")
    assert all(preset in caught.value.remedy for preset in PRESETS)


def test_preset_with_an_unknown_parameter(tmp_path):
    path = tmp_path / "preset.yaml"
    path.write_text("image_size: 96\nepocs: 3\n")
    with pytest.raises(HpaError, match="Parameter epocs is unknown"):
        parameters.read_preset(path)


@pytest.mark.parametrize("policy", ["none", "study", "dihedral"])
def test_only_strong_augmentation_runs_on_the_device(policy):
    error = refusal({"augmentation": policy, "augment_on": "device"})
    assert f"augment_on is 'device' while augmentation is '{policy}'" in error.problem
    values = {"augmentation": "strong", "augment_on": "device"}
    assert parameters.validate("2_train_resnet", values).augment_on == "device"


@given(
    st.builds(
        dict,
        stages=st.lists(
            st.fixed_dictionaries(
                {"epochs": st.integers(1, 10**6), "learning_rate": st.floats(1e-12, 1.0)},
                optional={"backbone_rate": st.floats(0.0, 1.0)},
            ),
            min_size=1,
            max_size=4,
        ),
        data=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
        seed=st.integers(0, 2**31 - 1),
        deterministic=st.booleans(),
    )
)
def test_written_parameters_are_read_back_unchanged(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("yaml") / "params.yaml"
    checked = parameters.validate("2_train_resnet", values)
    parameters.write_yaml(path, checked.model_dump())
    assert parameters.validate("2_train_resnet", parameters.read_preset(path)) == checked


@pytest.mark.parametrize("notebook", parameters.MODELS)
def test_help_text_names_each_choice_but_the_default_or_where_they_stand(notebook):
    for name, field in parameters.MODELS[notebook].model_fields.items():
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        for choice in choices if "see hpa_lib." not in field.description else ():
            assert choice == field.default or choice in field.description, (name, choice)


def test_truth_values_that_snakemake_takes_for_text_are_read():
    config = {"preset": "smoke", "all_views": "false", "never_empty": "true", "data": "", "seed": 1}
    given = parameters.given_to_snakemake(config, "preset")
    assert given == {"all_views": False, "never_empty": True, "data": "", "seed": 1}
    assert type(given["seed"]) is int
