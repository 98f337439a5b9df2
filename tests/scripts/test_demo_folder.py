"""scripts/demo_folder.py: starts empty, keeps what is dear, empties no folder of others."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from imaging.errors import SetupError
from scripts.demo_folder import opened


def test_a_second_run_starts_empty_but_keeps_the_models(tmp_path: Path) -> None:
    with ExitStack() as stops:
        parts = opened(tmp_path / "demo", stops)
        for name in ("data/models/brain", "data/instances"):
            (parts.wetread / name).mkdir(parents=True)
        (parts.wetread / "data/wetread.sqlite").touch()
        parts.packages.mkdir()
        parts.pacs.mkdir()
    with ExitStack() as stops:
        parts = opened(tmp_path / "demo", stops)
    assert [path.name for path in (parts.wetread / "data").iterdir()] == ["models"]
    assert (parts.wetread / "data/models/brain").is_dir()
    assert parts.packages.exists()
    assert not parts.pacs.exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with ExitStack() as stops, pytest.raises(SetupError, match="not empty"):
        opened(tmp_path, stops)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with ExitStack() as stops:
        opened(tmp_path / "demo", stops)
        with pytest.raises(SetupError, match="another demo"):
            opened(tmp_path / "demo", stops)
