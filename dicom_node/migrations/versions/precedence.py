"""What the worklist is ordered by, stored with each study."""

import sqlalchemy as sa
from alembic import op

revision = "precedence"
down_revision = "shadow"


def upgrade() -> None:
    """Add the columns; studies that are there are settled when the service starts."""
    for column in (
        sa.Column("unread", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("head_start_h", sa.Float(53), nullable=True),
        sa.Column("due_at", sa.Float(53), nullable=False, server_default="0"),
        sa.Column("half_day", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("studies", column)
    in_order = ["tenant", "unread", "half_day", "due_at", "first_received_at"]
    op.create_index("studies_by_due", "studies", in_order)
    in_order = ["tenant", "unread", "head_start_h", "last_received_at", "first_received_at"]
    op.create_index("studies_by_head_start", "studies", in_order)
