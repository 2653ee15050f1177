"""The numbers that a network computes with.

Half precision takes half of the memory and, where the hardware has it, about half of the time.
Weights, statistics of batch normalization, the last layer and the loss stay in single precision.

* ``float32``: single precision everywhere, as in the reference study.
* ``mixed``: bfloat16 or float16 by the device.
* ``auto``: ``mixed`` where it saves time, ``float32`` else.

bfloat16 has the range of float32 and 8 significant bits: GPUs from compute capability 8.0 on have
it, and processors with AMX or AVX-512 BF16. AVX-512 BF16 alone multiplies no more numbers a second
than AVX-512 does in single precision, and converting them comes on top: it saves memory only.
Older GPUs, from 7.0 on, have float16, whose small range needs the loss to be scaled, as Keras
does.
"""

from collections.abc import Sequence
from pathlib import Path

from hpa_lib.backend import keras, tf
from hpa_lib.errors import HpaError

PRECISIONS: tuple[str, ...] = ("float32", "mixed", "auto")
"""Names of all choices."""

_FAST_CPU_FLAGS = frozenset({"amx_bf16"})
_CPU_FLAGS = _FAST_CPU_FLAGS | {"avx512_bf16"}
_BFLOAT16_CAPABILITY, _FLOAT16_CAPABILITY = (8, 0), (7, 0)


def policy(
    precision: str, capabilities: Sequence[tuple[int, int]], cpu_flags: frozenset[str]
) -> str:
    """Name of the Keras dtype policy for a device.

    Args:
        precision: One of `PRECISIONS`.
        capabilities: Compute capability of each GPU; none to compute on the CPU.
        cpu_flags: Names of the processor's instruction sets, as Linux spells them.

    Raises:
        HpaError: If the precision is unknown, or ``mixed`` and the device has only float32.
    """
    if precision not in PRECISIONS:
        raise HpaError(
            f"The precision is {precision!r}.", f"Choose one of {', '.join(PRECISIONS)}."
        )
    if precision == "float32":
        return "float32"
    if capabilities:
        if min(capabilities) >= _BFLOAT16_CAPABILITY:
            return "mixed_bfloat16"
        if min(capabilities) >= _FLOAT16_CAPABILITY:
            return "mixed_float16"
    elif cpu_flags & (_FAST_CPU_FLAGS if precision == "auto" else _CPU_FLAGS):
        return "mixed_bfloat16"
    if precision == "mixed":
        device = "GPU" if capabilities else "CPU"
        raise HpaError(
            f"Parameter precision is 'mixed', but this {device} has no half precision.",
            "Set it to 'float32', or to 'auto' to choose by the device.",
        )
    return "float32"


def use(precision: str) -> str:
    """Let the networks that are built from now on compute as `policy` says for this machine.

    Returns:
        The dtype in words, such as ``"bfloat16"``.

    Raises:
        HpaError: As `policy`.
    """
    details = map(tf.config.experimental.get_device_details, tf.config.get_visible_devices("GPU"))
    capabilities = [found.get("compute_capability", (0, 0)) for found in details]
    name = policy(precision, capabilities, _flags_of_this_cpu())
    keras.mixed_precision.set_global_policy(name)
    return name.removeprefix("mixed_")


def _flags_of_this_cpu() -> frozenset[str]:
    """Instruction sets of the processor; none where the system doesn't tell as Linux does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), ":")
    return frozenset(flags.split(":", 1)[1].split())
