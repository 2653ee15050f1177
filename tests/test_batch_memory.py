import gc

import numpy as np

from hpa_lib import batch_memory


def address(array):
    return array.__array_interface__["data"][0]


def test_arrays_have_the_asked_shape_and_can_be_written():
    array = batch_memory.empty((3, 5, 5, 4), np.dtype(np.float32))
    array[:] = 2
    assert array.shape == (3, 5, 5, 4)
    assert array.dtype == np.float32
    assert array.sum() == 600


def test_begins_where_tensorflow_takes_it_over():
    assert address(batch_memory.empty((7, 3), np.uint8)) % 64 == 0


def test_memory_is_used_again_only_after_the_last_view_is_gone():
    first = batch_memory.empty((11, 13, 17), np.uint8)
    first[:] = 1
    place, view = address(first), first[2, ::2]
    del first
    gc.collect()
    second = batch_memory.empty((11, 13, 17), np.uint8)
    second[:] = 2
    assert address(second) != place
    assert (view == 1).all()
    del view
    gc.collect()
    assert address(batch_memory.empty((11, 13, 17), np.uint8)) == place


def test_arrays_in_use_never_share_memory():
    arrays = [batch_memory.empty((100, 10), np.uint8) for _ in range(20)]
    for number, array in enumerate(arrays):
        array[:] = number
    assert [int(array[0, 0]) for array in arrays] == list(range(20))
