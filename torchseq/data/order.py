"""In which order samples are shown, as a function of a seed alone."""

from __future__ import annotations

import torch
from torch import Tensor


def shuffled(num_samples: int, batch_size: int, shuffle: bool | str, seed: int) -> Tensor:
    """Return the indices of the samples in the order of one pass.

    Args:
        num_samples: how many there are.
        batch_size: samples per batch.
        shuffle: True, or `"batch"`, which keeps batches together and shuffles these.
        seed: what the order is a function of.
    """
    generator = torch.Generator().manual_seed(seed)
    if shuffle != "batch":
        return torch.randperm(num_samples, generator=generator)
    batches = torch.arange(num_samples).split(batch_size)
    whole = [batch for batch in batches if len(batch) == batch_size]
    order = torch.randperm(len(whole), generator=generator)
    return torch.cat([*(whole[index] for index in order), *batches[len(whole) :]])
