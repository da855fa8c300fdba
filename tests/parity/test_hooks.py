"""Overridden training, testing and prediction: the same scripts run on Keras and here."""

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks

Array = np.ndarray[Any, Any]
Library = Any
Script = Callable[[Library], Any]


def data(rows: int = 50) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, 6)).astype("float32")
    return x, (x @ rng.normal(size=(6, 1))).astype("float32")


def start(library: Library, model: Any, shape: tuple[int | None, ...] = (None, 6)) -> Any:
    """Builds a model and gives it weights that depend on their shapes alone."""
    model(torch.zeros([size or 2 for size in shape]))
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(size=w.shape) * 0.4 for w in model.get_weights()])
    return model


def assert_same_histories(script: Script, tolerance: float = 1e-5) -> None:
    ours, theirs = script(torchseq), script(keras)
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=tolerance, atol=1e-6, err_msg=name)


# --- the steps ----------------------------------------------------------------------------------


def first_guide_step(library: Library) -> Any:
    """A step by hand over the compiled loss and metrics."""

    class Custom(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = library.layers.Dense(4, activation="tanh")
            self.head = library.layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            return self.head(self.hidden(inputs))

        def train_step(self, data: Any) -> Any:
            x, y = data[:2]
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
            self.zero_grad()
            loss.backward()
            weights = list(self.trainable_weights)
            gradients = [weight.value.grad for weight in weights]
            with torch.no_grad():
                self.optimizer.apply(gradients, weights)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics if m.name != "compile_metrics"}

    return Custom()


def own_trackers(library: Library) -> Any:
    """Losses and metrics kept as attributes, with compile knowing of none."""

    class Custom(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = library.layers.Dense(4, activation="tanh")
            self.head = library.layers.Dense(1)
            self.loss_tracker = library.metrics.Mean(name="loss")
            self.error = library.metrics.MeanAbsoluteError(name="mae")
            self.loss_function = library.losses.MeanSquaredError()

        def call(self, inputs: Any) -> Any:
            return self.head(self.hidden(inputs))

        def train_step(self, data: Any) -> Any:
            x, y, _ = library.utils.unpack_x_y_sample_weight(data)
            y_pred = self(x, training=True)
            loss = self.loss_function(y, y_pred)
            self.zero_grad()
            loss.backward()
            weights = list(self.trainable_weights)
            with torch.no_grad():
                self.optimizer.apply([weight.value.grad for weight in weights], weights)
            return self._noted(loss, y, y_pred)

        def test_step(self, data: Any) -> Any:
            x, y, _ = library.utils.unpack_x_y_sample_weight(data)
            y_pred = self(x, training=False)
            return self._noted(self.loss_function(y, y_pred), y, y_pred)

        def _noted(self, loss: Any, y: Any, y_pred: Any) -> Any:
            self.loss_tracker.update_state(loss)
            self.error.update_state(y, y_pred)
            return {"loss": self.loss_tracker.result(), "mae": self.error.result()}

        @property
        def metrics(self) -> Any:
            return [self.loss_tracker, self.error]

    return Custom()


def weighted_step(library: Library) -> Any:
    """A step in a Sequential subclass that hands sample weights on."""

    class Custom(library.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y, weight = library.utils.unpack_x_y_sample_weight(data)
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=weight)
            self.zero_grad()
            loss.backward()
            weights = list(self.trainable_weights)
            with torch.no_grad():
                self.optimizer.apply([weight.value.grad for weight in weights], weights)
            return {"loss": loss, "twice": 2 * loss.detach(), "constant": 3}

    return Custom([library.layers.Dense(4), library.layers.Dense(1)])


def own_loss(library: Library) -> Any:
    """`compute_loss` as before Keras 3.3, without `training`, on top of the compiled one."""

    class Custom(library.Sequential):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
        ) -> Any:
            compiled = super().compute_loss(x, y, y_pred, sample_weight)
            return compiled + 0.1 * torch.mean(x) ** 2 + torch.mean(torch.abs(y_pred))

    return Custom([library.layers.Dense(4, kernel_regularizer="l2"), library.layers.Dense(1)])


def own_metrics(library: Library) -> Any:
    """`compute_metrics` that adds to the compiled ones."""

    class Custom(library.Sequential):
        def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            results = super().compute_metrics(x, y, y_pred, sample_weight)
            return {**results, "largest": torch.max(torch.abs(y_pred)).detach()}

    return Custom([library.layers.Dense(4), library.layers.Dense(1)])


def metric_in_a_layer(library: Library) -> Any:
    """Nothing is overridden; a layer reports by a metric that it has."""

    class Noting(library.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.size = library.metrics.Mean(name="size")

        def call(self, inputs: Any) -> Any:
            self.size.update_state(torch.mean(torch.abs(inputs.detach())))
            return inputs

    return library.Sequential([library.layers.Dense(4), Noting(), library.layers.Dense(1)])


def loss_added_by_the_model(library: Library) -> Any:
    class Custom(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.head = library.layers.Dense(1, activity_regularizer="l2")

        def call(self, inputs: Any) -> Any:
            outputs = self.head(inputs)
            self.add_loss(0.1 * torch.mean(outputs**2))
            return outputs

    return Custom()


def super_step(library: Library) -> Any:
    """A step around Keras's own."""

    class Custom(library.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data[:2]
            return super().train_step((x, 2 * y))

        def test_step(self, data: Any) -> Any:
            return {**super().test_step(data), "seen": 1.0}

    return Custom([library.layers.Dense(4), library.layers.Dense(1)])


MODELS = [
    first_guide_step,
    own_trackers,
    own_loss,
    own_metrics,
    metric_in_a_layer,
    loss_added_by_the_model,
    super_step,
]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_histories_equal_keras(make: Script, optimizer: str) -> None:
    def script(library: Library) -> Any:
        model = start(library, make(library))
        compiled = {} if make is own_trackers else {"loss": "mse"}
        if make not in (own_trackers, first_guide_step):
            compiled["metrics"] = ["mae"]
        model.compile(getattr(library.optimizers, optimizer)(0.01), **compiled)
        x, y = data()
        options = {"batch_size": 16, "shuffle": False, "verbose": 0}
        validation = {} if make is first_guide_step else {"validation_data": (x[:20], y[:20])}
        history = dict(model.fit(x, y, epochs=3, **validation, **options).history)
        if make is not first_guide_step:
            measured = model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
            history.update({f"evaluate_{key}": value for key, value in measured.items()})
            history["listed"] = model.evaluate(x, y, batch_size=16, verbose=0)
        history["on_batch"] = model.train_on_batch(torch.tensor(x[:8]), torch.tensor(y[:8]))
        history["predicted"] = model.predict(x, verbose=0)
        for index, weight in enumerate(model.get_weights()):
            history[f"weight_{index}"] = weight
        return history

    assert_same_histories(script)


def test_sample_weights_reach_the_step_and_plain_values_the_history() -> None:
    def script(library: Library) -> Any:
        model = start(library, weighted_step(library))
        model.compile("sgd", "mse")
        x, y = data()
        weights = np.linspace(0, 2, len(x)).astype("float32")
        options = {"batch_size": 16, "shuffle": False, "verbose": 0, "epochs": 2}
        return model.fit(x, y, sample_weight=weights, **options).history

    assert_same_histories(script)


def test_own_prediction_equals_keras() -> None:
    def script(library: Library) -> Any:
        class Custom(library.Sequential):
            def predict_step(self, data: Any) -> Any:
                x, _, _ = library.utils.unpack_x_y_sample_weight(data)
                return {"sign": torch.sign(self(x, training=False)), "input": x}

        layers = [library.layers.Dense(4), library.layers.Dense(1)]
        model = start(library, Custom(layers))
        x, _ = data()
        return {
            **model.predict(x, batch_size=16, verbose=0),
            **{f"one_{key}": value for key, value in model.predict(x[:1], verbose=0).items()},
            **{f"batch_{key}": value for key, value in model.predict_on_batch(x[:3]).items()},
        }

    assert_same_histories(script)


# --- the GAN of the guide, and older ones -------------------------------------------------------


def guide_gan(library: Library) -> Any:
    class Gan(library.Model):
        def __init__(self, discriminator: Any, generator: Any) -> None:
            super().__init__()
            self.discriminator = discriminator
            self.generator = generator
            self.d_loss_tracker = library.metrics.Mean(name="d_loss")
            self.g_loss_tracker = library.metrics.Mean(name="g_loss")
            self.built = True

        @property
        def metrics(self) -> Any:
            return [self.d_loss_tracker, self.g_loss_tracker]

        def compile(self, d_optimizer: Any, g_optimizer: Any, loss_fn: Any) -> None:
            super().compile()
            self.d_optimizer = d_optimizer
            self.g_optimizer = g_optimizer
            self.loss_fn = loss_fn

        def train_step(self, real: Any) -> Any:
            if isinstance(real, tuple | list):
                real = real[0]
            noise = torch.cos(torch.arange(len(real) * 3.0)).reshape(-1, 3)
            mixed = torch.cat([self.generator(noise), real])
            labels = torch.cat([torch.ones(len(real), 1), torch.zeros(len(real), 1)])
            self.zero_grad()
            d_loss = self.loss_fn(labels, self.discriminator(mixed))
            d_loss.backward()
            self._apply(self.d_optimizer, self.discriminator)
            self.zero_grad()
            fooled = self.discriminator(self.generator(noise))
            g_loss = self.loss_fn(torch.zeros(len(real), 1), fooled)
            g_loss.backward()
            self._apply(self.g_optimizer, self.generator)
            self.d_loss_tracker.update_state(d_loss)
            self.g_loss_tracker.update_state(g_loss)
            return {metric.name: metric.result() for metric in self.metrics}

        @staticmethod
        def _apply(optimizer: Any, part: Any) -> None:
            weights = list(part.trainable_weights)
            with torch.no_grad():
                optimizer.apply([weight.value.grad for weight in weights], weights)

    discriminator = library.Sequential([library.layers.Dense(5, "tanh"), library.layers.Dense(1)])
    generator = library.Sequential([library.layers.Dense(6)])
    return Gan(start(library, discriminator), start(library, generator, (None, 3)))


def test_gan_of_the_guide_equals_keras() -> None:
    def script(library: Library) -> Any:
        model = guide_gan(library)
        model.compile(
            d_optimizer=library.optimizers.Adam(0.01),
            g_optimizer=library.optimizers.Adam(0.02),
            loss_fn=library.losses.BinaryCrossentropy(from_logits=True),
        )
        options = {"batch_size": 16, "shuffle": False, "verbose": 0, "epochs": 4}
        history = dict(model.fit(data()[0], **options).history)
        weights = [*model.discriminator.get_weights(), *model.generator.get_weights()]
        return {**history, **{f"weight_{i}": weight for i, weight in enumerate(weights)}}

    assert_same_histories(script)


@pytest.mark.parametrize("toggles", [True, False])
def test_generator_and_frozen_discriminator_trained_in_turn_equal_keras(toggles: bool) -> None:
    """`trainable` counts as it is when a step is taken, whatever it was at `compile`."""

    def script(library: Library) -> Any:
        layers = library.layers
        discriminator = library.Sequential(
            [layers.Dense(5, "tanh"), layers.Dense(1, activation="sigmoid")]
        )
        start(library, discriminator)
        discriminator.compile(library.optimizers.SGD(0.1), "binary_crossentropy")
        generator = start(library, library.Sequential([layers.Dense(6)]), (None, 3))
        discriminator.trainable = False
        gan = library.Sequential([generator, discriminator])
        gan.compile(library.optimizers.Adam(0.01), "binary_crossentropy")
        losses = []
        rng = np.random.default_rng(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without `toggles` nothing trains the discriminator
            for _ in range(6):
                noise = rng.normal(size=(8, 3)).astype("float32")
                real = rng.normal(size=(8, 6)).astype("float32") + 1
                fake = gan.layers[0].predict(noise, verbose=0)
                both = np.concatenate([real, fake])
                labels = np.repeat([[1.0], [0.0]], 8, axis=0).astype("float32")
                discriminator.trainable = toggles
                losses += list(np.ravel(discriminator.train_on_batch(both, labels)))
                discriminator.trainable = False
                losses += list(np.ravel(gan.train_on_batch(noise, labels[:8])))
        weights = {f"weight_{i}": weight for i, weight in enumerate(gan.get_weights())}
        return {"losses": losses, **weights}

    assert_same_histories(script)


def test_a_changed_trainable_counts_after_compiling_anew() -> None:
    def script(library: Library) -> Any:
        parts = [library.layers.Dense(4), library.layers.Dense(3), library.layers.Dense(1)]
        model = start(library, library.Sequential(parts))
        x, y = data()
        history: dict[str, Any] = {}
        options = {"batch_size": 16, "shuffle": False, "verbose": 0}
        for frozen in ([0, 1], [], [2]):
            for index, layer in enumerate(model.layers):
                layer.trainable = index not in frozen
            model.compile("adam", "mse")
            history[f"loss_{frozen}"] = model.fit(x, y, epochs=2, **options).history["loss"]
            for index, weight in enumerate(model.get_weights()):
                history[f"weight_{frozen}_{index}"] = weight
        return history

    assert_same_histories(script)


# --- several batches in one execution -----------------------------------------------------------


class Recorder:
    """Notes the calls of all batch hooks."""

    HOOKS = tuple(
        f"on_{phase}_batch_{end}"
        for phase, end in itertools.product(("train", "test", "predict"), ("begin", "end"))
    )

    def of(self, library: Library) -> Any:
        self.calls: list[Any] = []
        callback = library.callbacks.Callback()
        for hook in self.HOOKS:
            setattr(callback, hook, self._noting(hook))
        return callback

    def _noting(self, hook: str) -> Any:
        def note(batch: int, logs: Any = None) -> None:
            shape = None
            if "predict" in hook and logs:
                shape = tuple(logs["outputs"].shape)
            self.calls.append((hook, batch, sorted(logs or {}), shape))

        return note


class OfSeveral:
    """Lets Keras's torch backend run several batches, which only its own functions refuse."""

    def make_train_function(self, force: bool = False) -> None:
        def train(batches: Any) -> Any:
            for batch in batches:
                logs = self.train_step(batch)  # type: ignore[attr-defined]
            return logs

        self.train_function = train

    def make_test_function(self, force: bool = False) -> None:
        def test(batches: Any) -> Any:
            with torch.no_grad():
                for batch in batches:
                    logs = self.test_step(batch)  # type: ignore[attr-defined]
            return logs

        self.test_function = test

    def make_predict_function(self, force: bool = False) -> None:
        def predict(batches: Any) -> Any:
            with torch.no_grad():
                return torch.cat([self.predict_step(batch) for batch in batches])  # type: ignore[attr-defined]

        self.predict_function = predict


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras says so of uneven ends
@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize(
    ("size", "batch_size"),
    [(2, 10), (2, 12), (3, 10), (4, 5), (7, 10), (5, 10)],
)
def test_hooks_of_several_steps_per_execution_equal_keras(
    size: int, batch_size: int, is_own: bool
) -> None:
    def script(library: Library) -> Any:
        class Custom(OfSeveral, library.Sequential):
            pass

        cls = Custom if is_own or library is keras else library.Sequential
        model = start(library, cls([library.layers.Dense(1)]))
        model.compile("sgd", "mse", metrics=["mae"], steps_per_execution=size)
        x, y = data()
        recorder = Recorder()
        callback = recorder.of(library)
        options = {"batch_size": batch_size, "verbose": 0, "callbacks": [callback]}
        model.fit(x, y, epochs=2, shuffle=False, validation_data=(x[:22], y[:22]), **options)
        measured = model.evaluate(x, y, **options)
        outputs = model.predict(x, **options)
        return recorder.calls, measured, outputs, model.get_weights()

    ours, theirs = script(torchseq), script(keras)
    assert ours[0] == theirs[0]
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-5, atol=1e-6)
    for one, other in zip(ours[3], theirs[3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


# --- models as classes --------------------------------------------------------------------------


def nested(library: Library) -> Any:
    """A model of lists, dicts and models in models."""
    layers = library.layers

    class Inner(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.norm = layers.BatchNormalization()
            self.dense = layers.Dense(6)

        def call(self, inputs: Any, training: Any = None) -> Any:
            return self.dense(self.norm(inputs, training=training))

    class Outer(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = layers.Dense(1)
            self.blocks = [layers.Dense(6), Inner()]
            self.named = {"a": library.Sequential([layers.Dense(6), layers.PReLU()])}

        def call(self, inputs: Any, training: Any = None) -> Any:
            for block in self.blocks:
                inputs = block(inputs)
            return self.last(self.named["a"](inputs))

    library.utils.clear_session()
    return Outer()


def test_weights_and_layers_are_in_keras_order(rng: np.random.Generator) -> None:
    ours, theirs = start(torchseq, nested(torchseq)), start(keras, nested(keras))
    checks.assert_same_weights(ours, theirs)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    x = rng.normal(size=(5, 6)).astype("float32")
    ours.set_weights(theirs.get_weights())
    checks.assert_close(ours(x, training=True), theirs(x, training=True))


@pytest.mark.parametrize("when", ["before", "called", "fitted"])
@pytest.mark.parametrize("options", [{}, {"expand_nested": True, "show_trainable": True}])
def test_summaries_equal_keras(when: str, options: dict[str, Any]) -> None:
    def script(library: Library) -> Any:
        model = nested(library)
        x, y = data()
        if when == "called":
            model(x[:7])
        elif when == "fitted":
            model.compile("adam", "mse")
            model.fit(x, y, verbose=0)
        lines: list[str] = []
        model.summary(print_fn=lines.append, **options)
        return lines

    assert script(torchseq) == script(keras)


def test_weight_files_go_both_ways(tmp_path: Path) -> None:
    x, y = data()
    for source, target in ((torchseq, keras), (keras, torchseq)):
        model = nested(source)
        model.compile("adam", "mse")
        model.fit(x, y, verbose=0)
        path = tmp_path / f"{source.__name__}.weights.h5"
        model.save_weights(path)
        other = start(target, nested(target))
        other.load_weights(path)
        for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
            assert np.array_equal(one, two)
