import asyncio
from typing import Any

import httpx
import pytest
from pydicom import Dataset

from serving.worker import build_writer
from tests.serving.bench import MODEL, Bench, mr, peer
from tests.serving.room.rows import finding
from tests.serving.test_api import Web, close, study_of


class Desk(Web):
    """The application with an analysed study, asked as a reader does."""

    @property
    def study(self) -> str:
        return study_of(self.bench)

    @property
    def tracking(self) -> str:
        return self.bench.journal.findings(self.study)[0].tracking_uid

    def post(self, path: str, body: Any = None) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
                return await client.post(path, json=body)

        return asyncio.run(asked())

    def say(self, status: int = 201, **body: Any) -> Any:
        answer = self.post(f"/api/studies/{self.study}/assessments", body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def undo(self, action: str, status: int = 201) -> Any:
        answer = self.post(f"/api/studies/{self.study}/assessments/{action}/undo")
        assert answer.status_code == status, answer.text
        return answer.json()

    def holds(self) -> tuple[str, str]:
        record = self.bench.parts.assessments.current(self.study)[self.tracking]
        return record.verdict, record.reason

    def filed(self) -> Dataset:
        """Let the worker write what holds; return the newest document."""
        build_writer(self.bench.parts).write(self.study)
        return self.bench.dataset(self.bench.results(self.study)["ASSESSMENT"])


@pytest.fixture
def desk(analysed) -> Desk:
    bench = analysed(peers=(peer(), peer("second")))
    close(bench, study_of(bench))
    return Desk(bench)


def test_accept_reject_correct_and_their_history(desk: Desk):
    desk.say(verdict="accepted")
    desk.say(verdict="rejected", reason="NOT_PRESENT", tracking_uids=[desk.tracking])
    (made,) = desk.say(
        verdict="corrected",
        tracking_uids=[desk.tracking],
        measured=[{"name": "Volume", "value": 2.5}],
        comment=" as measured by hand\0 ",
    )
    assert made["measured"][0]["unit"] == "ml"
    assert (made["reader"], made["comment"]) == ("local", "as measured by hand")
    history = desk.get(f"/api/studies/{desk.study}/assessments")
    assert [(r["verdict"], r["current"]) for r in history] == [
        ("corrected", True),
        ("rejected", False),
        ("accepted", False),
    ]
    assert history[1]["reason"] == "NOT_PRESENT"


def test_undo_gives_the_verdict_before_back(desk: Desk):
    (first,) = desk.say(verdict="accepted")
    (second,) = desk.say(verdict="rejected", reason="WRONG_OUTLINE")
    desk.undo(first["action"], status=409)  # it was assessed again since
    (restored,) = desk.undo(second["action"])
    assert desk.holds() == ("accepted", "")
    desk.undo(restored["action"])
    assert desk.holds() == ("rejected", "WRONG_OUTLINE")
    desk.undo("nothing", status=404)


def test_undo_of_the_only_verdict_leaves_none(desk: Desk):
    (only,) = desk.say(verdict="rejected", reason="OTHER", comment="blurred")
    desk.undo(only["action"])
    assert desk.holds() == ("withdrawn", "")
    assert len(desk.get(f"/api/studies/{desk.study}/assessments")) == 2


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"verdict": "rejected"}, "reason"),
        ({"verdict": "accepted", "reason": "OTHER"}, "reason"),
        ({"verdict": "rejected", "reason": "OTHER"}, "comment"),
        ({"verdict": "rejected", "reason": "BECAUSE"}, "reason"),
        ({"verdict": "corrected"}, "class or measurements"),
        ({"verdict": "corrected", "measured": [{"name": "Volume", "value": 1}]}, "one finding"),
        ({"verdict": "withdrawn"}, "undo"),
        ({"verdict": "splendid"}, "verdict"),
        ({"verdict": "accepted", "comment": "x" * 2001}, "comment"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(desk: Desk, body, why):
    assert why in desk.say(422, **body)["detail"]
    assert desk.bench.parts.assessments.history(desk.study) == ()


def test_a_negative_measurement_is_refused(desk: Desk):
    measured = [{"name": "Volume", "value": -1}]
    desk.say(422, verdict="corrected", tracking_uids=[desk.tracking], measured=measured)


def test_what_the_study_does_not_have_is_refused(desk: Desk):
    desk.say(409, verdict="accepted", tracking_uids=["9.9"])
    wrong = {"verdict": "corrected", "tracking_uids": [desk.tracking]}
    desk.say(409, **wrong, measured=[{"name": "Length", "value": 1}])
    desk.say(409, **wrong, instead="Glioma")
    assert desk.post("/api/studies/9.9/assessments", {"verdict": "accepted"}).status_code == 404
    assert desk.bench.parts.assessments.history(desk.study) == ()


def test_a_study_without_findings_cannot_be_assessed(make):
    bench = make()
    close(bench, bench.analysed(mr()))
    assert "no findings" in Desk(bench).say(409, verdict="accepted")["detail"]


def test_the_assessment_becomes_an_object_of_the_study_and_goes_where_results_went(desk: Desk):
    desk.say(verdict="rejected", reason="WRONG_OUTLINE", comment="左侧")
    ds = desk.filed()
    results = desk.bench.results(desk.study)
    assert (ds.StudyInstanceUID, results["ASSESSMENT"].state) == (desk.study, "valid")
    (container,) = (i for i in ds.ContentSequence if i.ValueType == "CONTAINER")
    said = {i.ConceptNameCodeSequence[0].CodeMeaning: i for i in container.ContentSequence}
    referenced = said["Assessed object"].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert referenced == results["SR"].instance_uid
    assert desk.tracking == said["Tracking Unique Identifier"].UID
    assert said["Reason"].ConceptCodeSequence[0].CodeValue == "WRONG_OUTLINE"
    assert said["Comment"].TextValue == "左侧"
    uid = results["ASSESSMENT"].instance_uid
    sent = [d for d in desk.bench.journal.deliveries() if d.instance_uid == uid]
    assert [d.destination for d in sent] == ["pacs"]  # `second` was not configured at that time


def test_filing_may_be_repeated_and_the_next_supersedes(desk: Desk):
    desk.say(verdict="accepted")
    first = desk.filed()
    assert desk.filed().SOPInstanceUID == first.SOPInstanceUID
    desk.say(verdict="rejected", reason="NOT_PRESENT")
    second = desk.filed()
    assert second.SOPInstanceUID != first.SOPInstanceUID
    before = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    uid = before.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert uid == first.SOPInstanceUID
    all_of_them = desk.bench.journal.results(study_uid=desk.study)
    kept = [r.instance_uid for r in all_of_them if r.kind == "ASSESSMENT" and not r.superseded_by]
    assert kept == [second.SOPInstanceUID]
    assert desk.bench.results(desk.study)["SR"].superseded_by is None


def test_a_repeated_analysis_of_the_same_content_keeps_its_assessment(desk: Desk):
    desk.say(verdict="accepted")
    desk.filed()
    digest = desk.bench.index.content_digest(desk.study)
    desk.bench.run(desk.bench.ticket(desk.study, workitem_uid=f"{desk.study}-{digest[:12]}-2"))
    assert desk.holds() == ("accepted", "")
    assert desk.bench.results(desk.study)["ASSESSMENT"].superseded_by is None
    desk.say(verdict="rejected", reason="NOT_PRESENT", tracking_uids=[desk.tracking])


def test_only_the_newest_analysis_is_assessed(desk: Desk):
    """Findings of late images are others; what was said of the earlier ones is not theirs."""
    desk.say(verdict="accepted")
    workitem = "newer"
    journal = desk.bench.journal
    journal.schedule(workitem, study_uid=desk.study, content_digest="x", priority=5)
    newer = finding(workitem, tracking_uid="1.99", model=MODEL)
    journal.record_findings(desk.study, [newer])
    desk.say(409, verdict="accepted", tracking_uids=[desk.tracking])
    (made,) = desk.say(verdict="accepted")
    assert made["tracking_uid"] == "1.99"


def test_events_tell_pages_of_an_assessment(desk: Desk):
    last = desk.bench.journal.last_event_id()
    desk.say(verdict="accepted")
    (event,) = desk.bench.journal.events_after(last)
    assert (event.kind, event.study_uid, event.text) == (
        "assessed",
        desk.study,
        "findings accepted",
    )


def test_a_class_is_corrected_by_its_name(make):
    from tests.models.networks import CLASSIFICATION, classifier  # noqa: PLC0415

    bench: Bench = make()
    bench.install()
    bench.install(CLASSIFICATION, classifier())
    study = bench.analysed(mr((16, 16, 16)))
    close(bench, study)
    desk = Desk(bench)
    classified = next(f for f in bench.journal.findings(study) if f.probabilities)
    other = next(c.name for c in classified.probabilities if c.name != classified.concept)
    (made,) = desk.say(verdict="corrected", tracking_uids=[classified.tracking_uid], instead=other)
    assert made["instead"]["meaning"] == other
