"""Claim: the data path costs the same a sample at 1,000, 4,000 and 31,072 samples.

Time a sample of building the cache and of feeding stays within 10 %, the peak memory of feeding
below 1.5 GB whatever the number of samples. Where 31,072 samples are decoded already, a training
notebook is ready in less than 5 s beside TensorFlow, which it imports first and which brings
pandas, scikit-learn and matplotlib along: with all its other modules, the check of all 124,288
files, the near-duplicates that were found before, the split, and the decoded images.

Drawing cells 31,072 times takes hours of which nothing is learned here: samples are random
clouds of 96 pixels, reduced to 75; their label sets are those of the synthetic images. The
smaller datasets are links to a part of the largest. Each number of samples has processes of its
own, in rounds that alternate and start from nothing; the fastest counts, since other work on the
machine can only slow them down. Times a sample are CPU times of all threads.
Memory is what the process allocated (RssAnon); pages of the memory-mapped cache come on top
while there is room, and the system takes them back when it wants.

    python benchmarks/scale.py
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

COUNTS = (1_000, 4_000, 31_072)
DRAWN_SIZE, SIZE, BATCH, STEPS, REPEATS, ROUNDS = 96, 75, 32, 100, 20, 3
STARTS = ("TensorFlow", "import", "load", "split", "open")
NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "2_train_resnet.ipynb"
SPREAD_LIMIT, MEMORY_LIMIT, START_LIMIT = 0.10, 1.5, 5.0


def write_clouds(folder: Path, samples: int) -> None:
    """Write a dataset of random clouds."""
    from hpa_lib import images, labels, synthetic_labels

    (folder / "train").mkdir(parents=True)

    def write(row: int) -> None:
        random = np.random.default_rng(row)
        for channel in images.CHANNELS:
            coarse = random.integers(0, 256, (12, 12), np.uint8)
            cloud = cv2.resize(coarse, (DRAWN_SIZE, DRAWN_SIZE), interpolation=cv2.INTER_CUBIC)
            path = images.channel_file(folder / "train", f"{row:05}", channel)
            cv2.imwrite(str(path), cloud)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(samples)))
    sets = synthetic_labels.draw_label_sets(samples, seed=0)
    lines = [f"{row:05},{labels.format_target(indices)}\n" for row, indices in enumerate(sets)]
    (folder / "train.csv").write_text("Id,Target\n" + "".join(lines), encoding="utf-8")


def link_first(whole: Path, folder: Path, samples: int) -> None:
    """Make a dataset of the first samples of another."""
    from hpa_lib import images

    (folder / "train").mkdir(parents=True)
    lines = (whole / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.csv").write_text("".join(lines[: 1 + samples]), encoding="utf-8")
    for row in range(samples):
        for channel in images.CHANNELS:
            source = images.channel_file(whole / "train", f"{row:05}", channel)
            os.link(source, folder / "train" / source.name)


def allocated_gigabytes() -> float:
    """Memory of this process that isn't a mapped file."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("RssAnon"))
    return int(kilobytes) / 1e6


def build(folder: Path) -> dict[str, float]:
    """Decode all samples, after a few that bear the cost of starting; find near-duplicates."""
    from hpa_lib import cache, dataset, near_duplicates

    opened = dataset.load(folder)
    few = {name: getattr(opened, name)[:64] for name in ("ids", "label_sets", "patterns")}
    cache.open_cache(replace(opened, **few, fingerprint="first"), SIZE, "rgby", progress=False)
    processor = time.process_time()
    cache.open_cache(opened, SIZE, "rgby", progress=False)
    taken = time.process_time() - processor
    near_duplicates.find(opened)
    return {"build": taken / len(opened) * 1e3}


def start(folder: Path) -> dict[str, float]:
    """Do what a training notebook does until the network is built."""
    times = [time.perf_counter()]
    from hpa_lib import backend  # noqa: F401

    times.append(time.perf_counter())
    from hpa_lib import cache, dataset, near_duplicates, splits

    setup = next(
        cell
        for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
        if cell["id"] == "setup"
    )
    exec("".join(setup["source"]).partition("values = ")[0])  # its imports
    times.append(time.perf_counter())
    opened = dataset.load(folder)
    times.append(time.perf_counter())
    near = near_duplicates.find(opened)
    splits.split(opened, "stratified", 0, near)
    times.append(time.perf_counter())
    cache.open_cache(opened, SIZE, "rgby", progress=False)
    times.append(time.perf_counter())
    return dict(zip(STARTS, np.diff(times).tolist(), strict=True))


def feed(folder: Path) -> dict[str, float]:
    """Draw augmented batches through TensorFlow; the fastest repeat counts."""
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
    for _ in range(REPEATS):
        processor = time.process_time()
        for _ in range(STEPS):
            next(batches)
        times.append((time.process_time() - processor) / (STEPS * BATCH) * 1e3)
        peak = max(peak, allocated_gigabytes())
    return {"feed": min(times), "memory": peak}


STAGES = {"build": build, "start": start, "feed": feed}


def measure(stage: str, folder: Path) -> dict[str, float]:
    """Run one stage in a process of its own."""
    command = [sys.executable, __file__, stage, str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The fastest time of all rounds, and the most memory."""
    table = {name: [values[name] for values in rounds] for name in rounds[0]}
    return {name: max(found) if name == "memory" else min(found) for name, found in table.items()}


def main() -> None:
    """Print the figures of each number of samples, and how far they are apart."""
    found: dict[int, list[dict[str, float]]] = {samples: [] for samples in COUNTS}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_clouds(root / "whole", COUNTS[-1])
        for samples in COUNTS:
            link_first(root / "whole", root / str(samples), samples)
        for _, samples in itertools.product(range(ROUNDS), COUNTS):
            with tempfile.TemporaryDirectory() as data:
                os.environ["HPA_DATA"] = data
                stages = [measure(stage, root / str(samples)) for stage in STAGES]
            found[samples].append(
                {name: value for stage in stages for name, value in stage.items()}
            )
    results = {samples: summary(rounds) for samples, rounds in found.items()}
    print(
        f"{'samples':>8} {'build, ms':>10} {'feed, ms':>9} {'memory, GB':>11} "
        + " ".join(f"{name + ', s':>13}" for name in STARTS)
    )
    for samples, row in results.items():
        print(
            f"{samples:>8,} {row['build']:>10.3f} {row['feed']:>9.4f} {row['memory']:>11.2f} "
            + " ".join(f"{row[name]:>13.2f}" for name in STARTS)
        )
    for name in ("build", "feed"):
        values = [row[name] for row in results.values()]
        print(f"{name}: {max(values) / min(values) - 1:.0%} apart (≤ {SPREAD_LIMIT:.0%})")
    largest = results[COUNTS[-1]]
    total = sum(largest[name] for name in STARTS[1:])
    peaks = [row["memory"] for row in results.values()]
    print(f"memory: {min(peaks):.2f} to {max(peaks):.2f} GB (< {MEMORY_LIMIT} GB)")
    print(f"start-up on {COUNTS[-1]:,} samples: {total:.1f} s (< {START_LIMIT} s)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(STAGES[sys.argv[1]](Path(sys.argv[2]))))
    else:
        main()
