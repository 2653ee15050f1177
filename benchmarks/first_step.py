"""Claim: the fused Adam shortens InceptionResNetV2's first training step.

Both optimizers train the same network on the same batch, in one process, stock Adam first.

    python benchmarks/first_step.py
"""

import time
from collections.abc import Callable

import numpy as np

from hpa_lib import models, optimizers
from hpa_lib.backend import keras

SIZE, BATCH, LATER_STEPS = 75, 10, 5


def seconds_of(step: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def main() -> None:
    """Print the first and the median later step of both optimizers, and their ratio."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH, SIZE, SIZE, 3)).astype(np.float32)
    truth = (random.random((BATCH, 28)) < 0.05).astype(np.float32)
    rows = {}
    for optimizer in (keras.optimizers.Adam, optimizers.FusedAdam):
        keras.utils.set_random_seed(0)
        model = models.build("InceptionResNetV2", SIZE)
        model.compile(optimizer=optimizer(1e-3), loss="binary_crossentropy", jit_compile=False)
        times = [
            seconds_of(lambda model=model: model.train_on_batch(images, truth))
            for _ in range(1 + LATER_STEPS)
        ]
        rows[optimizer.__name__] = (times[0], float(np.median(times[1:])))
    print(f"{'optimizer':<12} {'first step, s':>14} {'later step, s':>14}")
    for name, (first, later) in rows.items():
        print(f"{name:<12} {first:>14.1f} {later:>14.2f}")
    first, later = (stock / fused for stock, fused in zip(*rows.values(), strict=True))
    print(f"{'stock/fused':<12} {first:>14.1f} {later:>14.2f}")


if __name__ == "__main__":
    main()
