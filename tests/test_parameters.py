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
    assert {"smoke", "quick", "seed"} <= set(PRESETS)


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
        "stage1_epochs": 20, "stage1_learning_rate": 1e-3, "stage1_freeze": False,
        "stage2_epochs": 150, "stage2_learning_rate": 1e-4, "validation_draws": 256,
        "interpolation": "bilinear", "image_source": "decode", "evaluate": "last",
        "intensity": "linear", "dropout": 0.5, "all_views": False, "threshold_rule": "0.5",
    }  # fmt: skip
    assert {name: resnet[name] for name in protocol} == protocol
    assert parameters.validate("3_train_vgg", values).vgg_stage1_epochs == 0


@pytest.mark.parametrize("model", parameters.MODELS.values())
def test_every_parameter_has_a_meaning_and_a_valid_default(model):
    for name, field in model.model_fields.items():
        assert field.description, name
    model(**model().model_dump())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("epochs", "stage1_epochs"),
        ("image_sise", "image_size"),
        ("lerning_rate", "stage1_learning_rate"),
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
    checked = parameters.validate("1_explore", {"stage1_epochs": "not looked at", "seed": 4})
    assert checked.seed == 4
    assert not hasattr(checked, "stage1_epochs")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stage1_epochs", "many"),
        ("stage1_epochs", 2.5),
        ("stage1_epochs", "3"),
        ("stage1_epochs", True),
        ("stage1_epochs", None),
        ("stage1_epochs", -1),
        ("stage1_freeze", "yes"),
        ("stage1_freeze", 1),
        ("data", 5),
        ("weights", None),
        ("weights", ""),
        ("image_size", 74),
        ("batch_size", 0),
        ("split", "random"),
        ("composition", "rgb"),
        ("seed", 2**31),
        ("stage2_learning_rate", 0.0),
        ("stage2_learning_rate", float("nan")),
        ("synthetic_samples", 19),
    ],
)
def test_wrong_type_or_range(name, value):
    error = refusal({name: value})
    assert f"Parameter {name} received {value!r} ({type(value).__name__})" in error.problem
    meaning = parameters.TrainParameters.model_fields[name].description
    assert meaning in error.remedy


def test_learning_rate_that_yaml_reads_as_text():
    text = yaml.safe_load("stage1_learning_rate: 1e-3")["stage1_learning_rate"]
    assert text == "1e-3"
    error = refusal({"stage1_learning_rate": text})
    assert "'1e-3' (str)" in error.problem
    assert "write 1.0e-3" in error.remedy


def test_threshold_that_yaml_reads_as_a_number():
    error = refusal({"threshold_rule": 0.5})
    assert "0.5 (float)" in error.problem
    assert "write it in quotes" in error.remedy


def test_choices_are_named():
    assert "'composite' or 'rgby'" in refusal({"composition": "rgb"}).problem


def test_split_is_a_protocol_or_a_csv_file():
    assert parameters.validate("1_explore", {"split": "my/split.csv"}).split == "my/split.csv"
    error = refusal({"split": "random"})
    assert "should be stratified, study, or a file ending in .csv" in error.problem


def test_whole_number_serves_as_learning_rate():
    checked = parameters.validate("2_train_resnet", {"stage1_learning_rate": 1})
    assert checked.stage1_learning_rate == 1.0


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


@given(
    st.builds(
        dict,
        stage1_learning_rate=st.floats(1e-12, 1.0),
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
