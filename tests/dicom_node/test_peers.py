from dicom_node.peers import (
    CALLED_AE_NOT_RECOGNIZED,
    CALLING_AE_NOT_RECOGNIZED,
    AssociationPolicy,
    Channel,
    Peer,
)
from imaging.identity import ae_title

PACS = Peer(name="pacs", ae_title=ae_title("PACS"), host="10.0.0.7", port=104)
WARD = Peer(name="ward", ae_title=ae_title("WARD"), host="10.2.0.0/16", port=104, may_send=False)
NAMED = Peer(name="named", ae_title=ae_title("NAMED"), host="pacs.example", port=104)
POLICY = AssociationPolicy(
    ae_title=ae_title("WETREAD"),
    peers=(PACS, WARD, NAMED),
    resolve=lambda host: frozenset({"10.9.9.9"} if host == "pacs.example" else ()),
)


def reason(calling: str, called: str = "WETREAD", address: str = "10.0.0.7") -> int | None:
    refusal = POLICY.refusal(calling, called, Channel(address=address))
    return refusal and refusal.reason


def test_a_configured_peer_at_its_address_is_welcome() -> None:
    assert reason("PACS") is None
    assert reason("PACS", address="::ffff:10.0.0.7") is None
    assert reason("WARD", address="10.2.200.1") is None
    assert reason("NAMED", address="10.9.9.9") is None


def test_a_stranger_is_refused_and_so_is_a_known_title_from_elsewhere() -> None:
    assert reason("OTHER") == CALLING_AE_NOT_RECOGNIZED
    assert reason("PACS", address="10.0.0.8") == CALLING_AE_NOT_RECOGNIZED
    assert reason("WARD", address="10.3.0.1") == CALLING_AE_NOT_RECOGNIZED
    assert reason("NAMED", address="10.9.9.8") == CALLING_AE_NOT_RECOGNIZED


def test_another_called_title_is_refused_unless_that_is_not_checked() -> None:
    assert reason("PACS", "ORTHANC") == CALLED_AE_NOT_RECOGNIZED
    lax = AssociationPolicy(ae_title=ae_title("WETREAD"), peers=(PACS,), check_called=False)
    assert lax.refusal("PACS", "ORTHANC", Channel(address="10.0.0.7")) is None


def test_this_machine_is_no_stranger_by_default() -> None:
    assert reason("ANY", address="127.0.0.1") is None
    assert reason("ANY", address="::1") is None
    strict = AssociationPolicy(ae_title=ae_title("WETREAD"), allow_unknown_loopback=False)
    assert strict.refusal("ANY", "WETREAD", Channel(address="127.0.0.1")) is not None


def test_a_peer_that_may_not_send_may_only_associate() -> None:
    assert POLICY.may_store("PACS", "10.0.0.7")
    assert not POLICY.may_store("WARD", "10.2.0.1")
    assert not POLICY.may_store("OTHER", "10.0.0.9")
