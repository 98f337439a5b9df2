from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.archive import Address, Archive, Encoded
from imaging.errors import NotFound, SetupError, StorageFull
from tests.dicom_node.rig import dataset_of, image, part10

ADDRESS = Address(tenant="default", study_uid="1.2", series_uid="1.3", instance_uid="1.4")


def encoded(number: int = 1) -> Encoded:
    return Encoded(
        dataset=dataset_of(part10(image(number))),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        instance_uid="1.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )


def test_the_data_set_is_kept_as_it_came_behind_a_sound_file_meta(archive: Archive) -> None:
    kept = archive.put(ADDRESS, encoded())
    file = archive.read(kept.path)
    assert dataset_of(file) == encoded().dataset
    ds = dcmread(BytesIO(file))
    assert ds.file_meta.MediaStorageSOPInstanceUID == "1.4"
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert len(ds.file_meta.ImplementationClassUID) <= 64
    assert (kept.path, kept.size) == (
        f"default/1.2/1.3/1.4-{kept.sha256[:12]}.dcm",
        len(encoded().dataset),
    )


def test_other_content_never_replaces_what_is_there(archive: Archive) -> None:
    first, second = archive.put(ADDRESS, encoded(1)), archive.put(ADDRESS, encoded(2))
    assert archive.put(ADDRESS, encoded(1)) == first
    assert first.path != second.path
    assert dataset_of(archive.read(first.path)) == encoded(1).dataset


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path) -> None:
    archive = Archive(tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(StorageFull):
        archive.require_space()


def test_a_folder_that_cannot_be_written_is_the_operators_concern(archive: Archive) -> None:
    (archive.folder / "default").write_text("a file where a folder must be")
    with pytest.raises(SetupError):
        archive.put(ADDRESS, encoded())


def test_what_a_killed_process_left_is_swept(archive: Archive) -> None:
    left = archive.folder / ".incoming" / "tmpabc"
    left.write_bytes(b"half")
    assert archive.sweep(before=left.stat().st_mtime) == 0
    assert archive.sweep(before=left.stat().st_mtime + 1) == 1
    assert not left.exists()


def test_a_missing_file_is_not_found(archive: Archive) -> None:
    with pytest.raises(NotFound):
        archive.read("default/none.dcm")
