"""Sessions that a provider may end."""

import sqlalchemy as sa
from alembic import op

revision = "logout"
down_revision = "stored_by"


def upgrade() -> None:
    """Add the columns and the table; sessions that are on cannot be ended one by one."""
    for name in ("sid", "id_token"):
        op.add_column("sessions", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "logouts",
        sa.Column("tenant", sa.String(64), primary_key=True, server_default="default"),
        sa.Column("digest", sa.Text(), primary_key=True, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
    )
