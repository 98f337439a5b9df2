"""What the code offers is named in the docs, and what the docs show works."""

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dicom_node.listener import TRANSFER_SYNTAXES, supported_contexts
from dicom_node.peers import Peer, PeerTls
from dicom_node.routing import Rule
from dicom_node.status import Status
from dicom_node.web_peers import WebPeer
from imaging.errors import Conflict, InputError, ModelError, WetreadError
from imaging.objects import Kind
from imaging.sentence_table import SENTENCES
from serving.__main__ import _parser
from serving.app import build
from serving.commands.analyse import analyse
from serving.metrics import exposition
from serving.notify.target import Target
from serving.parts import Parts
from serving.settings import Settings
from tests.builders import mr_series, save

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ENTRY = re.compile(r"\.(?:texts?|flag|choices?|numbers?|integer|optional_(?:number|integer)|code|"
                   r'tables?)\(\s*"(\w+)"|_each\(top, "(\w+)"')  # fmt: skip


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def named(text: str) -> set[str]:
    """Every word between backticks, and every part of it; blocks of code do not count."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", prose)
    return {
        word
        for span in spans
        for word in (span, *re.findall(r"[\w-]+", span), *re.findall(r"\w+", span))
    }


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(Settings(data_folder=tmp_path_factory.mktemp("data")))


# Settings


def written(value: object) -> str:
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case float() | int():
            return f"`{value:g}`"
        case "":
            return "empty"
        case tuple():
            return f"`{json.dumps(value)}`"
        case _:
            return f"`{value}`"


def settings_rows() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from section_rows(name, type(field.default))
        elif field.default != ():
            yield row(name, field)


def section_rows(name: str, section: type[BaseModel]) -> Iterator[str]:
    for key, field in section.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from section_rows(f"{name}.{key}", type(field.default))
        else:
            yield row(f"[{name}] {key}", field)


def row(name: str, field: FieldInfo) -> str:
    return f"| `{name}` | {written(field.default)} |"


def test_every_setting_has_its_row_with_its_default():
    text = page("operations.md")
    rows = list(settings_rows())
    assert len(rows) > 15
    assert not [each for each in rows if each not in text]


def test_no_setting_is_documented_that_is_not_there():
    rows = {each.split(" | ")[0] for each in settings_rows()}
    table = page("operations.md").split("| setting |")[1].split("\n\n")[0]
    assert {line.split(" | ")[0] for line in table.splitlines()[2:]} == rows


@pytest.mark.parametrize(
    ("record", "heading"),
    [
        (Peer, "[[peers]]"),
        (PeerTls, "[peers.tls]"),
        (WebPeer, "[[web_peers]]"),
        (Target, "[[notify]]"),
        (Rule, "[[rules]]"),
    ],
)
def test_peers_and_rules_have_their_fields(record, heading):
    table = page("operations.md").split(f"Each `{heading}`")[1].split("| field |")[1]
    lines = table.split("\n\n")[0].splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == [f.name for f in dataclasses.fields(record)]


# What can be called


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


def test_every_command_and_option_is_named():
    text = page("operations.md")
    known = list(parsers(_parser()))
    commands = {parser.prog.removeprefix("wetread ").split()[-1] for parser in known[1:]}
    options = {text for p in known for a in p._actions for text in a.option_strings}
    assert {"serve", "models", "install"} <= commands
    assert not {name for name in commands if name not in named(text)}
    assert not {option for option in options - {"-h"} if option not in text}


def test_every_route_is_named(parts: Parts):
    app = build(parts)
    operations = {
        f"`{method.upper()} {path}`"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    assert "`GET /api/studies`" in operations
    assert not {each for each in operations if each not in page("operations.md")}


def test_every_metric_is_named(parts: Parts):
    figures = exposition(parts.index, parts.archive, parts.journal).decode()
    names = set(re.findall(r"^# TYPE (\w+)", figures, re.MULTILINE))
    assert "wetread_work" in names
    assert not names - named(page("operations.md"))


# DICOM


def test_every_reason_code_is_in_the_conformance_statement_once_with_its_sentence():
    text = page("conformance.md").split("### Reason codes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \| (.*?) \|", text, re.MULTILINE)
    plain = {code: re.sub(r"\{(\w+)[^}]*\}", r"{\1}", en) for code, (en, _) in SENTENCES.items()}
    assert "TILTED" in plain
    assert sorted(rows) == sorted(plain.items())


def test_every_test_of_the_conformance_statement_exists():
    text = page("conformance.md")
    sources = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    functions = set(re.findall(r"^def (test_\w+)", "\n".join(sources.values()), re.MULTILINE))
    tests = set(re.findall(r"`(?:[\w/]+/)?(test_\w+(?:\.py)?)`", text))
    assert "test_native_pixels" in tests
    assert not tests - functions - set(sources)


def kinds(root: type[WetreadError]) -> Iterator[type[WetreadError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def test_every_error_that_becomes_a_reason_is_explained():
    found = {kind().code for root in (InputError, ModelError, Conflict) for kind in kinds(root)}
    assert "OTHER_PATIENT" in found
    assert not found - {"INPUT_ERROR"} - named(page("operations.md"))


def test_every_status_is_in_the_conformance_statement():
    text = page("conformance.md")
    assert not [status.name for status in Status if f"| {status:04X} |" not in text]


def test_every_sop_class_and_transfer_syntax_is_in_the_conformance_statement():
    text = page("conformance.md")
    classes = {str(context.abstract_syntax) for context in supported_contexts()[1:]}
    assert not {uid for uid in classes if f"| {uid} |" not in text}
    assert not set(TRANSFER_SYNTAXES) - set(re.findall(r"[\d.]+\d", text))


def test_every_kind_of_object_is_in_the_conformance_statement():
    assert not [kind.name for kind in Kind if f"| {kind.value} |" not in page("conformance.md")]


# Models


def test_every_manifest_key_is_named():
    source = (ROOT / "models/manifest_file.py").read_text()
    keys = {key for found in ENTRY.findall(source) for key in found if key}
    assert {"labels", "gate_fraction", "intended_use"} <= keys
    assert not keys - named(page("model-packages.md"))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_small_package_works(parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = page("model-packages.md")
    folder, out = tmp_path / "bright-tissue", tmp_path / "out"
    folder.mkdir()
    script = blocks(text, "python")[0]
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    (folder / "model.toml").write_text(blocks(text, "toml")[0], encoding="utf-8")
    parts.registry.add(folder)
    voxels = np.zeros((5, 16, 16))
    voxels[1:4, 4:12, 4:12] = 1000
    save(mr_series(voxels.shape, voxels=voxels), tmp_path / "study")
    assert analyse(parts.settings, tmp_path / "study", out, model="bright-tissue") == 0
    assert "Bright tissue volume" in capsys.readouterr().out
    assert len(list(out.glob("bright-tissue-seg-*.dcm"))) == 1


# Files and dependencies


def test_every_dependency_is_justified():
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    wanted = {re.split(r"[\[<>=]", name)[0] for name in (*project["dependencies"], *extras)}
    lines = page("architecture.md")
    assert "pydicom" in wanted
    assert not {name for name in wanted - {"wetread"} if f"`{name}`" not in lines}


def test_every_source_file_has_its_line():
    text = page("architecture.md")
    for folder in ("imaging", "models", "dicom_node", "serving", "scripts"):
        section = text.split(f"### {folder}\n")[1].split("\n### ")[0]
        there = {str(path.relative_to(ROOT / folder)) for path in (ROOT / folder).rglob("*.py")}
        there = {name for name in there if not name.endswith("__init__.py")}
        assert set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) == there


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=str)
def test_links_lead_somewhere(document: Path):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (document.parent / target).exists()]
