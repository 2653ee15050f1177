"""Claim: XLA or several steps in one call gain no more than a tenth over the step as it is.

A training step on a batch in memory, called one at a time as the trainings do, is compared with
the same step compiled by XLA, and with a call that takes several steps. Each has a process of its
own, and the processes take turns. What comes before the first step that counts, compilation
above all, is given beside the time of a step. Numbers needn't repeat here: with `deterministic`,
Keras refuses XLA, and a call of several steps, whose batches are taken inside of the graph, gives
other numbers each time (see `hpa_lib.training`).

    python benchmarks/fused_steps.py [--size 75] [--batch 16] [--rounds 3]
"""

import argparse
from multiprocessing.connection import Connection
from time import perf_counter

import numpy as np
import pandas as pd
from mixed_precision import taking_turns

STEPS = 8
BACKBONES = ("InceptionResNetV2", "VGG16")
WAYS = {"one step a call": (False, 1), "XLA": (True, 1), f"{STEPS} steps a call": (False, STEPS)}
"""By name: whether XLA compiles the step, and how many steps a call takes."""


def work(pipe: Connection, backbone: str, way: str, size: int, batch: int) -> None:
    """Say how long the first call takes, then give the seconds of a step when asked for."""
    import tensorflow as tf

    from hpa_lib import devices, models, training
    from hpa_lib.parameters import TrainParameters

    compiled, steps = WAYS[way]
    devices.prepare(TrainParameters(cpu_threads=0, deterministic=False))
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch, size, size, 3)).astype(np.float32)
    truth = (random.random((batch, 28)) < 0.05).astype(np.float32)
    model = models.build(backbone, size)
    training.compile_network(model, training.Stage("all", 1, 1e-4))
    model.jit_compile = compiled
    model.steps_per_execution = steps
    model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((images, truth)).repeat())
    started = perf_counter()
    model.train_function(batches)
    pipe.send(perf_counter() - started)
    while pipe.recv():
        started = perf_counter()
        for _ in range(STEPS // steps):
            model.train_function(batches)
        pipe.send((perf_counter() - started) / STEPS)


def main() -> None:
    """Print one row a network and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=75, help="pixels a side (%(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="samples a step (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of 8 steps each (%(default)s)")
    given = parser.parse_args()
    rows = []
    for backbone in BACKBONES:
        sides = {way: (backbone, way, given.size, given.batch) for way in WAYS}
        first, seconds = taking_turns(work, sides, given.rounds)
        plain = seconds["one step a call"]
        rows += [
            {
                "network": backbone,
                "step": way,
                "first call, s": first[way],
                "a step, s": seconds[way],
                "times as fast": plain / seconds[way],
            }
            for way in WAYS
        ]
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
