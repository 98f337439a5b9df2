"""The table of messages: what other systems are told of a study, a row for each target."""

import sqlalchemy as sa

from dicom_node.schema import metadata


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


messages = sa.Table(
    "messages",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),  # a later one is newer
    sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
    _text("message_id"),
    _text("study_uid"),
    _text("workitem_uid"),
    _text("target"),
    _text("event"),  # completed | not_performed | failed | canceled | assessed
    _text("state"),  # waiting | delivered | refused | failed | canceled | superseded
    sa.Column("planned_at", sa.Float(53), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", sa.Float(53)),
    sa.Column("ended_at", sa.Float(53)),
    _text("answer"),  # the code of the last answer; empty when none came
    _text("words"),  # what else was said; a receiver may name a patient
    sa.Column("body", sa.LargeBinary),  # as it is sent each time; none before the first attempt
    sa.Index("messages_by_id", "tenant", "message_id", unique=True),
    sa.Index("messages_by_target", "tenant", "target", "state"),
    sa.Index("messages_by_study", "tenant", "study_uid", "target"),
)
