"""The options that all optimizers take: their checks, and old scripts' names for them."""

from __future__ import annotations

from typing import Any

from torchseq.base import arguments

CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


def checked_decay(owner: Any, options: dict[str, Any]) -> float:
    """Take `decay` out of the options; 0 if it is not there.

    Raises:
        ValueError: if it is no number of at least 0, or options are left.
    """
    decay = options.pop("decay", None) or 0.0
    if options:
        raise ValueError(f"{type(owner).__name__}: unrecognized arguments {sorted(options)}.")
    return arguments.number(owner, "decay", decay, minimum=0)


def check(owner: Any) -> None:
    """Check the options that an optimizer has as attributes.

    Raises:
        ValueError: if two kinds of clipping are given, or a value is out of range.
    """
    name = type(owner).__name__
    clips = {clip: getattr(owner, clip) for clip in CLIPS}
    if sum(value is not None for value in clips.values()) > 1:
        raise ValueError(
            f"{name}: only one of `clipnorm`, `clipvalue` and `global_clipnorm` may be given; got "
            f"{clips}."
        )
    for clip, value in clips.items():
        if value is not None and value < 0:
            raise ValueError(f"{name}: `{clip}` must be at least 0; got {clip}={value}.")
    if owner.use_ema:
        arguments.fraction(owner, "ema_momentum", owner.ema_momentum)
    for count in ("ema_overwrite_frequency", "gradient_accumulation_steps"):
        if getattr(owner, count) is not None:
            arguments.positive_integer(owner, count, getattr(owner, count))
    if owner.gradient_accumulation_steps == 1:
        raise ValueError(
            f"{name}: `gradient_accumulation_steps` must be at least 2; got 1. Leave it out to "
            "update in every step."
        )
