"""Simulated sweeps: networks that follow the truth through noise, on real folds of a dataset."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated_runs import simulated_run

from hpa_lib import (
    ensembles,
    fold_statistics,
    labels,
    metrics,
    out_of_fold,
    parameters,
    plots,
    splits,
    sweep_results,
    thresholds,
)
from hpa_lib.errors import HpaError
from hpa_lib.sweep_results import ENSEMBLE, SweepRun
from hpa_lib.sweeps import Member, Standing

FOLDS, SAMPLES = 3, 240


@pytest.fixture(scope="module")
def dataset(labelled):
    random = np.random.default_rng(0)
    truth = random.random((SAMPLES, 28)) < 0.25
    truth[np.arange(SAMPLES), np.arange(SAMPLES) % 28] = True
    return labelled([frozenset(np.flatnonzero(row).tolist()) for row in truth])


def member(group, fold, seed):
    values = parameters.validate(
        "3_train_vgg", {"split": f"fold {fold} of {FOLDS}", "seed": seed, "backbone": "VGG16"}
    )
    return Member("3_train_vgg", {"group": group, "fold": fold, "seed": seed}, values, group)


def sweep_run(divided, group, fold, seed, noise, rule="matched", **manifest):
    """A network of a group, whose probabilities differ from the truth by noise of its own."""
    random = np.random.default_rng([fold, seed, round(1000 * noise)])
    parts = splits.fold_split(divided, fold, FOLDS).parts
    tables = []
    for part in ("validation", "threshold", "report"):
        rows = parts[part]
        truth = divided.multi_hot[rows]
        probability = np.clip(0.4 + 0.2 * truth + random.normal(0, noise, truth.shape), 0, 1)
        head = pd.DataFrame(
            {
                "Id": [divided.ids[row] for row in rows],
                "part": part,
                "Target": [labels.format_target(divided.label_sets[row]) for row in rows],
            }
        )
        tables.append(head.join(pd.DataFrame(probability, columns=list(labels.CLASS_NAMES))))
    table = pd.concat(tables, ignore_index=True)
    frequency = divided.multi_hot[parts["training"]].mean(axis=0)
    described = {"dataset": {"fingerprint": "f", "samples": SAMPLES}, "code_digest": "c"}
    run = simulated_run(
        table,
        folder=Path(f"{group}-{fold}-{seed}"),
        manifest=described | manifest,
        threshold_rule=rule,
        training_frequency=frequency.tolist(),
        split=f"parts-{fold}",
    )
    return SweepRun(member(group, fold, seed), run)


@pytest.fixture(scope="module")
def trained(dataset):
    """Two groups of three folds and two seeds; the first has less noise."""
    return [
        sweep_run(dataset, group, fold, seed, noise)
        for group, noise in (("good", 0.1), ("bad", 0.2))
        for fold in (1, 2, 3)
        for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def result(trained):
    return sweep_results.aggregate(trained, replicates=200)


def of(trained, group, fold):
    return [one.run for one in trained if (one.member.group, one.member.fold) == (group, fold)]


def test_seeds_of_a_fold_are_averaged_and_thresholds_come_from_its_own_threshold_part(trained):
    runs = of(trained, "good", 2)
    found = out_of_fold.of_runs(runs)
    tuning, report = (
        np.mean([run.arrays(part)[1].astype(float) for run in runs], axis=0)
        for part in ("threshold", "report")
    )
    truth = runs[0].arrays("threshold")[0]
    tuned = thresholds.tune(
        "matched", truth, tuning, np.array(runs[0].metrics["training_frequency"])
    )
    assert found.networks == 2
    np.testing.assert_allclose(found.probability, report)
    np.testing.assert_array_equal(found.thresholds, tuned)
    np.testing.assert_array_equal(found.decisions, metrics.decide(report, tuned))


def test_out_of_fold_predictions_cover_each_sample_once_by_the_fold_that_holds_it_out(
    result, dataset
):
    table = out_of_fold.table(result.predictions)
    assert list(table["group"].unique()) == ["good", "bad", ENSEMBLE]
    for _, rows in table.groupby("group"):
        assert sorted(rows["Id"]) == sorted(dataset.ids)
        for fold, part in rows.groupby("fold"):
            held_out = splits.fold_split(dataset, fold, FOLDS).parts["report"]
            assert set(part["Id"]) == {dataset.ids[row] for row in held_out}
    targets = dict(zip(dataset.ids, dataset.label_sets, strict=True))
    assert all(
        set(labels.parse_target(row.Target)) == targets[row.Id] for row in table.itertuples()
    )
    assert set(table.loc[table["group"] == ENSEMBLE, "networks"]) == {4}
    sweep_results.check(result, dataset.ids)
    assert sweep_results.coverage_sentences(result) == [
        f"The report parts of 3 folds cover each of the {SAMPLES} samples once."
    ]


def test_the_ensemble_averages_groups_alike_whatever_their_seeds(trained):
    one, other = out_of_fold.of_runs(of(trained, "good", 1)[:1]), out_of_fold.of_runs(
        of(trained, "bad", 1)
    )  # fmt: skip
    joined = out_of_fold.ensemble([one, other], trained[0].run)
    np.testing.assert_allclose(
        joined.probability, ensembles.average([one.probability, other.probability])
    )
    assert joined.networks == 3


def test_pooled_macro_f1_is_that_of_all_decisions_together(result):
    folds = result.predictions["good"].values()
    truth = np.concatenate([one.truth for one in folds])
    given = np.concatenate([one.decisions for one in folds])
    row = result.bootstrap.metrics.loc[("good", "macro_f1")]
    assert row["estimate"] == pytest.approx(metrics.confusion_counts(truth, given).f1.mean())
    assert row["low"] < row["estimate"] < row["high"]
    headline = result.values()["headline"]
    pooled = result.bootstrap.metrics["estimate"][ENSEMBLE, "macro_f1"]
    assert headline["Out-of-fold macro F1"] == pytest.approx(pooled)


def test_means_and_differences_are_those_of_the_trainings(trained, result):
    scores = {}
    for one in trained:
        counts = metrics.confusion_counts(one.run.arrays("report")[0], one.run.decisions("report"))
        scores[one.member.group, one.member.fold, one.member.values.seed] = counts.f1.mean()
    figures = pd.Series(scores).rename_axis(["group", "fold", "seed"])
    sizes = [len(one.run.predictions) for one in trained]
    tested = sum((one.run.predictions["part"] == "report").sum() for one in trained)
    share = tested / (len(trained) * SAMPLES - sum(sizes))
    assert result.test_share == pytest.approx(share)
    expected = fold_statistics.mean_over_folds(figures["good"], share)
    row = result.means.loc[("good", "macro_f1")]
    assert tuple(row[["estimate", "low", "high"]]) == pytest.approx(
        (expected.estimate, expected.low, expected.high)
    )
    expected = fold_statistics.mean_over_folds(figures["good"] - figures["bad"], share)
    row = result.differences.loc[("good", "bad", "macro_f1")]
    assert tuple(row[["estimate", "low", "high", "p_value"]]) == pytest.approx(
        (expected.estimate, expected.low, expected.high, expected.p_value)
    )
    json.dumps(result.values())


def test_a_clear_difference_holds_and_none_is_claimed_between_equals(dataset, result):
    told = sweep_results.difference_sentences(result)
    assert told[0].startswith("Good is better than bad in macro F1 by")
    alike = [
        sweep_run(dataset, group, fold, seed, noise)
        for group, noise in (("one", 0.1), ("other", 0.101))
        for fold in (1, 2, 3)
        for seed in (0, 1)
    ]
    same = sweep_results.aggregate(alike, replicates=100)
    assert "do not tell" in sweep_results.difference_sentences(same)[0]
    assert set(sweep_results.difference_table(same)["holds"]) == {"no"}


def test_a_difference_that_many_pairs_make_likely_does_not_hold(result):
    row = result.differences.iloc[0]
    barely = row.copy()
    barely[["estimate", "low", "high", "p_corrected"]] = [0.1, 0.01, 0.19, 0.2]
    table = result.differences.copy()
    table.iloc[0] = barely
    weak = sweep_results.SweepResult(**{**vars(result), "differences": table})
    told = sweep_results.difference_sentences(weak)
    assert "doesn't hold after the correction" in told[0]
    assert sweep_results.difference_table(weak)["holds"].iloc[0] == "no"
    assert sweep_results.difference_table(result)["holds"].iloc[0] == "yes"


def test_of_many_groups_only_the_differences_that_hold_are_told(dataset):
    noises = {"one": 0.05, "two": 0.1005, "three": 0.101, "four": 0.1015}
    trained = [
        sweep_run(dataset, group, fold, seed, noise)
        for group, noise in noises.items()
        for fold in (1, 2, 3)
        for seed in (0, 1)
    ]
    result = sweep_results.aggregate(trained, replicates=100)
    holding = (sweep_results.difference_table(result)["holds"] == "yes").sum()
    assert 0 < holding < len(result.differences) == 18
    first, *told = sweep_results.difference_sentences(result)
    assert first.startswith(f"{holding} of the 18 differences between groups hold")
    assert len(told) == holding
    assert all("better" in sentence for sentence in told)
    equal = sweep_results.aggregate(
        trained[6:]
        + [sweep_run(dataset, "five", fold, seed, 0.102) for fold in (1, 2, 3) for seed in (0, 1)],
        replicates=100,
    )
    assert not (sweep_results.difference_table(equal)["holds"] == "yes").any()
    assert sweep_results.difference_sentences(equal) == [
        "None of the 18 differences between groups holds after the correction for the number of "
        "pairs."
    ]


def test_missing_trainings_leave_what_is_there(trained):
    """The fold 3 of one group is missing, and of another fold one seed."""
    there = [
        one
        for one in trained
        if one.member.group == "good"
        or (one.member.fold, one.member.values.seed) in {(1, 0), (2, 0), (2, 1)}
    ]
    part = sweep_results.aggregate(there, replicates=100)
    assert part.folds == (1, 2)
    assert set(part.predictions["good"]) == {1, 2, 3}
    assert set(part.predictions[ENSEMBLE]) == {1, 2}
    assert part.bootstrap.samples < SAMPLES
    assert "of 240 samples, each once" in sweep_results.coverage_sentences(part)[0]
    row = part.differences.loc[("good", "bad", "macro_f1")]
    assert (row["folds"], row["trainings"]) == (2, 3)


def test_one_group_and_fold_is_told_without_intervals(trained):
    lone = sweep_results.aggregate([trained[0]], replicates=100)
    assert ENSEMBLE not in lone.predictions
    assert sweep_results.difference_sentences(lone) == ["There is one group: nothing to compare."]
    assert "an interval needs two folds" in sweep_results.mean_sentences(lone)[0]
    assert np.isnan(lone.means["low"]).all()
    for table in (
        sweep_results.mean_table(lone),
        sweep_results.difference_table(lone),
        sweep_results.class_table(lone),
    ):
        table.to_html()
    assert np.isfinite(sweep_results.mean_intervals(lone)[["low", "high"]]).all(axis=None)
    json.dumps(lone.values()["headline"])


def test_groups_without_a_common_fold_are_not_compared(trained):
    apart = [
        one for one in trained if (one.member.group, one.member.fold) in {("good", 1), ("bad", 2)}
    ]
    with pytest.raises(HpaError, match="No fold is finished in all of good, bad"):
        sweep_results.aggregate(apart)


def test_sentences_say_what_seeds_make_of_the_spread(result):
    told = sweep_results.mean_sentences(result)
    assert told[0].startswith("Over 3 folds and 6 trainings good has a mean macro F1 of ")
    share = result.means.loc[("good", "macro_f1"), "share_of_seeds"]
    assert f"{100 * round(share, 2):.4g} % of its variance comes from seeds" in told[0]


def test_figures_of_more_groups_than_colours_show_the_best(dataset):
    many = [
        sweep_run(dataset, f"noise {number}", fold, 0, 0.1 + 0.05 * number)
        for number in range(7)
        for fold in (1, 2, 3)
    ]
    found = sweep_results.aggregate(many, replicates=40)
    shown = sweep_results.class_tables(found)
    assert len(shown) == len(plots.COLOURS)
    assert "noise 0" in shown
    assert "noise 6" not in shown
    assert "28 classes" not in plots.per_class_f1(shown).alt
    assert len(found.differences.index.droplevel("metric").unique()) == 21
    assert (found.differences["p_corrected"] >= found.differences["p_value"]).all()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"dataset": {"fingerprint": "other", "samples": SAMPLES}}, "dataset"),
        ({"code_digest": "other"}, "code"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(dataset, trained, changed, problem):
    assert sweep_results.require_alike(trained) == [
        "All members share the dataset, the parts of each fold, and the code."
    ]
    mixed = [*trained, sweep_run(dataset, "good", 1, 2, 0.1, **changed)]
    with pytest.raises(HpaError, match=f"differ in their {problem}"):
        sweep_results.require_alike(mixed)


def test_only_a_difference_of_code_is_let_pass_when_asked_for(dataset, trained):
    mixed = [*trained, sweep_run(dataset, "good", 1, 2, 0.1, code_digest="other")]
    [told] = sweep_results.require_alike(mixed, allow_differences=True)
    assert told.startswith("**Not all of this was trained with the same code.**")
    mixed[-1].run.metrics["split"] = "other parts"
    with pytest.raises(HpaError, match="parts of fold 1"):
        sweep_results.require_alike(mixed, allow_differences=True)


def test_seeds_whose_samples_differ_are_not_averaged(dataset, trained):
    first, second = of(trained, "good", 1)
    other = simulated_run(second.predictions.iloc[:-1], **{"threshold_rule": "matched"})
    with pytest.raises(HpaError, match="differ in the samples"):
        out_of_fold.of_runs([first, other])
    assert out_of_fold.of_runs([first, second]).networks == 2


def test_no_finished_member_is_refused():
    missing = Standing(member("good", 1, 0), "failed", "run", "reason")
    with pytest.raises(HpaError, match="No member of the sweep has a finished run"):
        sweep_results.load([missing])
