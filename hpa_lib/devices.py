"""What a training computes on: the processor, one GPU, or all GPUs of the machine."""

from hpa_lib import mixed_precision
from hpa_lib.backend import keras, tf
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters


def prepare(values: TrainParameters, *, train: bool = True) -> str:
    """Seed Keras and TensorFlow, set threads, devices and precision, and say what computes.

    With ``deterministic`` operations run one after another: where gradients of several branches
    meet, TensorFlow adds them in the order that they happen to be ready in. ``cpu_threads``
    decides in which order an operation that is shared out adds.

    Args:
        values: The notebook's parameters.
        train: Whether networks are trained, on all GPUs; else the first GPU is used alone.

    Returns:
        The devices in words, such as ``"2 × GPU"`` or ``"CPU, bfloat16"``.

    Raises:
        HpaError: If TensorFlow has begun to compute and would have to change its threads or
            devices, a GPU is demanded and not there, several GPUs can't share a batch equally, or
            the device lacks the precision.
    """
    if values.deterministic:
        tf.config.experimental.enable_op_determinism()
    _choose_device(values.device, one_gpu=not train)
    own_threads = getattr(values, "vgg_cpu_threads", -1)
    wanted = own_threads if own_threads >= 0 else values.cpu_threads
    threading = tf.config.threading
    try:
        if values.deterministic:
            threading.set_inter_op_parallelism_threads(1)
        if wanted != threading.get_intra_op_parallelism_threads():
            threading.set_intra_op_parallelism_threads(wanted)
    except RuntimeError as error:
        raise HpaError(
            f"Parameters deterministic={values.deterministic} and cpu_threads={wanted} need other "
            "threads, but TensorFlow has already computed in this process and can't change them.",
            "Restart the kernel and run the notebook from its start.",
        ) from error
    keras.utils.set_random_seed(values.seed)
    gpus = tf.config.get_visible_devices("GPU")
    if len(gpus) > 1:
        if values.batch_size % len(gpus):
            raise HpaError(
                f"Parameter batch_size is {values.batch_size}, which {len(gpus)} GPUs can't share.",
                f"Set it to a multiple of {len(gpus)}.",
            )
        train_on([f"GPU:{number}" for number in range(len(gpus))])
    dtype = mixed_precision.use(values.precision)
    device = f"{len(gpus)} × GPU" if gpus else "CPU"
    return device if dtype == "float32" else f"{device}, {dtype}"


def _choose_device(device: str, one_gpu: bool) -> None:
    """Hide GPUs or demand them; let those in use take memory as they need it."""
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise HpaError(
            "Parameter device is 'gpu', but TensorFlow sees none.",
            "Install requirements-gpu.lock where there is an NVIDIA GPU, or set device to 'auto'.",
        )
    wanted = [] if device == "cpu" else gpus[:1] if one_gpu else gpus
    try:
        if wanted != gpus:
            tf.config.set_visible_devices(wanted, "GPU")
        for gpu in tf.config.get_visible_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        raise HpaError(
            f"Parameter device is {device!r}, but TensorFlow has already computed in this process.",
            "Restart the kernel and run the notebook from its start.",
        ) from error


def train_on(names: list[str]) -> None:
    """Let the networks that are built from now on train on several devices together.

    Each step's batch is shared among them, with statistics of batch normalization and gradients
    of the whole batch, so that the results are those of one device up to rounding. Where a loss
    is no mean over samples (``soft_f1``), each device takes its own samples' loss.

    Args:
        names: TensorFlow's names, such as ``"GPU:0"``.
    """
    tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(names))


def synchronize(model: keras.Model) -> None:
    """Let batch normalization take the statistics of all devices' samples, where several train."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = _strategy().num_replicas_in_sync > 1


def share(batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    """A batch for a training step, with equal parts for all devices."""
    strategy = _strategy()
    parts = strategy.num_replicas_in_sync
    if parts == 1:
        return batch

    def part(context: tf.distribute.experimental.ValueContext) -> tuple[tf.Tensor, ...]:
        return tuple(tf.split(values, parts)[context.replica_id_in_sync_group] for values in batch)

    return strategy.experimental_distribute_values_from_function(part)


def gather(values: tf.Tensor) -> tf.Tensor:
    """The rows of a whole batch from within a device's part of a training step."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return context.all_gather(values, axis=0)


def _strategy() -> tf.distribute.Strategy:
    return tf.distribute.get_strategy()
