"""Siemens mosaics: real headers, against nibabel's arithmetic and against dcm2niix."""

import gzip
import shutil
import struct
import subprocess
import warnings
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from imaging.boxed import boxed
from imaging.conformance import problems
from imaging.frames import headers_of, read_headers
from imaging.mosaic import csa_numbers
from imaging.objects import encoded
from imaging.outline import outlines
from imaging.read import load_volume, stored_values
from imaging.seg import segmentation
from imaging.sr import measurement_report
from imaging.stack import Stack, Unusable, stacks_of
from tests.builders import mr_series, report_on

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # "highly experimental": it is our second opinion only
    from nibabel.nicom.dicomwrappers import wrapper_from_data

SIZE, TILES, ACROSS = 128, 48, 7
CSA = (0x0029, 0x1010)


def real(b_value: int):
    """A real mosaic of 48 slices, with pixels that tell each tile from the others."""
    packed = Path(nib.__file__).parent / f"nicom/tests/data/siemens_dwi_{b_value}.dcm.gz"
    ds = dcmread(BytesIO(gzip.decompress(packed.read_bytes())))
    tiles = np.random.default_rng(b_value).integers(0, 4000, (TILES, SIZE, SIZE), dtype="<u2")
    mosaic = np.zeros((ACROSS * SIZE, ACROSS * SIZE), "<u2")
    for n, tile in enumerate(tiles):
        row, column = n // ACROSS * SIZE, n % ACROSS * SIZE
        mosaic[row : row + SIZE, column : column + SIZE] = tile
    ds.PixelData = mosaic.tobytes()
    return ds, tiles


def with_csa(ds, name: str, *values: str):
    """Overwrite the first numbers of one tag of the CSA header."""
    raw = bytearray(ds[CSA].value)
    at = raw.index(name.encode() + b"\0") + 84
    for value in values:
        (length,) = struct.unpack_from("<4xi", raw, at)
        raw[at + 16 : at + 16 + length] = value.encode().ljust(length, b"\0")[:length]
        at += 16 + (length + 3) // 4 * 4
    ds[CSA].value = bytes(raw)
    return ds


def stack_of(ds):
    (stack,) = stacks_of(headers_of(ds))
    return stack


def saved(images, folder: Path):
    folder.mkdir()
    for number, ds in enumerate(images):
        ds.save_as(folder / f"{number}.dcm")
    return [h for path in sorted(folder.iterdir()) for h in read_headers(path)]


def test_tiles_are_the_slices_of_a_volume(tmp_path):
    ds, tiles = real(0)
    (stack,) = stacks_of(saved([ds], tmp_path / "in"))
    assert isinstance(stack, Stack)
    assert stack.grid.shape == (TILES, SIZE, SIZE)
    assert stack.grid.spacing_mm == pytest.approx((3.0, 1.796875, 1.796875))
    theirs = wrapper_from_data(ds).affine[:, [1, 0, 2, 3]]  # it takes (row, column, slice)
    np.testing.assert_allclose(stack.grid.affine, theirs, atol=1e-3)
    np.testing.assert_array_equal(load_volume(stack).voxels, tiles)
    np.testing.assert_array_equal(stored_values(stack.instances[::-1]), tiles[::-1])
    assert [note.code for note in stack.notes] == ["SPACING_FROM_HEADER"]
    assert "3.000 mm between slices come from Spacing Between Slices" in stack.notes[0].text


def test_two_shells_are_two_stacks(tmp_path):
    made = [real(b) for b in (0, 1000)]
    stacks = stacks_of(saved([ds for ds, _ in made], tmp_path / "in"))
    assert [stack.name for stack in stacks] == ["b 0", "b 1000"]
    for stack, (_, tiles) in zip(stacks, made, strict=True):
        np.testing.assert_array_equal(load_volume(stack).voxels, tiles)


@pytest.mark.parametrize("normal", [None, ("-0.29552021", "0.0", "0.95533649"), "against"])
def test_dcm2niix_agrees(tmp_path, normal):
    program = shutil.which("dcm2niix")
    if program is None:
        pytest.skip("dcm2niix is not installed")
    ds, _ = real(0)
    if normal == "against":
        with_csa(ds, "SliceNormalVector", "0.0", "-0.00523632", "-0.99998629")
    elif normal:
        ds.ImageOrientationPatient = [0.95533649, 0, 0.29552021, 0, 1, 0]
        with_csa(ds, "SliceNormalVector", *normal)
    (stack,) = stacks_of(saved([ds], tmp_path / "in"))
    command = [program, "-z", "n", "-f", "x", "-o", str(tmp_path), str(tmp_path / "in")]
    subprocess.run(command, check=True, capture_output=True)
    image = nib.load(tmp_path / "x.nii")
    theirs = np.asanyarray(image.dataobj).T[:, ::-1]  # it stores rows from the bottom up
    affine = np.diag([-1, -1, 1, 1]) @ image.affine
    affine[:, 3] += affine[:, 1] * (SIZE - 1)
    affine[:, 1] *= -1
    if normal == "against":  # it keeps the order of the tiles, we sort along the normal
        theirs = theirs[::-1]
        affine[:, 3] += affine[:, 2] * (TILES - 1)
        affine[:, 2] *= -1
    np.testing.assert_allclose(stack.grid.affine, affine, atol=1e-3)
    np.testing.assert_array_equal(load_volume(stack).voxels, theirs)


def test_the_slice_thickness_is_the_last_resort():
    ds, _ = real(0)
    del ds.SpacingBetweenSlices
    stack = stack_of(ds)
    assert stack.grid.spacing_mm[0] == pytest.approx(2.5)
    assert "2.500 mm between slices come from Slice Thickness" in stack.notes[0].text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda ds: ds.pop(CSA),
        lambda ds: setattr(ds[CSA], "value", ds[CSA].value[:3000]),
        lambda ds: setattr(ds[CSA], "value", b"SV10" + b"\xff" * 4000),
        lambda ds: with_csa(ds, "NumberOfImagesInMosaic", "50"),
        lambda ds: with_csa(ds, "NumberOfImagesInMosaic", "0"),
        lambda ds: with_csa(ds, "SliceNormalVector", "1.0", "0.0", "0.0"),
        lambda ds: with_csa(ds, "ProtocolSliceNumber", "47"),
        lambda ds: ds.pop("ImagePositionPatient"),
        lambda ds: (ds.pop("SpacingBetweenSlices"), ds.pop("SliceThickness")),
    ],
)
def test_a_mosaic_that_does_not_tell_all_is_refused_by_name(spoil):
    ds, _ = real(0)
    spoil(ds)
    part = stack_of(ds)
    assert isinstance(part, Unusable)
    assert part.reason.code == "MOSAIC"
    assert len(part.instances) == 1


def test_every_cut_of_a_csa_header_is_survived():
    ds, _ = real(0)
    raw = ds[CSA].value
    whole = csa_numbers(raw)
    assert whole["NumberOfImagesInMosaic"] == (48,)
    for length in range(0, len(raw), 101):
        assert len(csa_numbers(raw[:length])) <= len(whole)


def test_results_lie_on_the_tile(tmp_path):
    ds, _ = real(0)
    ds.PatientName, ds.PatientBirthDate, ds.StudyTime = "A^B", "19700101", "101010"
    (stack,) = stacks_of(saved([ds], tmp_path / "in"))
    mask = np.zeros(stack.grid.shape, dtype=bool)
    mask[9:12, 40:60, 30:50] = True
    mask[10, 35:70, 25:60] = True
    small = np.zeros((3, 4, 4), dtype=bool)
    small[1, 1, 1] = True
    made = report_on(mr_series((3, 4, 4)), [small])
    findings = tuple(replace(f, evidence=(), key_instance=None) for f in made.findings)
    segments = tuple(replace(s, region=boxed(mask)) for s in made.segments)
    report = replace(
        made, instances=stack.instances, grid=stack.grid, findings=findings, segments=segments
    )
    seg = segmentation(report, ds, wetread_version="0")
    assert not problems(encoded(seg))
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (item,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert item.ReferencedSOPInstanceUID == ds.SOPInstanceUID
        assert "ReferencedFrameNumber" not in item
    sr = measurement_report(report, ds, segmentation=seg, wetread_version="0")
    assert not problems(encoded(sr))
    (graphic,) = [e.value for e in sr.iterall() if e.keyword == "GraphicData"]
    column, row = 10 % ACROSS * SIZE, 10 // ACROSS * SIZE
    expected = outlines(mask[10])[0] + (column, row)
    np.testing.assert_allclose(np.reshape(graphic, (-1, 2)), expected)
    assert expected.min(axis=0).tolist() == [column + 25, row + 35]
