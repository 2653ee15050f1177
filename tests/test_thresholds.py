import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from hpa_lib import metrics, thresholds
from hpa_lib.errors import HpaError


@st.composite
def tuning_samples(draw):
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples, classes = draw(st.integers(1, 25)), draw(st.integers(2, 5))
    truth = (generator.random((samples, classes)) < generator.random(classes)).astype(np.uint8)
    truth[:, 0] *= draw(st.integers(0, 1))  # sometimes a class without positives
    levels = draw(st.sampled_from([1, 5, 1_000_000]))
    return truth, generator.integers(0, levels + 1, (samples, classes)) / levels


def every_threshold(probability):
    return [0.0, *np.unique(probability), 1.1]


def macro_f1(truth, prediction):
    return f1_score(truth, prediction, average="macro", zero_division=0)


@settings(max_examples=40, deadline=None)
@given(tuning_samples())
def test_no_global_threshold_is_better(samples):
    truth, probability = samples
    chosen = thresholds.global_threshold(truth, probability)
    best = max(macro_f1(truth, probability >= other) for other in every_threshold(probability))
    if truth.any():
        assert macro_f1(truth, metrics.decide(probability, chosen)) == pytest.approx(best)
    else:
        assert chosen == 0.5


@settings(max_examples=40, deadline=None)
@given(tuning_samples())
def test_no_class_threshold_is_better(samples):
    truth, probability = samples
    chosen = thresholds.per_class_thresholds(truth, probability)
    decided = metrics.confusion_counts(truth, metrics.decide(probability, chosen)).f1
    for column in range(truth.shape[1]):
        labels, scores = truth[:, column], probability[:, column]
        best = max(f1_score(labels, scores >= t, zero_division=0) for t in every_threshold(scores))
        if labels.any():
            assert decided[column] == pytest.approx(best)
        else:
            assert chosen[column] == thresholds.global_threshold(truth, probability)


@settings(max_examples=40, deadline=None)
@given(tuning_samples())
def test_no_class_threshold_matches_the_frequency_more_closely(samples):
    truth, probability = samples
    frequency = truth.mean(axis=0)
    chosen = thresholds.matched_thresholds(truth, probability)
    reached = metrics.decide(probability, chosen).mean(axis=0)
    for column in np.flatnonzero(frequency):
        scores = probability[:, column]
        possible = [np.mean(scores >= other) for other in every_threshold(scores)]
        nearest = min(abs(share - frequency[column]) for share in possible)
        assert abs(reached[column] - frequency[column]) == pytest.approx(nearest)


def test_thresholds_lie_halfway_between_neighbours():
    truth = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
    probability = np.array([[0.9, 0.3], [0.7, 0.8], [0.4, 0.6], [0.1, 0.2]])
    assert thresholds.per_class_thresholds(truth, probability) == pytest.approx([0.55, 0.45])
    assert thresholds.matched_thresholds(truth, probability) == pytest.approx([0.55, 0.45])
    # The best global threshold separates 0.6 from 0.4: every decision is right.
    assert thresholds.global_threshold(truth, probability) == pytest.approx(0.5)


def test_among_equally_good_thresholds_the_highest_wins():
    truth = np.array([[1], [0], [0], [1]])  # F1 is 2/3 with one accepted, and with all four
    probability = np.array([[0.8], [0.6], [0.4], [0.2]])
    assert thresholds.per_class_thresholds(truth, probability) == pytest.approx([0.7])
    assert thresholds.global_threshold(truth, probability) == pytest.approx(0.7)


def test_a_class_without_positives_keeps_the_global_threshold():
    truth = np.array([[1, 0], [0, 0]])
    probability = np.array([[0.9, 0.3], [0.5, 0.6]])
    overall = thresholds.global_threshold(truth, probability)
    assert overall == pytest.approx((0.9 + 0.6) / 2)
    assert thresholds.per_class_thresholds(truth, probability)[1] == overall
    assert thresholds.matched_thresholds(truth, probability)[1] == overall


def test_matched_thresholds_follow_the_reference_and_not_the_tuning_labels():
    generator = np.random.default_rng(0)
    probability = generator.random((1000, 3))
    reference = np.array([0.5, 0.05, 0.001])
    chosen = thresholds.matched_thresholds(np.zeros((1000, 3)), probability, reference)
    assert metrics.decide(probability, chosen).sum(axis=0).tolist() == [500, 50, 1]


def test_a_frequency_too_low_for_one_sample_predicts_none():
    for highest, threshold in ((0.9, 0.95), (1.0, np.nextafter(1, 2))):
        probability = np.array([[highest], [0.5]])
        chosen = thresholds.matched_thresholds(np.zeros((2, 1)), probability, np.array([0.01]))
        assert chosen[0] == pytest.approx(threshold, abs=1e-16)
        assert not metrics.decide(probability, chosen).any()


def test_expected_f1_is_weighed_against_the_sum_of_probabilities():
    # Sums: 2 and 0.5. First class: 1.8/3, 3.2/4, 3.6/5, 4/6: two are accepted.
    # Second class: 0.6/1.5, 0.8/2.5, …: one. Third class: nothing to expect.
    probability = np.array([[0.9, 0.3, 0], [0.7, 0.1, 0], [0.2, 0.05, 0], [0.2, 0.05, 0]])
    chosen = thresholds.expected_f1_thresholds(probability, micro_share=0)
    assert chosen[:2] == pytest.approx([0.45, 0.2])
    assert not metrics.decide(probability, chosen)[:, 2].any()


@settings(max_examples=40, deadline=None)
@given(tuning_samples())
def test_expected_f1_accepts_what_lies_above_half_of_it(samples):
    _, probability = samples
    chosen = thresholds.expected_f1_thresholds(probability, micro_share=0)
    for scores, threshold in zip(probability.T.astype(float), chosen, strict=True):
        if not scores.any():
            continue
        kept = scores >= threshold
        reached = 2 * scores[kept].sum() / (kept.sum() + scores.sum())
        assert (scores[kept] >= reached / 2 - 1e-9).all()
        assert (scores[~kept] <= reached / 2 + 1e-9).all()


def expected_goal(probability, accepted, micro_share):
    """Macro and micro F1 of the expected counts, written out."""
    hits, total = np.where(accepted, probability, 0).sum(axis=0), probability.sum(axis=0)
    denominator = accepted.sum(axis=0) + total
    macro = np.divide(2 * hits, denominator, out=np.zeros(len(total)), where=denominator > 0).mean()
    micro = 2 * hits.sum() / denominator.sum() if denominator.sum() else 0
    return (1 - micro_share) * macro + micro_share * micro


@settings(max_examples=40, deadline=None)
@given(tuning_samples(), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_no_threshold_alone_promises_a_better_f1(samples, micro_share):
    _, probability = samples
    probability = probability.astype(float)
    chosen = thresholds.expected_f1_thresholds(probability, micro_share)
    accepted = metrics.decide(probability, chosen)
    reached = expected_goal(probability, accepted, micro_share)
    for column in range(probability.shape[1]):
        for threshold in [*probability[:, column], 1.1]:
            other = accepted.copy()
            other[:, column] = probability[:, column] >= threshold
            assert expected_goal(probability, other, micro_share) <= reached + 1e-9


@pytest.fixture
def easy_and_hard():
    """Probabilities of 500 samples for a class that is easy to tell, and one that is hard."""
    generator = np.random.default_rng(0)
    return np.hstack([generator.beta(0.2, 0.6, (500, 1)), generator.beta(2, 60, (500, 1))])


def test_a_share_of_micro_f1_gives_a_hard_class_less_often(easy_and_hard):
    chosen = [thresholds.expected_f1_thresholds(easy_and_hard, share) for share in (0, 0.1, 1)]
    given = [metrics.decide(easy_and_hard, one)[:, 1].sum() for one in chosen]
    assert given[0] > given[1] > given[2]
    np.testing.assert_array_equal(thresholds.expected_f1_thresholds(easy_and_hard), chosen[1])


@pytest.mark.parametrize("micro_share", [0.1, 0.5])
@pytest.mark.parametrize("decimals", [16, 2])  # without and with equal probabilities
def test_macro_and_micro_f1_have_their_shares(easy_and_hard, micro_share, decimals):
    probability = easy_and_hard.round(decimals)
    chosen = thresholds.expected_f1_thresholds(probability, micro_share)
    accepted = metrics.decide(probability, chosen)
    reached = expected_goal(probability, accepted, micro_share)
    for column in range(2):
        for threshold in np.unique(probability[:, column]):
            other = accepted.copy()
            other[:, column] = probability[:, column] >= threshold
            assert expected_goal(probability, other, micro_share) <= reached + 1e-9


def test_all_accepted_when_every_label_is_positive():
    probability = np.array([[0.0], [0.4]])
    for tuned in (thresholds.per_class_thresholds, thresholds.matched_thresholds):
        assert metrics.decide(probability, tuned(np.ones((2, 1)), probability)).all()


def test_tune_by_name():
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 2, (30, 4))
    probability = generator.random((30, 4))
    tuned = {rule: thresholds.tune(rule, truth, probability) for rule in thresholds.RULES}
    assert all(values.shape == (4,) and values.dtype == np.float64 for values in tuned.values())
    assert tuned["0.5"].tolist() == [0.5] * 4
    assert tuned["0.2"].tolist() == [0.2] * 4
    assert len(set(tuned["global"])) == 1
    scores = {
        rule: metrics.summary(truth, probability, values)["macro_f1"]
        for rule, values in tuned.items()
    }
    assert scores["per_class"] >= scores["global"] >= max(scores["0.5"], scores["0.2"])


def test_each_rule_is_its_function():
    generator = np.random.default_rng(4)
    truth, probability = generator.integers(0, 2, (20, 3)), generator.random((20, 3))
    reference = np.array([0.1, 0.5, 0.9])
    functions = {
        "global": np.full(3, thresholds.global_threshold(truth, probability)),
        "per_class": thresholds.per_class_thresholds(truth, probability),
        "matched": thresholds.matched_thresholds(truth, probability, reference),
        "expected_f1": thresholds.expected_f1_thresholds(probability),
    }
    assert (*thresholds.FIXED_RULES, *functions) == thresholds.RULES
    for rule, expected in functions.items():
        tuned = thresholds.tune(rule, truth, probability, reference)
        np.testing.assert_array_equal(tuned, expected)


def test_an_empty_threshold_part_serves_the_fixed_rules_only():
    empty = np.zeros((0, 28))
    assert thresholds.tune("0.2", empty, empty).tolist() == [0.2] * 28
    with pytest.raises(HpaError, match="without samples"):
        thresholds.tune("per_class", empty, empty)


def test_an_unknown_rule_is_refused():
    with pytest.raises(HpaError, match="'best'"):
        thresholds.tune("best", np.zeros((1, 2)), np.zeros((1, 2)))


@pytest.mark.parametrize("reference", [np.array([0.5]), np.array([0.5, 1.5]), [np.nan, 0.1]])
def test_wrong_reference_frequencies_are_refused(reference):
    with pytest.raises(HpaError, match="reference_frequency"):
        thresholds.matched_thresholds(np.zeros((2, 2)), np.zeros((2, 2)), reference)
