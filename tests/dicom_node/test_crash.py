"""Success means durable: whatever was acknowledged before a kill is there after it."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

from dicom_node import schema
from dicom_node.archive import Archive
from dicom_node.delivery import send
from dicom_node.index import Index
from dicom_node.peers import Peer
from dicom_node.scu import Timeouts
from tests.dicom_node.rig import OURS, dataset_of, image, in_parallel, save

_RECEIVER = """
import sys, time
from pathlib import Path
from dicom_node import schema
from dicom_node.archive import Archive
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.peers import AssociationPolicy
from dicom_node.scp import Listening, Node
folder = Path(sys.argv[1])
engine = schema.connect(f"sqlite:///{folder}/index.db")
schema.upgrade(engine)
ingest = Ingest(Archive(folder / "instances", reserve_bytes=0), Index(engine), time.time)
node = Node(ingest, AssociationPolicy(ae_title="WETREAD"), lambda _: None,
            listening=Listening(host="127.0.0.1", port=0))
node.start()
print(node.port, flush=True)
time.sleep(60)
"""


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    receiver = subprocess.Popen(
        [sys.executable, "-c", _RECEIVER, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    assert receiver.stdout is not None
    port = int(receiver.stdout.readline())
    peer = Peer(name="us", ae_title=OURS, host="127.0.0.1", port=port)
    batches = [
        save(tmp_path / str(n), *(image(i, study=str(n)) for i in range(60))) for n in range(3)
    ]
    acknowledged: set[str] = set()

    def sender(number: int) -> None:
        if number == len(batches):
            time.sleep(0.6)
            receiver.kill()
            return
        outcome = send(peer, batches[number], ae_title=OURS, timeouts=Timeouts(reply_s=2))
        acknowledged.update(uid for uid, status in outcome.statuses.items() if status == 0)

    in_parallel(len(batches) + 1, sender)
    receiver.wait()
    receiver.stdout.close()
    assert 0 < len(acknowledged) < 180, "the kill must fall into the transfer"

    engine = schema.connect(f"sqlite:///{tmp_path}/index.db")
    index, archive = Index(engine), Archive(tmp_path / "instances", reserve_bytes=0)
    for uid in acknowledged:
        instance = index.instance(uid)
        assert instance is not None
        dataset = dataset_of(archive.read(instance.path))
        assert hashlib.sha256(dataset).hexdigest() == instance.sha256
    archive.sweep(before=time.time() + 1)
    engine.dispose()
