"""People, keys of other systems, and sessions."""

import sqlalchemy as sa
from alembic import op

revision = "people"
down_revision = "audit"


def upgrade() -> None:
    """Add the three tables."""
    op.create_table(
        "users",
        _tenant(),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "api_keys",
        _tenant(),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )
    op.create_index("api_keys_by_digest", "api_keys", ["tenant", "digest"])
    op.create_table(
        "sessions",
        _tenant(),
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("seen_at", sa.Float(53), nullable=False),
    )
    op.create_index("sessions_by_user", "sessions", ["tenant", "user_name"])


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), primary_key=True, server_default="default")
