"""Storage commitment: what we asked of peers, and what peers asked of us."""

import sqlalchemy as sa
from alembic import op

revision = "commitment"
down_revision = "delivery"


def upgrade() -> None:
    """Create the two tables; deliveries name their transaction."""
    op.add_column("deliveries", sa.Column("transaction_uid", sa.Text(), nullable=True))
    op.create_table(
        "commitments",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Float(precision=53), nullable=False),
        sa.Column("answered_at", sa.Float(precision=53), nullable=True),
        sa.Column("failed", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "transaction_uid"),
    )
    op.create_table(
        "commitment_requests",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("calling_ae", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("named", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.Float(precision=53), nullable=False),
        sa.Column("due_at", sa.Float(precision=53), nullable=False),
        sa.Column("answered_at", sa.Float(precision=53), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "transaction_uid", "calling_ae"),
    )
    op.create_index(
        "commitment_requests_by_time",
        "commitment_requests",
        ["tenant", "answered_at", "due_at"],
        unique=False,
    )
