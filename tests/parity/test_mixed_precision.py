"""Dtype policies against live Keras: dtypes of outputs and weights, losses, configs, files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks
from tests.layers.test_every_layer import EACH, Row, input_of

BOTH = (torchseq, keras)
MIXED = ("mixed_bfloat16", "mixed_float16")
POLICIES = (*MIXED, "float16", "bfloat16", "float64")
# What Keras's torch backend cannot do: part of the layer's config, or of the error.
KERAS_FAILS = ("avg_pool3d_out_frame", "Lanczos", "normalized_shape")


@pytest.fixture(autouse=True)
def default_policies() -> Iterator[None]:
    """Puts the default policies back."""
    yield
    set_policies("float32")


def set_policies(name: str) -> None:
    for library in BOTH:
        library.config.set_dtype_policy(name)


@EACH
@pytest.mark.parametrize("policy", MIXED)
def test_outputs_and_weights_have_keras_dtypes(row: Row, policy: str) -> None:
    if row.own_dtype:
        pytest.skip("its module decides")
    set_policies(policy)
    ours, x = row.make(), input_of(row)
    if type(ours).__name__ == "Lambda":
        pytest.skip("compared below")
    config = checks.as_json(ours.get_config())
    if config["dtype"] == "float32":  # SpatialDropout's config, as Keras's, forgets the policy
        del config["dtype"]
    theirs = getattr(keras.layers, type(ours).__name__).from_config(config)
    try:
        expected = theirs(x.numpy())
    except Exception as error:
        if any(text in str(error) for text in KERAS_FAILS):
            pytest.skip("Keras fails here")
        raise
    assert ours(x).dtype == expected.dtype
    assert [w.dtype for w in ours.weights] == [w.dtype for w in theirs.weights]
    assert ours.compute_dtype == theirs.compute_dtype


def own_layers(library: Any) -> list[Any]:
    """Layers that a user writes, of either library's base class."""

    class Scaled(library.layers.Layer):  # type: ignore[misc,name-defined]
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")
            self.exact = self.add_weight(shape=(), initializer="ones", autocast=False)

        def call(self, inputs: Any) -> Any:
            self.seen = [
                each.dtype
                for each in (
                    inputs,
                    inputs * self.scale,
                    inputs * self.exact,
                    torch.softmax(inputs, -1),
                    inputs.float() @ torch.ones(4, 2),
                )
            ]
            self.seen += [self.scale.dtype, self.exact.dtype]
            return inputs * self.scale

    class InFloat32(Scaled):
        def call(self, inputs: Any) -> Any:
            return super().call(inputs).float()

    class Block(library.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self, **options: Any):
            super().__init__(**options)
            self.first = library.layers.Dense(3)
            self.last = library.layers.Dense(2, dtype="float32")

        def call(self, inputs: Any) -> Any:
            hidden = self.first(inputs)
            self.seen = [hidden.dtype]
            return self.last(hidden)

    return [Scaled(), InFloat32(), Block()]


@pytest.mark.parametrize("policy", POLICIES)
def test_users_layers_meet_the_dtypes_they_meet_in_keras(policy: str) -> None:
    set_policies(policy)
    x = np.ones((2, 4), "float32")
    for one, other in zip(*map(own_layers, BOTH), strict=True):
        assert one(x).dtype == other(x).dtype
        assert one.seen == other.seen


COMPOSITES: dict[str, Any] = {
    "model": lambda k: k.Sequential([k.Input((3, 4)), k.layers.Dense(2)]),
    "model ending in float32": lambda k: k.Sequential(
        [k.Input((3, 4)), k.layers.Dense(2), k.layers.Dense(2, "softmax", dtype="float32")]
    ),
    "model in a model": lambda k: k.Sequential(
        [k.layers.Dense(2), k.Sequential([k.layers.Dense(2, dtype="float32")])]
    ),
    "TimeDistributed": lambda k: k.layers.TimeDistributed(k.layers.Dense(2, dtype="float32")),
    "Bidirectional": lambda k: k.layers.Bidirectional(k.layers.LSTM(2, dtype="float32")),
    "Bidirectional in float32": lambda k: k.layers.Bidirectional(k.layers.GRU(2), dtype="float32"),
    "RNN": lambda k: k.layers.RNN(k.layers.LSTMCell(2, dtype="float32")),
    "RNN in float32": lambda k: k.layers.RNN(k.layers.LSTMCell(2), dtype="float32"),
    "Spectral": lambda k: k.layers.SpectralNormalization(k.layers.Dense(2, dtype="float32")),
    "Lambda": lambda k: k.layers.Lambda(lambda x: x * 2),
    "Lambda to float32": lambda k: k.layers.Lambda(lambda x: x.float()),
    "Lambda to float64": lambda k: k.layers.Lambda(lambda x: x.double()),
    "autocast=False": lambda k: k.layers.Dense(2, autocast=False),
}


@pytest.mark.parametrize("policy", MIXED)
@pytest.mark.parametrize("name", COMPOSITES)
def test_what_holds_layers_has_keras_dtypes(name: str, policy: str) -> None:
    set_policies(policy)
    x = np.ones((2, 3, 4), "float32")
    ours, theirs = (COMPOSITES[name](library) for library in BOTH)
    assert ours(x).dtype == theirs(x).dtype


@pytest.mark.parametrize("policy", MIXED)
def test_integers_are_taken_as_in_keras(policy: str) -> None:
    set_policies(policy)
    for dtype in ("uint8", "int32", "int64"):
        x = np.ones((2, 2), dtype)
        for name, options in (
            ("Dense", {"units": 2}),
            ("Embedding", {"input_dim": 3, "output_dim": 2}),
            ("Rescaling", {"scale": 0.5}),
            ("BatchNormalization", {}),
            ("Flatten", {}),
            ("Dropout", {"rate": 0.5}),
        ):
            one, other = (getattr(library.layers, name)(**options) for library in BOTH)
            assert one(x).dtype == other(x).dtype, (name, dtype)


@pytest.mark.parametrize("form", [*POLICIES, None, "int32", "foo", 3, torch.float16, np.float16])
def test_policies_are_understood_as_in_keras(form: Any) -> None:
    def tried(function: Any) -> Any:
        try:
            return repr(function(form))
        except (TypeError, ValueError) as error:
            return type(error)

    for find in (
        lambda library: library.DTypePolicy,
        lambda library: library.FloatDTypePolicy,
        lambda library: library.dtype_policies.get,
        lambda library: library.config.set_dtype_policy,
        lambda library: lambda dtype: library.layers.Dense(2, dtype=dtype).dtype_policy,
    ):
        one, other = (tried(find(library)) for library in BOTH)
        assert one == other
    found = [library.config.dtype_policy() for library in BOTH]
    assert repr(found[0]) == repr(found[1])
    one, other = (
        library.dtype_policies.serialize(policy)
        for library, policy in zip(BOTH, found, strict=True)
    )
    assert one == other
    assert torchseq.dtype_policies.deserialize(other) == found[0]


def classifier(library: Any, policy: str) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            library.Input((6,)),
            layers.Dense(8, "relu", kernel_regularizer="l2", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(3, "softmax", dtype="float32" if policy in MIXED else None, name="last"),
        ],
        name="classifier",
    )


def trained_pair(policy: str, rng: np.random.Generator, **compiling: Any) -> list[Any]:
    set_policies(policy)
    x = rng.normal(size=(64, 6)).astype("float32")
    y = rng.integers(0, 3, 64)
    theirs, ours = classifier(keras, policy), classifier(torchseq, policy)
    ours.set_weights([checks.numpy_of(weight.value).copy() for weight in theirs.weights])
    pair = []
    for library, model in ((torchseq, ours), (keras, theirs)):
        library.utils.clear_session()  # names of optimizers start again
        library.config.set_dtype_policy(policy)
        model.compile(
            library.optimizers.SGD(0.05),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            **compiling,
        )
        history = model.fit(x, y, batch_size=16, shuffle=False, verbose=0).history
        pair.append((model, history, model.predict(x, verbose=0)))
    return pair


@pytest.mark.parametrize("policy", POLICIES)
def test_models_train_as_in_keras(policy: str, rng: np.random.Generator) -> None:
    (ours, history, outputs), (theirs, expected, their_outputs) = trained_pair(policy, rng)
    tolerance = {"float64": 1e-6, "float16": 0.02, "bfloat16": 0.05}.get(policy, 0.02)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=tolerance)
    assert type(ours.optimizer).__name__ == type(theirs.optimizer).__name__
    facts = [
        [(v.path, v.dtype, tuple(v.shape)) for v in model.optimizer.variables]
        for model in (ours, theirs)
    ]
    assert facts[0] == facts[1]
    checks.assert_same_weights(ours, theirs)
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        assert one.value.dtype == other.value.dtype
        absolute = 1e-6 if policy == "float64" else 0.05
        checks.assert_close(one.value, other.value, tolerance, absolute)
    numpys = "float32" if policy == "bfloat16" else their_outputs.dtype  # NumPy has no bfloat16
    assert outputs.dtype == numpys
    assert checks.as_json(ours.get_config()) == checks.as_json(theirs.get_config())
    configs = [checks.as_json(model.get_compile_config()) for model in (ours, theirs)]
    assert configs[0]["optimizer"]["config"] == configs[1]["optimizer"]["config"]
    assert configs[0].keys() == configs[1].keys()
    assert [metric.dtype for metric in ours.metrics] == [m.dtype for m in theirs.metrics[:1]] * 2


@pytest.mark.parametrize("is_scaled", [True, False])
def test_float16_scales_the_loss_as_in_keras(is_scaled: bool, rng: np.random.Generator) -> None:
    pair = trained_pair("mixed_float16", rng, auto_scale_loss=is_scaled)
    (ours, _, _), (theirs, _, _) = pair
    assert set(ours.optimizer.get_config()) == set(theirs.optimizer.get_config())
    values = [
        [float(v.numpy()) if model is ours else float(v.value) for v in model.optimizer.variables]
        for model in (ours, theirs)
    ]
    assert values[0] == pytest.approx(values[1])
    assert int(ours.optimizer.iterations) == int(theirs.optimizer.iterations) == 4


@pytest.mark.parametrize("policy", POLICIES)
def test_summaries_and_shapes_equal_keras(policy: str) -> None:
    set_policies(policy)
    texts = []
    for library in BOTH:
        lines: list[str] = []
        classifier(library, policy).summary(print_fn=lambda text, *a, **k: lines.append(text))  # noqa: B023
        texts.append("\n".join(lines))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("policy", [*MIXED, "bfloat16"])
@pytest.mark.parametrize("direction", ["from Keras", "to Keras"])
def test_keras_files_keep_policies(
    policy: str, direction: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    (ours, _, _), (theirs, _, _) = trained_pair(policy, rng)
    path = tmp_path / "model.keras"
    saver, library = (theirs, torchseq) if direction == "from Keras" else (ours, keras)
    saver.save(path)
    if library is torchseq:  # Keras needs the policy again: it forgets that of a model
        set_policies("float32")
    loaded = library.models.load_model(path)
    for one, other in zip(loaded.layers, saver.layers, strict=True):
        assert one.dtype_policy.name == other.dtype_policy.name
    for one, other in zip(loaded.weights, saver.weights, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(
            checks.numpy_of(one.value.detach()), checks.numpy_of(other.value.detach())
        )
    assert loaded.dtype_policy.name == policy
    assert type(loaded.optimizer).__name__ == type(saver.optimizer).__name__
    assert int(loaded.optimizer.iterations) == 4
