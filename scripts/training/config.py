"""A training run's settings, one TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imaging.errors import SetupError

Size = tuple[int, int, int]
Positive = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Heads(_Section):
    """Learn from synthesised heads."""

    kind: Literal["heads"]


class Cases(_Section):
    """Learn from a data set of assessed cases, prepared as a model package says.

    Both are folders; the package's manifest is enough, its weights are not read.
    """

    kind: Literal["dataset"]
    dataset: Path
    package: Path


class Network(_Section):
    """A network of `monai.networks.nets` and its arguments."""

    name: str
    arguments: dict[str, bool | int | float | str | list[int] | list[list[int]]]


class Phase(_Section):
    """So many steps with images of this size; later phases usually see finer ones."""

    steps: Annotated[int, Field(gt=0)]
    size: Size
    spacing_mm: Positive = 1.0  # of synthesised heads; cases have that of their package


class Training(_Section):
    """How the weights move."""

    task: Literal["segmentation", "classification"] = "segmentation"
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    batch: Annotated[int, Field(gt=0)] = 1
    learning_rate: Positive = 1e-3
    warm_up: Annotated[int, Field(ge=0)] = 50
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    channel_weights: list[float] = []  # of the cross-entropy of each channel; [] counts all alike
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.99  # of the weights that are exported
    frozen: list[str] = []  # names of parameters that begin so stay as they are
    save_every: Annotated[int, Field(gt=0)] = 100
    seed: int = 0
    threads: int = 0  # 0: all
    workers: Annotated[int, Field(ge=0)] = 1
    log: Literal["none", "tensorboard", "mlflow"] = "none"


class TrainingConfig(_Section):
    """Everything a run depends on beside its data."""

    data: Annotated[Heads | Cases, Field(discriminator="kind")]
    network: Network
    start: str = ""  # a checkpoint whose weights are the beginning
    phases: Annotated[list[Phase], Field(min_length=1)]
    training: Training

    @property
    def steps(self) -> int:
        """All steps of all phases."""
        return sum(phase.steps for phase in self.phases)


def read_config(path: Path) -> TrainingConfig:
    """Return the settings in `path`.

    Raises
    ------
    SetupError
        The message names every problem.
    """
    try:
        with path.open("rb") as stream:
            return TrainingConfig.model_validate(tomllib.load(stream))
    except (OSError, tomllib.TOMLDecodeError) as error:
        msg = f"{path}: {error}"
        raise SetupError(msg) from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise SetupError("\n".join(problems)) from error
