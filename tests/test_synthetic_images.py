"""Patterns, cells and whole samples of the synthetic dataset."""

import functools

import cv2
import numpy as np
import pytest

from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.synthetic_cells import METAPHASE, draw_cell_line, draw_field
from hpa_lib.synthetic_images import draw_sample
from hpa_lib.synthetic_labels import draw_label_sets
from hpa_lib.synthetic_patterns import PATTERNS, Stage

CLASS = {name: index for index, name in enumerate(CLASS_NAMES)}


# Patterns, drawn without the microscope


@functools.cache
def stage_and_pattern(name, seed=11):
    rng = np.random.default_rng(seed)
    line = draw_cell_line(rng, touching=name == "Cell junctions", spread=False)
    field = draw_field(
        rng, 512, line, metaphase=name == "Mitotic spindle", daughters=name == "Cytokinetic bridge"
    )
    stage = Stage(field, rng)
    return stage, PATTERNS[CLASS[name]](stage)


def mean_where(image, mask):
    assert mask.sum() > 50
    return image[mask].mean()


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_every_pattern_glows_inside_cells_only(name):
    stage, image = stage_and_pattern(name)
    assert image.shape == (512, 512)
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert 0.3 < image.max() < 4
    cells = (stage.field.labels > 0).astype(np.uint8)
    far_outside = cv2.dilate(cells, np.ones((17, 17), np.uint8)) == 0
    if far_outside.sum() > 50:
        assert mean_where(image, far_outside) < 0.15 * mean_where(image, stage.field.labels > 0)


def test_patterns_differ():
    rng = np.random.default_rng(5)
    line = draw_cell_line(rng, touching=True, spread=False)
    stage = Stage(draw_field(rng, 256, line, metaphase=True, daughters=True), rng)
    correlation = np.corrcoef([pattern(stage).ravel() for pattern in PATTERNS])
    np.fill_diagonal(correlation, 0)
    assert correlation.max() < 0.95


@pytest.mark.parametrize(
    "name",
    ["Nucleoplasm", "Nuclear membrane", "Nucleoli", "Nucleoli fibrillar center",
     "Nuclear speckles", "Nuclear bodies"],
)  # fmt: skip
def test_nuclear_patterns_glow_in_nuclei(name):
    stage, image = stage_and_pattern(name)
    field = stage.field
    inside, outside = field.nucleus > 0.5, (field.cytoplasm > 0.5) & (field.nucleus_distance > 2)
    assert mean_where(image, inside) > 5 * mean_where(image, outside)


@pytest.mark.parametrize(
    "name",
    ["Endoplasmic reticulum", "Golgi apparatus", "Peroxisomes", "Endosomes", "Lysosomes",
     "Intermediate filaments", "Focal adhesion sites", "Microtubules", "Microtubule ends",
     "Lipid droplets", "Mitochondria", "Cytosol", "Cytoplasmic bodies"],
)  # fmt: skip
def test_cytoplasmic_patterns_spare_the_nucleus(name):
    stage, image = stage_and_pattern(name)
    field = stage.field
    assert mean_where(image, field.nucleus_depth > 2) < 0.6 * mean_where(
        image, field.cytoplasm > 0.5
    )


def test_nucleoplasm_spares_nucleoli_and_nucleoli_do_the_reverse():
    for name, low, high in (("Nucleoplasm", 0.0, 0.6), ("Nucleoli", 3.0, np.inf)):
        stage, image = stage_and_pattern(name)
        field = stage.field
        nucleoli = mean_where(image, field.nucleoli > 0.9)
        rest = mean_where(image, (field.nucleus > 0.9) & (field.nucleoli < 0.1))
        assert low < nucleoli / rest < high


def test_nuclear_membrane_is_a_rim():
    stage, image = stage_and_pattern("Nuclear membrane")
    depth = stage.field.nucleus_depth
    assert mean_where(image, (depth > 0.1) & (depth < 0.9)) > 3 * mean_where(image, depth > 2)


def test_fibrillar_centres_are_spots_within_nucleoli():
    stage, image = stage_and_pattern("Nucleoli fibrillar center")
    bright = image > 0.5 * image.max()
    assert stage.field.nucleoli[bright].mean() > 0.5
    assert bright.sum() < 0.5 * (stage.field.nucleoli > 0.5).sum()


@pytest.mark.parametrize(
    ("name", "largest_share"),
    [("Centrosome", 0.02), ("Nuclear bodies", 0.02), ("Cytoplasmic bodies", 0.04),
     ("Rods & rings", 0.1), ("Aggresome", 0.06), ("Cytokinetic bridge", 0.01)],
)  # fmt: skip
def test_rare_structures_cover_little_of_the_cells(name, largest_share):
    stage, image = stage_and_pattern(name)
    bright = image > 0.4 * np.quantile(image, 0.9999)
    assert 0 < bright.sum() < largest_share * (stage.field.labels > 0).sum()


def test_golgi_and_aggresomes_lie_beside_the_nucleus():
    for name in ("Golgi apparatus", "Aggresome", "Microtubule organizing center", "Lysosomes"):
        stage, image = stage_and_pattern(name)
        bright = (image > 0.5) & (stage.field.labels > 0)
        assert np.median(stage.field.nucleus_distance[bright]) < 6


def test_membrane_patterns_follow_the_outline():
    for name in ("Plasma membrane", "Focal adhesion sites", "Microtubule ends"):
        stage, image = stage_and_pattern(name)
        edge = stage.field.edge_distance
        rim = (edge > 0) & (edge < 4)
        assert mean_where(image, rim) > 2 * mean_where(image, edge > 6)


def test_cell_junctions_leave_free_edges_dark():
    stage, image = stage_and_pattern("Cell junctions")
    field = stage.field
    rim = (field.edge_distance > 0) & (field.edge_distance < 0.8)
    touching = mean_where(image, rim & (field.contact > 0.9))
    assert touching > 4 * mean_where(image, rim & (field.contact < 0.1))


def test_spindle_lies_in_a_dividing_cell_without_nucleus():
    stage, image = stage_and_pattern("Mitotic spindle")
    field = stage.field
    dividing = np.isin(field.labels, np.flatnonzero(field.state == METAPHASE))
    assert dividing[image > 0.5].mean() > 0.95
    assert field.nucleus[dividing].mean() < 0.02
    assert field.chromosomes[dividing].mean() > 0.05


def test_bridge_joins_two_cells():
    stage, image = stage_and_pattern("Cytokinetic bridge")
    for start, stop in stage.field.bridges:
        points = start + np.linspace(0, 1, 15)[:, None] * (stop - start)
        points = points[((points > 0) & (points < 511)).all(1)]
        assert stage.field.sample(image, points).min(initial=1.0) > 0.3


def test_actin_fibres_run_along_the_cells():
    """The structure tensor of straight parallel fibres is more anisotropic than of wavy ones."""

    def anisotropy(name):
        stage, image = stage_and_pattern(name)
        down, across = np.gradient(image)
        values = []
        for cell in stage.field.cells:
            deep = (stage.field.labels == cell) & (stage.field.edge_distance > 3)
            if deep.sum() > 500:
                tensor = np.cov(down[deep], across[deep])
                small, large = np.linalg.eigvalsh(tensor)
                values.append((large - small) / (large + small))
        return np.mean(values)

    assert anisotropy("Actin filaments") > 2 * anisotropy("Intermediate filaments")


# Whole images


def test_reference_channels_show_the_same_cells():
    sample = draw_sample((CLASS["Nucleoplasm"],), 0, 4).astype(float)
    nuclei = sample[..., 2] > 0.5 * np.quantile(sample[..., 2], 0.99)
    elsewhere = sample[..., 2] < 5
    smooth = cv2.GaussianBlur(sample, (0, 0), 2)
    cytoplasm = (smooth[..., 3] > 0.3 * np.quantile(smooth[..., 3], 0.95)) & elsewhere
    for channel in (0, 3):  # microtubules and reticulum leave the nucleus dark
        assert sample[..., channel][nuclei].mean() < 0.7 * sample[..., channel][cytoplasm].mean()
    assert sample[..., 1][nuclei].mean() > 5 * sample[..., 1][elsewhere].mean()


def test_cytosol_is_dark_in_the_nucleus_of_the_blue_channel():
    sample = draw_sample((CLASS["Cytosol"],), 0, 4).astype(float)
    nuclei = sample[..., 2] > 0.5 * np.quantile(sample[..., 2], 0.99)
    cytoplasm = (sample[..., 3] > 20) & (sample[..., 2] < 5)
    assert sample[..., 1][nuclei].mean() < 0.6 * sample[..., 1][cytoplasm].mean()


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_every_class_shows_in_the_green_channel(name):
    """In one of three samples at least: some fields are as good as black, as real ones are."""
    green = [draw_sample((CLASS[name],), 1, index, size=256)[..., 1] for index in range(3)]
    assert max(image.max() for image in green) > 60
    assert max(image.std() for image in green) > 0.8


def test_a_sample_depends_on_its_arguments_alone():
    sample = draw_sample((0, 25), 3, 17, size=128)
    assert sample.shape == (128, 128, 4)
    assert sample.dtype == np.uint8
    np.random.seed(1)
    draw_sample((7,), 3, 18, size=128)
    np.testing.assert_array_equal(sample, draw_sample((0, 25), 3, 17, size=128))
    for other in (((0, 25), 4, 17), ((0, 25), 3, 18), ((0, 7), 3, 17)):
        assert (sample != draw_sample(*other, size=128)).any()


@pytest.mark.parametrize(
    ("labels", "seed", "index", "size"),
    [((), 0, 0, 512), ((28,), 0, 0, 512), ((0,), -1, 0, 512), ((0,), 0, -1, 512),
     ((0,), 0, 0, 32)],
)  # fmt: skip
def test_a_sample_refuses_impossible_requests(labels, seed, index, size):
    with pytest.raises(HpaError):
        draw_sample(labels, seed, index, size)


def test_exposure_scales_the_light_and_leaves_the_cells_alone():
    bright, dark = (draw_sample((0, 25), 3, 17, 256, exposure=factor) for factor in (1.0, 0.5))
    np.testing.assert_array_equal(bright, draw_sample((0, 25), 3, 17, 256))
    for channel in range(4):
        first, second = (
            cv2.GaussianBlur(sample[..., channel].astype(np.float32), (0, 0), 3)
            for sample in (bright, dark)
        )
        lit = (first > 40) & (first < 120)
        assert lit.sum() > 100
        assert 0.4 < second[lit].mean() / first[lit].mean() < 0.55
        assert np.corrcoef(first[lit], second[lit])[0, 1] > 0.85


def test_half_the_field_shows_nuclei_of_four_times_the_area():
    def typical_area(micrometres):
        areas = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            line = draw_cell_line(rng, touching=False, spread=False)
            nuclei = draw_field(rng, 512, line, micrometres).nucleus > 0.5
            found = cv2.connectedComponentsWithStats(nuclei.astype(np.uint8))[2]
            areas += found[1:, cv2.CC_STAT_AREA].tolist()
        return np.median(areas)

    assert 2.8 < typical_area(82.0) / typical_area(164.0) < 4.5  # more are cut by the edge
    half, whole = (draw_sample((0,), 0, 1, 128, micrometres=side) for side in (82.0, 164.0))
    assert half.shape == whole.shape
    assert (half != whole).any()


@pytest.mark.parametrize("micrometres", [0.0, 39.0, 165.0, np.nan])
def test_impossible_fields_are_refused(micrometres):
    with pytest.raises(HpaError, match=r"micrometres is .*40 to 164"):
        draw_sample((0,), 0, 0, 64, micrometres=micrometres)


@pytest.mark.parametrize("exposure", [0.0, -1.0, np.inf, np.nan])
def test_impossible_exposures_are_refused(exposure):
    with pytest.raises(HpaError, match="exposure"):
        draw_sample((0,), 0, 0, 64, exposure=exposure)


def test_means_and_deviations_are_those_of_the_real_training_set():
    """Figures over all 31,072 samples of the Kaggle training set, on a scale from 0 to 1."""
    label_sets = draw_label_sets(100, 0)
    total, squares = np.zeros(4), np.zeros(4)
    for index, labels in enumerate(label_sets):
        pixels = draw_sample(labels, 0, index, size=256).reshape(-1, 4) / 255
        total += pixels.mean(0)
        squares += (pixels**2).mean(0)
    mean = total / len(label_sets)
    deviation = np.sqrt(squares / len(label_sets) - mean**2)
    np.testing.assert_allclose(mean, [0.0807, 0.0526, 0.0549, 0.0828], rtol=0.25)
    np.testing.assert_allclose(deviation, [0.137, 0.101, 0.153, 0.138], rtol=0.25)
