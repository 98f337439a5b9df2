"""Loss and score by task."""

from dataclasses import dataclass

from scripts.training.config import Training
from scripts.training.losses import (
    Loss,
    Score,
    class_loss,
    class_score,
    overlap_loss,
    overlap_score,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What the network is trained by, and what is shown of how well it does."""

    loss: Loss
    score: Score


def objective(training: Training) -> Objective:
    """Return loss and score of a task."""
    weights = training.channel_weights
    if training.task == "classification":
        return Objective(loss=class_loss(weights), score=class_score)
    softmax = training.activation == "softmax"
    return Objective(
        loss=overlap_loss(softmax=softmax, weights=weights), score=overlap_score(softmax=softmax)
    )
