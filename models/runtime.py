"""Array in, array out: networks on ONNX Runtime, kept loaded, one call at a time on each device."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from imaging.errors import InferenceFailed, ModelError, PackageInvalid
from imaging.geometry import Matrix
from models.bundle_session import BundleAnswer, BundleSession
from models.device import Device, chosen, usable
from models.manifest import Kind
from models.package import Package
from models.turns import OwnTurns, Turns

Array = NDArray[np.float32]

_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_RUN_ERRORS = (*_LOAD_ERRORS, ort_errors.EPFail)
_TYPES = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
_QUIET = 3  # ONNX Runtime log severity: errors only


class Session(Protocol):
    """A loaded network on one device."""

    def run(self, array: Array) -> Array:
        """Return the network's first output; raises `InferenceFailed`."""
        ...


Opener = Callable[[Package, Device, int], Session]


class OnnxSession:
    """A network loaded by ONNX Runtime; of several inputs each takes as many channels."""

    def __init__(self, package: Package, device: Device, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _QUIET
        try:
            self._session = onnxruntime.InferenceSession(
                package.weights, sess_options=options, providers=[device.provider]
            )
        except _LOAD_ERRORS as error:
            msg = f"the network cannot be loaded on {device.name}: {error}"
            raise PackageInvalid(msg) from error
        if device.provider not in self._session.get_providers():
            msg = f"{device.name} does not answer"
            raise InferenceFailed(msg)
        inputs = self._session.get_inputs()
        self._inputs = [(each.name, _TYPES.get(each.type, np.float32)) for each in inputs]
        names = [each.name for each in self._session.get_outputs()]
        self._output = package.manifest.inference.output or names[0]
        if self._output not in names:
            msg = f"inference.output is {self._output!r}, the network has {', '.join(names)}"
            raise PackageInvalid(msg)

    def run(self, array: Array) -> Array:
        """Return the network's answer, whatever its type as float32; raises `InferenceFailed`."""
        try:
            given = dict(self._given(array))
            (first,) = self._session.run([self._output], given)
        except _RUN_ERRORS as error:
            msg = f"the network failed on an input of shape {array.shape}: {error}"
            raise InferenceFailed(msg) from error
        return np.asarray(first, dtype=np.float32)

    def _given(self, array: Array) -> Iterator[tuple[str, NDArray[np.floating]]]:
        """Give every input its channels of (batch, channel, ...), in their order."""
        count = len(self._inputs)
        if count > 1 and array.shape[1] % count:
            msg = f"the network has {count} inputs, [[inputs]] gives {array.shape[1]} channels"
            raise InferenceFailed(msg)
        parts = np.split(array, count, axis=1) if count > 1 else [array]
        for (name, kind), part in zip(self._inputs, parts, strict=True):
            yield name, part.astype(kind, copy=False)


@dataclass(slots=True)
class Sessions:
    """Loaded networks by package digest and device.

    Each device runs one network at a time: two at once are slower than one after the other and may
    not fit its memory. What fails on a device is tried on the next; the CPU is the last.

    Attributes
    ----------
    threads
        Threads within one call on the CPU; 0 lets ONNX Runtime choose.
    devices
        In order of preference.
    opener
        Loads a network on a device.
    turns
        Whose turn it is on each device.
    """

    threads: int = 0
    devices: tuple[Device, ...] = field(
        default_factory=lambda: usable(onnxruntime.get_available_providers())
    )
    opener: Opener = OnnxSession
    turns: Turns = field(default_factory=OwnTurns)
    _loaded: dict[tuple[str, str], Session] = field(default_factory=dict, init=False)
    _bundles: dict[tuple[str, str], BundleSession] = field(default_factory=dict, init=False)
    _loading: threading.Lock = field(default_factory=threading.Lock, init=False)

    def ask(self, package: Package, images: Sequence[Array], affine: Matrix) -> BundleAnswer:
        """Return what a bundle says about images on one grid, on the first device that works.

        Raises
        ------
        ModelError
            It cannot be loaded or fails on every device.
        """
        for device in self.devices[:-1]:
            try:
                return self._ask(package, device, (images, affine))
            except ModelError:
                continue
        return self._ask(package, self.devices[-1], (images, affine))

    def _ask(
        self, package: Package, device: Device, volume: tuple[Sequence[Array], Matrix]
    ) -> BundleAnswer:
        with self.turns.on(device.name):
            try:
                return self._bundle(package, device).run(*volume)
            except InferenceFailed:
                with self._loading:  # its process may have ended; the next volume gets a new one
                    self._bundles.pop((package.digest, device.name), None)
                raise

    def _bundle(self, package: Package, device: Device) -> BundleSession:
        key = (package.digest, device.name)
        with self._loading:
            if key not in self._bundles:
                self._bundles[key] = BundleSession(package.folder, device, self.threads)
            return self._bundles[key]

    def runner(self, package: Package) -> "Runner":
        """Return what runs the network of `package` for one prediction."""
        return Runner(self, package)

    def load(self, package: Package) -> None:
        """Load the network of `package` on the best device that takes it, so that no study waits.

        Raises
        ------
        ModelError
            No device can load it.
        """
        load = self._bundle if package.manifest.kind is Kind.BUNDLE else self._session
        for device in self.devices[:-1]:
            try:
                load(package, device)
            except ModelError:
                continue
            return
        load(package, self.devices[-1])

    def run(self, package: Package, device: Device, array: Array) -> Array:
        """Return the network's output on `device`, loading it first if need be.

        Raises
        ------
        InferenceFailed
            The device or the network failed.
        PackageInvalid
            The network cannot be loaded.
        """
        with self.turns.on(device.name):
            return self._session(package, device).run(array)

    def _session(self, package: Package, device: Device) -> Session:
        key = (package.digest, device.name)
        with self._loading:
            if key not in self._loaded:
                self._loaded[key] = self.opener(package, device, self.threads)
            return self._loaded[key]


def open_sessions(choice: str, *, threads: int, turns: Turns | None = None) -> Sessions:
    """Return sessions on the devices for ``auto``, ``cpu`` or ``cuda``; loads nothing yet."""
    devices = chosen(choice, onnxruntime.get_available_providers())
    return Sessions(threads=threads, devices=devices, turns=turns or OwnTurns())


class Runner:
    """One network for one prediction: callable; counts the `seconds` it took.

    After a failure it stays on the next device, so that a prediction of many patches does not fail
    anew for each one.
    """

    def __init__(self, sessions: Sessions, package: Package) -> None:
        self._sessions = sessions
        self._package = package
        self._devices = list(sessions.devices)
        self.seconds = 0.0

    def __call__(self, array: Array) -> Array:
        """Return the network's output for `array`; raises `ModelError`."""
        started = time.perf_counter()
        result = self._run(np.ascontiguousarray(array, dtype=np.float32))
        self.seconds += time.perf_counter() - started
        return result

    def _run(self, array: Array) -> Array:
        while len(self._devices) > 1:
            try:
                return self._sessions.run(self._package, self._devices[0], array)
            except ModelError:
                self._devices.pop(0)
        return self._sessions.run(self._package, self._devices[0], array)
