"""The process in which untrusted codestreams are decoded: little memory, little time, no files.

Started by `decode_process`: frames come in on standard input, their stored values go into the
shared memory whose descriptor is the first argument, one line for each goes to standard output.
"""

import json
import os
import resource
import struct
import sys
from mmap import mmap
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imaging.decode import decode
from imaging.errors import PixelsUnreadable
from imaging.frame_format import FrameFormat

_OPEN_FILES = 8
# Processor time for a frame: JPEG 2000, the slowest, takes 0.06 s for each megabyte of samples.
_SECONDS, _BYTES_A_SECOND = 2, 1 << 20


def main() -> None:
    """Decode frames until standard input ends."""
    slot, memory_bytes, seconds = (int(argument) for argument in sys.argv[1:4])
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # the decoders' own messages must not get among the answers
    _limit(memory_bytes)
    with mmap(slot, 0) as shared:
        while head := sys.stdin.buffer.read(struct.calcsize("<II")):
            answer = _decoded(sys.stdin.buffer, head, shared, seconds=seconds)
            answers.write(json.dumps(answer).encode() + b"\n")


def _decoded(stream: BinaryIO, head: bytes, shared: mmap, *, seconds: int) -> str:
    """Return why the frame cannot be decoded, or nothing. Any other error ends the process."""
    form_length, length = struct.unpack("<II", head)
    form = FrameFormat(**json.loads(stream.read(form_length)))
    data = stream.read(length)
    _limit_time(min(seconds, _SECONDS + form.nbytes // _BYTES_A_SECOND))
    try:
        stored = decode(data, form)
    except PixelsUnreadable as error:
        return str(error)
    np.frombuffer(shared, stored.dtype, stored.size)[...] = stored.ravel()
    return ""


def _limit(memory_bytes: int) -> None:
    used_pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = used_pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))


def _limit_time(seconds: int) -> None:
    """Let the next frame take so much processor time, even when nobody is left to kill us."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    until = int(spent.ru_utime + spent.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
