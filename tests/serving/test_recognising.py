"""What readers save into an analysed study, as a viewer writes it and otherwise."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from starlette.types import ASGIApp

from serving.parts import Parts
from serving.saved_objects import SavedMatch, SavedObject
from serving.web import application
from serving.worker import build_recogniser
from tests.dicom_node.rig import part10
from tests.serving.bench import Bench, mr, peer
from tests.serving.test_api import close
from tests.serving.test_assessments import Desk

SAVED = Path(__file__).parents[1] / "fixtures" / "viewer"
SHAPE = (12, 64, 64)


class Reader(Desk):
    """An analysed study that readers save into."""

    def save(self, ds: Dataset, *, sender: str = "STOW-RS") -> SavedObject:
        """Receive an object, let the worker look, and return what it made of it."""
        self.bench.receive([ds], sender=sender)
        self.look()
        (saved,) = (o for o in self.all() if o.instance_uid == ds.SOPInstanceUID)
        return saved

    def look(self) -> None:
        build_recogniser(self.bench.parts).look()

    def all(self) -> tuple[SavedObject, ...]:
        return self.bench.parts.saved.of_study(self.study)

    def ours(self, kind: str) -> Dataset:
        return self.bench.dataset(self.bench.results(self.study)[kind])

    def edited(self, uid: str, *, slices: int, moment: str = "20260101100000") -> Dataset:
        """Our segmentation without its last slices, under another UID."""
        ds = self.ours("SEG")
        pixels = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
        frames, size = int(ds.NumberOfFrames), ds.Rows * ds.Columns
        kept = pixels[: frames * size].reshape(frames, size).copy()
        kept[frames - slices :] = 0
        ds.PixelData = np.packbits(kept.ravel(), bitorder="little").tobytes()
        ds.Manufacturer, ds.ContentCreatorName = "Editor", "Reader^Rita"
        ds.ContentDate, ds.ContentTime = moment[:8], moment[8:]
        return named(ds, uid)

    def verdicts(self) -> list[str]:
        return [r.verdict.value for r in self.bench.parts.assessments.history(self.study)]


def named(ds: Dataset, uid: str) -> Dataset:
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.SeriesInstanceUID = f"{uid}.1"
    return ds


def of_viewer(name: str) -> Dataset:
    return dcmread(SAVED / name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bench = Bench(tmp_path_factory.mktemp("whole"), peers=(peer(),))
    bench.install()
    close(bench, bench.analysed(mr(SHAPE)))
    bench.parts.index.engine.dispose()
    return bench.settings.data_folder


@pytest.fixture
def reader(whole: Path, tmp_path: Path) -> Reader:
    shutil.copytree(whole, tmp_path / "data")
    return Reader(Bench(tmp_path, peers=(peer(),)))


def only(saved: SavedObject) -> SavedMatch:
    (match,) = saved.matches
    return match


def test_a_segmentation_from_the_viewer_becomes_a_correction(reader: Reader):
    """One slice of six was erased; the viewer lost tracking UID and codes, and kept the label."""
    match = only(reader.save(of_viewer("segmentation.dcm")))
    assert (match.tracking_uid, match.by) == (reader.tracking, "label or code")
    assert match.dice == pytest.approx(10 / 11)
    (change,) = match.changes
    assert change.before == pytest.approx(6.144)
    assert change.after.value == pytest.approx(6.144 * 5 / 6)
    (record,) = reader.bench.parts.assessments.history(reader.study)
    assert (record.verdict, record.reader) == ("corrected", "local")
    assert record.measured[0].value == pytest.approx(5.12)
    assert record.object_uid == of_viewer("segmentation.dcm").SOPInstanceUID


def test_the_assessment_in_the_study_refers_to_the_saved_object(reader: Reader):
    saved = reader.save(of_viewer("segmentation.dcm"))
    document = reader.filed()
    assert reader.bench.results(reader.study)["ASSESSMENT"].state == "valid"
    items = {
        i.ConceptNameCodeSequence[0].CodeValue: i
        for container in document.ContentSequence
        if container.ValueType == "CONTAINER"
        for i in container.ContentSequence
    }
    (reference,) = items["CORRECTED_OBJECT"].ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == saved.instance_uid
    assert items["118565006"].MeasuredValueSequence[0].NumericValue == pytest.approx(5.12)
    evidence = [
        instance.ReferencedSOPInstanceUID
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]
    assert saved.instance_uid in evidence
    sent = [d.destination for d in reader.bench.journal.deliveries()
            if d.instance_uid == document.SOPInstanceUID]  # fmt: skip
    assert sent == ["pacs"]


def test_the_work_of_filing_it_is_started_once(reader: Reader):
    reader.save(of_viewer("segmentation.dcm"))
    (record,) = reader.bench.parts.assessments.history(reader.study)
    work = f"{reader.study}/assessment-{record.id}"
    assert reader.bench.parts.client.find(work).status == "ENQUEUED"
    assert [saved.state for saved in reader.all()] == ["filed"]


def test_the_same_object_again_changes_nothing(reader: Reader):
    first = reader.save(of_viewer("segmentation.dcm"))
    assert reader.save(of_viewer("segmentation.dcm"), sender="PACS") == first
    reader.look()
    assert reader.verdicts() == ["corrected"]
    assert reader.bench.index.study(reader.study).state == "complete"


def test_a_worker_that_dies_in_between_leaves_nothing_undone(reader: Reader):
    """Killed after the correction was stored and before it was filed: the next one files it."""
    reader.bench.receive([of_viewer("segmentation.dcm")])
    parts = reader.bench.parts
    (saved,) = parts.saved.pending()
    findings = parts.journal.current_findings(reader.study)
    read = build_recogniser(parts)._read(saved, findings)
    for _ in range(2):
        parts.saved.settle(read, findings, workitem_uid="")
    assert [saved.state for saved in parts.saved.pending()] == ["read"]
    reader.look()
    assert parts.saved.pending() == ()
    assert reader.verdicts() == ["corrected"]


def test_a_newer_save_supersedes_and_undo_gives_the_older_back(reader: Reader):
    reader.save(reader.edited("1.2.3.1", slices=1, moment="20260101100000"))
    reader.save(reader.edited("1.2.3.2", slices=2, moment="20260101110000"))
    newest, older = reader.bench.parts.assessments.history(reader.study)
    assert (newest.current, older.current) == (True, False)
    assert (newest.object_uid, newest.reader) == ("1.2.3.2", "Reader^Rita")
    (restored,) = reader.undo(newest.action)
    assert (restored["verdict"], restored["object_uid"]) == ("corrected", "1.2.3.1")
    reader.undo(older.action, status=409)


def test_an_older_save_that_comes_late_corrects_nothing(reader: Reader):
    reader.save(reader.edited("1.2.3.2", slices=2, moment="20260101110000"))
    late = only(reader.save(reader.edited("1.2.3.1", slices=1, moment="20260101100000")))
    assert late.why is not None
    assert (late.corrects, late.why.code) == (False, "SAVED_OLDER")
    (record,) = reader.bench.parts.assessments.history(reader.study)
    assert record.object_uid == "1.2.3.2"


def test_undo_of_the_only_save_leaves_no_verdict(reader: Reader):
    reader.save(reader.edited("1.2.3.1", slices=1))
    (record,) = reader.bench.parts.assessments.history(reader.study)
    (restored,) = reader.undo(record.action)
    assert (restored["verdict"], restored["object_uid"]) == ("withdrawn", None)


def test_a_segmentation_saved_unchanged_is_no_correction(reader: Reader):
    match = only(reader.save(reader.edited("1.2.3.1", slices=0)))
    assert (match.by, match.dice, match.corrects) == ("tracking UID", 1.0, False)
    assert reader.verdicts() == []


def test_what_cannot_be_compared_corrects_nothing_and_says_why(reader: Reader):
    other = reader.edited("1.2.3.1", slices=1)
    other.FrameOfReferenceUID = "1.2.99"
    match = only(reader.save(other))
    assert match.why is not None
    assert (match.tracking_uid, match.why.code) == (reader.tracking, "SAVED_OTHER_FRAME")
    assert reader.verdicts() == []


def test_a_segment_of_another_name_is_the_readers_own(reader: Reader):
    own = of_viewer("segmentation.dcm")
    own.SegmentSequence[0].SegmentLabel = "Lesion"
    match = only(reader.save(own))
    assert (match.tracking_uid, match.label, match.why) == ("", "Lesion", None)
    assert reader.verdicts() == []


def test_a_name_means_no_finding_that_came_later(whole: Path, make: Callable[..., Bench]):
    """Drawn before our analysis: whoever drew it did not correct us."""
    bench = make(peers=(peer(),))
    bench.install()
    bench.receive([*mr(SHAPE), of_viewer("segmentation.dcm")])
    close(bench, bench.analysed(mr(SHAPE)))
    reader = Reader(bench)
    reader.look()
    assert only(reader.all()[0]).tracking_uid == ""
    assert reader.verdicts() == []


def test_nothing_is_judged_while_the_study_is_in_work(reader: Reader):
    reader.bench.journal.schedule("later", study_uid=reader.study, content_digest="", priority=5)
    assert reader.save(of_viewer("segmentation.dcm")).state == "new"
    assert reader.verdicts() == []


def test_a_report_saved_by_the_viewer_unchanged_is_no_correction(reader: Reader):
    """It names a tool as tracking identifier, has a new tracking UID and measures the area."""
    match = only(reader.save(of_viewer("report.dcm")))
    assert (match.tracking_uid, match.by) == (reader.tracking, "label or code")
    assert (match.corrects, match.why) == (False, None)
    assert reader.verdicts() == []


def scoord(ds: Dataset) -> tuple[Dataset, Dataset]:
    """Return the measured area and its outline of the viewer's report."""
    lists = (element.value for element in ds.iterall() if element.keyword == "ContentSequence")
    items = (item for content in lists for item in content)
    area = next(item for item in items if item.ValueType == "NUM")
    return area, area.ContentSequence[0]


def test_a_changed_outline_in_a_report_corrects_the_area(reader: Reader):
    ds = of_viewer("report.dcm")
    area, outline = scoord(ds)
    outline.GraphicData = [16, 16, 32, 16, 32, 48, 16, 48, 16, 16]
    area.MeasuredValueSequence[0].NumericValue = "512"
    match = only(reader.save(ds))
    (change,) = match.changes
    assert (change.before, change.after.value, change.after.unit) == (1024, 512, "mm2")
    assert change.percent == -50
    (record,) = reader.bench.parts.assessments.history(reader.study)
    assert [(m.name, m.value) for m in record.measured] == [("Area", 512)]
    assert reader.filed().SOPInstanceUID
    assert reader.bench.results(reader.study)["ASSESSMENT"].state == "valid"


def test_changed_measurements_of_a_report_that_kept_its_tracking_uid(reader: Reader):
    ds = named(reader.ours("SR"), "1.2.3.9")
    ds.Manufacturer = "Workstation"
    for element in ds.iterall():
        if element.keyword == "NumericValue":
            element.value = "3.5"
    match = only(reader.save(ds, sender="PACS"))
    assert match.by == "tracking UID"
    assert [(c.before, c.after.value) for c in match.changes] == [(pytest.approx(6.144), 3.5)]
    (record,) = reader.bench.parts.assessments.history(reader.study)
    assert (record.reader, record.measured[0].unit) == ("PACS", "ml")


def test_a_length_that_a_reader_drew_is_the_readers_own(reader: Reader):
    emptied, length = reader.save(of_viewer("report-with-length.dcm")).matches
    assert emptied.why is not None
    assert (emptied.tracking_uid, emptied.why.code) == (reader.tracking, "SAVED_NOTHING")
    assert (length.tracking_uid, length.corrects) == ("", False)
    assert reader.verdicts() == []


def test_our_own_object_that_comes_back_says_nothing(reader: Reader):
    ds = named(reader.ours("SEG"), "1.2.3.8")
    assert reader.save(ds, sender="PACS").matches == ()


def test_a_broken_object_is_shown_as_unreadable(reader: Reader):
    ds = of_viewer("segmentation.dcm")
    ds.SegmentSequence[0].SegmentNumber = None
    match = only(reader.save(ds))
    assert match.why is not None
    assert match.why.code == "SAVED_UNREADABLE"


def test_rest_lists_what_was_saved(reader: Reader):
    reader.save(of_viewer("segmentation.dcm"))
    (saved,) = reader.get(f"/api/studies/{reader.study}/assessments/saved")
    assert saved["matches"][0]["corrects"] is True
    (said,) = reader.get(f"/api/studies/{reader.study}/assessments")
    assert said["object_uid"] == saved["instance_uid"]


def page(reader: Reader, language: str) -> Any:
    answer = reader.ask("GET", f"/studies/{reader.study}?lang={language}")
    assert answer.status_code == 200
    return answer.text


def test_the_page_shows_the_correction_and_what_it_comes_from(reader: Reader):
    reader.save(of_viewer("segmentation.dcm"))
    reader.save(of_viewer("report-with-length.dcm"))
    english, chinese = page(reader, "en"), page(reader, "zh")
    assert "Dice 0.909" in english
    assert "(-16.7 %)" in english
    assert "by a saved object" in english
    assert "no finding of ours" in english
    assert "他方保存的对象" in chinese
    assert "其中没有可与该所见比较的测量值或轮廓" in chinese


def test_the_correction_is_of_who_was_signed_in_even_after_a_restart(reader: Reader):
    """Stored through the gate by two people; a worker of another process looks at it later."""
    people, word = reader.bench.parts.people, "correct horse battery"
    for name in ("rita", "omar"):
        people.add_user(name, "reader", word)
    key = people.add_key("workstation", "reader")
    app = application(reader.bench.parts)
    by_session = {"Cookie": f"wetread-session={people.sign_in('rita', word)}"}
    by_key = {"Authorization": f"Bearer {key}"}
    sent = (("2.25.71", by_session), ("2.25.72", by_key))
    for number, (uid, headers) in enumerate(sent):
        ds = reader.edited(uid, slices=2 + number, moment=f"2026010110000{number}")
        assert stowed(app, ds, headers) == 200
    again = Parts(reader.bench.settings)
    assert [saved.state for saved in again.saved.of_study(reader.study)] == ["new", "new"]
    build_recogniser(again).look()
    found = {o.instance_uid: o.reader for o in again.saved.of_study(reader.study)}
    assert found == {"2.25.71": "rita", "2.25.72": "Reader^Rita"}
    history = again.assessments.history(reader.study)
    assert [(r.object_uid, r.reader) for r in history] == [
        ("2.25.72", "Reader^Rita"),
        ("2.25.71", "rita"),
    ]


def stowed(app: ASGIApp, ds: Dataset, headers: dict[str, str]) -> int:
    head = b"--x\r\nContent-Type: application/dicom\r\n\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    body = head + part10(ds) + b"\r\n--x--\r\n"

    async def asked() -> int:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            given = headers | {"Origin": "http://127.0.0.1", "Content-Type": kind}
            answer = await client.post("/dicomweb/studies", content=body, headers=given)
            return answer.status_code

    return asyncio.run(asked())
