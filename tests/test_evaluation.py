import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from hpa_lib import evaluation, metrics, ranking_bootstrap, wording
from hpa_lib.errors import HpaError

NAMES = ("a", "b", "c", "d", "e")


def noisy(truth, share, seed):
    """The truth with a share of all entries flipped."""
    return np.where(np.random.default_rng(seed).random(truth.shape) < share, 1 - truth, truth)


def random_truth(samples, seed, shares=(0.5, 0.3, 0.1, 0.05, 0.02)):
    return (np.random.default_rng(seed).random((samples, len(shares))) < shares).astype(np.uint8)


def probabilities_for(truth, noise, seed):
    """Probabilities that tell the labels less well the more noise there is, with ties."""
    scores = truth + noise * np.random.default_rng(seed).normal(size=truth.shape)
    return np.clip(scores, -1, 2).round(1) / 3 + 1 / 3


def all_weights(stratum, replicates, seed=0):
    return np.concatenate(list(evaluation.resampling_weights(stratum, replicates, seed)))


class TestStrata:
    def test_a_sample_belongs_to_its_rarest_label(self):
        truth = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]] * 2)
        # Class 2 is absent, class 1 rarer than class 0, and two samples have no label.
        assert evaluation.strata(truth).tolist() == [1, 0, 1, 0, 1, 2] * 2

    def test_strata_of_one_sample_are_joined(self):
        truth = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
        assert evaluation.strata(truth).tolist() == [1, 1, 0, 0]

    def test_the_only_stratum_of_one_sample_joins_the_rarest_other(self):
        truth = np.array([[1, 0, 0]] * 3 + [[0, 1, 0]] * 2 + [[0, 0, 1]])
        assert evaluation.strata(truth).tolist() == [1, 1, 1, 0, 0, 0]

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 40))
    def test_each_stratum_has_two_samples_and_no_number_is_left_out(self, seed, samples):
        sizes = np.bincount(evaluation.strata(random_truth(samples, seed)))
        assert sizes.min() >= 2


class TestResamplingWeights:
    STRATUM = np.array([0, 1, 0, 1, 1, 2, 2, 2, 2])

    def test_weights_of_a_stratum_add_up_to_its_size(self):
        weights = all_weights(self.STRATUM, 500)
        for stratum, size in ((0, 2), (1, 3), (2, 4)):
            np.testing.assert_allclose(weights[:, stratum == self.STRATUM].sum(axis=1), size)

    def test_each_sample_weighs_one_on_average(self):
        weights = all_weights(self.STRATUM, 20_000)
        np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.03)

    @pytest.mark.parametrize("size", [2, 3, 10])
    def test_the_variance_of_a_mean_is_unbiased(self, size):
        values = np.random.default_rng(size).normal(size=size)
        means = all_weights(np.zeros(size, dtype=int), 40_000) @ values / size
        assert means.var() == pytest.approx(values.var(ddof=1) / size, rel=0.05)

    def test_the_seed_decides_and_the_chunk_size_does_not(self, monkeypatch):
        whole = all_weights(self.STRATUM, 50, seed=7)
        assert (whole != all_weights(self.STRATUM, 50, seed=8)).any()
        monkeypatch.setattr(evaluation, "_CHUNK_ENTRIES", 40)
        np.testing.assert_array_equal(all_weights(self.STRATUM, 50, seed=7), whole)


class TestScores:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 40))
    def test_estimates_are_those_of_metrics(self, seed, samples):
        truth = random_truth(samples, seed)
        probability = probabilities_for(truth, 0.6, seed)
        prediction = metrics.decide(probability, 0.5)
        result = evaluation.bootstrap_metrics(
            truth, {"m": prediction}, 40, class_names=NAMES, probabilities={"m": probability}
        )
        values = metrics.summary(truth, probability, 0.5)
        assert list(result.metrics.loc["m"].index) == list(evaluation.METRICS)
        for name in evaluation.METRICS:
            estimate = result.metrics.loc[("m", name), "estimate"]
            assert estimate == pytest.approx(values[name], nan_ok=True)
        table = metrics.per_class(truth, probability, 0.5, class_names=NAMES)
        for name in evaluation.CLASS_METRICS:
            rows = result.class_metrics.xs(("m", name), level=("model", "metric"))
            np.testing.assert_allclose(rows["estimate"], table[name])
            np.testing.assert_array_equal(rows["positives"], table["positives"])

    def test_every_metric_of_the_summary_that_is_no_count_is_there_in_its_order(self):
        counts = {"average_precision_classes", "roc_auc_classes", "classes_present", "samples"}
        expected = [name for name in metrics.READABLE_NAMES if name not in counts]
        assert list(evaluation.METRICS) == expected

    def test_resamples_are_scored_as_scikit_learn_scores_weighted_samples(self):
        truth = random_truth(60, 1, shares=(0.5, 0.3, 0.2, 0.2, 0.0))
        prediction = noisy(truth, 0.2, 2)
        weights = all_weights(evaluation.strata(truth), 20)
        assert ((weights @ truth > 0) == truth.any(axis=0)).all()  # no class is lost
        scores = evaluation._Scorer(truth.astype(int), prediction.astype(int))(weights)
        for row, sample_weight in zip(scores, weights, strict=True):
            for name, score in (
                ("f1", f1_score),
                ("precision", precision_score),
                ("recall", recall_score),
            ):
                for average in ("macro", "micro", "samples"):
                    expected = score(
                        truth,
                        prediction,
                        average=average,
                        zero_division=0,
                        sample_weight=sample_weight,
                    )
                    position = evaluation.DECISION_METRICS.index(f"{average}_{name}")
                    assert row[position] == pytest.approx(expected)
            exact = np.average((truth == prediction).all(axis=1), weights=sample_weight)
            assert row[evaluation.DECISION_METRICS.index("exact_match")] == pytest.approx(exact)
            right = np.average((truth == prediction).mean(axis=1), weights=sample_weight)
            position = evaluation.DECISION_METRICS.index("binary_accuracy")
            assert row[position] == pytest.approx(right)
            assert row[position + 1] == pytest.approx(1 - right)  # Hamming loss

    def test_a_class_lost_in_a_resample_keeps_its_score(self):
        truth = np.eye(5, dtype=int)  # five joined strata: most resamples lose some class
        result = evaluation.bootstrap_metrics(
            truth, {"m": truth}, 200, class_names=NAMES, probabilities={"m": truth}
        )
        values = result.metrics.loc["m"]
        losses = ["hamming_loss", "label_ranking_loss"]
        assert (values.loc[losses] == 0).all(axis=None)
        np.testing.assert_allclose(values.drop(losses), 1, rtol=1e-12)
        np.testing.assert_allclose(result.class_metrics[["estimate", "low", "high"]], 1, rtol=1e-12)


@pytest.fixture(scope="module")
def mixed():
    """Arguments: some models have probabilities, a trivial one constant ones, one has none."""
    truth = random_truth(200, 3)
    probabilities = {
        "Good": probabilities_for(truth, 0.4, 1),
        "Bad": probabilities_for(truth, 0.8, 2),
        "Trivial": np.tile(truth.mean(axis=0), (len(truth), 1)),
    }
    predictions = {name: metrics.decide(given, 0.5) for name, given in probabilities.items()}
    return {
        "truth": truth,
        "predictions": predictions | {"Labels only": truth},
        "replicates": 400,
        "class_names": NAMES,
        "probabilities": probabilities,
    }


@pytest.fixture(scope="module")
def mixed_result(mixed):
    return evaluation.bootstrap_metrics(**mixed)


class TestProbabilities:
    def test_they_leave_metrics_of_decisions_as_they_are(self, mixed, mixed_result):
        without = evaluation.bootstrap_metrics(**mixed | {"probabilities": None})
        pd.testing.assert_frame_equal(
            mixed_result.differences.loc[without.differences.index],
            without.differences,
            check_exact=True,
        )
        pd.testing.assert_frame_equal(
            mixed_result.class_differences.xs("f1", level="metric", drop_level=False),
            without.class_differences,
            check_exact=True,
        )

    def test_a_pair_has_the_metrics_that_both_have(self, mixed_result):
        ranked = mixed_result.differences.xs("macro_roc_auc", level="metric")
        assert list(ranked.index) == [("Good", "Bad"), ("Good", "Trivial"), ("Bad", "Trivial")]
        assert len(mixed_result.differences.xs("hamming_loss", level="metric")) == 6
        assert list(mixed_result.metrics.loc["Labels only"].index) == list(
            evaluation.DECISION_METRICS
        )
        with pytest.raises(HpaError, match="no metric 'coverage_error'"):
            evaluation.difference_sentence(mixed_result, "Good", "Labels only", "coverage_error")

    def test_constant_probabilities_rank_at_random_in_every_resample(self, mixed_result):
        areas = mixed_result.class_metrics.xs(("Trivial", "roc_auc"), level=("model", "metric"))
        np.testing.assert_allclose(areas[["estimate", "low", "high"]], 0.5)

    @pytest.mark.parametrize("loss", ["hamming_loss", "coverage_error", "label_ranking_loss"])
    def test_the_lower_loss_is_better_whichever_is_named_first(self, mixed_result, loss):
        row = mixed_result.differences.loc[("Good", "Bad", loss)]
        assert row["high"] < 0
        name = metrics.READABLE_NAMES[loss]
        sentence = evaluation.difference_sentence(mixed_result, "Good", "Bad", loss)
        assert sentence.startswith(
            f"Good is better than Bad in {name}, where lower is better, by {-row['estimate']:.3f} "
        )
        assert evaluation.difference_sentence(mixed_result, "Bad", "Good", loss) == sentence

    def test_classes_are_compared_in_the_metric_asked_for(self, mixed_result):
        sentence = evaluation.class_difference_sentence(mixed_result, "Good", "Trivial", "roc_auc")
        assert sentence.startswith("ROC AUC is compared in ")
        assert "Good is better in " in sentence
        rows = mixed_result.class_differences.xs(
            ("Good", "Trivial", "roc_auc"), level=("first", "second", "metric")
        )
        expected = evaluation.holm(rows["p_value"].where(rows["tested"]))
        np.testing.assert_array_equal(rows["p_corrected"], expected)

    def test_what_is_undefined_is_named_and_not_tested(self):
        truth = np.ones((20, 2), dtype=int)  # no class has a negative
        result = evaluation.bootstrap_metrics(
            truth,
            {"M": truth, "N": truth},
            80,
            class_names=("a", "b"),
            probabilities={"M": truth, "N": truth / 2},
        )
        assert result.differences.loc[("M", "N", "macro_roc_auc")].isna().all()
        assert evaluation.difference_sentence(result, "N", "M", "macro_roc_auc") == (
            "N and M can't be compared in macro ROC AUC: it is undefined on these samples."
        )
        assert evaluation.estimate_sentence(result, "M", "micro_roc_auc") == (
            "The micro ROC AUC of M is undefined on these samples."
        )
        sentence = evaluation.class_difference_sentence(result, "M", "N", "roc_auc")
        assert "in 0 classes of 2" in sentence
        assert sentence.endswith("Without any negative: 2 classes.")
        assert "in 2 classes of 2" in evaluation.class_difference_sentence(
            result, "M", "N", "average_precision"
        )


class TestIntervals:
    def test_interval_and_p_value_worked_out_by_hand(self):
        resampled = np.arange(-2.0, 99.0)[:, None]  # -2 … 98: three values at most 0
        (estimate, low, high, p_value), *_ = evaluation._statistics(
            np.array([50.0]), resampled, level=0.9
        )
        assert (estimate, low, high) == pytest.approx((50, -2 + 5, 98 - 5))
        assert p_value == pytest.approx(2 * (1 + 3) / (101 + 1))

    def test_intervals_hold_the_true_value_about_as_often_as_promised(self):
        population = random_truth(20_000, 0)
        models = {"m": noisy(population, 0.1, 1), "n": noisy(population, 0.12, 2)}
        ranked = probabilities_for(population, 0.5, 3)
        true = {
            name: metrics.summary(population, prediction, 0.5)
            for name, prediction in models.items()
        }
        by_rank = metrics.summary(population, ranked, 0.5)
        true["m"] |= {name: by_rank[name] for name in ranking_bootstrap.METRICS}
        generator = np.random.default_rng(3)
        strata = [np.flatnonzero(rows) for rows in np.eye(6)[evaluation.strata(population)].T == 1]
        of_m = ("micro_f1", "macro_f1", "macro_average_precision", "micro_roc_auc")
        hits = dict.fromkeys((*of_m, "difference"), 0)
        trials = 150
        for trial in range(trials):
            # One in a hundred of each stratum, as the label-stratified split cuts a part.
            rows = np.concatenate(
                [generator.choice(stratum, len(stratum) // 100, False) for stratum in strata]
            )
            result = evaluation.bootstrap_metrics(
                population[rows],
                {name: prediction[rows] for name, prediction in models.items()},
                replicates=200,
                seed=trial,
                class_names=NAMES,
                probabilities={"m": ranked[rows]},
            )
            for metric in of_m:
                row = result.metrics.loc[("m", metric)]
                hits[metric] += row["low"] <= true["m"][metric] <= row["high"]
            row = result.differences.loc[("m", "n", "micro_f1")]
            difference = true["m"]["micro_f1"] - true["n"]["micro_f1"]
            hits["difference"] += row["low"] <= difference <= row["high"]
        assert all(0.88 <= count / trials < 1 for count in hits.values()), hits

    def test_pairing_narrows_the_interval_of_a_difference(self):
        truth = random_truth(500, 5)
        first = noisy(truth, 0.1, 6)
        second = first.copy()
        second[:10, 0] = 1 - second[:10, 0]
        result = evaluation.bootstrap_metrics(
            truth, {"first": first, "second": second}, 300, class_names=NAMES
        )
        alone = result.metrics.loc[("first", "binary_accuracy")]
        between = result.differences.loc[("first", "second", "binary_accuracy")]
        assert between["high"] - between["low"] < 0.5 * (alone["high"] - alone["low"])

    def test_a_higher_level_gives_wider_intervals(self):
        truth = random_truth(100, 5)
        models = {"m": noisy(truth, 0.1, 6)}
        narrow, wide = (
            evaluation.bootstrap_metrics(
                truth, models, 400, level=level, class_names=NAMES
            ).metrics.loc[("m", "micro_f1")]
            for level in (0.5, 0.99)
        )
        assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]

    def test_the_seed_decides(self):
        truth = random_truth(50, 9)
        models = {"m": noisy(truth, 0.1, 1), "n": noisy(truth, 0.2, 2)}
        first, again, other = (
            evaluation.bootstrap_metrics(truth, models, 100, seed=seed, class_names=NAMES)
            for seed in (1, 1, 2)
        )
        pd.testing.assert_frame_equal(first.differences, again.differences)
        assert not first.differences.equals(other.differences)

    @pytest.mark.parametrize("samples", [2, 3, 10])
    def test_few_samples_suffice(self, samples):
        truth = np.zeros((samples, 28), dtype=np.uint8)
        truth[np.arange(samples), np.arange(samples)] = 1
        models = {"m": truth, "n": np.zeros_like(truth), "o": np.ones_like(truth)}
        result = evaluation.bootstrap_metrics(truth, models, 100)
        assert len(result.metrics) == 3 * len(evaluation.DECISION_METRICS)
        assert len(result.class_differences) == 3 * 28
        assert not result.class_differences["tested"].any()
        assert "is better than n in micro F1" in evaluation.difference_sentence(
            result, "m", "n", "micro_f1"
        )

    def test_one_model_has_no_differences(self):
        truth = random_truth(20, 0)
        result = evaluation.bootstrap_metrics(truth, {"m": truth}, 100, class_names=NAMES)
        assert result.differences.empty
        assert result.class_differences.empty
        assert list(result.class_differences)[-2:] == ["tested", "p_corrected"]


class TestHolm:
    def test_worked_out_by_hand(self):
        p_values = pd.Series([0.04, 0.01, np.nan, 0.03], index=["a", "b", "c", "d"])
        corrected = evaluation.holm(p_values)
        # 0.01·3, then 0.03·2, then max(0.06, 0.04·1).
        assert corrected.index.tolist() == ["a", "b", "c", "d"]
        np.testing.assert_allclose(corrected, [0.06, 0.03, np.nan, 0.06])

    def test_never_above_one(self):
        assert evaluation.holm(pd.Series([0.9, 0.8])).tolist() == [1, 1]

    def test_few_false_findings_between_equal_models(self):
        findings = 0
        for seed in range(40):
            truth = random_truth(150, seed)
            models = {"m": noisy(truth, 0.2, 2 * seed), "n": noisy(truth, 0.2, 2 * seed + 1)}
            table = evaluation.bootstrap_metrics(
                truth, models, 400, seed=seed, class_names=NAMES
            ).class_differences
            findings += (table["p_corrected"] < 0.05).any()
        assert findings <= 7  # 2 expected at 5 %


class TestSentences:
    @pytest.fixture
    def result(self):
        truth = random_truth(800, 11)
        models = {
            "Good": noisy(truth, 0.05, 1),
            "Bad": noisy(truth, 0.3, 2),
            "Also good": noisy(truth, 0.05, 3),
            "Copy": noisy(truth, 0.05, 1),
        }
        return evaluation.bootstrap_metrics(truth, models, 400, class_names=NAMES)

    def test_better_whichever_is_named_first(self, result):
        row = result.differences.loc[("Good", "Bad", "macro_f1")]
        sentence = evaluation.difference_sentence(result, "Good", "Bad", "macro_f1")
        assert sentence == (
            f"Good is better than Bad in macro F1 by {row['estimate']:.3f} "
            f"(95 % interval {row['low']:.3f} to {row['high']:.3f})."
        )
        assert evaluation.difference_sentence(result, "Bad", "Good", "macro_f1") == sentence

    def test_undecided(self, result):
        sentence = evaluation.difference_sentence(result, "Good", "Also good", "micro_f1")
        assert sentence.startswith(
            "The data do not tell which is better in micro F1: Good minus Also good is "
        )
        assert "(95 % interval −0." in sentence

    def test_equal(self, result):
        assert evaluation.difference_sentence(result, "Copy", "Good", "exact_match") == (
            "Copy and Good have the same exact match ratio in every resample."
        )

    def test_estimate(self, result):
        row = result.metrics.loc[("Good", "micro_f1")]
        assert evaluation.estimate_sentence(result, "Good", "micro_f1") == (
            f"Good reaches a micro F1 of {row['estimate']:.3f} "
            f"(95 % interval {row['low']:.3f} to {row['high']:.3f}) on 800 samples."
        )

    def test_classes(self, result):
        sentence = evaluation.class_difference_sentence(result, "Bad", "Good")
        assert "F1 is compared in 5 classes of 5" in sentence
        assert "Good is better in 5 classes: " in sentence
        assert "Bad is better" not in sentence
        undecided = evaluation.class_difference_sentence(result, "Good", "Copy")
        assert "The data do not tell which is better in 5 classes." in undecided

    def test_classes_say_what_is_too_rare_and_when_resamples_are_too_few(self):
        truth = np.zeros((40, 28), dtype=np.uint8)
        truth[:20, 0] = truth[20:, 1] = truth[:3, 27] = 1
        models = {"m": truth, "n": 1 - truth}
        result = evaluation.bootstrap_metrics(truth, models, replicates=40)
        sentence = evaluation.class_difference_sentence(result, "m", "n")
        assert "in 2 classes of 28" in sentence
        assert "Too few positives to compare: Rods & rings (3)." in sentence
        assert "Without any positive: 25 classes." in sentence
        assert "40 resamples are too few for this correction; take at least 80." in sentence
        enough = evaluation.bootstrap_metrics(truth, models, replicates=80)
        sentence = evaluation.class_difference_sentence(enough, "m", "n")
        assert "too few for this correction" not in sentence
        assert "m is better in 2 classes: " in sentence

    def test_small_numbers_do_not_look_like_zero(self):
        assert wording.with_interval(0.00042, 0.0001, -0.0, 0.9) == (
            "0.0004 (90 % interval 0.0001 to 0.0000)"
        )

    @pytest.mark.parametrize(
        "call",
        [
            lambda result: evaluation.difference_sentence(result, "Good", "best", "macro_f1"),
            lambda result: evaluation.difference_sentence(result, "Good", "Bad", "accuracy"),
            lambda result: evaluation.estimate_sentence(result, "best", "macro_f1"),
            lambda result: evaluation.class_difference_sentence(result, "Good", "best"),
            lambda result: evaluation.class_difference_sentence(result, "Good", "Bad", "accuracy"),
        ],
    )
    def test_unknown_names_are_refused(self, result, call):
        with pytest.raises(HpaError, match=r"best|accuracy"):
            call(result)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"predictions": {}}, "predictions is empty"),
        ({"predictions": {"m": np.zeros((3, 5))}}, "shape"),
        ({"predictions": {"m": np.full((4, 5), 0.5)}}, "prediction holds 0.5"),
        ({"level": 1.0}, "level is 1.0"),
        ({"replicates": 39}, "needs at least 40"),
        ({"class_names": ("a",)}, "class_names has 1"),
        ({"probabilities": {"n": np.ones((4, 5))}}, "probabilities names 'n'"),
        ({"probabilities": {"m": np.full((4, 5), 1.5)}}, "probability holds 1.5"),
        ({"truth": np.ones((1, 5)), "predictions": {"m": np.ones((1, 5))}}, "1 sample"),
    ],
)
def test_wrong_arguments_are_refused(values, message):
    valid = {
        "truth": np.ones((4, 5)),
        "predictions": {"m": np.ones((4, 5))},
        "class_names": NAMES,
    }
    with pytest.raises(HpaError, match=message):
        evaluation.bootstrap_metrics(**valid | values)
