import pytest

from hpa_lib import costs, parameters, sweep_resources
from hpa_lib.costs import NetworkCost
from hpa_lib.sweeps import Member


def member(**given):
    values = parameters.validate(
        "3_train_vgg",
        {"split": "fold 1 of 2", "batch_size": 10, "stages": [{"epochs": 3, "learning_rate": 1e-3}]}
        | given,
    )
    return Member("3_train_vgg", {}, values, "VGG16")


@pytest.fixture
def counted(monkeypatch):
    """A network of a mebi of weights: 100 MiB an image, 10⁹ multiply-adds, 3·10⁹ in training."""
    cost = NetworkCost(2**20, 1_000_000_000, 3_000_000_000, 100 * 2**20)
    monkeypatch.setattr(costs, "network", lambda values, channels: cost)


def test_a_training_on_the_processor_holds_its_activations_in_memory(counted):
    found = sweep_resources.count(member(device="cpu"), 1000)
    # 3,000 for the process, 16 for weights, gradients and Adam, 10 images of 100.
    assert found.mem_mb == round(1.5 * (3000 + 16 + 1000))


def test_a_training_on_a_gpu_holds_its_activations_there(counted):
    found = sweep_resources.count(member(device="gpu"), 1000)
    assert found.mem_mb == round(1.5 * (3000 + 4000 + 16))


def test_run_time_follows_from_multiply_adds(counted):
    found = sweep_resources.count(member(device="cpu", vgg_cpu_threads=2, all_views=True), 100_000)
    # Three epochs of 60,000 images with a validation of 10,000, and 40,000 images in eight views.
    work = 3 * (60_000 * 3e9 + 10_000 * 1e9) + 40_000 * 8 * 1e9
    assert found.runtime == round(1.5 * work / (2 * 5e9) / 60)
    fewer = member(device="cpu", vgg_cpu_threads=2, all_views=True, steps_per_epoch=100)
    work = 3 * (1_000 * 3e9 + 10_000 * 1e9) + 40_000 * 8 * 1e9
    assert sweep_resources.count(fewer, 100_000).runtime == round(1.5 * work / (2 * 5e9) / 60)


def test_a_short_training_gets_half_an_hour(counted):
    assert sweep_resources.count(member(device="gpu"), 100).runtime == 30


def test_threads_and_gpus_come_from_the_parameters():
    assert member(vgg_cpu_threads=3).threads == 3
    assert member(vgg_cpu_threads=-1, cpu_threads=5).threads == 5
    assert member(vgg_cpu_threads=0).threads == 8
    assert (member(device="cpu").gpus, member(device="auto").gpus) == (0, 1)
