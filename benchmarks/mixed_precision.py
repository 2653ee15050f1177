"""Claim: half precision trains at least 1.6 and 2 times as fast on GPUs and processors with AMX.

Processors that have AVX-512 BF16 alone can compute in it, too, but are slower that way.
InceptionResNetV2 and VGG16 take training steps on one batch, at 299 pixels as in the study. Each
precision has a process of its own; the two take turns, so that both meet the same load of the
machine.

    python benchmarks/mixed_precision.py [--size 299] [--batch 10] [--rounds 3]
"""

import argparse
import multiprocessing
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from time import perf_counter

import numpy as np
import pandas as pd

LEAST = {"InceptionResNetV2": 1.6, "VGG16": 2.0}
STEPS = 4


def work(pipe: Connection, backbone: str, precision: str, size: int, batch: int) -> None:
    """Say the device, then give the seconds of a step each time that it is asked for."""
    from hpa_lib import devices, models, training
    from hpa_lib.parameters import TrainParameters

    device = devices.prepare(TrainParameters(precision=precision, cpu_threads=0))
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch, size, size, 3)).astype(np.float32)
    truth = (random.random((batch, 28)) < 0.05).astype(np.float32)
    model = models.build(backbone, size)
    training.compile_network(model, training.Stage("all", 1, 1e-4))
    model.train_on_batch(images, truth)
    pipe.send(device)
    while pipe.recv():
        started = perf_counter()
        for _ in range(STEPS):
            model.train_on_batch(images, truth)
        pipe.send((perf_counter() - started) / STEPS)


def taking_turns(
    work: Callable[..., None], arguments: Mapping[str, tuple], rounds: int
) -> tuple[dict[str, object], dict[str, float]]:
    """Let several sides work, each in a process of its own and one at a time.

    Args:
        work: Called with a pipe and a side's arguments. It sends something when it is ready, and
            the seconds of a step for each true value that it receives.
        arguments: By name of the side.
        rounds: How often each side has its turn.

    Returns:
        What each side has sent first, and its median seconds.
    """
    context = multiprocessing.get_context("spawn")
    pipes, ready = {}, {}
    for side, given in arguments.items():
        pipes[side], other = context.Pipe()
        context.Process(target=work, args=(other, *given), daemon=True).start()
        other.close()  # so that a process that fails ends the wait
        ready[side] = pipes[side].recv()
    times: dict[str, list[float]] = {side: [] for side in pipes}
    for _ in range(rounds):
        for side, pipe in pipes.items():
            pipe.send(True)
            times[side].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    return ready, {side: float(np.median(taken)) for side, taken in times.items()}


def measure(backbone: str, size: int, batch: int, rounds: int) -> dict[str, object]:
    """Median seconds of a step in both precisions, and their ratio."""
    sides = {name: (backbone, name, size, batch) for name in ("float32", "mixed")}
    devices, seconds = taking_turns(work, sides, rounds)
    ratio = seconds["float32"] / seconds["mixed"]
    return {
        "network": backbone,
        "device": devices["mixed"],
        "float32, s": seconds["float32"],
        "mixed, s": seconds["mixed"],
        "times as fast": ratio,
        "at least": LEAST[backbone],
        "holds": ratio >= LEAST[backbone],
    }


def main() -> None:
    """Print one row a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=299, help="pixels a side (%(default)s)")
    parser.add_argument("--batch", type=int, default=10, help="samples a step (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of 4 steps each (%(default)s)")
    given = parser.parse_args()
    rows = [measure(backbone, given.size, given.batch, given.rounds) for backbone in LEAST]
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
