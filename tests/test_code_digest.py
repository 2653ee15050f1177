import pytest

from hpa_lib import code_digest, paths


@pytest.fixture
def library(monkeypatch, tmp_path):
    """A copy of the library's sources, which a test may change."""
    for path in paths.PROJECT_ROOT.glob("hpa_lib/*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(code_digest, "__file__", str(tmp_path / "code_digest.py"))
    return tmp_path


def test_a_training_depends_on_what_it_computes_with_and_on_nothing_that_shows_it():
    found = code_digest.modules("2_train_resnet")
    assert {"training", "splits", "augment", "labels", "png_unpacking", "batch_memory"} <= found
    assert not {"cli", "reports", "comparison", "sweeps", "watching", "gallery"} & found
    assert found == code_digest.modules("3_train_vgg")


def test_imports_for_types_alone_do_not_count():
    # `notebook` imports TrainedRun for its annotations.
    assert "trained_runs" not in code_digest.modules("1_explore")
    assert "trained_runs" in code_digest.modules("4_compare")


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("splits", {"1_explore", "2_train_resnet", "3_train_vgg", "4_compare", "5_sweep"}),
        ("training", {"2_train_resnet", "3_train_vgg"}),
        ("comparison", {"4_compare"}),
        ("sweep_results", {"5_sweep"}),
        ("watching", set()),
        ("report_page", set()),
    ],
)
def test_a_change_reaches_the_notebooks_that_depend_on_it(library, module, changed):
    before = {name: code_digest.of_notebook(name) for name in paths.NOTEBOOK_NAMES}
    assert all(len(digest) == 64 for digest in before.values())
    source = library / f"{module}.py"
    source.write_text(source.read_text() + "# a change\n")
    after = {name: code_digest.of_notebook(name) for name in paths.NOTEBOOK_NAMES}
    assert {name for name in before if before[name] != after[name]} == changed
