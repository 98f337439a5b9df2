"""`wetread redeliver`: try again what destinations refused or what was given up."""

from dicom_node.audit.kinds import Kind
from serving.commands.audit import told
from serving.commands.tables import output
from serving.parts import Parts
from serving.settings import Settings


def redeliver(settings: Settings, *, study_uid: str | None, destination: str | None) -> int:
    """Start these deliveries anew and say how many; a running worker carries them out."""
    parts = Parts(settings)
    items = parts.operations.deliver_again(study_uid=study_uid, destination=destination)
    for each in sorted({item.study_uid for item in items}):
        told(parts, Kind.REDELIVERED, each)
    output().print(f"{len(items)} deliveries start anew", highlight=False)
    return 0
