"""What holds for all that pytest runs, the doctests in torchseq/ too."""

import os
import sys

# Before anything imports keras: it reads this once, when it is imported.
os.environ["KERAS_BACKEND"] = "torch"

import pytest
import torch

# Sums in one order, so that equal seeds give equal bits on machines with any number of cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    """Starts the counts behind names such as `dense_1` anew, ours and Keras's."""
    # A module that nobody has imported yet has counted nothing.
    if naming := sys.modules.get("torchseq.base.naming"):
        naming.clear()
    if "keras.src" in sys.modules:  # the real one, not torchseq answering to the name
        # Freeing memory means a garbage collection before every test.
        sys.modules["keras.src.backend.common.global_state"].clear_session(free_memory=False)
