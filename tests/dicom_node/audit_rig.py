"""What the tests of the audit trail share: a trail, the schema of messages, and reading them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from lxml import etree

from dicom_node.audit.auditor import Auditor
from dicom_node.audit.chain import AuditChain, AuditRecord
from dicom_node.audit.message import Actor

SCHEMA = Path(__file__).parents[1] / "fixtures" / "audit_message.rng"


def problems_of(messages: Sequence[str]) -> list[str]:
    """Return what the schema of PS3.15 A.5.1.1 says against messages."""
    schema = etree.RelaxNG(etree.parse(str(SCHEMA)))
    trees = ((message, etree.fromstring(message)) for message in messages)
    return [
        f"{schema.error_log.last_error}: {message}"
        for message, tree in trees
        if not schema.validate(tree)
    ]


def trail(engine: sa.Engine, **changes: Any) -> Auditor:
    chain = AuditChain(engine, tenant="default", source="WETREAD@here")
    values: dict[str, Any] = {
        "process": Actor(user="wetread-node", ae_title="WETREAD"),
        "account": "wetread",
        "patient_of": lambda _: "P1",
        "clock": lambda: 1_700_000_000.0,
        "visit_s": 600.0,
    }
    return Auditor(chain, **(values | changes))


def written(auditor: Auditor) -> list[AuditRecord]:
    """Return every record, what is noted too; all of them are valid messages."""
    auditor.flush()
    records = list(auditor._chain.records())
    assert problems_of([record.message for record in records]) == []
    return records


def values(record: AuditRecord, path: str) -> list[str]:
    """Return what an XPath finds in the message of a record."""
    return [str(each) for each in etree.fromstring(record.message).xpath(path)]
