"""A process that tells targets what becomes of studies, to be killed: the settings file."""

import sys
from pathlib import Path

from serving.parts import Parts
from serving.settings import load

if __name__ == "__main__":
    parts = Parts(load(Path(sys.argv[1]), {}))
    (target,) = parts.settings.notify
    parts.teller.run(target)
