"""Train a network from a settings file; a run that was stopped goes on where it was.

    scripts/train.py scripts/training/head_model.toml -o run

The run's folder holds the settings, the checkpoint, a line of history every 20 steps, and what was
learnt from.
"""

import argparse
import random
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from imaging.errors import WetreadError
from scripts.training.config import TrainingConfig, read_config
from scripts.training.logs import open_log
from scripts.training.loop import begin, learn, resume
from scripts.training.networks import build
from scripts.training.objective import objective
from scripts.training.provenance import note_provenance
from scripts.training.spans import spans_of


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        train(read_config(options.config), options.out, cache=options.cache, source=options.config)
    except WetreadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on with {options.out}")
        return 130
    return 0


def train(config: TrainingConfig, folder: Path, *, cache: Path, source: Path | None = None) -> Path:
    """Do what is left of the run in `folder`; return its checkpoint."""
    training = config.training
    _be_repeatable(training.seed, training.threads)
    folder.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    learner = begin(build(config).to(device), training)
    if resume(learner, config, folder):
        print(f"going on after step {learner.step} of {config.steps}")
    elif source:
        shutil.copyfile(source, folder / "config.toml")
    note_provenance(config, folder)
    with open_log(training.log, folder) as log:

        def tell(line: Mapping[str, float]) -> None:
            log(line)
            print(_words(line, config.steps), flush=True)

        spans = spans_of(config, cache)
        learn(learner, spans, config, objective=objective(training), folder=folder, tell=tell)
    return folder / "checkpoint.pt"


def _be_repeatable(seed: int, threads: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (for libraries that use the shared generator)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    if threads:
        torch.set_num_threads(threads)


def _words(line: Mapping[str, float], steps: int) -> str:
    rest = ", ".join(f"{k} {v}" for k, v in line.items() if k not in {"step", "seconds"})
    return f"step {line['step']:.0f} of {steps}, {line['seconds']:.0f} s: {rest}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="the settings, TOML")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the run's folder")
    parser.add_argument(
        "--cache", type=Path, default=Path("training-cache"), help="where downloads are kept"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
