"""Claim: 15 synthetic samples of 512 pixels a second on two cores, in memory that stays flat.

Writes a dataset into a temporary folder with one and with two processes. Then processes of
their own write 50 and 200 samples and report the most memory they held.

    python benchmarks/synthetic_speed.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpa_lib.synthetic import write_dataset

SAMPLES, FEW, MANY = 100, 50, 200

PEAK_MEMORY = """
import resource, sys
from pathlib import Path
from hpa_lib.synthetic import write_dataset
write_dataset(Path(sys.argv[1]), int(sys.argv[2]), workers=1, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def samples_a_second(folder: Path, workers: int) -> float:
    """Rate of drawing and writing, the start of the processes included."""
    started = time.perf_counter()
    write_dataset(folder, SAMPLES, workers=workers, progress=False)
    return SAMPLES / (time.perf_counter() - started)


def peak_memory(folder: Path, samples: int) -> float:
    """Most memory (MiB) that a process held while it wrote a dataset."""
    command = [sys.executable, "-c", PEAK_MEMORY, str(folder), str(samples)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kibibytes elsewhere
    return int(printed) / unit


def main() -> None:
    """Print rates and memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{'processes':>10} {'samples':>8} {'samples a second':>17}")
        for workers in (1, 2):
            rate = samples_a_second(folder / f"workers-{workers}", workers)
            print(f"{workers:>10} {SAMPLES:>8} {rate:>17.1f}")
        few, many = (peak_memory(folder / f"samples-{count}", count) for count in (FEW, MANY))
        print(f"\n{'samples':>10} {'peak memory, MiB':>17}")
        print(f"{FEW:>10} {few:>17.0f}\n{MANY:>10} {many:>17.0f}")
        print(f"{'growth':>10} {many / few - 1:>17.1%}")


if __name__ == "__main__":
    main()
