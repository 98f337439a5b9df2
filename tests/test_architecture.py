"""Rules about the code that no linter has; import-linter checks the arrows between folders."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("imaging", "models", "dicom_node", "serving", "scripts")
LONGEST = 400
LOADED = """
import sys
import {module}
print(*sorted({unwanted!r} & sys.modules.keys()))
"""


def sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_no_source_file_is_too_long():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()
    }
    assert len(lengths) > 80
    assert not {path: lines for path, lines in lengths.items() if lines > LONGEST}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("dicom_node.scp", {"torch", "monai", "onnxruntime", "fastapi", "dbos"}),
        ("serving.node", {"torch", "monai", "fastapi"}),
        ("serving.pipeline", {"torch", "monai"}),
        ("serving.web", {"torch", "monai", "onnxruntime", "onnx"}),
    ],
)
def test_a_bare_interpreter_does_not_load(module, unwanted):
    script = LOADED.format(module=module, unwanted=unwanted)
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []
