"""Which rejection note withdraws a result at a destination."""

import sqlalchemy as sa
from alembic import op

revision = "withdrawal"
down_revision = "assessment"


def upgrade() -> None:
    """Add the column to deliveries."""
    op.add_column("deliveries", sa.Column("withdrawn_by", sa.Text(), nullable=True))
