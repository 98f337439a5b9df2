"""Whom an OpenID Connect provider knows an account by."""

import sqlalchemy as sa
from alembic import op

revision = "single_sign_on"
down_revision = "messages"


def upgrade() -> None:
    """Add the columns to users."""
    for name in ("issuer", "subject"):
        op.add_column("users", sa.Column(name, sa.Text(), nullable=True))
    op.create_index("users_by_subject", "users", ["tenant", "issuer", "subject"], unique=True)
