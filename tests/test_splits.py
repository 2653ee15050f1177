from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from hpa_lib import dataset, label_tables, labels, near_duplicates, splits
from hpa_lib.errors import HpaError

IDEAL = {"training": 0.6, "validation": 0.1, "threshold": 0.1, "report": 0.2}


def random_label_sets(samples, seed):
    """Label sets with class frequencies as uneven as the real ones."""
    random = np.random.default_rng(seed)
    share = np.array(labels.TRAINING_SET_COUNTS) / 31_072
    return [tuple(np.flatnonzero(row).tolist()) for row in random.random((samples, 28)) < share]


def random_pairs(samples, pairs, seed=0):
    rows = np.random.default_rng(seed).choice(samples, (pairs, 2), replace=False)
    return near_duplicates.NearDuplicates(np.sort(rows, axis=1), np.zeros(pairs, dtype=int))


def whole(division):
    return np.sort(np.concatenate(list(division.parts.values())))


@pytest.fixture(scope="module")
def real_table(real_images):
    path = real_images / "labels" / "train_full.csv"
    table = label_tables.read(path)
    return dataset.Dataset("full", Path("nowhere"), table.ids, table.label_sets, "f" * 64)


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


def test_study_split_takes_two_samples_and_refuses_one(labelled):
    opened = labelled([(0,)] * 2)
    counts = splits.study_split(opened).class_counts(opened)
    assert counts.loc["Nucleoplasm"].to_dict() == {
        "training": 1, "validation": 1, "threshold": 0, "report": 1,
    }  # fmt: skip
    with pytest.raises(HpaError, match="labelled has 1 sample"):
        splits.study_split(labelled([(0,)]))


def test_study_flaw_is_counted_and_told(labelled):
    flaw = splits.study_flaw(labelled([(0,)] * 25))
    assert flaw.table()["rows"].to_dict() == {
        "training": 20, "validation": 20, "validation rows in training": 20, "held out, unused": 5,
    }  # fmt: skip
    assert flaw.held_out_counts.tolist() == [5] + [0] * 27
    assert flaw.sentence() == (
        "Of the 20 rows that the study would validate on, 20 (100%) are training rows. The 5 rows "
        "that it split off are never used. Even these would not do: as the split ignores labels, "
        "27 classes have fewer than 5 samples among them."
    )


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
    assert counts.index.name == "class"
    assert set(counts.dtypes) == {np.dtype(int)}


def distance_from_ideal(division, opened):
    """How far the counts of each class and of all samples are from each part's share."""
    counts = division.class_counts(opened)
    counts.loc["samples"] = {name: len(rows) for name, rows in division.parts.items()}
    total = counts.sum(axis=1)
    return (counts - pd.DataFrame({part: total * share for part, share in IDEAL.items()})).abs()


@pytest.mark.parametrize("samples", [500, 3000])
@pytest.mark.parametrize("seed", [0, 1])
def test_each_class_is_within_one_sample_of_its_share(labelled, samples, seed):
    opened = labelled(random_label_sets(samples, seed))
    distance = distance_from_ideal(splits.stratified_split(opened, seed), opened)
    # Of four samples each part gets one, which is 1.4 less than training's share.
    four = np.array(labels.CLASS_NAMES)[opened.multi_hot.sum(axis=0) == 4]
    assert distance.drop(four).to_numpy().max() <= 1 + 1e-9


@pytest.mark.real_images
@pytest.mark.parametrize("grouped", [False, True])
def test_each_class_of_the_real_table_is_within_one_sample_of_its_share(real_table, grouped):
    near = random_pairs(len(real_table), 1500) if grouped else None
    division = splits.stratified_split(real_table, 0, near)
    assert distance_from_ideal(division, real_table).to_numpy().max() <= 1 + 1e-9
    counts = division.class_counts(real_table)
    assert counts.to_numpy().min() >= 1
    assert counts.loc["Rods & rings"].tolist() == [7, 1, 1, 2]
    if grouped:
        assert division.torn(near) == 0


@pytest.mark.parametrize("count", range(4, 11))
def test_a_class_of_four_samples_or_more_is_in_every_part(labelled, count):
    label_sets = [(0, 27) if row < count else (0,) for row in range(200)]
    opened = labelled(label_sets)
    counts = splits.stratified_split(opened, 3).class_counts(opened).loc["Rods & rings"]
    assert counts.min() >= 1
    assert counts["training"] == counts.max()


@settings(max_examples=20)
@given(st.integers(60, 120), st.integers(0, 15), st.integers(0, 1000))
def test_near_duplicates_stay_in_one_part(samples, pairs, seed):
    near = random_pairs(samples, pairs, seed)
    opened = dataset.Dataset(
        "random", Path("nowhere"), tuple(map(str, range(samples))),
        tuple(random_label_sets(samples, seed)), "f",
    )  # fmt: skip
    division = splits.stratified_split(opened, seed, near)
    part_of = {int(row): name for name, rows in division.parts.items() for row in rows}
    assert all(part_of[a] == part_of[b] for a, b in near.rows.tolist())
    assert whole(division).tolist() == list(range(samples))
    assert division.torn(near) == 0


def test_pairs_kept_together_enter_the_fingerprint(labelled):
    opened = labelled(random_label_sets(100, 0))
    assert splits.study_split(opened).kept_together == ""
    plain, none, pair = (
        splits.stratified_split(opened, 0, near)
        for near in (None, random_pairs(100, 0), random_pairs(100, 1))
    )
    np.testing.assert_array_equal(plain.parts["training"], none.parts["training"])
    assert len({plain.fingerprint, none.fingerprint, pair.fingerprint}) == 3


def test_few_groups_are_refused_and_a_large_one_leaves_no_part_empty(labelled):
    rows = np.array([[row, row + 1] for row in range(79)])
    near = near_duplicates.NearDuplicates(rows, np.zeros(79, dtype=int))
    parts = splits.stratified_split(labelled([(0,)] * 101), 0, near).parts
    assert all(map(len, parts.values()))
    with pytest.raises(HpaError, match="90 samples in 11 groups of near-duplicates"):
        splits.stratified_split(labelled([(0,)] * 90), 0, near)


def test_torn_pairs_are_counted_and_told():
    rows = np.array([[0, 1], [1, 2], [3, 4]])
    near = near_duplicates.NearDuplicates(rows, np.zeros(3, dtype=int))
    parts = dict(zip(splits.PARTS, map(np.array, ([0, 1], [2], [3, 5], [4])), strict=True))
    division = splits.Split("file", parts, "f")
    assert division.torn(near) == 2
    assert division.near_duplicates_sentence(near) == (
        "2 of 3 pairs of near-duplicates lie in different parts: figures on held-out samples "
        "flatter the network."
    )
    pair = near_duplicates.NearDuplicates(rows[:1], np.zeros(1, dtype=int))
    assert division.near_duplicates_sentence(pair) == (
        "Both samples of each pair of near-duplicates lie in the same part."
    )
    nothing = near_duplicates.NearDuplicates(np.empty((0, 2), dtype=int), np.empty(0, dtype=int))
    assert division.torn(nothing) == 0
    assert division.near_duplicates_sentence(nothing) == (
        "There are no near-duplicates to keep in one part."
    )


@pytest.mark.parametrize("samples", [0, 1, 19])
def test_stratified_split_refuses_too_few_samples(labelled, samples):
    with pytest.raises(HpaError, match=f"labelled has {samples} samples.*at least 20"):
        splits.stratified_split(labelled([(0,)] * samples))


def test_stratified_split_takes_20_samples_without_any_label(labelled):
    assert whole(splits.stratified_split(labelled([()] * 20))).tolist() == list(range(20))


@settings(max_examples=15)
@given(
    samples=st.integers(60, 150),
    folds=st.integers(2, 6),
    pairs=st.integers(0, 10),
    seed=st.integers(0, 99),
)
def test_reports_of_all_folds_cover_each_sample_once(samples, folds, pairs, seed):
    sets = random_label_sets(samples, seed)
    table = dataset.Dataset("t", Path("nowhere"), tuple(map(str, range(samples))), sets, "f" * 64)
    near = random_pairs(samples, pairs, seed)
    divided = [splits.fold_split(table, fold, folds, near) for fold in range(1, folds + 1)]
    for one in divided:
        assert (whole(one) == np.arange(samples)).all()
        assert not one.torn(near)
        assert all(len(part) for part in one.parts.values())
    reported = np.concatenate([one.parts["report"] for one in divided])
    assert (np.sort(reported) == np.arange(samples)).all()


def test_a_fold_does_not_depend_on_the_seed(labelled):
    table = labelled(random_label_sets(200, 0))
    first, second = (splits.split(table, "fold 2 of 5", seed) for seed in (1, 2))
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != splits.split(table, "fold 3 of 5", 1).fingerprint
    assert [len(part) for part in first.parts.values()] == [120, 20, 20, 40]


def test_each_class_is_shared_out_over_folds(labelled):
    table = labelled([(0,)] * 150 + [(1, 2)] * 50 + [(10,)] * 5)
    for fold in range(1, 6):
        report = splits.fold_split(table, fold, 5).parts["report"]
        assert table.multi_hot[report][:, [0, 1, 2, 10]].sum(axis=0).tolist() == [30, 10, 10, 1]


def test_folds_of_a_small_dataset_are_refused(labelled):
    with pytest.raises(HpaError, match="39 samples; the split needs at least 40"):
        splits.fold_split(labelled([(0,)] * 39), 1, 2)


def test_split_by_name_of_the_protocol(labelled):
    opened = labelled(random_label_sets(60, 0))
    assert splits.split(opened, "study", 5).fingerprint == splits.study_split(opened).fingerprint
    stratified = splits.split(opened, "stratified", 5)
    assert stratified.fingerprint == splits.stratified_split(opened, 5).fingerprint
    for name in ("stratified", "study"):
        assert splits.split(opened, name).protocol == name


@pytest.mark.parametrize("protocol", ["stratified", "fold 2 of 3"])
def test_split_by_name_keeps_near_duplicates_together(labelled, protocol):
    opened = labelled(random_label_sets(90, 0))
    near = random_pairs(90, 8)
    plain, kept = (splits.split(opened, protocol, 3, each) for each in (None, near))
    assert plain.torn(near)
    assert not kept.torn(near)
    assert (plain.kept_together, kept.kept_together) == ("", near.digest)
    for division in (plain, kept):
        assert division.protocol == "stratified"
        assert division.dataset_fingerprint == opened.fingerprint


def test_the_seed_is_0_unless_told_otherwise(labelled):
    opened = labelled(random_label_sets(90, 0))
    expected = splits.stratified_split(opened, 0).fingerprint
    assert splits.stratified_split(opened).fingerprint == expected
    assert splits.split(opened, "stratified").fingerprint == expected
    assert splits.stratified_split(opened, 1).fingerprint != expected


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


def test_parts_of_a_row_are_named(labelled):
    division = splits.study_split(labelled([(0,)] * 50))
    assert division.parts_of(division.parts["training"][0]) == "training and validation"
    assert division.parts_of(division.parts["report"][0]) == "report"
    assert division.parts_of(50) == "(no part)"


def test_sizes_say_how_many_rows_are_also_training_rows(labelled):
    sizes = splits.study_split(labelled([(0,)] * 50)).sizes()
    assert list(sizes.columns) == ["samples", "also in training"]
    assert sizes.loc["training"].tolist() == [40, 0]
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


@pytest.fixture
def written(labelled, tmp_path):
    """A split of 40 samples, in a file."""
    opened = labelled(random_label_sets(40, 0))
    division = splits.stratified_split(opened, 0, random_pairs(40, 2))
    splits.write(tmp_path / "split.csv", division, opened)
    return tmp_path / "split.csv", opened, division


def test_a_written_split_is_read_back_the_same(written):
    path, opened, division = written
    again = splits.split(opened, str(path), seed=9)
    assert again.fingerprint == division.fingerprint
    assert (again.protocol, again.kept_together) == ("stratified", division.kept_together)
    assert path.read_text().splitlines()[:4] == [
        f"# dataset: {opened.fingerprint}",
        "# protocol: stratified",
        f"# kept together: {division.kept_together}",
        "Id,Target,part",
    ]
    for name in splits.PARTS:
        np.testing.assert_array_equal(again.parts[name], division.parts[name])
    assert list(pd.read_csv(path, comment="#").columns) == ["Id", "Target", "part"]


def test_a_split_of_ones_own_needs_two_columns_and_the_fingerprint(labelled, tmp_path):
    opened = labelled([(0,)] * 4)
    path = tmp_path / "own.csv"
    rows = ["sample-2,training", "sample-0,training", "sample-3,report", "sample-1,validation"]
    path.write_text("\n".join([f"# dataset: {opened.fingerprint}", "Id,part", *rows]))
    division = splits.read(path, opened)
    assert division.protocol == "file"
    found = {name: part.tolist() for name, part in division.parts.items()}
    assert found == {"training": [0, 2], "validation": [1], "threshold": [], "report": [3]}


def test_a_split_of_another_dataset_is_refused(written, labelled):
    path, opened, _ = written
    other = labelled(opened.label_sets, fingerprint="e" * 64)
    with pytest.raises(HpaError) as caught:
        splits.read(path, other)
    assert "f" * 64 in caught.value.problem
    assert "e" * 64 in caught.value.problem


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: lines[1:], "belongs to the dataset missing"),
        (lambda lines: [*lines, lines[-1]], "gives Id sample-39 more than once"),
        (lambda lines: [*lines, lines[-1].rpartition(",")[0] + ",training"], "more than once"),
        (lambda lines: lines[:-1], "says nothing of 1 samples; the first is sample-39"),
        (lambda lines: [*lines, "stranger,0,report"], "names Id stranger"),
        (lambda lines: [*lines, "sample-1,0,test"], "names the part 'test'"),
        (lambda lines: [*lines[:3], "Id,Target,role", *lines[4:]], "lacks the column part"),
        (lambda lines: [line.replace("validation", "report") for line in lines], "validation"),
        (lambda lines: lines[:3], "can't be read"),
    ],
)  # fmt: skip
def test_a_split_file_that_is_no_division_is_refused(written, change, problem):
    path, opened, _ = written
    lines = path.read_text().splitlines()
    lines = [*lines[:4], *sorted(lines[4:], key=lambda line: int(line.split(",")[0][7:]))]
    path.write_text("\n".join(change(lines)) + "\n")
    with pytest.raises(HpaError) as caught:
        splits.read(path, opened)
    assert problem in caught.value.problem
    assert str(path) in caught.value.problem


def test_an_id_that_is_given_twice_is_told_with_its_own_parts(written):
    path, opened, _ = written
    head, rows = path.read_text().splitlines()[:4], path.read_text().splitlines()[4:]
    first, other = (row.rpartition(",")[0] for row in (rows[0], rows[-1]))
    again = [f"{first},validation", f"{first},report", f"{other},training", f"{other},training"]
    path.write_text("\n".join([*head, *again, *rows[1:-1]]) + "\n")
    sample_id = first.split(",")[0]
    problem = f"gives Id {sample_id} more than once (validation, report; 2 such Ids in all)"
    with pytest.raises(HpaError) as caught:
        splits.read(path, opened)
    assert problem in caught.value.problem


def test_a_split_file_may_begin_with_a_byte_order_mark_and_say_little(written):
    path, opened, division = written
    head, rows = path.read_text().splitlines()[:1], path.read_text().splitlines()[3:]
    path.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8-sig")
    again = splits.read(path, opened)
    assert (again.protocol, again.kept_together) == ("file", "")
    for name, part in division.parts.items():
        np.testing.assert_array_equal(again.parts[name], part)


def test_a_colon_in_a_line_before_the_table_is_part_of_what_it_says(written):
    path, opened, _ = written
    lines = path.read_text().splitlines()
    lines[1] = "# protocol: by plate: no two parts share one"
    path.write_text("\n".join(lines) + "\n")
    assert splits.read(path, opened).protocol == "by plate: no two parts share one"


def test_a_split_file_that_is_not_there_is_refused(labelled, tmp_path):
    with pytest.raises(HpaError, match=r"No such file"):
        splits.split(labelled([(0,)] * 4), str(tmp_path / "none.csv"))


def test_the_overlapping_study_split_is_not_taken_from_a_file(labelled, tmp_path):
    opened = labelled([(0,)] * 25)
    splits.write(tmp_path / "study.csv", splits.study_split(opened), opened)
    with pytest.raises(HpaError, match="more than once") as caught:
        splits.read(tmp_path / "study.csv", opened)
    assert "setting split to study" in caught.value.remedy
