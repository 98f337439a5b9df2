"""Files that are to be removed with their study."""

import sqlalchemy as sa
from alembic import op

revision = "removal"
down_revision = "withdrawal"


def upgrade() -> None:
    """Add the table of files that no row refers to any more."""
    op.create_table(
        "removals",
        sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
        sa.Column("path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "path"),
    )
