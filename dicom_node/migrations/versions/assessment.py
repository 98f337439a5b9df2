"""Assessment: what readers think of findings."""

import sqlalchemy as sa
from alembic import op

revision = "assessment"
down_revision = "order"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "assessments",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.String(length=64), nullable=False, server_default="default"),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=False),
        sa.Column("tracking_uid", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("instead", sa.JSON(), nullable=True),
        sa.Column("measured", sa.JSON(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("undoes", sa.Text(), nullable=True),
        sa.Column("current", sa.Boolean(), nullable=False),
    )
    columns = ["tenant", "study_uid", "tracking_uid", "current"]
    op.create_index("assessments_by_study", "assessments", columns)
    op.create_index("assessments_by_time", "assessments", ["tenant", "at"])
