"""HL7 v2.5.1: what is found in a study as ORU^R01, and what an acknowledgement says of it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from imaging.verdict import Verdict
from serving.assessments import AssessmentRecord
from serving.notify.story import Story
from serving.notify.target import Target
from serving.notify.told import Told
from serving.notify.told import Verdict as Outcome
from serving.records import CodeRecord, FindingRecord

_ENCODING = "^~\\&"
_LETTERS = {"E": "\\", "F": "|", "S": "^", "T": "&", "R": "~"}
_ESCAPES = str.maketrans(
    {sign: f"\\{letter}\\" for letter, sign in _LETTERS.items()}
    | {chr(code): " " for code in (*range(32), 127)}  # a control character would end a segment
)
_ID_LENGTH = 20  # of MSH-10
_LEAST_MSH = 8  # MSH|^~\&
_FORMS = ("A", "I", "P")  # of a DICOM name: alphabetic, ideographic, phonetic
_SEXES = {"M": "M", "F": "F", "O": "O"}
_VERDICTS: dict[str, Outcome] = {
    "AA": "delivered",
    "CA": "delivered",
    "AE": "waiting",
    "CE": "waiting",
    "AR": "refused",
    "CR": "refused",
}
_STUDY = CodeRecord(value="113014", scheme="DCM", meaning="DICOM Study")
_REPORT = CodeRecord(value="18748-4", scheme="LN", meaning="Diagnostic imaging study")
_SAID = CodeRecord(value="18782-3", scheme="LN", meaning="Radiology Study observation")
_FINDING = CodeRecord(value="121071", scheme="DCM", meaning="Finding")
_PROBABILITY = CodeRecord(value="C90397", scheme="NCIt", meaning="Probability")
_STATUS = {Verdict.ACCEPTED: "F", Verdict.CORRECTED: "C", Verdict.REJECTED: "W"}


def control_id(message_id: str) -> str:
    """Return MSH-10 of a message: the same at every attempt."""
    return message_id.replace("-", "")[:_ID_LENGTH]


def composed(story: Story, target: Target) -> bytes:
    """Return a message in UTF-8, which MSH-18 says."""
    observations = (
        _segment("OBX", str(number), *fields)
        for number, fields in enumerate(_observations(story), start=1)
    )
    segments = (_header(story, target), _patient(story), _order(story), *observations)
    return "".join(f"{each}\r" for each in segments).encode()


def escape(text: str) -> str:
    """Return text as the content of a field."""
    return text.translate(_ESCAPES)


def judged(answer: bytes, sent: str) -> Told:
    """Return what an acknowledgement says of the message with the control id `sent`."""
    lines = answer.decode("utf-8", "replace").replace("\n", "\r").strip("\r").split("\r")
    if len(lines[0]) < _LEAST_MSH or not lines[0].startswith("MSH"):
        return Told(verdict="waiting", answer="no HL7", words="the answer is not HL7")
    separator = lines[0][3]
    found = next((line.split(separator) for line in lines if line.startswith("MSA")), [])
    code, about, said = (*found[1:4], "", "", "")[:3]
    words = _unescaped(said, separator, lines[0][4:8])
    verdict = _VERDICTS.get(code, "waiting")
    if about != sent and not (verdict == "refused" and not about):
        return Told(verdict="waiting", answer="other", words="the answer is about another message")
    known = code if code in _VERDICTS else "unknown"
    return Told(verdict=verdict, answer=f"MSA {known}", words=words)


def _unescaped(text: str, separator: str, encoding: str) -> str:
    """Return text of a field with the signs that the receiver declares put back."""
    component, repetition, escaping, sub = list(encoding)
    signs = {"F": separator, "S": component, "R": repetition, "E": escaping, "T": sub}
    parts = text.split(escaping)
    return "".join(
        part if number % 2 == 0 else signs.get(part, " ") for number, part in enumerate(parts)
    )


def _segment(name: str, *fields: str) -> str:
    return "|".join((name, *fields)).rstrip("|")


def _components(*parts: str) -> str:
    return "^".join(map(escape, parts)).rstrip("^")


def _code(code: CodeRecord) -> str:
    return _components(code.value, code.meaning, code.scheme)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%S+0000")


def _header(story: Story, target: Target) -> str:
    parties = (
        target.sending_application,
        target.sending_facility,
        target.receiving_application,
        target.receiving_facility,
    )
    return _segment(
        "MSH",
        _ENCODING,
        *map(escape, parties),
        _time(story.message.planned_at),
        "",
        "ORU^R01^ORU_R01",
        control_id(story.message.message_id),
        "P",
        "2.5.1",
        *("",) * 5,
        "UNICODE UTF-8",
    )


def _patient(story: Story) -> str:
    study = story.study
    forms = zip(study.patient_name.split("="), _FORMS, strict=False)
    names = "~".join(_name(name, form) for name, form in forms if name.strip("^ "))
    sex = _SEXES.get(study.sex, "U")
    patient_id = _components(study.patient_id, "", "", "", "PI") if study.patient_id else ""
    return _segment("PID", "1", "", patient_id, "", names, "", escape(study.birth_date), sex)


def _name(name: str, form: str) -> str:
    """Return a form of a DICOM name as XPN, which has the suffix before the prefix."""
    family, given, middle, prefix, suffix = (*name.split("^"), *("",) * 5)[:5]
    parts = (part.strip() for part in (family, given, middle, suffix, prefix))
    return _components(*parts, "", "L", form)


def _order(story: Story) -> str:
    study, ended = story.study, story.workitem and story.workitem.ended_at
    accession = escape(study.accession_number)
    fields = [""] * 25
    fields[0], fields[2], fields[3], fields[6] = "1", accession, _code(_REPORT), study.study_date
    fields[17], fields[21] = accession, _time(ended or story.message.planned_at)
    fields[23], fields[24] = "RAD", _status(story)
    return _segment("OBR", *fields)


def _status(story: Story) -> str:
    """Return OBR-25: preliminary until a reader has judged all that was found."""
    if not story.findings:
        return "X"
    verdicts = {
        f.tracking_uid: _verdict(story.assessed.get(f.tracking_uid)) for f in story.findings
    }
    if "P" in verdicts.values():
        return "P"
    return "F" if set(verdicts.values()) == {"F"} else "C"


def _verdict(said: AssessmentRecord | None) -> str:
    return _STATUS.get(said.verdict, "P") if said else "P"


def _observations(story: Story) -> Iterator[Sequence[str]]:
    yield "ST", _code(_STUDY), "", escape(story.study.study_uid), *("",) * 5, _status(story)
    if story.workitem and story.workitem.reason_text:
        yield "TX", _code(_SAID), "", escape(story.workitem.reason_text), *("",) * 5, "X"
    for number, finding in enumerate(story.findings, start=1):
        said = story.assessed.get(finding.tracking_uid)
        for kind, code, value, unit in _finding(finding, said):
            yield kind, code, str(number), value, unit, *("",) * 4, _verdict(said)


def _finding(
    finding: FindingRecord, said: AssessmentRecord | None
) -> Iterator[tuple[str, str, str, str]]:
    """Yield what is said of a finding, as a reader corrected it: type, code, value, unit."""
    uncoded = CodeRecord(value="", scheme="", meaning=finding.concept)
    yield "CWE", _code(_FINDING), _code((said and said.instead) or finding.code or uncoded), ""
    yield "TX", _code(_SAID), escape(finding.statement), ""
    corrected = {m.name: m for m in said.measured} if said else {}
    for measured in finding.measurements:
        one = corrected.get(measured.name, measured)
        named = one.code or CodeRecord(value="", scheme="", meaning=one.name)
        yield "NM", _code(named), _number(one.value), _components(one.unit, "", "UCUM")
    if finding.probability is not None:
        yield "NM", _code(_PROBABILITY), _number(finding.probability), "1^^UCUM"


def _number(value: float) -> str:
    """Return a number as NM has it: without an exponent."""
    return format(Decimal(repr(value)), "f")
