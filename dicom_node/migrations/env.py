"""Runs migrations on the connection, and in the transaction, that `schema.upgrade` holds."""

from alembic import context

from dicom_node import schema_messages, schema_observations, schema_people, schema_shadow
from dicom_node.schema import metadata

# They belong to the schema too.
for its in (
    schema_people.users,
    schema_messages.messages,
    schema_shadow.shadow_readings,
    schema_observations.observations,
):
    assert its.metadata is metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
