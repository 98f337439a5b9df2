"""A FHIR R4 server in a process of its own: Medplum's router and memory, fetched from npm.

`fhir_server/server.mjs` checks all that comes against the definitions of FHIR R4 before it is done.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from scripts.child_process import ChildProcess
from tests.dicom_node.rig import free_port

SOURCE = Path(__file__).parent / "fhir_server"


class FhirServer:
    """What it answers is shown and what it has is listed; `kept` are resources by type."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        shutil.copytree(SOURCE, folder)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=folder, check=True, timeout=300)
        port = self.url.rpartition(":")[2]
        node = [shutil.which("node") or "node", str(folder / "server.mjs"), port]
        self._process = ChildProcess("fhir", node, log=folder / "log")
        self._process.wait_until(self._answers, limit_s=60)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/Patient").is_success
        except httpx.TransportError:
            return False

    def clear(self) -> None:
        httpx.request("DELETE", f"{self.url}/")

    def stop(self) -> None:
        self._process.stop()

    def put(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Create a resource, as another system does."""
        answer = httpx.post(f"{self.url}/{resource['resourceType']}", json=resource)
        assert answer.is_success, answer.text
        return answer.json()

    def post(self, bundle: bytes) -> httpx.Response:
        headers = {"Content-Type": "application/fhir+json"}
        return httpx.post(f"{self.url}/", content=bundle, headers=headers)

    def kept(self, kind: str, identifier: str = "") -> list[dict[str, Any]]:
        query = f"?_count=100&identifier={quote(identifier)}" if identifier else "?_count=100"
        found = httpx.get(f"{self.url}/{kind}{query}").json()
        return [entry["resource"] for entry in found.get("entry", [])]

    def counts(self) -> dict[str, int]:
        kinds = ("Patient", "ImagingStudy", "Observation", "DiagnosticReport")
        return {kind: len(self.kept(kind)) for kind in kinds}


@pytest.fixture(scope="session")
def fhir_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    server = FhirServer(tmp_path_factory.mktemp("fhir") / "server")
    yield server
    server.stop()


@pytest.fixture
def fhir_server(fhir_process: FhirServer) -> FhirServer:
    """A FHIR server without resources."""
    fhir_process.clear()
    return fhir_process


def resources(bundle: bytes) -> dict[str, list[dict[str, Any]]]:
    """Return the resources of a bundle by type."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in json.loads(bundle)["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found
