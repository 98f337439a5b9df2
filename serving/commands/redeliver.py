"""`wetread redeliver`: try again what destinations refused or what was given up."""

from serving.commands.tables import output
from serving.parts import Parts
from serving.settings import Settings


def redeliver(settings: Settings, *, study_uid: str | None, destination: str | None) -> int:
    """Start these deliveries anew and say how many; a running worker carries them out."""
    items = Parts(settings).operations.deliver_again(study_uid=study_uid, destination=destination)
    output().print(f"{len(items)} deliveries start anew", highlight=False)
    return 0
