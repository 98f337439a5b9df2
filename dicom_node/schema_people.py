"""The tables of people, of keys of other systems, and of sessions; secrets only as digests."""

import sqlalchemy as sa

from dicom_node.schema import metadata


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False)


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), primary_key=True, server_default="default")


def _time(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float(53), nullable=False)


users = sa.Table(
    "users",
    metadata,
    _tenant(),
    _text("name", key=True),
    _text("role"),  # reader | engineer | administrator
    _text("password"),  # scrypt, with its cost and salt; empty for who signs in at a provider
    _time("created_at"),
    sa.Column("issuer", sa.Text),  # with the subject: whom a provider knows by these
    sa.Column("subject", sa.Text),
    sa.Index("users_by_subject", "tenant", "issuer", "subject", unique=True),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _tenant(),
    _text("name", key=True),
    _text("role"),
    _text("digest"),  # SHA-256 of 256 random bits
    _time("created_at"),
    sa.Index("api_keys_by_digest", "tenant", "digest"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    _tenant(),
    _text("digest", key=True),  # SHA-256 of what the cookie holds
    _text("user_name"),
    _time("created_at"),
    _time("seen_at"),
    sa.Column("sid", sa.Text, nullable=False, server_default=""),  # of the session at a provider
    sa.Column("id_token", sa.Text, nullable=False, server_default=""),  # shown when it ends
    sa.Index("sessions_by_user", "tenant", "user_name"),
)

logouts = sa.Table(  # logout tokens that counted already, until they are too old to count again
    "logouts",
    metadata,
    _tenant(),
    _text("digest", key=True),
    _time("at"),
)
