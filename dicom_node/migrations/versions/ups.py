"""The worklist: Unified Procedure Steps."""

import sqlalchemy as sa
from alembic import op

revision = "ups"
down_revision = "answer"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "ups",
        sa.Column("tenant", sa.String(64), primary_key=True, server_default="default"),
        sa.Column("ups_uid", sa.Text(), primary_key=True, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=True),
        sa.Column("pushed", sa.Boolean(), nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=True),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53), nullable=True),
    )
    for name, column in (
        ("ups_by_state", "state"),
        ("ups_by_study", "study_uid"),
        ("ups_by_patient", "patient_id"),
        ("ups_by_analysis", "workitem_uid"),
        ("ups_by_time", "created_at"),
        ("ups_by_end", "ended_at"),
    ):
        op.create_index(name, "ups", ["tenant", column])
