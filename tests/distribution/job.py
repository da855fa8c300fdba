"""Trains in each of the ways of `SCENARIOS`; run by one process, or by several at once.

Run by test_job.py as `python job.py [NAME...]`, with JOB_FOLDER and JOB_SEED in the environment;
writes one file for each process.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

import torchseq as keras
from torchseq import callbacks, layers

FOLDER = Path(os.environ.get("JOB_FOLDER", "."))
SEED = int(os.environ.get("JOB_SEED", "0"))
RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))

ROWS, FEATURES, CLASSES = 13, 5, 3  # in batches of 4, the last one has a single row
SCENARIOS: dict[str, Callable[[], dict[str, Any]]] = {}
Data = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def scenario(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    SCENARIOS[function.__name__] = function
    return function


def data(rows: int = ROWS) -> Data:
    generator = np.random.default_rng(SEED)
    x = generator.normal(size=(rows, FEATURES)).astype("float32")
    return x, generator.integers(0, CLASSES, rows)


def model(*extra: Any, loss: Any = "sparse_categorical_crossentropy", **options: Any) -> Any:
    made = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(6, activation="tanh", kernel_regularizer="l2"),
            *extra,
            layers.Dense(CLASSES, activation="softmax", activity_regularizer="l1"),
        ]
    )
    options.setdefault("optimizer", "adam")
    made.compile(loss=loss, metrics=["accuracy"], weighted_metrics=["accuracy"], **options)
    return made


def results(made: Any, history: Any = None, **others: Any) -> dict[str, Any]:
    found = {f"weight {index}": value for index, value in enumerate(made.get_weights())}
    for name, values in ({} if history is None else history.history).items():
        found[f"history {name}"] = np.array(values)
    return {**found, **{name: np.asarray(value) for name, value in others.items()}}


def fitted(made: Any, *given: Any, **options: Any) -> dict[str, Any]:
    options = {"batch_size": 4, "epochs": 2, "verbose": 0, **options}
    return results(made, made.fit(*given, **options))


@scenario
def arrays() -> dict[str, Any]:
    x, y = data()
    made = model()
    found = fitted(made, x, y, validation_data=(x[:7], y[:7]), class_weight={0: 3.0, 2: 0.5})
    found["evaluated"] = np.array(made.evaluate(x, y, batch_size=4, verbose=0))
    found["predicted"] = made.predict(x, batch_size=4, verbose=0)
    found["few"] = made.predict(x[:3], verbose=0)
    return found


@scenario
def weighted_sums() -> dict[str, Any]:
    x, y = data()
    weights = np.linspace(0.1, 2, ROWS, dtype="float32")
    found = {}
    for reduction in ("sum", "mean_with_sample_weight"):
        loss = keras.losses.SparseCategoricalCrossentropy(reduction=reduction)
        made = model(loss=loss, optimizer=keras.optimizers.SGD(0.01, global_clipnorm=1.0))
        for name, value in fitted(made, x, y, sample_weight=weights).items():
            found[f"{reduction} {name}"] = value
    return found


@scenario
def masked() -> dict[str, Any]:
    generator = np.random.default_rng(SEED)
    x = generator.integers(0, 4, (ROWS, 6))  # a quarter is masked
    y = generator.normal(size=(ROWS, 6, 2)).astype("float32")
    made = keras.Sequential(
        [layers.Embedding(4, 3, mask_zero=True), layers.LSTM(4, return_sequences=True)]
    )
    made.add(layers.Dense(2))
    made.compile("adam", "mse", metrics=["mae"])
    return fitted(made, x, y)


@scenario
def normalized() -> dict[str, Any]:
    x, y = data()
    return fitted(model(layers.BatchNormalization(synchronized=True)), x, y, epochs=3)


class Rows(Dataset[Any]):
    """Counts what it is asked for."""

    asked = 0

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> Any:
        self.asked += 1
        x, y = data()
        return x[index], y[index]


@scenario
def dataset() -> dict[str, Any]:
    rows = Rows()
    found = fitted(model(), rows)
    found["few"] = np.array(rows.asked <= 2 * (ROWS // WORLD + 2) + 1)
    return found


@scenario
def loader() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(SEED)
    plain = DataLoader(Rows(), batch_size=4, shuffle=True, generator=generator)
    return fitted(model(), plain, batch_size=None)


@scenario
def loader_with_sampler() -> dict[str, Any]:
    """Each process has rows of its own: together, what one process sees without shuffling."""
    rows = torch.utils.data.TensorDataset(*(torch.as_tensor(part[:12]) for part in data()))
    if WORLD == 1:
        x, y = data()
        return fitted(model(), x[:12], y[:12], shuffle=False)
    sampler = DistributedSampler(rows, WORLD, RANK, shuffle=False)
    return fitted(model(), DataLoader(rows, batch_size=2, sampler=sampler), batch_size=None)


class Batches(keras.utils.PyDataset):
    def __init__(self) -> None:
        super().__init__()
        self.order = np.arange(ROWS)

    def __len__(self) -> int:
        return -(-ROWS // 4)

    def __getitem__(self, index: int) -> Any:
        x, y = data()
        chosen = self.order[4 * index : 4 * index + 4]
        return x[chosen], y[chosen]

    def on_epoch_end(self) -> None:
        np.random.shuffle(self.order)


@scenario
def py_dataset() -> dict[str, Any]:
    if RANK:
        np.random.rand(7)  # the others draw what the first one draws
    return fitted(model(), Batches(), batch_size=None, epochs=3)


def endless() -> Iterator[Any]:
    x, y = data()
    start = 0
    while True:
        rows = np.arange(start, start + 3) % ROWS
        yield x[rows], y[rows]
        start += 3


@scenario
def generator() -> dict[str, Any]:
    return fitted(model(), endless(), batch_size=None, steps_per_epoch=5)


@scenario
def own_data() -> dict[str, Any]:
    """Each process passes its own rows, of which one has more than the other."""
    x, y = data()
    if WORLD == 1:
        batches = [[0, 1, 2, 8, 9], [3, 4, 5, 10], [6, 7]]
        parts = iter([(x[rows], y[rows]) for rows in batches])
        return fitted(model(), parts, batch_size=None, epochs=1)
    own = slice(0, 8) if RANK == 0 else slice(8, 11)
    sizes = 3 if RANK == 0 else 2
    with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
        return fitted(model(), x[own], y[own], batch_size=sizes, shuffle=False, epochs=1)


class OwnStep(keras.Sequential):
    def train_step(self, data: Any) -> Any:
        x, y = data
        loss = self.compute_loss(x, y, self(x, training=True))
        self.zero_grad()
        loss.backward()
        weights = self.trainable_weights
        self.optimizer.apply([weight.value.grad for weight in weights], weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=len(x))
            else:
                metric.update_state(y, self(x))
        return {metric.name: metric.result() for metric in self.metrics}


@scenario
def own_step() -> dict[str, Any]:
    x, y = data()
    made = OwnStep([keras.Input((FEATURES,)), layers.Dense(CLASSES, activation="softmax")])
    made.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return fitted(made, x, y)


class Unused(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(shape=(3,), name="kernel")

    def call(self, inputs: Any) -> Any:
        return inputs


@scenario
def unused_weight() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fitted(model(Unused()), *data())


@scenario
def one_batch() -> dict[str, Any]:
    x, y = data()
    made = model()
    trained = [made.train_on_batch(x[i : i + 4], y[i : i + 4]) for i in (0, 4, 8)]
    return results(made, trained=trained, tested=made.test_on_batch(x, y))


class Decider(callbacks.Callback):
    """Draws, writes and decides, as users' callbacks do."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with open(FOLDER / "own.txt", "a") as file:
            file.write(f"{epoch} {RANK}\n")
        logs["twice"] = 2 * logs["loss"]
        self.model.optimizer.learning_rate = 0.02 / (epoch + 1)
        if epoch == 1:
            self.model.layers[0].kernel.assign(self.model.layers[0].kernel * 0.5)
        if epoch == 2:
            predicted = self.model.predict(data()[0], batch_size=4, verbose=0)
            self.model.stop_training = predicted.shape == (ROWS, CLASSES)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        assert logs["loss"] > 0


@scenario
def deciding() -> dict[str, Any]:
    x, y = data()
    used = [
        Decider(),
        callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True, verbose=1),
        callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=1.0),
        callbacks.ModelCheckpoint(FOLDER / "{epoch}-{loss:.4f}.keras", save_freq=4),
        callbacks.CSVLogger(FOLDER / "log.csv"),
    ]
    made = model()
    found = fitted(made, x, y, epochs=6, callbacks=used, verbose=2)
    made.save(FOLDER / "last.keras")
    loaded = keras.models.load_model(FOLDER / "last.keras")
    found["loaded"] = loaded.get_weights()[0]
    found["csv"] = np.array(len((FOLDER / "log.csv").read_text().splitlines()))
    return found


@scenario
def sharded() -> dict[str, Any]:
    x, y = data()
    found = {}
    chosen = keras.distribution.ModelParallel() if WORLD > 1 else None
    keras.distribution.set_distribution(chosen)
    for optimizer in ("adam", "sgd", torch.optim.AdamW):
        made = model(optimizer=optimizer)
        fitted(made, x, y)
        name = getattr(optimizer, "__name__", optimizer)
        for key, value in fitted(made, x, y, validation_split=0.3).items():
            found[f"{name} {key}"] = value
        found[f"{name} predicted"] = made.predict(x, batch_size=4, verbose=0)
        if optimizer == "adam":
            made.save(FOLDER / "sharded.safetensors")
            again = keras.models.load_model(FOLDER / "sharded.safetensors")
            for key, value in fitted(again, x, y).items():
                found[f"again {key}"] = value
    try:
        fitted(model(optimizer=keras.optimizers.Adam(clipnorm=1.0)), x, y)
    except ValueError as error:
        assert "norm of whole weights" in str(error)  # noqa: PT017
    keras.distribution.set_distribution(None)
    return found


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SCENARIOS:
        keras.utils.set_random_seed(SEED + 10 * RANK if name == "py_dataset" else SEED)
        if name == "py_dataset" and RANK == 0:
            np.random.seed(SEED)
        np.savez(FOLDER / f"{name}-{RANK}.npz", **SCENARIOS[name]())
    print(json.dumps({"rank": RANK, "modules": "torch.distributed.fsdp" in sys.modules}))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads now and then abort a process that ends in the usual way
