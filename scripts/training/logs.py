"""Where figures go beside the history file: nowhere, TensorBoard or MLflow, by choice."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from imaging.errors import SetupError

Log = Callable[[Mapping[str, float]], None]


@contextmanager
def open_log(kind: str, folder: Path) -> Iterator[Log]:
    """Yield what takes a line of figures.

    Raises
    ------
    SetupError
        The library is not installed.
    """
    if kind == "tensorboard":
        with _needed("torch.utils.tensorboard").SummaryWriter(str(folder)) as writer:
            yield lambda line: _to_tensorboard(writer, line)
    elif kind == "mlflow":
        mlflow = _needed("mlflow")
        mlflow.set_tracking_uri((folder / "mlruns").absolute().as_uri())
        with mlflow.start_run(run_name=folder.name):
            yield lambda line: mlflow.log_metrics(_figures(line), step=int(line["step"]))
    else:
        yield lambda _: None


def _figures(line: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name != "step"}


def _to_tensorboard(writer: Any, line: Mapping[str, float]) -> None:
    for name, value in _figures(line).items():
        writer.add_scalar(name, value, int(line["step"]))


def _needed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.rpartition(".")[2]
        msg = f"{package} is not installed: pip install {package}"
        raise SetupError(msg) from error
