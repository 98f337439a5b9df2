"""`wetread notifications`: try again what other systems were not told, or send it no more."""

from dicom_node.audit.kinds import Kind
from serving.commands.audit import told
from serving.commands.tables import output
from serving.parts import Parts
from serving.settings import Settings


def retry(settings: Settings, *, study_uid: str | None, target: str | None) -> int:
    """Let these wait anew and say how many; a running worker sends them."""
    parts = Parts(settings)
    items = parts.messages.start_over(study_uid=study_uid, target=target)
    for each in sorted({item.study_uid for item in items}):
        told(parts, Kind.REDELIVERED, each)
    output().print(f"{len(items)} notifications are tried at once", highlight=False)
    return 0


def cancel(settings: Settings, message_id: str) -> int:
    """Send one no more."""
    parts = Parts(settings)
    told(parts, Kind.CANCELED, parts.messages.cancel(message_id).study_uid)
    output().print(f"notification {message_id} is canceled", highlight=False)
    return 0
