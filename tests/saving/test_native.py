import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

import torchseq as keras
from tests.saving import samples
from torchseq import layers, optimizers
from torchseq.base import registry
from torchseq.base.errors import FileFormatError, UnsupportedFeatureError

OPTIMIZERS = {
    "adam": lambda: optimizers.Adam(0.01),
    "sgd": lambda: optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
}


def rewritten(path: Path, change: Any) -> Path:
    """Writes a copy whose tensors and metadata `change` has been at."""
    with safetensors.safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["torchseq"])
    tensors = safetensors.torch.load_file(path)
    change(tensors, metadata)
    copy = path.with_name("changed.safetensors")
    safetensors.torch.save_file(tensors, copy, {"torchseq": json.dumps(metadata)})
    return copy


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", [samples.mlp, samples.convnet])
def test_a_loaded_model_goes_on_as_if_never_saved(
    make: Any, optimizer: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = make()
    x, y = samples.data(model, rng)
    samples.trained(model, x, y, OPTIMIZERS[optimizer]())
    model.save(tmp_path / "m.safetensors")
    loaded = keras.models.load_model(tmp_path / "m.safetensors")

    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    samples.assert_equal_arrays(samples.values(loaded), samples.values(model))
    assert samples.train(loaded, x, y) == samples.train(model, x, y)
    samples.assert_equal_arrays(samples.values(loaded), samples.values(model))
    assert loaded.get_config() == model.get_config()


def test_file_holds_the_state_dict_under_its_own_keys(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    model = samples.mlp()
    samples.trained(model, *samples.data(model, rng))
    model.save(tmp_path / "m.safetensors")
    tensors = safetensors.torch.load_file(tmp_path / "m.safetensors")
    for key, value in model.state_dict().items():
        torch.testing.assert_close(tensors[key], value, rtol=0, atol=0)
    assert any(key.startswith("optimizer.adam/") for key in tensors)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_keep_dtype_and_bits(dtype: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,), dtype=dtype), layers.Dense(3, dtype=dtype)])
    model.save(tmp_path / "m.safetensors")
    loaded = keras.models.load_model(tmp_path / "m.safetensors")
    for key, value in model.state_dict().items():
        assert loaded.state_dict()[key].dtype == value.dtype
        assert torch.equal(loaded.state_dict()[key], value)


def test_tied_weights_and_views_go_round(tmp_path: Path) -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(4, 4, bias=False)
            self.second = torch.nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight
            self.register_buffer("window", torch.arange(16.0).reshape(4, 4).t()[1:])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x))

    model, other = (keras.Sequential([keras.Input((4,)), Tied()]) for _ in range(2))
    model.save_weights(tmp_path / "w.safetensors")
    other.load_weights(tmp_path / "w.safetensors")
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
    module = other.layers[0].module
    assert module.first.weight is module.second.weight


def test_weights_alone_and_weights_of_a_whole_model_load(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    model = samples.mlp()
    samples.trained(model, *samples.data(model, rng))
    model.save_weights(tmp_path / "w.safetensors")
    model.save(tmp_path / "m.safetensors")
    for name in ("w.safetensors", "m.safetensors"):
        other = samples.mlp()
        other.set_weights([value + 1 for value in model.get_weights()])
        other.load_weights(str(tmp_path / name))
        samples.assert_equal_arrays(other.get_weights(), model.get_weights())
    with pytest.raises(FileFormatError, match=r"holds weights alone.*load_weights"):
        keras.models.load_model(tmp_path / "w.safetensors")


def test_plain_safetensors_of_another_program_load(tmp_path: Path) -> None:
    model, other = samples.mlp(), samples.mlp()
    state = dict(zip(other.state_dict(), model.state_dict().values(), strict=True))
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    other.load_weights(tmp_path / "w.safetensors")
    samples.assert_equal_arrays(other.get_weights(), model.get_weights())


def test_uncompiled_and_unbuilt_models_go_round(tmp_path: Path) -> None:
    samples.mlp().save(tmp_path / "m.safetensors")
    assert not keras.models.load_model(tmp_path / "m.safetensors").compiled
    keras.Sequential([layers.Dense(2)]).save(tmp_path / "u.safetensors")
    assert not keras.models.load_model(tmp_path / "u.safetensors").built


def test_a_model_compiled_and_never_trained_goes_round(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    model = samples.mlp()
    x, y = samples.data(model, rng)
    model.compile("adam", "categorical_crossentropy")
    for suffix in samples.MODELS:
        model.save(tmp_path / f"m{suffix}")
        loaded = keras.models.load_model(tmp_path / f"m{suffix}")
        again = keras.models.load_model(tmp_path / f"m{suffix}")
        assert samples.train(loaded, x, y) == samples.train(again, x, y)


def test_compile_false_and_include_optimizer_false(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    model = samples.mlp()
    samples.trained(model, *samples.data(model, rng))
    model.save(tmp_path / "m.safetensors")
    assert not keras.models.load_model(tmp_path / "m.safetensors", compile=False).compiled
    model.save(tmp_path / "n.safetensors", include_optimizer=False)
    assert not keras.models.load_model(tmp_path / "n.safetensors").compiled


class Scale(layers.Layer):
    def __init__(self, factor: float = 1.0, **options: Any):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.factor


def doubled_loss(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
    return 2 * ((y_true - y_pred) ** 2).mean(-1)


@pytest.mark.parametrize("suffix", samples.MODELS)
def test_custom_objects(suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / f"m{suffix}"
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), Scale(2.0)])
    x, y = samples.data(model, rng)
    model.compile("sgd", doubled_loss)
    samples.train(model, x, y)
    model.save(path)

    with pytest.raises(FileFormatError, match=r"m\.\w+: .*'Scale'.*custom_objects"):
        keras.models.load_model(path)
    with pytest.raises(FileFormatError, match="doubled_loss"):
        keras.models.load_model(path, custom_objects={"Scale": Scale})
    custom_objects = {"Scale": Scale, "doubled_loss": doubled_loss}
    loaded = keras.models.load_model(path, custom_objects=custom_objects)
    assert samples.train(loaded, x, y) == samples.train(model, x, y)


class Reading(layers.Layer):
    """Reads a value while it builds, as no tensor without memory lets it."""

    def build(self, input_shape: Any) -> None:
        self.scale = torch.ones(1).item()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.scale


@pytest.mark.parametrize("suffix", samples.MODELS)
def test_own_classes_may_read_values_while_they_build(suffix: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), Reading()])
    model.save(tmp_path / f"m{suffix}")
    custom_objects = {"Reading": Reading}
    loaded = keras.models.load_model(tmp_path / f"m{suffix}", custom_objects=custom_objects)
    samples.assert_equal_arrays(loaded.get_weights(), model.get_weights())


def test_missing_surplus_and_wrong_tensors_change_nothing(tmp_path: Path) -> None:
    saved, model = samples.mlp(), samples.mlp()
    saved.save_weights(tmp_path / "w.safetensors")
    state = dict(zip(model.state_dict(), saved.state_dict().values(), strict=True))
    first = next(iter(state))
    before = model.get_weights()
    cases = {
        "lacks": {key: value for key, value in state.items() if key != first},
        "has .*stranger": {**state, "stranger": torch.ones(2)},
        r"got shape \(2, 2\)": {**state, first: torch.ones(2, 2)},
        "dtype int64": {**state, first: state[first].long()},
    }
    for message, changed in cases.items():
        safetensors.torch.save_file(changed, tmp_path / "w.safetensors")
        with pytest.raises(FileFormatError, match=rf"w\.safetensors.*{message}"):
            model.load_weights(tmp_path / "w.safetensors")
        samples.assert_equal_arrays(model.get_weights(), before)
    with pytest.warns(UserWarning, match="skipped"):
        model.load_weights(tmp_path / "w.safetensors", skip_mismatch=True)
    assert not np.array_equal(model.get_weights()[2], before[2])


def test_a_damaged_header_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    model = samples.mlp()
    samples.trained(model, *samples.data(model, rng))
    path = tmp_path / "m.safetensors"
    model.save(path)
    whole = path.read_bytes()

    def deep(tensors: Any, metadata: Any) -> None:
        for _ in range(200):
            metadata["model"] = {"a": metadata["model"]}

    cases: dict[str, Any] = {
        "'format'": lambda tensors, metadata: metadata.pop("format"),
        "written by torchseq": lambda tensors, metadata: metadata.update(format=99),
        "nested at most": deep,
        "'NoSuchLayer'": lambda tensors, metadata: metadata["model"]["config"]["layers"][1].update(
            class_name="NoSuchLayer", registered_name="NoSuchLayer"
        ),
        "describe a model; it describes Dense": lambda tensors, metadata: metadata.update(
            model=metadata["model"]["config"]["layers"][1]
        ),
        "optimizer's variables that its header": lambda tensors, metadata: metadata.update(
            optimizer=["nowhere"]
        ),
        "no_such_loss": lambda tensors, metadata: metadata["compile"].update(loss="no_such_loss"),
    }
    for message, change in cases.items():
        with pytest.raises(FileFormatError, match=message):
            keras.models.load_model(rewritten(path, change))
    spoiled = whole.replace(b'"class_name', b'"class_nam\\', 1)
    path.write_bytes(whole.replace(b'\\"class_name', b"}}class_name", 1))
    with pytest.raises(FileFormatError, match="must be JSON"):
        keras.models.load_model(path)
    path.write_bytes(spoiled[:8] + b"{" + b"\x00" * (len(spoiled) - 9))
    with pytest.raises(FileFormatError, match="damaged"):
        keras.models.load_model(path)


def test_config_of_giant_layers_fails_before_memory_is_asked_for(tmp_path: Path) -> None:
    samples.mlp().save(tmp_path / "m.safetensors")

    def giant(tensors: Any, metadata: Any) -> None:
        metadata["model"]["config"]["layers"][1]["config"]["units"] = 10**11

    with pytest.raises(FileFormatError, match="100000000000"):
        keras.models.load_model(rewritten(tmp_path / "m.safetensors", giant))


def test_bytecode_of_lambdas_is_refused(tmp_path: Path) -> None:
    samples.mlp().save(tmp_path / "m.safetensors")
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAAA"}}

    def add_lambda(tensors: Any, metadata: Any) -> None:
        layer = {"class_name": "Lambda", "config": {"name": "l", "function": code}}
        metadata["model"]["config"]["layers"].append(layer)

    with pytest.raises(UnsupportedFeatureError, match="bytecode of a lambda"):
        keras.models.load_model(rewritten(tmp_path / "m.safetensors", add_lambda))


def test_loading_draws_the_random_numbers_that_building_draws(tmp_path: Path) -> None:
    model = samples.convnet()
    model.save(tmp_path / "m.safetensors")
    random.seed(1)
    torch.manual_seed(1)
    registry.deserialize(registry.serialize(model))
    expected = random.random(), torch.rand(1)
    random.seed(1)
    torch.manual_seed(1)
    keras.models.load_model(tmp_path / "m.safetensors")
    assert (random.random(), torch.rand(1)) == expected


def test_a_frozen_layer_keeps_the_optimizer_state_of_the_others(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    model = samples.mlp()
    samples.trained(model, *samples.data(model, rng))
    model.layers[0].trainable = False
    model.save(tmp_path / "m.safetensors")
    loaded = keras.models.load_model(tmp_path / "m.safetensors")
    expected = [*model.optimizer.variables[:2], *model.optimizer.variables[-4:]]
    samples.assert_equal_arrays(
        [variable.numpy() for variable in loaded.optimizer.variables],
        [variable.numpy() for variable in expected],
    )
