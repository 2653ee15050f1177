import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest

from hpa_lib import (
    comparison,
    evaluation,
    files,
    labels,
    metrics,
    parameters,
    predictions,
    results,
    run_digests,
    runs,
    splits,
    study_metrics,
    trained_runs,
)
from hpa_lib.errors import HpaError
from hpa_lib.parameters import CompareParameters

NOTEBOOKS = {"InceptionResNetV2": "2_train_resnet", "VGG16": "3_train_vgg"}
RIGHT = {"InceptionResNetV2": 0.8, "VGG16": 0.3}  # how closely each follows the truth


@pytest.fixture(scope="module")
def opened(labelled):
    random = np.random.default_rng(0)
    rows = random.random((100, 28)) < np.r_[0.6, 0.5, np.full(26, 0.1)]
    return labelled([tuple(np.flatnonzero(row).tolist()) for row in rows])


@functools.cache
def outcome(backbone, dataset, protocol, split_seed):
    """Predictions and results that a training could have left."""
    division = splits.split(dataset, protocol, split_seed)
    random = np.random.default_rng(len(backbone))
    parts, right = division.evaluation_parts, RIGHT[backbone]
    probability = {
        name: right * dataset.multi_hot[rows] + (1 - right) * random.random((len(rows), 28))
        for name, rows in parts.items()
    }
    table = predictions.table(dataset, parts, probability)
    found = results.training_results(
        backbone,
        dataset,
        division,
        table,
        threshold_rule="0.5" if protocol == "study" else "global",
        never_empty=False,
        epoch=2,
        samples_seen=100,
    )
    return table, found


@pytest.fixture
def train(opened):
    """Function that leaves a finished training run behind, without training."""

    def run_of(backbone, dataset=opened, protocol="stratified", split_seed=0, **values):
        table, found = outcome(backbone, dataset, protocol, split_seed)
        notebook = NOTEBOOKS[backbone]
        checked = parameters.validate(notebook, {"preset": "smoke", **values})
        run = runs.Run(notebook, checked, "Title", dataset.description())
        measures = ("loss", "binary_accuracy", "batch_averaged_f1")
        history = pd.DataFrame(
            {
                "epoch": [1, 2],
                "stage": ["stage 1", "stage 2"],
                **{name: [0.5, 0.25] for name in measures},
                **{f"val_{name}": [0.75, 0.125] for name in measures},
            }
        )
        run.write_table("history", history)
        predictions.write(run.folder / predictions.FILE, table)
        if checked.all_views:
            predictions.write(run.folder / predictions.ONE_VIEW_FILE, table)
        run.write_metrics(found)
        run.finish()
        return trained_runs.load(run.name, notebook)

    return run_of


@pytest.fixture
def pair(train):
    return [train("InceptionResNetV2"), train("VGG16")]


@pytest.fixture
def bootstrap(pair):
    return comparison.bootstrap(pair, 200, 0)


# Trivial predictors rank no sample before another, and have no ranking metrics.
RANKING = len(set(comparison.COMPARED) - set(evaluation.DECISION_METRICS))
DECIDING = len(comparison.COMPARED) - RANKING


def test_load_reads_a_run_back(pair, opened):
    first = pair[0]
    assert first.backbone == "InceptionResNetV2"
    assert first.manifest["status"] == "complete"
    assert first.history["epoch"].tolist() == [1, 2]
    assert first.thresholds().shape == (28,)
    truth, probability = first.arrays("report")
    rows = splits.stratified_split(opened).parts["report"]
    np.testing.assert_array_equal(truth, opened.multi_hot[rows])
    assert probability.shape == truth.shape


def test_load_gives_the_newest_run_where_none_is_named(train):
    train("VGG16", seed=1)
    newest = train("VGG16", seed=2)
    assert trained_runs.load("", "3_train_vgg").folder == newest.folder


def test_two_runs_of_one_backbone_are_told_apart_by_their_folders(train, pair):
    named = CompareParameters(run_a=pair[0].folder.name, run_b=pair[1].folder.name)
    assert [run.label for run in comparison.load_pair(named)] == ["InceptionResNetV2", "VGG16"]
    other = train("VGG16", seed=1)
    same = CompareParameters(run_a=other.folder.name, run_b=pair[1].folder.name)
    labels = [f"VGG16 ({run.folder.name})" for run in (other, pair[1])]
    loaded = comparison.load_pair(same)
    assert list(comparison.decisions(loaded))[:2] == labels
    assert list(comparison.per_class_tables(loaded)) == labels


@pytest.mark.parametrize("name", ["history.csv", "predictions.csv"])
def test_load_refuses_a_run_that_lacks_a_file(train, name):
    run = train("VGG16")
    (run.folder / name).unlink()
    with pytest.raises(HpaError) as caught:
        trained_runs.load("", "3_train_vgg")
    assert str(run.folder) in caught.value.problem


def test_runs_of_one_dataset_and_split_are_comparable(pair):
    (sentence,) = comparison.require_comparable(*pair)
    assert sentence.startswith("Both runs share dataset fingerprint, split")
    assert comparison.require_comparable(*reversed(pair)) == [sentence]


def test_a_run_can_not_be_compared_with_itself(pair):
    with pytest.raises(HpaError, match="run_a and run_b both name"):
        comparison.require_comparable(pair[0], pair[0])


def refusal(first, second):
    with pytest.raises(HpaError) as caught:
        comparison.require_comparable(first, second)
    for run in (first, second):
        assert run.folder.name in caught.value.problem
    return caught.value.problem


def test_different_datasets_are_refused(train, pair, labelled, opened):
    other = labelled(opened.label_sets, fingerprint="0" * 64)
    problem = refusal(pair[0], train("VGG16", other))
    assert "dataset fingerprint" in problem
    assert "0" * 64 in problem


@pytest.mark.parametrize("options", [{"split_seed": 1}, {"protocol": "study"}])
def test_different_splits_are_refused(train, pair, options):
    assert "differ in split" in refusal(pair[0], train("VGG16", **options, seed=1))


@pytest.mark.parametrize(("name", "value"), [("image_size", 80), ("composition", "composite")])
def test_different_images_are_refused(train, pair, name, value):
    other = train("VGG16", **{name: value})
    problem = refusal(pair[0], other)
    assert f"differ in {name}" in problem
    assert str(value) in problem
    (sentence,) = comparison.require_comparable(pair[0], other, allow_differences=True)
    assert f"{name}: " in sentence
    assert str(value) in sentence


def test_parameter_differences(train, pair):
    other = train("VGG16", batch_size=7)
    other = dataclasses.replace(other, metrics=other.metrics | {"samples_seen": 5})
    table = comparison.parameter_differences(pair[0], other)
    assert table.loc["batch_size"].tolist() == [parameters.TrainParameters().batch_size, 7]
    assert table.loc["vgg_stages"].tolist() == ["–", []]
    assert table.loc["samples seen"].tolist() == [100, 5]
    assert "image_size" not in table.index
    assert "samples seen: 100 and 5" in refusal(pair[0], other)


def test_decisions_use_each_run_s_own_thresholds(pair):
    given = comparison.decisions(pair)
    assert list(given)[:2] == ["InceptionResNetV2", "VGG16"]
    _, probability = pair[1].arrays("report")
    np.testing.assert_array_equal(given["VGG16"], probability >= pair[1].thresholds())
    for metric in ("macro_f1", "micro_f1"):
        trivial = pair[0].metrics["trivial"][metric]
        constant = np.array(trivial["probability"]) >= 0.5
        assert (given[comparison.trivial_name(trivial["name"])] == constant).all()


def test_metric_intervals_have_a_row_a_model_and_metric(pair, bootstrap):
    table = comparison.metric_intervals(bootstrap)
    assert list(table.columns) == ["name", "series", "estimate", "low", "high"]
    models = bootstrap.metrics.index.unique("model")
    trivial = [found["name"] for found in pair[0].metrics["trivial"].values()]
    assert list(models)[2:] == [f"the trivial predictor “{name}”" for name in trivial]
    assert len(table) == DECIDING * len(models) + RANKING * 2
    first = table.iloc[0]
    assert first["name"] == metrics.READABLE_NAMES["macro_f1"]
    assert first["estimate"] == bootstrap.metrics.loc[("InceptionResNetV2", "macro_f1"), "estimate"]
    assert ((table["low"] <= table["estimate"]) & (table["estimate"] <= table["high"])).all()


def test_difference_intervals_have_a_row_a_pair_and_metric(bootstrap):
    table = comparison.difference_intervals(bootstrap)
    assert len(table) == DECIDING * 5 + RANKING  # of 6 pairs one is of trivial predictors
    row = table[table["series"] == "InceptionResNetV2 − VGG16"].iloc[0]
    wanted = [
        bootstrap.metrics.loc[(name, "macro_f1"), "estimate"]
        for name in ("InceptionResNetV2", "VGG16")
    ]
    assert row["estimate"] == pytest.approx(wanted[0] - wanted[1])
    assert row["estimate"] > 0.3
    assert row["low"] > 0


def test_every_metric_of_the_networks_is_in_a_table(bootstrap):
    table = comparison.metric_table(bootstrap)
    assert list(table.index) == [metrics.READABLE_NAMES[name] for name in evaluation.METRICS]
    assert list(table.columns) == [
        "InceptionResNetV2",
        "VGG16",
        "InceptionResNetV2 − VGG16",
    ]
    estimate = bootstrap.metrics.loc[("VGG16", "label_ranking_loss"), "estimate"]
    assert table.loc["label ranking loss", "VGG16"].startswith(f"{estimate:.3f} (")


def test_sentences_cover_every_pair_with_a_network(bootstrap):
    sentences = comparison.sentences(bootstrap)
    assert len(sentences) == 2 * 5 + 1
    assert all(sentence[0].isupper() for sentence in sentences)
    assert "InceptionResNetV2" in sentences[0]
    assert "VGG16" in sentences[0]


def test_sources_are_compared_from_the_run_folders_alone(train, opened):
    many = dataclasses.replace(
        opened,
        ids=tuple(f"sample-{row}" for row in range(400)),
        label_sets=opened.label_sets * 4,
        sources=("kaggle", "v18") * 200,
    )
    pair = [train(backbone, many) for backbone in NOTEBOOKS]
    by_source = comparison.by_source(pair, 100, 0)
    ids = pair[0].predictions.query("part == 'report'")["Id"]
    number = ids.str.removeprefix("sample-").astype(int).to_numpy()
    for source, odd in (("kaggle", 0), ("v18", 1)):
        one = number % 2 == odd
        assert by_source.counts.loc[source, "samples"] == one.sum()
        values = [
            metrics.summary(*(array[one] for array in run.arrays("report")), run.thresholds())
            for run in pair
        ]
        difference = by_source.differences.loc[(source, *NOTEBOOKS, "micro_f1")]
        wanted = values[0]["micro_f1"] - values[1]["micro_f1"]
        assert difference["estimate"] == pytest.approx(wanted)
        assert difference["low"] <= difference["estimate"] <= difference["high"]


def test_predictions_without_sources_are_compared_as_one(pair):
    by_source = comparison.by_source(pair, 100, 0)
    assert by_source.counts.empty
    assert by_source.metrics.empty


def test_results_name_runs_and_the_difference_that_counts(pair, bootstrap):
    found = comparison.results(pair, bootstrap, comparison.by_source(pair, 100, 0))
    assert found["runs"] == [run.folder.name for run in pair]
    assert found["samples"] == len(pair[0].arrays("report")[0])
    assert found["replicates"] == 200
    difference = bootstrap.differences.loc[("InceptionResNetV2", "VGG16", "macro_f1"), "estimate"]
    assert found["headline"]["Macro F1 difference"] == difference
    assert (
        found["metrics"]["VGG16 / macro_f1"]["low"] <= found["metrics"]["VGG16 / macro_f1"]["high"]
    )
    runs.Run("4_compare", parameters.validate("4_compare", {}), "Title").write_metrics(found)


def test_per_class_tables(pair):
    tables = comparison.per_class_tables(pair)
    truth, probability = pair[1].arrays("report")
    wanted = metrics.per_class(truth, probability, pair[1].thresholds())
    pd.testing.assert_frame_equal(tables["VGG16"], wanted)


def test_shown_samples_give_names_at_one_threshold(pair, opened):
    table = comparison.shown_samples(pair, threshold=0.2)
    rows = splits.stratified_split(opened).evaluation_parts["shown"]
    assert table.index.tolist() == [opened.ids[row] for row in rows]
    assert list(table.columns) == ["truth", "InceptionResNetV2", "VGG16"]
    assert table["truth"].tolist() == [labels.class_names(opened.label_sets[row]) for row in rows]
    _, probability = pair[1].arrays("shown")
    assert table["VGG16"].iloc[0] == labels.class_names(np.flatnonzero(probability[0] >= 0.2))


def test_study_numbers_stand_beside_ours_and_say_what_may_be_compared(pair):
    table = comparison.beside_study(pair)
    reported = [number for number in study_metrics.REPORTED if number.stage == 2]
    assert len(table) == len(reported)
    assert table["study"].tolist() == [number.value for number in reported]
    assert table.loc[("VGG16", "loss (validation)"), "ours"] == 0.125
    assert table.loc[("VGG16", "batch averaged f1 (training)"), "ours"] == 0.25
    assert table["may be compared"].str.startswith("no: 100 samples of labelled").all()


def test_study_numbers_are_comparable_under_the_study_s_data_and_protocol_only(pair):
    def verdict(**changed):
        for run in pair:
            path = run.folder / runs.MANIFEST
            preset = runs.preset_parameters("seed", run.manifest["notebook"])
            values = run.manifest["parameters"] | preset | changed
            dataset = run.manifest["dataset"] | {"samples": comparison.STUDY_SAMPLES}
            files.write_json(path, run.manifest | {"parameters": values, "dataset": dataset})
            (run.folder / run_digests.FILE).unlink(missing_ok=True)
        loaded = [trained_runs.load(run.folder.name, "") for run in pair]
        return set(comparison.beside_study(loaded)["may be compared"])

    assert verdict() == {"yes"}
    assert verdict(seed=5, data="/elsewhere") == {"yes"}
    assert verdict(image_size=128) == {"no: other protocol (image_size)"}
    assert verdict(split="stratified") == {"no: other protocol (split)"}
