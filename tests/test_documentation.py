"""The pages: links lead somewhere, commands run, quoted messages are those of the code.

Every command of a page is run here, or checked by a program's own parser; `ELSEWHERE` lists those
that neither is possible for, with the reason. A command that no rule covers fails.
"""

import argparse
import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from test_benchmarks import wrong_calls

from hpa_lib import cli, code_digest, notebook, parameters, paths, runs

ROOT = paths.PROJECT_ROOT
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "reports/README.md")
    for path in ROOT.glob(pattern)
)
PROGRAMS = Path(sys.executable).parent
EXTENDING = "docs/extending.md"

ELSEWHERE = {
    "apt-get install libgl1 libglib2.0-0": "changes the machine",
    "cd /kaggle/working/hpa": "Kaggle alone has this folder",
    "cd hpa": "the clone of the line before",
    "conda activate hpa-notebooks": "needs conda",
    "conda env create -f environment.yml": "needs conda; test_environment.py reads the file",
    "git apply": "named, not called",
    "git clone https://github.com/OWNER/REPOSITORY /kaggle/working/hpa": "needs the network",
    "git clone https://github.com/OWNER/REPOSITORY hpa": "needs the network",
    "pip install --no-deps --no-build-isolation -e .": "the Makefile's own step in each new .venv",
    "pip install kaggle": "needs the network",
    ".venv/bin/pip install snakemake-executor-plugin-slurm": "needs the network",
    "pip install snakemake-executor-plugin-kubernetes snakemake-storage-plugin-fs": (
        "needs the network"
    ),
    "pip install snakemake-executor-plugin-slurm": "needs the network",
    "pip install uv": "needs the network",
    "python -m http.server --directory reports": "serves until it is interrupted",
    "snakemake --cores 2": "what `make run` does; test_pipeline.py runs it",
    "snakemake --executor slurm --jobs 4 --config preset=best data=/shared/kaggle/hpa": (
        "needs the plugin and a cluster"
    ),
    "source .venv/bin/activate": "changes the user's shell",
    "tensorboard --logdir runs": "serves until it is interrupted",
    "uv pip install --python .venv/bin/python snakemake-executor-plugin-slurm": (
        "needs the network"
    ),
    "zip -r reports.zip reports": "Colab's zip",
}
"""Commands that are neither run nor parsed here, and why."""

ONLY_PARSED = {
    "hpa data gallery": "draws for long; test_gallery.py runs it",
    "hpa data fetch": "needs the network; test_fetch.py runs it against a server of its own",
    "hpa sweep": "needs trained members; test_sweep_cluster.py runs it",
    "hpa predict": "needs a trained network; test_cli.py and test_notebooks.py run it",
    "hpa embed": "needs a trained network; test_cli.py and test_folder_prediction.py run it",
    "hpa similar": "needs embeddings; test_cli.py runs it",
}
"""Beginnings of `hpa` commands that the parser alone sees here, and why."""

SUBSTITUTES = {"hpa data synth FOLDER": "hpa data synth FOLDER --samples 20 --size 64 --workers 1"}
"""Commands with placeholders or defaults that are too slow for a test."""

NAMED = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?"
    r"(?:make|hpa|papermill|python|pip|uv|pytest|snakemake|jupyter|tensorboard|source|git|conda"
    r"|apt-get|zip) \S"
)
"""Code within a text that is a command."""


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)


def prose(page):
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def commands(page):
    """Commands of the page, without comments: lines of sh blocks, and code within the text."""
    lines = [line.split("  #")[0].split(" # ")[0] for block in blocks(page, "sh")
             for line in block.splitlines()]  # fmt: skip
    inline = [code for code in re.findall(r"`([^`\n]+)`", prose(page)) if NAMED.match(code)]
    return [part.strip() for line in [*lines, *inline] for part in line.split(" && ") if part]


COMMANDS = sorted({command for page in PAGES for command in commands(page)})


def words_of(command):
    """The program and its arguments, without environment variables before it."""
    words = shlex.split(command)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    return [words[0].removeprefix(".venv/bin/"), *words[1:]]


# --- Links


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files_and_headings(page):
    found = re.findall(r"\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"", prose(page))
    for target in (first or second for first, second in found):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.resolve().exists(), target
        if anchor:
            assert anchor in anchors(path.resolve().relative_to(ROOT).as_posix()), target


def test_the_readme_points_to_every_page_of_docs():
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)\)", text_of("README.md")))
    assert linked >= {page for page in PAGES if page.startswith("docs/")}


@pytest.mark.parametrize("page", PAGES)
def test_pictures_have_alternative_texts(page):
    for picture in re.findall(r"<img[^>]*>|!\[[^\]]*\]", prose(page)):
        assert re.search(r"alt=\"[^\"]{10,}\"|!\[.{10,}\]", picture), picture


@pytest.mark.parametrize("page", PAGES)
def test_files_that_pages_name_are_there(page):
    named = re.findall(
        r"`((?:hpa_lib|tests|params|notebooks|benchmarks|docs)/[\w./-]+\.\w+)`", prose(page)
    )
    for name in named:
        assert (ROOT / name).is_file() or name == "params/mine.yaml", name


# --- Commands


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, write_dataset):
    """A home folder with a small dataset as ~/kaggle/hpa, its archive, and an executed notebook."""
    home = tmp_path_factory.mktemp("home")
    write_dataset(home / "kaggle" / "hpa", size=80)
    shutil.make_archive(str(home / "train"), "zip", home / "kaggle" / "hpa" / "train")
    environment = os.environ | {
        f"HPA_{name.upper()}": str(home / name) for name in ("data", "runs", "reports")
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HPA_RUNS", environment["HPA_RUNS"])
        run = runs.Run("1_explore", parameters.validate("1_explore", {}), "Explore")
    mark = {notebook.RUN_METADATA_KEY: run.name}
    output = nbformat.v4.new_output("display_data", {"text/plain": "x"}, metadata=mark)
    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), home / "out.ipynb")
    path = f"{PROGRAMS}{os.pathsep}{environment['PATH']}"
    return home, environment | {"HOME": str(home), "PATH": path}


def run(command, folder, environment, statuses=(0,)):
    finished = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert finished.returncode in statuses, finished.stdout[-2000:] + finished.stderr[-2000:]
    return finished.stdout


SUBCOMMANDS = argparse._SubParsersAction


def is_name(words):
    """Whether words name an `hpa` command, as text does, and give it no arguments."""
    parser = cli._parser()
    for word in words:
        below = [one.choices for one in parser._actions if isinstance(one, SUBCOMMANDS)]
        if not below or word not in below[0]:
            return False
        parser = below[0][word]
    return any(action.required for action in parser._actions)


def check_values(preset, given):
    """Check notebook parameters as the pipeline does before anything runs."""
    values = parameters.read_preset(paths.PRESETS / f"{preset}.yaml") | given
    for name in paths.NOTEBOOK_NAMES:
        parameters.validate(name, values)


def check_make(words):
    subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, check=True)
    given = dict(word.split("=", 1) for word in words if "=" in word)
    for name in ("LOCK", "TESTS"):
        assert (ROOT / given.get(name, "README.md")).exists()
    config = dict(pair.split("=", 1) for pair in given.get("CONFIG", "").split())
    values = {name: yaml.safe_load(value) for name, value in config.items()}
    preset = given.get("PRESET", "quick").replace("mine", "quick")
    check_values(preset, values)


def check_papermill(words):
    from papermill.cli import papermill

    context = papermill.make_context("papermill", [*words])
    for name in context.params["parameters_file"]:
        parameters.read_preset(ROOT / name)
    opened = Path(context.params["notebook_path"])
    assert (ROOT / opened).is_file()
    declared = parameters.MODELS[opened.stem].model_fields
    assert {name for name, _ in context.params["parameters"]} <= set(declared)


def check_benchmark(words):
    text = (ROOT / words[0]).read_text(encoding="utf-8")
    for option in (word for word in words if word.startswith("--")):
        assert f'"{option}"' in text, option


def check_pytest(words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("-k")
    parser.add_argument("-m")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args(words)
    assert all((ROOT / name).is_file() for name in options.files)
    for marker in re.findall(r"\w+", options.m or ""):
        assert marker == "not" or re.search(rf'^    "{marker}: ', text_of("pyproject.toml"), re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, workplace, tmp_path):
    home, environment = workplace
    program, *words = words_of(command)
    if command in ELSEWHERE:
        return
    if program == "hpa" and (is_name(words) or command.startswith(tuple(ONLY_PARSED))):
        assert is_name(words) or cli._parser().parse_args(words)
    elif program == "hpa":
        statuses = (0, 1) if words == ["doctor"] else (0,)
        run(SUBSTITUTES.get(command, command), home, environment, statuses)
    elif program == "make" and command in commands(EXTENDING):
        pass  # test_worked_examples
    elif program == "make":
        check_make(words)
    elif program == "papermill" and "--help-notebook" in words and len(words) == 2:
        assert run(command, ROOT, environment).count(" (default ") > 3
    elif program == "papermill" and words in (["-f"], ["--help-notebook"]):
        assert words[0] in run("papermill --help", home, environment)
    elif program == "papermill":
        check_papermill(words)
    elif program == "python" and words[0].startswith("benchmarks/"):
        check_benchmark(words)
    elif program == "pytest" and command in commands(EXTENDING):
        pass  # test_worked_examples
    elif program == "pytest":
        check_pytest(words)
    elif program == "snakemake":
        options = f"--snakefile {ROOT}/Snakefile --directory {tmp_path}"
        dry = "" if "--unlock" in words or "--dry-run" in words else "--dry-run"
        command = command.removeprefix(".venv/bin/")
        run(f"snakemake {options} {command.removeprefix('snakemake')} {dry}", home, environment)
    else:
        pytest.fail(f"no rule runs or checks this command: {command}")


def test_no_exception_outlives_its_command():
    assert set(ELSEWHERE) <= set(COMMANDS)
    assert set(SUBSTITUTES) <= set(COMMANDS)
    for beginning in ONLY_PARSED:
        assert any(command.startswith(beginning) for command in COMMANDS)


def test_examples_of_make_help_are_commands():
    # Where make runs the tests, an inner make also tells its folder.
    command = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    examples = shown.stdout.split("Examples:\n")[1].splitlines()
    assert len(examples) > 2
    for example in examples:
        program, *words = words_of(example.strip())
        assert program == "make"
        check_make(words)


def test_python_in_the_text_fits_the_library():
    (call,) = re.findall(r"In Python: `([^`]+)`", text_of("docs/prediction.md"))
    imports = "from hpa_lib import dataset, folder_prediction, trained_runs\n"
    assert wrong_calls(imports + call) == []


# --- Worked examples


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the library and its tests with the blocks of docs/extending.md applied."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("hpa_lib", "tests", "params", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for block in blocks(EXTENDING, "diff"):
        applied = subprocess.run(
            ["git", "apply", "-"], cwd=folder, input=block, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert applied.returncode == 0, applied.stderr
    return folder


def test_worked_examples(extended, workplace):
    environment = workplace[1] | {"PYTHONPATH": str(extended)}
    where = run("python -c 'import hpa_lib; print(hpa_lib.__file__)'", extended, environment)
    assert where.startswith(str(extended))
    tried = [command for command in commands(EXTENDING) if command.startswith("pytest ")]
    assert len(tried) == 2
    for command in tried:
        assert re.search(r"\d+ passed", run(f"{command} -q", extended, environment))


def test_values_of_the_worked_examples_are_taken(extended, workplace):
    environment = workplace[1] | {"PYTHONPATH": str(extended)}
    given = [
        word.split("=", 2)[1:]
        for command in commands(EXTENDING)
        for word in words_of(command)
        if word.startswith("CONFIG=")
    ]
    assert given == [["backbone", "DenseNet169"], ["loss", "brier"]]
    for name, value in given:
        check = f"parameters.validate('2_train_resnet', {{{name!r}: {value!r}}})"
        run(f'python -c "from hpa_lib import parameters; {check}"', extended, environment)
        with pytest.raises(parameters.HpaError):
            parameters.validate("2_train_resnet", {name: value})


# --- Facts that pages repeat


def messages(path):
    """Texts in a Python file, with … for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%\w", "…", node.value)


def test_quoted_messages_are_those_of_the_code():
    rows = re.findall(r"^\| (`.*?`) \|", text_of("docs/troubleshooting.md"), re.MULTILINE)
    quoted = {row.strip("`") for row in rows}
    assert len(quoted) > 10
    others = ("papermill.execute", "jupyter_server.serverapp", "jupyter_client.kernelspec",
              "snakemake.exceptions")  # fmt: skip
    files = [*paths.PROJECT_ROOT.glob("hpa_lib/*.py")]
    files += [Path(importlib.util.find_spec(name).origin) for name in others]
    known = [re.sub(r"\s+", " ", text) for path in files for text in messages(path)]
    known.append(re.sub(r"%d\.%d", "…", text_of("Makefile")))
    quoted.remove("libGL.so.1: cannot open shared object file")  # the system's
    assert [text for text in quoted if not any(text in one for one in known)] == []


def test_parameters_that_pages_explain_exist():
    table = text_of("docs/parameters.md").split("| parameter | meaning |")[1].split("\n\n")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert len(named) > 25
    assert named - set(paths.NOTEBOOK_NAMES) <= parameters.KNOWN_NAMES


def test_presets_that_pages_list_are_the_files():
    table = text_of("docs/parameters.md").split("| preset | what for | needs |")[1]
    rows = [line for line in table.split("\n\n")[0].splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    assert listed == {path.stem for path in paths.PRESETS.glob("*.yaml")}


# --- The map of the code


def layers():
    """Names of each layer in the docstring of hpa_lib, from the top; … stands for any ending."""
    tree = ast.parse((ROOT / "hpa_lib" / "__init__.py").read_text(encoding="utf-8"))
    text = ast.get_docstring(tree)
    entries = re.findall(r"^\d\. .*(?:\n {3}.*)*", text, re.MULTILINE)
    return [re.findall(r"``(\w+…?)``", entry) for entry in entries]


def layer_of(module):
    return [
        level
        for level, names in enumerate(layers())
        for name in names
        if name == module or (name.endswith("…") and module.startswith(name[:-1]))
    ]


MODULES = sorted(path.stem for path in (ROOT / "hpa_lib").glob("*.py") if path.stem != "__init__")


def test_the_map_has_seven_layers_and_names_only_what_exists():
    assert len(layers()) == 7
    for name in (name for names in layers() for name in names):
        assert any(module == name or module.startswith(name.rstrip("…")) for module in MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_module_stands_in_one_layer_and_imports_from_none_above(module):
    own = layer_of(module)
    assert len(own) == 1, f"{module} stands in {len(own)} layers of hpa_lib/__init__.py"
    source = (ROOT / "hpa_lib" / f"{module}.py").read_text(encoding="utf-8")
    for other in code_digest.imported(source):
        above = [level for level in layer_of(other) if level < own[0]]
        assert not above, f"{module} imports {other}, which stands in a layer above"


# --- Files for other programs


def test_workflow_runs_makefile_targets_with_few_rights():
    path = ROOT / ".github" / "workflows" / "pages.yml"
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert jobs["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    steps = [step for job in jobs.values() for step in job["steps"]]
    for step in steps:
        used = step.get("uses")
        assert used is None or re.fullmatch(r"actions/[\w-]+@v\d+", used)
    ran = [step["run"] for step in steps if "run" in step]
    assert [command for command in ran if "apt-get" not in command] == ["make run", "make publish"]
    for command in ran:
        if command.startswith("make "):
            check_make(command.split()[1:])
    (uploaded,) = [s["with"]["path"] for s in steps if "upload-pages" in s.get("uses", "")]
    assert uploaded == paths.reports_folder.__name__.removesuffix("_folder")
    # PyYAML reads the key `on` as true.
    presets = workflow[True]["workflow_dispatch"]["inputs"]["preset"]["options"]
    assert all((paths.PRESETS / f"{preset}.yaml").is_file() for preset in presets)


def test_citation_has_the_fields_that_the_format_asks_for():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["license"] == "MIT"
    reference = citation["references"][0]
    assert re.fullmatch(r"10\.\d{4,}/\S+", reference["doi"])
    assert reference["doi"] in text_of("README.md")


def test_pages_hold_no_output_of_this_machine():
    for page in PAGES:
        assert not re.search(r"/root/|/work/|/tmp/\w+/", text_of(page)), page
