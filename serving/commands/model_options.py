"""The options of `wetread models`, and what they start."""

import argparse
from pathlib import Path
from typing import Protocol

from serving.settings import Settings


class Commands(Protocol):
    """What argparse gives to add commands to."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002
        """Add one command."""


def model_commands(commands: Commands) -> None:
    """Add `models` with its actions."""
    models = commands.add_parser("models", help="list, install, add, show or remove model packages")
    actions = models.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list installed packages and recipes")
    listing.set_defaults(run=_models, action="list")
    for name, argument, text in (
        ("install", "name", "fetch a pretrained model by its recipe, convert and install it"),
        ("show", "name", "show an installed package, or NAME@VERSION"),
        ("remove", "name", "remove a model, or NAME@VERSION that is not served"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument(argument)
        action.set_defaults(run=_models, action=name)
    _stage_commands(actions)
    new = actions.add_parser("new", help="write a model.toml for a network as it was published")
    new.add_argument("path", type=Path, help="an ONNX file, or a MONAI bundle, folder or zip")
    new.add_argument("-o", "--output", type=Path, help="the package folder to write")
    for option, text in (
        ("--name", "name of the package"),
        ("--modality", "of its images, e.g. CT"),
        ("--region", "body region, e.g. HEAD"),
        ("--axes", "where the array axes point, e.g. RAS"),
        ("--scaling", "of intensities: range, zscore, percentile, maximum or none"),
        ("--names", "of what it tells apart, with commas"),
    ):
        new.add_argument(option, help=f"{text} (ONNX)")
    new.add_argument("--yes", action="store_true", help="ask nothing")
    new.set_defaults(run=_models_new)
    bench = actions.add_parser("bench", help="measure an installed model on a folder of images")
    bench.add_argument("name")
    bench.add_argument("folder", type=Path)
    bench.add_argument("--runs", type=int, default=3, help="of which medians are shown")
    bench.set_defaults(run=_models_bench)
    add = actions.add_parser("add", help="try a package out and install it")
    add.add_argument("path", type=Path, help="its folder or zip")
    add.add_argument("--trust", default="", metavar="DIGEST", help="let this one run its own code")
    add.add_argument("--as", dest="stage", choices=("candidate", "served"), help="its stage")
    add.set_defaults(run=_models_add)


def _stage_commands(actions: Commands) -> None:
    for name, argument, text in (
        ("promote", "version", "serve NAME@VERSION (or @DIGEST) from the next study on"),
        ("rollback", "version", "serve again the version that was served before"),
        ("retire", "version", "let NAME@VERSION read nothing more"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument(argument, metavar="NAME" if name == "rollback" else "NAME@VERSION")
        reasons = action.add_mutually_exclusive_group()
        reasons.add_argument("--why", default="", help="the reason, for history and audit trail")
        if name == "promote":
            reasons.add_argument(
                "--without-evidence",
                metavar="REASON",
                help="an administrator does without a report",
            )
        action.set_defaults(run=_models_stage, action=name)
    shadow = actions.add_parser(
        "shadow", help="let NAME@VERSION read beside the served one, unseen"
    )
    shadow.add_argument("version", metavar="NAME@VERSION")
    shadow.add_argument("--stop", action="store_true", help="no more")
    shadow.add_argument("--why", default="", help="the reason, for history and audit trail")
    shadow.set_defaults(run=_models_shadow)
    compare = actions.add_parser("compare", help="show how a shadow agrees with the served version")
    compare.add_argument("version", metavar="NAME", help="or NAME@VERSION")
    compare.set_defaults(run=_models_compare)
    history = actions.add_parser("history", help="show who changed which version is served")
    history.add_argument("name")
    history.set_defaults(run=_models_history)


def _models(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.models import models

    return models(settings, options.action, vars(options).get("name", ""))


def _models_new(_settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.new_model import Answers, new_model, person_is_there

    answers = Answers(
        name=options.name,
        modality=options.modality,
        region=options.region,
        axes=options.axes,
        scaling=options.scaling,
        names=options.names,
        ask=person_is_there() and not options.yes,
    )
    return new_model(options.path, options.output, answers)


def _models_bench(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.bench_model import bench

    return bench(settings, options.name, options.folder, runs=max(options.runs, 1))


def _models_add(settings: Settings, options: argparse.Namespace) -> int:
    from models.stages import Stage
    from serving.commands.models import add

    stage = Stage(options.stage) if options.stage else None
    return add(settings, options.path, options.trust, stage=stage)


def _models_stage(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.stages import change_stage, promote_without_evidence

    overridden = vars(options).get("without_evidence")
    if overridden is not None:
        return promote_without_evidence(settings, options.version, why=overridden)
    return change_stage(settings, options.action, options.version, why=options.why)


def _models_shadow(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.stages import shadow

    return shadow(settings, options.version, stop=options.stop, why=options.why)


def _models_compare(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.compare import compare

    return compare(settings, options.version)


def _models_history(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.stages import history

    return history(settings, options.name)
