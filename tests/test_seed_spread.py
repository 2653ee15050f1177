import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from simulated_runs import predictions_of, simulated_run

from hpa_lib import (
    comparison,
    metrics,
    seed_spread,
)


def run_of(seed, noise):
    """A run whose probabilities follow the truth of its own 80 samples through noise."""
    random = np.random.default_rng(seed)
    truth = (random.random((80, 28)) < 0.3).astype(int)
    probability = np.clip(0.5 + 0.3 * (truth - 0.5) + random.normal(0, noise, truth.shape), 0, 1)
    table = predictions_of({"report": (truth, probability)})
    return simulated_run(table, folder=Path(f"seed-{seed}-{noise}"), manifest={"seed": seed})


def macro_f1(run):
    truth, _ = run.arrays("report")
    counts = metrics.confusion_counts(truth, run.decisions("report"))
    return counts.f1.mean()


@pytest.fixture(scope="module")
def groups():
    return {
        "good": [run_of(seed, 0.1) for seed in (0, 1, 2)],
        "bad": [run_of(seed, 0.3) for seed in (1, 2, 5)],
    }


@pytest.fixture(scope="module")
def result(groups):
    return seed_spread.compare(groups, replicates=400)


def test_figures_are_those_of_each_run(groups, result):
    for name, group in groups.items():
        for run in group:
            row = result.figures.loc[(name, run.manifest["seed"], "macro_f1")]
            assert row["run"] == run.folder.name
            assert row["estimate"] == pytest.approx(macro_f1(run))
            assert row["low"] < row["estimate"] < row["high"]


def test_variance_is_divided_between_samples_and_seeds(groups, result):
    row = result.spread.loc[("bad", "macro_f1")]
    values = [macro_f1(run) for run in groups["bad"]]
    assert row["seeds"] == 3
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["deviation"] == pytest.approx(np.std(values, ddof=1))
    rest = row["deviation"] ** 2 - row["of_samples"] ** 2
    assert row["of_seeds"] == pytest.approx(np.sqrt(max(rest, 0)))


def test_a_difference_is_taken_over_the_seeds_of_both(groups, result):
    row = result.differences.loc[("good", "bad", "macro_f1")]
    pairs = [(groups["good"][1], groups["bad"][0]), (groups["good"][2], groups["bad"][1])]
    values = [macro_f1(first) - macro_f1(second) for first, second in pairs]
    assert row["seeds"] == 2
    assert row["estimate"] == pytest.approx(np.mean(values))
    half = stats.t.ppf(0.975, 1) * np.std(values, ddof=1) / np.sqrt(2)
    assert row["high"] - row["estimate"] == pytest.approx(half)


def test_sentences_and_table_say_it(result):
    said = seed_spread.sentences(result)
    assert said[0].startswith("Over 3 seeds good has a mean macro F1 of ")
    assert said[-2].startswith("Over the 2 seeds of both: ")
    shown = seed_spread.table(result)
    assert shown.index.tolist() == [
        ("good", 0), ("good", 1), ("good", 2), ("bad", 1), ("bad", 2), ("bad", 5)
    ]  # fmt: skip
    assert list(shown.columns) == ["run", "macro F1", "micro F1"]
    json.dumps(result.values(), allow_nan=False)


def test_one_seed_says_nothing_of_seeds(groups):
    single = {name: group[1:2] if name == "good" else group[:1] for name, group in groups.items()}
    result = seed_spread.compare(single, replicates=40)
    assert result.spread["of_seeds"].isna().all()
    assert result.differences["low"].isna().all()
    assert [sentence.split(" with ")[0] for sentence in seed_spread.sentences(result)] == [
        "There is one run of good",
        "There is one run of bad",
    ]
    assert len(seed_spread.table(result)) == 2


def test_runs_of_other_seeds_are_found(leave_run):
    run = leave_run(seed=3)
    first, again = leave_run(seed=1), leave_run(seed=3)
    leave_run(seed=2, batch_size=7)
    assert again.folder != run.folder
    found = seed_spread.find(run)
    assert [one.folder for one in found] == [first.folder, run.folder]
    assert comparison.names([run], found) == (run.folder.name, first.folder.name)
