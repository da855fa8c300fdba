"""What the contenders share that train torch's module: its data, loss and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from comparison.contenders.contender import Session
from comparison.problems.problem import Problem


class TorchSession(Session):
    """Has torch's module of a problem, on a device.

    Args:
        problem: whose network it is.
        device: "cpu" or "cuda".
    """

    suffix = ".pt"

    def __init__(self, problem: Problem, device: str):
        self.batch_size = problem.batch_size
        self.device = device
        self.module: nn.Module = problem.module().to(device)
        self.last = nn.Sigmoid() if problem.classes == 1 else nn.Softmax(-1)

    def tensors(self, x: Any, y: Any) -> tuple[Tensor, Tensor]:
        """Return tensors on the host, channels first."""
        return channels_first(torch.from_numpy(x)), torch.from_numpy(y)

    def loader(self, x: Any, y: Any, shuffle: bool = True) -> DataLoader[Any]:
        """Return the usual DataLoader."""
        dataset = TensorDataset(*self.tensors(x, y))
        return DataLoader(dataset, batch_size=self.batch_size, shuffle=shuffle)

    def answers(self) -> nn.Module:
        """Return the module with what makes probabilities of its logits, in evaluation mode."""
        return nn.Sequential(self.module, self.last).eval()


def channels_first(x: Tensor) -> Tensor:
    """Return images as torch takes them, others as they are."""
    return x.permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else x


def loss_of(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss of a batch."""
    if y.is_floating_point():
        return F.binary_cross_entropy_with_logits(logits, y)
    return F.cross_entropy(logits, y)


def hits_of(logits: Tensor, y: Tensor) -> Tensor:
    """Return how many rows are right."""
    if y.is_floating_point():
        return ((logits > 0) == (y > 0.5)).sum()
    return (logits.argmax(-1) == y).sum()


def save(path: Path, module: nn.Module, optimizer: Any) -> None:
    """Save as torch's tutorials do."""
    torch.save({"model": module.state_dict(), "optimizer": optimizer.state_dict()}, path)


def load(path: Path, module: nn.Module, optimizer: Any) -> None:
    """Load what `save` wrote."""
    states = torch.load(path, weights_only=True)
    module.load_state_dict(states["model"])
    optimizer.load_state_dict(states["optimizer"])
