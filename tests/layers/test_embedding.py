"""Embedding and Masking: integers, masks on their way through a model, errors."""

from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import Sequential, layers


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.float32])
def test_any_dtype_is_taken_as_integers(dtype: torch.dtype) -> None:
    layer = layers.Embedding(9, 4)
    x = torch.tensor([[1, 2], [8, 0]])
    outputs = layer(x.to(dtype))
    assert torch.equal(outputs, layer.embeddings.value[x])
    assert outputs.dtype is torch.float32


@pytest.mark.parametrize("shape", [(5,), (40, 70), (0, 3), (2, 3, 4), (4, 8, 16)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_values_and_gradients_are_the_modules_to_the_bit(
    shape: tuple[int, ...], dtype: str
) -> None:
    layer = layers.Embedding(50, 6, dtype=dtype)
    ids = torch.randint(0, 40, shape)  # some rows come often, some never
    outputs = layer(ids)
    weight = layer.embedding.weight
    expected = torch.nn.functional.embedding(ids, weight)
    assert torch.equal(outputs, expected)
    upstream = torch.randn_like(expected)
    (found,) = torch.autograd.grad(outputs, weight, upstream)
    assert torch.equal(found, torch.autograd.grad(expected, weight, upstream)[0])


def test_another_module_in_its_place_is_called() -> None:
    layer = layers.Embedding(5, 2, weights=np.ones((5, 2), "float32"))
    layer.embedding.register_forward_hook(lambda module, args, output: 2 * output)
    assert layer(torch.tensor([1])).tolist() == [[2.0, 2.0]]
    many = torch.tensor([1, 3] * 500)
    assert layer(many).unique().tolist() == [2.0]
    layer.embedding = torch.nn.Embedding(5, 2, padding_idx=1)
    layer(many).sum().backward()
    assert layer.embedding.weight.grad[1].tolist() == [0.0, 0.0]
    layer.embedding = torch.nn.Embedding(5, 2, sparse=True)
    layer(many).sum().backward()
    assert layer.embedding.weight.grad.is_sparse
    layer.embedding.forward = lambda ids: torch.full((*ids.shape, 2), 7.0)
    assert layer(many).unique().tolist() == [7.0]


def test_an_integer_without_a_vector_is_refused() -> None:
    for count in (1, 1000):
        with pytest.raises(IndexError, match="out of range"):
            layers.Embedding(5, 2)(torch.full((count, 1), 5))


def test_weights_at_construction() -> None:
    values = np.arange(6, dtype="float32").reshape(3, 2)
    for given in (values, [values], torch.tensor(values)):
        layer = layers.Embedding(3, 2, weights=given)
        assert layer.built
        np.testing.assert_array_equal(layer.get_weights()[0], values)
        assert "weights" not in layer.get_config()
        assert layer(torch.tensor([[2]])).tolist() == [[[4.0, 5.0]]]
    with pytest.raises(ValueError, match=r"must have shape \(3, 2\); got \(2, 3\)"):
        layers.Embedding(3, 2, weights=values.T)


def test_a_model_does_not_round_large_integers() -> None:
    class Remainder(layers.Layer):
        takes_integers = True

        def call(self, inputs: Any) -> Any:
            assert not inputs.is_floating_point()
            return (inputs % 2).float()

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    large = np.array([[2**24 + 1]])
    for model in (
        Sequential([torchseq.Input((1,), dtype="int64"), Remainder()]),
        Sequential([torchseq.Input((1,)), Remainder()]),
        Sequential([Remainder()]),
        Sequential([Sequential([Remainder()])]),
    ):
        assert model(large).item() == 1.0
        assert model.predict(large, verbose=0) == 1.0


def test_the_input_length_of_old_scripts_is_taken() -> None:
    assert layers.Embedding(3, 2, input_length=5)(torch.ones(1, 5)).shape == (1, 5, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2), "Embedding: `input_dim` must be a positive integer; got input_dim=0"),
        ((2, 1.5), "Embedding: `output_dim` must be a positive integer; got output_dim=1.5"),
        ((True, 2), "`input_dim` must be a positive integer; got input_dim=True"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Embedding(*arguments)
    with pytest.raises(torchseq.layers.core.UnsupportedFeatureError, match="Embedding: LoRA"):
        layers.Embedding(3, 2, lora_rank=2)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "bfloat16", "float64"])
def test_masks_travel_through_a_model(policy: str) -> None:
    x = torch.tensor([[3, 1, 0], [0, 0, 2]])
    seen: list[Any] = []

    class Watch(layers.Layer):
        def __init__(self, **options: Any):
            super().__init__(**options)
            self.supports_masking = True

        def call(self, inputs: Any, mask: Any = None) -> Any:
            seen.append(mask)
            return inputs * 1

    stack = [
        layers.Embedding(5, 4, mask_zero=True, dtype=policy),
        layers.Dropout(0.5, dtype=policy),
        layers.BatchNormalization(dtype=policy),
        layers.Dense(3, dtype=policy),
        Watch(dtype="float32"),  # a cast on the way
        layers.LayerNormalization(dtype=policy),
        layers.ReLU(dtype=policy),
        Watch(dtype=policy),
    ]
    for model in (Sequential(stack), Sequential([Sequential(stack)])):
        seen.clear()
        output = model(x)
        assert len(seen) >= 2
        for mask in (*seen[-2:], output._keras_mask):
            assert torch.equal(mask, x != 0)


def test_layers_that_do_not_support_masking_drop_the_mask() -> None:
    x = torch.tensor([[3, 0]])
    model = Sequential([layers.Embedding(5, 4, mask_zero=True), layers.RMSNormalization()])
    with pytest.warns(UserWarning, match="RMSNormalization.* does not support masking"):
        assert getattr(model(x), "_keras_mask", None) is None
    assert getattr(layers.Embedding(5, 4)(x), "_keras_mask", None) is None


def test_a_users_layer_makes_a_mask() -> None:
    class Positive(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs + 0

        def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
            return inputs[..., 0] > 0

    x = torch.randn(3, 4, 2)
    assert torch.equal(Positive()(x)._keras_mask, x[..., 0] > 0)
    model = Sequential([torchseq.Input((4, 2)), Positive(), layers.Softmax()])
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x) == 0, (x[..., :1] <= 0).expand_as(x))
    torch._dynamo.reset()


def test_masking_takes_other_values() -> None:
    x = torch.full((1, 2, 3), -1.0)
    x[0, 1, 2] = 5.0
    outputs = layers.Masking(-1.0)(x)
    assert outputs[0].tolist() == [[0.0, 0.0, 0.0], [-1.0, -1.0, 5.0]]
    assert outputs._keras_mask.tolist() == [[False, True]]
