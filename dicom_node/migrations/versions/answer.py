"""Which instances the answer to a storage commitment names as kept."""

import sqlalchemy as sa
from alembic import op

revision = "answer"
down_revision = "removal"


def upgrade() -> None:
    """Add the column to what we asked."""
    op.add_column("commitments", sa.Column("kept", sa.JSON(), nullable=True))
