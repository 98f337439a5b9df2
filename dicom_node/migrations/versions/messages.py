"""Messages to other systems."""

import sqlalchemy as sa
from alembic import op

revision = "messages"
down_revision = "people"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "messages",
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("planned_at", sa.Float(53), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.Float(53)),
        sa.Column("ended_at", sa.Float(53)),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary()),
    )
    op.create_index("messages_by_id", "messages", ["tenant", "message_id"], unique=True)
    op.create_index("messages_by_target", "messages", ["tenant", "target", "state"])
    op.create_index("messages_by_study", "messages", ["tenant", "study_uid", "target"])
