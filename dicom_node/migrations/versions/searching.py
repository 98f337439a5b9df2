"""What DICOMweb searches for, and the stored metadata of series."""

import sqlalchemy as sa
from alembic import op

from dicom_node.names import name_key, name_words

revision = "searching"
down_revision = "commitment"

_BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add columns and tables; names that are there become searchable."""
    for table, names in (
        ("studies", ("referring_physician", "name_key", "name_words")),
        ("series", ("series_date", "series_time", "step_date", "step_time")),
    ):
        for name in names:
            op.add_column(table, sa.Column(name, _BYTEWISE, nullable=False, server_default=""))
    for name in ("rows", "columns", "bits_allocated", "frames"):
        op.add_column("instances", sa.Column(name, sa.BigInteger(), nullable=True))
    op.drop_index("studies_by_date", "studies")
    in_order = ["tenant", "study_date", "study_time", "study_uid"]
    op.create_index("studies_by_date", "studies", in_order)
    op.create_index("studies_by_accession", "studies", ["tenant", "accession_number"])
    op.create_index("series_by_uid", "series", ["tenant", "series_uid"])
    op.create_table(
        "requests",
        *_key(),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step_id", sa.Text(), nullable=False),
        sa.Column("procedure_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "study_uid", "series_uid", "position"),
    )
    op.create_index("requests_by_step", "requests", ["tenant", "step_id"])
    op.create_index("requests_by_procedure", "requests", ["tenant", "procedure_id"])
    op.create_table(
        "series_documents",
        *_key(),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("contents", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "study_uid", "series_uid"),
    )
    _name_studies()


def _key() -> list[sa.Column[str]]:
    return [
        sa.Column("tenant", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=False),
    ]


def _name_studies() -> None:
    connection = op.get_bind()
    names = connection.execute(sa.text("SELECT DISTINCT patient_name FROM studies")).scalars()
    statement = sa.text(
        "UPDATE studies SET name_key = :key, name_words = :words WHERE patient_name = :name"
    )
    for name in names.all():
        values = {"key": name_key(name), "words": name_words(name), "name": name}
        connection.execute(statement, values)
