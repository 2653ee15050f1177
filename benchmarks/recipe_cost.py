"""Claim: preset `best` trains within hours, and fits the cards that it has files for.

Multiply-adds and memory are counted on the graph of a training step (`hpa_lib.costs`); nothing is
trained. Hours follow from published training rates: the network's own on one RTX 3090, times how
much faster another card trains ResNet-50. The first figure holds if Keras attains these rates,
which PyTorch attained; the second allows for half of them. docs/recipe.md holds the output.

    python benchmarks/recipe_cost.py [--image-size 512]
    python benchmarks/recipe_cost.py --feed        # time of augmentation on one core, measured here
    python benchmarks/recipe_cost.py --step VGG16  # memory of a step on the CPU, beside the count
"""

import argparse
import os
import time
from collections.abc import Iterable
from functools import partial

SAMPLES, CHANNELS, VIEWS = 31_072, 4, 8
SHARES = {"training": 0.6, "validation": 0.1, "threshold": 0.1, "report": 0.2}
"""Parts of the stratified split."""

# Images a second of a training step in mixed precision on one RTX 3090, and multiply-adds of an
# image's way forward: R. Wightman, github.com/huggingface/pytorch-image-models, results/
# benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv and benchmark-infer-amp-nhwc-pt210-cu121-…
ON_RTX_3090 = {
    "InceptionResNetV2": (358.54, 13.18e9),
    "VGG16": (546.06, 15.47e9),
    "DenseNet121": (913.65, 2.87e9),
}

# Images a second that train ResNet-50 in mixed precision: Lambda, github.com/lambdal/
# deeplearning-benchmark, pytorch/pytorch-train-throughput-fp16.csv. The T4 isn't in it: it has
# that of a V100 16 GB (833), times the ratio of both in NVIDIA's inference of ResNet-50 in batches
# of 128 (github.com/NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5).
RESNET50 = {
    "H100 SXM": 2616,
    "A100 SXM": 1582,
    "RTX 4090": 1301,
    "RTX 3090": 905,
    "T4": 833 * 1190 / 3249,
}
TWO_GPUS = 1571 / 833
"""How much faster two V100 are than one, in the same table."""

PEAK = {"A100 SXM": 312e12, "T4": 65e12}
"""Floating-point operations a second in half precision, as NVIDIA states them."""

CARDS = (
    ("H100 SXM", 1, 80, "best"),
    ("A100 SXM", 1, 80, "best"),
    ("RTX 4090", 1, 24, "best-24gb"),
    ("RTX 3090", 1, 24, "best-24gb"),
    ("T4", 2, 16, "best-2x16gb"),
    ("T4", 1, 16, "best-24gb"),
)
"""Card, how many of them, the memory of each in GB, and the preset for it."""


def read(preset: str, backbone: str, image_size: int | None = None):
    """Parameters of a preset for one network, as its notebook takes them."""
    from hpa_lib import parameters, paths

    values = parameters.read_preset(paths.PRESETS / f"{preset}.yaml") | {"backbone": backbone}
    if image_size:
        values["image_size"] = image_size
    notebook = "3_train_vgg" if backbone == "VGG16" else "2_train_resnet"
    return parameters.validate(notebook, values)


def count(image_size: int | None = None) -> dict:
    """What each network costs under preset `best`; the cards' files build the same networks."""
    from hpa_lib import costs

    return {name: costs.network(read("best", name, image_size), CHANNELS) for name in ON_RTX_3090}


def multiply_adds(values, cost, samples: int = SAMPLES) -> tuple[float, float]:
    """Of one epoch in which everything learns, and of the whole training with its evaluation."""
    from hpa_lib import training

    parts = {name: share * samples for name, share in SHARES.items()}
    checked = parts["validation"] + values.reestimation_batches * values.batch_size
    epochs = [
        parts["training"] * (cost.training if stage.backbone_rate else cost.forward)
        + checked * cost.forward
        for stage in training.stages(values)
        for _ in range(stage.epochs)
    ]
    held_out = VIEWS * (sum(parts.values()) - parts["training"]) * cost.forward
    return epochs[-1], sum(epochs) + held_out


def rate(network: str, card: str, gpus: int = 1) -> float:
    """Multiply-adds a second at which a card trains a network, as PyTorch attains them.

    A training step has three times the multiply-adds of a prediction.
    """
    images, forward = ON_RTX_3090[network]
    scale = RESNET50[card] / RESNET50["RTX 3090"] * (TWO_GPUS if gpus > 1 else 1)
    return images * 3 * forward * scale


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def network_table(counted: dict) -> str:
    """Size and cost of each network, for one image."""
    header = (
        "network", "parameters", "multiply-adds, prediction", "multiply-adds, training step",
        "memory in a training step",
    )  # fmt: skip
    rows = [
        (
            name,
            f"{cost.parameters / 1e6:.1f} M",
            f"{cost.forward / 1e9:.1f} G",
            f"{cost.training / 1e9:.1f} G",
            f"{cost.image_bytes / 1e6:.0f} MB",
        )
        for name, cost in counted.items()
    ]
    return markdown(header, rows)


def memory_table(counted: dict, image_size: int | None = None) -> str:
    """Memory that is counted on each card."""
    from hpa_lib import costs

    rows = []
    for card, gpus, gigabytes, preset in CARDS:
        cells = []
        for name, cost in counted.items():
            needed = costs.memory(cost, read(preset, name, image_size), gpus) / 1e9
            cells.append(f"{needed:.1f} GB, {needed / gigabytes:.0%}")
        rows.append((f"{gpus} × {card}, {gigabytes} GB", f"`{preset}`", *cells))
    return markdown(("GPU", "preset", *counted), rows)


def time_table(counted: dict, image_size: int | None = None) -> str:
    """Minutes of an epoch and hours of a training on each card."""
    rows = []
    for card, gpus, gigabytes, preset in CARDS:
        cells = []
        for name, cost in counted.items():
            epoch, whole = multiply_adds(read(preset, name, image_size), cost)
            speed = rate(name, card, gpus)
            minutes, hours = epoch / speed / 60, whole / speed / 3600
            cells.append(f"{minutes:.1f}–{2 * minutes:.1f} min, {hours:.1f}–{2 * hours:.1f} h")
        rows.append((f"{gpus} × {card}, {gigabytes} GB", *cells))
    return markdown(("GPU", *counted), rows)


def attained_table() -> str:
    """Share of a card's peak that the rates stand for."""
    rows = [
        (card, *(f"{2 * rate(name, card) / peak:.0%}" for name in ON_RTX_3090))
        for card, peak in PEAK.items()
    ]
    return markdown(("GPU", *ON_RTX_3090), rows)


def feed_table(image_size: int, images: int = 16, rounds: int = 3) -> str:
    """CPU time of augmenting an image on one core, the fastest of some rounds.

    ``strong`` as Keras layers is made for a GPU; on the processor only its work is compared.
    """
    import cv2
    import numpy as np

    from hpa_lib import augment, device_augmentation
    from hpa_lib.backend import tf

    cv2.setNumThreads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    random = np.random.default_rng(0)
    shape = (images, image_size, image_size, CHANNELS)
    pictures = list(random.integers(0, 256, shape, np.uint8))
    ways = {policy: partial(augment.augment_batch, pictures, policy) for policy in augment.POLICIES}
    augmenter = device_augmentation.DeviceAugmenter()
    ways["strong, as Keras layers"] = lambda seed: augmenter(np.stack(pictures), seed).numpy()
    rows = []
    for way, change in ways.items():
        taken = []
        change(rounds)  # Keras layers are traced once
        for seed in range(rounds):
            started = time.process_time()
            change(seed)
            taken.append((time.process_time() - started) / images)
        rows.append((way, f"{min(taken) * 1e3:.2f} ms", f"{1 / min(taken):,.0f}"))
    return markdown(("augmentation", "CPU time an image", "images a second and core"), rows)


def step_table(network: str, image_size: int = 224, images: int = 24) -> str:
    """Memory by which a process grows when it trains on more than one image, once."""
    import resource

    import numpy as np

    from hpa_lib import costs, models, training
    from hpa_lib.parameters import TrainParameters

    values = TrainParameters(backbone=network, image_size=image_size, head="average_max")
    model = models.configured(values, CHANNELS)
    training.compile_network(model, training.Stage("all", 1, 1e-4))
    largest = []
    for batch in (1, images):
        pixels = np.zeros((batch, image_size, image_size, CHANNELS), np.float32)
        model.train_on_batch(pixels, np.zeros((batch, 28), np.float32))
        largest.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    measured = (largest[1] - largest[0]) / (images - 1)
    counted = costs.network(values, CHANNELS).image_bytes
    cells = (f"{measured / 1e6:.0f} MB", f"{counted / 1e6:.0f} MB", f"{measured / counted:.1f}")
    header = ("network, float32", "measured an image", "counted", "ratio")
    return markdown(header, [(f"{network}, {image_size} pixels", *cells)])


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, help="pixels a side (the preset's)")
    parser.add_argument("--feed", action="store_true", help="measure augmentation instead")
    parser.add_argument("--step", choices=ON_RTX_3090, help="measure a step's memory instead")
    given = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before TensorFlow looks for GPUs
    if given.feed:
        print(feed_table(given.image_size or read("best", "VGG16").image_size))
        return
    if given.step:
        print(step_table(given.step))
        return
    size = given.image_size or read("best", "VGG16").image_size
    counted = count(size)
    print(f"Decoded images: {SAMPLES * size**2 * CHANNELS / 1e9:.1f} GB")
    for title, table in (
        (f"One image of {size} pixels a side", network_table(counted)),
        ("Memory of each GPU", memory_table(counted, size)),
        ("Time", time_table(counted, size)),
        ("Share of the peak rate that these times take", attained_table()),
    ):
        print(f"\n{title}\n\n{table}")


if __name__ == "__main__":
    main()
