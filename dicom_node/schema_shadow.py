"""The table of shadow readings: what a version that is tried out said, beside the served one."""

import sqlalchemy as sa

from dicom_node.schema import metadata


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False)


shadow_readings = sa.Table(
    "shadow_readings",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True, server_default="default"),
    _text("workitem_uid", key=True),
    _text("series_uid", key=True),
    _text("stack", key=True),
    _text("digest", key=True),  # of the version that is tried out
    _text("study_uid"),
    _text("model"),
    _text("served"),  # digest of the version that was served then
    _text("state"),  # begun | compared | failed
    _text("why"),  # the code of what kept it from an answer
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("findings", sa.JSON),
    sa.Column("segmentation", sa.LargeBinary),  # DICOM Segmentation, gzip
    sa.Column("comparison", sa.JSON),
    sa.Index("shadow_readings_by_model", "tenant", "model", "digest", "at"),
    sa.Index("shadow_readings_by_study", "tenant", "study_uid"),
)
