"""How patient and order of a result were checked before its delivery, and what it was made from."""

import sqlalchemy as sa
from alembic import op

revision = "identity"
down_revision = "reading_room"


def upgrade() -> None:
    """Add the columns to deliveries."""
    op.add_column("deliveries", sa.Column("root_uid", sa.Text(), nullable=True))
    identity = sa.Column("identity", sa.Text(), nullable=False, server_default="")
    op.add_column("deliveries", identity)
    op.add_column("deliveries", sa.Column("released_at", sa.Float(53), nullable=True))
