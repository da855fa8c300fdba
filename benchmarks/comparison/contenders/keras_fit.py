"""`fit` of torchseq and of Keras: the same script, another import."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comparison.contenders.contender import Contender, Session
from comparison.problems.problem import Problem


class Keras(Contender):
    """Keras on one of its backends, which is fixed for a process.

    Args:
        name: as of `Contender`.
        backend: "torch", "tensorflow" or "jax".
    """

    def __init__(self, name: str, backend: str):
        super().__init__(name)
        self.packages = ("keras", backend)
        self.modules = ("keras",)
        self._backend = backend

    def environment(self) -> dict[str, str]:
        return {"KERAS_BACKEND": self._backend}

    def session(self, problem: Problem, device: str) -> Session:
        return FitSession(importlib.import_module("keras"), problem, ".keras", {})


class TorchSeq(Contender):
    """torchseq, with `jit_compile` as given or as it is by default.

    Args:
        name: as of `Contender`.
        jit_compile: of `compile`; None leaves it out.
        devices: as of `Contender`.
    """

    packages = ("torch", "torchseq")
    modules = ("torchseq",)

    def __init__(
        self, name: str, jit_compile: Any = None, devices: Sequence[str] = ("cpu", "cuda")
    ):
        super().__init__(name, devices)
        self._options = {} if jit_compile is None else {"jit_compile": jit_compile}

    def session(self, problem: Problem, device: str) -> Session:
        keras = importlib.import_module("torchseq")
        return FitSession(keras, problem, ".safetensors", self._options)


class FitSession(Session):
    """A `Sequential` model.

    Args:
        keras: the module.
        problem: whose network it is.
        suffix: of the files that it saves by default.
        options: further arguments of `compile`.
    """

    def __init__(self, keras: Any, problem: Problem, suffix: str, options: dict[str, Any]):
        self._keras = keras
        self._problem = problem
        self._options = options
        self.suffix = suffix
        x, _ = problem.scaled(0).arrays()
        shape = keras.Input(x.shape[1:], dtype=str(x.dtype))
        self._model = keras.Sequential([shape, *problem.layers(keras)])
        self._compile()

    def _compile(self, **more: Any) -> None:
        yes_or_no = self._problem.classes == 1
        loss = "binary_crossentropy" if yes_or_no else "sparse_categorical_crossentropy"
        optimizer = self._keras.optimizers.Adam(1e-3)
        self._model.compile(optimizer=optimizer, loss=loss, **self._options, **more)

    def fit(self, data: Any, verbose: int = 0) -> float:
        size = self._problem.batch_size
        history = self._model.fit(*data, batch_size=size, epochs=1, verbose=verbose)
        return float(history.history["loss"][0])

    def fit_verbosely(self, data: Any) -> float:
        """Train as `fit`, with the progress bar."""
        return self.fit(data, verbose=1)

    def tenths(self, data: Any) -> list[float]:
        """Train an epoch and return the seconds that each tenth of its steps took."""
        every = self._problem.num_steps // 10
        times: list[float] = []

        class Watch(self._keras.callbacks.Callback):  # type: ignore[name-defined]
            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                if batch % every == 0:
                    times.append(time.perf_counter())

            def on_train_end(self, logs: Any = None) -> None:
                times.append(time.perf_counter())

        size = self._problem.batch_size
        self._model.fit(*data, batch_size=size, epochs=1, verbose=0, callbacks=[Watch()])
        return [later - sooner for sooner, later in itertools.pairwise(times)][:10]

    def with_accuracy(self) -> None:
        """Compile with a metric, as one who evaluates does."""
        self._compile(metrics=["accuracy"])

    def evaluate(self, data: Any) -> float:
        size = self._problem.batch_size
        return float(self._model.evaluate(*data, batch_size=size, verbose=0)[0])

    def predict(self, x: Any) -> Any:
        return self._model.predict(x, batch_size=self._problem.batch_size, verbose=0)

    def save(self, path: Path) -> None:
        self._model.save(path)

    def load(self, path: Path) -> None:
        self._keras.models.load_model(path)
