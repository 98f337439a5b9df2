"""DICOMweb on loopback, as clients meet it, with studies of many kinds."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydicom import Dataset

from dicom_node.archive import Encoded
from dicom_node.ingest import Stored
from serving.parts import Parts
from serving.settings import Settings
from serving.web import application
from tests.dicom_node.rig import dataset_of, free_port, part10, wait_for


class Site:
    """A running web application; `client` asks it, `get` wants JSON."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(data_folder=folder / "data", **settings)
        self.parts = Parts(self.settings)
        self.app = application(self.parts)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/dicomweb"
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def keep(self, images: Sequence[Dataset], syntax: str = "1.2.840.10008.1.2.1") -> None:
        """Take in data sets that are encoded already, or can be."""
        for ds in images:
            self.keep_bytes(
                Encoded(
                    dataset=dataset_of(part10(ds, syntax)),
                    sop_class_uid=str(ds.SOPClassUID),
                    instance_uid=str(ds.SOPInstanceUID),
                    transfer_syntax_uid=syntax,
                )
            )

    def keep_bytes(self, encoded: Encoded) -> Stored:
        return self.parts.ingest.store(
            encoded.dataset,
            sop_class_uid=encoded.sop_class_uid,
            instance_uid=encoded.instance_uid,
            transfer_syntax_uid=encoded.transfer_syntax_uid,
            calling_ae="PACS",
            address="127.0.0.1",
        )

    def get(self, path: str, **params: str) -> Any:
        answer = self.client.get(path, params=params or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def raw(self, path: str, accept: str = "*/*", status: int = 200) -> httpx.Response:
        answer = self.client.get(path, headers={"Accept": accept})
        assert answer.status_code == status, answer.text[:500]
        return answer


@contextmanager
def running(site: Site) -> Iterator[Site]:
    config = uvicorn.Config(site.app, host="127.0.0.1", port=site.port, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, seconds=30)
    yield site
    site.client.close()
    server.should_exit = True
    thread.join(timeout=30)
    site.parts.index.engine.dispose()


def parts_of(answer: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    """Return headers and body of each part of a multipart answer."""
    kind = answer.headers["content-type"]
    assert kind.startswith("multipart/related"), kind
    boundary = kind.split("boundary=")[1].encode()
    found = []
    for piece in answer.content.split(b"\r\n--" + boundary)[1:-1]:
        head, body = piece.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        found.append(({name.lower(): value for name, value in lines}, body))
    assert answer.content.endswith(b"--" + boundary + b"--\r\n")
    return found
