"""`wetread audit`: is the trail whole, and what does it say."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dicom_node.audit.chain import AuditRecord
from dicom_node.audit.kinds import Kind
from dicom_node.audit.message import AuditEvent
from imaging.errors import InputError
from serving.commands.tables import empty_table, output
from serving.parts import Parts
from serving.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records; what is empty does not restrict."""

    since: str = ""
    study_uid: str = ""
    user: str = ""

    @property
    def since_s(self) -> float:
        """The time in Unix seconds; without a zone it is meant as local.

        Raises
        ------
        InputError
            It is no time.
        """
        if not self.since:
            return 0.0
        try:
            return datetime.fromisoformat(self.since).timestamp()
        except ValueError as error:
            msg = f"{self.since} is no date or time such as 2026-01-31 or 2026-01-31T08:00"
            raise InputError(msg) from error


def verify(settings: Settings, noted: str) -> int:
    """Say what is wrong with the chain, and its head; 1 when anything is."""
    verdict = Parts(settings).audit_chain.verify(noted)
    for problem in verdict.problems:
        output().print(problem, highlight=False)
    text = f"{verdict.records} records, {len(verdict.problems)} problems; head {verdict.head}"
    output().print(text, highlight=False)
    if not noted:
        output().print(
            "That no newer record was cut off shows only a head that was noted elsewhere: --head.",
            highlight=False,
        )
    return 1 if verdict.problems else 0


def show(settings: Settings, wanted: Wanted, *, as_xml: bool) -> int:
    """Print records as a table or as messages; that they were looked at becomes one too."""
    parts = Parts(settings)
    found = parts.audit_chain.records(
        since=wanted.since_s, study_uid=wanted.study_uid, user=wanted.user
    )
    if as_xml:
        sys.stdout.writelines(f"{record.message}\n" for record in found)
    else:
        _print(found)
    told(parts, Kind.LOG_USED, wanted.study_uid, about="audit")
    return 0


def told(parts: Parts, kind: Kind, study_uid: str = "", *, about: str = "") -> None:
    """Record what the user of a command did."""
    user = replace(parts.auditor.process, asked=True)
    parts.auditor.write(AuditEvent(kind=kind, actors=(user,), study_uid=study_uid, about=about))


def _print(found: Iterator[AuditRecord]) -> None:
    table = empty_table("number", "time", "event", "user", "study")
    for record in found:
        at = datetime.fromtimestamp(record.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        table.add_row(str(record.number), at, record.event, record.user, record.study_uid)
    output().print(table)
