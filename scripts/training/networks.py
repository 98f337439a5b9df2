"""Networks by name, from MONAI."""

from pathlib import Path

import torch
from monai.networks import nets
from torch import nn

from imaging.errors import SetupError
from scripts.training.config import TrainingConfig


def build(config: TrainingConfig) -> nn.Module:
    """Return the network of `config`, with the weights of its start if it names one.

    Raises
    ------
    SetupError
        MONAI has no such network, its arguments do not fit, or the start has other weights.
    """
    kind = getattr(nets, config.network.name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        msg = f"MONAI has no network {config.network.name!r}"
        raise SetupError(msg)
    try:
        network = kind(**config.network.arguments)
    except (TypeError, ValueError) as error:
        msg = f"{config.network.name}: {error}"
        raise SetupError(msg) from error
    if config.start:
        try:
            network.load_state_dict(average_of(Path(config.start)))
        except RuntimeError as error:
            msg = f"{config.start} does not fit {config.network.name}: {error}"
            raise SetupError(msg) from error
    return network


def average_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the averaged weights of a run.

    Raises
    ------
    SetupError
        It is no checkpoint of a run.
    """
    try:
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        weights: dict[str, torch.Tensor] = state["average"]
    except (OSError, KeyError, TypeError, RuntimeError, ValueError, EOFError) as error:
        msg = f"{checkpoint} is no checkpoint of a training run"
        raise SetupError(msg) from error
    return weights
