from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.part10 import encoded_of
from imaging.read import stored_values
from serving.folder import Found, Skipped, read_folder
from tests.builders import mr_series, save
from tests.serving.bench import mr


def read(folder: Path) -> dict[str, Found | Skipped]:
    return {item.path.name: item for item in read_folder(folder)}


def emptied(folder: Path, *keywords: str) -> list[Path]:
    images = mr()
    for image in images:
        for keyword in keywords:
            setattr(image, keyword, "")
    paths = save(mr(), folder)
    for path, image in zip(paths, images, strict=True):
        image.preamble = bytes(128)
        image.save_as(path, enforce_file_format=False)
    return paths


def test_sound_instances_come_in_order_of_name_with_their_place(tmp_path):
    paths = save(mr(), tmp_path / "b" / "c")
    found = list(read_folder(tmp_path))
    assert [item.path for item in found] == sorted(paths)
    for item in found:
        assert isinstance(item, Found)
        assert item.header.path == item.path
        assert item.encoded.instance_uid == item.header.instance_uid


def rubbish(folder: Path) -> dict[str, bytes]:
    whole = save(mr(), folder)[0].read_bytes()
    return {
        "empty": b"",
        "short": b"DICM",
        "prefix": bytes(128) + b"DICM",
        "text.txt": "Grüße".encode(),
        "half-meta.dcm": whole[:150],
        "half-header.dcm": whole[:700],
        "half-pixels.dcm": whole[:-100],
        "zeros": bytes(5000),
        "ones": b"\xff" * 5000,
        "noise.dcm": whole[:400] + bytes(range(256)) * 8,
    }


def test_rubbish_is_skipped_with_a_reason(tmp_path):
    for name, content in rubbish(tmp_path / "sound").items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    found = read(tmp_path)
    skipped = {name: item for name, item in found.items() if isinstance(item, Skipped)}
    assert set(skipped) == set(rubbish(tmp_path / "sound"))
    assert all(item.why for item in skipped.values())
    assert len(found) == len(skipped) + 5


def test_every_cut_of_a_file_is_skipped_or_read(tmp_path):
    whole = save(mr(), tmp_path / "sound")[0].read_bytes()
    folder = tmp_path / "cut"
    folder.mkdir()
    for length in range(0, len(whole), 13):
        (folder / f"{length:05d}").write_bytes(whole[:length])
    # A cut right before an element leaves a smaller data set; one without pixels is no damage.
    found = [item for item in read_folder(folder) if isinstance(item, Found)]
    assert all(len(whole) - item.path.stat().st_size >= 512 for item in found)
    assert len(found) < 5


def test_a_dicomdir_like_object_without_an_image_is_no_crash(tmp_path):
    (path,) = save(mr()[:1], tmp_path)
    ds = dcmread(path)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(ds, keyword)
    ds.save_as(path)
    (found,) = read_folder(tmp_path)
    assert isinstance(found, Found)


BARE = {
    "explicit": (ExplicitVRLittleEndian, False),
    "implicit": (ImplicitVRLittleEndian, False),
    "big endian": (ExplicitVRBigEndian, False),
    "only the preamble is missing": (ExplicitVRLittleEndian, True),
    "the same, implicit": (ImplicitVRLittleEndian, True),
}


@pytest.mark.parametrize(("syntax", "meta"), BARE.values(), ids=BARE)
def test_files_without_preamble_are_read(tmp_path, syntax, meta):
    values = np.arange(5 * 16 * 16).reshape(5, 16, 16)
    whole, bare = tmp_path / "whole", tmp_path / "bare"
    bare.mkdir()
    images = mr_series((5, 16, 16), voxels=values)
    for image in images:
        image.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    for path in save(images, whole):
        raw = path.read_bytes()
        (bare / path.name).write_bytes(raw[132:] if meta else encoded_of(raw).dataset)
    found = list(read_folder(bare))
    assert all(isinstance(item, Found) for item in found), found
    headers = [header for item in found for header in item.headers]
    assert {header.transfer_syntax_uid for header in headers} == {syntax}
    np.testing.assert_array_equal(stored_values(headers), values)


def test_a_dicomdir_is_skipped_by_name(tmp_path):
    (path,) = save(mr()[:1], tmp_path)
    ds = dcmread(path)
    ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    ds.save_as(tmp_path / "DICOMDIR", enforce_file_format=False)
    found = read(tmp_path)
    assert isinstance(found[path.name], Found)
    assert "DICOMDIR" in found["DICOMDIR"].why


def test_a_large_file_that_is_not_dicom_is_not_read_whole(tmp_path):
    path = tmp_path / "video.mkv"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    (skipped,) = read_folder(tmp_path)
    assert isinstance(skipped, Skipped)


@pytest.mark.parametrize(
    "keywords",
    [
        ("StudyInstanceUID",),
        ("StudyInstanceUID", "SeriesInstanceUID"),
        ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    ],
)
def test_an_emptied_identity_gets_stand_ins(tmp_path, keywords):
    emptied(tmp_path, *keywords)
    found = list(read_folder(tmp_path))
    assert len(found) == 5
    assert all(isinstance(item, Found) for item in found), found
    headers = [item.header for item in found]
    assert len({h.study.study_uid for h in headers}) == 1
    assert len({h.series.series_uid for h in headers}) == 1
    assert len({h.instance_uid for h in headers}) == 5
    assert all(h.series.series_uid for h in headers)
    assert headers == [item.header for item in read_folder(tmp_path)]


def test_the_data_set_is_believed_not_the_file_meta(tmp_path):
    paths = save(mr(), tmp_path)
    ds = dcmread(paths[0])
    uid = ds.SOPInstanceUID
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.save_as(paths[0], enforce_file_format=False)
    found = next(read_folder(tmp_path))
    assert isinstance(found, Found)
    assert found.header.instance_uid == uid
