"""A data set is read only when it is whole and keeps its own rules."""

import json
from pathlib import Path

import pytest

from scripts.dataset_files import (
    Case,
    Dataset,
    DatasetInvalid,
    Provenance,
    digest,
    file_digest,
    load,
    save,
    verify,
)


def case(folder: Path, name: str, **changes: object) -> Case:
    image = folder / f"cases/{name}/image.nii.gz"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(name.encode())
    path = image.relative_to(folder).as_posix()
    values = {
        "id": name,
        "patient": f"P-{name}",
        "image": path,
        "target": "glioma",
        "split": "train",
        "provenance": Provenance(verdict="accepted"),
        "files": {path: file_digest(image)},
    }
    return Case.model_validate(values | changes)


def dataset(*cases: Case) -> Dataset:
    return Dataset(name="brains", targets=("glioma",), cases=cases)


def test_what_was_saved_is_loaded_and_verified(tmp_path):
    whole = save(tmp_path, dataset(case(tmp_path, "a"), case(tmp_path, "b", split="test")))
    assert load(tmp_path) == whole
    assert [c.id for c in whole.of_split("test")] == ["b"]
    assert not list(verify(tmp_path, whole))


def test_the_version_follows_the_content_and_not_the_order(tmp_path):
    a, b = case(tmp_path, "a"), case(tmp_path, "b")
    assert digest(dataset(a, b)) == digest(dataset(b, a)) != digest(dataset(a))


def test_a_changed_and_a_missing_file_are_told(tmp_path):
    whole = save(tmp_path, dataset(case(tmp_path, "a"), case(tmp_path, "b")))
    (tmp_path / "cases/a/image.nii.gz").write_bytes(b"other")
    (tmp_path / "cases/b/image.nii.gz").unlink()
    assert list(verify(tmp_path, whole)) == [
        "cases/a/image.nii.gz was changed",
        "cases/b/image.nii.gz is missing",
    ]


def test_a_link_out_of_the_folder_is_told(tmp_path):
    folder, outside = tmp_path / "set", tmp_path / "outside"
    whole = dataset(case(folder, "a"))
    outside.write_bytes(b"a")
    (folder / "cases/a/image.nii.gz").unlink()
    (folder / "cases/a/image.nii.gz").symlink_to(outside)
    assert list(verify(folder, whole)) == ["cases/a/image.nii.gz leads out of the data set"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"id": "a"}, "two cases are called a"),
        ({"patient": "P-a", "split": "test"}, "patient P-a is in test and train"),
        ({"target": "cyst"}, "no class 'cyst'"),
        ({"target": None}, "neither a label image nor a class"),
        ({"label": "cases/b/label.nii.gz"}, "has no digest"),
    ],
)
def test_a_broken_rule_is_refused_and_nothing_is_written(tmp_path, changes, why):
    broken = dataset(case(tmp_path, "a"), case(tmp_path, "b", **changes))
    with pytest.raises(DatasetInvalid, match=why):
        save(tmp_path, broken)
    assert not (tmp_path / "dataset.json").exists()


def test_an_edited_description_is_refused(tmp_path):
    save(tmp_path, dataset(case(tmp_path, "a")))
    path = tmp_path / "dataset.json"
    content = json.loads(path.read_text())
    content["cases"][0]["split"] = "test"
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetInvalid, match="version"):
        load(tmp_path)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a\\b", ""])
def test_paths_stay_within_the_folder(tmp_path, path):
    with pytest.raises(ValueError, match="not a path within"):
        case(tmp_path, "a", image=path)


def test_a_folder_without_description_is_no_data_set(tmp_path):
    with pytest.raises(DatasetInvalid, match=r"no dataset\.json"):
        load(tmp_path)
