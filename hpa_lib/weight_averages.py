"""Exponential moving averages of a network's trainable weights.

The averages lie nearer to the middle of where the weights wander, and do better on held-out
samples than the last weights while the learning rate is high.

Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992); with
re-estimated batch normalization, Izmailov et al., "Averaging weights leads to wider optima and
better generalization" (2018).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from hpa_lib.backend import keras, tf


class WeightAverage:
    """Averages of all trainable weights of a network, which start at the present weights.

    Early on the average forgets faster, since it would hold on to the initial weights: after n
    updates its decay is at most (1 + n) / (10 + n).

    Args:
        model: The network.
        decay: What an update keeps of the average, from above 0 to below 1. The average looks
            back over about 1 / (1 - decay) updates.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self._weights = model.trainable_variables
        self._averages = [
            keras.Variable(weight.numpy(), trainable=False, dtype="float32")
            for weight in self._weights
        ]
        self._updates = keras.Variable(0.0, trainable=False, dtype="float32")
        self._decay = decay

    @property
    def variables(self) -> list[keras.Variable]:
        """All that is needed to go on after an interruption."""
        return [self._updates, *self._averages]

    @tf.function(reduce_retracing=True)
    def update(self) -> None:
        """Take the present weights into the averages."""
        updates = self._updates.value
        decay = tf.minimum(self._decay, (1 + updates) / (10 + updates))
        updates.assign_add(1.0)
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.value.assign_sub((1 - decay) * (average.value - weight.value))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network the averages for the time of a block."""
        kept = [weight.numpy() for weight in self._weights]
        self.apply()
        try:
            yield
        finally:
            for weight, value in zip(self._weights, kept, strict=True):
                weight.assign(value)

    def apply(self) -> None:
        """Give the network the averages for good."""
        for weight, average in zip(self._weights, self._averages, strict=True):
            weight.assign(average.value)
