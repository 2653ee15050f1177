"""Keep the samples that were looked at last, and decode those that are likely next ahead."""

from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import cv2
import numpy as np

from hpa_lib.dataset import Dataset
from hpa_lib.images import CHANNELS


class DecodedSamples:
    """Samples of a dataset by row, decoded when asked for and kept for a while.

    Args:
        dataset: The dataset.
        limit: Where more bytes are kept, the samples asked for longest ago are dropped when the
            next one is asked for; at least one is kept.
    """

    def __init__(self, dataset: Dataset, limit: int = 256 * 2**20) -> None:
        self._dataset = dataset
        self._limit = limit
        self._kept: OrderedDict[int, Future[np.ndarray]] = OrderedDict()
        self._lock = Lock()
        # One sample that is waited for, and two ahead; the channels of each side by side.
        self._readers = ThreadPoolExecutor(3, "hpa-sample")
        self._decoders = ThreadPoolExecutor(len(CHANNELS), "hpa-channel")

    def __getitem__(self, row: int) -> np.ndarray:
        """The four channels of a sample; see `Dataset.read_sample`.

        A sample that can't be read isn't remembered: its files may be mended.

        Raises:
            HpaError: If an image can't be read.
        """
        return self._begun(row).result()

    def read_ahead(self, rows: Iterable[int]) -> None:
        """Begin to decode samples that will be asked for soon, without waiting for them."""
        for row in rows:
            self._begun(row)

    def _begun(self, row: int) -> Future[np.ndarray]:
        with self._lock:
            future = self._kept.get(row)
            if future is None or (future.done() and future.exception()):
                future = self._kept[row] = self._readers.submit(self._read, row)
            self._kept.move_to_end(row)
            self._forget()
            return future

    def _read(self, row: int) -> np.ndarray:
        return cv2.merge(self._dataset.read_channels(row, self._decoders))

    def _forget(self) -> None:
        total = sum(map(_bytes, self._kept.values()))
        for row in list(self._kept)[:-1]:
            size = _bytes(self._kept[row])
            if total <= self._limit:
                return
            if size:
                total -= size
                del self._kept[row]


def _bytes(future: "Future[np.ndarray]") -> int:
    """Bytes of a sample; 0 while it is being decoded or if it can't be."""
    return future.result().nbytes if future.done() and not future.exception() else 0
