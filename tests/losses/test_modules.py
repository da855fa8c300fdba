"""torch modules as losses: order of arguments, forms of targets, weights, errors."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchseq
from torchseq import layers, losses

CLASSES = 3


class KerasOrder(nn.Module):
    def forward(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return (2 * y_true - y_pred).mean()


class TorchOrder(nn.Module):
    def forward(self, preds: Tensor, labels: Tensor) -> Tensor:
        return (2 * labels - preds).mean()


def model_of(units: int = CLASSES) -> Any:
    return torchseq.Sequential([torchseq.Input((4,)), layers.Dense(units)])


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(24, 4)).astype("float32"), rng.integers(0, CLASSES, 24)


def test_order_of_arguments_follows_their_names() -> None:
    y_true, y_pred = torch.ones(2, 1), torch.zeros(2, 1)
    assert losses.TorchLoss(KerasOrder())(y_true, y_pred) == 2
    assert losses.TorchLoss(TorchOrder())(y_true, y_pred) == 2
    # Not symmetric, and not told by names that torch's own classes share.
    expected = F.kl_div(y_pred, y_true, reduction="batchmean")
    assert losses.TorchLoss(nn.KLDivLoss(reduction="batchmean"))(y_true, y_pred) == expected


@pytest.mark.parametrize("shape", [(24,), (24, 1)])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32", "float64"])
def test_class_numbers_of_any_form(shape: tuple[int, ...], dtype: str) -> None:
    x, y = data()
    model = model_of()
    model.compile("sgd", nn.CrossEntropyLoss(), metrics=["accuracy"])
    logits = torch.tensor(model.predict(x, verbose=0))
    expected = F.cross_entropy(logits, torch.tensor(y)).item()
    given = y.astype(dtype).reshape(shape)
    assert model.evaluate(x, given, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    history = model.fit(x, given, epochs=3, verbose=0, validation_split=0.25).history
    assert history["loss"][-1] < history["loss"][0]
    assert list(history) == ["accuracy", "loss", "val_accuracy", "val_loss"]


def test_one_hot_rows_and_sequences_of_classes() -> None:
    rng = np.random.default_rng(1)
    z = torch.tensor(rng.normal(size=(6, 5, CLASSES)).astype("float32"))
    y = torch.tensor(rng.integers(0, CLASSES, (6, 5)))
    expected = F.cross_entropy(z.reshape(-1, CLASSES), y.reshape(-1))
    loss = losses.TorchLoss(nn.CrossEntropyLoss())
    torch.testing.assert_close(loss(y, z), expected)
    torch.testing.assert_close(loss(F.one_hot(y, CLASSES), z), expected)
    torch.testing.assert_close(loss(y[..., None], z), expected)
    torch.testing.assert_close(loss(y, z.movedim(-1, 1)), expected)  # as a torch module has them


@pytest.mark.parametrize("module", [nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.BCEWithLogitsLoss])
@pytest.mark.parametrize("dtype", ["int64", "bool", "float64"])
def test_columns_are_aligned_and_never_broadcast(module: type[nn.Module], dtype: str) -> None:
    x, y = data()
    y = (y > 0).astype(dtype)
    model = model_of(1)
    model.compile("sgd", module())
    z = torch.tensor(model.predict(x, verbose=0))
    expected = module()(z, torch.tensor(y.astype("float32"))[:, None]).item()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(x, y[:, None], verbose=0) == pytest.approx(expected, rel=1e-5)
    model.fit(x, y, verbose=0)
    wide = model_of()
    wide.compile("sgd", module)  # the class will do
    message = rf"{module.__name__}: .*same shape; got y_true of shape \(24, 1\) and y_pred of sh"
    with pytest.raises(ValueError, match=message):
        wide.evaluate(x, y[:, None], verbose=0)


def test_sample_weights_need_values_of_samples() -> None:
    x, y = data()
    weight = np.linspace(0, 2, len(x)).astype("float32")
    model = model_of()
    model.compile("sgd", nn.CrossEntropyLoss())
    for options in ({"sample_weight": weight}, {"class_weight": {0: 1.0, 1: 2.0, 2: 3.0}}):
        with pytest.raises(ValueError, match='CrossEntropyLoss: sample w.* with reduction="none"'):
            model.fit(x, y, verbose=0, **options)
    found = []
    ours = losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = model.get_weights()
    for loss in (nn.CrossEntropyLoss(reduction="none"), ours):
        model.set_weights(weights)
        model.compile("sgd", loss, weighted_metrics=["accuracy"])
        fitted = model.fit(x, y, epochs=2, shuffle=False, verbose=0, sample_weight=weight)
        found.append(fitted.history["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_labels_out_of_range_are_named_before_training() -> None:
    x, y = data()
    model = model_of(2)
    model.compile("sgd", nn.CrossEntropyLoss())
    with pytest.raises(
        ValueError, match=r"labels for cross_entropy_loss must be in \[0, 2\), sinc"
    ):
        model.fit(x, y, verbose=0)
    model.compile("sgd", nn.CrossEntropyLoss(ignore_index=2))
    model.fit(x, y, verbose=0)


def test_a_module_as_metric_and_its_name() -> None:
    x, y = data()
    model = model_of()
    model.compile("sgd", nn.CrossEntropyLoss(), metrics=[nn.CrossEntropyLoss()])
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    assert found["cross_entropy_loss"] == pytest.approx(found["loss"], rel=1e-5)


def test_a_model_with_one_is_its_own_and_moves_with_its_device() -> None:
    module = nn.CrossEntropyLoss(weight=torch.ones(CLASSES))
    model = model_of()
    model.compile("sgd", module)
    assert len(list(model.parameters())) == 2
    assert not any("module" in name for name, _ in model.named_modules())
    model._objective.to(torch.device("meta"))
    assert module.weight.device.type == "meta"


def test_a_module_cannot_be_saved() -> None:
    with pytest.raises(TypeError, match="TorchLoss: a torch module has no config to save; got MSE"):
        losses.serialize(losses.TorchLoss(nn.MSELoss()))
    model = model_of()
    model.compile("sgd", nn.MSELoss())
    with pytest.raises(
        TypeError, match=r"a torch loss has no config to save; got MSELoss\(\)\. Use"
    ):
        model.get_compile_config()
