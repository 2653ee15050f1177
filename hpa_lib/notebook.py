"""What the notebooks' first cells call: check parameters, open the dataset, open a run folder."""

import ast
import logging
import random
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import Markdown, display

from hpa_lib import dataset as datasets
from hpa_lib import embedded, label_tables, layouts, parameters
from hpa_lib.runs import STATE, Run

if TYPE_CHECKING:  # it imports TensorFlow, which 1_explore doesn't need
    from hpa_lib.trained_runs import TrainedRun

TITLES: dict[str, str] = {
    "1_explore": "Explore the dataset",
    "2_train_resnet": "Train InceptionResNetV2",
    "3_train_vgg": "Train VGG16",
    "4_compare": "Compare the two networks",
    "5_sweep": "Folds, seeds and backbones together",
}
"""Heading of each notebook."""

RUN_METADATA_KEY = "hpa_run"
"""Key of the output metadata that ties an executed notebook to its run folder."""

_LONGEST_PARAGRAPH = 500
"""Characters that are read as a paragraph; sentences of more become a list."""


def start(notebook: str, namespace: dict[str, Any]) -> Any:
    """Check a notebook's parameters and prepare its process.

    Args:
        notebook: One of `paths.NOTEBOOK_NAMES`.
        namespace: The notebook's ``globals()``.

    Returns:
        The notebook's parameters; see `parameters.MODELS`.

    Raises:
        HpaError: If a parameter is unknown, has the wrong type or lies out of range.
    """
    declared = parameters.MODELS[notebook].model_fields
    given = {name: namespace[name] for name in declared if name in namespace}
    injected = _injected_names(namespace.get("In", ()))
    parameters.check_names(injected)
    checked = parameters.validate(notebook, given)
    parameters.check_files(checked)
    _log_to_output()
    pd.set_option("display.max_colwidth", None, "display.float_format", "{:.4g}".format)
    seed = getattr(checked, "seed", 0)
    random.seed(seed)
    np.random.seed(seed)  # imgaug and Keras derive some of their generators from it
    return checked


def open_dataset(values: parameters.DataParameters) -> datasets.Dataset:
    """Open the dataset that the parameters name; write the synthetic one first if there is none."""
    if values.data:
        folder = layouts.data_path(values.data)
    else:
        folder = embedded.write_embedded(
            values.synthetic_samples, values.synthetic_size, values.synthetic_micrometres
        )
    return datasets.load(folder, label_tables.parse_leave_out(values.leave_out))


def reopen_dataset(run: "TrainedRun", data: str = "") -> datasets.Dataset:
    """Open the dataset that a network was trained on.

    Args:
        run: A training run.
        data: Where its folder lies now; empty: where the run found it.

    Raises:
        HpaError: If there is no dataset, or another one than that of the training.
    """
    values = run.values()
    found = open_dataset(values.model_copy(update={"data": data}) if data else values)
    run.require_dataset(found)
    return found


def open_run(
    notebook: str,
    values: parameters.Parameters,
    dataset: datasets.Dataset | None = None,
    inputs: tuple[str, ...] = (),
    device: str | None = None,
) -> Run:
    """Open the notebook's run folder and keep its status true if the notebook fails."""
    described = dataset.description() if dataset else None
    run = Run(notebook, values, TITLES[notebook], described, inputs, device)
    _watch(run)
    text = f"Results go to the run folder `{run.name}`."
    display(
        {"text/markdown": text, "text/plain": text},
        metadata={RUN_METADATA_KEY: run.name},
        raw=True,
    )
    return run


def say(*sentences: str) -> None:
    """Show computed sentences as a paragraph, or as a list if they are long."""
    text = " ".join(sentences)
    if len(text) > _LONGEST_PARAGRAPH:
        text = "\n".join(f"- {sentence}" for sentence in sentences)
    display(Markdown(text))


def _injected_names(history: Any) -> set[str]:
    """Names assigned in cells that papermill put in: they begin with the comment "Parameters"."""
    names = set()
    for source in history:
        if source.startswith("# Parameters"):
            for node in ast.parse(source).body:
                targets = node.targets if isinstance(node, ast.Assign) else []
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _how_to_go_on(run: Run) -> str:
    """What to do after an interruption: the same notebook again, with the same parameters."""
    begun = (run.folder / STATE).is_file()
    kept = "training goes on after its last finished epoch" if begun else "it begins anew"
    return (
        f"**Interrupted.** Run all cells again with the same parameters: {kept}. "
        f"Until then the run `{run.name}` is marked as interrupted."
    )


def _log_to_output() -> None:
    logger = logging.getLogger("hpa_lib")
    logger.handlers.clear()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _watch(run: Run) -> None:
    """Mark the run as failed or interrupted when a cell ends with an exception."""
    shell = get_ipython()
    if shell is None:
        return
    for callback in list(shell.events.callbacks["post_run_cell"]):
        if getattr(callback, "watches_run", False):
            shell.events.unregister("post_run_cell", callback)

    def after_cell(result: Any) -> None:
        error = result.error_in_exec
        if error is None or run.status == "complete":
            return
        if isinstance(error, KeyboardInterrupt):
            run.interrupt("Interrupted by the user.")
            say(_how_to_go_on(run))
        else:
            run.fail(f"{type(error).__name__}: {error}")

    after_cell.watches_run = True
    shell.events.register("post_run_cell", after_cell)
