"""A short seeded part of `scripts/fuzz.py`: attacks on a listener, damaged data sets, odd files."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from pydicom.uid import CTImageStorage

from dicom_node.archive import Archive
from dicom_node.ingest import Ingest
from dicom_node.limits import Limits
from imaging.errors import WetreadError
from imaging.scan import Bounds
from scripts import fuzz_files
from scripts.fuzz_dicom import ATTACKS, Target, outcome
from serving.folder import Found, Skipped, read_folder
from tests.dicom_node.rig import Running, in_parallel, wait_for

LIMITS = Limits(
    associate_s=1,
    grace_s=1,
    slowest_rate=1 << 20,
    idle_s=3,
    half_open=16,
    associations_of_peer=8,
    message_bytes=4 << 20,
)


def test_every_attack_is_answered_or_ended_and_leaves_nothing(
    start: Callable[..., Running],
) -> None:
    running = start(limits=LIMITS)
    before = threading.active_count()
    outcomes: dict[str, str] = {}

    def attack(number: int) -> None:
        source = f"127.0.0.{number + 2}"
        target = replace(Target(port=running.port, hold_s=0.5, patience_s=60), source=source)
        for each in ATTACKS[number::4]:
            outcomes[each.__name__] = outcome(each, target, Random(number))

    in_parallel(4, attack)
    assert len(outcomes) == len(ATTACKS)
    assert "hang" not in outcomes.values(), outcomes
    assert running.dcmtk("echoscu").code == 0
    wait_for(lambda: threading.active_count() <= before, seconds=30)
    assert running.node._brought == {}


def stored(ingest: Ingest, made: fuzz_files.Damaged) -> str:
    """Return why it was refused; empty when it was stored."""
    try:
        ingest.store(
            made.data,
            sop_class_uid=CTImageStorage,
            instance_uid=made.instance_uid,
            transfer_syntax_uid=made.syntax,
            calling_ae="FUZZ",
            address="127.0.0.1",
        )
    except WetreadError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", fuzz_files.KINDS, ids=lambda kind: kind.__name__)
def test_damaged_data_sets_are_stored_or_refused_with_a_reason(
    kind: Callable[[Random], fuzz_files.Damaged], ingest: Ingest, archive: Archive
) -> None:
    found: Counter[str] = Counter()
    for seed in range(12):
        made = kind(Random(seed))
        found[stored(ingest, made)] += 1
    assert found.total() > found[""]
    files = [path.resolve() for path in archive.folder.parent.rglob("*.dcm")]
    assert all(path.is_relative_to(archive.folder.resolve()) for path in files)


def test_files_that_other_programs_take_for_theirs_are_read_or_skipped(tmp_path: Path) -> None:
    for seed in range(60):
        (tmp_path / f"{seed}.dcm").write_bytes(fuzz_files.polyglot(Random(seed)))
    read = list(read_folder(tmp_path))
    assert len(read) == 60
    assert {type(each) for each in read} == {Found, Skipped}


def test_depth_is_counted_whatever_the_lengths_say(ingest: Ingest) -> None:
    for seed in range(30):
        made = fuzz_files.nested(Random(seed))
        depth = made.data.count(b"\x08\x00\x10\x11")
        if depth <= Bounds().depth:
            continue
        assert "nested deeper" in stored(ingest, made)


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        (Bounds(element_bytes=100), "too large"),
        (Bounds(frames=3), "4 frames"),
        (Bounds(decoded_bytes=2000), "2048 bytes when decoded"),
    ],
)
def test_an_instance_out_of_bounds_is_refused(
    archive: Archive, ingest: Ingest, bounds: Bounds, why: str
) -> None:
    changes = {"NumberOfFrames": 4, "Rows": 16, "Columns": 16, "ImageComments": "x" * 200}
    made = fuzz_files.encoded(fuzz_files.sound(PixelData=bytes(2048), **changes))
    bounded = Ingest(archive, ingest._index, ingest._clock, bounds=bounds)
    assert why in stored(bounded, made)
    assert stored(ingest, made) == ""
