"""`wetread viewer`: install the full viewer."""

from pathlib import Path

from serving.commands.tables import output
from serving.settings import Settings
from serving.viewer.package import NAME, VERSION, install


def viewer(settings: Settings, tarball: Path | None) -> int:
    """Install it; from npm unless a package file is given."""
    folder = install(settings.data_folder, tarball)
    output().print(f"installed {NAME} {VERSION} in {folder}", markup=False, highlight=False)
    return 0
