"""Observations of models."""

import sqlalchemy as sa
from alembic import op

revision = "observations"
down_revision = "precedence"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "observations",
        sa.Column("tenant", sa.String(64), primary_key=True, server_default="default"),
        sa.Column("workitem_uid", sa.Text(), primary_key=True, nullable=False),
        sa.Column("series_uid", sa.Text(), primary_key=True, nullable=False),
        sa.Column("model", sa.Text(), primary_key=True, nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("scanner", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("outputs", sa.JSON(), nullable=False),
    )
    columns = ["tenant", "model", "digest", "at"]
    op.create_index("observations_by_model", "observations", columns)
    op.create_index("observations_by_study", "observations", ["tenant", "study_uid"])
