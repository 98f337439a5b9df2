"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "decisions",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=False),
        sa.Column("stack", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("chosen", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "workitem_uid", "series_uid", "stack", "model"),
    )
    op.create_index("decisions_by_study", "decisions", ["tenant", "study_uid"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("instance_uid", sa.Text(), nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("next_attempt_at", sa.Float(precision=53), nullable=True),
        sa.Column("delivered_at", sa.Float(precision=53), nullable=True),
        sa.Column("proven_at", sa.Float(precision=53), nullable=True),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "delivery_id"),
    )
    op.create_index("deliveries_by_state", "deliveries", ["tenant", "state"], unique=False)
    op.create_index("deliveries_by_study", "deliveries", ["tenant", "study_uid"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("events_by_study", "events", ["tenant", "study_uid"], unique=False)
    op.create_index("events_by_time", "events", ["tenant", "at"], unique=False)
    op.create_table(
        "findings",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=False),
        sa.Column("tracking_uid", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "workitem_uid", "tracking_uid"),
    )
    op.create_index("findings_by_study", "findings", ["tenant", "study_uid"], unique=False)
    op.create_table(
        "instances",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("instance_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Float(precision=53), nullable=False),
        sa.Column("calling_ae", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("instance_number", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "instance_uid"),
    )
    op.create_index("instances_by_series", "instances", ["tenant", "series_uid"], unique=False)
    op.create_index(
        "instances_by_study", "instances", ["tenant", "study_uid", "series_uid"], unique=False
    )
    op.create_table(
        "results",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("instance_uid", sa.Text(), nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("superseded_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "instance_uid"),
    )
    op.create_index("results_by_study", "results", ["tenant", "study_uid"], unique=False)
    op.create_index("results_by_workitem", "results", ["tenant", "workitem_uid"], unique=False)
    op.create_table(
        "series",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("body_part", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "study_uid", "series_uid"),
    )
    op.create_table(
        "set_aside",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("received_at", sa.Float(precision=53), nullable=False),
        sa.Column("instance_uid", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("calling_ae", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("set_aside_by_study", "set_aside", ["tenant", "study_uid"], unique=False)
    op.create_index("set_aside_by_time", "set_aside", ["tenant", "received_at"], unique=False)
    op.create_table(
        "studies",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("patient_name", sa.Text(), nullable=False),
        sa.Column("birth_date", sa.Text(), nullable=False),
        sa.Column("sex", sa.Text(), nullable=False),
        sa.Column("accession_number", sa.Text(), nullable=False),
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("study_date", sa.Text(), nullable=False),
        sa.Column("study_time", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("sender_address", sa.Text(), nullable=False),
        sa.Column("first_received_at", sa.Float(precision=53), nullable=False),
        sa.Column("last_received_at", sa.Float(precision=53), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("completeness", sa.Text(), nullable=True),
        sa.Column("completeness_text", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.Text(), nullable=True),
        sa.Column("completed_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "study_uid"),
    )
    op.create_index("studies_by_date", "studies", ["tenant", "study_date"], unique=False)
    op.create_index("studies_by_patient", "studies", ["tenant", "patient_id"], unique=False)
    op.create_index("studies_by_state", "studies", ["tenant", "state"], unique=False)
    op.create_table(
        "workitems",
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("reason_text", sa.Text(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("started_at", sa.Float(precision=53), nullable=True),
        sa.Column("ended_at", sa.Float(precision=53), nullable=True),
        sa.Column("timings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "workitem_uid"),
    )
    op.create_index("workitems_by_state", "workitems", ["tenant", "state"], unique=False)
    op.create_index("workitems_by_study", "workitems", ["tenant", "study_uid"], unique=False)
