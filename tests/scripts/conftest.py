"""The demo's inputs, as Debian installs them."""

from pathlib import Path

import pytest

from scripts.demo_studies import DemoStudy, ct_study, mr_study

_MR_FILE = Path("/usr/share/mricron/templates/ch2.nii.gz")
_CT_FILE = Path("/usr/share/doc/invesalius-examples/examples/Cranium.inv3")


def _installed(path: Path, package: str) -> Path:
    if not path.exists():
        pytest.skip(f"the Debian package {package} is not installed")
    return path


@pytest.fixture(scope="session")
def mr_file() -> Path:
    return _installed(_MR_FILE, "mricron-data")


@pytest.fixture(scope="session")
def ct_file() -> Path:
    return _installed(_CT_FILE, "invesalius-examples")


@pytest.fixture(scope="session")
def mr(mr_file: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoStudy:
    return mr_study(mr_file, tmp_path_factory.mktemp("mr"))


@pytest.fixture(scope="session")
def ct(ct_file: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoStudy:
    return ct_study(ct_file, tmp_path_factory.mktemp("ct"))
