import io
import pickle

import pytest
import torch

from imaging.errors import PackageInvalid
from imaging.identity import is_uid
from models.package import digest_of, read_package
from tests.models.networks import SEGMENTATION, segmenter, write_package


@pytest.fixture
def folder(tmp_path):
    return write_package(tmp_path / "package", SEGMENTATION, segmenter())


def test_the_digest_is_of_names_and_contents(folder, tmp_path):
    digest = digest_of(folder)
    assert digest == digest_of(write_package(tmp_path / "elsewhere", SEGMENTATION, segmenter()))

    (folder / "note.txt").write_text("a")
    with_note = digest_of(folder)
    (folder / "note.txt").write_text("b")
    other_content = digest_of(folder)
    (folder / "note.txt").rename(folder / "nota.txt")
    other_name = digest_of(folder)
    assert len({digest, with_note, other_content, other_name}) == 4


def test_the_algorithm_follows_the_weights(folder):
    first = read_package(folder).algorithm("settings")
    assert (first.name, first.settings_digest) == ("bright-tissue", "settings")
    assert is_uid(first.device_uid)
    assert first == read_package(folder).algorithm("settings")

    (folder / "model.toml").write_text(SEGMENTATION + "\n# changed\n", encoding="utf-8")
    assert read_package(folder).algorithm("settings").device_uid != first.device_uid


def pickled_bytes():
    return pickle.dumps({"weights": [1, 2, 3]})


def torch_bytes():
    stream = io.BytesIO()
    torch.save({"weights": torch.zeros(2)}, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weights.pkl", b""),
        ("weights.pt", b"\0"),
        ("weights.ckpt", b"\0"),
        ("weights.PTH", b"\0"),
        ("pytorch_model.bin", pickled_bytes()),
        ("weights.bin", torch_bytes()),
        ("inner/model.data", pickled_bytes()),
    ],
)
def test_pickles_are_refused_by_name_and_by_content(folder, name, content):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(PackageInvalid, match="pickled"):
        read_package(folder)


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80plain data", bytes(range(128, 256))])
def test_other_files_are_not_taken_for_pickles(folder, content):
    (folder / "table.bin").write_bytes(content)
    assert read_package(folder).digest == digest_of(folder)


def test_links_are_refused(folder):
    (folder / "link.txt").symlink_to("/etc/hostname")
    with pytest.raises(PackageInvalid, match="links"):
        read_package(folder)


def test_problems_of_files_and_manifest_come_together(folder):
    (folder / "old.pkl").write_bytes(b"")
    (folder / "model.toml").write_text(SEGMENTATION.replace('"whole"', '"hole"'), encoding="utf-8")
    with pytest.raises(PackageInvalid) as caught:
        read_package(folder)
    assert len(str(caught.value).splitlines()) == 2


def test_the_network_must_be_there_and_be_onnx(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(PackageInvalid, match="missing"):
        read_package(folder)
    text = SEGMENTATION.replace('version = "1.0"', 'version = "1.0"\nfile = "model.xml"')
    (folder / "model.toml").write_text(text, encoding="utf-8")
    (folder / "model.xml").write_text("<net/>")
    with pytest.raises(PackageInvalid, match="not ONNX"):
        read_package(folder)
