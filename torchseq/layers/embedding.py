"""Layers at the start of sequence models: vectors for integers, and masks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import arguments, dtypes, islands, registry, settings
from torchseq.base.module_hooks import has_hooks
from torchseq.base.types import Config, Identifier, Shape
from torchseq.layers.core import refuse_adapters
from torchseq.layers.layer import Layer


class Embedding(Layer):
    """Looks up a learned vector for each integer.

    Args:
        input_dim: number of vectors; inputs are from 0 to `input_dim - 1`.
        output_dim: size of a vector.
        embeddings_initializer: name, config or callable.
        embeddings_regularizer: penalty on the weight.
        embeddings_constraint: projection of the weight after each update.
        mask_zero: the integer 0 stands for padding, which later layers are to skip.
        weights: the initial vectors, an array `(input_dim, output_dim)` or a list of one.
        lora_rank, lora_alpha, quantization_config: only None is possible.
        **layer_options: also `input_length`, from Keras 1 and 2, which has no effect.

    Shapes:
        `(batch, ...)` of integers, or of floats that are cast -> `(batch, ..., output_dim)`

    Raises:
        ValueError: if a size is not a positive integer, or `weights` has another shape.

    Source: keras.layers.Embedding. Not offered: quantization, LoRA; negative integers, which Keras
        counts from the end.
    """

    takes_integers = True  # a model must not round them by a cast to floats

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Identifier = "uniform",
        embeddings_regularizer: Identifier = None,
        embeddings_constraint: Identifier = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **layer_options: Any,
    ):
        layer_options.pop("input_length", None)
        super().__init__(**{**layer_options, "autocast": False})  # its inputs are no quantities
        self.input_dim = arguments.positive_integer(self, "input_dim", input_dim)
        self.output_dim = arguments.positive_integer(self, "output_dim", output_dim)
        self.resolve(
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
        )
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        refuse_adapters(self, lora_rank, quantization_config)
        self.quantization_config = None
        if weights is not None:
            self.build()
            self.set_weights(
                weights if isinstance(weights, list) and len(weights) == 1 else [weights]
            )

    def build(self, input_shape: Shape | None = None) -> None:
        """Make the `nn.Embedding`."""
        sizes = self.input_dim, self.output_dim
        # With a weight of ours torch draws none: of what it draws by, the sketch on "meta" that
        # `torch_module` makes imports all of torch's compiler, for half a second.
        weight = torch.empty(
            sizes, dtype=dtypes.torch_dtype(self.variable_dtype), device=settings.device()
        )
        self.embedding = nn.Embedding(*sizes, _weight=weight)
        self.expose("embeddings", self.embedding, "weight")

    def call(self, inputs: Tensor) -> Tensor:
        """Look up the vectors."""
        if inputs.dtype is not torch.int64 and inputs.dtype is not torch.int32:
            inputs = inputs.to(torch.int32)
        return _looked_up(self.embedding, inputs).to(self._compute_dtype)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Tensor | None:
        """Return where the input is not 0, if that stands for padding."""
        return inputs != 0 if self.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with the size of a vector last."""
        return (*input_shape, self.output_dim)

    def get_config(self) -> Config:
        """Return the constructor's arguments; an absent activity regularizer too, as Keras does."""
        config = {"activity_regularizer": None, **super().get_config()}
        config.pop("weights", None)
        return config


_LEAST_INTEGERS, _WIDEST = 256, 512  # from and up to which it is faster, with one thread or two


def _looked_up(embedding: nn.Module, inputs: Tensor) -> Tensor:
    """Return what the module does: many narrow vectors on the CPU by a selection of rows.

    Its backward pass adds up the same numbers in the same order, for 2,000 integers and vectors of
    64 in a third of the time.
    """
    if (
        type(embedding) is not nn.Embedding
        or not isinstance(inputs, Tensor)  # a proxy of torch.fx
        or inputs.numel() < _LEAST_INTEGERS
        or embedding.embedding_dim > _WIDEST
        or embedding.weight.device.type != "cpu"
        or embedding.weight.dtype not in (torch.float32, torch.float64)
        or inputs.device.type != "cpu"
        or islands.is_tracing()  # the compiler knows the module's operation better
        or has_hooks(embedding)
        or _has_options(embedding)
    ):
        return embedding(inputs)  # type: ignore[no-any-return]
    weight = embedding.weight
    return weight.index_select(0, inputs.reshape(-1)).view(*inputs.shape, weight.shape[1])


def _has_options(embedding: nn.Embedding) -> bool:
    """Tell whether a module, which a user must have put there, does more than look up."""
    return (
        embedding.padding_idx is not None
        or embedding.max_norm is not None
        or embedding.scale_grad_by_freq
        or embedding.sparse
    )


class Masking(Layer):
    """Marks the time steps at which all features equal a value, for later layers to skip.

    Args:
        mask_value: the value; marked steps become 0.

    Shapes:
        `(batch, time, ..., features)` -> the same

    Raises:
        ValueError: if `mask_value` is no number and no array of them.

    Source: keras.layers.Masking.
    """

    def __init__(self, mask_value: Any = 0.0, **layer_options: Any):
        super().__init__(**layer_options)
        self.supports_masking = True
        mask_value = registry.deserialize(mask_value)  # files may hold a tensor
        self.mask_value = arguments.numbers(self, "mask_value", mask_value)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """Set marked steps to 0."""
        return torch.where(self.compute_mask(inputs).unsqueeze(-1), inputs, 0)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Tensor:
        """Return where any feature differs from the value."""
        differs: Tensor = inputs != self.mask_value
        return differs.any(-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape
