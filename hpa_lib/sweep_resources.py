"""What a scheduler has to set aside for a training: memory and minutes.

Weights, activations and multiply-adds are counted; see `costs`. The rest are allowances, chosen
to be too large rather than too small: a job that is killed for want of memory or time is repeated
with more, and goes on after its last finished epoch.
"""

from dataclasses import dataclass

from hpa_lib import costs, training
from hpa_lib.costs import NetworkCost
from hpa_lib.parameters import TrainParameters
from hpa_lib.sweeps import Member

# MiB of Python, TensorFlow, the notebook's kernel and its plots; with CUDA's libraries on top.
_PROCESS, _CUDA = 3_000, 4_000
_SAFETY = 1.5

# Multiply-adds a second: less than half of what a T4 attains by the rates of
# benchmarks/recipe_cost.py, and a slow core.
_GPU_RATE, _CORE_RATE = 2e12, 5e9
_LEAST_MINUTES = 30

_HELD_OUT, _TRAINING = 0.4, 0.6
_VIEWS = 8


@dataclass(frozen=True)
class Resources:
    """What one training takes.

    Attributes:
        mem_mb: Memory of the machine in MiB; of a GPU it says nothing.
        runtime: Minutes.
    """

    mem_mb: int
    runtime: int


def count(member: Member, samples: int) -> Resources:
    """Count what a training takes.

    Args:
        member: A member of a sweep. ``device: auto`` is taken for a machine without a GPU.
        samples: Samples of its dataset.
    """
    values = member.values
    channels = 3 if values.composition == "composite" else 4
    cost = costs.network(values, channels)
    on_gpu = values.device == "gpu"
    held = costs.memory(cost, values) / 2**20
    weights = 4 * cost.parameters / 2**20
    needed = _PROCESS + (_CUDA + 4 * weights if on_gpu else held)
    rate = _GPU_RATE if on_gpu else _CORE_RATE * member.threads
    minutes = _multiply_adds(cost, values, samples) / rate / 60
    return Resources(
        mem_mb=round(_SAFETY * needed),
        runtime=max(_LEAST_MINUTES, round(_SAFETY * minutes)),
    )


def _multiply_adds(cost: NetworkCost, values: TrainParameters, samples: int) -> float:
    """Those of all epochs, their validations, and the predictions at the end."""
    seen = values.steps_per_epoch * values.batch_size or _TRAINING * samples
    epochs = sum(stage.epochs for stage in training.stages(values))
    validated = _HELD_OUT / 4 * samples
    views = _VIEWS if values.all_views else 1
    return epochs * (seen * cost.training + validated * cost.forward) + (
        _HELD_OUT * samples * views * cost.forward
    )
