"""What docs/security.md promises and no other test shows."""
# ruff: noqa: E501 - one case a line

import ast
import json
import re
import subprocess
import sys

import nbformat
import pytest

from hpa_lib import files, notebook, parameters, paths, report_privacy, reports, runs, trained_runs

MODULES = sorted((paths.PROJECT_ROOT / "hpa_lib").glob("*.py"))
DATASET = {"name": "secret-project", "samples": 3, "fingerprint": "a" * 64}


def calls(tree):
    """Each call's dotted name and its keyword arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: word.value for word in node.keywords}


def dangers(source):
    """What could run code from a file or a text, by name."""
    tree = ast.parse(source)
    found = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if re.search(
            r"pickle|dill|shelve|marshal|^torch", f"{getattr(node, 'module', '')}.{alias.name}"
        )
    ]
    for name, words in calls(tree):
        last = name.rpartition(".")[2]
        if name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"):
            found.append(name)
        if last in ("load_model", "read_pickle", "unsafe_load", "full_load", "extractall"):
            found.append(name)
        if (
            name in ("np.load", "numpy.load")
            and ast.unparse(words.get("allow_pickle", ast.Constant(None))) != "False"
        ):
            found.append(name)
        if name == "yaml.load" and "_UniqueKeyLoader" not in source:
            found.append(name)
        if "shell" in words and ast.unparse(words["shell"]) != "False":
            found.append(f"{name}(shell)")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_module_can_run_code_from_a_file(path):
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from cloudpickle import loads", "eval(text)", "keras.models.load_model(p)",
        "np.load(path)", "np.load(path, allow_pickle=True)", "yaml.load(text, yaml.Loader)",
        "subprocess.run(text, shell=True)", "pd.read_pickle(path)", "archive.extractall(folder)",
    ],
)  # fmt: skip
def test_dangers_are_seen(source):
    assert dangers(source)


def test_presets_are_read_by_the_safe_loader():
    import yaml

    assert issubclass(parameters._UniqueKeyLoader, yaml.SafeLoader)


# --- JupyterLab ------------------------------------------------------------------------------


def test_jupyterlab_keeps_its_token_and_listens_on_loopback():
    makefile = (paths.PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    assert "jupyter lab" in recipe
    assert not re.search(r"--ip|token|password|allow|xsrf|--no-auth|PasswordIdentity", recipe)
    shown = subprocess.run(
        [sys.executable, "-m", "jupyterlab", "--show-config-json"],
        cwd=paths.PROJECT_ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    config = json.loads(shown.stdout[shown.stdout.index("{") :])
    text = json.dumps({name: value for name, value in config.items() if name != "NotebookApp"})
    for setting in (
        "token",
        "password",
        "ip",
        "allow_origin",
        "allow_remote_access",
        "disable_check_xsrf",
    ):
        assert f'"{setting}":' not in text
    from jupyter_server.auth import IdentityProvider
    from jupyter_server.serverapp import ServerApp

    assert ServerApp.ip.default() in ("localhost", "127.0.0.1")
    assert len(IdentityProvider().token) >= 40


# --- What is published -----------------------------------------------------------------------

PRIVATE = "/home/someone/secret-project"


def executed(*texts):
    """A notebook as papermill leaves it, with texts in all its places."""
    cell = nbformat.v4.new_code_cell(
        f'data = "{PRIVATE}"', metadata={"tags": ["injected-parameters"]}
    )
    cell.outputs = [nbformat.v4.new_output("stream", text="\n".join(texts))]
    cell.outputs.append(
        nbformat.v4.new_output(
            "error", ename="ValueError", evalue=f"{PRIVATE} is bad",
            traceback=["File /home/someone/.venv/lib/python3.11/site-packages/x.py:3"],
        )
    )  # fmt: skip
    place = {"input_path": "/home/someone/n.ipynb", "parameters": {"data": PRIVATE}}
    return nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": place})


def publish_private_run(texts=()):
    """A failed run in someone's home; returns all that is published of it, by file."""
    values = parameters.validate("1_explore", {"data": PRIVATE})
    run = runs.Run("1_explore", values, "Explore", DATASET)
    run.write_metrics({"headline": {}, "note": f"{PRIVATE}/train.csv"})
    run.fail(f"HpaError: Data folder {PRIVATE} doesn't exist.")
    nbformat.write(executed(*texts), run.folder / "notebook.ipynb")
    reports.publish(paths.runs_folder(), paths.reports_folder())
    found = [path for path in paths.reports_folder().rglob("*") if path.is_file()]
    assert len(found) >= 7
    return {path.name: path.read_text(encoding="utf-8") for path in found}


def test_no_home_folder_is_published():
    texts = [
        "file:///home/someone/a.txt", "/Users/someone/b", r"C:\Users\someone\c", "/home/someone",
        "'/home/someone/d'", '{"path": "C:\\\\Users\\\\someone\\\\e"}', "(/home/someone)",
    ]  # fmt: skip
    published = publish_private_run(texts)
    assert {name for name, text in published.items() if "someone" in text} == set()
    assert "secret-project" in published["params.yaml"]


def test_no_token_is_published(monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_0123456789abcdef")
    texts = [
        "token KGAT_0123456789abcdef", "http://localhost:8888/lab?token=0a1b2c3d4e5f",
        "https://ada:geheim@example.org/x",
    ]  # fmt: skip
    for text in publish_private_run(texts).values():
        assert not re.search("KGAT_0123456789abcdef|0a1b2c3d4e5f|geheim", text)


def test_folders_outside_of_a_home_keep_their_last_name_alone():
    conceal = report_privacy.Concealer("/mnt/lab/someone/hpa")
    assert conceal("in /mnt/lab/someone/hpa/train") == "in …/hpa/train"
    assert conceal("/mnt/lab/someone/hpa-2") == "/mnt/lab/someone/hpa-2"
    assert conceal(f"{paths.runs_folder()}/run") == "…/runs/run"


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/home/page",
        "rooted /rooted",
        "a/home/b",
        "micro F1 at /rootstock",
        "~/x",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert report_privacy.Concealer()(text) == text


def test_host_and_process_are_not_published():
    text = publish_private_run()["manifest.json"]
    assert not {"host", "process"} & set(json.loads(text))


def test_a_run_in_ones_own_home_is_found_again_and_does_not_name_it(leave_run, tiny, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny.folder.parent))
    run = leave_run()
    for name in (runs.MANIFEST, "params.yaml"):
        assert str(tiny.folder.parent) not in (run.folder / name).read_text()
    assert files.read_json(run.folder / runs.MANIFEST)["parameters"]["data"] == "~/tiny"
    again = trained_runs.load(run.folder.name, "3_train_vgg")
    assert notebook.reopen_dataset(again).folder == tiny.folder
    assert parameters.read_preset(run.folder / "params.yaml")["data"] == "~/tiny"
