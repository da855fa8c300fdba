"""Layers in lists, tuples and dicts that are attributes of a layer."""

import copy
import pickle
from typing import Any

import torch
from torch import Tensor, nn

from torchseq import Input, Sequential, layers


class Stack(layers.Layer):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.blocks: list[Any] = []
        for _ in range(2):
            self.blocks.append(layers.Dense(4))
        self.pairs = [(layers.Dense(4), "relu"), (nn.Linear(4, 4), "none")]
        self.named = {"last": layers.Dense(2), "inner": {"deep": layers.Dense(4)}}
        self.fixed = (layers.Dense(4), layers.Dropout(0.5))
        self.sizes = [1, 2]

    def call(self, inputs: Tensor) -> Any:
        for block in self.blocks:
            inputs = block(inputs)
        for block, _ in self.pairs:
            inputs = block(inputs)
        for block in self.fixed:
            inputs = block(inputs)
        return self.named["last"](self.named["inner"]["deep"](inputs))


KEYS = [
    "blocks_0.linear", "blocks_1.linear", "pairs_0_0.linear", "pairs_1_0", "named_last.linear",
    "named_inner_deep.linear", "fixed_0.linear",
]  # fmt: skip


def test_their_weights_are_found_and_have_stable_keys() -> None:
    stack = Stack()
    assert stack(torch.ones(3, 5)).shape == (3, 2)
    assert [key.removesuffix(".weight") for key in stack.state_dict() if "weight" in key] == KEYS
    assert len(stack.weights) == len(list(stack.parameters())) == 14
    assert all(weight.path.startswith("stack/") for weight in stack.weights)
    layers.Dense(3)
    assert list(Stack().state_dict()) == ["pairs_1_0.weight", "pairs_1_0.bias"]  # the others wait


def test_they_stay_containers() -> None:
    stack = Stack()
    assert isinstance(stack.blocks, list)
    assert stack.sizes == [1, 2]
    assert isinstance(stack.named, dict)
    assert isinstance(stack.fixed, tuple)
    assert stack.pairs[1][1] == "none"
    assert "sizes" not in dict(stack.named_children())


def test_models_of_them_build_compile_copy_and_train() -> None:
    model = Sequential([Input((5,)), Stack(), layers.Dense(1)])
    assert model.output_shape == (None, 1)
    x = torch.rand(3, 5)
    expected = model(x)
    assert torch.equal(torch.compile(model, fullgraph=True, backend="eager")(x), expected)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(x), expected)
        stack = again.layers[0]
        assert stack.blocks[0] is stack._modules["blocks_0"]
        stack.blocks.append(layers.Dense(4))
        assert "blocks_2" in stack._modules
        assert "blocks_2" not in model.layers[0]._modules
    model.train()
    assert model.layers[0].fixed[1].training
    model.layers[0].trainable = False
    assert len(model.trainable_weights) == 2


def test_changes_are_followed() -> None:
    stack = Stack()

    def names(prefix: str) -> list[str]:
        return [name for name, _ in stack.named_children() if name.startswith(prefix)]

    extra = layers.Dense(3)
    stack.blocks += [extra]
    assert names("blocks") == ["blocks_0", "blocks_1", "blocks_2"]
    assert stack.blocks.pop() is extra
    stack.blocks[0] = extra
    assert stack._modules["blocks_0"] is extra
    stack.blocks.insert(0, nn.ReLU())
    assert len(names("blocks")) == 3
    stack.blocks.clear()
    assert names("blocks") == []
    stack.named["inner"]["more"] = layers.Dense(1)
    stack.named.update(other=[layers.Dense(1)])
    stack.named["other"].append(layers.Dense(1))
    assert names("named")[1:] == [
        "named_inner_deep",
        "named_inner_more",
        "named_other_0",
        "named_other_1",
    ]
    del stack.named["inner"]
    assert names("named") == ["named_last", "named_other_0", "named_other_1"]
    stack.named = {"only": layers.Dense(1)}
    assert names("named") == ["named_only"]
    stack.named = None
    assert names("named") == []
    stack.fixed = [layers.Dense(1)]
    assert names("fixed") == ["fixed_0"]
