"""What each kind of target is sent, and how: the one table of kinds."""

import time

from dicom_node.scu import Timeouts
from imaging.errors import SetupError
from serving.messages import Message
from serving.notify import fhir, hl7, mllp, webhook
from serving.notify.story import Story
from serving.notify.target import Target
from serving.notify.told import Told


def composed(story: Story, target: Target) -> bytes | Told:
    """Return the bytes that tell a story to a target, or why that kind cannot tell it."""
    match target.kind:
        case "hl7":
            return hl7.composed(story, target)
        case "fhir":
            return fhir.composed(story, target)
        case "webhook":
            return webhook.composed(story, target)


def send(target: Target, message: Message, body: bytes, *, timeouts: Timeouts) -> Told:
    """Send once; a slip in the settings is something to wait for, not the receiver's fault."""
    try:
        match target.kind:
            case "hl7":
                return mllp.send(target, message.message_id, body, timeouts=timeouts)
            case "fhir":
                return fhir.send(target, body, timeouts=timeouts)
            case "webhook":
                at = int(time.time())
                return webhook.send(target, message.message_id, body, at=at, timeouts=timeouts)
    except SetupError as error:
        return Told(verdict="waiting", words=str(error))
