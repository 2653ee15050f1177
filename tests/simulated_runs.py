"""Training runs as tests imagine them: predictions without a network, and without a folder."""

from pathlib import Path

import pandas as pd

from hpa_lib import labels
from hpa_lib.trained_runs import TrainedRun


def predictions_of(parts):
    """A table of predictions from truth (0 and 1) and probabilities by part."""
    tables = [
        pd.DataFrame(
            {
                "Id": [f"{part}-{row}" for row in range(len(truth))],
                "part": part,
                "Target": [labels.format_target(one) for one in labels.from_multi_hot(truth)],
            }
        ).join(pd.DataFrame(probability, columns=list(labels.CLASS_NAMES)))
        for part, (truth, probability) in parts.items()
    ]
    return pd.concat(tables)


def simulated_run(
    table, label="network", folder=Path("run"), manifest=None, kind=TrainedRun, **metrics
):
    """A run with these predictions; thresholds are 0.5 where `metrics` doesn't say otherwise."""
    return kind(
        folder=folder,
        manifest=manifest or {},
        metrics={"thresholds": [0.5] * 28, "never_empty": False} | metrics,
        history=pd.DataFrame(),
        predictions=table,
        one_view=None,
        label=label,
    )
