"""Runs migrations on the connection, and in the transaction, that `schema.upgrade` holds."""

from alembic import context

from dicom_node import schema_people
from dicom_node.schema import metadata

assert schema_people.users.metadata is metadata  # its tables belong to the schema too

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
