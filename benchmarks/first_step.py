"""Claim: training InceptionResNetV2 starts sooner than with Keras left to itself.

Each variant runs in a process of its own, builds the network, compiles it and fits one step on
the same batch; later steps follow with the same function.

    python benchmarks/first_step.py
"""

import multiprocessing
import time
from collections.abc import Callable

import numpy as np

SIZE, BATCH, LATER_STEPS = 75, 10, 5


def measure(variant: str) -> tuple[float, float, float]:
    """Wall and processor seconds of the first step, and wall seconds of the median later one."""
    from hpa_lib import devices, models, training
    from hpa_lib.backend import keras, tf
    from hpa_lib.parameters import TrainParameters

    def stock(model: keras.Model) -> None:
        model.compile(
            optimizer=keras.optimizers.Adam(1e-3),
            loss="binary_crossentropy",
            metrics=["binary_accuracy", training.batch_averaged_f1],
            jit_compile=False,
        )

    def ours(model: keras.Model) -> None:
        training.compile_network(model, training.Stage("stage", 1, 1e-3))

    compile_with: Callable[[keras.Model], None] = {"Keras": stock, "ours": ours}[variant]
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH, SIZE, SIZE, 3)).astype(np.float32)
    truth = (random.random((BATCH, 28)) < 0.05).astype(np.float32)
    devices.prepare(TrainParameters(cpu_threads=0))  # before TensorFlow computes anything
    batches = tf.data.Dataset.from_tensors((images, truth)).repeat()
    model = models.build("InceptionResNetV2", SIZE)
    times = []
    wall, processor = time.perf_counter(), time.process_time()
    compile_with(model)
    for _ in range(1 + LATER_STEPS):
        model.fit(batches, steps_per_epoch=1, verbose=0)
        times.append((time.perf_counter() - wall, time.process_time() - processor))
        wall, processor = time.perf_counter(), time.process_time()
    return *times[0], float(np.median([seconds for seconds, _ in times[1:]]))


def main() -> None:
    """Print first and later steps of both variants, and their ratio."""
    context = multiprocessing.get_context("spawn")
    rows = {}
    for variant in ("Keras", "ours"):
        with context.Pool(1) as pool:
            rows[variant] = pool.apply(measure, (variant,))
    rows["Keras / ours"] = tuple(stock / own for stock, own in zip(*rows.values(), strict=True))
    print(f"{'':<12} {'first step, s':>14} {'of processor, s':>16} {'later step, s':>14}")
    for name, (first, processor, later) in rows.items():
        print(f"{name:<12} {first:>14.1f} {processor:>16.1f} {later:>14.2f}")


if __name__ == "__main__":
    main()
