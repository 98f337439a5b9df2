"""`wetread retry` and `wetread prioritise`: the work of one study, again or sooner."""

from dicom_node.audit.kinds import Kind
from imaging.errors import InputError
from serving.commands.audit import told
from serving.commands.tables import output
from serving.order import PRIORITIES
from serving.parts import Parts
from serving.settings import Settings


def retry(settings: Settings, uid: str) -> int:
    """Analyse a study again and say under which workitem."""
    parts = Parts(settings)
    known = parts.journal.workitem(uid)
    item = parts.operations.reanalyse(known.study_uid if known else uid)
    told(parts, Kind.REANALYSED, item.study_uid)
    output().print(f"workitem {item.workitem_uid} waits", highlight=False)
    return 0


def prioritise(settings: Settings, uid: str, priority: int) -> int:
    """Let a waiting study run sooner or later, and say so."""
    if priority not in PRIORITIES:
        msg = f"priority {priority} is not from {PRIORITIES[0]} to {PRIORITIES[-1]}"
        raise InputError(msg)
    parts = Parts(settings)
    item = parts.operations.prioritise(uid, priority)
    told(parts, Kind.PRIORITISED, item.study_uid)
    output().print(f"workitem {item.workitem_uid} has priority {item.priority}", highlight=False)
    return 0
