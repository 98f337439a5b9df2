import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from tests.builders import ct_series, mr_series
from tests.dicom_node.rig import image
from tests.serving.dicomweb_site import Site, running

WANG, HEAD = "1.2.3", "1.2.4"


def ordered(step: str, procedure: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
    return item


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("search"))
    made.keep(
        mr_series(
            (3, 8, 8),
            StudyInstanceUID=WANG,
            SeriesInstanceUID="1.2.3.1",
            PatientID="P2",
            PatientName="Wang^XiaoDong^^^=王^小东",
            SpecificCharacterSet="ISO_IR 192",
            StudyDate="20250601",
            StudyTime="0830",
            StudyDescription="Brain 100%_x",
            RequestAttributesSequence=[ordered("STEP-1", "RP-7")],
            InstitutionName="县医院",
        )
    )
    head = {"StudyInstanceUID": HEAD, "StudyDate": "20250602", "StudyTime": "101500.25"}
    made.keep(ct_series((2, 8, 8), SeriesInstanceUID="1.2.4.1", **head))
    made.keep(mr_series((4, 8, 8), SeriesInstanceUID="1.2.4.2", SeriesNumber=9, **head))
    made.keep([image(1, study="müller", PatientName="Müller^Käthe", PatientID="P3",
                     SpecificCharacterSet="ISO_IR 100")])  # fmt: skip
    with running(made):
        yield made


def value(element: dict[str, Any]) -> Any:
    return element.get("Value", [None])[0]


def studies(site: Site, **params: str) -> set[str]:
    """Return which studies are found, by patient ID."""
    return {value(study["00100020"]) for study in site.get("/studies", **params)}


EVERYONE = {"P2", "P3", "PH-1"}


@pytest.mark.parametrize(
    ("params", "patients"),
    [
        # Single value, wildcard, universal, by keyword and by tag (PS3.4 C.2.2.2)
        ({"PatientID": "P2"}, {"P2"}),
        ({"00100020": "P2"}, {"P2"}),
        ({"PatientID": "P?"}, {"P2", "P3"}),
        ({"PatientID": "*2"}, {"P2"}),
        ({"PatientID": "p2"}, set()),
        ({"PatientID": ""}, EVERYONE),
        ({"PatientID": "*"}, EVERYONE),
        ({"StudyDescription": "*100%_*"}, {"P2"}),
        ({"StudyDescription": "%"}, set()),
        ({"StudyDescription": "Brain_100*"}, set()),
        ({"AccessionNumber": "A123", "PatientID": "P2"}, {"P2"}),
        # Lists of UIDs, by comma and by backslash
        ({"StudyInstanceUID": WANG}, {"P2"}),
        ({"StudyInstanceUID": f"{WANG},{HEAD}"}, {"P2", "PH-1"}),
        ({"0020000D": f"{WANG}\\{HEAD}"}, {"P2", "PH-1"}),
        ({"StudyInstanceUID": "9.9"}, set()),
        # Codes of series and instances within the study
        ({"ModalitiesInStudy": "CT"}, {"P3", "PH-1"}),
        ({"ModalitiesInStudy": "CT,MR"}, EVERYONE),
        ({"ModalitiesInStudy": "US"}, set()),
        ({"SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.4"}, {"P2", "PH-1"}),
        # Dates and times, alone and together
        ({"StudyDate": "20250601"}, {"P2"}),
        ({"StudyDate": "20250601-20250602"}, {"P2", "PH-1"}),
        ({"StudyDate": "20250602-"}, {"P3", "PH-1"}),
        ({"StudyDate": "-20250601"}, {"P2"}),
        ({"StudyTime": "08"}, {"P2"}),
        ({"StudyTime": "-1015"}, {"P2", "PH-1"}),
        ({"StudyTime": "-101500"}, {"P2", "PH-1"}),
        ({"StudyTime": "101501-"}, set()),
        ({"StudyDate": "20250601-20250602", "StudyTime": "0900-0900"}, set()),
        ({"StudyDate": "20250601-20250602", "StudyTime": "0800-0900"}, {"P2"}),
        ({"StudyDate": "20250601-20250602", "StudyTime": "0900-1016"}, {"PH-1"}),
        ({"StudyDate": "20250601-20250602", "StudyTime": "0800-1000"}, {"P2"}),
        ({"PatientBirthDate": "19700101"}, {"P2", "PH-1"}),
        # Names: case, components that are empty, and each component group
        ({"PatientName": "wang^xiaodong"}, {"P2"}),
        ({"PatientName": "WANG*"}, {"P2"}),
        ({"PatientName": "王^小东"}, {"P2"}),
        ({"PatientName": "王*"}, {"P2"}),
        ({"PatientName": "*小*"}, {"P2"}),
        ({"PatientName": "Wang^XiaoDong=王^小东"}, {"P2"}),
        ({"PatientName": "MÜLLER^*"}, {"P3"}),
        ({"PatientName": "Wang"}, set()),
        ({"PatientName": "Muller*"}, set()),
        ({"ReferringPhysicianName": "referrer*"}, {"P2", "PH-1"}),
        # Fuzzy: the words of a name by their beginnings, accents and order left aside
        ({"PatientName": "xiao wang", "fuzzymatching": "true"}, {"P2"}),
        ({"PatientName": "王小东", "fuzzymatching": "true"}, {"P2"}),
        ({"PatientName": "muller", "fuzzymatching": "true"}, {"P3"}),
        ({"PatientName": "dong", "fuzzymatching": "true"}, set()),
        ({"PatientName": "^", "fuzzymatching": "true"}, EVERYONE),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "+".join(sorted(each)),
)
def test_matching(site: Site, params: dict[str, str], patients: set[str]):
    assert studies(site, **params) == patients


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/series", 4),
        (f"/studies/{HEAD}/series", 2),
        (f"/studies/{HEAD}/series?Modality=CT", 1),
        (f"/studies/{HEAD}/series?SeriesNumber=9", 1),
        (f"/studies/{HEAD}/series?SeriesInstanceUID=1.2.4.1,1.2.4.2", 2),
        ("/series?BodyPartExamined=HEAD&PatientID=P2", 1),
        ("/series?RequestAttributesSequence.ScheduledProcedureStepID=STEP-1", 1),
        ("/series?00400275.00401001=RP-*", 1),
        ("/series?RequestAttributesSequence.RequestedProcedureID=RP-8", 0),
        (f"/studies/{HEAD}/instances", 6),
        (f"/studies/{HEAD}/instances?Modality=MR", 4),
        (f"/studies/{HEAD}/series/1.2.4.1/instances", 2),
        (f"/studies/{HEAD}/series/1.2.4.2/instances?InstanceNumber=2", 1),
        ("/instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.2", 3),
        ("/instances?PatientName=wang*", 3),
        ("/studies/9.9/series", 0),
    ],
)
def test_series_and_instances_are_found(site: Site, path: str, count: int):
    assert len(site.get(path)) == count


def test_a_study_says_what_it_is(site: Site):
    (study,) = site.get("/studies", PatientID="P2")
    told = {tag: element.get("Value") for tag, element in study.items()}
    assert told["00100010"] == [{"Alphabetic": "Wang^XiaoDong^^^", "Ideographic": "王^小东"}]
    assert (told["00080061"], told["00201206"], told["00201208"]) == (["MR"], [1], [3])
    assert (told["0020000D"], told["00080020"]) == ([WANG], ["20250601"])
    assert told["00081190"] == [f"{site.url}/studies/{WANG}"]
    assert list(study) == sorted(study)


def test_a_series_and_an_instance_say_what_they_are(site: Site):
    (series,) = site.get(f"/studies/{WANG}/series")
    assert value(series["0020000E"]) == "1.2.3.1"
    assert (value(series["00080060"]), value(series["00201209"])) == ("MR", 3)
    assert value(series["00400275"])["00400009"] == {"vr": "SH", "Value": ["STEP-1"]}
    assert "00100020" not in series
    (everywhere,) = site.get("/series", PatientID="P2")
    assert value(everywhere["00100020"]) == "P2"
    first = site.get(f"/studies/{WANG}/series/1.2.3.1/instances")[0]
    sizes = [value(first[tag]) for tag in ("00200013", "00280010", "00280011", "00280100")]
    assert sizes == [1, 8, 8, 16]
    assert "00080060" not in first
    assert value(site.get(f"/studies/{WANG}/instances")[0]["00080060"]) == "MR"


def test_more_attributes_are_included_when_asked_for(site: Site):
    path = f"/studies/{WANG}/series"
    assert "00080080" not in site.get(path)[0]
    (series,) = site.get(path, includefield="InstitutionName,00081010")
    assert value(series["00080080"]) == "县医院"
    assert "00180080" not in series
    (study,) = site.get("/studies", PatientID="P2", includefield="00101010")
    assert value(study["00101010"]) == "054Y"
    instance = site.get(f"{path}/1.2.3.1/instances", includefield="RepetitionTime", limit="1")[0]
    assert value(instance["00180080"]) > 0
    everything = site.get(f"{path}/1.2.3.1/instances", includefield="all", limit="1")[0]
    assert len(everything) > 50
    assert list(everything) == sorted(everything)


def test_pages_and_the_word_that_there_is_more(site: Site):
    seen: list[str] = []
    for offset in range(3):
        answer = site.client.get("/studies", params={"limit": "1", "offset": str(offset)})
        seen += [value(study["00100020"]) for study in answer.json()]
        assert ("additional results" in answer.headers.get("warning", "")) == (offset < 2)
    assert seen == ["P3", "PH-1", "P2"]  # the newest first
    assert site.get("/studies", offset="3") == []
    assert site.get("/studies", limit="0") == []


def test_what_the_viewer_asks(site: Site):
    """The list, its filters, and a study that is opened (OHIF 3.12)."""
    fixed = "limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060"
    for filters, count in (
        ("", 3),
        ("&00100020=*P*&PatientName=*wang*", 1),
        ("&ModalitiesInStudy=CT,MR&StudyDate=20250101-20250630", 2),
        (f"&StudyInstanceUID={WANG}", 1),
        ("&AccessionNumber=*23*&StudyDescription=*head*", 1),
    ):
        assert len(site.get(f"/studies?{fixed}{filters}")) == count, filters
    fields = "includefield=00080021,00080031,0008103E,00200011"
    assert len(site.get(f"/studies/{HEAD}/series?{fields}")) == 2


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("PatientFoo=1", "'PatientFoo' is not an attribute"),
        ("Modality=CT", "Modality is not matched at study level"),
        ("PixelSpacing=1", "PixelSpacing is not matched"),
        ("RequestAttributesSequence.Foo=1", "is not an attribute"),
        ("StudyDate=2025", "not a date"),
        ("StudyDate=2025*", "not a date"),
        ("StudyTime=25h", "not a time"),
        ("StudyInstanceUID=1.2*", "not a UID"),
        ("limit=-1", "limit must be a whole number"),
        ("offset=x", "offset must be a whole number"),
        ("fuzzymatching=perhaps", "fuzzymatching must be true or false"),
        ("includefield=Nothing", "'Nothing' is not an attribute"),
        ("PatientID=1&PatientID=2", "PatientID is there twice"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(site: Site, query: str, word: str):
    assert word in problem(site.client.get(f"/studies?{query}"), 400)


def test_a_key_that_the_path_names_is_refused(site: Site):
    answer = site.client.get(f"/studies/{WANG}/series?StudyInstanceUID={HEAD}")
    assert "the path names it already" in problem(answer, 400)


def test_other_media_types_are_refused(site: Site):
    for accept in ("application/dicom+xml", "multipart/related; type=application/dicom+xml"):
        answer = site.client.get("/studies", headers={"Accept": accept})
        assert "application/dicom+json" in problem(answer, 406)
    for accept in ("application/json", "application/*;q=0.1", "text/html, */*;q=0.1"):
        assert site.client.get("/studies", headers={"Accept": accept}).status_code == 200


def test_only_this_machine_is_answered(site: Site):
    refused = site.client.get("/studies", headers={"Host": "evil.example"})
    assert "this machine only" in problem(refused, 403)
    transport = httpx.ASGITransport(site.app, client=("10.1.2.3", 1))

    async def from_elsewhere() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/dicomweb/studies")

    problem(asyncio.run(from_elsewhere()), 403)


def test_dicomweb_client_searches(site: Site):
    client = DICOMwebClient(site.url)
    assert len(client.search_for_studies(search_filters={"PatientID": "P2"})) == 1
    assert len(client.search_for_studies(fuzzymatching=True, limit=2)) == 2
    assert len(client.search_for_series(HEAD, search_filters={"Modality": "MR"})) == 1
    assert len(client.search_for_instances(HEAD, fields=["RepetitionTime"])) == 6
    assert len(client.search_for_studies(limit=1, get_remaining=True)) == 3


def test_what_is_here_says_what_it_can(site: Site):
    told = site.get("/")
    paths = {(each["method"], each["path"]) for each in told["services"]}
    assert ("GET", "/studies/{study}/series/{series}/metadata") in paths
    assert "PatientName" in told["matching"]
    assert site.client.request("OPTIONS", "/").json() == told
    assert problem(site.client.get("/nothing"), 404)
    assert problem(site.client.delete("/studies"), 405)
