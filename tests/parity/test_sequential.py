"""Sequential models do, say and look as Keras's."""

import json
import warnings
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks

BOTH = (torchseq, keras)


def text_of(model: Any, **options: Any) -> str:
    lines: list[str] = []
    model.summary(print_fn=lines.append, **options)
    return "\n".join(lines)


def assert_same_model(ours: Any, theirs: Any) -> None:
    """All that can be asked of a model without running it is the same."""
    assert ours.built == theirs.built
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    for name in ("input_shape", "output_shape"):
        assert getattr(ours, name, "none") == getattr(theirs, name, "none")
    assert [tensor.shape for tensor in getattr(ours, "inputs", [])] == [
        tensor.shape for tensor in getattr(theirs, "inputs", [])
    ]
    assert [tensor.shape for tensor in getattr(ours, "outputs", [])] == [
        tensor.shape for tensor in getattr(theirs, "outputs", [])
    ]
    if ours.built:
        checks.assert_same_weights(ours, theirs)
    if len(set(ours.layers)) == len(ours.layers):  # Keras forgets that a layer comes twice
        assert checks.as_json(ours.get_config()) == checks.as_json(theirs.get_config())
    for options in ({}, {"expand_nested": True, "show_trainable": True}):
        assert text_of(ours, **options) == text_of(theirs, **options)


def both(make: Any) -> tuple[Any, Any]:
    """The same model of both libraries, ours with Keras's weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns about input_shape
        ours, theirs = (make(library) for library in BOTH)
    if theirs.built:
        ours.set_weights(theirs.get_weights())
    return ours, theirs


def mlp(library: Any) -> Any:
    dense = library.layers.Dense
    return library.Sequential([library.Input((6,)), dense(5, "relu"), dense(3, "softmax")])


def convnet(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            library.Input((11, 10, 2)),
            layers.Conv2D(4, 3, padding="same", strides=2, activation="relu"),
            layers.MaxPooling2D(padding="same"),
            layers.Dropout(0.5),
            layers.Reshape((-1, 4)),
            layers.Activation("tanh"),
            layers.Flatten(),
            layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l2"),
        ],
        name="convnet",
    )


def nested(library: Any) -> Any:
    layers = library.layers
    inner = library.Sequential([library.Input((5,)), layers.Dense(4), layers.Dense(4)], name="in")
    deferred = library.Sequential([layers.Dense(2), library.Sequential([layers.Dense(3)])])
    return library.Sequential([library.Input((6,)), layers.Dense(5), inner, deferred])


def nested_first(library: Any) -> Any:
    layers = library.layers
    inner = library.Sequential([library.Input((5,)), layers.Dense(4)])
    return library.Sequential([inner, layers.Dense(2)])


def nested_alone(library: Any) -> Any:
    inner = library.Sequential([library.Input((5,)), library.layers.Dense(4)])
    return library.Sequential([inner])


def unbuilt(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            layers.Dense(6),
            layers.Dropout(0.1),
            layers.Reshape((6, 1)),
            layers.Flatten(),
            library.Sequential([library.Input((6,)), layers.Dense(3)]),
        ]
    )


def empty(library: Any) -> Any:
    return library.Sequential()


def input_alone(library: Any) -> Any:
    return library.Sequential([library.Input((3,))])


def from_input_shape(library: Any) -> Any:
    return library.Sequential([library.layers.Dense(3, input_shape=(4,)), library.layers.Dense(2)])


def from_input_dim(library: Any) -> Any:
    return library.Sequential([library.layers.Dense(3, input_dim=4), library.layers.Dense(2)])


def with_batch_size(library: Any) -> Any:
    return library.Sequential([library.Input((4,), batch_size=3), library.layers.Dense(2)])


def with_unknown_sizes(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [library.Input((None, None, 3)), layers.Conv2D(2, 3), layers.MaxPooling2D()]
    )


def with_integers(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [library.Input((4,), dtype="uint8"), layers.Flatten(), layers.Dense(2)]
    )


def frozen_layer(library: Any) -> Any:
    dense = library.layers.Dense
    return library.Sequential([library.Input((4,)), dense(3, trainable=False), dense(2)])


def frozen_model(library: Any) -> Any:
    model = nested(library)
    model.trainable = False
    return model


def frozen_by_argument(library: Any) -> Any:
    dense = library.layers.Dense
    return library.Sequential([library.Input((4,)), dense(3), dense(2)], trainable=False)


def thawed_layer(library: Any) -> Any:
    model = frozen_model(library)
    model.layers[0].trainable = True
    return model


def thawed_model(library: Any) -> Any:
    model = frozen_by_argument(library)
    model.trainable = True
    return model


def frozen_before_building(library: Any) -> Any:
    model = unbuilt(library)
    model.layers[0].trainable = False
    model.layers[-1].trainable = False
    model.build((None, 5))
    return model


def mixed_policies(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            library.Input((4,)),
            layers.Dense(3, dtype="mixed_bfloat16"),
            layers.Dense(3, dtype="mixed_bfloat16", activation="softmax"),
            layers.Dense(2, dtype="float32"),
        ]
    )


def shared_layer(library: Any) -> Any:
    dense = library.layers.Dense(4)
    return library.Sequential([library.Input((4,)), dense, library.layers.Flatten(), dense])


MODELS = (
    mlp, convnet, nested, nested_first, nested_alone, unbuilt, empty, input_alone, from_input_shape,
    from_input_dim, with_batch_size, with_unknown_sizes, with_integers, frozen_layer, frozen_model,
    frozen_by_argument, thawed_layer, thawed_model, frozen_before_building, mixed_policies,
    shared_layer,
)  # fmt: skip
BUILT = tuple(make for make in MODELS if make not in (unbuilt, empty, input_alone, nested_alone))
MANY = pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
MANY_BUILT = pytest.mark.parametrize("make", BUILT, ids=lambda make: make.__name__)


def data_for(model: Any, rng: np.random.Generator) -> np.ndarray:
    sizes = [3, *(12 if size is None else size for size in model.input_shape[1:])]
    return rng.normal(size=sizes).astype("float32")


@MANY
def test_models_equal_keras(make: Any) -> None:
    assert_same_model(*both(make))


@MANY_BUILT
def test_outputs_gradients_and_losses_equal_keras(make: Any, rng: np.random.Generator) -> None:
    ours, theirs = both(make)
    x = data_for(theirs, rng)
    loose = 0.05 if make is mixed_policies else checks.ABSOLUTE
    found = checks.outputs_and_gradients(ours, x)
    expected = checks.outputs_and_gradients(theirs, x)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        checks.assert_close(one, other, absolute=loose)
    assert found[0].dtype == expected[0].dtype
    for one, other in zip(ours.losses, theirs.losses, strict=True):
        checks.assert_close(one, other, absolute=loose)


@MANY
def test_keras_reads_our_config_and_we_read_its(make: Any) -> None:
    ours, theirs = both(make)
    if make is shared_layer:
        again = torchseq.Sequential.from_config(checks.as_json(ours.get_config()))
        assert again.layers[0] is again.layers[2]
        return
    again = torchseq.Sequential.from_config(checks.as_json(theirs.get_config()))
    assert checks.as_json(again.get_config()) == checks.as_json(ours.get_config())
    keras_again = keras.Sequential.from_config(checks.as_json(ours.get_config()))
    expected = keras.Sequential.from_config(checks.as_json(theirs.get_config()))
    assert keras_again.get_config() == expected.get_config()
    assert checks.as_json(again.to_json()) == checks.as_json(ours.to_json())


@pytest.mark.parametrize("make", [make for make in BUILT if make is not shared_layer])
def test_json_equals_keras(make: Any) -> None:
    ours, theirs = both(make)
    assert json.loads(ours.to_json()) == json.loads(theirs.to_json())
    for model in (ours, theirs):
        model.compile("adam", "mse", metrics=["mae"])
    found, expected = json.loads(ours.to_json()), json.loads(theirs.to_json())
    assert found.keys() == expected.keys()
    assert found["config"] == expected["config"]


def test_building_step_by_step_equals_keras() -> None:
    models = [library.Sequential(name="grown") for library in BOTH]

    def each(change: Any) -> None:
        for model, library in zip(models, BOTH, strict=True):
            change(model, library)
        assert_same_model(*models)

    each(lambda model, library: model.add(library.Input((4,))))
    each(lambda model, library: model.add(library.layers.Dense(3)))
    each(lambda model, library: model.add(library.layers.Dense(2, name="two")))
    each(lambda model, library: model.pop())
    each(lambda model, library: model.add(library.layers.Dense(5), rebuild=False))
    each(lambda model, library: model.build((None, 4)))
    each(lambda model, library: model.pop(rebuild=False))
    each(lambda model, library: model.add(library.layers.Flatten()))
    each(lambda model, library: model.pop())
    each(lambda model, library: model.pop())


def test_deferred_building_equals_keras(rng: np.random.Generator) -> None:
    models = [unbuilt(library) for library in BOTH]
    with pytest.raises(AttributeError, match="has no defined"):
        models[0].output_shape  # noqa: B018
    models = [
        library.Sequential([library.layers.Dense(3), library.layers.Dense(2)]) for library in BOTH
    ]
    x = rng.normal(size=(4, 7)).astype("float32")
    for model in models:
        model(x)
    assert_same_model(*models)
    models[0].set_weights(models[1].get_weights())
    checks.assert_close(models[0](x[:2]), models[1](x[:2]))
    for model, library in zip(models, BOTH, strict=True):
        model.add(library.layers.Dense(3))
    assert_same_model(*models)


def test_fit_on_an_unbuilt_model_builds_the_same(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, 5)).astype("float32"), np.zeros((8, 3), "float32")
    models = [library.Sequential([library.layers.Dense(3)]) for library in BOTH]
    for model in models:
        model.compile("adam", "mse")
        model.fit(x, y, batch_size=4, verbose=0)
    assert models[0].input_shape[1:] == models[1].input_shape[1:]
    assert text_of(models[0]).replace("(8,", "(4,") == text_of(models[1])


@MANY_BUILT
def test_summary_after_fit_equals_keras(make: Any, rng: np.random.Generator) -> None:
    ours, theirs = both(make)
    x = data_for(theirs, rng)
    for model in (ours, theirs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some have nothing to train
            model.compile("adam", "mse")
            y = np.zeros(model(x).shape, "float32")
            model.fit(x, y, verbose=0)
    assert text_of(ours) == text_of(theirs)
    if ours.trainable_weights and make is not convnet and make is not mixed_policies:
        for one, other in zip(ours.weights, theirs.weights, strict=True):
            checks.assert_close(one.value, other.value, 1e-3, 1e-4)


@pytest.mark.parametrize("shape", [(4, 3, 1), (4, 3)])
def test_inputs_of_another_rank_are_squeezed_as_in_keras(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    x = rng.normal(size=shape).astype("float32")
    for declared in ((3,), (3, 1)):

        def make(library: Any, declared: tuple[int, ...] = declared) -> Any:
            layers = library.layers
            return library.Sequential([library.Input(declared), layers.Flatten(), layers.Dense(2)])

        ours, theirs = both(make)
        checks.assert_close(ours(x), theirs(x))
    scalar_ours, scalar_theirs = both(
        lambda library: library.Sequential([library.Input((1,)), library.layers.Dense(2)])
    )
    checks.assert_close(
        scalar_ours(x[:, 0, 0] if x.ndim > 2 else x[:, 0]),
        scalar_theirs(x[:, 0, 0] if x.ndim > 2 else x[:, 0]),
    )


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64", "float16", "bool"])
def test_inputs_of_any_dtype_are_cast_as_in_keras(dtype: str, rng: np.random.Generator) -> None:
    for make in (mlp, with_integers, convnet):
        ours, theirs = both(make)
        x = (rng.uniform(0, 9, (2, *theirs.input_shape[1:]))).astype(dtype)
        found, expected = ours(x), theirs(x)
        assert found.dtype == expected.dtype
        checks.assert_close(found, expected, 1e-3, 1e-3)


def test_layers_are_found_as_in_keras() -> None:
    ours, theirs = both(nested)
    for model in (ours, theirs):
        assert model.get_layer("in") is model.layers[1]
        assert model.get_layer(index=0) is model.layers[0]
        assert model.get_layer(name="in").name == "in"
        for arguments in ({}, {"name": "in", "index": 1}, {"name": "out"}, {"index": 7}):
            with pytest.raises(ValueError, match="(?i)layer"):
                model.get_layer(**arguments)


def make_double(library: Any) -> Any:
    """A composite layer without build, as users write them."""

    class Double(library.layers.Layer):
        def __init__(self, units: int, **options: Any):
            super().__init__(**options)
            self.units = units
            self.first = library.layers.Dense(units)
            self.rest = [library.layers.Dense(units), library.layers.Dense(2)]

        def call(self, inputs: Any) -> Any:
            outputs = self.first(inputs)
            for layer in self.rest:
                outputs = layer(outputs)
            return outputs

    return Double(5, name="double")


def test_composite_layers_name_and_order_their_weights_as_in_keras(
    rng: np.random.Generator,
) -> None:
    x = rng.normal(size=(3, 4)).astype("float32")
    ours, theirs = make_double(torchseq), make_double(keras)
    ours(x), theirs(x)
    checks.assert_same_weights(ours, theirs)
    for shape in ((4,), (None, 4)):
        ours = torchseq.Sequential([torchseq.Input(shape), make_double(torchseq)])
        theirs = keras.Sequential([keras.Input(shape), make_double(keras)])
        assert (ours.built, ours.output_shape) == (theirs.built, theirs.output_shape)
        checks.assert_same_weights(ours, theirs)
        assert text_of(ours) == text_of(theirs)
        ours.set_weights(theirs.get_weights())
    x = rng.normal(size=(3, 6, 4)).astype("float32")
    checks.assert_close(ours(x), theirs(x))


def test_losses_are_of_the_last_call_as_in_keras(rng: np.random.Generator) -> None:
    ours, theirs = both(convnet)
    x = data_for(theirs, rng)
    for model in (ours, theirs):
        model(x)
        model(x)
        model.layers[-1](torch.ones(2, 12 * 3))
        model.layers[-1](torch.ones(2, 12 * 3))
    assert len(ours.losses) == len(theirs.losses) == 2
    for one, other in zip(ours.losses, theirs.losses, strict=True):
        checks.assert_close(one, other)
