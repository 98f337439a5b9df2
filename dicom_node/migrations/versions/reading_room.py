"""Reading room: reasons of workitems in Chinese, and what the worklist is ordered by."""

import sqlalchemy as sa
from alembic import op

revision = "reading_room"
down_revision = "searching"


def upgrade() -> None:
    """Reasons of older workitems stay without Chinese."""
    op.add_column(
        "workitems", sa.Column("reason_text_zh", sa.Text(), nullable=False, server_default="")
    )
    op.drop_index("workitems_by_study", "workitems")
    op.create_index("workitems_by_study", "workitems", ["tenant", "study_uid", "created_at"])
    op.create_index("workitems_by_end", "workitems", ["tenant", "ended_at"])
    op.create_index("studies_by_arrival", "studies", ["tenant", "first_received_at"])
