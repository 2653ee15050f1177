"""The learning rate of each step of a training stage."""

import numpy as np

from hpa_lib.errors import HpaError

SCHEDULES: tuple[str, ...] = ("constant", "cosine")
"""``constant`` as in the reference study; ``cosine`` falls to 0 along half a period of a cosine."""


def learning_rates(
    peak: float, steps: int, schedule: str = "constant", warmup_steps: int = 0
) -> np.ndarray:
    """Learning rates of all steps of a stage, in their order.

    In the warm-up the rate rises in equal steps to its peak, which the last of them has. Adam's
    first steps are as long as its rate whatever the gradients are, and at random initial weights
    they can switch off a deep network for good.

    Args:
        peak: Highest learning rate, above 0.
        steps: Steps of the stage, at least 1.
        schedule: One of `SCHEDULES`: what follows the warm-up.
        warmup_steps: Steps of the warm-up. A stage that has no more than these ends at its peak,
            or below.

    Returns:
        Shape (steps,), dtype float64, all above 0.

    Raises:
        HpaError: If the schedule is unknown.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017),
    without restarts; Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2.
    """
    if schedule not in SCHEDULES:
        raise HpaError(
            f"The learning-rate schedule is {schedule!r}.", f"Choose one of {', '.join(SCHEDULES)}."
        )
    step = np.arange(steps)
    rates = np.full(steps, float(peak))
    if schedule == "cosine":
        done = np.maximum(step - warmup_steps, 0) / max(steps - warmup_steps, 1)
        rates *= (1 + np.cos(np.pi * done)) / 2
    return rates * np.minimum((step + 1) / max(warmup_steps, 1), 1)
