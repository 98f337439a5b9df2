"""Starts an analyser that dies with its worker even while it loads: `analyser_start PARENT`.

Loading takes seconds. A worker that is killed meanwhile, again and again, would leave one process
after the other behind, and these take the processor from those that should work.
"""

import os
import signal
import sys

from serving.supervisor import die_with_parent


def _start(parent: int, *, aside: bool) -> None:
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was told
        sys.exit()
    from serving.analyser import main  # noqa: PLC0415 - only now, see above

    main(aside=aside)


if __name__ == "__main__":
    _start(int(sys.argv[1]), aside="aside" in sys.argv[2:])
