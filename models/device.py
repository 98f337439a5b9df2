"""Where networks run: processors in order of preference."""

from collections.abc import Collection
from dataclasses import dataclass

from imaging.errors import SetupError

CPU_PROVIDER = "CPUExecutionProvider"
_CUDA_PROVIDER = "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A processor and the ONNX Runtime provider that drives it."""

    name: str
    provider: str


CPU = Device(name="cpu", provider=CPU_PROVIDER)
_KNOWN = (Device(name="cuda:0", provider=_CUDA_PROVIDER), CPU)


def chosen(choice: str, providers: Collection[str]) -> tuple[Device, ...]:
    """Return the devices for a setting: ``auto``, ``cpu`` or ``cuda`` (which must be there).

    Raises
    ------
    SetupError
        The device that was asked for is not there.
    """
    found = usable(providers)
    if choice == "cpu":
        return (CPU,)
    if choice != "auto" and not any(device.name.startswith(choice) for device in found):
        msg = f"there is no {choice} device, or ONNX Runtime was installed without it"
        raise SetupError(msg)
    return found


def usable(providers: Collection[str]) -> tuple[Device, ...]:
    """Return the devices behind the available `providers`, the fastest first, the CPU last."""
    return tuple(device for device in _KNOWN if device.provider in providers)
