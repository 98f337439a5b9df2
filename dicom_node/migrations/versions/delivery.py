"""Since when a delivery is due."""

import time

import sqlalchemy as sa
from alembic import op

revision = "delivery"
down_revision = "0001"


def upgrade() -> None:
    """Deliveries of the older schema count from the upgrade on."""
    planned_at = sa.Column("planned_at", sa.Float(53), nullable=False, server_default="0")
    op.add_column("deliveries", planned_at)
    op.execute(sa.text("UPDATE deliveries SET planned_at = :now").bindparams(now=time.time()))
