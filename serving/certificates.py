"""The certificates that the settings name, each looked at once."""

from collections.abc import Iterator

from dicom_node.certificates import Validity, examine
from dicom_node.tls import TlsFiles
from serving.settings import Settings


def validities(settings: Settings) -> Iterator[Validity]:
    """Look at those of the node and the web, and at what peers have of their own."""
    seen = set[str]()
    files = [settings.node.tls.files, *(peer.tls.files for peer in settings.peers if peer.tls)]
    files.append(TlsFiles(certificate=settings.web.certificate, key=settings.web.key))
    for validity in (each for named in files for each in examine(named)):
        if validity.path not in seen:
            seen.add(validity.path)
            yield validity
