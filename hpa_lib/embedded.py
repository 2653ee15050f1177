"""The synthetic dataset that the notebooks use where no data folder is given."""

from pathlib import Path

from hpa_lib import paths, synthetic

SEED = 0
"""Seed of the images: they stay the same whatever seed a training uses."""


def write_embedded(samples: int, size: int, micrometres: float) -> Path:
    """Write the embedded dataset below `paths.data_folder`, unless it is there already.

    Args:
        samples: Number of samples.
        size: Height and width of the images in pixels.
        micrometres: Height and width of what they show; see `synthetic.write_dataset`.

    Returns:
        The dataset's folder, in the Kaggle layout.

    Raises:
        HpaError: If the data folder can't be written.
    """
    name = f"synthetic-{samples}-{size}-{micrometres:g}um-v{synthetic.GENERATOR_VERSION}"
    folder = paths.data_folder() / name
    with paths.writing_data():
        return synthetic.write_dataset(
            folder, samples, seed=SEED, size=size, micrometres=micrometres
        )
