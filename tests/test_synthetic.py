"""The embedded synthetic dataset: labels, patterns, images and the folder they are written to."""

import functools
import json
import subprocess
import sys
import uuid
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from hpa_lib import synthetic
from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_COUNT, CLASS_NAMES, TRAINING_SET_COUNTS, to_multi_hot
from hpa_lib.synthetic import draw_label_sets, draw_sample, sample_id, write_dataset
from hpa_lib.synthetic_cells import METAPHASE, draw_cell_line, draw_field
from hpa_lib.synthetic_labels import COMMON_LABEL_SETS, LABEL_SET_SIZES
from hpa_lib.synthetic_patterns import PATTERNS, Stage

CLASS = {name: index for index, name in enumerate(CLASS_NAMES)}
TOTAL = 31072


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".synthetic.lock"
    }


# Label sets


def deviations(found, expected, samples):
    """Deviations from expected counts in binomial standard deviations."""
    expected = np.asarray(expected, float)
    return (found - expected) / np.sqrt(np.maximum(expected * (1 - expected / samples), 1e-9))


@pytest.mark.parametrize("seed", [0, 1])
def test_label_sets_follow_the_published_counts(seed):
    samples = 20_000
    drawn = draw_label_sets(samples, seed)
    share = samples / TOTAL
    classes = to_multi_hot(drawn).sum(0, dtype=int)
    assert np.abs(deviations(classes, np.array(TRAINING_SET_COUNTS) * share, samples)).max() < 4
    sizes = Counter(map(len, drawn))
    assert set(sizes) <= set(LABEL_SET_SIZES)
    for size, count in LABEL_SET_SIZES.items():
        assert abs(deviations(sizes[size], count * share, samples)) < 4
    sets = Counter(drawn)
    for labels, count in COMMON_LABEL_SETS.items():
        assert abs(deviations(sets[labels], count * share, samples)) < 4
    assert all(tuple(sorted(set(labels))) == labels for labels in drawn)


def test_published_counts_are_consistent():
    assert sum(LABEL_SET_SIZES.values()) == TOTAL
    assert sum(size * count for size, count in LABEL_SET_SIZES.items()) == sum(TRAINING_SET_COUNTS)


def test_balanced_label_sets_are_flat():
    samples = 20_000
    drawn = draw_label_sets(samples, 3, balance=True)
    expected = samples * sum(TRAINING_SET_COUNTS) / TOTAL / CLASS_COUNT
    assert np.abs(deviations(to_multi_hot(drawn).sum(0, dtype=int), expected, samples)).max() < 4


def test_label_sets_depend_on_the_seed_and_begin_alike():
    assert draw_label_sets(50, 5) == draw_label_sets(500, 5)[:50]
    assert draw_label_sets(50, 5) != draw_label_sets(50, 6)


@pytest.mark.parametrize(("samples", "seed"), [(0, 0), (-3, 0), (5, -1)])
def test_label_sets_refuse_impossible_requests(samples, seed):
    with pytest.raises(HpaError):
        draw_label_sets(samples, seed)


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
    green = draw_sample((CLASS[name],), 1, CLASS[name], size=256)[..., 1]
    assert green.max() > 40
    assert green.std() > 0.5


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


# The folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "set"
    assert write_dataset(folder, 10, 2, size=64, workers=1, progress=False) == folder
    return folder


def test_the_folder_has_the_kaggle_layout(written):
    header, *rows = (written / "train.csv").read_text().splitlines()
    assert header == "Id,Target"
    ids, targets = zip(*(row.split(",") for row in rows), strict=True)
    assert list(ids) == sorted(ids)
    assert set(ids) == {sample_id(2, index) for index in range(10)}
    assert all(str(uuid.UUID(sample)) == sample for sample in ids)
    by_id = dict(zip(ids, targets, strict=True))
    for index, labels in enumerate(draw_label_sets(10, 2)):
        assert tuple(map(int, by_id[sample_id(2, index)].split())) == labels
    assert {path.name for path in (written / "train").iterdir()} == {
        f"{sample}_{channel}.png"
        for sample in ids
        for channel in ("red", "green", "blue", "yellow")
    }


def test_the_images_are_those_of_draw_sample(written):
    labels = draw_label_sets(10, 2)[3]
    sample = draw_sample(labels, 2, 3, size=64)
    for channel, name in enumerate(("red", "green", "blue", "yellow")):
        with Image.open(written / "train" / f"{sample_id(2, 3)}_{name}.png") as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (64, 64))
            np.testing.assert_array_equal(np.asarray(image), sample[..., channel])


def test_images_have_512_pixels_by_default(tmp_path):
    write_dataset(tmp_path, 1, progress=False)
    for path in (tmp_path / "train").iterdir():
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (512, 512))


def test_the_number_of_processes_changes_nothing(written, tmp_path):
    write_dataset(tmp_path / "other", 10, 2, size=64, workers=2, progress=False)
    assert contents(tmp_path / "other") == contents(written)


def test_an_interrupted_folder_is_resumed(written, tmp_path, monkeypatch):
    drawn = []

    def failing(labels, seed, index, size):
        if len(drawn) == 4:
            raise KeyboardInterrupt
        drawn.append(index)
        return draw_sample(labels, seed, index, size)

    monkeypatch.setattr(synthetic, "draw_sample", failing)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, 10, 2, size=64, workers=1, progress=False)
    assert not (tmp_path / "train.csv").exists()
    assert len(list((tmp_path / "train").iterdir())) == 16
    # One image is missing and another was being written.
    (tmp_path / "train" / f"{sample_id(2, drawn[0])}_blue.png").unlink()
    (tmp_path / "train" / f"{sample_id(2, 4)}_red.part").write_bytes(b"\x89PNG")
    first, drawn = drawn, []

    def counting(labels, seed, index, size):
        drawn.append(index)
        return draw_sample(labels, seed, index, size)

    monkeypatch.setattr(synthetic, "draw_sample", counting)
    write_dataset(tmp_path, 10, 2, size=64, workers=1, progress=False)
    assert sorted(drawn) == sorted({*range(10)} - {*first[1:]})
    assert contents(tmp_path) == contents(written)


def test_a_finished_folder_is_left_alone(written, monkeypatch):
    def forbidden(*_):
        raise AssertionError

    before = contents(written)
    monkeypatch.setattr(synthetic, "draw_sample", forbidden)
    write_dataset(written, 10, 2, size=64, workers=1, progress=False)
    assert contents(written) == before


@pytest.mark.parametrize(
    ("samples", "seed", "options"),
    [(11, 2, {}), (10, 3, {}), (10, 2, {"size": 128}), (10, 2, {"balance": True})],
)
def test_other_settings_are_refused(written, samples, seed, options):
    before = contents(written)
    with pytest.raises(HpaError, match="other settings"):
        write_dataset(written, samples, seed, **({"size": 64, "progress": False} | options))
    assert contents(written) == before


def test_another_generator_version_is_refused(written, monkeypatch):
    monkeypatch.setattr(synthetic, "GENERATOR_VERSION", synthetic.GENERATOR_VERSION + 1)
    with pytest.raises(HpaError, match="other settings"):
        write_dataset(written, 10, 2, size=64, progress=False)


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(HpaError, match="no synthetic dataset"):
        write_dataset(tmp_path, 1, size=64, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(HpaError, match="is a file"):
        write_dataset(tmp_path / "thesis.txt", 1, size=64, progress=False)


def test_foreign_images_are_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "x_red.png").write_bytes(b"")
    with pytest.raises(HpaError, match="no synthetic dataset"):
        write_dataset(tmp_path, 1, size=64, progress=False)


@pytest.mark.parametrize("options", [{"size": 63}, {"workers": 0}])
def test_impossible_options_are_refused(tmp_path, options):
    with pytest.raises(HpaError):
        write_dataset(tmp_path / "new", 1, **options)
    assert not (tmp_path / "new").exists()


def test_settings_are_recorded(written):
    assert json.loads((written / "synthetic.json").read_text()) == {
        "samples": 10,
        "seed": 2,
        "size": 64,
        "balance": False,
        "generator_version": synthetic.GENERATOR_VERSION,
    }


def test_workers_do_not_load_tensorflow():
    code = "import sys, hpa_lib.synthetic; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
