"""Rows as the work leaves them, without doing the work."""

from typing import Any

from sqlalchemy import insert, update

from dicom_node import schema
from imaging.findings import Urgency
from serving.precedence import settle
from serving.records import FindingRecord
from tests.serving.bench import Bench, mr


def finding(workitem_uid: str = "w", **fields: Any) -> FindingRecord:
    return FindingRecord(
        **{
            "workitem_uid": workitem_uid,
            "series_uid": "1.2.3",
            "model": "m",
            "tracking_uid": "1.9",
            "concept": "Glioma",
            "statement": "Glioma",
            "urgency": Urgency.ROUTINE,
            "key_instance": None,
            **fields,
        }
    )


def arrived(bench: Bench, uid: str, at: float, **study: Any) -> None:
    """A study in one image; `study` changes its row."""
    bench.receive(
        mr(
            (2, 8, 8),
            StudyInstanceUID=uid,
            SeriesInstanceUID=f"{uid}.1",
            PatientID=f"P{uid}",
        )[:1]
    )
    row = {"first_received_at": at, "last_received_at": at, "state": "complete", **study}
    table = schema.studies
    with schema.writing(bench.index.engine) as db:
        db.execute(update(table).where(table.c.study_uid == uid).values(**row))
        settle(db, bench.index.tenant, [uid])


def analysed(bench: Bench, uid: str, *found: FindingRecord, priority: int = 5) -> str:
    workitem = f"{uid}-w"
    bench.journal.schedule(workitem, study_uid=uid, content_digest="", priority=priority)
    bench.journal.begin(workitem)
    records = [
        f.model_copy(update={"workitem_uid": workitem, "tracking_uid": f"{uid}.9.{n}"})
        for n, f in enumerate(found, 1)
    ]
    bench.journal.record_findings(uid, records)
    return workitem


def insert_row(bench: Bench, table: Any, **values: Any) -> None:
    with schema.writing(bench.index.engine) as db:
        db.execute(insert(table).values(**values))
