"""compile, fit, evaluate, predict: what is theirs and not a number's parity with Keras."""

import io
import itertools
import json
import sys
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchseq
from torchseq import callbacks, layers

Array = np.ndarray[Any, Any]


def network(units: int = 3, activation: str | None = "softmax", width: int = 4) -> Any:
    return torchseq.Sequential(
        [torchseq.Input((width,)), layers.Dense(8), layers.Dense(units, activation=activation)]
    )


def compiled(loss: Any = "sparse_categorical_crossentropy", **options: Any) -> Any:
    model = network(**options)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def data(count: int = 20) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 4)).astype("float32"), rng.integers(0, 3, count)


class Order(callbacks.Callback):
    """Notes which samples each epoch shows, by the loss's targets."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[list[int]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append([])


def orders(seed: int | None, count: int = 30, fits: int = 1, **options: Any) -> list[list[int]]:
    """Returns the samples of each epoch in the order in which `fit` showed them."""
    if seed is not None:
        torchseq.utils.set_random_seed(seed)
    notes = Order()

    class Reader(layers.Layer):
        def call(self, inputs: Any) -> Any:
            if self.training:
                notes.epochs[-1].extend(inputs[:, 0].int().tolist())
            return inputs

    model = torchseq.Sequential([torchseq.Input((2,)), Reader(), layers.Dense(1)])
    model.compile("sgd", lambda y, y_pred: 0.0 * (y_pred - y[:, None]), run_eagerly=True)
    x = np.arange(count, dtype="float32")[:, None] * np.ones(2, "float32")
    for _ in range(fits):
        model.fit(x, x[:, 0], batch_size=8, verbose=0, callbacks=[notes], **options)
    return notes.epochs


# --- shuffling ----------------------------------------------------------------------------------


def test_seed_fixes_the_order_of_all_epochs_and_fits() -> None:
    first = orders(1, fits=2, epochs=3)
    assert orders(1, fits=2, epochs=3) == first
    assert orders(2, fits=2, epochs=3) != first
    assert all(sorted(order) == list(range(30)) for order in first)
    assert len({tuple(order) for order in first}) == 6


def test_shuffling_draws_one_number_from_torchs_stream() -> None:
    torchseq.utils.set_random_seed(3)
    torch.randint(0, 2**62, ())
    expected = torch.rand(3)
    torchseq.utils.set_random_seed(3)
    model = torchseq.Sequential([torchseq.Input((4,)), layers.Dense(3, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    model.fit(data()[0], np.zeros((20, 3)), epochs=3, verbose=0)
    assert torch.equal(torch.rand(3), expected)


def test_no_shuffling_shows_the_datas_order() -> None:
    assert orders(None, epochs=2, shuffle=False) == [list(range(30))] * 2


def test_batch_shuffling_keeps_batches_together() -> None:
    for order in orders(4, epochs=3, shuffle="batch"):
        assert sorted(order) == list(range(30))
        assert all(b == a + 1 for a, b in itertools.pairwise(order) if b % 8)


def test_validation_data_is_not_trained_on() -> None:
    (order,) = orders(5, validation_split=0.3)
    assert sorted(order) == list(range(21))


# --- exceptions ---------------------------------------------------------------------------------


class Raiser(callbacks.Callback):
    """Raises an error in one hook, at its second call."""

    def __init__(self, hook: str, error: BaseException):
        super().__init__()
        self._num_calls = 0

        def raise_it(*args: Any, **kwargs: Any) -> None:
            self._num_calls += 1
            if self._num_calls == 2:
                raise error

        setattr(self, hook, raise_it)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end", "on_train_batch_end"])
def test_exceptions_of_callbacks_come_out_of_fit(hook: str) -> None:
    model = compiled()
    with pytest.raises(ZeroDivisionError, match="mine"):
        model.fit(*data(), 4, 3, verbose=0, callbacks=[Raiser(hook, ZeroDivisionError("mine"))])
    assert not model.training
    model.fit(*data(), verbose=0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_interrupt_leaves_weights_and_history_and_takes_the_bar_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torchseq.callbacks.progress._REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("torchseq.callbacks.progress._SHORT_SECONDS", 0.0)
    model = compiled()
    before = model.get_weights()
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)

    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 3 and len(self.model.history.epoch) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(), 4, 5, callbacks=[Stop()])
    assert sys.stdout is screen
    assert "\r" in screen.getvalue()  # there was a bar
    assert model.history.epoch == [0, 1]
    assert len(model.history.history["loss"]) == 2
    assert np.abs(model.get_weights()[0] - before[0]).max() > 0
    assert not model.training
    model.fit(*data(), 4, 1, verbose=0)
    assert model.history.epoch == [0]


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_training_before_compile(method: str) -> None:
    with pytest.raises(ValueError, match=f"^{method}: the model must be compiled first"):
        getattr(network(), method)(*data())


def test_predict_needs_no_compile() -> None:
    assert network().predict(data()[0], verbose=0).shape == (20, 3)
    assert network().predict_on_batch(data()[0]).shape == (20, 3)


METHODS = ["fit", "evaluate", "train_on_batch", "test_on_batch"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (None, y), "`x` must be given; got None"),
        (lambda x, y: (x, None), "the loss and the metrics need targets; got y=None. Pass `y`"),
        (lambda x, y: (x, y[:-2]), "same number of samples; got x: 20, y: 18"),
        (lambda x, y: (x[:0], y[:0]), r"at least one sample; got x of shape \(0, 4\)"),
        (lambda x, y: ([], []), "at least one sample; got x of shape"),
        (lambda x, y: (x, y + 1), r"must be in \[0, 3\), since the last layer has 3 outputs; got"),
        (lambda x, y: (x, y - 1), r"got labels from -1 to 1. Give the last layer 3 units, or"),
        (
            lambda x, y: (x, np.where(y == 1, np.nan, y)),
            "labels for sparse_categorical_crossentropy must be class numbers; got NaN in y",
        ),
        (lambda x, y: (x, ["a"] * 20), "`y` must be an array or tensor of numbers"),
        (lambda x, y: ("text", y), "`x` must be an array or tensor of numbers"),
        (lambda x, y: ([[1.0, 2.0], [1.0]], y), "`x` must be an array or tensor of numbers"),
        (lambda x, y: (3.0, y), "`x` must have a batch axis; got a single number"),
        (lambda x, y: (x, 1), "`y` must have a batch axis; got a single number"),
    ],
)
def test_bad_data_is_named_with_the_method(method: str, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{method}: .*{message}"):
        getattr(compiled(), method)(*change(*data()))


@pytest.mark.parametrize("method", ["predict", "predict_on_batch"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, "`x` must be given"),
        ([], "at least one sample"),
        (np.zeros((0, 4)), "at least one sample"),
        (["a"], "must be an array or tensor of numbers"),
        (1.0, "must have a batch axis"),
    ],
)
def test_bad_data_of_predict(method: str, x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{method}: .*{message}"):
        getattr(network(), method)(x)


@pytest.mark.parametrize("method", [*METHODS, "predict", "predict_on_batch"])
def test_wrong_shapes_name_layer_expected_and_got(method: str) -> None:
    model = compiled()
    y = () if method.startswith("predict") else (data()[1],)
    for shape in ((20, 7), (20, 2)):
        with pytest.raises(ValueError, match=rf"'dense'.*4.*{shape[1]}"):
            getattr(model, method)(np.zeros(shape), *y)
    with pytest.raises(ValueError, match=r"2 axes, as in \(None, 4\); got .*\(\d+, 3, 4\)"):
        getattr(model, method)(np.zeros((20, 3, 4)), *y)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("categorical_crossentropy", np.zeros(20), r"\(20, 3\).*|y_true.*\(20,\)"),
        ("categorical_crossentropy", np.zeros((20, 5)), r"\(20, 5\)"),
        ("mse", np.zeros((20, 2)), r"y_true of shape \(20, 2\) and y_pred of shape \(20, 3\)"),
        ("binary_crossentropy", np.zeros((20, 2)), r"\(20, 2\)"),
    ],
)
def test_targets_of_a_wrong_shape(loss: str, y: Array, message: str) -> None:
    for method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match=message):
            getattr(compiled(loss), method)(data()[0], y, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "categorical_crossentrop"}, "loss: .*Nearest: .*'categorical_crossentropy'"),
        ({"optimizer": "adm"}, "optimizer: 'adm' is not a known name. Nearest: 'adam'"),
        ({"metrics": ["acuracy"]}, "metric: 'acuracy' is not a known name. Nearest: .*accuracy"),
        ({"weighted_metrics": ["preciion"]}, "metric: .*Nearest: .*[Pp]recision"),
        ({"loss": ["mse", "mae"]}, r"compile: .*must have one loss; got \['mse', 'mae'\]"),
        ({"loss": {"out": "mse"}}, r"compile: .*must have one loss; got {'out': 'mse'}"),
        ({"loss": []}, r"compile: .*must have one loss; got \[\]. Pass one loss; for a sum"),
        ({"metrics": {"a": "mze"}}, "metric: 'mze' is not a known name"),
        ({"metrics": ["mse", None]}, "compile: each entry of `metrics` must be a metric; got Non"),
        ({"loss_weights": [1.0, 2.0]}, r"compile: `loss_weights` must be one number .*\[1.0, 2.0"),
        ({"steps_per_execution": 0}, "compile: `steps_per_execution` must be a positive integer"),
    ],
    ids=str,
)
def test_errors_of_compile(options: dict[str, Any], message: str) -> None:
    model = network()
    with pytest.raises(ValueError, match=message):
        model.compile(**options)
    assert not model.compiled


def test_failed_compile_leaves_the_model_as_it_was() -> None:
    model = compiled()
    optimizer = model.optimizer
    with pytest.raises(ValueError, match="not a known name"):
        model.compile("sgd", "mse", metrics=["nonsense"])
    assert model.optimizer is optimizer
    model.fit(*data(), verbose=0)


def test_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="'reul' is not a known name. Nearest: .*'relu'"):
        layers.Dense(3, activation="reul")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "fit: `batch_size` must be a positive integer; got batch_size=0"),
        ({"batch_size": 2.0}, "fit: `batch_size` must be a positive integer"),
        ({"epochs": 2.5}, "fit: `epochs` must be an integer of at least 0; got epochs=2.5"),
        ({"epochs": -1}, "fit: `epochs` must be an integer of at least 0; got epochs=-1"),
        ({"initial_epoch": "1"}, "fit: `initial_epoch` must be an integer of at least 0"),
        ({"steps_per_epoch": 0}, "fit: `steps_per_epoch` must be a positive integer"),
        ({"steps_per_epoch": 2.5}, "fit: `steps_per_epoch` must be a positive integer"),
        ({"validation_split": 1.5}, r"fit: `validation_split` must be in \(0, 1\); got 1.5"),
        ({"validation_data": np.zeros((3, 4))}, r"fit: `validation_data` must be a tuple"),
        ({"validation_data": (np.zeros((3, 4)),)}, "fit, validation_data: the loss and the"),
        ({"validation_data": (np.zeros((3, 4)), [9] * 3)}, "fit, validation_data: the labels for"),
        ({"shuffle": "all"}, "fit: `shuffle` must be one of"),
        ({"class_weight": {0: 1}, "sample_weight": np.ones(20)}, "fit: `class_weight` and"),
        ({"sample_weight": np.ones(19)}, "got x: 20, y: 20, sample_weight: 19"),
    ],
    ids=str,
)
def test_errors_of_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compiled().fit(*data(), verbose=0, **options)


def test_steps_of_evaluate_and_predict_are_checked() -> None:
    with pytest.raises(ValueError, match="evaluate: `steps` must be a positive integer"):
        compiled().evaluate(*data(), steps=0)
    with pytest.raises(ValueError, match="predict: `steps` must be a positive integer"):
        compiled().predict(data()[0], steps=-1)


@pytest.mark.parametrize("monitor", ["val_loss", "acc", "val_accurac"])
def test_monitor_that_does_not_exist_names_those_that_do(monitor: str) -> None:
    for callback in (callbacks.EarlyStopping(monitor=monitor),):
        with pytest.raises(ValueError, match=f"got monitor='{monitor}', .* 'accuracy', 'loss'"):
            compiled().fit(*data(), verbose=0, callbacks=[callback])


def test_no_loss_at_all() -> None:
    model = network()
    model.compile("adam")
    with pytest.raises(ValueError, match="there must be something to minimize; no `loss` came"):
        model.fit(data()[0], verbose=0)


def test_labels_that_are_ignored_may_be_outside() -> None:
    x, y = data()
    loss = torchseq.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    model = compiled(loss)
    model.fit(x, np.where(y == 2, -1, y), verbose=0)
    model.fit(x, np.full(20, -1), verbose=0)
    with pytest.raises(ValueError, match=r"must be in \[0, 3\)"):
        model.fit(x, np.where(y == 2, -2, y), verbose=0)


# --- particular models --------------------------------------------------------------------------


def test_model_without_trainable_weights_warns_and_reports() -> None:
    model = compiled()
    model.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = model.get_weights()
    with pytest.warns(UserWarning, match="fit: the model has no trainable weights"):
        history = model.fit(*data(), verbose=0).history
    assert list(history) == ["accuracy", "loss"]
    for weight, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)
    with pytest.warns(UserWarning, match="no trainable weights"):
        assert len(model.train_on_batch(*data())) == 2


def test_loss_that_layers_add_needs_no_targets() -> None:
    class Penalty(layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss((inputs**2).mean())
            return inputs

    model = torchseq.Sequential([torchseq.Input((4,)), layers.Dense(3), Penalty()])
    model.compile("sgd")
    losses = model.fit(data()[0], epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]


def test_deferred_model_is_built_by_each_method() -> None:
    x, y = data()
    for method, given in (
        ("fit", (x, y)),
        ("evaluate", (x, y)),
        ("train_on_batch", (x, y)),
        ("test_on_batch", (x, y)),
        ("predict", (x,)),
        ("predict_on_batch", (x,)),
    ):
        model = torchseq.Sequential([layers.Dense(8), layers.Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        getattr(model, method)(*given)
        assert model.built
        assert model.predict(x[:7], verbose=0).shape == (7, 3)


def test_training_mode_in_fit_and_evaluation_mode_elsewhere() -> None:
    modes: list[bool] = []

    class Mode(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            modes.append(self.training)
            return inputs

    x, y = data()
    model = torchseq.Sequential([torchseq.Input((4,)), Mode(), layers.Dense(3)])
    loss = torchseq.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, run_eagerly=True)  # the layer's list is no tensor
    for method, given, expected in (
        ("fit", (x, y), True),
        ("train_on_batch", (x, y), True),
        ("evaluate", (x, y), False),
        ("test_on_batch", (x, y), False),
        ("predict", (x,), False),
        ("predict_on_batch", (x,), False),
    ):
        modes.clear()
        getattr(model, method)(*given)
        assert set(modes) == {expected}, method
        assert not model.training


def test_data_is_left_as_it_was() -> None:
    x, y = data()
    before = x.copy(), y.copy()
    model = torchseq.Sequential([torchseq.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x.flags.writeable = y.flags.writeable = False
    model.fit(x, y, epochs=2, verbose=0, validation_split=0.2, class_weight={0: 2.0})
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_predictions_own_their_memory_and_hold_no_graph() -> None:
    model = network()
    x = data()[0]
    for outputs in (model.predict(x, verbose=0), model.predict_on_batch(x)):
        assert type(outputs) is np.ndarray
        outputs += 1  # writable
    identity = torchseq.Sequential([torchseq.Input((4,)), nn.Identity()])
    for outputs in (identity.predict(x, verbose=0), identity.predict_on_batch(x)):
        assert not np.shares_memory(outputs, x)


def test_one_array_in_a_list_is_the_input() -> None:
    x, y = data()
    model = compiled()
    np.testing.assert_array_equal(model.predict([x], verbose=0), model.predict(x, verbose=0))
    np.testing.assert_array_equal(model.predict_on_batch([x]), model.predict_on_batch(x))
    assert model.test_on_batch([x], [y]) == model.test_on_batch(x, y)
    model.fit([x], [y], verbose=0, validation_split=0.2)
    assert int(model.optimizer.iterations) == 1
    model.fit(x.tolist(), y.tolist(), verbose=0)
    assert int(model.optimizer.iterations) == 2


def test_history_can_be_written_as_json_and_holds_floats() -> None:
    history = compiled().fit(*data(), epochs=2, verbose=0, validation_split=0.2)
    assert json.loads(json.dumps(history.history)) == history.history
    assert history.params["epochs"] == 2
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]


def test_callbacks_of_several_calls_and_nested_evaluations() -> None:
    x, y = data()
    model = compiled()
    inner: list[Any] = []

    class Nested(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            inner.append(self.model.evaluate(x, y, verbose=0, return_dict=True))
            inner.append(self.model.predict(x, verbose=0).shape)

    history = model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y), callbacks=Nested())
    assert inner[2]["loss"] == pytest.approx(history.history["val_loss"][1])
    assert model.history is history


def test_verbose_forms_print_what_they_should() -> None:
    x, y = data()
    printed = {}
    for verbose in (0, 1, 2, "auto", True, False):
        output = io.StringIO()
        with redirect_stdout(output):
            compiled().fit(x, y, epochs=2, verbose=verbose)
        printed[verbose] = output.getvalue()
    assert printed[0] == ""
    assert printed[2].count("\n") == 4
    assert "1/1" in printed["auto"]


def test_epochs_of_zero_train_nothing() -> None:
    model = compiled()
    before = model.get_weights()
    history = model.fit(*data(), epochs=0, verbose=0)
    assert history.history == {}
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_gradients_that_were_there_before_do_not_count() -> None:
    x, y = data()
    weights = []
    for leftover in (False, True):
        torchseq.utils.set_random_seed(3)
        model = network()
        model.compile("sgd", "sparse_categorical_crossentropy")
        model(x)
        if leftover:
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
        model.fit(x, y, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for with_leftover, without in zip(*weights, strict=True):
        np.testing.assert_array_equal(with_leftover, without)
