import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_lib import labels
from hpa_lib.errors import HpaError

LABEL_SETS = st.sets(st.integers(0, 27)).map(lambda indices: tuple(sorted(indices)))


# The list on the data page of the competition.
COMPETITION = """
0. Nucleoplasm, 1. Nuclear membrane, 2. Nucleoli, 3. Nucleoli fibrillar center,
4. Nuclear speckles, 5. Nuclear bodies, 6. Endoplasmic reticulum, 7. Golgi apparatus,
8. Peroxisomes, 9. Endosomes, 10. Lysosomes, 11. Intermediate filaments, 12. Actin filaments,
13. Focal adhesion sites, 14. Microtubules, 15. Microtubule ends, 16. Cytokinetic bridge,
17. Mitotic spindle, 18. Microtubule organizing center, 19. Centrosome, 20. Lipid droplets,
21. Plasma membrane, 22. Cell junctions, 23. Mitochondria, 24. Aggresome, 25. Cytosol,
26. Cytoplasmic bodies, 27. Rods & rings
"""


def test_28_names_in_the_order_of_the_competition():
    numbered = [f"{index}. {name}" for index, name in enumerate(labels.CLASS_NAMES)]
    assert numbered == " ".join(COMPETITION.split()).split(", ")
    assert labels.CLASS_COUNT == 28


def test_training_set_counts_add_up_to_all_labels_of_the_competition():
    assert len(labels.TRAINING_SET_COUNTS) == 28
    assert sum(labels.TRAINING_SET_COUNTS) == 50_782


@pytest.mark.real_images
def test_training_set_counts_are_those_of_the_real_table(real_images):
    lines = (real_images / "labels" / "train_full.csv").read_text().split()
    found = [int(entry.split(",")[-1]) for entry in lines[1:]]
    assert tuple(np.bincount(found, minlength=28)) == labels.TRAINING_SET_COUNTS


@given(LABEL_SETS)
def test_parse_reads_what_format_writes(indices):
    assert labels.parse_target(labels.format_target(indices)) == indices


@given(st.permutations(range(28)))
def test_parse_sorts(order):
    assert labels.parse_target("  ".join(map(str, order))) == tuple(range(28))


@pytest.mark.parametrize("text", ["28", "-1", "0 28", "1.0", "a", "1,2", "0x1", "²", "٣", "+1"])
def test_parse_refuses_what_is_no_class_index(text):
    with pytest.raises(HpaError, match="0 to 27") as caught:
        labels.parse_target(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, 1.5, float("nan"), (1, 2)])
def test_parse_refuses_what_is_no_text(value):
    with pytest.raises(HpaError, match="must be text"):
        labels.parse_target(value)


def test_parse_refuses_a_repeated_class():
    with pytest.raises(HpaError, match=r"'3 1 3'.*twice"):
        labels.parse_target("3 1 3")


def test_format_is_ascending_and_empty_for_no_class():
    assert labels.format_target([16, 0]) == "0 16"
    assert labels.format_target([]) == ""


def test_class_names_in_words():
    assert labels.class_names((25, 0)) == "Nucleoplasm, Cytosol"
    assert labels.class_names(()) == "(no class)"


def test_multi_hot_worked_out_by_hand():
    array = labels.to_multi_hot([(0, 27), (), (3,)])
    assert array.shape == (3, 28)
    assert array.dtype == np.uint8
    assert np.argwhere(array).tolist() == [[0, 0], [0, 27], [2, 3]]
    assert array.max() == 1


@given(st.lists(LABEL_SETS, max_size=8))
def test_multi_hot_round_trip(label_sets):
    assert labels.from_multi_hot(labels.to_multi_hot(label_sets)) == label_sets
