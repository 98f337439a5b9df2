"""What readers save into studies, and the corrections that follow from it."""

import sqlalchemy as sa
from alembic import op

revision = "saved"
down_revision = "ups"


def upgrade() -> None:
    """Add the table, and to assessments the object that a correction comes from."""
    op.create_table(
        "saved_objects",
        sa.Column("tenant", sa.String(64), primary_key=True, server_default="default"),
        sa.Column("instance_uid", sa.Text(), primary_key=True, nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Float(53), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False, server_default=""),
        sa.Column("saved_at", sa.Text(), nullable=False, server_default=""),
        sa.Column("matches", sa.JSON(), nullable=False),
    )
    op.create_index("saved_objects_by_state", "saved_objects", ["tenant", "state", "received_at"])
    op.create_index("saved_objects_by_study", "saved_objects", ["tenant", "study_uid"])
    op.add_column("assessments", sa.Column("object_uid", sa.Text(), nullable=True))
