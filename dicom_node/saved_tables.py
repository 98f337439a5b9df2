"""The table of what others saved into studies: segmentations, reports and the like."""

import sqlalchemy as sa

from dicom_node.schema import metadata

saved_objects = sa.Table(
    "saved_objects",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True, server_default="default"),
    sa.Column("instance_uid", sa.Text, primary_key=True, nullable=False),
    sa.Column("study_uid", sa.Text, nullable=False),
    sa.Column("series_uid", sa.Text, nullable=False),
    sa.Column("sop_class_uid", sa.Text, nullable=False),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("stored_by", sa.Text, nullable=False, server_default=""),  # who was signed in
    sa.Column("received_at", sa.Float(53), nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # new | read | filed
    sa.Column("reader", sa.Text, nullable=False, server_default=""),
    sa.Column("saved_at", sa.Text, nullable=False, server_default=""),  # DICOM date and time
    sa.Column("matches", sa.JSON, nullable=False),  # what it makes of our findings
    sa.Index("saved_objects_by_state", "tenant", "state", "received_at"),
    sa.Index("saved_objects_by_study", "tenant", "study_uid"),
)
