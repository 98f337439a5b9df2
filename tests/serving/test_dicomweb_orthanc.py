"""Orthanc as a client of our DICOMweb."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread

from dicom_node.web_peers import WebPeer
from tests.builders import ct_series
from tests.dicom_node.rig import part10
from tests.serving.dicomweb_site import Site, running


class Orthanc:
    """Orthanc's REST interface, where we are the server `wetread`."""

    def __init__(self, root: str, site: Site) -> None:
        self.client = httpx.Client(base_url=root, timeout=60)
        self.ask("PUT", "/dicom-web/servers/wetread", {"Url": site.url})

    def __enter__(self) -> "Orthanc":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.client.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None


@pytest.mark.usefixtures("our_port")
def test_orthanc_stores_searches_and_retrieves(tmp_path: Path, orthanc_web: WebPeer):
    root = orthanc_web.url.removesuffix("/dicom-web")
    slices = ct_series((3, 16, 16), PatientName="Wang^XiaoDong")
    study, series = slices[0].StudyInstanceUID, slices[0].SeriesInstanceUID
    with running(Site(tmp_path / "ours")) as site, Orthanc(root, site) as orthanc:
        sent = [orthanc.client.post("/instances", content=part10(ds)).json()["ID"] for ds in slices]
        server = "/dicom-web/servers/wetread"
        told = orthanc.ask("POST", f"{server}/stow", {"Resources": sent})
        assert told["InstancesCount"] == "3"
        assert site.parts.index.study(study).received == 3
        orthanc.client.delete(f"/studies/{orthanc.ask('GET', '/studies')[0]}")
        assert orthanc.ask("GET", "/studies") == []

        query = {"Uri": "/studies", "Arguments": {"PatientName": "Wang*"}}
        (found,) = orthanc.ask("POST", f"{server}/qido", query)
        assert found["0020000D"]["Value"] == study
        query = {"Uri": f"/studies/{study}/series", "Arguments": {"Modality": "CT"}}
        assert len(orthanc.ask("POST", f"{server}/qido", query)) == 1

        wanted = {"Resources": [{"Study": study, "Series": series}], "Synchronous": True}
        orthanc.ask("POST", f"{server}/retrieve", wanted)
        ids = orthanc.ask("GET", "/instances")
        assert len(ids) == 3
        back = tmp_path / "back.dcm"
        back.write_bytes(orthanc.client.get(f"/instances/{ids[0]}/file").content)
        assert dcmread(back).PixelData in {ds.PixelData for ds in slices}
