"""The tables of the worklist (Unified Procedure Step, PS3.4 annex CC)."""

from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsTables:
    """What the worklist consists of."""

    steps: sa.Table
    subscriptions: sa.Table
    reports: sa.Table


def ups_tables(metadata: sa.MetaData) -> UpsTables:
    """Define the tables among the others."""
    return UpsTables(
        steps=sa.Table(
            "ups",
            metadata,
            _tenant(),
            _text("ups_uid", key=True),
            _text("state"),  # SCHEDULED | IN PROGRESS | COMPLETED | CANCELED
            sa.Column("transaction_uid", sa.Text),  # of who claimed it; told to nobody
            sa.Column("pushed", sa.Boolean, nullable=False),  # by another system, or our own work
            sa.Column("workitem_uid", sa.Text),  # the analysis that performs it
            _text("study_uid"),
            _text("patient_id"),
            sa.Column("content", sa.JSON, nullable=False),  # DICOM JSON
            sa.Column("created_at", sa.Float(53), nullable=False),
            sa.Column("ended_at", sa.Float(53)),
            sa.Index("ups_by_state", "tenant", "state"),
            sa.Index("ups_by_study", "tenant", "study_uid"),
            sa.Index("ups_by_patient", "tenant", "patient_id"),
            sa.Index("ups_by_analysis", "tenant", "workitem_uid"),
            sa.Index("ups_by_time", "tenant", "created_at"),
            sa.Index("ups_by_end", "tenant", "ended_at"),
        ),
        subscriptions=sa.Table(
            "ups_subscriptions",
            metadata,
            _tenant(),
            _text("ae_title", key=True),
            _text("ups_uid", key=True),  # of one step, or that of all
            sa.Column("wanted", sa.Boolean, nullable=False),  # not: left out of all
            sa.Column("keys", sa.JSON, nullable=False),  # what a step of all must match
            sa.Column("suspended_at", sa.Float(53)),  # later steps are left out
            sa.Index("ups_subscriptions_by_step", "tenant", "ups_uid"),
        ),
        reports=sa.Table(
            "ups_reports",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
            sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
            _text("ae_title"),  # who is to be told
            sa.Column("content", sa.JSON, nullable=False),
            sa.Index("ups_reports_by_reader", "tenant", "ae_title", "id"),
        ),
    )


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), primary_key=True, server_default="default")


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False)
