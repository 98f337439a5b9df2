"""TLS in the settings, in `wetread check` and in the metrics."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from imaging.errors import SetupError
from serving.certificates import validities
from serving.commands.check import certificates
from serving.metrics import exposition
from serving.settings import Settings, load
from tests.dicom_node.certificates import Authority
from tests.dicom_node.rig import free_port, listens, run, wait_for
from tests.serving.bench import Bench

TLS = '[node.tls]\nport = 2762\ncertificate = "node.pem"\nkey = "node.key"\nca = "hospital.pem"\n'
PEER = '[[peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"), "hospital")
    made.sign("node", days=20)
    made.sign("old", days=0)
    return made


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "wetread.toml"
    path.write_text(text)
    return load(path, {})


def test_files_start_at_the_settings_file_and_peers_take_those_of_the_node(tmp_path: Path):
    own = '[peers.tls]\nca = "pacs.pem"\n'
    settings = settings_of(tmp_path, PEER + own + TLS)
    assert settings.node.tls.certificate == str(tmp_path / "node.pem")
    (peer,) = settings.peers
    assert peer.tls is not None
    assert peer.tls.files.key == str(tmp_path / "node.key")
    assert peer.tls.files.ca == str(tmp_path / "pacs.pem")
    (plain,) = settings_of(tmp_path, PEER).peers
    assert plain.tls is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[node.tls]\nport = 2762\n", "needs certificate and key"),
        (TLS.replace('ca = "hospital.pem"\n', ""), "needs a ca"),
        ("[node.tls]\nonly = true\n", "only needs a port"),
        (PEER + "[peers.tls]\n", "peer 'pacs': tls needs a ca"),
        (PEER + '[peers.tls]\nca = "x"\nfingerprints = ["12:34"]\n', "not a SHA-256 digest"),
        (PEER + '[peers.tls]\nca = "x"\nverify = true\n', "verify"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, problem: str):
    with pytest.raises(SetupError, match=problem):
        settings_of(tmp_path, text)


def test_check_and_metrics_tell_how_long_certificates_last(authority: Authority, bench: Bench):
    folder = authority.file.parent
    old = '[peers.tls]\ncertificate = "old.pem"\nkey = "old.key"\n'
    settings = settings_of(folder, PEER + old + TLS)
    lines = {Path(line.what).name: line for line in certificates(settings, time.time())}
    assert lines["node.pem"].problem == "expires in 19 days"
    assert not lines["node.pem"].fatal
    assert "good for" in lines["hospital.pem"].remark
    assert lines["old.pem"].problem == "it has expired"
    assert lines["old.pem"].fatal
    found = tuple(validities(settings))
    figures = exposition(
        bench.index, bench.parts.archive, bench.journal, certificates=found
    ).decode()
    assert 'wetread_certificate_days{file="node.pem"} 19.0' in figures
    assert 'wetread_certificate_days{file="old.pem"} 0.0' in figures


def test_the_node_process_listens_with_tls_only(authority: Authority, tmp_path: Path):
    port, plain = free_port(), free_port()
    folder = authority.file.parent
    text = TLS.replace("2762", str(port)) + f"only = true\n[node]\nport = {plain}\n"
    path = folder / "only.toml"
    path.write_text(
        f'data_folder = "{tmp_path}"\n' + text + "allow_loopback = true\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "serving", "--settings", path, "node"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        wait_for(lambda: listens(port), seconds=60)
        tls = ("+tls", folder / "node.key", folder / "node.pem", "+cf", authority.file)
        assert run("echoscu", *tls, "-aec", "WETREAD", "localhost", port).code == 0
        assert not listens(plain)
    finally:
        process.terminate()
        assert process.wait(20) == 0
