"""The loop: forward, loss, backward, average; saved often, so that a killed run goes on."""

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from imaging.errors import SetupError
from scripts.training.config import Training, TrainingConfig
from scripts.training.objective import Objective
from scripts.training.samples import Sample, Span, batches

Tensor = torch.Tensor
CHECKPOINT, HISTORY = "checkpoint.pt", "history.jsonl"
Tell = Callable[[Mapping[str, float]], None]
_REPORTED = 20  # steps between two lines of the history
_CLIP = 2.0  # largest norm of the gradient


@dataclass(slots=True, kw_only=True)
class Learner:
    """A network that learns, and how far it is.

    Attributes
    ----------
    average
        Running mean of the weights: what is exported.
    step
        Steps done.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]
    step: int = 0


def begin(network: nn.Module, training: Training) -> Learner:
    """Return a learner that has learnt nothing yet."""
    for parameter in network.parameters():
        parameter.data = _laid_out(parameter.data)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(training.frozen) or ("\0",)))
    moving = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        moving, lr=training.learning_rate, weight_decay=training.weight_decay
    )
    average = {name: value.clone() for name, value in network.state_dict().items()}
    return Learner(network=network, optimiser=optimiser, average=average)


def learn(
    learner: Learner,
    spans: Iterable[Span],
    config: TrainingConfig,
    *,
    objective: Objective,
    folder: Path,
    tell: Tell,
) -> None:
    """Do the steps that are left, and keep the learner in `folder`."""
    training = config.training
    device = next(learner.network.parameters()).device
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    pace = _Pace(folder / HISTORY, tell)
    for span in spans:
        left = Span(first=max(span.first, learner.step), last=span.last, maker=span.maker)
        if left.first >= left.last:
            continue
        for images, truth in batches(
            left, batch=training.batch, seed=training.seed, workers=training.workers
        ):
            for group in learner.optimiser.param_groups:
                group["lr"] = _rate(learner.step, config)
            sample = (_laid_out(images.to(device)), truth.to(device))
            value, scores = _one(learner, sample, objective, scaler=scaler)
            _follow(learner, training.averaging)
            learner.step += 1
            pace.note(learner.step, value, scores)
            if learner.step % training.save_every == 0:
                save(learner, config, folder)
    save(learner, config, folder)


def save(learner: Learner, config: TrainingConfig, folder: Path) -> None:
    """Keep the learner; a reader finds the old or the new state, never half of one."""
    state = {
        "network": learner.network.state_dict(),
        "optimiser": learner.optimiser.state_dict(),
        "average": learner.average,
        "step": learner.step,
        "config": config.model_dump_json(),
    }
    temporary = folder / (CHECKPOINT + ".new")
    with temporary.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / CHECKPOINT)


def resume(learner: Learner, config: TrainingConfig, folder: Path) -> bool:
    """Bring the learner to where `folder` left off; return whether there was anything.

    Raises
    ------
    SetupError
        The run in `folder` had other settings.
    """
    if not (folder / CHECKPOINT).is_file():
        return False
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    if json.loads(state["config"]) != json.loads(config.model_dump_json()):
        msg = f"{folder} holds a run with other settings; choose another folder"
        raise SetupError(msg)
    learner.network.load_state_dict(state["network"])
    learner.optimiser.load_state_dict(state["optimiser"])
    learner.average, learner.step = state["average"], state["step"]
    return True


def _one(
    learner: Learner, sample: Sample, objective: Objective, *, scaler: torch.amp.GradScaler
) -> tuple[float, list[float]]:
    """Do one step; return the loss and the score of each channel before it."""
    images, truth = sample
    with torch.autocast(images.device.type, enabled=scaler.is_enabled()):
        output = learner.network(images)
    value = objective.loss(output.float(), truth)
    learner.optimiser.zero_grad()
    torch.autograd.backward(scaler.scale(value))
    scaler.unscale_(learner.optimiser)
    nn.utils.clip_grad_norm_(learner.network.parameters(), _CLIP)
    scaler.step(learner.optimiser)
    scaler.update()
    return value.item(), objective.score(output.detach().float(), truth)


def _laid_out(images: Tensor) -> Tensor:
    """Return volumes with channels last in memory: a tenth faster on CPUs."""
    volume = images.ndim == 5  # noqa: PLR2004  (batch, channel, x, y, z)
    return images.to(memory_format=torch.channels_last_3d) if volume else images


def _rate(step: int, config: TrainingConfig) -> float:
    """Return the learning rate: a short rise, then half a cosine down to a fiftieth."""
    training = config.training
    rise = min(1.0, (step + 1) / max(training.warm_up, 1))
    fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return training.learning_rate * rise * fall


def _follow(learner: Learner, averaging: float) -> None:
    """Move the average towards the weights; faster at the beginning."""
    share = max(1 - averaging, 1 / (learner.step + 1))
    for name, value in learner.network.state_dict().items():
        if value.is_floating_point():
            learner.average[name].lerp_(value, share)
        else:
            learner.average[name].copy_(value)


class _Pace:
    """Running means of loss and scores; a line of the history now and then."""

    def __init__(self, history: Path, tell: Tell) -> None:
        self._history, self._tell = history, tell
        self._means: dict[str, float] = {}
        self._started = time.monotonic()

    def note(self, step: int, loss: float, scores: list[float]) -> None:
        new = {"loss": loss, **{f"score_{i}": s for i, s in enumerate(scores) if not math.isnan(s)}}
        for name, value in new.items():
            self._means[name] = 0.98 * self._means.get(name, value) + 0.02 * value
        if step % _REPORTED:
            return
        seconds = round(time.monotonic() - self._started, 1)
        means = {name: round(value, 4) for name, value in self._means.items()}
        line = {"step": step, "seconds": seconds, **means}
        with self._history.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        self._tell(line)
