import multiprocessing

import pytest

from imaging.errors import Conflict, NotFound, PackageInvalid
from models.registry import Registry
from models.stages import By, Stage
from tests.models.networks import SEGMENTATION, TOGETHER, segmenter, write_package

NAME = "bright-tissue"
BY = By(who="anna", why="it is better", at=5.0)


class Shelf:
    """A registry, and versions 1.0, 1.1 and 1.2 of one model to add to it."""

    def __init__(self, folder):
        self.folder = folder
        self.registry = Registry(folder / "models")

    def source(self, version):
        manifest = SEGMENTATION.replace('version = "1.0"', f'version = "{version}"')
        assert f'"{version}"' in manifest
        return write_package(self.folder / version, manifest, segmenter())

    def add(self, version, stage=Stage.CANDIDATE):
        return self.registry.add(self.source(version), stage, BY)

    @property
    def served(self):
        """What a worker that has run for long sees, and one that starts now."""
        seen = {r.get(NAME).manifest.version for r in (self.registry, self.reopened())}
        assert len(seen) == 1
        return seen.pop()

    def reopened(self):
        return Registry(self.registry.folder)

    @property
    def stages(self):
        return {v.version: v.stage.value for v in self.registry.versions(NAME)}


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path)
    made.add("1.0", Stage.SERVED)
    return made


def test_the_only_version_is_served(shelf):
    assert shelf.stages == {"1.0": "served"}
    assert shelf.registry.history(NAME) == ()
    assert shelf.registry.stage_of_next(NAME) is Stage.CANDIDATE
    assert shelf.registry.stage_of_next("another") is Stage.SERVED


def test_a_candidate_lies_beside_the_served_version(shelf):
    added = shelf.add("1.1")
    assert added.manifest.version == "1.1"
    assert shelf.served == "1.0"
    assert [p.manifest.version for p in shelf.registry.packages()] == ["1.0"]
    assert shelf.stages == {"1.0": "served", "1.1": "candidate"}
    assert shelf.registry.get(NAME, added.digest) == added


def test_promoting_and_going_back(shelf):
    second, third = shelf.add("1.1"), shelf.add("1.2")
    shelf.registry.promote(NAME, "1.1", BY, gate=None)
    assert shelf.stages == {"1.0": "retired", "1.1": "served", "1.2": "candidate"}
    shelf.registry.promote(NAME, third.digest[:8], BY, gate=None)
    assert shelf.served == "1.2"
    assert shelf.registry.rollback(NAME, BY).digest == second.digest
    assert shelf.served == "1.1"
    shelf.registry.rollback(NAME, BY)
    assert shelf.served == "1.0"
    with pytest.raises(Conflict, match="no other version"):
        shelf.registry.rollback(NAME, BY)
    actions = [change.action for change in shelf.registry.history(NAME)]
    expected = ["found", "add", "add", "promote", "promote", "rollback", "rollback"]
    assert actions == expected
    last = shelf.registry.history(NAME)[-1]
    assert (last.who, last.why, last.at) == ("anna", "it is better", 5.0)


def test_a_model_can_be_taken_out_of_service_and_put_back(shelf):
    shelf.registry.retire(NAME, "1.0", BY)
    assert shelf.registry.packages() == shelf.registry.broken() == ()
    with pytest.raises(NotFound, match="no version of bright-tissue is served"):
        shelf.registry.get(NAME)
    shelf.registry.rollback(NAME, BY)
    assert shelf.served == "1.0"


def test_a_first_version_can_be_a_candidate(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.0")
    assert shelf.registry.packages() == ()
    assert shelf.stages == {"1.0": "candidate"}


def test_what_cannot_be_promoted_leaves_all_as_it_was(shelf):
    candidate = shelf.add("1.1")
    with pytest.raises(Conflict, match="is served already"):
        shelf.registry.promote(NAME, "1.0", BY, gate=None)
    for wanted in ("", "9.9"):
        with pytest.raises(NotFound, match="there is no version"):
            shelf.registry.promote(NAME, wanted, BY, gate=None)
    (candidate.folder / "note.txt").write_text("changed after it was added")
    with pytest.raises(PackageInvalid, match="have changed"):
        shelf.registry.promote(NAME, "1.1", BY, gate=None)
    assert shelf.served == "1.0"
    shelf.add("1.1")  # mends it
    shelf.registry.promote(NAME, "1.1", BY, gate=None)
    assert shelf.served == "1.1"


def test_two_versions_of_one_number_are_told_apart_by_digest(shelf):
    source = shelf.source("1.0")
    (source / "note.txt").write_text("other content")
    other = shelf.registry.add(source, Stage.CANDIDATE, BY)
    with pytest.raises(Conflict, match="by its digest"):
        shelf.registry.promote(NAME, "1.0", BY, gate=None)
    shelf.registry.promote(NAME, other.digest[:12], BY, gate=None)
    assert shelf.registry.get(NAME).digest == other.digest


def test_a_line_cut_short_by_a_kill_does_not_count(shelf):
    shelf.add("1.1")
    path = shelf.registry.folder / f"{NAME}.history"
    whole = path.read_bytes()
    shelf.registry.promote(NAME, "1.1", BY, gate=None)
    line = path.read_bytes()[len(whole) :]
    for kept in (1, len(line) // 2, len(line) - 1):
        path.write_bytes(whole + line[:kept])
        assert shelf.served == "1.0"
    shelf.registry.promote(NAME, "1.1", BY, gate=None)
    assert path.read_bytes() == whole + line
    assert shelf.served == "1.1"


def test_versions_are_removed_but_the_served_one(shelf):
    shelf.add("1.1", Stage.SERVED)
    with pytest.raises(Conflict, match="is served"):
        shelf.registry.remove_version(NAME, "1.1", BY)
    shelf.registry.remove_version(NAME, "1.0", BY)
    assert shelf.stages == {"1.1": "served"}
    with pytest.raises(Conflict, match="no other version"):
        shelf.registry.rollback(NAME, BY)
    shelf.registry.remove(NAME)
    assert list(shelf.registry.folder.iterdir()) == []


def _promote_and_go_back(folder, times):
    registry = Registry(folder)
    for _ in range(times):
        registry.promote(NAME, "1.1", BY, gate=None)
        registry.rollback(NAME, BY)


def test_who_looks_while_versions_change_always_finds_one_served(shelf):
    shelf.add("1.1")
    fork = multiprocessing.get_context("spawn")
    folder = shelf.registry.folder
    changing = fork.Process(target=_promote_and_go_back, args=(folder, 40))
    changing.start()
    while changing.is_alive():
        assert len(shelf.registry.packages()) == 1
    changing.join()
    assert changing.exitcode == 0
    assert len(shelf.registry.history(NAME)) == 82


def test_a_version_that_reads_several_series_cannot_be_a_shadow(shelf):
    manifest = TOGETHER.replace('version = "1.0"', 'version = "1.1"')
    source = write_package(shelf.folder / "1.1", manifest, segmenter())
    shelf.registry.add(source, Stage.CANDIDATE, BY)
    with pytest.raises(Conflict, match="several series"):
        shelf.registry.shadow(NAME, "1.1", BY)
    assert shelf.stages == {"1.0": "served", "1.1": "candidate"}
