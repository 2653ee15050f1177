"""Claim: what a small classifier tells synthetic tiles from real ones by, and how surely.

Samples are cut into tiles of 128 pixels. A random forest sees histogram, spectrum, gradients
and correlations of each tile and is cross-validated with all tiles of one sample on one side.
An accuracy of 0.5 means that it cannot tell. Then each group of features is permuted in the
held-out tiles: the loss of accuracy says what gives the synthetic tiles away.

    python benchmarks/synthetic_blind_check.py [folder of real images in the Kaggle layout]
"""

import itertools

import cv2
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold
from synthetic_statistics import correlation, radial_power, real_and_synthetic

from hpa_lib.images import CHANNELS

TILE, FOLDS, TREES, REPLICATES, SEED = 128, 5, 200, 2000, 0
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
BANDS = (1, 2, 4, 8, 16, 24, 32, 48, 64)
"""Limits of the frequency bands (cycles a tile)."""


def tile_features(tile: np.ndarray) -> dict[tuple[str, str, str], float]:
    """Describe one tile of shape (TILE, TILE, 4).

    Returns:
        Values by channel (or pair of channels), group of features, and feature.
    """
    found = {}
    for index, channel in enumerate(CHANNELS):
        image = tile[..., index].astype(np.float32)
        for quantile, value in zip(QUANTILES, np.quantile(image, QUANTILES), strict=True):
            found[channel, "histogram", f"{quantile:.0%} quantile"] = value
        found[channel, "histogram", "share of zeros"] = (image == 0).mean()
        found[channel, "histogram", "share of saturated"] = (image == 255).mean()
        power = np.log(radial_power(image) + 1)
        for low, high in itertools.pairwise(BANDS):
            found[channel, "spectrum", f"{low}–{high} cycles"] = power[low:high].mean()
        across, down = cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)
        steepness = cv2.magnitude(across, down)
        mean = steepness.mean() + 1e-3
        found[channel, "gradients", "mean"] = mean
        found[channel, "gradients", "deviation over mean"] = steepness.std() / mean
        found[channel, "gradients", "99% quantile over mean"] = np.quantile(steepness, 0.99) / mean
        rest = image - cv2.medianBlur(tile[..., index], 3).astype(np.float32)
        lit = image > image.mean()
        for where, mask in (("bright", lit), ("dark", ~lit)):
            found[channel, "noise", where] = rest[mask].std() if mask.any() else 0.0
    for first, second in itertools.combinations(range(len(CHANNELS)), 2):
        name = f"{CHANNELS[first]}–{CHANNELS[second]}"
        found[name, "correlation", "pixels"] = correlation(tile[..., first], tile[..., second])
    return found


def tiles_of(sample: np.ndarray) -> list[np.ndarray]:
    """Cut a sample into tiles without overlap."""
    starts = range(0, sample.shape[0] - TILE + 1, TILE)
    return [
        np.ascontiguousarray(sample[top : top + TILE, left : left + TILE])
        for top in starts
        for left in starts
    ]


def cross_validate(
    features: np.ndarray, truth: np.ndarray, samples: np.ndarray, groups: dict[str, list[int]]
) -> tuple[np.ndarray, dict[str, float]]:
    """Tell tiles apart, each by a forest that saw no tile of its sample.

    Args:
        features: One row a tile.
        truth: 1 for synthetic tiles.
        samples: Sample of each tile.
        groups: Columns to permute together.

    Returns:
        Whether each tile was told correctly, and the accuracy lost by permuting each group.
    """
    random = np.random.default_rng(SEED)
    correct = np.zeros(len(truth))
    permuted = {name: np.zeros(len(truth)) for name in groups}
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    for train, test in folds.split(features, truth, samples):
        forest = RandomForestClassifier(
            TREES, min_samples_leaf=2, max_features="sqrt", random_state=SEED, n_jobs=-1
        )
        forest.fit(features[train], truth[train])
        correct[test] = forest.predict(features[test]) == truth[test]
        for name, columns in groups.items():
            shuffled = features[test].copy()
            shuffled[:, columns] = shuffled[random.permutation(len(test))][:, columns]
            permuted[name][test] = forest.predict(shuffled) == truth[test]
    return correct, {name: correct.mean() - values.mean() for name, values in permuted.items()}


def interval(correct: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the accuracy over samples (not tiles, which are alike)."""
    by_sample = np.bincount(samples, correct) / np.bincount(samples)
    random = np.random.default_rng(SEED)
    drawn = random.integers(0, len(by_sample), (REPLICATES, len(by_sample)))
    return tuple(np.quantile(by_sample[drawn].mean(axis=1), [0.025, 0.975]))


def main() -> None:
    """Print accuracies, the groups of features that matter, and the largest differences."""
    compared = real_and_synthetic()
    if compared is None:
        return
    tiles = [tiles_of(sample) for kind in compared for sample in kind]
    rows = [tile_features(tile) for some in tiles for tile in some]
    names = list(rows[0])
    features = np.array([list(row.values()) for row in rows])
    samples = np.repeat(np.arange(len(tiles)), [len(some) for some in tiles])
    truth = (samples >= len(compared[0])).astype(int)

    groups: dict[str, list[int]] = {}
    for column, (channel, group, _) in enumerate(names):
        key = "correlation of channels" if group == "correlation" else f"{channel} {group}"
        groups.setdefault(key, []).append(column)
    print(f"{len(truth)} tiles of {TILE} pixels, {len(tiles)} samples, half of them synthetic")
    print(f"{'features of':<24} {'accuracy':>9} {'95 % interval':>16}")
    correct, losses = cross_validate(features, truth, samples, groups)
    sources = {"all channels": list(range(len(names)))}
    for channel in CHANNELS:
        sources[channel] = [column for column, name in enumerate(names) if name[0] == channel]
    for source, columns in sources.items():
        told = correct
        if source != "all channels":
            told, _ = cross_validate(features[:, columns], truth, samples, {})
        low, high = interval(told, samples)
        print(f"{source:<24} {told.mean():>9.3f} {f'{low:.3f} to {high:.3f}':>16}")

    print(f"\n{'group of features':<24} {'accuracy lost when permuted':>28}")
    for name, loss in sorted(losses.items(), key=lambda pair: -pair[1])[:8]:
        print(f"{name:<24} {loss:>28.3f}")

    # Differences of means in units of the deviation between samples.
    means = np.stack([np.bincount(samples, column) for column in features.T]) / len(tiles[0])
    real, synthetic = np.split(means, 2, axis=1)
    spread = np.sqrt((real.var(axis=1) + synthetic.var(axis=1)) / 2) + 1e-9
    differences = (synthetic.mean(axis=1) - real.mean(axis=1)) / spread
    print(f"\n{'feature':<44} {'real':>8} {'synthetic':>10} {'difference/deviation':>21}")
    for column in np.argsort(-np.abs(differences))[:12]:
        values = f"{real[column].mean():>8.3g} {synthetic[column].mean():>10.3g}"
        print(f"{' '.join(names[column]):<44} {values} {differences[column]:>21.2f}")


if __name__ == "__main__":
    main()
