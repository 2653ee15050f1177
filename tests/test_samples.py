import dataclasses

import numpy as np
import pytest

from hpa_lib import samples
from hpa_lib.errors import HpaError


def test_source_table_compares_several_sources(tiny):
    joined = dataclasses.replace(tiny, sources=("b",) * 10 + ("a",) * 14)
    table = samples.source_table(joined, 100, seed=0)
    assert table.index.tolist() == ["a", "b"]
    assert table["samples"].tolist() == [14, 10]
    pixels = np.stack([tiny.read_sample(row) for row in range(10)]) / 255
    np.testing.assert_allclose(
        table.loc["b"].to_numpy()[2:].astype(float), pixels.mean(axis=(0, 1, 2))
    )
    sizes = tiny.multi_hot[10:].sum(axis=1)
    np.testing.assert_allclose(table.loc["a", "labels per sample"], sizes.mean())


def test_source_table_of_one_source_reads_no_image(tiny, monkeypatch):
    monkeypatch.setattr(type(tiny), "read_sample", None)
    table = samples.source_table(tiny, 100, seed=0)
    assert table.columns.tolist() == ["samples", "labels per sample"]
    assert table.index.tolist() == ["tiny"]


def test_a_row_beyond_the_last_is_refused(tiny):
    assert samples.check_row(tiny, len(tiny) - 1) == len(tiny) - 1
    with pytest.raises(HpaError, match=f"sample is {len(tiny)}, and .* has {len(tiny)} samples"):
        samples.check_row(tiny, len(tiny))
