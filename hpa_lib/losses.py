"""Losses for several labels a sample, on probabilities.

All average over samples and classes, or over classes alone. They take probabilities in single
precision, also where the network computes in half: its last layer gives these.

* ``binary_crossentropy``: the reference study's.
* ``focal``: cross-entropy in which a decision counts the less the more certain and right it is.
* ``asymmetric``: focal for absent labels only, with those under 5 % left out, since nearly all of
  28 labels are absent from every sample.
* ``soft_f1``: 1 minus the macro F1 of a batch, with probabilities in place of decisions. A class
  that no sample of the batch has doesn't train.
"""

from hpa_lib.backend import keras
from hpa_lib.errors import HpaError

LOSSES: tuple[str, ...] = ("binary_crossentropy", "focal", "asymmetric", "soft_f1")
"""Names of all losses."""

SMOOTHED: tuple[str, ...] = ("binary_crossentropy", "focal")
"""Losses that label smoothing goes with."""


@keras.saving.register_keras_serializable("hpa_lib")
class Asymmetric(keras.losses.Loss):
    """The asymmetric loss.

    With probability p, a present label costs -(1 - p)^g₊ · log p, an absent one
    -q^g₋ · log(1 - q), where q = max(p - m, 0).

    Args:
        focus_present: Exponent g₊.
        focus_absent: Exponent g₋.
        margin: Margin m, a probability.
        name: Name of the loss.

    Source: Ridnik et al., "Asymmetric loss for multi-label classification" (2021), with its
    values.
    """

    def __init__(
        self,
        focus_present: float = 0.0,
        focus_absent: float = 4.0,
        margin: float = 0.05,
        name: str = "asymmetric",
    ) -> None:
        super().__init__(name=name)
        self._focus_present = focus_present
        self._focus_absent = focus_absent
        self._margin = margin

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Mean over classes; shape (samples,)."""
        ops, epsilon = keras.ops, keras.config.epsilon()
        # Where nothing is left to gain the base of a power is 0, and its gradient is not a number
        # for exponents below 1.
        present = ops.clip(y_pred, epsilon, 1 - epsilon)
        absent = ops.clip(y_pred - self._margin, epsilon, 1 - epsilon)
        gained = y_true * (1 - present) ** self._focus_present * ops.log(present)
        lost = (1 - y_true) * absent**self._focus_absent * ops.log(1 - absent)
        return -ops.mean(gained + lost, axis=-1)


def create(name: str, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """A loss by its name.

    Args:
        name: One of `LOSSES`.
        label_smoothing: Share s by which labels are drawn towards one half: 1 becomes 1 - s/2,
            and 0 becomes s/2.

    Raises:
        HpaError: If the name is unknown, or the loss takes no label smoothing.
    """
    if name not in LOSSES:
        raise HpaError(f"The loss is {name!r}.", f"Choose one of {', '.join(LOSSES)}.")
    if label_smoothing and name not in SMOOTHED:
        raise HpaError(
            f"Parameter label_smoothing is {label_smoothing} while loss is {name!r}.",
            f"Set it to 0, or loss to {' or '.join(SMOOTHED)}.",
        )
    if name == "binary_crossentropy":
        return keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
    if name == "focal":
        return keras.losses.BinaryFocalCrossentropy(label_smoothing=label_smoothing)
    if name == "asymmetric":
        return Asymmetric()
    return keras.losses.Dice(axis=0, name="soft_f1")
