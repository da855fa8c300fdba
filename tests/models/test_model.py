"""Models written as classes, and torch modules that become models."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchseq
from torchseq import layers

Array = np.ndarray[Any, Any]


def data(rows: int = 40) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 4)).astype("float32"), rng.normal(size=(rows, 2)).astype(
        "float32"
    )


@torchseq.saving.register_keras_serializable("tests")
class Residual(torchseq.Model):
    """Keeps neither of its arguments; both are plain."""

    def __init__(self, units: int, sizes: Any = (2,)):
        super().__init__()
        self.hidden = layers.Dense(units, activation="tanh")
        self.blocks = [layers.Dense(4), layers.BatchNormalization()]
        self.parts = {"head": torchseq.Sequential([layers.Dense(size) for size in sizes])}

    def call(self, inputs: Any, training: Any = None) -> Any:
        outputs = self.blocks[0](self.hidden(inputs))
        outputs = self.blocks[1](inputs + outputs, training=training)
        return self.parts["head"](outputs)


@torchseq.saving.register_keras_serializable("tests")
class OfTorch(torchseq.Model):
    """torch's way: `forward`, modules of torch, some of them lazy."""

    def __init__(self, width: int = 5, **options: Any):
        super().__init__(**options)
        self.first = nn.LazyLinear(width)
        self.rest = nn.ModuleList([nn.Linear(width, width), nn.BatchNorm1d(width)])
        self.head = nn.Linear(width, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = torch.relu(self.first(inputs))
        for part in self.rest:
            outputs = part(outputs)
        return self.head(outputs)


def network(dropout: float = 0.3) -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2)
    )


# --- wrapped torch modules ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, nesterov=True),
        lambda params: torch.optim.Adam(params, lr=0.01),
        lambda params: torch.optim.AdamW(params, lr=0.01, weight_decay=0.1),
    ],
)
def test_wrapped_module_trains_as_in_a_loop_by_hand_to_the_bit(make_optimizer: Any) -> None:
    x, y = data()
    by_fit = network()
    by_hand = copy.deepcopy(by_fit)
    model = torchseq.Model.wrap(by_fit)
    model.compile(make_optimizer, nn.MSELoss())
    torch.manual_seed(7)
    history = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0).history

    optimizer = make_optimizer(by_hand.parameters())
    torch.manual_seed(7)
    losses = []
    for _ in range(3):
        by_hand.train()
        total = torch.zeros(())
        for first in range(0, len(x), 16):
            rows = slice(first, first + 16)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(by_hand(torch.tensor(x[rows])), torch.tensor(y[rows]))
            loss.backward()
            optimizer.step()
            total.add_(loss.detach(), alpha=len(x[rows]))
        losses.append(float(total / len(x)))
    for name, tensor in by_hand.state_dict().items():
        assert torch.equal(by_fit.state_dict()[name], tensor), name
    assert history["loss"] == losses
    by_hand.eval()
    with torch.no_grad():
        expected = by_hand(torch.tensor(x)).numpy()
    assert np.array_equal(model.predict(x, batch_size=40, verbose=0), expected)


def test_own_adam_trains_a_wrapped_module_as_in_a_loop_by_hand() -> None:
    x, y = data()
    by_fit = network(dropout=0.0)
    by_hand = copy.deepcopy(by_fit)
    model = torchseq.Model.wrap(by_fit)
    model.compile(torchseq.optimizers.Adam(0.01), "mse", jit_compile=False)
    model.fit(x, y, batch_size=10, epochs=2, shuffle=False, verbose=0)
    optimizer = torchseq.optimizers.Adam(0.01)
    optimizer.build(torchseq.Model.wrap(by_hand).trainable_weights)
    by_hand.train()
    for first in list(range(0, 40, 10)) * 2:
        rows = slice(first, first + 10)
        loss = torch.mean((torch.tensor(y[rows]) - by_hand(torch.tensor(x[rows]))) ** 2)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, tensor in by_hand.state_dict().items():
        torch.testing.assert_close(by_fit.state_dict()[name], tensor, rtol=1e-6, atol=1e-7)


def test_lazy_module_is_built_by_fit_and_nothing_is_lost() -> None:
    module = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d(), nn.LazyLinear(2))
    model = torchseq.Model.wrap(module, name="lazy")
    assert (model.name, model.built, model.trainable_weights) == ("lazy", False, [])
    model.compile("adam", "mse")
    x, y = data()
    assert model.fit(x, y, verbose=0).history["loss"][0] > 0
    assert model.built
    assert [weight.shape for weight in model.trainable_weights][:2] == [(3, 4), (3,)]
    assert list(model.state_dict()) == [f"module.{key}" for key in module.state_dict()]


def test_wrapped_module_keeps_its_dtype_and_integer_inputs() -> None:
    double = torchseq.Model.wrap(nn.Linear(4, 2).double())
    assert double.predict(data()[0], verbose=0).dtype == np.float64
    words = torchseq.Model.wrap(nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.LazyLinear(2)))
    words.compile("sgd", "mse")
    words.fit(np.arange(20).reshape(4, 5) % 9, np.zeros((4, 2)), verbose=0)
    assert words.predict(np.zeros((3, 5), int), verbose=0).shape == (3, 2)


def test_parts_of_a_wrapped_module_are_layers_by_their_names(capsys: Any) -> None:
    module = nn.Sequential()
    module.add_module("encoder", nn.Linear(4, 8))
    module.add_module("act", nn.ReLU())
    module.add_module("head", nn.Linear(8, 2))
    model = torchseq.Model.wrap(module)
    assert [layer.name for layer in model.layers] == ["encoder", "act", "head"]
    assert model.get_layer("head").module is module.head
    assert model.get_layer("head") is model.get_layer(index=2)
    model.summary(line_length=60)
    lines = capsys.readouterr().out.splitlines()
    assert any("encoder (Linear)" in line and "40" in line for line in lines)
    assert any("Trainable params: 58 (232.00 B)" in line for line in lines)
    single = torchseq.Model.wrap(nn.Linear(4, 2))
    assert [layer.count_params() for layer in single.layers] == [10]


def test_looking_at_layers_changes_no_mode() -> None:
    module = network()
    model = torchseq.Model.wrap(module)
    module.train()
    module[1].eval()
    assert len(model.layers) == 5
    assert [part.training for part in module] == [True, False, True, True, True]


def test_frozen_parameters_of_a_wrapped_module_stay() -> None:
    module = network()
    module[0].requires_grad_(False)
    before = copy.deepcopy(module[0].state_dict())
    model = torchseq.Model.wrap(module)
    model.compile("adam", "mse")
    model.fit(*data(), verbose=0)
    assert all(torch.equal(before[key], value) for key, value in module[0].state_dict().items())
    assert len(model.trainable_weights) == 4


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5"])
def test_weights_of_a_wrapped_module_go_round(suffix: str, tmp_path: Path) -> None:
    model, other = torchseq.Model.wrap(network()), torchseq.Model.wrap(network())
    model.compile("adam", "mse")
    model.fit(*data(), verbose=0)
    model.save_weights(tmp_path / f"m{suffix}")
    other.load_weights(tmp_path / f"m{suffix}")
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_wrapped_module_has_no_config(tmp_path: Path) -> None:
    model = torchseq.Model.wrap(nn.Linear(2, 2), name="net")
    with pytest.raises(NotImplementedError, match=r"'net': a plain torch module has no config; go"):
        model.save(tmp_path / "m.keras")
    with pytest.raises(TypeError, match=r"Model.wrap: it takes an instance of torch.nn.Module; go"):
        torchseq.Model.wrap(nn.Linear)  # type: ignore[arg-type]


# --- models as classes --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: Residual(6), lambda: OfTorch(6)])
def test_models_train_predict_copy_and_pickle(make: Any) -> None:
    torchseq.utils.set_random_seed(0)
    model = make()
    model.compile("adam", "mse", metrics=["mae"])
    x, y = data()
    history = model.fit(x, y, epochs=30, verbose=0, validation_split=0.2).history
    assert history["loss"][-1] < history["loss"][0]
    expected = model.predict(x, verbose=0)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(twin.predict(x, verbose=0), expected)
        twin.fit(x, y, verbose=0)
    assert np.array_equal(model.predict(x, verbose=0), expected)


@pytest.mark.parametrize("make", [lambda: Residual(6, [3, 2]), lambda: OfTorch(name="net")])
@pytest.mark.parametrize("suffix", [".safetensors", ".keras"])
def test_whole_models_go_round(make: Any, suffix: str, tmp_path: Path) -> None:
    model = make()
    model.compile(torchseq.optimizers.Adam(0.01), "mse", metrics=["mae"])
    x, y = data()
    model.fit(x, y, verbose=0)
    model.save(tmp_path / f"m{suffix}")
    loaded = torchseq.models.load_model(tmp_path / f"m{suffix}")
    assert type(loaded) is type(model)
    assert np.array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    options = {"shuffle": False, "verbose": 0}
    assert loaded.fit(x, y, **options).history == model.fit(x, y, **options).history


def test_config_has_what_the_constructor_takes() -> None:
    assert Residual(6).get_config() == {"units": 6, "sizes": (2,)}
    config = OfTorch(7, name="net", trainable=False).get_config()
    assert (config["width"], config["name"], config["trainable"]) == (7, "net", False)
    twin = OfTorch.from_config(config)
    assert (twin.name, twin.trainable, twin.first.out_features) == ("net", False, 7)


def test_config_of_arguments_that_are_layers() -> None:
    class Holding(torchseq.Model):
        def __init__(self, part: Any):
            super().__init__()
            self.part = part

        def call(self, inputs: Any) -> Any:
            return self.part(inputs)

    twin = Holding.from_config(Holding(layers.Dense(3, activation="relu")).get_config())
    assert (twin.part.units, twin.part.activation) == (3, torchseq.activations.relu)


def test_models_nest(rng: np.random.Generator) -> None:
    inner = Residual(3)
    outer = torchseq.Sequential([layers.Dense(4), inner, OfTorch(3), network_of_two()])
    outer.compile("adam", "mse")
    x, y = data()
    outer.fit(x, y, verbose=0)
    assert outer.layers[1] is inner
    assert len(outer.weights) == 2 + 10 + 11 + 2
    assert outer.predict(x, verbose=0).shape == (40, 2)


def network_of_two() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2))


@pytest.mark.parametrize("shape", [(None, 4), (8, 4), [None, 4]])
def test_build_makes_all_weights(shape: Any) -> None:
    for model, count in ((Residual(6), 10), (OfTorch(), 11)):
        model.build(shape)
        assert model.built
        assert len(model.weights) == count


def test_build_of_a_model_that_wants_integers() -> None:
    class Words(torchseq.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 3)
            self.head = layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.head(self.table(inputs).mean(1))

    model = Words()
    model.build((None, 5))
    assert model.head.built
    other = Words()
    other.compile("sgd", "mse")
    other.fit(np.zeros((4, 5), int), np.zeros((4, 2)), verbose=0)
    assert [weight.shape for weight in other.weights] == [(9, 3), (3, 2), (2,)]


def test_own_build_is_run_once_and_may_call_its_parents() -> None:
    class Own(torchseq.Model):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")
            super().build(input_shape)

        def call(self, inputs: Any) -> Any:
            return inputs * self.scale

    model = Own()
    assert torch.equal(model(torch.ones(2, 4)), torch.ones(2, 4))
    model.build((None, 4))
    assert [weight.path for weight in model.weights] == [f"{model.name}/scale"]


def test_a_failed_first_call_leaves_the_model_unbuilt() -> None:
    model = Residual(6)
    with pytest.raises(RuntimeError):
        model(torch.ones(2, 3))  # does not add to the four of the block
    assert not model.built


def test_metrics_are_no_layers_and_no_weights() -> None:
    class Own(torchseq.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1)
            self.seen = torchseq.metrics.Mean(name="seen")
            self.others = [torchseq.metrics.MeanSquaredError(name="other")]

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    model = Own()
    model(torch.ones(2, 4))
    assert [layer.name for layer in model.layers] == [model.dense.name]
    assert len(model.weights) == 2
    assert list(model.state_dict()) == ["dense.linear.weight", "dense.linear.bias"]
    assert [metric.name for metric in model.metrics] == ["seen", "other"]


# --- errors -------------------------------------------------------------------------------------


class WithInputs(torchseq.Model):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize("cls", [torchseq.Model, torchseq.models.Model, WithInputs])
def test_functional_api_is_refused_with_an_example(cls: Any) -> None:
    inputs = torchseq.Input((2,))
    for make in (
        lambda: cls(inputs, inputs),
        lambda: cls(inputs=inputs, outputs=inputs),
        lambda: cls([inputs], outputs=inputs),
        lambda: layers.Dense(3)(torchseq.Input((2,))),
        lambda: Residual(3)(inputs),
    ):
        with pytest.raises(NotImplementedError, match="There is no Functional API") as caught:
            make()
        assert "class Net(torchseq.Model):" in str(caught.value)
        assert "def call(self, inputs):" in str(caught.value)


class Unkept(torchseq.Model):
    def __init__(self, thing: Any):
        super().__init__()


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match=r"Unkept: each constructor argument must be kep"):
        Unkept(object()).get_config()
    with pytest.raises(NotImplementedError, match=r"Unkept: each constructor argument must be kep"):
        Unkept(object()).save(tmp_path / "m.keras")
    assert Unkept(3).get_config() == {"thing": 3}
    with pytest.raises(TypeError, match=r"Residual: the constructor must take what `get_config`"):
        Residual.from_config({"unit": 3})
    with pytest.raises(NotImplementedError, match=r"a model must have a `call\(inputs\)` or a"):
        torchseq.Model()(torch.ones(2, 2))
    with pytest.raises(AttributeError, match="`layers` is the list of all layers of a model, and"):
        torchseq.Model().layers = [1]
    with pytest.raises(ValueError, match=r"Residual 'residual\w*': no layer is called 'nope'"):
        Residual(3).get_layer("nope")
    with pytest.raises(ValueError, match="unrecognized arguments"):
        torchseq.Model(unit=3)
    with pytest.raises(ValueError, match="the model must be built, since it has no weights bef"):
        Residual(3).save_weights(tmp_path / "m.weights.h5")


def test_missing_super_init_is_told() -> None:
    class Forgetful(torchseq.Model):
        def __init__(self) -> None:
            self.dense = layers.Dense(2)

    with pytest.raises(RuntimeError, match=r"`super\(\).__init__\(\)` must be the first statement"):
        Forgetful()
