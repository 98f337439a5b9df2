import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from dicom_node import schema, schema_audit

_UPGRADE = """
import sys
from dicom_node import schema
schema.upgrade(schema.connect(sys.argv[1]))
"""


assert schema_audit.audit_records.metadata is schema.metadata


def test_migrations_give_the_tables_that_the_code_uses(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_an_upgrade_may_be_repeated(engine: sa.Engine) -> None:
    schema.upgrade(engine)
    assert set(schema.metadata.tables) < set(sa.inspect(engine).get_table_names())


def test_several_processes_may_upgrade_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    command = [sys.executable, "-c", _UPGRADE, url]
    root = Path(__file__).parents[2]
    started = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE) for _ in range(4)]
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()


def test_sqlite_commits_reach_the_disk(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_parameters_of_a_failing_statement_stay_out_of_the_message(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.OperationalError) as raised, schema.writing(engine) as connection:
        connection.execute(sa.text("SELECT * FROM nowhere WHERE a = :name"), {"name": "Doe"})
    assert "Doe" not in str(raised.value)
