from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from hpa_lib import dataset, labels, splits
from hpa_lib.errors import HpaError

IDEAL = {"training": 0.6, "validation": 0.1, "threshold": 0.1, "report": 0.2}


def random_label_sets(samples, seed):
    """Label sets with class frequencies as uneven as the real ones."""
    random = np.random.default_rng(seed)
    share = np.array(labels.TRAINING_SET_COUNTS) / 31_072
    return [tuple(np.flatnonzero(row).tolist()) for row in random.random((samples, 28)) < share]


def whole(division):
    return np.sort(np.concatenate(list(division.parts.values())))


@pytest.fixture(scope="module")
def real_table(real_images):
    path = real_images / "labels" / "train_full.csv"
    ids, label_sets = dataset.read_label_table(path)
    return dataset.Dataset("full", Path("nowhere"), ids, label_sets, "f" * 64)


def assert_validates_on_training_rows(table):
    x_train, y_train, x_test, y_test = splits.study_split_as_printed(table["Id"], table["Target"])
    assert x_train.index.equals(x_test.index)
    # What the study calls X_test holds targets, of the very rows that it trains on.
    assert x_test.equals(table["Target"].loc[x_train.index])
    assert y_train.equals(table["Id"].loc[y_test.index])
    assert not x_train.index.intersection(y_train.index).size
    return x_train


@pytest.mark.real_images
def test_study_split_validates_on_training_rows_on_the_real_table(real_images, real_table):
    table = pd.read_csv(real_images / "labels" / "train_full.csv")
    assert len(assert_validates_on_training_rows(table)) == 24_857
    flaw = splits.study_flaw(real_table)
    assert flaw.training_rows == flaw.validation_rows == 24_857
    assert flaw.validation_rows_in_training == 24_857
    assert flaw.held_out_rows == 6_215
    assert (flaw.held_out_counts[27], flaw.held_out_counts[10]) == (1, 4)


@pytest.mark.parametrize("samples", [5, 20, 101])
def test_study_split_validates_on_training_rows(labelled, samples):
    table = labelled(random_label_sets(samples, 0)).table
    assert len(assert_validates_on_training_rows(table)) == samples - -(-samples // 5)


def test_study_split_is_scikit_learns_with_the_study_arguments(labelled):
    rows = np.arange(50)
    training, held_out = train_test_split(rows, test_size=0.2, shuffle=True, random_state=101)
    parts = splits.study_split(labelled(random_label_sets(50, 0))).parts
    np.testing.assert_array_equal(parts["training"], np.sort(training))
    np.testing.assert_array_equal(parts["validation"], np.sort(training))
    np.testing.assert_array_equal(parts["report"], np.sort(held_out))
    assert len(parts["threshold"]) == 0


def test_study_split_refuses_one_sample(labelled):
    with pytest.raises(HpaError, match="labelled has 1 sample"):
        splits.study_split(labelled([(0,)]))


def test_study_flaw_is_counted_and_told(labelled):
    flaw = splits.study_flaw(labelled([(0,)] * 25))
    assert flaw.table()["rows"].tolist() == [20, 20, 20, 5]
    assert flaw.held_out_counts.tolist() == [5] + [0] * 27
    assert "Of the 20 rows that the study would validate on, 20 (100%)" in flaw.sentence()
    assert "27 classes have fewer than 5 samples" in flaw.sentence()


@settings(max_examples=30)
@given(st.integers(20, 150), st.integers(0, 1000))
def test_stratified_parts_are_disjoint_and_complete(samples, seed):
    label_sets = tuple(random_label_sets(samples, seed))
    ids = tuple(map(str, range(samples)))
    parts = splits.stratified_split(
        dataset.Dataset("random", Path("nowhere"), ids, label_sets, "f"), seed
    ).parts
    assert tuple(parts) == splits.PARTS
    together = np.concatenate(list(parts.values()))
    assert np.sort(together).tolist() == list(range(samples))
    for part in parts.values():
        assert len(part)
        assert (np.diff(part) > 0).all()


def test_stratified_split_repeats_by_seed(labelled):
    opened = labelled(random_label_sets(200, 0))
    first, again, other = (splits.stratified_split(opened, seed) for seed in (1, 1, 2))
    for name in splits.PARTS:
        np.testing.assert_array_equal(first.parts[name], again.parts[name])
    assert first.fingerprint == again.fingerprint
    assert set(first.parts["training"]) != set(other.parts["training"])
    assert first.fingerprint != other.fingerprint


def test_stratified_split_shares_out_rare_classes(labelled):
    # Class 1 has 20 samples of 400: every twentieth fold must get exactly one.
    label_sets = [(0, 1) if row < 20 else (0,) for row in range(400)]
    counts = splits.stratified_split(labelled(label_sets), 0).class_counts(labelled(label_sets))
    assert counts.loc["Nuclear membrane"].to_dict() == {
        "training": 12, "validation": 2, "threshold": 2, "report": 4,
    }  # fmt: skip
    assert counts.loc["Nucleoplasm"].sum() == 400


@pytest.mark.real_images
def test_stratified_split_of_the_real_table_gives_each_class_its_share(real_table):
    counts = splits.stratified_split(real_table, 0).class_counts(real_table)
    ideal = pd.DataFrame({part: counts.sum(axis=1) * share for part, share in IDEAL.items()})
    distance = (counts - ideal).abs()
    # Parts are joined from folds that are whole samples each; measured: 2.0, 1.2, 1.4 and 2.0.
    assert distance.to_numpy().max() <= 2.5
    assert distance.to_numpy().mean() < 0.7
    assert counts.loc[:, ["validation", "threshold"]].to_numpy().min() >= 1
    random = np.random.default_rng(0).permutation(len(real_table))
    by_chance = real_table.multi_hot[random[:18_643]].sum(axis=0, dtype=int) - ideal["training"]
    assert by_chance.abs().max() > 10 * distance["training"].max()


@pytest.mark.parametrize("samples", [0, 1, 19])
def test_stratified_split_refuses_too_few_samples(labelled, samples):
    with pytest.raises(HpaError, match=f"labelled has {samples} samples.*at least 20"):
        splits.stratified_split(labelled([(0,)] * samples))


def test_stratified_split_takes_20_samples_without_any_label(labelled):
    assert whole(splits.stratified_split(labelled([()] * 20))).tolist() == list(range(20))


def test_split_by_name_of_the_protocol(labelled):
    opened = labelled(random_label_sets(60, 0))
    assert splits.split(opened, "study", 5).fingerprint == splits.study_split(opened).fingerprint
    stratified = splits.split(opened, "stratified", 5)
    assert stratified.fingerprint == splits.stratified_split(opened, 5).fingerprint
    assert [splits.split(opened, name).protocol for name in splits.PROTOCOLS] == [
        "stratified", "study",
    ]  # fmt: skip


def test_fingerprint_depends_on_dataset(labelled):
    first, other = (labelled([(0,)] * 20, fingerprint=letter * 64) for letter in "ab")
    assert splits.stratified_split(first).fingerprint != splits.stratified_split(other).fingerprint


def test_evaluation_parts_share_no_row_with_training(labelled):
    opened = labelled(random_label_sets(100, 0))
    stratified = splits.stratified_split(opened)
    assert list(stratified.evaluation_parts) == ["validation", "threshold", "report", "shown"]
    for rows in stratified.evaluation_parts.values():
        assert not np.isin(rows, stratified.parts["training"]).any()
    shown = stratified.evaluation_parts["shown"]
    np.testing.assert_array_equal(shown, stratified.parts["report"][:10])


def test_study_protocol_evaluates_held_out_rows_and_shows_the_first_ten(labelled):
    parts = splits.study_split(labelled(random_label_sets(100, 0))).evaluation_parts
    assert list(parts) == ["report", "shown"]
    assert len(parts["report"]) == 20
    assert parts["shown"].tolist() == list(range(10))


def test_sizes_say_how_many_rows_are_also_training_rows(labelled):
    sizes = splits.study_split(labelled([(0,)] * 50)).sizes()
    assert sizes.loc["validation"].tolist() == [40, 40]
    assert sizes.loc["report"].tolist() == [10, 0]
    assert splits.stratified_split(labelled([(0,)] * 50)).sizes()["also in training"].sum() == 0


def test_table_names_every_row_with_its_part(labelled):
    opened = labelled(random_label_sets(40, 0))
    division = splits.stratified_split(opened)
    table = division.table(opened)
    assert list(table.columns) == ["Id", "Target", "part"]
    assert sorted(table["Id"]) == sorted(opened.ids)
    targets = dict(zip(table["Id"], table["Target"], strict=True))
    assert targets["sample-7"] == labels.format_target(opened.label_sets[7])
    report = table.loc[table["part"] == "report", "Id"].tolist()
    assert report == [opened.ids[row] for row in division.parts["report"]]
