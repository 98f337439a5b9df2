"""A real PACS for demo and tests: Debian's Orthanc with its DICOMweb plugin, on loopback.

It forwards every study to Wetread once it is stable, by a rule, as a PACS does.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imaging.identity import AETitle
from scripts.child_process import ChildProcess
from scripts.loopback import HOST, answers, get_bytes, get_json, post_bytes, post_json
from scripts.pacs import PacsPlan

PLUGINS = (
    Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"),
    Path("/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so"),
)
_START_LIMIT_S = 60.0
_SOP_INSTANCE_UID = "00080018"

# OnStableStudy runs again when results arrive; the receiver knows its own results.
_FORWARD = """\
function OnStableStudy(studyId, tags, metadata)
  RestApiPost('/modalities/wetread/store', DumpJson({Resources = {studyId}, Asynchronous = true}))
end
"""


def program() -> Path | None:
    """Return where Orthanc is installed, or ``None``."""
    found = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    return Path(found) if found else None


class Orthanc:
    """A running Orthanc; `stop` ends it."""

    ae_title = AETitle("ORTHANC")
    name = "Orthanc"

    def __init__(self, executable: Path, plan: PacsPlan) -> None:
        self.dicom_port = plan.dicom_port
        self._http_port = plan.http_port
        self._has_dicomweb = bool(_installed_plugins())
        plan.folder.mkdir(parents=True, exist_ok=True)
        config = plan.folder / "orthanc.json"
        script = plan.folder / "forward.lua"
        script.write_text(_FORWARD, encoding="utf-8")
        config.write_text(json.dumps(_config(plan, script, self.ae_title), indent=2))
        self._process = ChildProcess(
            "Orthanc",
            [str(executable), str(config)],
            log=plan.folder / "orthanc.log",
            # Debian's Orthanc leaves Nagle's algorithm on unless told: 40 ms for each image.
            environment={"TCP_NODELAY": "1"},
        )

    def wait_until_ready(self) -> None:
        """Return once it answers; stop it and raise SetupError if it does not."""
        try:
            self._process.wait_until(
                lambda: answers(self._http_port, "/system"), limit_s=_START_LIMIT_S
            )
        except BaseException:
            self.stop()
            raise

    def store(self, paths: Iterable[Path]) -> None:
        """Put Part 10 files into the PACS."""
        for path in paths:
            post_bytes(self._http_port, "/instances", path.read_bytes())

    def instances(self, study_uid: str) -> frozenset[str]:
        """Return the SOP Instance UIDs that a query for the study finds.

        By QIDO-RS (PS3.18 10.6) where the DICOMweb plugin is installed, else by Orthanc's own find.
        """
        return self._by_qido(study_uid) if self._has_dicomweb else self._by_find(study_uid)

    def addresses(self, study_uid: str) -> tuple[str, ...]:
        """Return where to look at the study."""
        found = self._study_id(study_uid)
        return (f"http://{HOST}:{self._http_port}/app/explorer.html#study?uuid={found}",)

    def stop(self) -> None:
        """End it."""
        self._process.stop()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def files(self, study_uid: str, without: frozenset[str]) -> tuple[bytes, ...]:
        """Return the instances of a study as Part 10 files, but those `without`."""
        wanted = (
            each["ID"]
            for each in self._find("Instance", study_uid)
            if each["MainDicomTags"]["SOPInstanceUID"] not in without
        )
        return tuple(get_bytes(self._http_port, f"/instances/{each}/file") for each in wanted)

    def _by_qido(self, study_uid: str) -> frozenset[str]:
        found = get_json(self._http_port, f"/dicom-web/studies/{study_uid}/instances")
        assert isinstance(found, list)
        return frozenset(str(each[_SOP_INSTANCE_UID]["Value"][0]) for each in found)

    def _by_find(self, study_uid: str) -> frozenset[str]:
        found = self._find("Instance", study_uid)
        return frozenset(str(each["MainDicomTags"]["SOPInstanceUID"]) for each in found)

    def _study_id(self, study_uid: str) -> str:
        return str(next(iter(self._find("Study", study_uid)), {}).get("ID", ""))

    def _find(self, level: str, study_uid: str) -> list[dict[str, Any]]:
        query = {"Level": level, "Query": {"StudyInstanceUID": study_uid}, "Expand": True}
        found = post_json(self._http_port, "/tools/find", query)
        assert isinstance(found, list)
        return found


def _installed_plugins() -> list[str]:
    return [str(path) for path in PLUGINS if path.exists()][:1]


def _config(plan: PacsPlan, script: Path, ae_title: AETitle) -> dict[str, object]:
    data = str(plan.folder / "data")
    return {
        "Name": "Demo PACS",
        "StorageDirectory": data,
        "IndexDirectory": data,
        "HttpPort": plan.http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": ae_title,
        "DicomPort": plan.dicom_port,
        # Orthanc 1.10 listens on every interface: so only Wetread, from loopback, is let in.
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowGet": False,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": True,
        "DicomModalities": {
            "wetread": {"AET": plan.forward_to, "Host": HOST, "Port": plan.forward_port},
            **{str(title): {"AET": title, "Host": HOST, "Port": 1} for title in plan.senders},
        },
        "OverwriteInstances": False,
        "StorageCompression": False,
        "StableAge": 1,
        "LuaScripts": [str(script)],
        "Plugins": _installed_plugins(),
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
