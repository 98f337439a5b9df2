import pytest
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.part10 import encoded_of
from imaging.errors import InputError, MalformedInstance, NotDicom
from tests.dicom_node.rig import dataset_of, image, part10


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian])
def test_a_file_is_taken_apart_and_put_together(syntax: str) -> None:
    file, ds = part10(image(), syntax), image()
    encoded = encoded_of(file)
    assert encoded.dataset == dataset_of(file)
    assert (encoded.sop_class_uid, encoded.instance_uid, encoded.transfer_syntax_uid) == (
        ds.SOPClassUID,
        ds.SOPInstanceUID,
        syntax,
    )
    assert encoded_of(encoded.part10() + encoded.dataset) == encoded


@pytest.mark.parametrize("length", [0, 1, 9999])
def test_a_wrong_group_length_is_ignored(length: int) -> None:
    file = bytearray(part10(image()))
    file[140:144] = length.to_bytes(4, "little")
    assert encoded_of(bytes(file)) == encoded_of(part10(image()))


def test_a_missing_group_length_is_no_problem() -> None:
    file = part10(image())
    assert encoded_of(file[:132] + file[144:]) == encoded_of(file)


@pytest.mark.parametrize("file", [b"", b"DICM", bytes(132), bytes(128) + b"DIC"])
def test_other_files_are_not_dicom(file: bytes) -> None:
    with pytest.raises(NotDicom):
        encoded_of(file)


def test_file_meta_without_a_transfer_syntax_is_damage() -> None:
    with pytest.raises(MalformedInstance, match="transfer syntax"):
        encoded_of(bytes(128) + b"DICM")
    with pytest.raises(MalformedInstance, match="transfer syntax"):
        encoded_of(bytes(128) + b"DICM" + dataset_of(part10(image())))


def test_every_cut_inside_the_file_meta_is_damage() -> None:
    file = part10(image())
    end = len(file) - len(dataset_of(file))
    whole = encoded_of(file)
    for length in range(132, end):
        try:
            found = encoded_of(file[:length])
        except MalformedInstance:
            continue
        # A cut at most a byte behind an element, after all that is needed.
        assert len(found.dataset) <= 1
        assert found.transfer_syntax_uid == whole.transfer_syntax_uid
        assert length > end - 80


def test_noise_after_the_prefix_is_refused_in_words() -> None:
    for seed in range(64):
        noise = bytes((seed * 37 + n * 101) % 256 for n in range(300))
        with pytest.raises(InputError):
            encoded_of(bytes(128) + b"DICM\x02\0" + noise)
