"""What a FHIR server says of itself: whether there is one, and of which version."""

import json

import httpx

from dicom_node.scu import Timeouts
from serving.notify.target import Target

_R4 = "4."  # R4B is 4.3 and has the same resources of ours
_ASKS_WHO = frozenset({401, 403})


def problem(target: Target, *, timeouts: Timeouts) -> str:
    """Return what is wrong with the server at a base URL, empty if nothing is known to be.

    Raises
    ------
    SetupError
        Our certificates cannot be used.
    """
    address = f"{target.url.rstrip('/')}/metadata"
    try:
        answer = httpx.get(
            address,
            headers={"Accept": "application/fhir+json"},
            verify=target.tls_context(),
            timeout=httpx.Timeout(timeouts.reply_s, connect=timeouts.connect_s),
            trust_env=False,
        )
    except httpx.HTTPError as error:
        return f"{address} cannot be read: {type(error).__name__}"
    return "" if answer.status_code in _ASKS_WHO else _judged(answer, address)


def _judged(answer: httpx.Response, address: str) -> str:
    try:
        said = json.loads(answer.content)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or said.get("resourceType") != "CapabilityStatement":
        return f"{address} (HTTP {answer.status_code}) is not that of a FHIR server"
    version = str(said.get("fhirVersion", ""))
    return "" if version.startswith(_R4) else f"the server speaks FHIR {version}, not R4"
