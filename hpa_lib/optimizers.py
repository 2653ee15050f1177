"""Adam with one fused kernel a variable, on one device or several.

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

    Where several devices share a batch, their gradients are added first, and are then clipped
    and accumulated as those of the whole batch. Keras clips each device's part by itself.

    Args:
        learning_rate: As Keras takes it.
        groups: Variables, and the share of the learning rate that they have. Others have all.
        options: As Keras takes them, except ``amsgrad``, which the kernel doesn't know.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        groups: Sequence[tuple[Sequence[keras.Variable], float]] = (),
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        if self.amsgrad:
            raise ValueError("FusedAdam has no amsgrad; use keras.optimizers.Adam.")
        self._groups = groups
        # Asked here, since Keras doesn't tell the threads in which a strategy runs its devices.
        self._float16 = keras.config.dtype_policy().name == "mixed_float16"

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the optimizer's state."""
        super().build(variables)
        shares = {id(variable): share for group, share in self._groups for variable in group}
        self._shares = [shares.get(id(variable), 1.0) for variable in variables]

    def _backend_update_step(
        self, grads: Sequence, trainable_variables: Sequence, learning_rate: tf.Tensor
    ) -> None:
        for update in self._updates(grads, trainable_variables):
            self._update(*update)

    def _backend_apply_gradients(self, grads: Sequence, trainable_variables: Sequence) -> None:
        if not tf.distribute.has_strategy():
            super()._backend_apply_gradients(grads, trainable_variables)
            return
        replica = tf.distribute.get_replica_context()
        grads = replica.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
        if self._float16:
            # Keras looks for overflows on the first device only.
            finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(grad)) for grad in grads])
            grads = [tf.where(finite, grad, tf.zeros_like(grad)) for grad in grads]
        steps, kept, complete = self.gradient_accumulation_steps, [], tf.constant(True)
        if steps:
            complete = tf.equal((self._iterations.value + 1) % steps, 0)
            numbers = map(self._get_variable_index, trainable_variables)
            accumulators = [self._accumulated_gradients[number].value for number in numbers]
            sums = [one + other for one, other in zip(grads, accumulators, strict=True)]
            rest = [tf.where(complete, tf.zeros_like(total), total) for total in sums]
            kept = list(zip(accumulators, rest, strict=True))
            grads = [total / steps for total in sums]
        updates = self._updates(self._clip_gradients(grads), trainable_variables)
        tf.__internal__.distribute.interim.maybe_merge_call(
            self._apply_everywhere, tf.distribute.get_strategy(), complete, updates, kept
        )

    def _apply_everywhere(
        self, strategy: tf.distribute.Strategy, complete: Any, updates: list, kept: list
    ) -> None:
        """Change the variables on all devices; the updates only if their batches are complete."""
        if tf.distribute.in_cross_replica_context():
            complete = strategy.experimental_local_results(complete)[0]  # all are equal

        def update() -> tf.Tensor:
            for variable, *arguments in updates:
                strategy.extended.update(variable, self._update, args=arguments, group=False)
            return tf.constant(0)

        tf.cond(complete, update, lambda: tf.constant(0))
        for accumulator, value in kept:
            strategy.extended.update(accumulator, _assign, args=(value,), group=False)

    def _updates(self, grads: Sequence, trainable_variables: Sequence) -> list[tuple]:
        """What `_update` takes for each variable."""
        step = keras.ops.cast(self.iterations, "float32") + 1
        powers = [
            tf.pow(tf.constant(beta, tf.float32), step) for beta in (self.beta_1, self.beta_2)
        ]
        rate = tf.cast(self.learning_rate, tf.float32)
        numbers = [self._get_variable_index(variable) for variable in trainable_variables]
        return [
            (
                variable.value,
                self._momentums[number].value,
                self._velocities[number].value,
                grad,
                rate * self._shares[number],
                *powers,
            )
            for number, variable, grad in zip(numbers, trainable_variables, grads, strict=True)
        ]

    def _update(
        self,
        variable: tf.Variable,
        momentum: tf.Variable,
        velocity: tf.Variable,
        gradient: tf.Tensor,
        rate: tf.Tensor,
        *powers: tf.Tensor,
    ) -> None:
        """Step along a gradient on one device; powers of both betas by the number of the step."""
        dtype = variable.dtype
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.handle,
            v=velocity.handle,
            beta1_power=tf.cast(powers[0], dtype),
            beta2_power=tf.cast(powers[1], dtype),
            lr=tf.cast(rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
            use_locking=True,
        )


def _assign(variable: tf.Variable, value: tf.Tensor) -> None:
    variable.assign(value)


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
