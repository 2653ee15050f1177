"""Let imgaug 0.4.0 be imported on numpy 2.

imgaug 0.4.0 is the last release (2020). It reads three names that numpy 2 removed:
``np.sctypes`` at import time, ``np.bool`` and ``np.complex`` in some augmenters (``np.bool``
returned in numpy 2 with another meaning that serves here). This module restores the missing
ones, and must be imported before imgaug:

    from hpa_lib.imgaug_shim import iaa

Of imgaug's augmenters only ``ElasticTransformation`` still fails afterwards. The forks of imgaug
on the package index are republished by others and fail more, so the original stays in use.
"""

import warnings

import numpy as np

_REMOVED_NAMES = {
    "bool": np.bool_,
    "complex": complex,
    "sctypes": {
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64],
        "complex": [np.complex64, np.complex128],
        "others": [bool, object, bytes, str, np.void],
    },
}

for _name, _value in _REMOVED_NAMES.items():
    if _name not in np.__dict__:
        setattr(np, _name, _value)

with warnings.catch_warnings():
    # imgaug imports names that its own dependencies have deprecated since.
    warnings.simplefilter("ignore")
    import imgaug
    from imgaug import augmenters as iaa

__all__ = ["iaa", "imgaug"]
