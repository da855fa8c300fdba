"""A tensor that has a shape and a dtype and no values: what `Input` returns."""

from __future__ import annotations

from typing import Any

from torchseq.base import naming
from torchseq.base.errors import UnsupportedFeatureError
from torchseq.base.types import Shape

_EXAMPLE = """

    class Net(torchseq.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(64, activation="relu")
            self.head = layers.Dense(1)

        def call(self, inputs):
            hidden = self.hidden(inputs)
            return self.head(torch.cat([inputs, hidden], -1))

    model = Net()  # compile, fit, evaluate, predict, save as ever; or a layer of a Sequential
"""


class KerasTensor:
    """Stands for a tensor that is not there yet.

    Args:
        shape: the batch size first; None where a size is not known.
        dtype: dtype name.
        name: unique by default.
        origin: the layer whose output it is, if any.

    Source: keras.KerasTensor. Layers cannot be called on it: there is no Functional API.
    """

    def __init__(
        self,
        shape: Shape,
        dtype: str = "float32",
        name: str | None = None,
        origin: Any = None,
    ):
        self.shape = tuple(shape)
        self.dtype = dtype
        self.name = name or naming.auto_name(type(self).__name__)
        self.origin = origin

    @property
    def ndim(self) -> int:
        """Number of axes, the batch axis included."""
        return len(self.shape)

    def __repr__(self) -> str:
        return (
            f"<KerasTensor shape={self.shape}, dtype={self.dtype}, sparse=False, "
            f"ragged=False, name={self.name}>"
        )


def functional_error(owner: str, what: str) -> UnsupportedFeatureError:
    """Return the error for a use of the Functional API, which says how to write it instead.

    Args:
        owner: who was used so.
        what: what must hold, and what came.
    """
    return UnsupportedFeatureError(
        f"{owner}: {what} There is no Functional API: put the layers into a Sequential, or write "
        f"the graph as the `call` of a Model, or the `forward` of an nn.Module:{_EXAMPLE}"
    )
