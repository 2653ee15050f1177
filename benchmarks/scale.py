"""Claim: the data path costs the same a sample at 1,000, 4,000 and 31,072 samples.

Time a sample of building the cache and of feeding stays within 10 %, the peak memory of feeding
below 1.5 GB whatever the number of samples, and opening a ready cache of 31,072 samples takes
less than 5 s before TensorFlow, the check of all 124,288 files included.

Drawing 31,072 samples takes hours of which nothing is learned here: a few hundred synthetic
samples of 96 pixels are hard-linked under as many Ids as are wanted, and reduced to 75 pixels.
Each number of samples has processes of its own. Times a sample are CPU times of all threads.
Memory is what the process allocated (RssAnon); pages of the memory-mapped cache come on top
while there is room, and the system takes them back when it wants.

    python benchmarks/scale.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

COUNTS = (1_000, 4_000, 31_072)
DRAWN, DRAWN_SIZE, SIZE, BATCH, STEPS, ROUNDS = 250, 96, 75, 32, 100, 20
SPREAD_LIMIT, MEMORY_LIMIT, START_LIMIT = 0.10, 1.5, 5.0


def link_dataset(drawn: Path, folder: Path, samples: int) -> None:
    """Make a dataset of `samples` samples whose files are links to those of a smaller one."""
    header, *rows = (drawn / "train.csv").read_text(encoding="utf-8").splitlines()
    (folder / "train").mkdir(parents=True)
    lines = [header]
    for number in range(samples):
        sample_id, target = rows[number % len(rows)].split(",")
        lines.append(f"{number:05}-{sample_id},{target}")
        for channel in ("red", "green", "blue", "yellow"):
            os.link(
                drawn / "train" / f"{sample_id}_{channel}.png",
                folder / "train" / f"{number:05}-{sample_id}_{channel}.png",
            )
    (folder / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def allocated_gigabytes() -> float:
    """Memory of this process that isn't a mapped file."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("RssAnon"))
    return int(kilobytes) / 1e6


def build(folder: Path) -> dict[str, float]:
    """Decode all samples, after a few that bear the cost of starting."""
    from hpa_lib import cache, dataset

    opened = dataset.load(folder)
    few = {name: getattr(opened, name)[:64] for name in ("ids", "label_sets", "patterns")}
    cache.open_cache(replace(opened, **few, fingerprint="first"), SIZE, "rgby", progress=False)
    processor = time.process_time()
    cache.open_cache(opened, SIZE, "rgby", progress=False)
    return {"build": (time.process_time() - processor) / len(opened) * 1e3}


def start(folder: Path) -> dict[str, float]:
    """Import what comes before TensorFlow, open the dataset and the ready cache."""
    started = time.perf_counter()
    from hpa_lib import cache, dataset

    imported = time.perf_counter()
    opened = dataset.load(folder)
    loaded = time.perf_counter()
    cache.open_cache(opened, SIZE, "rgby", progress=False)
    return {
        "import": imported - started,
        "load": loaded - imported,
        "open": time.perf_counter() - loaded,
    }


def feed(folder: Path) -> dict[str, float]:
    """Draw augmented batches through TensorFlow; the fastest of some rounds counts."""
    import numpy as np

    from hpa_lib import dataset
    from hpa_lib import feed as feeds

    opened = dataset.load(folder)
    source = feeds.open_source(opened, "cache", SIZE, "rgby", "area")
    rows = np.arange(len(opened))
    training = feeds.TrainingFeed(
        source, opened.multi_hot, rows, batch_size=BATCH, steps_per_epoch=500, policy="study"
    )
    batches = iter(training.dataset())
    for _ in range(50):
        next(batches)
    times, peak = [], 0.0
    for _ in range(ROUNDS):
        processor = time.process_time()
        for _ in range(STEPS):
            next(batches)
        times.append((time.process_time() - processor) / (STEPS * BATCH) * 1e3)
        peak = max(peak, allocated_gigabytes())
    return {"feed": min(times), "memory": peak}


def measure(stage: str, folder: Path) -> dict[str, float]:
    """Run one stage in a process of its own."""
    command = [sys.executable, __file__, stage, str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    """Print the figures of each number of samples, and how far they are apart."""
    from hpa_lib import synthetic

    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        os.environ["HPA_DATA"] = str(root / "data")
        drawn = synthetic.write_dataset(root / "drawn", DRAWN, size=DRAWN_SIZE)
        for samples in COUNTS:
            folder = root / str(samples)
            link_dataset(drawn, folder, samples)
            results[samples] = {
                name: value
                for stage in ("build", "start", "feed")
                for name, value in measure(stage, folder).items()
            }
    print(
        f"{'samples':>8} {'build, ms':>10} {'feed, ms':>9} {'memory, GB':>11} "
        f"{'import, s':>10} {'load, s':>8} {'open, s':>8}"
    )
    for samples, found in results.items():
        print(
            f"{samples:>8,} {found['build']:>10.3f} {found['feed']:>9.4f} {found['memory']:>11.2f} "
            f"{found['import']:>10.2f} {found['load']:>8.2f} {found['open']:>8.2f}"
        )
    for name in ("build", "feed"):
        values = [found[name] for found in results.values()]
        print(f"{name}: {max(values) / min(values) - 1:.0%} apart (≤ {SPREAD_LIMIT:.0%})")
    largest = results[COUNTS[-1]]
    total = largest["import"] + largest["load"] + largest["open"]
    peaks = [found["memory"] for found in results.values()]
    print(f"memory: {min(peaks):.2f} to {max(peaks):.2f} GB (< {MEMORY_LIMIT} GB)")
    print(f"start-up on {COUNTS[-1]:,} samples: {total:.1f} s (< {START_LIMIT} s)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        stages = {"build": build, "start": start, "feed": feed}
        print(json.dumps(stages[sys.argv[1]](Path(sys.argv[2]))))
    else:
        main()
