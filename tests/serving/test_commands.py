import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from pydicom import dcmread

from models.package import read_package
from serving.__main__ import main
from tests.builders import placed, save
from tests.dicom_node.rig import free_port
from tests.models.bundles import spleen, write_bundle
from tests.models.networks import SEGMENTATION, planar, segmenter, write_package
from tests.serving.bench import MODEL, Bench, breaking, ct, mr, peer
from tests.serving.test_folder import rubbish

COMMANDS = (
    [],
    ["serve"],
    ["node"],
    ["worker"],
    ["web"],
    ["status"],
    ["check"],
    ["inspect"],
    ["analyse"],
    ["models"],
    ["models", "list"],
    ["models", "install"],
    ["models", "add"],
    ["models", "new"],
    ["models", "bench"],
    ["models", "show"],
    ["models", "promote"],
    ["models", "rollback"],
    ["models", "retire"],
    ["models", "history"],
    ["models", "remove"],
)
SERIES = {"series_uid", "study_uid", "modality", "number", "description", "stacks"}
USABLE = {
    "usable",
    "name",
    "instances",
    "shape",
    "spacing_mm",
    "plane",
    "affine_lps",
    "affine_ras",
    "frame_of_reference_uid",
    "notes",
    "note_codes",
}
UNUSABLE = {"usable", "name", "instances", "reason", "detail", "detail_zh", "numbers"}
# pynetdicom leaves a socket that could not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "wetread.toml"
    ports = f"[node]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
    path.write_text(f'data_folder = "data"\n{ports}[storage]\nmin_free_gb = 0.1\n')
    return path


@pytest.fixture
def wetread(settings: Path, capfd) -> Callable[..., tuple[int, str, str]]:
    """Return what runs a command: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["--settings", str(settings), *map(str, arguments)])
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return run


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "package", SEGMENTATION, segmenter())


def inspected(wetread, folder: Path) -> tuple[list[dict], str]:
    code, out, err = wetread("inspect", folder, "--json")
    assert code == 0
    return json.loads(out), err


def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


# inspect


def test_inspect_tells_geometry(wetread, tmp_path: Path):
    affine = placed("sagittal", (1.5, 1.0, 0.5), turn_deg=12)
    images = mr((7, 12, 10), affine=affine)
    save(images, tmp_path / "in")
    (series,), err = inspected(wetread, tmp_path / "in")
    assert err == ""
    assert set(series) == SERIES
    assert (series["series_uid"], series["modality"]) == (images[0].SeriesInstanceUID, "MR")
    (stack,) = series["stacks"]
    assert set(stack) == USABLE
    assert (stack["usable"], stack["shape"], stack["instances"]) == (True, [7, 12, 10], 7)
    assert stack["spacing_mm"] == [1.5, 1.0, 0.5]
    assert np.allclose(stack["affine_lps"], affine, atol=1e-4)
    assert np.allclose(stack["affine_ras"], np.diag([-1, -1, 1, 1]) @ affine, atol=1e-4)
    assert (stack["plane"], stack["notes"], stack["note_codes"]) == ("sagittal", [], [])


def test_inspect_tells_why_not(wetread, tmp_path: Path):
    save([image for n, image in enumerate(mr((9, 8, 8))) if n != 4], tmp_path / "in")
    save(ct((3, 8, 8), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), tmp_path / "in" / "ct")
    series, _ = inspected(wetread, tmp_path / "in")
    stacks = {s["modality"]: s["stacks"] for s in series}
    assert {m: [s["reason"] for s in each] for m, each in stacks.items()} == {
        "MR": ["MISSING_SLICES"],
        "CT": ["LOCALIZER"],
    }
    for each in stacks.values():
        assert set(each[0]) - {"units"} == UNUSABLE
        assert each[0]["detail"]
        assert each[0]["usable"] is False
    numbers = stacks["MR"][0]["numbers"]
    assert (numbers["missing"], numbers["positions_mm"]) == (1, [-26.0])
    assert "缺 1 层" in stacks["MR"][0]["detail_zh"]


def test_inspect_skips_rubbish_by_name(wetread, tmp_path: Path):
    folder = tmp_path / "in"
    for name, content in rubbish(folder / "sound").items():
        (folder / name).write_bytes(content)
    save(mr(), folder / "copy")
    (series,), err = inspected(wetread, folder)
    assert series["stacks"][0]["instances"] == 5
    lines = err.splitlines()
    skipped = [*rubbish(folder / "sound"), *(path.name for path in (folder / "copy").iterdir())]
    assert len(lines) == len(skipped)
    assert all(line.startswith(f"skipped {folder}/") for line in lines)
    assert all(any(f"/{name}: " in line for line in lines) for name in rubbish(folder / "x"))


def test_inspect_of_nothing(wetread, tmp_path: Path):
    (tmp_path / "in").mkdir()
    assert inspected(wetread, tmp_path / "in") == ([], "")
    code, out, err = wetread("inspect", tmp_path / "absent", "--json")
    assert (code, out) == (1, "")
    assert err == f"wetread: {tmp_path}/absent is not a folder\n"


def test_inspect_for_people(wetread, tmp_path: Path):
    save(mr(), tmp_path / "in")
    code, out, _ = wetread("inspect", tmp_path / "in")
    assert code == 0
    assert mr()[0].SeriesInstanceUID in out
    assert "5 x 16 x 16" in out.replace("\n", "")


# models


def test_an_onnx_file_becomes_a_model_by_answers_on_the_command_line(wetread, tmp_path: Path):
    onnx.save(planar(16), tmp_path / "bright.onnx")
    folder = tmp_path / "bright"
    new = ("models", "new", tmp_path / "bright.onnx", "-o", folder)
    options = ("--modality", "MR", "--axes", "SPL", "--scaling", "maximum", "--names", "tissue")
    code, said, _ = wetread(*new, *options)
    assert code == 0
    assert "licence" in said
    code, _, err = wetread("models", "add", folder)
    assert code != 0
    for key in ("manufacturer", "intended_use", "licence", "source"):
        assert f"model.{key} still has to be filled in" in err
    card = folder / "model.toml"
    card.write_text(re.sub(r'"REPLACE: (\w+)"', r'"\1"', card.read_text()))
    assert wetread("models", "add", folder)[0] == 0
    save(mr(), tmp_path / "in")
    assert wetread("analyse", tmp_path / "in", "-o", tmp_path / "out")[0] == 0
    (study,) = report(tmp_path / "out")["studies"]
    assert (study["state"], study["analysed"]) == ("done", True)
    assert {"SEG", "SR"} <= {result["kind"] for result in study["results"]}


def test_bench_shows_every_stage_on_every_device(wetread, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    save(mr(), tmp_path / "in")
    code, said, _ = wetread("models", "bench", "bright-tissue", tmp_path / "in", "--runs", "1")
    assert code == 0
    assert "bright-tissue on 5 x 16 x 16 voxels, medians of 1 runs" in said
    (row,) = [line for line in said.splitlines() if re.match(r"\W*cpu\b", line)]
    assert len(re.findall(r"\d+\.\d\d s", row)) == 5
    own, _ = re.findall(r"(\d+) MB", row)
    assert int(own) > 50


def test_bench_says_why_no_series_fits(wetread, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    save(ct(), tmp_path / "in")
    code, _, err = wetread("models", "bench", "bright-tissue", tmp_path / "in")
    assert code != 0
    assert "is what the model needs" in err


def test_new_says_what_it_cannot_write_a_package_for(wetread, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    code, _, err = wetread("models", "new", tmp_path / "folder")
    assert code != 0
    assert "neither an ONNX file nor a MONAI bundle" in err


def test_a_bundle_becomes_a_model_once_somebody_trusts_it(wetread, tmp_path: Path):
    bundle = write_bundle(tmp_path / "bundle", spleen())
    code, said, _ = wetread("models", "new", bundle)
    assert (code, "still to be filled in" in said) == (0, False)
    assert wetread("models", "new", bundle)[0] != 0  # it has a model.toml now
    card = bundle / "model.toml"
    card.write_text(card.read_text().replace('regions = ["ABDOMEN"]', "regions = []"))
    code, _, err = wetread("models", "add", bundle)
    assert code != 0
    digest = read_package(bundle).digest
    assert f"--trust {digest}" in err
    assert wetread("models", "add", bundle, "--trust", "0" * 64)[0] != 0
    assert wetread("models", "add", bundle, "--trust", digest)[0] == 0
    save(ct(), tmp_path / "in")
    assert wetread("analyse", tmp_path / "in", "-o", tmp_path / "out")[0] == 0
    (study,) = report(tmp_path / "out")["studies"]
    assert (study["state"], study["analysed"]) == ("done", True)


# analyse


def test_analyse_writes_results_and_a_report(wetread, tmp_path: Path, package: Path):
    assert wetread("models", "add", package)[0] == 0
    images = mr()
    save(images, tmp_path / "in")
    (tmp_path / "in" / "notes.txt").write_text("text")
    out = tmp_path / "out"
    code, said, err = wetread("analyse", tmp_path / "in", "-o", out)
    assert code == 0
    assert "Research use only, unverified" in said
    assert "notes.txt" in err
    (study,) = report(out)["studies"]
    assert [s["path"] for s in report(out)["skipped"]] == [str(tmp_path / "in" / "notes.txt")]
    assert (study["state"], study["analysed"]) == ("done", True)
    assert Counter(r["kind"] for r in study["results"]) == {"SEG": 1, "SR": 1, "KEY_IMAGE": 1}
    for result in study["results"]:
        ds = dcmread(out / result["file"])
        assert ds.SOPInstanceUID == result["instance_uid"]
        assert ds.StudyInstanceUID == images[0].StudyInstanceUID
    assert len(list(out.iterdir())) == 4


def test_analysing_twice_gives_the_same_uids(wetread, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    save(mr(), tmp_path / "in")
    names = []
    for out in (tmp_path / "one", tmp_path / "two"):
        wetread("analyse", tmp_path / "in", "-o", out)
        names.append({path.name for path in out.glob("*.dcm")})
    assert len(names[0]) == 3
    assert names[0] == names[1]


def test_analyse_leaves_the_service_s_data_alone(wetread, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    save(mr(), tmp_path / "in")
    wetread("analyse", tmp_path / "in", "-o", tmp_path / "out")
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"models"}


def test_analyse_without_models_says_so(wetread, tmp_path: Path):
    save(mr(), tmp_path / "in" / "mr")
    save(ct(), tmp_path / "in" / "ct")
    code, said, _ = wetread("analyse", tmp_path / "in", "-o", tmp_path / "out")
    assert code == 0
    assert said.count("no model is installed\n") == 2
    studies = report(tmp_path / "out")["studies"]
    assert {s["reason"] for s in studies} == {"no model is installed"}
    assert [[r["kind"] for r in s["results"]] for s in studies] == [["NOTICE"], ["NOTICE"]]


def test_analyse_a_ct_that_no_model_reads(wetread, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    save(ct(), tmp_path / "in")
    _, said, _ = wetread("analyse", tmp_path / "in", "-o", tmp_path / "out")
    assert "no installed model reads CT HEAD" in said


def test_analyse_with_a_model_that_fails(wetread, tmp_path: Path, capfd):
    folder = write_package(tmp_path / "package", SEGMENTATION, breaking())
    wetread("models", "add", folder)
    save(mr(), tmp_path / "in")
    code, said, _ = wetread("analyse", tmp_path / "in", "-o", tmp_path / "out")
    assert code == 0
    (study,) = report(tmp_path / "out")["studies"]
    assert [r["kind"] for r in study["results"]] == ["NOTICE"]
    assert "None" not in said


def test_analyse_with_one_model(wetread, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    other = SEGMENTATION.replace(MODEL, "second")
    wetread("models", "add", write_package(tmp_path / "second", other, segmenter()))
    save(mr(), tmp_path / "in")
    wetread("analyse", tmp_path / "in", "-o", tmp_path / "out", "--model", "second")
    (study,) = report(tmp_path / "out")["studies"]
    assert {r["model"] for r in study["results"]} == {"second"}
    code, _, err = wetread("analyse", tmp_path / "in", "-o", tmp_path / "out", "--model", "third")
    assert (code, err) == (1, "wetread: there is no model 'third'\n")


def test_analyse_a_folder_of_rubbish(wetread, tmp_path: Path):
    folder = tmp_path / "in"
    for name, content in rubbish(tmp_path / "sound").items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    code, _, err = wetread("analyse", folder, "-o", tmp_path / "out")
    assert code == 0
    assert len(err.splitlines()) == len(report(tmp_path / "out")["skipped"]) == 10
    assert report(tmp_path / "out")["studies"] == []


# models


def test_models_are_added_shown_listed_and_removed(wetread, package: Path):
    code, out, _ = wetread("models", "add", package)
    assert (code, out.startswith(f"installed {MODEL} 1.0 (")) == (0, True)
    assert 'intended_use = "Tests only."' in wetread("models", "show", MODEL)[1]
    listed = wetread("models", "list")[1]
    assert MODEL in listed
    assert "wetread models install brain-tumour-class" in listed
    assert wetread("models", "remove", MODEL) == (0, f"removed {MODEL}\n", "")
    assert MODEL not in wetread("models", "list")[1]
    for action in ("show", "remove"):
        code, _, err = wetread("models", action, MODEL)
        assert (code, err) == (1, f"wetread: there is no model '{MODEL}'\n")


def test_versions_are_added_promoted_and_rolled_back(wetread, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    newer = SEGMENTATION.replace('version = "1.0"', 'version = "1.1"')
    second = write_package(tmp_path / "second", newer, segmenter())
    said = wetread("models", "add", second)[1]
    assert f"as candidate; wetread models promote {MODEL}@" in " ".join(said.split())
    assert "candidate" in wetread("models", "list")[1]
    assert 'version = "1.0"' in wetread("models", "show", MODEL)[1]
    wetread("status")  # from here on there is an audit trail
    assert wetread("models", "promote", f"{MODEL}@1.1")[0] == 1  # nothing shows that it is better
    code, said, _ = wetread("models", "promote", f"{MODEL}@1.1", "--without-evidence", "a test")
    assert (code, said.endswith(" is served\n")) == (0, True)
    assert 'version = "1.1"' in wetread("models", "show", MODEL)[1]
    assert 'version = "1.0"' in wetread("models", "show", f"{MODEL}@1.0")[1]
    assert "a test" in wetread("models", "history", MODEL)[1]
    assert wetread("models", "rollback", MODEL, "--why", "more misses")[0] == 0
    assert 'version = "1.0"' in wetread("models", "show", MODEL)[1]
    assert wetread("models", "retire", f"{MODEL}@1.1")[0] == 1  # a rollback retired it
    assert wetread("models", "remove", f"{MODEL}@1.0")[0] == 1  # it is served
    assert wetread("models", "remove", f"{MODEL}@1.1")[0] == 0
    trail = wetread("audit", "export")[1]
    assert trail.count("110131") == 6  # also what was asked for and refused
    assert "without evidence: a test" in trail
    assert "more misses" in trail


def test_a_broken_package_is_not_added(wetread, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    broken = SEGMENTATION.replace('"whole"', '"hole"').replace('"RAS"', '"XYZ"')
    code, _, err = wetread("models", "add", write_package(tmp_path / "b", broken, segmenter()))
    assert code == 1
    assert "hole" in err
    assert "input.axes" in err
    assert 'mode = "whole"' in wetread("models", "show", MODEL)[1]
    assert wetread("models", "add", tmp_path / "absent")[0] == 1
    assert wetread("models", "install", "no-such-recipe")[0] == 1


def test_a_package_that_broke_is_listed_and_can_be_removed(wetread, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    (tmp_path / "data" / "models" / MODEL / "model.onnx").unlink()
    assert "broken" in wetread("models", "list")[1]
    code, _, err = wetread("models", "show", MODEL)
    assert (code, "model.onnx" in err) == (1, True)
    assert wetread("models", "remove", MODEL)[0] == 0


# check and status


def test_check_of_a_sound_installation(wetread, package: Path):
    wetread("models", "add", package)
    code, out, _ = wetread("check")
    assert code == 0
    assert "loads; digest" in out
    assert "peers: none is configured" in out


def test_check_names_every_problem(wetread, settings: Path, tmp_path: Path, package: Path):
    wetread("models", "add", package)
    (tmp_path / "data" / "models" / MODEL / "model.onnx").write_bytes(b"no network")
    (tmp_path / "data" / "models" / "other").mkdir()
    port = free_port()
    settings.write_text(
        settings.read_text().replace("0.1", "1e9")
        + f'[[peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'
        "query = true\n"
    )
    code, out, _ = wetread("check")
    assert code == 1
    bad = [line.split(":")[0] for line in out.splitlines() if line.startswith("no")]
    assert bad == [
        "no  storage",
        "no  peer pacs (PACS at 127.0.0.1",
        f"no  model {MODEL} 1.0",
        "no  model other",
    ]


def test_check_of_a_folder_that_cannot_be_made(wetread, settings: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    settings.write_text('data_folder = "file/data"')
    code, out, _ = wetread("check")
    assert code == 1
    assert "no  data folder" in out


def test_status_of_nothing(wetread):
    code, out, _ = wetread("status")
    assert code == 0
    assert out.startswith("0 studies (0 arriving), 0 instances")


def test_status_shows_what_waits(analysed: Callable[..., Bench], wetread, tmp_path: Path):
    bench = analysed(peers=(peer(),))
    study = bench.index.studies().studies[0].study_uid
    uids = [r.instance_uid for r in bench.results(study).values()]
    bench.journal.update_deliveries(uids[:1], "pacs", "failed", error="it was refused")
    code, out, _ = wetread("status")
    assert code == 0
    assert "1 studies (1 arriving), 8 instances, 3 of them results" in out.replace("\n", " ")
    assert "(0 held, 2 wait, 0 refused)" in out
    assert study in out
    assert "failed" in out


# The command itself


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(command: list[str], capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: wetread" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["models"], ["inspect"], ["analyse", "x"], ["unknown"], ["node", "extra"]]
)
def test_wrong_usage(arguments: list[str], capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: wetread" in capsys.readouterr().err


def test_wrong_settings_are_one_message(tmp_path: Path, capsys):
    path = tmp_path / "wetread.toml"
    path.write_text("[node]\nport = 0\nhots = 1\n")
    assert main(["--settings", str(path), "status"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"wetread: settings {path}:")
    assert "node.port" in err
    assert "node.hots" in err


def test_the_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("wetread 0.")


def test_inspect_needs_no_models_and_no_engine():
    """It starts in a moment: nothing heavy is imported."""
    code = (
        "import sys; import serving.commands.inspect, serving.__main__;"
        "heavy = {'torch', 'monai', 'onnxruntime', 'dbos', 'fastapi', 'highdicom'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
