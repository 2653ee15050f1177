"""Place samples on a plane so that samples which a network finds alike lie close together.

Embeddings are scaled to unit length, so that distances follow the cosine as in
`hpa_lib.neighbours`, reduced by PCA and placed by t-SNE. What such a map can't show:

* Only near neighbourhoods have a meaning. The distance between clusters, their size and their
  density depend on the perplexity and on the start; the axes mean nothing.
* Clusters may appear in data without any, and 512 dimensions don't fit into two: some neighbours
  are torn apart, others pushed together. `EmbeddingMap.trustworthiness` says how many of the
  latter there are.

The same embeddings and seed give the same map on one machine; other processors round differently,
which t-SNE amplifies.

Sources: van der Maaten and Hinton, "Visualizing data using t-SNE" (2008); van der Maaten,
"Accelerating t-SNE using tree-based algorithms" (2014), whose rule is 3 · perplexity < samples;
trustworthiness from Venna and Kaski, "Neighborhood preservation in nonlinear projection methods"
(2001).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.preprocessing import normalize

from hpa_lib import wording

MOST_POINTS = 300
"""Samples on a map; of more a random draw is placed. As many pictures fit into a notebook."""

MOST_COMPONENTS = 50
"""Principal components that t-SNE starts from, as its authors do."""

HIGHEST_PERPLEXITY = 30.0
LOWEST_PERPLEXITY = 5.0
"""Range of the perplexity, roughly the number of neighbours that t-SNE attends to. With n samples
it is (n - 1) / 3 at most; where that falls below the range, principal components are shown."""

NEIGHBOURS = 10
"""Neighbours that trustworthiness looks at; with n samples (n - 1) / 2 at most."""


@dataclass(frozen=True)
class EmbeddingMap:
    """Samples on a plane.

    Attributes:
        rows: Which samples are placed, ascending, shape (points,).
        positions: Their places, shape (points, 2), dtype float64.
        samples: Samples that the points were drawn from.
        perplexity: That of t-SNE; None where the map shows the first two principal components.
        components: Principal components kept before.
        explained: Share of the variance that they explain; None where all embeddings are equal.
        trustworthiness: How far neighbours on the map are neighbours of the embeddings, from 0 to
            1; None for fewer than four different embeddings.
        by_chance: The same with the places shuffled.
        neighbours: Neighbours that both look at.
    """

    rows: np.ndarray
    positions: np.ndarray
    samples: int
    perplexity: float | None
    components: int
    explained: float | None
    trustworthiness: float | None
    by_chance: float | None
    neighbours: int

    def values(self) -> dict[str, Any]:
        """How the map was made and how far to trust it, for ``metrics.json``."""
        names = ("perplexity", "components", "explained", "trustworthiness", "by_chance")
        return {"points": len(self.rows)} | {name: getattr(self, name) for name in names}


def place(features: np.ndarray, seed: int = 0) -> EmbeddingMap:
    """Place embeddings on a plane.

    Args:
        features: Embeddings, shape (samples, features), at least one sample and two features.
        seed: Seed of the draw where there are more than `MOST_POINTS` samples, and of t-SNE.
    """
    generator = np.random.default_rng(seed)
    count = min(len(features), MOST_POINTS)
    rows = np.sort(generator.choice(len(features), count, replace=False))
    unit = normalize(features[rows].astype(np.float64))
    different = len(np.unique(unit, axis=0))
    if different == 1:
        nowhere = np.zeros((count, 2))
        return EmbeddingMap(rows, nowhere, len(features), None, 0, None, None, None, 0)
    perplexity = min(HIGHEST_PERPLEXITY, (different - 1) / 3)
    by_tsne = perplexity >= LOWEST_PERPLEXITY
    pca = PCA(min(MOST_COMPONENTS if by_tsne else 2, *unit.shape), svd_solver="full")
    components = pca.fit_transform(unit)
    if by_tsne:
        tsne = TSNE(perplexity=perplexity, init="pca", method="exact", random_state=seed)
        positions = tsne.fit_transform(components).astype(np.float64)
    else:
        positions = components
    neighbours = min(NEIGHBOURS, (count - 1) // 2)
    trusted = by_chance = None
    if different > 3:
        trusted, by_chance = (
            float(trustworthiness(unit, places, n_neighbors=neighbours))
            for places in (positions, generator.permutation(positions))
        )
    return EmbeddingMap(
        rows,
        positions,
        len(features),
        perplexity if by_tsne else None,
        components.shape[1],
        float(pca.explained_variance_ratio_.sum()),
        trusted,
        by_chance,
        neighbours,
    )


def sentences(placed: EmbeddingMap) -> list[str]:
    """Say how the map was made, and how far its neighbourhoods can be trusted."""
    points = f"{len(placed.rows):,} samples"
    if len(placed.rows) < placed.samples:
        points = f"{points}, drawn at random from {placed.samples:,},"
    if placed.explained is None:
        return [f"The network gives the {points} one and the same embedding: the map is one point."]
    reduced = (
        f"{placed.components} principal components with {wording.percent(placed.explained)} of "
        "the variance"
    )
    if placed.perplexity is None:
        said = [f"The map of {points} shows {reduced}: t-SNE needs more different samples."]
    else:
        said = [
            f"The map places {points} by t-SNE with perplexity {placed.perplexity:.3g} from "
            f"{reduced}. Its axes, and distances between clusters, have no meaning."
        ]
    if placed.trustworthiness is not None:
        found, chance = wording.numbers(placed.trustworthiness, placed.by_chance)
        said.append(
            f"Its trustworthiness over {placed.neighbours} neighbours is {found}, where 1 means "
            "that whatever lies together on the map is alike to the network, and the same places "
            f"shuffled reach {chance}."
        )
    return said
