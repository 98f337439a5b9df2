"""The program behind ``scripts/demo``: two real studies, a PACS and Wetread on this machine."""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from rich.console import Console

from imaging.errors import SetupError, WetreadError
from imaging.identity import AETitle
from scripts.child_process import ChildProcess
from scripts.debian_files import debian_file
from scripts.demo_answer import DemoAnswer, StudyAnswer, problems, sentences, study_answer
from scripts.demo_folder import DemoFolder, opened
from scripts.demo_follow import Follower
from scripts.demo_studies import DemoStudy, ct_study, mr_study
from scripts.loopback import HOST, answers, free_port
from scripts.orthanc import Orthanc, program
from scripts.pacs import Pacs, PacsPlan
from scripts.receiver import Receiver

_MODELS = ("brain-extraction", "brain-tumour-class", "head-structures")
_MR_FILE = PurePosixPath("/usr/share/mricron/templates/ch2.nii.gz")
_CT_FILE = PurePosixPath("/usr/share/doc/invesalius-examples/examples/Cranium.inv3")
_AE_TITLE = AETitle("WETREAD")
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_START_LIMIT_S = 120.0
_STUDY_LIMIT_S = 600.0
_SETTINGS = """\
data_folder = "data"

[node]
ae_title = "{ae_title}"
host = "{host}"
port = {port}
allow_loopback = true

[arrival]
quiet_s = 5

[web]
host = "{host}"
port = {web_port}

[[peers]]
name = "pacs"
ae_title = "{pacs.ae_title}"
host = "{host}"
port = {pacs.dicom_port}
query = true
deliver = true
may_send = true
"""


class Demo:
    """One run; whatever it starts is put on `stops`."""

    def __init__(self, folder: DemoFolder, console: Console, stops: ExitStack) -> None:
        self._folder, self._console, self._stops = folder, console, stops
        self._port, self.web_port = free_port(11112), free_port(8000)

    def make_studies(self) -> tuple[DemoStudy, ...]:
        """Return the MR and the CT study, made from files of two Debian packages."""
        with self._step("Making an MR and a CT study"):
            nifti = debian_file("mricron-data", _MR_FILE, self._folder.packages)
            project = debian_file("invesalius-examples", _CT_FILE, self._folder.packages)
            mr = mr_study(nifti, self._folder.studies / "mr")
            return mr, ct_study(project, self._folder.studies / "ct")

    def start_pacs(self, executable: Path | None) -> Pacs:
        """Return a running PACS, or without an `executable` of one the plain receiver."""
        plan = PacsPlan(
            folder=self._folder.pacs,
            dicom_port=free_port(4242),
            http_port=free_port(8042),
            forward_to=_AE_TITLE,
            forward_port=self._port,
        )
        if executable is None:
            self._console.print(
                "[yellow]No PACS is present: a plain DICOM receiver takes its place. "
                "To have one, install the Debian packages orthanc and orthanc-dicomweb.[/]",
                soft_wrap=True,
            )
            receiver = Receiver(plan)
            self._stops.callback(receiver.stop)
            return receiver
        with self._step("Starting the PACS (Orthanc)"):
            orthanc = Orthanc(executable, plan)
            self._stops.callback(orthanc.stop)
            orthanc.wait_until_ready()
            return orthanc

    def start_wetread(self, pacs: Pacs) -> ChildProcess:
        """Return the running service, with the models installed."""
        settings = self._folder.wetread / "wetread.toml"
        settings.write_text(
            _SETTINGS.format(
                ae_title=_AE_TITLE, host=HOST, port=self._port, web_port=self.web_port, pacs=pacs
            )
        )
        wetread = [sys.executable, "-P", "-m", "serving", "--settings", str(settings)]
        for model in _MODELS:
            with self._step(f"Installing model {model}"):
                _run([*wetread, "models", "install", model])
        with self._step("Starting Wetread"):
            service = ChildProcess("Wetread", [*wetread, "serve"], log=settings.with_suffix(".log"))
            self._stops.callback(service.stop)
            service.wait_until(lambda: answers(self.web_port, "/readyz"), limit_s=_START_LIMIT_S)
            return service

    def read(self, study: DemoStudy, pacs: Pacs, service: ChildProcess) -> StudyAnswer:
        """Give a study to the PACS, follow it, say and return what came of it."""
        self._console.print(f"[bold]{study.modality} study[/], {len(study.paths)} images")
        pacs.store(study.paths)
        follower = Follower(self.web_port, self._console, service.require_running)
        followed = follower.follow(study.study_uid, images=len(study.paths), limit_s=_STUDY_LIMIT_S)
        answer = study_answer(
            followed.detail,
            modality=study.modality,
            last_slice_at=followed.last_slice_at,
            in_pacs=pacs.instances(study.study_uid),
        )
        for sentence in sentences(answer, pacs.name):
            self._console.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)
        for problem in problems(answer):
            self._console.print(f"  [red]{problem}[/]", highlight=False)
        return answer

    def say_where(self, studies: tuple[StudyAnswer, ...], pacs: Pacs) -> None:
        """Print the addresses to look at."""
        self._console.print("[bold]Look at[/]")
        for study in studies:
            wetread = f"http://{HOST}:{self.web_port}/api/studies/{study.study_uid}"
            for address in (wetread, *pacs.addresses(study.study_uid)):
                self._console.print(f"  {study.modality}: {address}", soft_wrap=True)
        self._console.print(f"  REST interface: http://{HOST}:{self.web_port}/docs")

    def stay(self, service: ChildProcess) -> None:
        """Wait for Ctrl-C; raises SetupError when the service ends by itself."""
        self._console.print("Everything stays up until Ctrl-C.")
        while True:
            service.require_running()
            time.sleep(1)

    @contextmanager
    def _step(self, words: str) -> Iterator[None]:
        began = time.monotonic()
        with self._console.status(words):
            yield
        self._console.print(f"{words}: {time.monotonic() - began:.1f} s", highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop at the end; last line is JSON")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "demo-data")
    parser.add_argument("--no-pacs", action="store_true", help="use the plain receiver")
    chosen = parser.parse_args(arguments)
    console = Console()
    for number in _STOP_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with ExitStack() as stops:
            demo = Demo(opened(chosen.folder.resolve(), stops), console, stops)
            answer = _run_through(demo, None if chosen.no_pacs else program(), once=chosen.once)
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130 if chosen.once else 0
    except WetreadError as error:
        console.print("[red]The demo failed:[/]")
        console.print(str(error), highlight=False, markup=False, soft_wrap=True)
        return 1
    print(answer.model_dump_json())
    return 1 if any(problems(study) for study in answer.studies) else 0


def _run_through(demo: Demo, executable: Path | None, *, once: bool) -> DemoAnswer:
    studies = demo.make_studies()
    pacs = demo.start_pacs(executable)
    service = demo.start_wetread(pacs)
    answered = tuple(demo.read(study, pacs, service) for study in studies)
    demo.say_where(answered, pacs)
    if not once:
        demo.stay(service)
    return DemoAnswer(pacs=pacs.name, studies=answered)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{' '.join(command[2:])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise SetupError(msg)


def _interrupt(_number: int, _frame: object) -> None:
    for number in _STOP_SIGNALS:  # a second one must not disturb the orderly end
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
