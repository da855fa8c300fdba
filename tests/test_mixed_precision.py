"""Dtype policies: what they are, what layers and models do under them, and what training does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torchseq as keras
from tests.layers.test_every_layer import EACH, Row, from_the_start, input_of
from torchseq import layers
from torchseq.base.errors import UnsupportedFeatureError

MIXED = ("mixed_bfloat16", "mixed_float16")
COMPUTE = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}


@pytest.fixture(autouse=True)
def default_policy() -> Iterator[None]:
    """Puts the default policy back."""
    yield
    keras.config.set_dtype_policy("float32")


# --- Policies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MIXED, "float16", "bfloat16", "float32", "float64"])
def test_a_policy_goes_in_and_out_of_every_form(name: str) -> None:
    policy = keras.DTypePolicy(name)
    config = keras.dtype_policies.serialize(policy)
    compute = name.removeprefix("mixed_")
    assert (policy.name, policy.compute_dtype) == (name, compute)
    assert policy.variable_dtype == ("float32" if name in MIXED else name)
    for form in (name, policy, config, keras.FloatDTypePolicy(name)):
        assert keras.dtype_policies.get(form) == policy
        assert layers.Dense(2, dtype=form).dtype_policy == policy
    assert keras.dtype_policies.deserialize(config) == policy
    keras.mixed_precision.set_global_policy(name)
    assert keras.mixed_precision.global_policy() == keras.config.dtype_policy() == policy
    assert keras.DTypePolicy() == policy
    assert layers.Dense(2).dtype_policy == policy


def test_clear_session_forgets_the_policy() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.utils.clear_session()
    assert keras.config.dtype_policy().name == "float32"


def test_inputs_are_converted_as_the_policy_says() -> None:
    policy = keras.DTypePolicy("mixed_float16")
    assert policy.convert_input(np.ones(2), True, "float16").dtype is torch.float16
    assert policy.convert_input(np.ones(2), False, "float16").dtype is torch.float64
    assert policy.convert_input(np.arange(2), True, "float16").dtype is torch.int64
    assert policy.convert_input(None, True, "float16") is None


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: keras.DTypePolicy("mixed_float8"), ValueError, "of a dtype.*got 'mixed_float8'"),
        (lambda: keras.DTypePolicy(3), TypeError, "must be a string.*got 3 of type int"),
        (lambda: keras.DTypePolicy(torch.float16), TypeError, "got torch.float16"),
        (
            lambda: keras.dtype_policies.get([]),
            ValueError,
            r"must be one of \['bfloat16'.*got \[\]",
        ),
        (lambda: keras.dtype_policies.get({"a": 1}), ValueError, r"'class_name'.*got \['a'\]"),
        (lambda: keras.dtype_policies.deserialize(3), ValueError, "'class_name'.*got 3"),
        (
            lambda: keras.dtype_policies.get({"class_name": "Adam", "config": {}}),
            ValueError,
            "the class must be one of .*'DTypePolicy'.*got 'Adam'",
        ),
        (
            lambda: keras.dtype_policies.get({"class_name": "DTypePolicyMap", "config": {}}),
            UnsupportedFeatureError,
            "DTypePolicyMap is not offered. Give each layer",
        ),
        (
            lambda: keras.config.set_dtype_policy("int8_from_float32"),
            UnsupportedFeatureError,
            "quantized policies are not offered; got 'int8_from_float32'.*torchao",
        ),
        (lambda: keras.config.set_dtype_policy(None), ValueError, "must be a name.*NoneType"),
        (lambda: keras.config.set_dtype_policy(torch.half), ValueError, "must be a name.*float16"),
        (lambda: layers.Dense(1, dtype="half_float"), ValueError, "Dense: `dtype`.*'half_float'"),
    ],
)
def test_what_is_no_policy_is_refused(make: Any, error: type, text: str) -> None:
    before = keras.config.dtype_policy()
    with pytest.raises(error, match=text):
        make()
    assert keras.config.dtype_policy() == before


# --- Layers -------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("policy", MIXED)
def test_every_layer_trains_in_float32_and_computes_in_16_bits(row: Row, policy: str) -> None:
    layer, x = row.make(dtype=policy), input_of(row)
    inputs = x.requires_grad_() if x.is_floating_point() else x
    outputs = layer(inputs, training=True)
    assert outputs.dtype is COMPUTE[policy]
    assert {p.dtype for p in layer.parameters()} <= {torch.float32}
    if not outputs.requires_grad:
        return
    outputs.float().square().mean().backward()
    trained = layer.trainable_weights
    assert {weight.grad.dtype for weight in trained} <= {torch.float32}
    if trained:
        keras.optimizers.SGD(0.01).apply([weight.grad for weight in trained], trained)
    assert all(weight.tensor.isfinite().all() for weight in layer.weights)
    assert not torch.is_autocast_enabled("cpu")
    assert from_the_start(layer)(x).isfinite().all()


class Scaled(layers.Layer):
    """Written for Keras: notes which dtypes it meets."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        self.exact = self.add_weight(shape=(), initializer="ones", autocast=False, name="exact")

    def call(self, inputs: Tensor) -> Tensor:
        self.seen = (
            inputs.dtype,
            (inputs * self.scale).dtype,
            (inputs @ self.scale).dtype,
            (inputs.float() @ torch.ones(inputs.shape[-1], 2)).dtype,
            self.scale.dtype,
            self.exact.dtype,
        )
        return self.head(inputs * self.scale)

    def head(self, scaled: Tensor) -> Tensor:
        return scaled


class ScaledInFloat32(Scaled):
    """Returns float32 on purpose."""

    def head(self, scaled: Tensor) -> Tensor:
        return scaled.float()


class Block(layers.Layer):
    """Holds a layer of torchseq, one of which has its own policy."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.first, self.last = layers.Dense(3), layers.Dense(2, dtype="float32")

    def call(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        self.hidden_dtype = hidden.dtype
        return self.last(hidden)


class TorchBlock(layers.Layer):
    """Holds a torch module, whose weights nobody but autocast can cast."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.linear = nn.Linear(4, 2)
        self.shift = nn.Parameter(torch.zeros(2))

    def call(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs) + self.shift


@pytest.mark.parametrize("policy", MIXED)
def test_a_users_layer_reads_its_weights_in_the_compute_dtype(policy: str) -> None:
    half, x = COMPUTE[policy], torch.rand(3, 4)
    layer = Scaled(dtype=policy)
    outputs = layer(x)
    name = str(half).removeprefix("torch.")
    assert layer.seen == (half, half, half, torch.float32, name, "float32")
    assert outputs.dtype is half
    outputs.sum().backward()
    assert layer.scale.grad.dtype is torch.float32
    assert (layer.scale.dtype, layer.get_weights()[0].dtype) == ("float32", np.float32)
    assert ScaledInFloat32(dtype=policy)(x).dtype is torch.float32
    assert layer.compute_output_shape((None, 4)) == (None, 4)


@pytest.mark.parametrize("policy", MIXED)
def test_what_holds_layers_leaves_the_dtype_to_them(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    half, x = COMPUTE[policy], torch.rand(3, 4)
    block = Block()
    assert block(x).dtype is torch.float32
    assert block.hidden_dtype is half
    assert block.compute_output_shape((None, 4)) == (None, 2)
    softmax = layers.Dense(2, "softmax", dtype="float32")
    assert keras.Sequential([layers.Dense(3), softmax])(x).dtype is torch.float32
    assert keras.Sequential([layers.Dense(3), keras.Sequential([softmax])])(x).dtype is (
        torch.float32
    )
    assert keras.Sequential([keras.Input((4,)), layers.Dense(3)])(x).dtype is half
    every_step = layers.TimeDistributed(layers.Dense(3, dtype="float32"))
    assert every_step(torch.rand(2, 3, 4)).dtype is half  # its `call` alone counts
    assert layers.Lambda(lambda inputs: inputs.float())(x).dtype is torch.float32
    assert layers.Lambda(lambda inputs: inputs @ inputs.T)(x).dtype is half
    assert not torch.is_autocast_enabled("cpu")


class Branches(keras.models.Model):
    """A model written as a class."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = layers.Dense(3), layers.Dense(2, dtype="float32")

    def call(self, inputs: Tensor) -> Tensor:
        return self.last(self.first(inputs))


@pytest.mark.parametrize("policy", MIXED)
def test_models_written_as_classes_leave_the_dtype_to_their_layers(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    model = Branches()
    assert model(torch.rand(3, 4)).dtype is torch.float32
    assert {weight.dtype for weight in model.weights} == {"float32"}


@pytest.mark.parametrize("policy", MIXED)
def test_torch_modules_in_a_layer_are_autocast(policy: str) -> None:
    layer = TorchBlock(dtype=policy)
    outputs = layer(torch.rand(3, 4))
    outputs.sum().backward()
    assert outputs.dtype is COMPUTE[policy]
    assert {param.grad.dtype for param in layer.parameters()} == {torch.float32}
    late = Scaled(dtype=policy)
    late(torch.rand(3, 4))
    late.extra = nn.Linear(4, 2)  # from now on autocast rules the layer
    late.head = lambda scaled: late.extra(scaled)
    assert late(torch.rand(3, 4)).dtype is COMPUTE[policy]


def test_the_first_layer_gets_the_inputs_unrounded() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.Sequential([keras.Input((2,)), layers.Rescaling(1.0, dtype="float32")])
    assert model(torch.full((1, 2), 1.001)).tolist() == torch.full((1, 2), 1.001).tolist()


def test_a_model_opens_one_region_for_all_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.Sequential([layers.Dense(4, "relu") for _ in range(5)])
    x = torch.rand(2, 4)
    model(x)
    opened: list[Any] = []
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda *a, **k: opened.append(a) or autocast(*a, **k))
    model(x)
    assert len(opened) == 1


def test_an_error_in_a_layer_ends_the_region() -> None:
    layer = Scaled(dtype="mixed_bfloat16")
    layer(torch.rand(2, 4))
    with pytest.raises(RuntimeError, match="must match the size"):
        layer(torch.rand(2, 3))
    assert layer.scale.dtype == "float32"
    assert layers.Dense(2)(torch.rand(2, 3)).dtype is torch.float32


def test_a_layer_without_autocast_takes_inputs_as_they_are() -> None:
    layer = layers.Dense(2, dtype="mixed_bfloat16", autocast=False)
    model = keras.Sequential([keras.Input((4,)), layer])
    assert model(torch.rand(3, 4)).dtype is torch.float32


# --- Training -----------------------------------------------------------------------------------


def classifier(policy: str) -> Any:
    keras.config.set_dtype_policy(policy)
    last = "float32" if policy in MIXED else None
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, "relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dense(3, "softmax", dtype=last),
        ]
    )


def classes(rng: np.random.Generator, count: int = 64) -> tuple[Any, Any]:
    y = rng.integers(0, 3, count)
    return rng.normal(size=(count, 8)).astype("float32") + 2 * y[:, None], y


@pytest.mark.parametrize("policy", [*MIXED, "float16", "bfloat16", "float64"])
def test_fit_evaluate_and_predict_work_in_each_policy(
    policy: str, rng: np.random.Generator
) -> None:
    model = classifier(policy)
    x, y = classes(rng)
    model.compile(
        keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    losses = model.fit(x, y, batch_size=16, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert {metric.dtype for metric in model.metrics} == {"float32"}
    kept = "float32" if policy in MIXED else policy
    assert {weight.dtype for weight in model.weights} == {kept}
    expected = {"float16": "float16", "float64": "float64"}.get(policy, "float32")
    for outputs in (model.predict(x, verbose=0), model.predict_on_batch(x)):
        assert outputs.dtype == expected
    assert np.isfinite(model.evaluate(x, y, verbose=0)).all()


def test_float16_scales_the_loss_where_compile_is_not_told_otherwise() -> None:
    model = classifier("mixed_float16")
    adam = keras.optimizers.Adam()
    model.compile(adam, "mse")
    assert type(model.optimizer) is keras.mixed_precision.LossScaleOptimizer
    assert model.optimizer.inner_optimizer is adam
    assert model.optimizer.name == "loss_scale_optimizer"
    assert model.get_compile_config()["optimizer"]["class_name"] == "Adam"
    own = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    model.compile(own, "mse")
    assert model.optimizer is own
    model.compile("adam", "mse", auto_scale_loss=False)
    assert type(model.optimizer) is keras.optimizers.Adam
    for policy in ("mixed_bfloat16", "float16", "float32"):
        model = classifier(policy)
        model.compile("adam", "mse")
        assert type(model.optimizer) is keras.optimizers.Adam


def test_optimizers_of_torch_cannot_scale_the_loss() -> None:
    model = classifier("mixed_float16")
    with pytest.raises(ValueError, match=r"'mixed_float16' the optimizer must be one of torchseq"):
        model.compile(torch.optim.SGD, "mse")
    model.compile(torch.optim.SGD, "mse", auto_scale_loss=False)


def test_float16_leaves_out_steps_that_overflow_and_goes_on(rng: np.random.Generator) -> None:
    model = classifier("mixed_float16")
    x, y = classes(rng)
    sgd = keras.optimizers.SGD(0.01)
    scaling = keras.optimizers.LossScaleOptimizer(sgd, initial_scale=2.0**40)
    model.compile(scaling, "sparse_categorical_crossentropy")
    before = model.get_weights()[0]
    model.train_on_batch(x, y)
    assert int(sgd.iterations) == 0
    np.testing.assert_array_equal(model.get_weights()[0], before)
    history = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert 0 < int(sgd.iterations) < 41
    assert scaling.dynamic_scale.numpy() < 2.0**40
    assert np.isfinite(history).all()
    assert history[-1] < history[0]


def test_small_gradients_survive_float16_by_scaling() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    moved = []
    for is_scaled in (True, False):
        model = keras.Sequential(
            [keras.Input((1,)), layers.Dense(1, kernel_initializer="ones", use_bias=False)]
        )
        model.compile(keras.optimizers.SGD(1e3), lambda y, z: z * 1e-8, auto_scale_loss=is_scaled)
        model.train_on_batch(np.ones((1, 1)), np.ones((1, 1)))
        moved.append(1 - float(model.get_weights()[0][0, 0]))
    assert moved[0] == pytest.approx(1e-5, rel=0.01)
    assert moved[1] == 0.0  # 1e-8 is zero in float16


def test_masks_reach_the_loss_through_the_change_of_dtype() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    x = np.array([[[1.0], [0.0]], [[1.0], [1.0]]], "float32")
    model = keras.Sequential(
        [keras.Input((2, 1)), layers.Masking(), layers.Dense(1, kernel_initializer="ones")]
    )
    model.compile("sgd", "mse")
    assert model.evaluate(x, np.full((2, 2, 1), 3.0), verbose=0) == pytest.approx(4.0)


def test_digits_are_learned_as_well_in_mixed_bfloat16() -> None:
    (x, y), (test_x, test_y) = keras.datasets.digits.load_data()
    x, test_x = (part[..., None].astype("float32") / part.max() for part in (x, test_x))
    accuracies = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy(policy)
        model = keras.Sequential(
            [
                keras.Input(x.shape[1:]),
                layers.Conv2D(16, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(10, "softmax", dtype="float32"),
            ]
        )
        model.compile(
            keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        model.fit(x, y, batch_size=64, epochs=6, verbose=0)
        accuracies.append(model.evaluate(test_x, test_y, verbose=0)[1])
    assert accuracies[0] > 0.9
    assert abs(accuracies[1] - accuracies[0]) < 0.02  # of a few hundred images


@pytest.mark.parametrize("suffix", ["safetensors", "keras"])
@pytest.mark.parametrize("policy", [*MIXED, "float16", "bfloat16", "float64"])
def test_files_keep_policies_and_the_loss_scale(
    policy: str, suffix: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = classifier(policy)
    x, y = classes(rng)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=1, verbose=0)
    model.save(tmp_path / f"model.{suffix}")
    keras.config.set_dtype_policy("float32")
    loaded = keras.models.load_model(tmp_path / f"model.{suffix}")
    assert loaded.dtype_policy == model.dtype_policy
    assert [layer.dtype_policy.name for layer in loaded.layers] == [
        layer.dtype_policy.name for layer in model.layers
    ]
    assert [weight.dtype for weight in loaded.weights] == [w.dtype for w in model.weights]
    assert type(loaded.optimizer) is type(model.optimizer)
    for one, other in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
