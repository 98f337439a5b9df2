"""The audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "audit"
down_revision = "ups_reports"


def upgrade() -> None:
    """Add the chained records, and how far they have been sent on."""
    op.create_table(
        "audit_records",
        sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("event", "study_uid", "user", "message", "removed", "digest")
        ),
        sa.PrimaryKeyConstraint("tenant", "number"),
    )
    op.create_index("audit_records_by_time", "audit_records", ["tenant", "at"])
    op.create_index("audit_records_by_study", "audit_records", ["tenant", "study_uid", "number"])
    op.create_table(
        "audit_exports",
        sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "target"),
    )
