"""Where networks run: processors in order of preference."""

from collections.abc import Collection
from dataclasses import dataclass

CPU_PROVIDER = "CPUExecutionProvider"
_CUDA_PROVIDER = "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A processor and the ONNX Runtime provider that drives it."""

    name: str
    provider: str


CPU = Device(name="cpu", provider=CPU_PROVIDER)
_KNOWN = (Device(name="cuda:0", provider=_CUDA_PROVIDER), CPU)


def usable(providers: Collection[str]) -> tuple[Device, ...]:
    """Return the devices behind the available `providers`, the fastest first, the CPU last."""
    return tuple(device for device in _KNOWN if device.provider in providers)
