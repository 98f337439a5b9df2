"""The tables of the audit trail."""

import sqlalchemy as sa

from dicom_node.schema import metadata


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), primary_key=True, server_default="default")


audit_records = sa.Table(  # only added, but for the oldest; each digest covers the one before
    "audit_records",
    metadata,
    _tenant(),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("event", sa.Text, nullable=False),  # a name of `dicom_node.audit.kinds.Kind`
    sa.Column("study_uid", sa.Text, nullable=False),
    sa.Column("user", sa.Text, nullable=False),  # who asked for it: UserID
    sa.Column("message", sa.Text, nullable=False),  # AuditMessage, PS3.15 A.5.1
    sa.Column("removed", sa.Text, nullable=False),  # of a checkpoint: number and digest
    sa.Column("digest", sa.Text, nullable=False),
    sa.Index("audit_records_by_time", "tenant", "at"),
    sa.Index("audit_records_by_study", "tenant", "study_uid", "number"),
)

audit_exports = sa.Table(  # up to which record a syslog collector has been told
    "audit_exports",
    metadata,
    _tenant(),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
