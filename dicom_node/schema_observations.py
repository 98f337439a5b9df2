"""The table of observations: what a model was given and said in one reading, in numbers."""

import sqlalchemy as sa

from dicom_node.schema import metadata


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False)


observations = sa.Table(
    "observations",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True, server_default="default"),
    _text("workitem_uid", key=True),
    _text("series_uid", key=True),
    _text("model", key=True),
    _text("study_uid"),
    _text("digest"),
    sa.Column("at", sa.Float(53), nullable=False),
    _text("scanner"),
    _text("protocol"),
    _text("outcome"),  # answered | abstained | failed
    _text("why"),  # the code of the reason of the latter two
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("outputs", sa.JSON, nullable=False),
    sa.Index("observations_by_model", "tenant", "model", "digest", "at"),
    sa.Index("observations_by_study", "tenant", "study_uid"),
)
