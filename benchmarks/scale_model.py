"""Claim: what docs/scale.md says of time, memory, disk and cost follows from counts and rates.

Multiply-adds are counted (`recipe_cost.py`), rates of GPUs are published ones, and bytes and
processor times of a sample were measured on this project: `MEASURED`. The model is linear in the
samples; near-duplicates and a table of the comparison grow with their square as well.

    python benchmarks/scale_model.py                    # print the tables
    python benchmarks/scale_model.py --price 2.5        # US dollars for an hour of one GPU
    python benchmarks/scale_model.py --write            # put them into docs/scale.md
    python benchmarks/scale_model.py --measure          # measure again what MEASURED holds
    python benchmarks/scale_model.py --check            # predicted beside measured at three sizes

`--measure` wants real samples of 512 pixels (HPA_REAL_IMAGES); `--check` takes minutes.
"""

import argparse
import itertools
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import recipe_cost
import scale
from recipe_cost import markdown

DATASETS = {"Kaggle": 31_072, "Kaggle + HPAv18": 105_678, "whole atlas": 1_000_000}
DOWNLOADED = {"Kaggle": 0, "Kaggle + HPAv18": 74_606, "whole atlas": 968_928}
"""Samples that are fetched one by one; those of Kaggle come as an archive."""

FOLDS, SEEDS = 5, 3
NETWORKS = ("InceptionResNetV2", "VGG16")
GPUS = (1, 8, 64)
FILES, REPLICATES, REPORT_SHARE = 4, 2000, recipe_cost.SHARES["report"]

CARD, A_MACHINE = "H100 SXM", 8
# How much faster eight of these GPUs train ResNet-50 than one; the same table of Lambda as
# `recipe_cost.RESNET50`, at commit 0551cb70.
EIGHT_GPUS = 20_728 / 2_616
PRICE = 63.296 / 8
"""US dollars for an hour of one GPU, as an example: an eighth of a p5en.48xlarge of Amazon, on
demand in us-east-1, whose H200 GPUs are no slower than the H100 here. As
github.com/dstackai/dstack/pull/4110 lists it, August 2026."""

# An Amazon EC2 instance p5.48xlarge: eight H100, 192 virtual processors, which are 96 cores,
# 2,048 GiB of memory (github.com/meta-pytorch/torchx, named_resources_aws.py), and eight NVMe
# drives of 3.84 TB (the maker's page).
CORES, MEMORY, DRIVES = 96, 2048 * 2**30, 8 * 3.84e12
STRONG = 0.023
"""Processor seconds of ``strong`` augmentation for an image of 512 pixels: the upper end of what
`recipe_cost.py --feed` found."""

# Object storage read from one machine with a network of 100 Gbit/s: c5n.18xlarge from Amazon S3,
# github.com/dvassallo/s3-benchmark, April 2019.
OBJECT_STORAGE = 8.0e9

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"


@dataclass(frozen=True)
class Measured:
    """Bytes and processor seconds, as `measure` finds them.

    Attributes:
        png_bytes: Four PNGs of 512 pixels.
        decode: Seconds to decode, check, reduce, digest and keep them.
        decode_original: The same for originals of 2048 pixels.
        feed: Seconds to feed an image of 512 pixels with flips and turns.
        hashed: Seconds a sample for near-duplicates, as far as they grow with the samples.
        pair: And as far as they grow with the square of the samples.
        bootstrap: Seconds for a sample, network and replicate of every metric.
        prediction_bytes: A row of predictions.
        embedding_bytes: A row of embeddings.
    """

    png_bytes: float
    decode: float
    decode_original: float
    feed: float
    hashed: float
    pair: float
    bootstrap: float
    prediction_bytes: float
    embedding_bytes: float


MEASURED = Measured(
    png_bytes=427_432,
    decode=0.0204,
    decode_original=0.339,
    feed=0.00075,
    hashed=4.46e-5,
    pair=5.38e-10,
    bootstrap=1.18e-7,
    prediction_bytes=385,
    embedding_bytes=1_140,
)
"""On two shared cores, with 60 samples of the Kaggle set and two originals of the Human Protein
Atlas, proteinatlas.org; predictions, embeddings and hashes are simulated. November 2026."""


def training_hours(network: str, samples: int, counted: dict, gpus: int = 1) -> float:
    """Hours of one training under preset `best`, if Keras is as fast as PyTorch."""
    values = recipe_cost.read("best", network)
    _, whole = recipe_cost.multiply_adds(values, counted[network], samples)
    return whole / recipe_cost.rate(network, CARD) / 3600 / (EIGHT_GPUS if gpus > 1 else 1)


def sweep_hours(samples: int, counted: dict, gpus: int) -> float:
    """Hours until all members are trained, each on one GPU; the longest begin first."""
    free = [0.0] * gpus
    times = [
        training_hours(network, samples, counted) for network in NETWORKS
    ] * (FOLDS * SEEDS)  # fmt: skip
    for hours in sorted(times, reverse=True):
        free[free.index(min(free))] += hours
    return max(free)


def time_table(counted: dict, price: float = PRICE) -> str:
    """Time and cost of a single training, and of all of a sweep."""
    rows = []
    for name, samples in DATASETS.items():
        for network in NETWORKS:
            one, eight = (training_hours(network, samples, counted, n) for n in (1, A_MACHINE))
            cells = [span(one), span(eight), "–", span(one), money(one * price)]
            rows.append((name, f"one {network}", *cells))
        hours = [sweep_hours(samples, counted, gpus) for gpus in GPUS]
        cells = [*map(span, hours), span(hours[0]), money(hours[0] * price)]
        rows.append((name, f"{FOLDS} folds × {SEEDS} seeds × {len(NETWORKS)} networks", *cells))
    header = ("dataset", "what", *(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS),
              "GPU hours", f"cost at {price:.2f} $ an hour")  # fmt: skip
    return markdown(header, rows)


def disk(samples: int, counted: dict) -> dict[str, float]:
    """Bytes on the disk by what they are; runs are those of a sweep."""
    size = recipe_cost.read("best", NETWORKS[0]).image_size
    members = FOLDS * SEEDS * len(NETWORKS)
    weights = sum(4 * counted[name].parameters for name in NETWORKS) * FOLDS * SEEDS
    held_out = 2 * (1 - recipe_cost.SHARES["training"]) * samples  # all views, and one view
    return {
        "PNGs of 512 pixels": samples * MEASURED.png_bytes,
        "decoded images": cache_bytes(samples, size),
        "pictures for near-duplicates": cache_bytes(samples, 32),
        "weights of all runs": weights,
        "predictions of all runs": members * held_out * MEASURED.prediction_bytes,
        "embeddings of all runs": members * samples * MEASURED.embedding_bytes,
    }


def cache_bytes(samples: int, size: int) -> int:
    """Bytes of decoded images."""
    return samples * size**2 * recipe_cost.CHANNELS


def disk_table(counted: dict) -> str:
    """What lies on the disk."""
    by_dataset = [disk(samples, counted) for samples in DATASETS.values()]
    rows = [(what, *(gigabytes(one[what]) for one in by_dataset)) for what in by_dataset[0]]
    rows.append(("all", *(gigabytes(sum(one.values())) for one in by_dataset)))
    rows.append((f"memory of a machine with {A_MACHINE} GPUs", *[gigabytes(MEMORY)] * 3))
    rows.append(("its drives", *[gigabytes(DRIVES)] * 3))
    return markdown(("on the disk", *DATASETS), rows)


def prepare_table() -> str:
    """What happens before and after the trainings."""
    from hpa_lib.downloads import Politeness

    samples, fetched = DATASETS.values(), DOWNLOADED.values()
    requests = Politeness.per_second
    report = [REPORT_SHARE * count for count in samples]
    rows = [
        (f"download at {requests:g} requests a second", *(
            span(count * FILES / requests / 3600, 1) if count else "–" for count in fetched)),
        ("decode PNGs of 512 pixels, core hours", *(
            f"{count * MEASURED.decode / 3600:,.1f}" for count in samples)),
        ("decode originals of 2048 pixels, core hours", *(
            f"{count * MEASURED.decode_original / 3600:,.1f}" for count in samples)),
        ("near-duplicates, one core", *(
            span(matching_seconds(count) / 3600, 1) for count in samples)),
        ("bootstrap of two runs, 2,000 replicates, one core", *(
            span(2 * REPLICATES * count * MEASURED.bootstrap / 3600, 1) for count in report)),
        ("memory of the comparison's table of shared labels", *(
            gigabytes(5 * count**2) for count in report)),
    ]  # fmt: skip
    return markdown(("step", *DATASETS), rows)


def matching_seconds(samples: int) -> float:
    """Processor seconds for near-duplicates among unrelated samples."""
    return samples * MEASURED.hashed + samples**2 * MEASURED.pair


def demand_table(counted: dict) -> str:
    """What GPUs want of their machines, each with a training of its own, and what a machine has."""
    images = max(recipe_cost.rate(name, CARD) / counted[name].training for name in NETWORKS)
    size = recipe_cost.read("best", NETWORKS[0]).image_size
    rows = [
        ("images a second", *(f"{images * gpus:,.0f}" for gpus in GPUS), ""),
        ("cores that feed", *(f"{images * gpus * MEASURED.feed:,.1f}" for gpus in GPUS), CORES),
        ("cores that feed, `strong` on the host",
         *(f"{images * gpus * STRONG:,.0f}" for gpus in GPUS), CORES),
        ("decoded images read, a second",
         *(gigabytes(images * gpus * cache_bytes(1, size)) for gpus in GPUS),
         f"{gigabytes(OBJECT_STORAGE)} from object storage"),
    ]  # fmt: skip
    header = ("wanted", *(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS), "one machine has")
    return markdown(header, [map(str, row) for row in rows])


def tables(price: float = PRICE) -> dict[str, str]:
    """All tables of the page by their markers."""
    counted = recipe_cost.count()
    return {
        "time": time_table(counted, price),
        "disk": disk_table(counted),
        "prepare": prepare_table(),
        "demand": demand_table(counted),
    }


def inserted(page: str, made: dict[str, str]) -> str:
    """The page with tables between their markers."""
    for name, table in made.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        page, count = re.subn(pattern, lambda _, new=begin + table + end: new, page, flags=re.S)
        if count != 1:
            raise ValueError(f"The page has {count} places for the table {name}.")
    return page


def span(hours: float, factor: int = 2) -> str:
    """Hours, or a unit that says it better, to a multiple of them."""
    units = ((1 / 60, 1 / 3600, "s"), (1, 1 / 60, "min"), (72, 1, "h"), (np.inf, 24, "days"))
    unit, name = next((unit, name) for most, unit, name in units if hours < most)
    low = hours / unit
    digits = 0 if low >= 10 else 1
    high = f"–{factor * low:,.{digits}f}" if factor > 1 else ""
    return f"{low:,.{digits}f}{high} {name}"


def money(dollars: float) -> str:
    """Dollars, to their double."""
    return f"{dollars:,.0f}–{2 * dollars:,.0f} $"


def gigabytes(count: float) -> str:
    """Bytes in GB, or TB where they say it better."""
    return f"{count / 1e12:,.2f} TB" if count >= 1e12 else f"{count / 1e9:,.2f} GB"


# --- Measured here


def processor_seconds(work) -> float:
    """CPU time of all threads that a piece of work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def decode_seconds(folder: Path, wanted: int) -> float:
    """CPU time a sample of a cache of 512 pixels and the pictures for near-duplicates."""
    import cache_build

    from hpa_lib import cache, dataset, near_duplicates

    opened = cache_build.repeated(dataset.load(folder), wanted)

    def work() -> None:
        cache.open_cache(opened, 512, "rgby", progress=False)
        near_duplicates.open_pictures(opened)

    with tempfile.TemporaryDirectory() as data:
        os.environ["HPA_DATA"] = data
        return processor_seconds(work) / wanted


def feed_seconds(samples: int = 128, batches: int = 40) -> float:
    """CPU time of feeding an image of 512 pixels with flips and turns."""
    from hpa_lib import feed

    class Noise:
        shape, dtype = (512, 512, recipe_cost.CHANNELS), np.dtype(np.uint8)
        _pixels = np.random.default_rng(0).integers(0, 256, (samples, *shape), np.uint8)

        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            return self._pixels[rows]

    given = feed.TrainingFeed(
        Noise(), np.zeros((samples, 28), np.uint8), np.arange(samples), batch_size=32,
        steps_per_epoch=1000, policy="dihedral",
    )  # fmt: skip
    endless = iter(given.dataset())
    next(endless)
    return processor_seconds(lambda: [next(endless) for _ in range(batches)]) / batches / 32


def pair_seconds(samples: int) -> float:
    """CPU time of finding near-duplicates among unrelated hashes."""
    from hpa_lib import near_duplicates

    hashed = np.random.default_rng(0).integers(0, 2**63, (samples, 4), np.uint64)
    return processor_seconds(lambda: near_duplicates.matches(hashed))


def bootstrap_seconds(samples: int = 6000, replicates: int = 80) -> float:
    """CPU time a sample, network and replicate of the bootstrap of every metric."""
    import bootstrap_speed

    from hpa_lib import evaluation

    truth, probability = bootstrap_speed.simulated()
    decided = {name: (one > 0.5).astype(np.uint8) for name, one in probability.items()}

    def work(count: int) -> float:
        return processor_seconds(
            lambda: evaluation.bootstrap_metrics(truth, decided, count, probabilities=probability)
        )

    return (work(40 + replicates) - work(40)) / replicates / samples / len(probability)


def bytes_a_row(samples: int) -> tuple[float, float]:
    """Bytes of a row of predictions, and of embeddings, with random probabilities."""
    import retrieval

    from hpa_lib import predictions
    from hpa_lib.dataset import Dataset

    ids = tuple(f"{row:036}" for row in range(samples))
    held = Dataset("scale", Path("nowhere"), ids, ((0, 25),) * samples, "f" * 64)
    chance = np.random.default_rng(0).random((samples, 28), np.float32)
    table = predictions.table(held, {"report": np.arange(samples)}, {"report": chance})
    with tempfile.TemporaryDirectory() as folder:
        predictions.write(Path(folder) / "predictions.csv", table)
        kept = retrieval.write(Path(folder) / "embeddings.parquet", samples)["bytes"]
        return (Path(folder) / "predictions.csv").stat().st_size / samples, kept


def measure() -> Measured:
    """What `MEASURED` holds, on this machine."""
    real = Path(os.environ["HPA_REAL_IMAGES"])
    pictures = list((real / "train").glob("*.png"))
    predicted, embedded = bytes_a_row(4000)
    sizes = np.array([4000, DATASETS["Kaggle + HPAv18"]], float)
    hashed, pair = np.linalg.solve(
        np.stack([sizes, sizes**2], axis=1), [pair_seconds(int(size)) for size in sizes]
    )
    return Measured(
        png_bytes=sum(file.stat().st_size for file in pictures) / len(pictures) * FILES,
        decode=decode_seconds(real, 240),
        decode_original=decode_seconds(real / "full_size", 8),
        feed=feed_seconds(),
        hashed=float(hashed),
        pair=float(pair),
        bootstrap=bootstrap_seconds(),
        prediction_bytes=predicted,
        embedding_bytes=embedded,
    )


def check() -> str:
    """Predicted beside measured at the sizes of `scale.py`.

    Processor times a sample are those of the smallest size, which the larger ones are predicted
    from; bytes, and near-duplicates, are predicted by the formulas behind the page's tables. The
    fastest of some rounds counts, as in `scale.py`.
    """
    rounds: dict[int, list[dict[str, float]]] = {samples: [] for samples in scale.COUNTS}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        scale.write_clouds(root / "whole", scale.COUNTS[-1])
        for samples in scale.COUNTS:
            scale.link_first(root / "whole", root / str(samples), samples)
        for _, samples in itertools.product(range(scale.ROUNDS), scale.COUNTS):
            with tempfile.TemporaryDirectory() as data:
                os.environ["HPA_DATA"] = data
                times = scale.measure("build", root / str(samples))
                times |= scale.measure("feed", root / str(samples))
                arrays = [path.stat().st_size for path in Path(data).rglob("images.npy")]
            times |= {"cache": max(arrays), "near-duplicates": pair_seconds(samples)}
            times |= dict(zip(("prediction", "embedding"), bytes_a_row(samples), strict=True))
            rounds[samples].append(times)
    found = {samples: scale.summary(given) for samples, given in rounds.items()}
    smallest = found[scale.COUNTS[0]]
    rows = []
    for samples, times in found.items():
        predicted = {
            "prepare, CPU s": (smallest["build"] * samples / 1e3, times["build"] * samples / 1e3),
            "feed, CPU ms a sample": (smallest["feed"], times["feed"]),
            "decoded images, MB": (cache_bytes(samples, scale.SIZE) / 1e6, times["cache"] / 1e6),
            "near-duplicates, CPU s": (matching_seconds(samples), times["near-duplicates"]),
            "predictions, bytes a row": (MEASURED.prediction_bytes, times["prediction"]),
            "embeddings, bytes a row": (MEASURED.embedding_bytes, times["embedding"]),
        }
        rows += [
            (f"{samples:,}", what, f"{model:,.3f}", f"{real:,.3f}", f"{model / real:.2f}")
            for what, (model, real) in predicted.items()
        ]
    return markdown(("samples", "what", "predicted", "measured", "predicted / measured"), rows)


def main() -> None:
    """Print, write, measure or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--price", type=float, default=PRICE, help="dollars for an hour of a GPU")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="write the tables of docs/scale.md")
    what.add_argument("--measure", action="store_true", help="measure rates and bytes anew")
    what.add_argument("--check", action="store_true", help="compare the model with measurements")
    given = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before TensorFlow looks for GPUs
    if given.measure:
        print(measure())
    elif given.check:
        print(check())
    elif given.write:
        PAGE.write_text(inserted(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")
    else:
        print("\n\n".join(f"{name}\n\n{table}" for name, table in tables(given.price).items()))


if __name__ == "__main__":
    main()
