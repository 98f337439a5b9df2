"""Whoever tampers with the audit trail is found out, on both databases."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node import schema
from dicom_node.audit.chain import AuditChain, Head
from dicom_node.audit.kinds import Kind
from dicom_node.audit.message import SERIOUS, Actor, AuditEvent, Query
from dicom_node.schema_audit import audit_records as table
from tests.dicom_node.audit_rig import problems_of, trail, values, written

ROOT = Path(__file__).parents[2]
READER = Actor(user="reader", address="127.0.0.1", asked=True)
_APPEND = """
import sys
from dicom_node import schema
from dicom_node.audit.chain import AuditChain
from dicom_node.audit.kinds import Kind
from dicom_node.audit.message import Actor, AuditEvent
chain = AuditChain(schema.connect(sys.argv[1]), tenant="default", source="test")
for n in range(40):
    who = Actor(user=sys.argv[2], asked=True)
    chain.append([(float(n), AuditEvent(kind=Kind.ACCESSED, actors=(who,), study_uid="1.2"))])
"""


def seen(study_uid: str = "1.2") -> AuditEvent:
    return AuditEvent(kind=Kind.ACCESSED, actors=(READER,), study_uid=study_uid, patient_id="P1")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/audit.db"


@pytest.fixture
def database(url: str) -> Iterator[sa.Engine]:
    engine = schema.connect(url)
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def chain(database: sa.Engine) -> AuditChain:
    """Ten records of ten days, written in two goes."""
    made = AuditChain(database, tenant="default", source="WETREAD@here")
    made.append([(86400.0 * n, seen(f"1.{n}")) for n in range(4)])
    made.append([(86400.0 * n + 0.1, seen(f"1.{n}")) for n in range(4, 10)])
    return made


def change(db: sa.Connection, which: int, **to: object) -> None:
    db.execute(sa.update(table).where(table.c.number == which).values(**to))


def delete(db: sa.Connection, *numbers: int) -> None:
    db.execute(sa.delete(table).where(table.c.number.in_(numbers)))


def swap(db: sa.Connection) -> None:
    for one, other in ((4, 99), (5, 4), (99, 5)):
        change(db, one, number=other)


def insert(db: sa.Connection) -> None:
    for number in range(10, 4, -1):
        change(db, number, number=number + 1)
    row = db.execute(sa.select(table).where(table.c.number == 4)).mappings().one()
    db.execute(sa.insert(table).values(**{**row, "number": 5}))


TAMPERINGS: dict[str, tuple[Callable[[sa.Connection], None], str]] = {
    "message": (lambda db: change(db, 4, message="<AuditMessage/>"), "record 4 is not"),
    "user": (lambda db: change(db, 4, user="nobody"), "record 4 is not"),
    "time": (lambda db: change(db, 1, at=1.0), "record 1 is not"),
    "newest": (lambda db: change(db, 10, study_uid="9"), "record 10 is not"),
    "deleted": (lambda db: delete(db, 4), "record 4 is missing"),
    "several": (lambda db: delete(db, 4, 5, 6), "records 4 to 6 are missing"),
    "begin cut": (lambda db: delete(db, 1, 2), "records 1 to 2 are missing"),
    "swapped": (swap, "record 4 is not"),
    "inserted": (insert, "record 5 is not"),
}


def test_a_chain_that_nobody_touched_is_sound(chain: AuditChain) -> None:
    verdict = chain.verify()
    assert (verdict.records, verdict.problems, verdict.head) == (10, (), chain.head())
    assert problems_of([record.message for record in chain.records()]) == []


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(chain: AuditChain, database: sa.Engine, name: str) -> None:
    tamper, problem = TAMPERINGS[name]
    with schema.writing(database) as db:
        tamper(db)
    assert [found for found in chain.verify().problems if found.startswith(problem)]


def test_a_cut_end_is_found_with_a_head_that_was_noted(
    chain: AuditChain, database: sa.Engine
) -> None:
    noted = chain.head().digest
    chain.append([(9e6, seen())])
    assert chain.verify(noted).problems == ()
    with schema.writing(database) as db:
        delete(db, 9, 10, 11)
    assert chain.verify().problems == ()
    (problem,) = chain.verify(noted).problems
    assert noted in problem
    chain.append([(9e6, seen())])
    assert chain.verify(noted).problems


def test_a_chain_that_was_rewritten_has_another_head(
    chain: AuditChain, database: sa.Engine
) -> None:
    noted = chain.head().digest
    with schema.writing(database) as db:
        delete(db, *range(4, 11))
    chain.append([(1.0, seen("1.99"))] + [(86400.0 * n, seen(f"1.{n}")) for n in range(4, 10)])
    assert chain.verify().problems == ()
    assert chain.verify(noted).problems


def test_old_records_go_and_what_is_left_can_still_be_verified(
    chain: AuditChain, database: sa.Engine
) -> None:
    heads = [Head(number=r.number, digest=r.digest) for r in chain.records()]
    gone = AuditEvent(kind=Kind.RECORDS_REMOVED, actors=(READER,), about="audit", text="old")
    assert chain.forget(gone, before=0.0, at=1e6) == 0
    assert chain.forget(gone, before=86400.0 * 3, at=1e6) == 3
    verdict = chain.verify(heads[2].digest)
    assert (verdict.records, verdict.problems) == (8, ())
    assert chain.verify(heads[6].digest).problems == ()
    assert chain.verify(heads[1].digest).problems  # too long ago to be told
    assert chain.forget(gone, before=86400.0 * 5, at=2e6) == 2
    assert chain.verify().problems == ()
    with schema.writing(database) as db:
        delete(db, 6)
    assert chain.verify().problems == ("record 6 is missing",)


def test_processes_that_append_at_once_make_one_chain(
    chain: AuditChain, database: sa.Engine
) -> None:
    url = database.url.render_as_string(hide_password=False)
    url = url.replace("postgresql+psycopg", "postgresql")
    started = [
        subprocess.Popen([sys.executable, "-c", _APPEND, url, name], cwd=ROOT)
        for name in ("one", "two")
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    verdict = chain.verify()
    assert (verdict.records, verdict.problems) == (90, ())
    assert {r.user for r in chain.records()} == {"reader", "one", "two"}


# The messages, and taking events in


def test_every_kind_of_event_makes_a_valid_message(database: sa.Engine) -> None:
    auditor = trail(database)
    for kind in Kind:
        event = replace(
            seen(), kind=kind, text="why\nnot", about="/x", outcome=SERIOUS, instances={"1.2": 3}
        )
        auditor.note(event)
        auditor.note(replace(event, query=Query(what="1.2.840", asked=b"\0<", syntax="1.2")))
    auditor.note(replace(seen("1.2\0\ud800"), patient_id="<\x1b\n&>"))
    records = written(auditor)
    assert len(records) == 2 * len(Kind) + 1
    assert not [record for record in records if "\n" in record.message]
    assert values(records[-1], "//ParticipantObjectIdentification/@ParticipantObjectID")[0] == (
        "1.2??"
    )


def test_a_visit_is_one_record_and_another_one_later(database: sa.Engine) -> None:
    now = 1_700_000_000.0
    auditor = trail(database, clock=lambda: now)
    for _ in range(500):
        auditor.note(seen(), visit="reader 1.2")
    auditor.note(seen(), visit="other 1.2")
    now += 601
    auditor.note(seen(), visit="reader 1.2")
    assert len(written(auditor)) == 3


def test_what_is_noted_is_written_soon_and_at_the_stop(database: sa.Engine) -> None:
    auditor = trail(database)
    auditor.start()
    for n in range(1200):
        auditor.note(seen(f"1.{n}"))
    auditor.stop()
    records = written(auditor)
    assert [r.event for r in records] == ["STARTED", *["ACCESSED"] * 1200, "STOPPED"]
    assert values(records[5], "//ParticipantObjectIdentification/@ParticipantObjectID") == [
        "1.4",
        "P1",
    ]
