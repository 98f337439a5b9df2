"""The certificates that the settings name, each looked at once."""

from collections.abc import Iterator

from dicom_node.certificates import Validity, examine
from dicom_node.tls import TlsFiles
from serving.notify.target import Target
from serving.settings import Settings


def validities(settings: Settings) -> Iterator[Validity]:
    """Look at those of the node and the web, and at what peers and targets have of their own."""
    seen = set[str]()
    files = [settings.node.tls.files, *(peer.tls.files for peer in settings.peers if peer.tls)]
    files.append(TlsFiles(certificate=settings.web.certificate, key=settings.web.key))
    for target in settings.notify:
        files.append(_shown_to(target))
        files.append(TlsFiles(ca=str(target.ca_file or "")))
    for validity in (each for named in files for each in examine(named)):
        if validity.path not in seen:
            seen.add(validity.path)
            yield validity


def _shown_to(target: Target) -> TlsFiles:
    """Return our certificate; another authority than the receiver's may vouch for it."""
    certificate, key = target.certificate_file, target.certificate_key_file
    return TlsFiles(certificate=str(certificate or ""), key=str(key or ""))
