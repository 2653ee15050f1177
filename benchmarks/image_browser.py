"""Claim: the image browser has its next picture within 200 ms of a click, at 512 and 2048 pixels.

Measured in the kernel, from the change of a control to the bytes of the picture. The front end
adds transfer and drawing. The decoded neighbours of a sample are read ahead: "next" waits as long
between clicks as a person does, "next, no pause" doesn't wait, and "jump" goes to a sample that
nothing has read. Beside them stands what the same picture costs without the browser's memory:
`Dataset.read_sample`, overlay and PNG.

    python benchmarks/image_browser.py [--sizes 512 2048] [--clicks 40]

Samples are those of HPA_REAL_IMAGES, or else synthetic ones, turned and put side by side where the
size is larger than theirs.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from hpa_lib import dataset, embedded, image_view, images, splits
from hpa_lib.image_browser import SIZE, ImageBrowser
from hpa_lib.image_view import Region, Tone
from hpa_lib.labels import format_target

LIMIT = 0.2
"""Seconds."""

PAUSE = 0.5
"""Seconds between two clicks of a person."""

SAMPLES = 48


def write_samples(source: dataset.Dataset, size: int, folder: Path) -> dataset.Dataset:
    """A dataset of images of one size, made of those of another."""
    (folder / "train").mkdir(parents=True)
    lines = ["Id,Target"]
    for number in range(SAMPLES):
        row = number % len(source)
        sample = np.rot90(source.read_sample(row), number // len(source))
        tiles = -(-size // min(sample.shape[:2]))
        whole = np.tile(sample, (tiles, tiles, 1))[:size, :size]
        lines.append(f"sample-{number},{format_target(source.label_sets[row])}")
        for channel, pixels in zip(images.CHANNELS, cv2.split(whole), strict=True):
            path = images.channel_file(folder / "train", f"sample-{number}", channel)
            cv2.imwrite(str(path), pixels)
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return dataset.load(folder)


def seconds_of(acts: list[Callable[[], object]], pause: float = 0.0) -> list[float]:
    """Seconds of each act."""
    taken = []
    for act in acts:
        time.sleep(pause)
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return taken


def without_memory(opened: dataset.Dataset, row: int) -> None:
    """Decode, reduce, overlay and encode a sample."""
    pixels = image_view.cut_out(opened.read_sample(row), Region(), SIZE)
    cv2.imencode(".png", image_view.colour(pixels, Tone())[..., ::-1])


def measure(opened: dataset.Dataset, clicks: int) -> pd.DataFrame:
    """Index action; columns median and slowest in ms, and the share below the limit in percent."""
    rows = np.arange(len(opened))
    division = splits.Split("file", {"training": rows}, opened.fingerprint)
    browser = ImageBrowser(opened, division)
    following = browser.controls["next"].click

    def setter(name: str, value: object) -> Callable[[], object]:
        return lambda: setattr(browser.controls[name], "value", value)

    def fresh(position: int) -> Callable[[], object]:
        other = ImageBrowser(opened, division)
        return lambda: setattr(other, "position", position)

    places = [int(place) for place in np.linspace(0, 100, clicks)]
    taken = {
        "next": seconds_of([following] * clicks, PAUSE),
        "next, no pause": seconds_of([following] * clicks),
        "jump": [
            second
            for position in 10 + rows[: clicks // 4]
            for second in seconds_of([fresh(int(position))], PAUSE)
        ],
        "gain": seconds_of([setter("red_gain", 1 + place / 50) for place in places]),
        "stretch": seconds_of([setter("stretch", place % 2 == 0) for place in range(clicks)]),
    }
    seconds_of([setter("magnification", 4.0)])
    taken["move"] = seconds_of([setter("across", place) for place in places])
    zooms = [2.0, 4.0, 8.0, 16.0, 1.0]
    taken["magnify"] = seconds_of([setter("magnification", zooms[n % 5]) for n in range(clicks)])
    taken["without memory"] = seconds_of(
        [lambda row=row: without_memory(opened, row) for row in rows[: clicks // 4]]
    )
    return pd.DataFrame(
        {
            action: {
                "median, ms": np.median(seconds) * 1e3,
                "slowest, ms": np.max(seconds) * 1e3,
                f"below {LIMIT * 1e3:.0f} ms, %": np.mean(np.array(seconds) < LIMIT) * 100,
            }
            for action, seconds in taken.items()
        }
    ).T.rename_axis("action")


def main() -> None:
    """Print a table for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--clicks", type=int, default=40)
    options = parser.parse_args()
    folder = os.environ.get("HPA_REAL_IMAGES") or embedded.write_embedded(60, 512, 164)
    source = dataset.load(Path(folder))
    print(f"samples of {folder}, {os.cpu_count()} cores")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as name:
            os.environ["HPA_RUNS"] = os.environ["HPA_DATA"] = name
            table = measure(write_samples(source, size, Path(name) / "samples"), options.clicks)
        print(f"\n{size} px\n{table.to_string(float_format='{:.0f}'.format)}")


if __name__ == "__main__":
    main()
