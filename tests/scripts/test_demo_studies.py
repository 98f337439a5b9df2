"""scripts/demo_studies.py: two valid studies, the same every time, right way round."""

import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from imaging.errors import PixelsUnreadable
from imaging.header import read_header
from imaging.mr import weighting
from imaging.region import regions_of
from imaging.stack import Stack, stacks_of
from scripts.demo_studies import DemoStudy, ct_study, mr_study


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} (Debian package dicom3tools) is not installed")
    return path


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _voxels(study: DemoStudy) -> np.ndarray:
    return np.stack([dcmread(path).pixel_array for path in study.paths])


def _stack(study: DemoStudy) -> Stack:
    (stack,) = stacks_of([read_header(path) for path in study.paths])
    assert isinstance(stack, Stack)
    return stack


@pytest.mark.parametrize(
    ("name", "kind", "slices"), [("mr", "MRImage", 181), ("ct", "CTImage", 108)]
)
def test_objects_conform(name: str, kind: str, slices: int, request: pytest.FixtureRequest) -> None:
    study: DemoStudy = request.getfixturevalue(name)
    assert len(study.paths) == slices
    check = _program("dciodvfy")
    for path in study.paths[:: slices // 4]:
        assert _said([check, str(path)]).split() == [kind]
    assert _said([_program("dcentvfy"), *map(str, study.paths)]) == ""


def test_same_input_gives_the_same_bytes(ct: DemoStudy, ct_file: Path, tmp_path: Path) -> None:
    again = ct_study(ct_file, tmp_path)
    assert [p.read_bytes() for p in again.paths] == [p.read_bytes() for p in ct.paths]


def test_the_two_studies_are_two_studies(mr: DemoStudy, ct: DemoStudy) -> None:
    mr_header, ct_header = read_header(mr.paths[0]), read_header(ct.paths[0])
    assert mr_header.study.study_uid == mr.study_uid != ct.study_uid
    assert mr_header.patient.patient_id != ct_header.patient.patient_id


def test_mr_is_a_t1_head_volume_in_its_place(mr: DemoStudy, mr_file: Path) -> None:
    stack = _stack(mr)
    assert regions_of(stack.instances[0]) == ("HEAD",)
    assert weighting(stack.instances[0]) == "T1"
    assert stack.grid.shape == (181, 217, 181)
    source = nibabel.load(mr_file)
    ras = np.asarray(source.dataobj)[40, 170, 100]
    x, y, z, _ = source.affine @ [40, 170, 100, 1]
    column, row, index = np.linalg.inv(stack.grid.affine) @ [-x, -y, z, 1] @ np.eye(4)[:, :3]
    assert _voxels(mr)[round(index), round(row), round(column)] == ras
    assert _voxels(mr).sum(dtype=int) == np.asarray(source.dataobj).sum(dtype=int)


def test_ct_is_a_head_in_hounsfield_units_with_the_face_in_front(ct: DemoStudy) -> None:
    stack = _stack(ct)
    assert regions_of(stack.instances[0]) == ("HEAD",)
    assert stack.grid.spacing_mm == pytest.approx((1.5, 0.9570312, 0.9570312))
    hu = _voxels(ct).astype(int) - 1024
    assert hu.min() >= -1024
    assert np.median(hu[60, 110:150, 110:150]) == pytest.approx(30, abs=25)  # brain
    neck, vertex = hu[5], hu[-3]
    assert (neck > 700).sum() > (vertex > 700).sum()  # teeth and jaw below
    air = hu[32, 40:220, 110:150] < -500
    assert air[:90].sum() > 500 > air[90:].sum()  # nose and sinuses in front: rows run backwards


def test_a_project_without_the_head_is_refused(tmp_path: Path) -> None:
    project = tmp_path / "other.inv3"
    with tarfile.open(project, "w") as archive:
        member = tarfile.TarInfo("x/matrix.dat")
        member.size = 4
        archive.addfile(member, BytesIO(b"1234"))
    with pytest.raises(PixelsUnreadable, match=r"other\.inv3"):
        ct_study(project, tmp_path / "out")


def test_other_voxels_get_other_uids(mr: DemoStudy, mr_file: Path, tmp_path: Path) -> None:
    source = nibabel.load(mr_file)
    changed = np.asanyarray(source.dataobj).copy()
    changed[90, 100, 90] += 1
    nibabel.save(nibabel.Nifti1Image(changed, source.affine), tmp_path / "changed.nii.gz")
    other = mr_study(tmp_path / "changed.nii.gz", tmp_path / "out")
    assert other.study_uid != mr.study_uid
