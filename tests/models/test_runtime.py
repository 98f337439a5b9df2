import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from imaging.errors import InferenceFailed, PackageInvalid, SetupError
from models.device import CPU, Device, chosen, usable
from models.package import read_package
from models.runtime import OnnxSession, Sessions, open_sessions
from tests.models.networks import CLASSIFICATION, SEGMENTATION, classifier, segmenter, write_package

GPU = Device(name="cuda:0", provider="CUDAExecutionProvider")
IMAGE = np.ones((1, 1, 2, 3, 4), np.float32)


@pytest.fixture
def package(tmp_path):
    return read_package(write_package(tmp_path / "package", SEGMENTATION, segmenter()))


@dataclass
class Loader:
    """Loads real networks; on the GPU they fail at run time, or at loading with `no_gpu`."""

    no_gpu: bool = False
    loaded: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def __call__(self, package, device, threads):
        self.loaded.append(device.name)
        if device == GPU and self.no_gpu:
            msg = "no such device"
            raise InferenceFailed(msg)
        return Watched(self, device, OnnxSession(package, CPU, threads))


@dataclass
class Watched:
    loader: Loader
    device: Device
    network: OnnxSession

    def run(self, array):
        self.loader.runs.append(self.device.name)
        if self.device == GPU:
            msg = "out of memory"
            raise InferenceFailed(msg)
        self.loader.at_once += 1
        self.loader.most_at_once = max(self.loader.most_at_once, self.loader.at_once)
        time.sleep(0.02)
        self.loader.at_once -= 1
        return self.network.run(array)


def test_array_in_array_out(package):
    runner = open_sessions("cpu", threads=1).runner(package)
    np.testing.assert_array_equal(runner(IMAGE), IMAGE)
    assert runner.seconds > 0


def test_any_array_is_made_what_onnx_takes(package):
    runner = Sessions(threads=1).runner(package)
    turned = np.arange(24.0).reshape(1, 1, 2, 3, 4).transpose(0, 1, 4, 3, 2)
    np.testing.assert_array_equal(runner(turned), turned)


def test_a_network_is_loaded_once(package):
    loader = Loader()
    sessions = Sessions(devices=(CPU,), opener=loader)
    sessions.load(package)
    for _ in range(3):
        sessions.runner(package)(IMAGE)
    assert loader.loaded == ["cpu"]


def test_other_weights_are_another_network(package, tmp_path):
    loader = Loader()
    sessions = Sessions(devices=(CPU,), opener=loader)
    text = SEGMENTATION + "# other\n"
    other = read_package(write_package(tmp_path / "other", text, segmenter()))
    sessions.load(package)
    sessions.load(other)
    assert loader.loaded == ["cpu", "cpu"]


def test_a_device_that_fails_is_left_for_the_rest_of_the_prediction(package):
    loader = Loader()
    sessions = Sessions(devices=(GPU, CPU), opener=loader)
    runner = sessions.runner(package)
    for _ in range(2):
        np.testing.assert_array_equal(runner(IMAGE), IMAGE)
    assert loader.runs == ["cuda:0", "cpu", "cpu"]

    sessions.runner(package)(IMAGE)  # the next prediction tries the fast device again
    assert loader.runs[3:] == ["cuda:0", "cpu"]


def test_a_device_that_cannot_load_is_left(package):
    loader = Loader(no_gpu=True)
    result = Sessions(devices=(GPU, CPU), opener=loader).runner(package)(IMAGE)
    np.testing.assert_array_equal(result, IMAGE)
    assert loader.runs == ["cpu"]


def test_warming_up_goes_on_to_the_device_that_works(package):
    loader = Loader(no_gpu=True)
    sessions = Sessions(devices=(GPU, CPU), opener=loader)
    sessions.load(package)
    assert loader.loaded == ["cuda:0", "cpu"]
    loader.no_gpu = False
    sessions.load(package)
    assert loader.loaded == ["cuda:0", "cpu", "cuda:0"]


def test_a_device_runs_one_call_at_a_time(package):
    loader = Loader()
    sessions = Sessions(devices=(CPU,), opener=loader)
    threads = [threading.Thread(target=sessions.runner(package), args=(IMAGE,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loader.runs) == 4
    assert loader.most_at_once == 1
    assert loader.loaded == ["cpu"]


def test_an_input_the_network_cannot_take_is_a_failed_inference(tmp_path):
    folder = write_package(tmp_path / "package", CLASSIFICATION, classifier())
    runner = Sessions(threads=1).runner(read_package(folder))
    with pytest.raises(InferenceFailed, match="shape"):
        runner(IMAGE)


def test_a_file_that_is_no_network_is_an_invalid_package(package):
    package.weights.write_bytes(b"not a network")
    with pytest.raises(PackageInvalid, match="cannot be loaded"):
        Sessions(threads=1).runner(package)(IMAGE)


def test_devices_by_preference():
    both = ["CPUExecutionProvider", "CUDAExecutionProvider", "AzureExecutionProvider"]
    assert usable(both) == (GPU, CPU)
    assert chosen("auto", both) == (GPU, CPU)
    assert chosen("cuda", both) == (GPU, CPU)
    assert chosen("cpu", both) == (CPU,)
    assert chosen("auto", both[:1]) == (CPU,)
    with pytest.raises(SetupError, match="no cuda device"):
        chosen("cuda", both[:1])
