"""Seeds and the generators made from them.

As in Keras, everything random that is not given a seed draws one from Python's `random`, so
`set_random_seed` fixes initial weights, dropout and shuffling alike.
"""

from __future__ import annotations

import random

import numpy as np
import torch


def set_random_seed(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators.

    Args:
        seed: an integer of at least 0 and below 2**32.

    Raises:
        ValueError: if `seed` is not such an integer.

    Source: keras.utils.set_random_seed.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(
            f"set_random_seed: `seed` must be an integer in [0, 2**32); got seed={seed!r}."
        )
    random.seed(int(seed))
    np.random.seed(int(seed))
    torch.manual_seed(int(seed))


def make_seed() -> int:
    """Draw a seed from Python's generator, in the range that Keras draws from."""
    return random.randint(1, int(1e9))  # not for secrets; Keras draws from the same stream


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator on `device` that starts at `seed`."""
    made = torch.Generator(device=device)
    made.manual_seed(seed)
    return made
