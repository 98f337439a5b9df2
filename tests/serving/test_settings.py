import re
from pathlib import Path

import pytest

from imaging.errors import SetupError
from imaging.tolerances import Tolerances
from serving.settings import Settings, load

PEER = '[[peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "wetread.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_there_are_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load(environment={})
    assert settings.data_folder == tmp_path / "wetread-data"
    assert settings == Settings(data_folder=tmp_path / "wetread-data")
    assert (settings.node.port, settings.web.host) == (11112, "127.0.0.1")
    assert not settings.node.allow_unknown
    assert not settings.node.allow_loopback


def test_the_data_folder_is_relative_to_the_file(tmp_path):
    settings = load(written(tmp_path, 'data_folder = "here"'), {})
    assert settings.data_folder == tmp_path / "here"
    assert settings.models_folder == tmp_path / "here" / "models"
    assert settings.index_url == f"sqlite:///{tmp_path}/here/wetread.sqlite"
    assert settings.work_url == f"sqlite:///{tmp_path}/here/engine.sqlite"


def test_variables_override_the_file(tmp_path):
    path = written(tmp_path, "[node]\nport = 104\n" + PEER)
    environment = {
        "WETREAD_NODE__PORT": "4242",
        "WETREAD_TENANT": "north",
        "WETREAD_TEST_DATA": "not a setting",
    }
    settings = load(path, environment)
    assert (settings.node.port, settings.tenant, len(settings.peers)) == (4242, "north", 1)
    assert load(None, {"WETREAD_SETTINGS": str(path)}).node.port == 104


def test_the_engine_shares_a_postgresql_database(tmp_path):
    url = "postgresql+psycopg://host/wetread"
    shared = Settings(database_url=url)
    assert shared.work_url == shared.index_url == url
    assert Settings(database_url=url, engine_url="sqlite:///x").work_url == "sqlite:///x"


def test_every_problem_is_in_one_message(tmp_path):
    text = 'tenant = "No spaces"\nmistyped = 1\n[node]\nport = 0\n[arrival]\nquiet_s = "long"\n'
    with pytest.raises(SetupError) as caught:
        load(written(tmp_path, text), {})
    message = str(caught.value)
    for name in ("tenant", "mistyped", "node.port", "arrival.quiet_s", str(tmp_path)):
        assert name in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (PEER + PEER, "peer 'pacs' is there twice"),
        (PEER + '[[rules]]\nname = "r"\ndestinations = ["pasc"]\n', "'pasc' is not a peer"),
        (PEER.replace("PACS", "FAR TOO LONG A TITLE"), "AE title"),
        (PEER.replace("port = 104", "port = 70000"), "peers.0: Value error, port 70000"),
        (PEER.replace("127.0.0.1", "10.0.0.0/8") + "query = true\n", "is a network"),
        (PEER + "qeury = true\n", "qeury"),
        ('[node]\nae_title = "back\\\\slash"\nport = 0\n', "node.port"),
        ('[node]\nae_title = "back\\\\slash"\nport = 0\n', "node.ae_title"),
        ('[[rules]]\nname = "r"\nmodels = "all"\n', "rules.0.models"),
        ('[[rules]]\nname = "r"\ndescription = "(head"\n', "description"),
        ("[node", "wetread.toml"),
    ],
)
def test_mistakes_are_named(tmp_path, text, problem):
    with pytest.raises(SetupError, match=re.escape(problem)):
        load(written(tmp_path, text), {})


def test_a_file_that_is_asked_for_must_be_there(tmp_path):
    with pytest.raises(SetupError, match="there is no settings file"):
        load(tmp_path / "none.toml", {})


def test_a_file_that_a_variable_names_must_be_there(tmp_path):
    with pytest.raises(SetupError, match="there is no settings file"):
        load(None, {"WETREAD_SETTINGS": str(tmp_path / "none.toml")})


@pytest.mark.parametrize("name", ["WETREAD_NODE__PORT__HIGH", "WETREAD_PEERS__PORT"])
def test_a_variable_must_fit_the_file(tmp_path, name):
    path = written(tmp_path, "[node]\nport = 104\n" + PEER)
    with pytest.raises(SetupError, match=f"{name}: (port|peers) is not a section"):
        load(path, {name: "1"})


def test_the_digest_follows_what_changes_results(tmp_path):
    first = Settings()
    assert first.digest == Settings(data_folder=Path("elsewhere")).digest
    assert first.digest != Settings(tenant="north").digest


def test_the_tolerances_of_the_geometry_gate_are_settings(tmp_path):
    assert Settings().geometry.tolerances == Tolerances()
    settings = load(written(tmp_path, "[geometry]\nuneven_mm = 0.05\nleast_slices = 5\n"), {})
    assert settings.geometry.tolerances == Tolerances(uneven_mm=0.05, least_slices=5)
    assert settings.digest != Settings().digest


@pytest.mark.parametrize("line", ["uneven_mm = 0", "least_slices = 2", "most_tilt_deg = 89"])
def test_tolerances_that_would_let_anything_pass_are_refused(tmp_path, line):
    with pytest.raises(SetupError, match=f"geometry.{line.split()[0]}"):
        load(written(tmp_path, f"[geometry]\n{line}\n"), {})


def test_destinations_are_the_peers_that_get_results(tmp_path):
    text = PEER + PEER.replace('"pacs"', '"second"') + "deliver = true\n"
    assert [p.name for p in load(written(tmp_path, text), {}).destinations()] == ["second"]
