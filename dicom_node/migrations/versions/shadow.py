"""Shadow readings."""

import sqlalchemy as sa
from alembic import op

revision = "shadow"
down_revision = "single_sign_on"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "shadow_readings",
        sa.Column("tenant", sa.String(64), primary_key=True, server_default="default"),
        sa.Column("workitem_uid", sa.Text(), primary_key=True, nullable=False),
        sa.Column("series_uid", sa.Text(), primary_key=True, nullable=False),
        sa.Column("stack", sa.Text(), primary_key=True, nullable=False),
        sa.Column("digest", sa.Text(), primary_key=True, nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("served", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("findings", sa.JSON()),
        sa.Column("segmentation", sa.LargeBinary()),
        sa.Column("comparison", sa.JSON()),
    )
    columns = ["tenant", "model", "digest", "at"]
    op.create_index("shadow_readings_by_model", "shadow_readings", columns)
    op.create_index("shadow_readings_by_study", "shadow_readings", ["tenant", "study_uid"])
