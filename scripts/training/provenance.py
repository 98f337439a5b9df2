"""What a network has learnt from, so that nobody tests it on the same patients."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from imaging.errors import SetupError
from scripts.dataset_files import load
from scripts.training.config import Cases, TrainingConfig

FILE_NAME = "provenance.json"


class Provenance(BaseModel):
    """Kept in the run's folder and in the package that is exported from it.

    `patients` are pseudonyms of all splits but the test split; `dataset` is the version of the
    data set, empty for synthesised images; `start` is the run that this one began with.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str = ""
    patients: tuple[str, ...] = ()
    start: "Provenance | None" = None

    def everybody(self) -> frozenset[str]:
        """Return all whom it and the runs before it learnt from."""
        before = self.start.everybody() if self.start else frozenset[str]()
        return before | frozenset(self.patients)


def note_provenance(config: TrainingConfig, folder: Path) -> Provenance:
    """Write down what a run learns from.

    Raises
    ------
    SetupError
        The run in `folder` began with another version of its data set.
    """
    now = _of(config)
    path = folder / FILE_NAME
    if path.is_file() and read_provenance(folder) != now:
        msg = f"the data set is another version than the run in {folder} began with"
        raise SetupError(msg)
    path.write_text(now.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return now


def read_provenance(folder: Path) -> Provenance:
    """Return what a run or a package learnt from; of one that does not say, nothing is known."""
    path = folder / FILE_NAME
    if not path.is_file():
        return Provenance()
    return Provenance.model_validate_json(path.read_text(encoding="utf-8"))


def _of(config: TrainingConfig) -> Provenance:
    start = read_provenance(Path(config.start).parent) if config.start else None
    if not isinstance(config.data, Cases):
        return Provenance(start=start)
    dataset = load(config.data.dataset)
    patients = sorted({case.patient for case in dataset.cases if case.split != "test"})
    return Provenance(dataset=dataset.version, patients=tuple(patients), start=start)
