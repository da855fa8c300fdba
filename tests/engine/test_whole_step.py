"""Steps as compiled graphs, next to eager ones.

Most tests record and functionalize the graph but let PyTorch run it (`backend="eager"`), since
Inductor takes seconds for each; those marked so run Inductor's code.
"""

from __future__ import annotations

import copy
import pickle
import shutil
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import callbacks, layers
from torchseq.engine import graphs

EAGER = {"backend": "eager"}
has_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
Rng = np.random.Generator


def mlp() -> list[Any]:
    return [layers.Dense(6, activation="relu"), layers.Dense(3, activation="softmax")]


def deep() -> list[Any]:
    """Layers with buffers, random numbers, penalties and constraints."""
    return [
        layers.Dense(8, use_bias=False, kernel_regularizer="l2", kernel_constraint="non_neg"),
        layers.BatchNormalization(),
        layers.Dropout(0.3, seed=4),
        layers.PReLU(),
        layers.ActivityRegularization(0.01),
        layers.Dense(3, activation="softmax", use_bias=False),
    ]


def images() -> list[Any]:
    return [
        layers.Reshape((4, 4, 1)),
        layers.Conv2D(3, 2, activation="relu"),
        layers.MaxPooling2D(2, strides=1),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]


def sequences(kind: Any) -> Any:
    def made() -> list[Any]:
        return [
            layers.Reshape((4, 4)),
            kind(3, return_sequences=True),
            layers.Bidirectional(kind(2)),
            layers.Dense(3, activation="softmax"),
        ]

    return made


def masked() -> list[Any]:
    return [
        layers.Reshape((4, 4)),
        layers.Masking(0.0),
        layers.LSTM(3),
        layers.Dense(3, activation="softmax"),
    ]


def spectral() -> list[Any]:
    """A layer that writes a weight in its forward pass."""
    return [
        layers.SpectralNormalization(layers.Dense(6)),
        layers.Dense(3, activation="softmax"),
    ]


MODELS = {
    "mlp": mlp,
    "spectral": spectral,
    "deep": deep,
    "images": images,
    "gru": sequences(layers.GRU),
    "lstm": sequences(layers.LSTM),
    "rnn": sequences(layers.SimpleRNN),
    "masked": masked,
}


def fitted(
    make: Any,
    jit: Any,
    optimizer: Any = "adam",
    loss: Any = "sparse_categorical_crossentropy",
    epochs: int = 2,
    count: int = 21,
    validates: bool = True,
    **options: Any,
) -> tuple[Any, Any]:
    """Return a model that was fitted to samples in batches of 8, and its history."""
    torchseq.utils.set_random_seed(11)
    x = np.random.default_rng(0).normal(size=(count, 16)).astype("float32")
    x[::3, 8:] = 0.0
    y = np.arange(count) % 3
    model = torchseq.Sequential([torchseq.Input((16,)), *make()])
    made = optimizer() if callable(optimizer) else optimizer
    model.compile(made, loss, metrics=["accuracy"], jit_compile=jit, **options)
    weights = np.linspace(0.5, 1.5, count)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = {"validation_data": (x[:9], y[:9])} if validates else {}
        history = model.fit(x, y, 8, epochs, verbose=0, sample_weight=weights, **options)
    return model, history.history


def assert_same(ours: tuple[Any, Any], theirs: tuple[Any, Any], rtol: float = 1e-5) -> None:
    """Compare two results of `fitted`: histories, weights, and the optimizer's state."""
    assert list(ours[1]) == list(theirs[1])
    for name, values in ours[1].items():
        np.testing.assert_allclose(values, theirs[1][name], rtol, 1e-6, err_msg=name)
    pairs = zip(ours[0].get_weights(), theirs[0].get_weights(), strict=True)
    states = zip(ours[0].optimizer.variables, theirs[0].optimizer.variables, strict=True)
    for mine, other in [*pairs, *((a.numpy(), b.numpy()) for a, b in states)]:
        np.testing.assert_allclose(mine, other, rtol, 1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_recorded_steps_equal_eager_ones(name: str) -> None:
    assert_same(fitted(MODELS[name], EAGER), fitted(MODELS[name], False))


slow = pytest.mark.slow
ONE_GRAPH = {"count": 16, "validates": False}  # no uneven batch: each graph takes seconds


@has_compiler
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deep", {}),
        ("images", ONE_GRAPH),
        ("gru", ONE_GRAPH),
        *(pytest.param(name, {}, marks=slow) for name in ("images", "gru", "lstm", "masked")),
    ],
)
def test_compiled_steps_equal_eager_ones(name: str, options: Any) -> None:
    results = [fitted(MODELS[name], jit, **options) for jit in (True, False)]
    assert_same(results[0], results[1], 1e-4)


def schedule() -> Any:
    return torchseq.optimizers.Adam(torchseq.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5))


OPTIMIZERS = {
    **{name: name for name in ("sgd", "rmsprop", "adamw", "adamax", "nadam", "adadelta")},
    **{name: name for name in ("adagrad", "ftrl", "lion", "lamb", "adafactor", "muon")},
    "schedule-free": lambda: torchseq.optimizers.ScheduleFreeAdamW(0.01),
    "nesterov": lambda: torchseq.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "amsgrad": lambda: torchseq.optimizers.Adam(amsgrad=True),
    "centered": lambda: torchseq.optimizers.RMSprop(centered=True, momentum=0.5),
    "clipnorm": lambda: torchseq.optimizers.Adam(clipnorm=0.1),
    "global_clipnorm": lambda: torchseq.optimizers.SGD(0.1, global_clipnorm=0.1),
    "clipvalue": lambda: torchseq.optimizers.SGD(0.1, clipvalue=0.01),
    "averages": lambda: torchseq.optimizers.Adam(use_ema=True, ema_overwrite_frequency=3),
    "accumulated": lambda: torchseq.optimizers.Adam(gradient_accumulation_steps=2),
    "scaled": lambda: torchseq.optimizers.SGD(0.1, loss_scale_factor=8.0),
    "decayed": lambda: torchseq.optimizers.SGD(0.1, weight_decay=0.1),
    "schedule": schedule,
    "old decay": lambda: torchseq.optimizers.SGD(0.1, decay=0.1),
}


ON_DEEP = ("adamw", "clipnorm", "averages", "accumulated", "muon")


@pytest.mark.parametrize(
    ("name", "model"),
    [*((name, "mlp") for name in OPTIMIZERS), *((name, "deep") for name in ON_DEEP)],
)
def test_every_optimizer(name: str, model: str) -> None:
    options = {"optimizer": OPTIMIZERS[name], "count": 24, "validates": False}
    assert_same(fitted(MODELS[model], EAGER, **options), fitted(MODELS[model], False, **options))


@has_compiler
@pytest.mark.parametrize(
    "name",
    [
        "global_clipnorm",
        *(pytest.param(n, marks=slow) for n in OPTIMIZERS if n != "global_clipnorm"),
    ],
)
def test_every_optimizer_by_inductor(name: str) -> None:
    options = {"optimizer": OPTIMIZERS[name], **ONE_GRAPH}
    assert_same(fitted(mlp, True, **options), fitted(mlp, False, **options), 1e-4)


@has_compiler
def test_lists_of_one_tensor_from_unknown_operations() -> None:
    """They ended the process: torch's C++ calls took such a list for a tensor."""
    for size in (4, 5):  # the second time Inductor has met the operation
        x = torch.rand(size)
        graph = graphs.record(lambda given: torch._foreach_sinh([given]), [x])
        (found,) = graphs.compiled(graph, [x], {})([x])
        torch.testing.assert_close(found, x.sinh())


def test_some_weights_excluded_from_decay() -> None:
    def made() -> Any:
        optimizer = torchseq.optimizers.AdamW(0.1)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        return optimizer

    assert_same(fitted(mlp, EAGER, made), fitted(mlp, False, made))


@pytest.mark.parametrize("optimizer", ["sgd", "lamb"])  # weights in one buffer, and one by one
@pytest.mark.parametrize("shares", [False, True])
def test_a_weight_used_past_its_module_is_trained(optimizer: str, shares: bool) -> None:
    class Closed(layers.Layer):
        """Reaches its weight, and that of another layer, by a function that it made at first."""

        def __init__(self, other: Any) -> None:
            super().__init__()
            self.own = torch.nn.Parameter(torch.full((16, 16), 0.1))
            own, others = self.own, other.linear.weight
            self._product = lambda x: x @ own + (x @ others.T if shares else 0.0)

        def call(self, inputs: Any) -> Any:
            return self._product(inputs)

    def make() -> list[Any]:
        first = layers.Dense(16)
        first.build((None, 16))
        return [first, Closed(first), layers.Dense(3, activation="softmax")]

    ours, theirs = (fitted(make, jit, optimizer) for jit in (EAGER, False))
    assert_same(ours, theirs)


def test_views_become_copies_only_where_nothing_writes() -> None:
    view, reshape = torch.ops.aten.view.default, torch.ops.aten.reshape.default

    def read(x: Any) -> Any:
        return [(x + 1).view(-1) * 2]

    def written_after(x: Any) -> Any:
        made = x + 1
        seen = made.view(-1)
        made.select(0, 0).mul_(3)
        return [seen]

    for function, target in ((read, reshape), (written_after, view)):
        recorded = graphs.record(function, [torch.rand(2, 3)])
        graphs._allow_copies(recorded)
        targets = [node.target for node in recorded.graph.nodes]
        assert target in targets
        assert ({view, reshape} - {target}).isdisjoint(targets)


def test_a_weight_in_two_places_has_the_gradients_of_both() -> None:
    def tied() -> list[Any]:
        first, second = layers.Dense(16, use_bias=False), layers.Dense(16, use_bias=False)
        for layer in (first, second):
            layer.build((None, 16))
        second.linear.weight = first.linear.weight
        return [first, layers.ReLU(), second, layers.Dense(3, activation="softmax")]

    def one_layer_twice() -> list[Any]:
        layer = layers.Dense(16, activation="relu")
        return [layer, layer, layers.Dense(3, activation="softmax")]

    for make in (tied, one_layer_twice):
        for optimizer in ("adam", "lamb"):  # all weights in one buffer, and one by one
            pair = [fitted(make, jit, optimizer) for jit in (EAGER, False)]
            assert_same(pair[0], pair[1])


class SetRate(callbacks.Callback):
    """Sets the learning rate in each epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = 0.1 / (epoch + 1)


@pytest.mark.parametrize("jit", [EAGER, False], ids=["graph", "eager"])
def test_a_learning_rate_that_a_callback_sets_is_heeded(jit: Any) -> None:
    model = torchseq.Sequential([torchseq.Input((1,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile(torchseq.optimizers.SGD(), lambda y, y_pred: y_pred, jit_compile=jit)
    model.fit(np.ones((2, 1)), np.ones((2, 1)), 1, 2, verbose=0, callbacks=[SetRate()])
    # The gradient is 1: two steps at 0.1 and two at 0.05.
    np.testing.assert_allclose(model.get_weights()[0], [[1 - 0.2 - 0.1]], rtol=1e-6)


def test_graphs_are_kept_from_fit_to_fit() -> None:
    model, _ = fitted(mlp, EAGER)
    step = model._whole_step
    kept = dict(step._graphs)
    assert len(kept) == 4  # training and testing, on full batches and on the last one
    x, y = np.zeros((21, 16), "float32"), np.zeros(21)
    model.fit(x, y, 8, verbose=0, sample_weight=y)
    model.evaluate(x[:9], y[:9], 8, verbose=0)
    assert step is model._whole_step
    assert {key: step._graphs[key] for key in kept} == kept


def test_no_more_than_eight_shapes_are_compiled() -> None:
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=EAGER)
    for size in range(1, 12):
        model.train_on_batch(np.ones((size, 3)), np.ones((size, 1)))
    assert len(model._whole_step._graphs) == 8


def test_weights_that_move_are_found_again() -> None:
    model, _ = fitted(mlp, EAGER)
    model.double()
    before = model.get_weights()
    model.fit(np.ones((8, 16)), np.ones(8), verbose=0)
    assert model.get_weights()[0].dtype == np.float64
    assert not np.allclose(before[0], model.get_weights()[0])


def test_a_layer_frozen_before_compile_stays() -> None:
    model, _ = fitted(mlp, EAGER)
    model.layers[0].trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=EAGER)
    before = model.get_weights()
    model.fit(np.ones((8, 16)), np.ones(8), verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert not np.allclose(before[2], after[2])


def test_two_models_may_share_layers() -> None:
    """As generator and discriminator do: each one's graphs find the weights the other moved."""
    results = []
    for jit in (EAGER, False):
        torchseq.utils.set_random_seed(1)
        shared = layers.Dense(3)
        models = [
            torchseq.Sequential([torchseq.Input((4,)), shared, layers.Dense(1)]) for _ in "ab"
        ]
        for model in models:
            model.compile(torchseq.optimizers.Adam(0.1), "mse", jit_compile=jit)
        x, y = np.ones((5, 4), "float32"), np.ones((5, 1), "float32")
        losses = [model.train_on_batch(x, y) for _ in range(3) for model in models]
        results.append([*losses, *(w.sum() for model in models for w in model.get_weights())])
    np.testing.assert_allclose(*results, rtol=1e-5)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_makes_its_own_graphs(copied: Any) -> None:
    model, _ = fitted(mlp, EAGER, epochs=1)
    other = copied(model)
    x, y = np.ones((8, 16), "float32"), np.ones(8)
    before = model.get_weights()
    other.fit(x, y, verbose=0)
    for mine, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, kept)
    model.fit(x, y, verbose=0)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_dropout_draws_anew_in_each_step() -> None:
    torchseq.utils.set_random_seed(0)
    model = torchseq.Sequential([torchseq.Input((1000,)), layers.Dropout(0.25)])
    model.compile("sgd", lambda y, y_pred: (y_pred > 0).float(), jit_compile=EAGER)
    with pytest.warns(UserWarning, match="no trainable weights"):
        model.fit(np.ones((1, 1000)), np.ones((1, 1)), verbose=0)
    dense = layers.Dense(1, kernel_initializer="ones", trainable=True)
    model = torchseq.Sequential([torchseq.Input((1000,)), layers.Dropout(0.25), dense])
    model.compile(torchseq.optimizers.SGD(0.0), lambda y, y_pred: y_pred, jit_compile=EAGER)
    x, y = np.ones((1, 1000), "float32"), np.ones((1, 1))
    losses = [model.train_on_batch(x, y) for _ in range(20)]
    assert len(set(losses)) > 15
    assert np.mean(losses) == pytest.approx(1000, rel=0.02)


def test_a_stateful_layer_goes_on() -> None:
    results = []
    for jit in (EAGER, False):
        torchseq.utils.set_random_seed(2)
        made = [layers.LSTM(3, stateful=True), layers.Dense(1)]
        model = torchseq.Sequential([torchseq.Input(batch_shape=(2, 4, 3)), *made])
        model.compile("sgd", "mse", jit_compile=jit)
        x = np.random.default_rng(3).normal(size=(8, 4, 3))
        model.fit(x, np.ones((8, 1)), 2, 2, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)


# --- What cannot be compiled -------------------------------------------------------------------


class Reads(torch.nn.Module):
    """Looks at a value, as no graph can."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        is_shown = inputs.device.type != "meta" and float(inputs.detach().sum()) > 0
        return inputs * 2 if is_shown else inputs


class Rebinds(torch.nn.Module):
    """Keeps a count in a new tensor each time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.count = self.count + 1
        return inputs


@pytest.mark.parametrize(("kind", "reason"), [(Reads, "RuntimeError"), (Rebinds, "in place")])
def test_what_cannot_be_compiled_runs_eagerly_with_one_warning(kind: Any, reason: str) -> None:
    results = []
    for jit in (EAGER, False):
        torchseq.utils.set_random_seed(5)
        model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(3), kind()])
        model.compile("nadam", "mse", jit_compile=jit)
        x = np.random.default_rng(3).normal(size=(8, 3))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = model.fit(x, x, 2, 2, verbose=0)
        texts = [str(warning.message) for warning in caught]
        assert len(texts) == bool(jit), texts
        assert all("runs eagerly" in text and reason in text for text in texts)
        counts = [float(layer.count) for layer in model.modules() if isinstance(layer, Rebinds)]
        assert counts in ([], [8.0])
        results.append([*history.history["loss"], *(w.sum() for w in model.get_weights())])
    np.testing.assert_array_equal(*results)


def test_a_torch_optimizer_steps_eagerly() -> None:
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    model.compile(torch.optim.SGD, "mse", jit_compile=EAGER)
    x = np.ones((8, 3))
    losses = model.fit(x, x[:, :1], epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert all(key[0] == "test" for key in model._whole_step._graphs)


@pytest.mark.parametrize(
    ("jit", "message"),
    [
        ({"modus": "x"}, r"keys among .*'mode'.*\['modus'\]"),
        (3, "True, False, 'auto', 'cudagraph' or a dict"),
    ],
)
def test_errors_of_jit_compile(jit: Any, message: str) -> None:
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", "mse", jit_compile=jit)


def test_run_eagerly_goes_before_jit_compile() -> None:
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=True, run_eagerly=True)
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    assert model._whole_step is None


def test_the_environment_turns_auto_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    monkeypatch.setenv("TORCHSEQ_JIT", "eager")
    model.compile("sgd", "mse")
    assert model.jit_compile == EAGER
    model.compile("sgd", "mse", jit_compile=False)
    assert model.jit_compile is False


@pytest.mark.parametrize(
    ("jit", "loaded"),
    [
        (True, {}),
        (EAGER, EAGER),
        ("cudagraph", {"backend": "cudagraph"}),
        ("auto", False),
        (False, False),
    ],
)
def test_a_file_keeps_what_was_asked_for(
    jit: Any, loaded: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHSEQ_JIT", raising=False)
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=jit)
    model.save(tmp_path / "model.safetensors")
    assert torchseq.models.load_model(tmp_path / "model.safetensors").jit_compile == loaded


def test_the_users_memory_is_not_written_to(tmp_path: Any) -> None:
    """Data of a file mapped for reading lies in memory that kills who writes to it."""
    np.save(tmp_path / "x.npy", np.ones((16, 3), "float32"))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=EAGER)
    model.fit(x, x[:, :1], 8, shuffle=False, verbose=0)
