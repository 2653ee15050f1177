"""Deal samples to parts so that each class, and the whole, is shared out as exactly as can be.

The units that are dealt are samples, or groups of samples that must stay together.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

RARE = 100
"""A class of so many samples counts twice as much as a very frequent one when parts are evened."""

_CANDIDATES = 64
_SMALLEST_GAIN = 1e-6


def ideal_shares(totals: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """What each part should get of each class.

    That is its share of the total. But a class with at least as many samples as there are parts
    owes each part one, at the cost of the first part.

    Args:
        totals: Shape (classes,), samples of each class.
        shares: Share of each part, adding up to 1.

    Returns:
        Shape (parts, classes), dtype float64; the columns add up to `totals`.
    """
    ideal = np.outer(shares, totals)
    ideal = np.where(totals >= len(shares), np.maximum(ideal, 1), ideal)
    ideal[0] -= ideal.sum(axis=0) - totals
    return ideal


def deal(counts: np.ndarray, folds: Sequence[int], seed: int) -> np.ndarray:
    """Deal units to parts by iterative stratification, and mend what is left uneven.

    The units are dealt into label-stratified folds, of which each part gets some. Then, as long
    as it brings the counts of two parts nearer to `ideal_shares`, one unit is moved between them
    or two are exchanged, the best such step first. Nearness is the sum, over parts, of the
    squared differences of all classes and of the number of samples, each times 1 + `RARE` / its
    total: rare classes leave the least choice and come first.

    Args:
        counts: Shape (units, columns), whole numbers: samples of each class in each unit, and
            in the last column its samples in all. At least as many units as folds.
        folds: Folds that each part gets.
        seed: The same seed gives the same parts.

    Returns:
        Shape (units,): the position in `folds` of each unit's part.

    Source: Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data" (2011),
    as implemented by iterative-stratification.
    """
    part = _dealt(counts[:, :-1] > 0, folds, seed)
    shares = np.array(folds) / sum(folds)
    return _mended(counts.astype(np.int64), part, ideal_shares(counts.sum(axis=0), shares))


def _dealt(present: np.ndarray, folds: Sequence[int], seed: int) -> np.ndarray:
    dealer = MultilabelStratifiedKFold(n_splits=sum(folds), shuffle=True, random_state=seed)
    part_of_fold = np.repeat(np.arange(len(folds)), folds)
    part = np.empty(len(present), dtype=np.int64)
    with warnings.catch_warnings():
        # Classes with fewer samples than folds are expected.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, held_out) in enumerate(dealer.split(present, present)):
            part[held_out] = part_of_fold[fold]
    return part


def _mended(counts: np.ndarray, part: np.ndarray, ideal: np.ndarray) -> np.ndarray:
    """Take the best move or exchange until none helps. Units of equal counts are alike."""
    part = part.copy()
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    kind = kind.ravel()
    scale = np.sqrt(1 + RARE / np.maximum(counts.sum(axis=0), 1))
    kinds = np.vstack((kinds, np.zeros_like(counts[0]))) * scale  # the last: nothing in exchange
    squares = np.square(kinds).sum(axis=1)
    dealt = np.stack([counts[part == number].sum(axis=0) for number in range(len(ideal))])
    surplus = (dealt - ideal) * scale
    stock = np.zeros((len(kinds), len(ideal)), dtype=np.int64)
    np.add.at(stock, (kind, part), 1)
    stock[-1] = 1
    pairs = [(a, b) for a in range(len(ideal)) for b in range(a + 1, len(ideal))]
    while True:
        steps = [(*_best_exchange(kinds, squares, surplus, stock, a, b), a, b) for a, b in pairs]
        change, given, taken, a, b = min(steps)
        if change > -_SMALLEST_GAIN:
            return part
        for moved, source, goal in ((given, a, b), (taken, b, a)):
            if moved < len(kinds) - 1:
                part[np.flatnonzero((kind == moved) & (part == source))[0]] = goal
                stock[moved, source] -= 1
                stock[moved, goal] += 1
                surplus[source] -= kinds[moved]
                surplus[goal] += kinds[moved]


def _best_exchange(
    kinds: np.ndarray,
    squares: np.ndarray,
    surplus: np.ndarray,
    stock: np.ndarray,
    a: int,
    b: int,
) -> tuple[float, int, int]:
    """The best exchange of a unit of part `a` for one of `b`: change of the sum, both kinds.

    With d the surplus of `b` over that of `a`, giving x for y changes the sum of squares by
    2 (x - y)·d + 2 |x - y|². Of each side the kinds with the best first term are tried.
    """
    slope = kinds @ (surplus[b] - surplus[a])
    given, taken = np.flatnonzero(stock[:, a]), np.flatnonzero(stock[:, b])
    given = given[np.argsort(slope[given], kind="stable")[:_CANDIDATES]]
    taken = taken[np.argsort(-slope[taken], kind="stable")[:_CANDIDATES]]
    square = squares[given][:, None] + squares[taken] - 2 * kinds[given] @ kinds[taken].T
    change = 2 * (slope[given][:, None] - slope[taken] + square)
    best = int(change.argmin())
    x, y = divmod(best, len(taken))
    return float(change.flat[best]), int(given[x]), int(taken[y])
