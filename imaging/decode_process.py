"""Decoding in a process that may die: started on demand, limited, killed when it takes too long."""

import json
import os
import select
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from mmap import mmap
from pathlib import Path

import numpy as np

from imaging.errors import PixelsUnreadable
from imaging.frame_format import FrameFormat, Stored

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """What one worker process may take.

    A frame of the largest size needs about 20 bytes for each sample in the JPEG 2000 decoder; a
    usual slice decodes in 2 to 30 ms, so 20 s is what only a hostile or a very busy machine needs.
    The worker itself gives a frame less processor time than that, by its size.
    """

    memory_bytes: int = 1 << 30
    seconds: int = 20


class DecodeProcess:
    """One worker process, for one caller at a time; `close` ends it."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._slot: mmap | None = None

    def decode(self, data: bytes, form: FrameFormat) -> Stored:
        """Return the stored values of a frame; they are overwritten by the next call.

        Raises
        ------
        PixelsUnreadable
            The codestream contradicts the header, is damaged, or its decoding takes too much.
        """
        form.check()
        if self._process is None or self._slot is None or len(self._slot) < form.nbytes:
            self._start(form.nbytes)
        answer = self._ask(data, form)
        if answer:
            raise PixelsUnreadable(answer)
        assert self._slot is not None
        count = form.nbytes // form.dtype.itemsize
        return np.frombuffer(self._slot, form.dtype, count).reshape(form.shape)

    def _ask(self, data: bytes, form: FrameFormat) -> str:
        assert self._process is not None
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        described = json.dumps(asdict(form)).encode()
        head = struct.pack("<II", len(described), len(data))
        try:
            requests.write(head + described)
            requests.write(data)
            requests.flush()
            answered, _, _ = select.select([answers], [], [], self._limits.seconds)
            line = answers.readline() if answered else b""
        except BrokenPipeError:
            answered, line = [answers], b""
        if line:
            return str(json.loads(line))
        code = self.close()
        if not answered:
            return f"decoding takes longer than {self._limits.seconds} s"
        if code == -signal.SIGXCPU:
            return "decoding takes far longer than a frame of this size should"
        return f"the decoder died of these data (exit code {code})"

    def _start(self, slot_bytes: int) -> None:
        self.close()
        descriptor = os.memfd_create("frame")
        try:
            os.ftruncate(descriptor, slot_bytes)
            self._slot = mmap(descriptor, slot_bytes)
            limits = (str(self._limits.memory_bytes), str(self._limits.seconds))
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "imaging.decode_worker", str(descriptor), *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(descriptor,),
                cwd="/",
                # nothing of ours is lent to it; more threads would only take address space
                env={"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"},
            )
        finally:
            os.close(descriptor)

    def close(self) -> int:
        """End the process, if there is one, and return its exit code."""
        process, self._process, self._slot = self._process, None, None
        if process is None:
            return 0
        process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        with suppress(BrokenPipeError):  # what was not yet written is of no use to anybody
            process.stdin.close()
        return process.wait()
