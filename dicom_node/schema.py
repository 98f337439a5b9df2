"""Every table of Wetread, the engine for a database URL, and bringing a database up to date.

Works alike on SQLite and PostgreSQL. `tenant` is part of every key. Times are Unix seconds, UTC.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import alembic.command
import sqlalchemy as sa
from alembic.config import Config
from sqlalchemy.pool import ConnectionPoolEntry

from dicom_node.ups_tables import ups_tables

metadata = sa.MetaData()
_BUSY_S = 30
_BEGIN = "wetread_begin"
_MIGRATION_LOCK = 0x57455452  # any constant: the advisory lock of PostgreSQL for migrations


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), primary_key=True, server_default="default")


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False)


def _searched(name: str) -> sa.Column[str]:
    """Text that is matched and sorted byte by byte, in both databases alike."""
    kind = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=False, server_default="")


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _time(name: str, *, nullable: bool = True) -> sa.Column[float]:
    return sa.Column(name, sa.Float(53), nullable=nullable)


studies = sa.Table(
    "studies",
    metadata,
    _tenant(),
    _text("study_uid", key=True),
    _text("patient_id"),
    _text("patient_name"),
    _text("birth_date"),
    _text("sex"),
    _text("accession_number"),
    _text("study_id"),
    _text("study_date"),
    _text("study_time"),
    _text("description"),
    _text("sender"),
    _text("sender_address"),
    _time("first_received_at", nullable=False),
    _time("last_received_at", nullable=False),
    _whole("received"),  # instances received so far: the version that completion was decided on
    _text("state"),  # receiving | complete
    sa.Column("completeness", sa.Text),  # confirmed | quiet | limit
    _text("completeness_text"),
    sa.Column("content_digest", sa.Text),
    _time("completed_at"),
    sa.Column("priority", sa.BigInteger),  # the most urgent that an image or its sender named
    _searched("referring_physician"),
    _searched("name_key"),  # the patient's name as it is matched: dicom_node.names
    _searched("name_words"),
    sa.Column("unread", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("head_start_h", sa.Float(53)),  # urgency; none: not settled since an upgrade
    sa.Column("due_at", sa.Float(53), nullable=False, server_default="0"),  # first image less that
    sa.Column("half_day", sa.BigInteger, nullable=False, server_default="0"),  # of the first image
    sa.Index("studies_by_due", "tenant", "unread", "half_day", "due_at", "first_received_at"),
    sa.Index(
        "studies_by_head_start",
        "tenant",
        "unread",
        "head_start_h",
        "last_received_at",
        "first_received_at",
    ),
    sa.Index("studies_by_state", "tenant", "state"),
    sa.Index("studies_by_patient", "tenant", "patient_id"),
    sa.Index("studies_by_date", "tenant", "study_date", "study_time", "study_uid"),
    sa.Index("studies_by_accession", "tenant", "accession_number"),
    sa.Index("studies_by_arrival", "tenant", "first_received_at"),
)

series = sa.Table(
    "series",
    metadata,
    _tenant(),
    _text("study_uid", key=True),
    _text("series_uid", key=True),
    _text("modality"),
    sa.Column("number", sa.BigInteger),
    _text("description"),
    _text("body_part"),
    _searched("series_date"),
    _searched("series_time"),
    _searched("step_date"),
    _searched("step_time"),
    sa.Index("series_by_uid", "tenant", "series_uid"),
)

requests = sa.Table(  # what was ordered that led to a series (Request Attributes Sequence)
    "requests",
    metadata,
    _tenant(),
    _text("study_uid", key=True),
    _text("series_uid", key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    _text("step_id"),
    _text("procedure_id"),
    sa.Index("requests_by_step", "tenant", "step_id"),
    sa.Index("requests_by_procedure", "tenant", "procedure_id"),
)

series_documents = sa.Table(  # made from the files when first asked for; may be deleted
    "series_documents",
    metadata,
    _tenant(),
    _text("study_uid", key=True),
    _text("series_uid", key=True),
    _text("version"),  # of the instances it was made of
    sa.Column("document", sa.LargeBinary, nullable=False),  # DICOM JSON, gzip
    sa.Column("contents", sa.LargeBinary, nullable=False),  # where each instance is in it
)

instances = sa.Table(
    "instances",
    metadata,
    _tenant(),
    _text("instance_uid", key=True),
    _text("series_uid"),
    _text("study_uid"),
    _text("sop_class_uid"),
    _text("transfer_syntax_uid"),
    _text("path"),
    _whole("size"),
    _text("sha256"),
    _text("origin"),  # received | result
    _time("received_at", nullable=False),
    _text("calling_ae"),
    _text("address"),
    sa.Column("instance_number", sa.BigInteger),
    sa.Column("rows", sa.BigInteger),
    sa.Column("columns", sa.BigInteger),
    sa.Column("bits_allocated", sa.BigInteger),
    sa.Column("frames", sa.BigInteger),
    sa.Index("instances_by_study", "tenant", "study_uid", "series_uid"),
    sa.Index("instances_by_series", "tenant", "series_uid"),
)

removals = sa.Table(  # files that no row refers to any more, until they are gone
    "removals",
    metadata,
    _tenant(),
    _text("path", key=True),
)

set_aside = sa.Table(
    "set_aside",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
    _time("received_at", nullable=False),
    _text("instance_uid"),
    _text("study_uid"),
    _text("code"),
    _text("text"),
    sa.Column("path", sa.Text),
    _text("calling_ae"),
    _text("address"),
    sa.Index("set_aside_by_time", "tenant", "received_at"),
    sa.Index("set_aside_by_study", "tenant", "study_uid"),
)

workitems = sa.Table(
    "workitems",
    metadata,
    _tenant(),
    _text("workitem_uid", key=True),
    _text("study_uid"),
    _text("content_digest"),
    _text("state"),  # SCHEDULED | IN PROGRESS | COMPLETED | CANCELED
    _text("stage"),
    _text("reason_code"),
    _text("reason_text"),
    sa.Column("reason_text_zh", sa.Text, nullable=False, server_default=""),
    _whole("priority"),
    sa.Column("sender", sa.Text, nullable=False, server_default=""),
    sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),
    _time("created_at", nullable=False),
    _time("started_at"),
    _time("ended_at"),
    sa.Column("timings", sa.JSON, nullable=False),
    sa.Index("workitems_by_study", "tenant", "study_uid", "created_at"),
    sa.Index("workitems_by_end", "tenant", "ended_at"),
    sa.Index("workitems_by_state", "tenant", "state"),
)

decisions = sa.Table(
    "decisions",
    metadata,
    _tenant(),
    _text("workitem_uid", key=True),
    _text("series_uid", key=True),
    _text("stack", key=True),
    _text("model", key=True),
    _text("study_uid"),
    sa.Column("chosen", sa.Boolean, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Index("decisions_by_study", "tenant", "study_uid"),
)

findings = sa.Table(
    "findings",
    metadata,
    _tenant(),
    _text("workitem_uid", key=True),
    _text("tracking_uid", key=True),
    _text("study_uid"),
    _text("series_uid"),
    _text("model"),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Index("findings_by_study", "tenant", "study_uid"),
)

results = sa.Table(
    "results",
    metadata,
    _tenant(),
    _text("instance_uid", key=True),
    _text("workitem_uid"),
    _text("study_uid"),
    _text("series_uid"),
    _text("model"),
    _text("kind"),
    _text("sop_class_uid"),
    _text("state"),  # valid | held
    sa.Column("problems", sa.JSON, nullable=False),
    _time("created_at", nullable=False),
    sa.Column("superseded_by", sa.Text),
    sa.Index("results_by_study", "tenant", "study_uid"),
    sa.Index("results_by_workitem", "tenant", "workitem_uid"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    _tenant(),
    _text("delivery_id", key=True),
    _text("instance_uid"),
    _text("workitem_uid"),
    _text("study_uid"),
    _text("destination"),
    _text("state"),  # waiting | delivered | proven | refused | failed | held | superseded
    sa.Column("planned_at", sa.Float(53), nullable=False, server_default="0"),
    _whole("attempts"),
    _text("last_error"),
    _time("next_attempt_at"),
    _time("delivered_at"),
    _time("proven_at"),
    _text("proof"),
    sa.Column("transaction_uid", sa.Text),  # of the storage commitment that was asked for
    sa.Column("root_uid", sa.Text),  # the result this one was made from, of the same delivery
    sa.Column("identity", sa.Text, nullable=False, server_default=""),  # how it was checked
    _time("released_at"),  # when a person let go what was held
    sa.Column("withdrawn_by", sa.Text),  # the rejection note
    sa.Index("deliveries_by_study", "tenant", "study_uid"),
    sa.Index("deliveries_by_state", "tenant", "state"),
)

commitments = sa.Table(
    "commitments",
    metadata,
    _tenant(),
    _text("transaction_uid", key=True),
    _text("destination"),
    _time("asked_at", nullable=False),
    _time("answered_at"),
    sa.Column("failed", sa.JSON, nullable=False),
    sa.Column("kept", sa.JSON),  # instances that the answer names as kept
)

commitment_requests = sa.Table(
    "commitment_requests",
    metadata,
    _tenant(),
    _text("transaction_uid", key=True),
    _text("calling_ae", key=True),
    _text("address"),
    sa.Column("named", sa.JSON, nullable=False),
    _time("received_at", nullable=False),
    _time("due_at", nullable=False),
    _time("answered_at"),
    _whole("attempts"),
    _text("last_error"),
    sa.Index("commitment_requests_by_time", "tenant", "answered_at", "due_at"),
)

assessments = sa.Table(
    "assessments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
    _text("action"),  # what was done at once: one finding, or all of a study
    _text("study_uid"),
    _text("workitem_uid"),
    _text("tracking_uid"),
    _text("model"),
    _text("verdict"),  # accepted | rejected | corrected | withdrawn
    _text("reason"),
    _text("comment"),
    sa.Column("instead", sa.JSON),
    sa.Column("measured", sa.JSON, nullable=False),
    _text("reader"),
    _time("at", nullable=False),
    sa.Column("undoes", sa.Text),
    sa.Column("object_uid", sa.Text),  # what a reader saved, that the correction comes from
    sa.Column("current", sa.Boolean, nullable=False),  # the newest of its finding
    sa.Index("assessments_by_study", "tenant", "study_uid", "tracking_uid", "current"),
    sa.Index("assessments_by_time", "tenant", "at"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
    _time("at", nullable=False),
    _text("kind"),
    _text("study_uid"),
    _text("workitem_uid"),
    _text("text"),
    sa.Index("events_by_study", "tenant", "study_uid"),
    sa.Index("events_by_time", "tenant", "at"),
)

ups = ups_tables(metadata)


def connect(url: str) -> sa.Engine:
    """Return the engine for ``sqlite:///path`` or ``postgresql://...``.

    SQLite keeps a write-ahead log and syncs at every commit; `writing` takes its write lock first,
    so a transaction never fails half-way because another one came first.
    """
    parsed = sa.make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    # Parameters of a failing statement are patient data: they must not reach a log.
    engine = sa.create_engine(
        parsed, hide_parameters=True, pool_pre_ping=True, pool_size=10, max_overflow=50
    )
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection in a transaction that may write; committed at the end."""
    with engine.connect() as connection:
        connection.execution_options(**{_BEGIN: "IMMEDIATE"})
        with connection.begin():
            yield connection


def upgrade(engine: sa.Engine) -> None:
    """Bring the database to the newest schema; safe when several processes start at once."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_S * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    mode = connection.get_execution_options().get(_BEGIN, "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")
