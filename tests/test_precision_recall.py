import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_runs import simulated_run
from sklearn.metrics import average_precision_score

from hpa_lib import labels, precision_recall, predictions


def area(curve):
    return float((np.diff(curve["recall"]) * curve["precision"].iloc[1:]).sum())


def test_each_recall_stands_with_the_precision_of_its_highest_threshold():
    curve = precision_recall.curve(np.array([1, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.1, 0.05]))
    assert curve["recall"].tolist() == [0, 0.5, 1]
    assert curve["precision"].tolist() == pytest.approx([1, 1, 2 / 3])


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.6, 1.0])), min_size=1)
    .filter(lambda samples: any(truth for truth, _ in samples))
)  # fmt: skip
def test_the_area_below_the_steps_is_the_average_precision(samples):
    truth, probability = map(np.array, zip(*samples, strict=True))
    curve = precision_recall.curve(truth.astype(int), probability)
    assert (np.diff(curve["recall"]) > 0).all()
    assert curve["recall"].iloc[[0, -1]].tolist() == [0, 1]
    assert area(curve) == pytest.approx(average_precision_score(truth, probability))


def test_classes_with_a_positive_are_compared_between_networks(labelled):
    dataset = labelled([(0, 7), (0,), (7,), (0,)])
    runs = []
    for label, of_golgi in (("good", [0.9, 0.1, 0.8, 0.2]), ("bad", [0.1, 0.9, 0.2, 0.8])):
        probability = np.full((4, labels.CLASS_COUNT), 0.5, np.float32)
        probability[:, 7] = of_golgi
        table = predictions.table(dataset, {"report": range(4)}, {"report": probability})
        runs.append(simulated_run(table, label))
    result = precision_recall.compare(runs)
    assert result.table.index.tolist() == ["Nucleoplasm", "Golgi apparatus"]
    golgi = result.table.loc["Golgi apparatus"]
    # Of "bad" the positives come third and fourth: precisions 1/3 and 2/4.
    assert golgi.tolist() == pytest.approx([2, 0.5, 1, (1 / 3 + 2 / 4) / 2])
    assert area(result.curves["Golgi apparatus", "bad"]) == pytest.approx(golgi["bad"])
    assert result.classes["bad"].loc["Golgi apparatus", ["precision", "recall"]].tolist() == [0, 0]
