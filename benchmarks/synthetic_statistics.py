"""Claim: synthetic images have the brightness, spectra and correlations of real ones.

Synthetic samples are drawn for the label sets of the real ones, so that labels make no
difference between the two. Means and deviations of channels agree within 25 %, the slopes of
the radial power spectra within 20 %; histograms and correlations are shown beside them.

    python benchmarks/synthetic_statistics.py [folder of real images in the Kaggle layout]
"""

import argparse
import itertools
import os
from pathlib import Path

import numpy as np
from scipy import stats

from hpa_lib import dataset
from hpa_lib.images import CHANNELS, channel_statistics
from hpa_lib.synthetic_images import draw_sample

SEED = 1
BRIGHTNESS_LIMIT, SLOPE_LIMIT = 0.25, 0.20
QUANTILES = (0.5, 0.9, 0.99)
LOWEST, HIGHEST = 4, 128
"""Frequencies over which the slope is taken (cycles an image of 512 pixels)."""


def real_and_synthetic() -> tuple[np.ndarray, np.ndarray] | None:
    """Read the real samples and draw as many synthetic ones with the same labels.

    Returns:
        Two arrays of shape (samples, size, size, 4), dtype uint8; None where no folder of real
        images is named.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default=os.environ.get("HPA_REAL_IMAGES"))
    folder = parser.parse_args().folder
    if not folder:
        print("Left out: name a folder of real images, or set HPA_REAL_IMAGES.")
        return None
    found = dataset.load(Path(folder))
    real = np.stack([found.read_sample(row) for row in range(len(found))])
    size = real.shape[1]
    synthetic = [
        draw_sample(labels, SEED, row, size) for row, labels in enumerate(found.label_sets)
    ]
    return real, np.stack(synthetic)


def radial_power(image: np.ndarray) -> np.ndarray:
    """Mean power of an image's Fourier transform at each whole frequency below Nyquist's.

    A Hann window keeps the borders from leaking into all frequencies.

    Args:
        image: Array of shape (size, size).

    Returns:
        Array of shape (size // 2,); its index counts cycles an image.
    """
    size = len(image)
    window = np.hanning(size)
    centred = (image - image.mean()) * np.outer(window, window)
    power = np.abs(np.fft.rfft2(centred)) ** 2
    rows, columns = np.fft.fftfreq(size, 1 / size), np.arange(size // 2 + 1)
    frequency = np.rint(np.hypot(rows[:, None], columns)).astype(int).ravel()
    sums, numbers = np.bincount(frequency, power.ravel()), np.bincount(frequency)
    return (sums / numbers)[: size // 2]


def spectral_slope(images: np.ndarray) -> float:
    """Slope of the mean radial power spectrum on logarithmic axes."""
    power = np.mean([radial_power(image) for image in images], axis=0)
    octaves = np.unique(np.geomspace(LOWEST, HIGHEST, 40).round().astype(int))
    return stats.linregress(np.log(octaves), np.log(power[octaves])).slope


def histogram_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Wasserstein distance between the intensities of two sets of images (grey levels)."""
    levels = np.arange(256)
    counts = [np.bincount(images.ravel(), minlength=256) for images in (first, second)]
    return stats.wasserstein_distance(levels, levels, *counts)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two channels over pixels; 0 where one of them is constant."""
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def print_row(channel: str, what: str, real: float, synthetic: float, limit: float | None) -> None:
    """Print one figure of both sides, their ratio, and whether the limit holds."""
    ratio = synthetic / real if real else np.nan
    verdict = "" if limit is None else "holds" if abs(ratio - 1) <= limit else "MISSED"
    print(f"{channel:<14} {what:<28} {real:>9.3f} {synthetic:>10.3f} {ratio:>7.2f} {verdict:>8}")


def main() -> None:
    """Print the figures of both sides."""
    compared = real_and_synthetic()
    if compared is None:
        return
    real, synthetic = compared
    print(f"{len(real)} real and {len(synthetic)} synthetic samples of {real.shape[1]} pixels")
    print(f"{'channel':<14} {'figure':<28} {'real':>9} {'synthetic':>10} {'ratio':>7} {'limit':>8}")
    moments = [channel_statistics(samples) for samples in (real, synthetic)]
    halves = np.random.default_rng(SEED).permutation(len(real))
    first_half, second_half = np.array_split(real[halves], 2)
    for index, channel in enumerate(CHANNELS):
        for name in ("mean", "standard deviation"):
            values = [one[name][index] for one in moments]
            print_row(channel, f"{name} (of 1)", *values, BRIGHTNESS_LIMIT)
        for quantile in QUANTILES:
            values = [np.quantile(samples[..., index], quantile) for samples in compared]
            print_row(channel, f"{quantile:.0%} quantile (grey level)", *values, None)
        distance = histogram_distance(real[..., index], synthetic[..., index])
        yardstick = histogram_distance(first_half[..., index], second_half[..., index])
        print(
            f"{channel:<14} histogram distance {distance:.1f} grey levels; "
            f"two halves of the real samples {yardstick:.1f}"
        )
        values = [spectral_slope(samples[..., index]) for samples in compared]
        print_row(channel, "slope of power spectrum", *values, SLOPE_LIMIT)
    for first, second in itertools.combinations(range(len(CHANNELS)), 2):
        values = [
            float(np.mean([correlation(one[..., first], one[..., second]) for one in samples]))
            for samples in compared
        ]
        print_row(f"{CHANNELS[first]}–{CHANNELS[second]}", "mean correlation", *values, None)


if __name__ == "__main__":
    main()
