import numpy as np
import pytest

from hpa_lib import schedules
from hpa_lib.errors import HpaError


def test_constant_rates_stay():
    assert schedules.learning_rates(0.1, 3).tolist() == [0.1, 0.1, 0.1]


def test_warm_up_rises_in_equal_steps_to_the_peak():
    assert schedules.learning_rates(8.0, 6, "constant", 4).tolist() == [2, 4, 6, 8, 8, 8]
    assert schedules.learning_rates(8.0, 2, "cosine", 4).tolist() == [2, 4]


def test_cosine_falls_from_the_peak_towards_0():
    # After the warm-up: cosines of 0°, 60°, 120° are 1, 1/2, -1/2.
    rates = schedules.learning_rates(4.0, 5, "cosine", 2)
    np.testing.assert_allclose(rates, [2, 4, 4, 3, 1])
    assert (schedules.learning_rates(1e-4, 500, "cosine") > 0).all()


def test_unknown_schedules_are_refused():
    with pytest.raises(HpaError, match="'linear'"):
        schedules.learning_rates(1.0, 5, "linear")
