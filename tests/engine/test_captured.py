"""Steps captured as CUDA graphs.

Without a GPU a stand-in takes the graph's place: it notes each operation on tensors with the very
memory that it used, and replays these operations, as a CUDA graph does its kernels.
"""

from __future__ import annotations

import gc
import shutil
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

import torchseq
from tests.engine.test_whole_step import assert_same, mlp
from torchseq import callbacks, layers
from torchseq.engine import captured, jit
from torchseq.engine.step_state import Saved
from torchseq.layers.randomness import RandomStream
from torchseq.optimizers import adam


class Tape(TorchDispatchMode):
    """Notes operations, their arguments and where their results lie."""

    def __init__(self, device: Any = None):
        super().__init__()  # type: ignore[no-untyped-call]
        self.notes: list[tuple[Any, Any, Any, list[Any]]] = []
        self.num_replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _as_they_are(args), _as_they_are(kwargs or {})
        results = func(*args, **(kwargs or {}))
        self.notes.append((func, *given, tree_leaves(_as_they_are(results))))
        return results

    def warm_up(self, function: Callable[[], None]) -> None:
        function()
        function()

    def capture(self, function: Callable[[], None]) -> None:
        with self:  # runs the operations, which a CUDA graph does not; they are undone afterwards
            function()

    def replay(self) -> None:
        self.num_replays += 1
        for func, args, kwargs, places in self.notes:
            for place, result in zip(places, tree_leaves(func(*args, **kwargs)), strict=True):
                is_apart = isinstance(result, Tensor) and place.data_ptr() != result.data_ptr()
                if is_apart and place.numel():
                    place.copy_(result)


def _as_they_are(tensors: Any) -> Any:
    """Return tensors of the same memory, whose shapes no `squeeze_` changes later."""
    return tree_map_only(Tensor, lambda tensor: tensor.detach(), tensors)


class Again(Tape):
    """Calls the function again: operations inside of compiled code cannot be noted."""

    def capture(self, function: Callable[[], None]) -> None:
        self._function = function

    def replay(self) -> None:
        self.num_replays += 1
        self._function()


def deep() -> list[Any]:
    return [
        layers.Dense(8, use_bias=False, kernel_regularizer="l2", kernel_constraint="non_neg"),
        layers.BatchNormalization(),
        layers.PReLU(),
        layers.ActivityRegularization(0.01),
        layers.Dense(3, activation="softmax"),
    ]


def sequences(kind: Any = layers.SimpleRNN) -> list[Any]:
    """Return recurrent layers; not the LSTM, whose kernel of oneDNN keeps what no tape sees."""
    return [
        layers.Reshape((4, 4)),
        kind(3, return_sequences=True),
        layers.GRU(3),
        layers.Dense(3, activation="softmax"),
    ]


def random() -> list[Any]:
    return [layers.Dense(6, activation="relu"), layers.Dropout(0.5), layers.Dense(3, "softmax")]


def fitted(
    make: Any,
    jit_compile: Any,
    optimizer: Any = "adam",
    device: str = "cpu",
    num_rows: int = 21,
    validates: bool = True,
) -> Any:
    """Return a model that was fitted in batches of 8, and its history."""
    torchseq.utils.set_random_seed(5)
    rows = np.random.default_rng(1)
    x = rows.normal(size=(num_rows, 16)).astype("float32")
    x[::3, 8:] = 0.0
    y = np.arange(num_rows) % 3
    model: Any = torchseq.Sequential([torchseq.Input((16,)), *make()]).to(device)
    made = optimizer() if callable(optimizer) else optimizer
    loss = "sparse_categorical_crossentropy"
    model.compile(made, loss, metrics=["accuracy"], jit_compile=jit_compile)
    slower = callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    listeners = [slower] if optimizer == "adam" else []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = model.fit(
            x,
            y,
            8,
            3,
            verbose=0,
            callbacks=listeners,
            validation_data=(x[:9], y[:9]) if validates else None,
        ).history
    return model, history


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "CudaGraph", Tape)


@pytest.mark.usefixtures("tape")
@pytest.mark.parametrize("make", [mlp, deep, sequences])
def test_replayed_steps_equal_eager_ones(make: Any) -> None:
    ours = fitted(make, "cudagraph")
    assert_same(ours, fitted(make, False))
    check_graphs(ours)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_replayed_compiled_steps_equal_eager_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "CudaGraph", Again)
    options: Any = {"num_rows": 16, "validates": False}  # for one graph, which takes seconds
    ours = fitted(mlp, {"mode": "reduce-overhead"}, **options)
    assert_same(ours, fitted(mlp, False, **options))
    (graph,) = ours[0]._whole_step._graphs.values()
    assert graph._graph.num_replays == 6


def check_graphs(ours: tuple[Any, Any]) -> None:
    """Check that all steps of `fitted` were replayed."""
    graphs = ours[0]._whole_step._graphs
    assert [key[0] for key in graphs] == ["train", "train", "test", "test"]
    # Of three epochs each: two full batches and the uneven one; a full one and one row.
    assert [graph._graph.num_replays for graph in graphs.values()] == [6, 3, 3, 3]


@pytest.mark.usefixtures("tape")
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: torchseq.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: torchseq.optimizers.Nadam(0.01),
        lambda: torchseq.optimizers.AdamW(0.01, gradient_accumulation_steps=2),
        lambda: torchseq.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
        lambda: torchseq.optimizers.RMSprop(
            torchseq.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5), clipnorm=0.5
        ),
    ],
    ids=["sgd", "nadam", "accumulating", "averaging", "schedule"],
)
def test_optimizers(optimizer: Any) -> None:
    assert_same(fitted(mlp, "cudagraph", optimizer), fitted(mlp, False, optimizer))


@pytest.mark.usefixtures("tape")
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"weight_decay": 0.1}], ids=str)
def test_the_fused_kernel_takes_the_rate_as_a_tensor(
    options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adam, "_takes_tensors", lambda rate: True)  # as on a GPU

    def made() -> Any:
        return torchseq.optimizers.Adam(0.01, **options)

    ours = fitted(deep, "cudagraph", made)
    (graph, *_) = ours[0]._whole_step._graphs.values()
    assert any("_fused_adam_" in str(func) for func, *_ in graph._graph.notes)
    assert_same(ours, fitted(deep, False, made))


@pytest.mark.usefixtures("tape")
def test_a_metric_that_keeps_outputs_is_given_copies() -> None:
    class Kept(torchseq.metrics.Metric):
        """The mean of all outputs, kept batch by batch."""

        is_compilable = False

        def __init__(self) -> None:
            super().__init__(name="kept")
            self.seen: list[Tensor] = []

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.seen.append(y_pred)

        def result(self) -> Tensor:
            return torch.cat(self.seen).mean()

        def reset_state(self) -> None:
            self.seen = []

    results = []
    for option in ("cudagraph", False):
        torchseq.utils.set_random_seed(2)
        model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
        model.compile("sgd", "mse", metrics=[Kept()], jit_compile=option)
        x = np.arange(36.0).reshape(12, 3)
        history = model.fit(x, x[:, :1] / 100, 4, 2, verbose=0).history
        results.append([*history["kept"], *model.evaluate(x, x[:, :1], 4, verbose=0)])
    np.testing.assert_allclose(results[0], results[1], 1e-5)


@pytest.mark.usefixtures("tape")
def test_a_captured_step_does_not_keep_the_data() -> None:
    x = torch.rand(16, 3)
    model: Any = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile="cudagraph")
    model.fit(x, x[:, :1], 8, verbose=0, shuffle=False)
    graphs = list(model._whole_step._graphs.values())
    assert graphs
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None


@pytest.mark.usefixtures("tape")
def test_dropout_draws_anew_in_each_step() -> None:
    model: Any = torchseq.Sequential([torchseq.Input((64,)), layers.Dropout(0.5), layers.Dense(1)])
    model.compile("sgd", lambda y_true, y_pred: y_pred, jit_compile="cudagraph")
    model.optimizer.learning_rate = 0.0
    model.layers[1].set_weights([np.arange(64.0).reshape(64, 1), np.zeros(1)])
    seen = []
    log = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"]))
    model.fit(np.ones((4, 64)), np.ones((4, 1)), epochs=4, verbose=0, callbacks=[log])
    assert len(set(seen)) == 4


@pytest.mark.usefixtures("tape")
def test_weights_that_moved_are_captured_again() -> None:
    model, _ = fitted(mlp, "cudagraph")
    before = dict(model._whole_step._graphs)
    for variable in model.non_trainable_variables + model.trainable_variables:
        variable.tensor.data = variable.tensor.data.clone()
    x, y = np.ones((8, 16), "float32"), np.zeros(8)
    start = model.get_weights()
    model.fit(x, y, 8, verbose=0)
    assert not set(map(id, before.values())) & set(map(id, model._whole_step._graphs.values()))
    assert any((a != b).any() for a, b in zip(start, model.get_weights(), strict=True))


def test_a_model_on_the_cpu_runs_eagerly_with_one_warning() -> None:
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile="cudagraph")
    x = np.ones((16, 3), "float32")
    with pytest.warns(UserWarning, match="needs a model on a CUDA device; got one on cpu") as seen:
        losses = model.fit(x, x[:, :1], 8, 3, verbose=0).history["loss"]
    assert len(seen) == 1
    assert losses[-1] < losses[0]


def test_what_a_step_writes_must_be_on_the_device() -> None:
    model: Any = torchseq.Sequential([torchseq.Input((4,)), layers.Dropout(0.5, seed=1)])
    model.compile("sgd", "mse", jit_compile=False)
    step = model._step(model._objective)
    position = next(part for part in model.modules() if type(part) is RandomStream).position
    saved = Saved(step, [position])
    saved.check_device(torch.device("cuda", 0))  # nothing was written
    position += 1
    with pytest.raises(ValueError, match=r"be on cuda:0; RandomStream\.position is not.*`seed`"):
        saved.check_device(torch.device("cuda", 0))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("cudagraph", True),
        ({"mode": "reduce-overhead"}, True),
        ({"options": {"triton.cudagraphs": True}}, True),
        ({"mode": "max-autotune-no-cudagraphs"}, False),
        (True, False),
    ],
)
def test_which_options_capture(options: Any, expected: bool) -> None:
    assert jit.captures(jit.options_of(options)) is expected  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("options", ["cudagraph", {"mode": "reduce-overhead"}, True])
@pytest.mark.parametrize("make", [mlp, deep, lambda: sequences(layers.LSTM)])
def test_steps_on_a_gpu(make: Any, options: Any) -> None:
    ours = fitted(make, options, device="cuda")
    assert_close(ours, fitted(make, False, device="cuda"))


def assert_close(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    for name, values in ours[1].items():
        np.testing.assert_allclose(values, theirs[1][name], 1e-3, 1e-4, err_msg=name)
    for mine, other in zip(ours[0].get_weights(), theirs[0].get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, 1e-3, 1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["adam", "lamb", "sgd"])
def test_large_models_on_a_gpu_with_a_loss_that_lives(optimizer: str) -> None:
    def wide() -> list[Any]:
        return [layers.Dense(512, activation="relu"), layers.Dense(512), layers.Dense(3, "softmax")]

    ours = fitted(wide, "cudagraph", optimizer, device="cuda")
    assert_close(ours, fitted(wide, False, optimizer, device="cuda"))
    model = ours[0]
    held = model(torch.rand(4, 16, device="cuda")).sum()  # autograd has met all weights
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile="cudagraph")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(np.ones((16, 16), "float32"), np.zeros(16), 8, verbose=0)
    assert held.isfinite()


@pytest.mark.gpu
def test_graphs_after_all_others_are_gone() -> None:
    """Their memory went with the last one; the next must not ask for it."""
    for _ in range(3):
        fitted(mlp, "cudagraph", device="cuda")
        gc.collect()
        torch.cuda.empty_cache()


@pytest.mark.gpu
def test_a_failed_capture_leaves_the_weights_and_the_stream() -> None:
    class Waits(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * float(inputs.sum().item() > -1e9)

    stream = torch.cuda.current_stream()
    weights = []
    for option in ("cudagraph", False):
        torchseq.utils.set_random_seed(1)
        model: Any = torchseq.Sequential([torchseq.Input((64,)), Waits(), layers.Dense(1)])
        model.to("cuda").compile("sgd", "mse", jit_compile=option)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            model.fit(np.eye(64, dtype="float32"), np.ones(64), 32, verbose=0, shuffle=False)
        assert any("runs eagerly" in str(told.message) for told in seen) == bool(option)
        weights.append(model.get_weights()[0])
    assert torch.cuda.current_stream() == stream
    np.testing.assert_allclose(weights[0], weights[1], 1e-5)


@pytest.mark.gpu
def test_dropout_on_a_gpu_is_fixed_by_the_seed() -> None:
    first, second = (
        fitted(random, "cudagraph", device="cuda"),
        fitted(random, "cudagraph", device="cuda"),
    )
    assert first[1] == second[1]
    assert len(first[0]._whole_step._graphs) == 4


@pytest.mark.gpu
def test_seeded_draws_on_a_gpu_run_eagerly_with_one_warning() -> None:
    model = torchseq.Sequential(
        [torchseq.Input((4,)), layers.Dropout(0.5, seed=1), layers.Dense(1)]
    )
    model.to("cuda").compile("sgd", "mse", jit_compile="cudagraph")
    with pytest.warns(UserWarning, match="RandomStream"):
        model.fit(np.ones((8, 4)), np.ones((8, 1)), 4, verbose=0)
    torch.nn.functional.dropout(torch.ones(4, device="cuda"))  # the generator still works
