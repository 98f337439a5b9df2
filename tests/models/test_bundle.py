import json
import zipfile

import pytest

from imaging.errors import PackageInvalid
from models.bundle import read_bundle, unpacked
from models.bundle_card import bundle_card, package_name
from models.card import card_text, placeholders
from models.manifest import Kind
from models.package import read_package
from models.registry import Registry
from tests.models.bundles import four_channels, graded, spleen, write_bundle


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle", spleen())


@pytest.fixture
def package(bundle):
    (bundle / "model.toml").write_text(card_text(bundle_card(read_bundle(bundle))))
    return bundle


def test_what_the_metadata_says_needs_no_more_writing(package):
    assert placeholders((package / "model.toml").read_text()) == []
    manifest = read_package(package).manifest
    assert (manifest.name, manifest.version, manifest.kind) == ("organs", "0.5.3", Kind.BUNDLE)
    assert (manifest.needs.modalities, manifest.needs.regions) == (("CT",), ("ABDOMEN",))
    (label,) = manifest.labels
    assert (label.channel, label.label, label.type.value) == (1, "Spleen", "78961009")
    assert manifest.evaluation == {"mean_dice": "0.96"}


def test_a_structure_without_a_known_code_has_to_be_filled_in_by_a_person(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", spleen(), names=("spleen", "blob"))
    text = card_text(bundle_card(read_bundle(bundle)))
    assert placeholders(text) == ['type = ["REPLACE", "SCT", "blob"]']
    (bundle / "model.toml").write_text(text)
    with pytest.raises(PackageInvalid, match=r"labels\[1\].type still has to be filled in"):
        read_package(bundle)


def test_everything_that_is_not_supported_is_said_at_once(tmp_path):
    bundle = write_bundle(
        tmp_path / "bundle",
        spleen(),
        num_channels=3,
        channel_def={"0": "R", "1": "G", "2": "B"},
        format="RGB",
    )
    (bundle / "models" / "model.pt").unlink()
    (bundle / "configs" / "inference.json").unlink()
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    metadata["network_data_format"]["outputs"]["pred"]["format"] = "object"
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(PackageInvalid) as refused:
        read_bundle(bundle)
    said = str(refused.value).splitlines()
    assert len(said) == 4
    for part in ("inference.json", "weights", "R, G, B", "'object'"):
        assert any(part in line for line in said)


def test_a_bundle_is_refused_until_its_digest_is_trusted(package, tmp_path):
    registry = Registry(tmp_path / "models")
    digest = read_package(package).digest
    with pytest.raises(PackageInvalid, match=f"--trust {digest}"):
        registry.add(package)
    assert not (tmp_path / "models" / "organs").exists()
    registry.trust.add(digest, "organs")
    assert registry.add(package).digest == digest
    assert [path.manifest.name for path in registry.packages()] == ["organs"]


def test_trust_ends_with_any_change_and_with_its_line(package, tmp_path):
    registry = Registry(tmp_path / "models")
    registry.trust.add(read_package(package).digest, "organs")
    installed = registry.add(package).folder
    with (installed / "configs" / "inference.json").open("a") as file:
        file.write(" ")
    (broken,) = registry.broken()
    assert "trusted by an administrator" in broken.problems[0]
    registry.trust.add(read_package(installed).digest, "organs")
    assert registry.broken() == ()
    registry.trust.path.write_text("")
    assert [package.name for package in registry.broken()] == ["organs"]


def test_a_package_may_come_as_a_zip(package, tmp_path):
    file = tmp_path / "bundle.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in package.rglob("*"):
            archive.write(path, f"organs-1/{path.relative_to(package)}")
    with unpacked(file) as folder:
        assert read_package(folder).digest == read_package(package).digest
    assert not folder.exists()


def test_a_zip_cannot_write_outside_its_folder(package, tmp_path):
    file = tmp_path / "bundle.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../outside.txt", "x")
    with unpacked(file) as folder:
        assert [path.name for path in folder.rglob("*.txt")] == ["outside.txt"]
    assert not list(tmp_path.rglob("outside.txt"))


@pytest.mark.parametrize(
    ("title", "name"),
    [("Whole body CT", "whole-body-ct"), ("3D brain", "model-3d-brain"), ("x" * 60, "x" * 48)],
)
def test_a_title_becomes_a_name(title, name):
    assert package_name(title) == name


def test_classes_are_written_by_index_and_must_stay_classes(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", graded(3), names=("normal", "edema"), form="labels")
    text = card_text(bundle_card(read_bundle(bundle)))
    assert 'task = "classification"' in text
    (bundle / "model.toml").write_text(text.replace("REPLACE", "X"))
    manifest = read_package(bundle).manifest
    assert [(each.index, each.label) for each in manifest.classes] == [(0, "Normal"), (1, "Edema")]
    metadata = bundle / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"labels"', '"segmentation"'))
    with pytest.raises(PackageInvalid, match=r"model.task is classification, .* says otherwise"):
        read_package(bundle)


def test_a_bundle_of_several_channels_says_which_series_each_is(tmp_path):
    contrasts = {"0": "T1c", "1": "T1", "2": "T2", "3": "Other"}
    bundle = write_bundle(
        tmp_path / "bundle", four_channels(), num_channels=4, channel_def=contrasts, modality="MR"
    )
    text = card_text(bundle_card(read_bundle(bundle)))
    assert placeholders(text) == ['description = "REPLACE: what its series description says"']
    assert 'axes = "LPS"' in text  # nothing in it turns an image
    text = text.replace("REPLACE: what its series description says", "other")
    (bundle / "model.toml").write_text(text)
    needs = read_package(bundle).manifest.needs
    said = [(each.name, each.weightings, each.contrast) for each in (needs, *needs.others)]
    assert said == [
        ("T1c", ("T1",), "yes"),
        ("T1", ("T1",), "no"),
        ("T2", ("T2",), "any"),
        ("Other", (), "any"),
    ]
    assert needs.others[2].description == "other"
    (bundle / "model.toml").write_text(
        text[: text.index("[[inputs]]")] + text[text.index("[input]") :]
    )
    with pytest.raises(PackageInvalid, match=r"4 images \(T1c, T1, T2, Other\), .* names none"):
        read_package(bundle)
