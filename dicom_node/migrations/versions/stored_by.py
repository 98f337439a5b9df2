"""Who was signed in when an object was saved."""

import sqlalchemy as sa
from alembic import op

revision = "stored_by"
down_revision = "observations"


def upgrade() -> None:
    """Add the column; of what is there already nobody knows it."""
    column = sa.Column("stored_by", sa.Text(), nullable=False, server_default="")
    op.add_column("saved_objects", column)
