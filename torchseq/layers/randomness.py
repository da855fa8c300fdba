"""Random numbers of layers: torch's own stream, or one that a seed fixes.

A layer without a seed draws from torch's stream of the device, so `set_random_seed` fixes it. A
layer with one draws from a `RandomStream`, whose position is saved with the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import arguments, islands, seeds
from torchseq.base.variable import Variable

_STRIDE = 0x9E3779B97F4A7C15  # odd: streams of neighboring seeds do not meet soon


class RandomStream(nn.Module):
    """A sequence of draws that depends on a seed alone, and goes on where it was when saved.

    The number of draws so far stays on the CPU, so that to count costs no wait for a device.

    Args:
        seed: any integer.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed
        self.position = torch.zeros((), dtype=torch.int64, device="cpu")

    def draw(self, kind: str, probability: float, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return the next draw; see `bernoulli` and `normal`."""
        self.position += 1
        draw = _opaque_draw if islands.is_tracing() else _draw
        return draw(self.position, self.seed, kind, probability, list(shape), like.detach())

    @property
    def saved_position(self) -> Variable:
        """The number of draws so far, as files write and read it."""
        return Variable.over(self, "position", "position")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}position"] = self.position.clone()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        key = f"{prefix}position"
        _, _, missing, unexpected, _ = others
        if key in state_dict:
            self.position.copy_(state_dict[key])
            unexpected[:] = [other for other in unexpected if other != key]
        else:
            missing.append(key)


def stream_of(owner: Any, seed: Any) -> RandomStream | None:
    """Return the stream of a layer that draws; None for torch's own.

    Without a seed one is drawn from Python's `random` and thrown away, as Keras draws one here: so
    the initial weights of later layers are those that Keras gives them.

    Raises:
        ValueError: if `seed` is neither an integer nor None.
    """
    if seed is None:
        seeds.make_seed()
        return None
    if not arguments.is_integer(seed):
        raise ValueError(
            f"{arguments.owner_name(owner)}: `seed` must be an integer or None; got seed={seed!r}."
        )
    return RandomStream(int(seed))


def bernoulli(
    stream: RandomStream | None, probability: float, shape: Sequence[int], like: Tensor
) -> Tensor:
    """Return ones with this probability, else zeros, in the dtype and on the device of `like`."""
    if stream is not None:
        return stream.draw("bernoulli", probability, shape, like)
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device).bernoulli_(probability)


def normal(stream: RandomStream | None, shape: Sequence[int], like: Tensor) -> Tensor:
    """Return standard normal values, in the dtype and on the device of `like`."""
    if stream is not None:
        return stream.draw("normal", 0.0, shape, like)
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device).normal_()


def _draw(
    position: Tensor, seed: int, kind: str, probability: float, shape: list[int], like: Tensor
) -> Tensor:
    values = torch.empty(shape, dtype=like.dtype, device=like.device)
    if values.is_meta:
        return values
    generator = seeds.generator((seed * _STRIDE + int(position)) % 2**63, values.device)
    if kind == "normal":
        return values.normal_(generator=generator)
    return values.bernoulli_(probability, generator=generator)


# torch.compile cannot look into a generator; as an operator of its own the draw is one step to it.
_opaque_draw = torch.library.custom_op(
    "torchseq::draw",
    _draw,
    mutates_args=(),
    schema="(Tensor position, int seed, str kind, float probability, SymInt[] shape, Tensor like)"
    " -> Tensor",
)


@_opaque_draw.register_fake
def _(
    position: Tensor, seed: int, kind: str, probability: float, shape: list[int], like: Tensor
) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device)
