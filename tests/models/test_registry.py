import pytest

from imaging.errors import NotFound, PackageInvalid
from models.registry import Registry
from tests.models.networks import (
    CLASSIFICATION,
    SEGMENTATION,
    classifier,
    segmenter,
    write_package,
)


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "models")


@pytest.fixture
def source(tmp_path):
    return write_package(tmp_path / "source", SEGMENTATION, segmenter())


def names(registry):
    return [package.manifest.name for package in registry.packages()]


def test_a_folder_that_is_not_there_holds_nothing(registry):
    assert registry.packages() == ()
    assert registry.broken() == ()


def test_an_added_package_is_a_copy_under_its_name(registry, source):
    added = registry.add(source)
    assert added.folder == registry.folder / "bright-tissue"
    assert registry.get("bright-tissue") == added
    assert names(registry) == ["bright-tissue"]
    assert [path.name for path in registry.folder.iterdir()] == ["bright-tissue"]


def test_adding_again_replaces(registry, source):
    first = registry.add(source)
    (source / "note.txt").write_text("second")
    second = registry.add(source)
    assert second.digest != first.digest
    assert registry.get("bright-tissue").digest == second.digest
    assert (second.folder / "note.txt").read_text() == "second"


def test_an_invalid_package_leaves_all_as_it_was(registry, source):
    first = registry.add(source)
    (source / "evil.pkl").write_bytes(b"")
    with pytest.raises(PackageInvalid):
        registry.add(source)
    assert registry.get("bright-tissue").digest == first.digest
    assert [path.name for path in registry.folder.iterdir()] == ["bright-tissue"]


def test_a_broken_package_is_listed_and_hides_no_other(registry, source, tmp_path):
    registry.add(source)
    registry.add(write_package(tmp_path / "other", CLASSIFICATION, classifier()))
    (registry.folder / "bright-tissue" / "model.onnx").unlink()
    (registry.folder / "empty").mkdir()

    assert names(registry) == ["bright-slices"]
    broken = {item.name: item.problems for item in registry.broken()}
    assert broken["bright-tissue"] == ("model.onnx is missing",)
    assert "model.toml cannot be read" in broken["empty"][0]


def test_a_folder_of_another_name_is_broken(registry, source):
    registry.add(source)
    (registry.folder / "bright-tissue").rename(registry.folder / "renamed")
    with pytest.raises(PackageInvalid, match="named renamed"):
        registry.get("renamed")


def test_changed_files_are_read_anew(registry, source):
    first = registry.add(source)
    (first.folder / "model.toml").write_text(SEGMENTATION + "# more\n", encoding="utf-8")
    assert registry.get("bright-tissue").digest != first.digest


def test_removing(registry, source):
    registry.add(source)
    registry.remove("bright-tissue")
    assert list(registry.folder.iterdir()) == []
    with pytest.raises(NotFound):
        registry.get("bright-tissue")
    with pytest.raises(NotFound):
        registry.remove("bright-tissue")


@pytest.mark.parametrize("name", ["..", "../source", ".", "/etc"])
def test_only_names_in_the_folder_are_found(registry, source, name):
    registry.add(source)
    with pytest.raises(NotFound):
        registry.remove(name)
