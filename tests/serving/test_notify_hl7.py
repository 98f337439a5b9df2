"""Findings to a RIS as ORU^R01 over MLLP, against the MLLP server and parser of another library."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial

import hl7 as judge
import pytest
from hl7.mllp import start_hl7_server
from pydantic import ValidationError

from imaging.reasons import reason
from serving.assessments import AssessmentRequest
from serving.commands.status import status as print_status
from serving.notify import hl7
from serving.notify.target import Target
from serving.settings import Settings
from serving.worker import build_writer
from tests.dicom_node.rig import free_port
from tests.serving.bench import mr

QUICK = {"first_retry_s": 2.0, "longest_retry_s": 60.0, "connect_s": 2.0, "reply_s": 5.0}
NAME = "Zhang^San^^Dr=张^三"


class Ris:
    """An MLLP server that acknowledges with the next of `codes`, the last for ever."""

    def __init__(self, *codes: str) -> None:
        self.codes, self.got, self.port = list(codes), [], free_port()
        self.said, self.tasks = "", []

    def acknowledgement(self, message: judge.Message) -> str:
        self.got.append(message)
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        answer = str(message.create_ack(code)).rstrip("\r")
        return f"{answer}|{self.said}\r" if self.said else answer

    async def answer(self, before, reader, writer) -> None:
        self.tasks.append(asyncio.current_task())
        try:
            while True:
                message = await reader.readmessage()
                answer = self.acknowledgement(message)
                before()
                writer.writemessage(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@contextmanager
def ris(
    *codes: str,
    before: Callable[[], None] = lambda: None,
    tls: ssl.SSLContext | None = None,
):
    running, ready = Ris(*codes), threading.Event()
    loop = asyncio.new_event_loop()
    ended = loop.create_future()

    async def serve() -> None:
        server = await start_hl7_server(
            partial(running.answer, before),
            ssl=tls,
            host="127.0.0.1",
            port=running.port,
            encoding="utf-8",
        )
        ready.set()
        async with server:
            await ended
            await asyncio.gather(*running.tasks)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(30)
    yield running
    loop.call_soon_threadsafe(ended.set_result, None)
    thread.join(30)
    loop.close()


def target(port: int, **more: object) -> Target:
    known = {"name": "ris", "kind": "hl7", "host": "127.0.0.1", "port": port}
    return Target(**{**known, "receiving_application": "RIS|A", **more})


@pytest.fixture
def told(make):
    def made(port: int, **header: object):
        bench = make(notify=(target(port),), delivery=QUICK)
        bench.install()
        header = {"PatientName": NAME, "AccessionNumber": "A^1", **header}
        return bench, bench.analysed(mr(SpecificCharacterSet="ISO_IR 192", **header))

    return made


def tell(bench) -> float:
    return bench.parts.teller.tell(bench.settings.notify[0])


def only(bench):
    (message,) = bench.parts.messages.listed()
    return message


def observations(message: judge.Message) -> list[tuple[str, str, str]]:
    """Return type, coded name and value of each OBX, as the parser reads them."""
    return [(str(x[2]), str(x[3]), message.unescape(str(x[5]))) for x in message.segments("OBX")]


def test_a_ris_gets_the_findings_with_every_character(told):
    with ris("AA") as receiver:
        bench, study = told(receiver.port)
        assert tell(bench) == 0
    (message,) = receiver.got
    header, order = message.segment("MSH"), message.segment("OBR")
    assert [str(header[n]) for n in (3, 9, 11, 12, 18)] == [
        "WETREAD",
        "ORU^R01^ORU_R01",
        "P",
        "2.5.1",
        "UNICODE UTF-8",
    ]
    assert message.unescape(str(header[5])) == "RIS|A"
    assert str(header[10]) == hl7.control_id(only(bench).message_id)
    patient = message.segment("PID")
    assert str(patient[5]) == "Zhang^San^^^Dr^^L^A~张^三^^^^^L^I"
    assert str(patient[3](0)(0)) == bench.index.study(study).patient_id
    assert message.unescape(str(order[18])) == "A^1"
    assert (str(order[24]), str(order[25])) == ("RAD", "P")
    (finding,) = bench.journal.findings(study)
    found = observations(message)
    assert found[0] == ("ST", "113014^DICOM Study^DCM", study)
    assert ("TX", "18782-3^Radiology Study observation^LN", finding.statement) in found
    numbers = {name.split("^")[1]: value for kind, name, value in found if kind == "NM"}
    for measured in finding.measurements:
        assert float(numbers[measured.name]) == measured.value
    units = {str(x[6]) for x in message.segments("OBX") if str(x[2]) == "NM"}
    assert units == {f"{m.unit}^^UCUM" for m in finding.measurements}
    assert (only(bench).state, only(bench).answer) == ("delivered", "MSA AA")


def test_what_a_reader_said_decides_the_status(told):
    with ris("AA") as receiver:
        bench, study = told(receiver.port)
        findings = bench.journal.current_findings(study)
        wanted = AssessmentRequest(verdict="accepted")
        bench.parts.assessments.assess(findings, wanted, study_uid=study, reader="dr")
        build_writer(bench.parts).write(study)
        tell(bench)
    (message,) = receiver.got
    assert str(message.segment("OBR")[25]) == "F"
    assert {str(x[11]) for x in message.segments("OBX")} == {"F"}


def test_why_nothing_was_found_is_said(told):
    with ris("AA") as receiver:
        bench, study = told(receiver.port)
        item = bench.ticket(study, workitem_uid="given up")["workitem_uid"]
        bench.journal.fail(item, reason("POISON", tries=3))
        tell(bench)
    (message,) = receiver.got
    assert str(message.segment("OBR")[25]) == "X"
    assert observations(message)[1][2] == reason("POISON", tries=3).text


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("AA", "delivered"),
        ("CA", "delivered"),
        ("AE", "waiting"),
        ("CE", "waiting"),
        ("AR", "refused"),
        ("CR", "refused"),
    ],
)
def test_the_acknowledgement_decides(told, code, state, capsys):
    with ris(code) as receiver:
        receiver.said = "unknown patient \\T\\ 张三"
        bench, _ = told(receiver.port)
        tell(bench)
    assert (only(bench).state, only(bench).answer) == (state, f"MSA {code}")
    assert only(bench).words == "unknown patient & 张三"
    logged = capsys.readouterr()
    assert code in logged.out + logged.err
    assert "张三" not in logged.out + logged.err
    print_status(bench.settings)
    assert ("张三" in capsys.readouterr().out) == (state != "delivered")


def test_what_was_answered_with_an_error_is_sent_again_as_it_was(told):
    with ris("AE", "AA") as receiver:
        bench, study = told(receiver.port)
        tell(bench)
        bench.parts.messages.start_over(study_uid=study)
        tell(bench)
    first, second = map(str, receiver.got)
    assert first == second
    assert only(bench).state == "delivered"


def answered(text: str) -> tuple[str, str]:
    told = hl7.judged(text.encode(), "c1")
    return told.verdict, told.words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MSH|^~\\&|R\rMSA|AR", ("refused", "")),
        ("MSH|^~\\&|R\rMSA|CR||no", ("refused", "no")),
        ("MSH|^~\\&|R\rMSA|AR|c0|no", ("waiting", "the answer is about another message")),
        ("MSH|^~\\&|R\rMSA|AA|c0", ("waiting", "the answer is about another message")),
        ("MSH|^~\\&|R\rMSA|AA|", ("waiting", "the answer is about another message")),
        ("MSH|^~\\&|R\r\nMSA|AA|c1\r\n", ("delivered", "")),
        ("MSH#$*!@#R\rMSA#AE#c1#a!S!b!F!c!E!", ("waiting", "a$b#c!")),
        ("MSH|^~\\&|R\rMSA|XX|c1", ("waiting", "")),
        ("nonsense", ("waiting", "the answer is not HL7")),
        ("", ("waiting", "the answer is not HL7")),
        ("MSH|^", ("waiting", "the answer is not HL7")),
    ],
)
def test_acknowledgements_of_any_make_are_read(text, expected):
    assert answered(text) == expected


@pytest.mark.parametrize("sent", [b"", b"\x0bMSH|", b"x" * (2 << 20)])
def test_a_ris_that_answers_with_less_or_with_too_much_is_tried_again(told, sent):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(1 << 16)
                with_error = line.sendall
                try:
                    with_error(sent)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        bench, _ = told(server.getsockname()[1])
        tell(bench)
        thread.join(30)
    assert (only(bench).state, only(bench).answer) == ("waiting", "")
    assert "no answer" in only(bench).words


def test_numbers_have_no_exponent():
    for value in (1e-7, 1e22, 0.1, 1739.4, -2.5e-10):
        text = hl7._number(value)
        assert "e" not in text.lower()
        assert Decimal(text) == Decimal(repr(value))


def test_text_survives_an_independent_reader():
    nasty = "a|b^c&d~e\\f 肝脏\r\n\x0bend"
    message = judge.parse(f"MSH|^~\\&|x\rOBX|1|TX|x||{hl7.escape(nasty)}\r")
    assert message.unescape(str(message["OBX"][0][5])) == "a|b^c&d~e\\f 肝脏   end"


@pytest.mark.parametrize("wrong", [{"host": ""}, {"port": 0}, {"port": 70000}])
def test_a_ris_needs_host_and_port(wrong):
    entry = {"name": "ris", "kind": "hl7", "host": "127.0.0.1", "port": 2575, **wrong}
    with pytest.raises(ValidationError, match="needs a host, and a port"):
        Settings.model_validate({"notify": [entry]})
