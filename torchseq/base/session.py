"""The state that a process gathers while models are made."""

from __future__ import annotations

import gc

from torchseq.base import dtypes, naming


def clear_session(free_memory: bool = True) -> None:
    """Number default names from the start again and go back to the default dtype policy.

    Args:
        free_memory: collect garbage now.

    Source: keras.utils.clear_session.
    """
    naming.clear()
    dtypes.clear_global_policy()
    if free_memory:
        gc.collect()
