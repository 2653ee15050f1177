"""TensorFlow and Keras, imported without TensorFlow's start-up chatter.

TensorFlow's C++ side writes lines about oneDNN and missing CUDA drivers straight to the
process's standard error before its log level can be set. They would stand in every executed
notebook. Here they are held back during the import, and shown if it fails:

    from hpa_lib.backend import keras, tf
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _quiet_standard_error() -> Iterator[None]:
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(kept, held_back.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with _quiet_standard_error():
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # the search for a GPU writes its own lines

__all__ = ["keras", "tf"]
