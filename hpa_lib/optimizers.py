"""Adam with one fused kernel a variable.

Keras 3's Adam adds about fifteen graph operations for each variable. InceptionResNetV2 has 492
trainable variables, and building and optimising that graph makes up most of its first training
step. TensorFlow's fused kernel computes the same update in one operation.
"""

from collections.abc import Sequence
from typing import Any

from hpa_lib.backend import keras, tf


@keras.saving.register_keras_serializable("hpa_lib")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` whose update runs in TensorFlow's fused kernel.

    The update is that of Kingma and Ba, "Adam: a method for stochastic optimization" (2015),
    in the form that Keras uses: the step's bias correction is folded into the learning rate.
    Under a distribution strategy, and with ``amsgrad``, the stock update runs instead.

    Args:
        learning_rate: As Keras takes it.
        groups: Variables, and the share of the learning rate that they have. Others have all.
        options: As Keras takes them.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        groups: Sequence[tuple[Sequence[keras.Variable], float]] = (),
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self._shares = {id(variable): share for group, share in groups for variable in group}

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """The stock update of one variable."""
        share = self._shares.get(id(variable), 1.0)
        super().update_step(gradient, variable, learning_rate * share)

    def _backend_update_step(
        self, grads: Sequence, trainable_variables: Sequence, learning_rate: tf.Tensor
    ) -> None:
        if self.amsgrad or tf.distribute.has_strategy():
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        step = keras.ops.cast(self.iterations, "float32") + 1
        beta_1_power = tf.pow(tf.constant(self.beta_1, tf.float32), step)
        beta_2_power = tf.pow(tf.constant(self.beta_2, tf.float32), step)
        rate = tf.cast(learning_rate, tf.float32)
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            dtype = variable.dtype
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=self._momentums[index].value.handle,
                v=self._velocities[index].value.handle,
                beta1_power=tf.cast(beta_1_power, dtype),
                beta2_power=tf.cast(beta_2_power, dtype),
                lr=tf.cast(rate * self._shares.get(id(variable), 1.0), dtype),
                beta1=tf.constant(self.beta_1, dtype),
                beta2=tf.constant(self.beta_2, dtype),
                epsilon=tf.constant(self.epsilon, dtype),
                grad=tf.cast(gradient, dtype),
                use_locking=True,
            )


def reset(optimizer: keras.optimizers.Optimizer, learning_rate: float) -> None:
    """Give an optimizer the state of a new one: no momentum, step 0, another learning rate.

    Equal to compiling with a new optimizer, without building the training graph again. Under
    float16 Keras wraps the optimizer; the scale of the loss that it has found is kept.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    for variable in inner.variables:
        if variable is not inner._learning_rate:
            variable.assign(tf.zeros_like(variable.value))
    inner.learning_rate = learning_rate
