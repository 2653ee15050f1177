import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from hpa_lib import baselines
from hpa_lib.errors import HpaError

TRAINING = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]])


def test_trivial_predictors_worked_out_by_hand():
    predictors = baselines.trivial_predictors(TRAINING)
    assert {name: values.tolist() for name, values in predictors.items()} == {
        "nothing": [0, 0, 0],
        "everything": [1, 1, 1],
        "commonest class": [1, 0, 0],
        "commonest label set": [1, 1, 0],
        "class frequencies": [0.75, 0.5, 0.25],
    }


def test_repeat_gives_each_sample_the_same():
    assert baselines.repeat(np.array([0.1, 0.9]), 3).tolist() == [[0.1, 0.9]] * 3


def test_best_trivial_is_the_highest_of_all():
    truth = np.array([[0, 0, 1], [0, 0, 1], [0, 1, 1]])
    # Everything: F1 of 0, 1/2 and 1; the other predictors miss class 2.
    assert baselines.best_trivial(TRAINING, truth) == ("everything", pytest.approx(0.5))
    assert baselines.best_trivial(TRAINING, TRAINING, "exact_match") == ("commonest label set", 0.5)


@pytest.mark.parametrize("metric", ["accuracy", "hamming_loss"])
def test_best_trivial_refuses_a_metric_that_has_no_best(metric):
    with pytest.raises(HpaError, match=metric):
        baselines.best_trivial(TRAINING, TRAINING, metric)


def test_commonest_classes_predictor_meets_precision_and_recall():
    generator = np.random.default_rng(0)
    truth = (generator.random((4000, 5)) < [0.1, 0.4, 0.3, 0.02, 0.2]).astype(int)
    prediction = baselines.commonest_classes_predictor(truth, 3, precision=0.7, recall=0.6)
    known = [1, 2, 4]
    assert prediction.dtype == np.uint8
    assert not prediction[:, [0, 3]].any()
    for score, wanted in ((precision_score, 0.7), (recall_score, 0.6)):
        reached = score(truth[:, known], prediction[:, known], average=None)
        np.testing.assert_allclose(reached, wanted, atol=2e-3)


def test_commonest_classes_predictor_repeats_by_seed():
    truth = np.random.default_rng(1).integers(0, 2, (50, 4))
    first, again, other = (
        baselines.commonest_classes_predictor(truth, 4, 0.8, 0.8, seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_commonest_classes_predictor_stays_within_few_samples():
    truth = np.ones((3, 2), dtype=int)  # no negative to get wrong
    prediction = baselines.commonest_classes_predictor(truth, 2, precision=0.1, recall=1.0)
    np.testing.assert_array_equal(prediction, truth)


@pytest.mark.parametrize("values", [{"classes": 4}, {"precision": 0.0}, {"recall": 1.5}])
def test_commonest_classes_predictor_refuses_values_out_of_range(values):
    with pytest.raises(HpaError, match=str(next(iter(values.values())))):
        baselines.commonest_classes_predictor(
            TRAINING, **{"classes": 2, "precision": 0.8, "recall": 0.8} | values
        )
