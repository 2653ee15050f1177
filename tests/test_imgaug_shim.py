import subprocess
import sys

import numpy as np

from hpa_lib.imgaug_shim import iaa, imgaug


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_imgaug_is_the_original():
    assert imgaug.__version__ == "0.4.0"


def test_imgaug_needs_the_shim_on_this_numpy():
    result = python("import imgaug")
    assert result.returncode
    assert "sctypes" in result.stderr


def test_shim_imports_imgaug_without_warnings_in_a_fresh_process():
    result = python("from hpa_lib.imgaug_shim import iaa; iaa.Fliplr(1.0)")
    assert (result.returncode, result.stderr) == (0, "")


def test_shim_keeps_the_names_that_numpy_has():
    assert np.bool is np.bool_
    assert np.sctypes["uint"] == [np.uint8, np.uint16, np.uint32, np.uint64]


def test_other_augmenters_work_too():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for augmenter in (iaa.GaussianBlur(1.0), iaa.Multiply(1.2), iaa.Affine(rotate=33), iaa.Rot90()):
        assert augmenter.augment_image(image).dtype == np.uint8
