"""Who watches the worklist, and what each is still to be told."""

import sqlalchemy as sa
from alembic import op

revision = "ups_reports"
down_revision = "saved"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "ups_subscriptions",
        sa.Column("tenant", sa.String(64), primary_key=True, server_default="default"),
        sa.Column("ae_title", sa.Text(), primary_key=True, nullable=False),
        sa.Column("ups_uid", sa.Text(), primary_key=True, nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("keys", sa.JSON(), nullable=False),
        sa.Column("suspended_at", sa.Float(53), nullable=True),
    )
    op.create_index("ups_subscriptions_by_step", "ups_subscriptions", ["tenant", "ups_uid"])
    op.create_table(
        "ups_reports",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
        sa.Column("ae_title", sa.Text(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
    )
    op.create_index("ups_reports_by_reader", "ups_reports", ["tenant", "ae_title", "id"])
