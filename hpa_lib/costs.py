"""Count what training a network takes, on the graph of a training step that never runs.

Multiply-adds are what TensorFlow's profiler counts from the shapes of all operations. The memory
is what tensors take at the worst moment of a step if operations run in the order in which the
graph was written, and each tensor is given back after its last use. Not counted: workspaces of
convolutions, what the driver takes, and gaps between tensors. Counted although it never runs: the
gradient of the images, which stands in the graph.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hpa_lib import labels, losses, models
from hpa_lib.backend import keras, tf
from hpa_lib.parameters import TrainParameters

_BATCHES = (11, 13, 17, 19, 23)
"""Sizes of the batch in the graph. Tensors that grow with the batch are told by a first dimension
that is a multiple of it, so that no weight may have such a one."""

_SAME_MEMORY = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient"})
"""Operations whose output lies where their input lies."""

_SINGLE, _HALF = 4, 2
"""Bytes of a number."""


@dataclass(frozen=True)
class NetworkCost:
    """What one image costs, and the size of the network.

    Attributes:
        parameters: Weights that training changes.
        forward: Multiply-adds of a prediction.
        training: Multiply-adds of a training step, forward and backward.
        image_bytes: Memory of a training step at its worst moment.
    """

    parameters: int
    forward: int
    training: int
    image_bytes: int


def network(values: TrainParameters, channels: int) -> NetworkCost:
    """Count for the network and the loss that a training notebook's parameters describe.

    Half precision is counted as bfloat16, whose numbers are as long as those of float16.

    Args:
        values: The parameters; initial weights are random ones in any case.
        channels: Channels of the input.
    """
    half = values.precision != "float32"
    with _policy("mixed_bfloat16" if half else "float32"):
        model = models.configured(values.model_copy(update={"weights": "none"}), channels)
        return count(model, losses.create(values.loss, values.label_smoothing))


def count(model: keras.Model, loss: keras.losses.Loss) -> NetworkCost:
    """Count for a network that maps images to probabilities of all classes."""
    weights = [weight for weight in model.trainable_variables if len(weight.shape) > 1]
    batch = next(n for n in _BATCHES if all(weight.shape[0] % n for weight in weights))

    @tf.function(
        input_signature=[
            tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32),
            tf.TensorSpec((batch, labels.CLASS_COUNT), tf.float32),
        ]
    )
    def gradients(images: tf.Tensor, truth: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(truth, model(images, training=True))
        return tape.gradient(value, model.trainable_variables)

    graph = gradients.get_concrete_function().graph
    return NetworkCost(
        parameters=sum(weight.shape.num_elements() for weight in model.trainable_variables),
        forward=_multiply_adds(graph, without="gradient_tape/.*") // batch,
        training=_multiply_adds(graph) // batch,
        image_bytes=_peak_bytes(graph, batch) // batch,
    )


def memory(cost: NetworkCost, values: TrainParameters, gpus: int = 1) -> int:
    """Bytes that training takes on each GPU, as far as they are counted.

    Args:
        cost: From `network`, for the same parameters.
        values: The parameters; their ``batch_size`` is shared out over all GPUs.
        gpus: Number of GPUs.
    """
    copies = 4  # the weights, their gradients, and Adam's two moments
    copies += values.gradient_accumulation > 1
    copies += values.weight_averaging > 0
    bytes_each = copies * _SINGLE + (values.precision != "float32") * _HALF
    images = -(-values.batch_size // gpus)
    return cost.parameters * bytes_each + images * cost.image_bytes


@contextmanager
def _policy(name: str) -> Iterator[None]:
    """Build networks with a dtype policy for the time of a block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _multiply_adds(graph: tf.Graph, without: str = "") -> int:
    """Half of the floating-point operations, but those whose name fits an expression."""
    kind = tf.compat.v1.profiler.ProfileOptionBuilder
    options = kind(kind.float_operation()).with_empty_output()
    if without:
        options = options.with_node_names(hide_name_regexes=[without])
    options = options.account_displayed_op_only(True).build()
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops // 2


def _peak_bytes(graph: tf.Graph, batch: int) -> int:
    """Largest sum of bytes of tensors that grow with the batch and are still needed."""
    operations = graph.get_operations()
    owner, last_use = {}, {}
    for number, operation in enumerate(operations):
        for tensor in operation.inputs:
            last_use[owner[tensor.ref()]] = number
        shared = operation.type in _SAME_MEMORY
        for tensor in operation.outputs:
            name = tensor.ref()
            owner[name] = owner[operation.inputs[0].ref()] if shared else name
            last_use[owner[name]] = number
    given_back = defaultdict(int)
    live = peak = 0
    for number, operation in enumerate(operations):
        for tensor in operation.outputs:
            name = tensor.ref()
            if owner[name] == name:
                size = _bytes(tensor, batch)
                live += size
                given_back[last_use[name]] += size
        peak = max(peak, live)
        live -= given_back[number]
    return peak


def _bytes(tensor: tf.Tensor, batch: int) -> int:
    """Size of a tensor that grows with the batch; 0 for others."""
    shape = tensor.shape
    if not shape.rank or shape.rank < 2 or not shape.is_fully_defined() or shape[0] % batch:
        return 0
    return shape.num_elements() * tensor.dtype.size
