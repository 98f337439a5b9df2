"""What a network is punished for, and how well it does."""

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

Tensor = torch.Tensor
Loss = Callable[[Tensor, Tensor], Tensor]  # output, truth -> a number
Score = Callable[[Tensor, Tensor], list[float]]  # one for each channel
_SMOOTH = 50.0  # voxels: an empty channel is no total failure


def overlap_loss(*, softmax: bool, weights: Sequence[float]) -> Loss:
    """Return soft Dice plus cross-entropy of outputs (batch, channel, x, y, z).

    The truth is one-hot, or where channels may overlap (`softmax` false) a mask for each;
    `weights` multiply the foreground of each channel in the cross-entropy.
    """

    def loss(output: Tensor, truth: Tensor) -> Tensor:
        heavy = torch.tensor(list(weights) or [1.0] * truth.shape[1], device=output.device)
        if softmax:
            entropy = functional.cross_entropy(output, truth, weight=heavy)
            likely = output.softmax(1)
        else:
            heavy = heavy.reshape(1, -1, *[1] * (output.ndim - 2))
            entropy = functional.binary_cross_entropy_with_logits(output, truth, pos_weight=heavy)
            likely = output.sigmoid()
        axes = tuple(range(2, output.ndim))
        shared = (likely * truth).sum(axes)
        dice = (2 * shared + _SMOOTH) / (likely.sum(axes) + truth.sum(axes) + _SMOOTH)
        return (1 - dice).mean() + entropy

    return loss


def overlap_score(*, softmax: bool) -> Score:
    """Return the Dice of each channel; not a number where neither has a voxel."""

    def score(output: Tensor, truth: Tensor) -> list[float]:
        if softmax:
            classes = output.argmax(1)
            found = functional.one_hot(classes, output.shape[1]).movedim(-1, 1).float()
        else:
            found = (output > 0).float()
        axes = (0, *range(2, output.ndim))
        both = found.sum(axes) + truth.sum(axes)
        return (2 * (found * truth).sum(axes) / both).tolist()

    return score


def class_loss(weights: Sequence[float]) -> Loss:
    """Return the cross-entropy of outputs (batch, class) against one-hot truth."""

    def loss(output: Tensor, truth: Tensor) -> Tensor:
        heavy = torch.tensor(list(weights) or [1.0] * truth.shape[1], device=output.device)
        return functional.cross_entropy(output, truth, weight=heavy)

    return loss


def class_score(output: Tensor, truth: Tensor) -> list[float]:
    """Return the share of cases whose likeliest class is the true one."""
    return [float((output.argmax(1) == truth.argmax(1)).float().mean())]
