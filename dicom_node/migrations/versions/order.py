"""Order of work: how urgent a study is by its images, and turns of senders."""

import sqlalchemy as sa
from alembic import op

revision = "order"
down_revision = "identity"


def upgrade() -> None:
    """Work that waits already goes first."""
    op.add_column("studies", sa.Column("priority", sa.BigInteger(), nullable=True))
    op.add_column("workitems", sa.Column("sender", sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "workitems", sa.Column("turn", sa.BigInteger(), nullable=False, server_default="0")
    )
