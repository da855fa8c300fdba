"""torch's optimizers and schedulers in `compile`: a loop by hand, forms, files, errors."""

import copy
import functools
import json
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file
from torch.optim import lr_scheduler

import torchseq
from torchseq import callbacks, layers, optimizers
from torchseq.base.errors import FileFormatError, UnsupportedFeatureError
from torchseq.optimizers import TorchOptimizer

BATCH, EPOCHS = 4, 3
STEPS = EPOCHS * 16 // BATCH
KINDS: dict[str, Any] = {
    "SGD": functools.partial(torch.optim.SGD, lr=0.1),
    "SGD momentum": functools.partial(
        torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "Adam": functools.partial(torch.optim.Adam, lr=0.01, amsgrad=True),
    "Adam fused": functools.partial(torch.optim.Adam, lr=0.01, fused=True),
    "Adam tensor rate": functools.partial(torch.optim.Adam, lr=torch.tensor(0.01)),
    "AdamW": functools.partial(torch.optim.AdamW, lr=0.01, betas=(0.8, 0.99)),
    "NAdam": functools.partial(torch.optim.NAdam, lr=0.01),
    "RAdam": functools.partial(torch.optim.RAdam, lr=0.01),
    "Adamax": functools.partial(torch.optim.Adamax, lr=0.01),
    "Adagrad": functools.partial(torch.optim.Adagrad, lr=0.05),
    "Adadelta": functools.partial(torch.optim.Adadelta, lr=1.0),
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=0.01, centered=True, momentum=0.5),
    "Rprop": functools.partial(torch.optim.Rprop, lr=0.01),
    "ASGD": functools.partial(torch.optim.ASGD, lr=0.05),
    "Adafactor": functools.partial(torch.optim.Adafactor, lr=0.05),
}
SCHEDULERS: dict[str, tuple[Any, str]] = {
    "StepLR": (functools.partial(lr_scheduler.StepLR, step_size=1, gamma=0.5), "epoch"),
    "MultiStepLR": (functools.partial(lr_scheduler.MultiStepLR, milestones=[2, 5, 5]), "step"),
    "ExponentialLR": (functools.partial(lr_scheduler.ExponentialLR, gamma=0.9), "step"),
    "CosineAnnealingLR": (functools.partial(lr_scheduler.CosineAnnealingLR, T_max=9), "step"),
    "WarmRestarts": (
        functools.partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=3, T_mult=2),
        "step",
    ),
    "LinearLR": (functools.partial(lr_scheduler.LinearLR, total_iters=8), "step"),
    "PolynomialLR": (functools.partial(lr_scheduler.PolynomialLR, total_iters=20), "step"),
    "ConstantLR": (functools.partial(lr_scheduler.ConstantLR, factor=0.5, total_iters=1), "epoch"),
    "OneCycleLR": (
        functools.partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=2 * STEPS),
        "step",
    ),
    "CyclicLR": (
        functools.partial(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=3),
        "step",
    ),
}


def network(seed: int = 0) -> Any:
    torchseq.utils.set_random_seed(seed)
    return torchseq.Sequential(
        [torchseq.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(2)]
    )


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.tensor(rng.normal(size=(16, 3)), dtype=torch.float32),
        torch.tensor(rng.normal(size=(16, 2)), dtype=torch.float32),
    )


def fit(model: Any, data: Any, epochs: int = EPOCHS, **options: Any) -> Any:
    return model.fit(
        *data, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, **options
    ).history


def train_by_hand(
    model: Any,
    data: Any,
    optimizer: Any,
    scheduler: Any = None,
    interval: str = "",
    epochs: int = EPOCHS,
) -> None:
    x, y = data
    model.train()
    for _ in range(epochs):
        for start in range(0, len(x), BATCH):
            loss = torch.nn.functional.mse_loss(
                model(x[start : start + BATCH]), y[start : start + BATCH]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if interval == "step":
                scheduler.step()
        if interval == "epoch":
            scheduler.step()
    model.eval()


def assert_same(one: Any, other: Any) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["object", "factory"])
@pytest.mark.parametrize("kind", KINDS)
def test_fit_gives_the_bits_of_a_loop_by_hand(kind: str, form: str, data: Any) -> None:
    make = KINDS[kind]
    if kind == "Adam tensor rate":  # which assigning changes in place
        make = functools.partial(torch.optim.Adam, lr=torch.tensor(0.01))
    by_hand, model = network(), network()
    train_by_hand(by_hand, data, make(by_hand.parameters()))
    model.compile(make(model.parameters()) if form == "object" else make, "mse")
    fit(model, data)
    assert_same(model, by_hand)
    assert int(model.optimizer.iterations) == STEPS


@pytest.mark.parametrize("case", SCHEDULERS)
def test_schedulers_step_as_in_a_loop_by_hand(case: str, data: Any) -> None:
    make, interval = SCHEDULERS[case]
    by_hand, model = network(), network()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    train_by_hand(by_hand, data, optimizer, make(optimizer), interval)
    model.compile((KINDS["SGD momentum"], make, interval), "mse")
    twin = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.compile((make(twin), interval), "mse")
    fit(model, data)
    assert_same(model, by_hand)
    assert float(model.optimizer.learning_rate) == optimizer.param_groups[0]["lr"]


def test_train_on_batch_steps_the_scheduler_of_steps_alone(data: Any) -> None:
    for interval, rate in (("step", 0.05), ("epoch", 0.1)):
        model = network()
        halving = functools.partial(lr_scheduler.StepLR, step_size=1, gamma=0.5)
        model.compile((KINDS["SGD"], halving, interval), "mse")
        model.train_on_batch(*data)
        assert float(model.optimizer.learning_rate) == rate


def test_constraints_hold_after_steps_of_torch(data: Any) -> None:
    model = torchseq.Sequential(
        [torchseq.Input((3,)), layers.Dense(2, kernel_constraint="non_neg")]
    )
    model.compile(KINDS["SGD"], "mse")
    fit(model, data)
    assert (model.get_weights()[0] >= 0).all()


def test_apply_takes_gradients_in_keras_layout() -> None:
    model, by_hand = network(), network()
    model.compile(KINDS["AdamW"], "mse")
    grads = [np.ones(weight.shape, "float32") for weight in model.trainable_weights]
    model.optimizer.apply([*grads[:-1], None], model.trainable_weights)
    optimizer = KINDS["AdamW"](by_hand.parameters())
    for weight in by_hand.trainable_weights[:-1]:
        weight.tensor.grad = torch.ones_like(weight.tensor)
    optimizer.step()
    assert_same(model, by_hand)
    assert int(model.optimizer.iterations) == 1
    with pytest.raises(ValueError, match="one gradient per weight; got 1 gradients for 4"):
        model.optimizer.apply(grads[:1])


# --- forms --------------------------------------------------------------------------------------


def test_a_function_is_called_when_the_model_is_built(data: Any) -> None:
    calls = []

    def make(params: Any) -> Any:
        calls.append([tuple(param.shape) for param in params])
        optimizer = torch.optim.SGD(params, lr=0.1)
        return lr_scheduler.StepLR(optimizer, 1, gamma=0.5), "epoch"

    model = torchseq.Sequential([layers.Dense(2)])
    model.compile(make, "mse")
    assert calls == []
    with pytest.raises(ValueError, match="called when the model is built; it is not yet"):
        _ = model.optimizer.learning_rate
    fit(model, data)
    assert calls == [[(2, 3), (2,)]]
    assert float(model.optimizer.learning_rate) == 0.1 * 0.5**EPOCHS


def test_one_function_serves_several_models(data: Any) -> None:
    optimizer = optimizers.get(KINDS["SGD momentum"])
    models = [network(), network(1)]
    for model in models:
        model.compile(optimizer, "mse")
        fit(model, data)
    for seed, model in enumerate(models):
        by_hand = network(seed)
        train_by_hand(by_hand, data, KINDS["SGD momentum"](by_hand.parameters()))
        assert_same(model, by_hand)


def test_an_optimizer_of_some_weights_trains_those(data: Any) -> None:
    model, by_hand = network(), network()
    make = KINDS["AdamW"]
    model.compile(make(model.layers[1].parameters()), "mse")
    fit(model, data)
    train_by_hand(by_hand, data, make(by_hand.layers[1].parameters()))
    assert_same(model, by_hand)
    assert all(weight.tensor.grad is None for weight in model.trainable_weights)


def test_an_optimizer_of_other_weights_is_refused(data: Any) -> None:
    model, other = network(), network()
    with pytest.raises(ValueError, match="this SGD holds none of its 4 trainable weights"):
        model.compile(KINDS["SGD"](other.parameters()), "mse")
    later = torchseq.Sequential([layers.Dense(2)])
    later.compile(KINDS["SGD"](other.parameters()), "mse")
    with pytest.raises(ValueError, match="this SGD holds none of its 2 trainable weights"):
        fit(later, data)


def test_weights_that_train_after_compile_ask_for_another(data: Any) -> None:
    model = network()
    model.layers[0].trainable = False
    model.compile(KINDS["SGD"], "mse")
    fit(model, data, 1)
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match=r"kernel' \(2 weights in all\) did not train yet"):
        fit(model, data, 1)
    model.compile(KINDS["SGD"], "mse")
    fit(model, data, 1)


def plateau(params: Any) -> Any:
    return lr_scheduler.ReduceLROnPlateau(torch.optim.SGD(params, lr=0.1)), "epoch"


BAD: dict[str, tuple[Any, Any, str]] = {
    "LBFGS": (lambda p: torch.optim.LBFGS(p), UnsupportedFeatureError, "LBFGS computes the loss s"),
    "LBFGS class": (lambda p: torch.optim.LBFGS, UnsupportedFeatureError, "LBFGS computes"),
    "LBFGS made": (
        lambda p: lambda params: torch.optim.LBFGS(params),
        UnsupportedFeatureError,
        "LBFGS computes",
    ),
    "plateau": (plateau, UnsupportedFeatureError, r"Use callbacks.ReduceLROnPlateau\(monitor="),
    "plateau class": (
        lambda p: (torch.optim.SGD, functools.partial(lr_scheduler.ReduceLROnPlateau), "epoch"),
        UnsupportedFeatureError,
        "callbacks.ReduceLROnPlateau",
    ),
    "no interval": (
        lambda p: lr_scheduler.StepLR(torch.optim.SGD(p, lr=0.1), 1),
        ValueError,
        r'must come with its interval; got StepLR alone. Pass optimizer=\(scheduler, "step"\)',
    ),
    "no interval made": (
        lambda p: lambda params: lr_scheduler.StepLR(torch.optim.SGD(params, lr=0.1), 1),
        ValueError,
        "must come with its interval",
    ),
    "pair": (
        lambda p: (torch.optim.SGD(p, lr=0.1), lr_scheduler.StepLR),
        ValueError,
        r"the tuple \(SGD, StepLR\) is not understood .* Give a torch optimizer, its class",
    ),
    "interval": (
        lambda p: (torch.optim.SGD, functools.partial(lr_scheduler.StepLR, step_size=1), "batch"),
        ValueError,
        r"`interval` must be one of \['step', 'epoch'\]; got interval='batch'",
    ),
    "interval alone": (lambda p: (torch.optim.SGD, None, "step"), ValueError, "needs a torch sche"),
    "no scheduler": (
        lambda p: (torch.optim.SGD(p, lr=0.1), 5, "step"),
        TypeError,
        "a torch scheduler must be a torch.optim.lr_scheduler.LRScheduler; got 5",
    ),
    "scheduler of another": (
        lambda p: (
            torch.optim.SGD(p, lr=0.1),
            lr_scheduler.StepLR(torch.optim.Adam(p), 1),
            "step",
        ),
        ValueError,
        "must be one of this optimizer; StepLR came with a Adam",
    ),
    "no optimizer": (
        lambda p: lambda params: None,
        TypeError,
        "must be a torch.optim.Optimizer; got None",
    ),
    "function made": (lambda p: lambda params: len, TypeError, "must return a torch optimizer"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_train_is_refused_in_compile(case: str) -> None:
    make, error, message = BAD[case]
    model = network()
    with pytest.raises(error, match=message):
        model.compile(make(list(model.parameters())), "mse")


# --- learning rate ------------------------------------------------------------------------------


def test_learning_rate_is_read_and_set_in_all_the_ways_that_scripts_do() -> None:
    model = network()
    for rate in (0.1, torch.tensor(0.1, dtype=torch.float64)):
        model.compile(torch.optim.SGD(model.parameters(), lr=rate), "mse")
        optimizer = model.optimizer
        assert float(optimizer.learning_rate) == 0.1  # not rounded to float32
        optimizer.learning_rate = 0.05
        assert float(optimizer.lr) == 0.05
        optimizer.learning_rate.assign(np.float32(0.25))
        assert float(optimizer.param_groups[0]["lr"]) == 0.25
        optimizer.lr = torch.tensor(0.5)
        assert optimizer.learning_rate.numpy() == 0.5
        optimizer.learning_rate *= 0.5
        assert float(optimizer.learning_rate) == 0.25
        with pytest.raises(ValueError, match="`learning_rate` must be at least 0"):
            optimizer.learning_rate = -1.0
        with pytest.raises(ValueError, match="`learning_rate` must be at least 0"):
            optimizer.learning_rate = "fast"


def test_groups_keep_the_ratio_of_their_rates() -> None:
    model = network()
    groups = [
        {"params": model.layers[0].parameters(), "lr": 0.1},
        {"params": model.layers[1].parameters(), "lr": 0.2},
    ]
    model.compile(torch.optim.SGD(groups), "mse")
    for rate in (0.01, 0.0, 0.4):  # from 0 the ratio is that of the beginning
        model.optimizer.learning_rate = rate
        rates = [group["lr"] for group in model.optimizer.param_groups]
        assert rates == pytest.approx([rate, 2 * rate])


def test_callbacks_of_keras_set_the_rate(data: Any) -> None:
    model, by_hand = network(), network()
    model.compile(torch.optim.Adam(model.parameters(), lr=0.1), "mse")
    halving = callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 * 0.5**epoch)
    history = fit(model, data, callbacks=[halving])
    assert history["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.1)
    train_by_hand(by_hand, data, optimizer, lr_scheduler.ExponentialLR(optimizer, 0.5), "epoch")
    assert_same(model, by_hand)


def test_reduce_lr_on_plateau_of_keras_works_with_torchs_optimizers(data: Any) -> None:
    model = network()
    model.compile(torch.optim.Adam(model.parameters(), lr=0.1), "mse")
    plateau = callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    fit(model, data, callbacks=[plateau])  # no change of the loss is large enough
    assert float(model.optimizer.learning_rate) == 0.1 * 0.5 ** (EPOCHS - 1)


def test_a_rate_that_follows_a_scheduler_cannot_be_set() -> None:
    model = network()
    model.compile(
        (torch.optim.SGD, functools.partial(lr_scheduler.StepLR, step_size=3), "step"), "mse"
    )
    with pytest.raises(TypeError, match="follows StepLR and cannot be set"):
        model.optimizer.learning_rate = 0.2


# --- state --------------------------------------------------------------------------------------


def go_on_from_file(model: Any, data: Any, path: Any, **options: Any) -> Any:
    """Save after the first epoch, load, and train both to the end."""
    fit(model, data, 1)
    model.save(path)
    loaded = torchseq.saving.load_model(path, **options)
    for each in (model, loaded):
        fit(each, data, EPOCHS, initial_epoch=1)
    assert_same(model, loaded)
    assert int(loaded.optimizer.iterations) == STEPS
    return loaded


@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on_to_the_same_bits_from_a_file(kind: str, tmp_path: Any, data: Any) -> None:
    model = network()
    model.compile(KINDS[kind](model.parameters()), "mse")
    loaded = go_on_from_file(model, data, tmp_path / "m.safetensors")
    assert type(loaded.optimizer.optimizer) is type(model.optimizer.optimizer)
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)


@pytest.mark.parametrize("form", ["object", "factory"])
@pytest.mark.parametrize("case", SCHEDULERS)
def test_schedulers_go_on_from_a_file(case: str, form: str, tmp_path: Any, data: Any) -> None:
    make, interval = SCHEDULERS[case]
    model = network()
    if form == "factory":
        model.compile((KINDS["SGD momentum"], make, interval), "mse")
    else:
        optimizer = KINDS["SGD momentum"](model.parameters())
        model.compile((make(optimizer), interval), "mse")
    if form == "object" and case in ("OneCycleLR", "CyclicLR"):
        with pytest.warns(UserWarning, match=rf"{case} does not tell with which .*max_lr"):
            model.save(tmp_path / "m.safetensors")
        assert not torchseq.saving.load_model(tmp_path / "m.safetensors").compiled
        return
    loaded = go_on_from_file(model, data, tmp_path / "m.safetensors")
    assert float(loaded.optimizer.learning_rate) == float(model.optimizer.learning_rate)


def test_groups_and_frozen_layers_go_on_from_a_file(tmp_path: Any, data: Any) -> None:
    model = torchseq.Sequential(
        [torchseq.Input((3,)), *(layers.Dense(2, activation="tanh") for _ in range(3))]
    )
    model.layers[0].trainable = False
    groups = [
        {"params": model.layers[2].parameters(), "lr": 0.1},
        {"params": [*model.layers[0].parameters(), *model.layers[1].parameters()], "lr": 0.02},
    ]
    model.compile(torch.optim.SGD(groups, momentum=0.9), "mse")
    loaded = go_on_from_file(model, data, tmp_path / "m.safetensors")
    assert [group["lr"] for group in loaded.optimizer.param_groups] == [0.1, 0.02]


def test_functions_that_make_torchs_own_optimizers_go_on_from_a_file(
    tmp_path: Any, data: Any
) -> None:
    model = network()
    model.compile(lambda params: torch.optim.AdamW(params, lr=0.02), "mse")
    go_on_from_file(model, data, tmp_path / "m.safetensors")


class Signs(torch.optim.Optimizer):
    """A user's: steps by the sign of a sum of gradients."""

    def __init__(self, params: Any, lr: float):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                total = self.state[param].get("total", 0) + param.grad
                count = self.state[param].get("count", 0) + 1
                self.state[param] = {"total": total, "count": count}
                param.sub_(total.sign(), alpha=group["lr"] / count)


def test_optimizers_of_users_go_on_from_a_file(tmp_path: Any, data: Any) -> None:
    model = network()
    model.compile(Signs(model.parameters(), 0.1), "mse")
    path = tmp_path / "m.safetensors"
    go_on_from_file(model, data, path, custom_objects={"Signs": Signs})
    with pytest.raises(FileFormatError, match="'Signs' is no Optimizer that torch has"):
        torchseq.saving.load_model(path)


def test_files_of_a_model_that_was_not_trained_bring_its_optimizer(tmp_path: Any) -> None:
    model = torchseq.Sequential([layers.Dense(2)])
    model.compile(KINDS["RMSprop"], "mse")
    model.save(tmp_path / "m.safetensors")
    loaded = torchseq.saving.load_model(tmp_path / "m.safetensors")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.optimizer.optimizer is None


def test_what_no_file_can_hold_is_left_out_with_a_warning(tmp_path: Any, data: Any) -> None:
    model = network()
    warm_up = functools.partial(lr_scheduler.LambdaLR, lr_lambda=lambda step: 0.1 * step)
    model.compile((KINDS["SGD"], warm_up, "step"), "mse")
    fit(model, data, 1)
    path = tmp_path / "m.safetensors"
    with pytest.warns(UserWarning, match=r"left out: .*cannot hold the option lr_lambda="):
        model.save(path)
    loaded = torchseq.saving.load_model(path)
    assert not loaded.compiled
    loaded.compile((KINDS["SGD"], warm_up, "step"), "mse")
    loaded.optimizer.load_state_dict(copy.deepcopy(model.optimizer.state_dict()))
    for each in (model, loaded):
        fit(each, data, 1)
    assert_same(model, loaded)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_formats_of_keras_leave_the_optimizer_out_with_a_warning(
    suffix: str, tmp_path: Any, data: Any, recwarn: Any
) -> None:
    model = network()
    model.compile(KINDS["AdamW"], "mse")
    fit(model, data, 1)
    path = tmp_path / f"m{suffix}"
    with pytest.warns(UserWarning, match="no place for a torch optimizer. Save as `.safetensors`"):
        model.save(path)
    loaded = torchseq.saving.load_model(path)
    assert not loaded.compiled
    assert_same(model, loaded)
    model.save(path, include_optimizer=False)  # warns no more
    model.save_weights(tmp_path / "m.weights.h5")
    model.load_weights(tmp_path / "m.weights.h5")


def test_a_backup_of_a_running_fit_holds_the_state(tmp_path: Any, data: Any) -> None:
    class Stop(callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    def compiled() -> Any:
        model = network()
        make, interval = SCHEDULERS["CosineAnnealingLR"]
        model.compile((KINDS["NAdam"], make, interval), "mse")
        return model

    whole, first, second = compiled(), compiled(), compiled()
    fit(whole, data)
    with pytest.raises(KeyboardInterrupt):
        fit(first, data, callbacks=[callbacks.BackupAndRestore(tmp_path / "backup"), Stop()])
    fit(second, data, callbacks=[callbacks.BackupAndRestore(tmp_path / "backup")])
    assert_same(second, whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: facts.pop("tensors"),
        lambda facts: facts["tensors"].append([0, "exp_avg"]),
        lambda facts: facts["tensors"][0].reverse(),
        lambda facts: facts.update(groups=[3]),
        lambda facts: facts.update(iterations="many"),
    ],
)
def test_damaged_state_in_a_file_is_named(damage: Any, tmp_path: Any, data: Any) -> None:
    model = network()
    model.compile(KINDS["AdamW"], "mse")
    fit(model, data, 1)
    path = tmp_path / "m.safetensors"
    model.save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        text = json.loads(file.metadata()["torchseq"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    damage(text["torch_optimizer"])
    save_file(tensors, path, {"format": "pt", "torchseq": json.dumps(text)})
    with pytest.raises(FileFormatError, match="'torch_optimizer' in the header must be the state"):
        torchseq.saving.load_model(path)
    torchseq.saving.load_model(path, compile=False)


def test_a_file_of_other_trainable_weights_leaves_the_state_out(tmp_path: Any, data: Any) -> None:
    model = network()
    model.compile(KINDS["AdamW"], "mse")
    fit(model, data, 1)
    model.layers[0].trainable = False  # and not compiled again
    model.save(tmp_path / "m.safetensors")
    with pytest.warns(UserWarning, match="the optimizer's state was left out, since it does not"):
        loaded = torchseq.saving.load_model(tmp_path / "m.safetensors")
    fit(loaded, data, 1)


def test_state_that_does_not_fit_is_left_as_it_is(data: Any) -> None:
    models = [network(), torchseq.Sequential([torchseq.Input((3,)), layers.Dense(2)])]
    for model in models:
        model.compile(KINDS["AdamW"], "mse")
        fit(model, data, 1)
    before = copy.deepcopy(models[1].optimizer.state_dict())
    assert not models[1].optimizer.load_saved_state(*models[0].optimizer.saved_state())
    assert str(models[1].optimizer.state_dict()) == str(before)


def test_variables_show_count_rate_and_state(data: Any) -> None:
    model = network()
    model.compile(KINDS["AdamW"], "mse")
    assert len(model.optimizer.variables) == 2
    fit(model, data, 1)
    optimizer = model.optimizer
    assert [variable.name for variable in optimizer.variables[:5]] == [
        "iteration",
        "learning_rate",
        "step",
        "exp_avg",
        "exp_avg_sq",
    ]
    values = [variable.numpy() + 1 for variable in optimizer.variables]
    optimizer.set_weights(values)
    assert float(optimizer.learning_rate) == 1.01
    for variable, value in zip(optimizer.variables, values, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    with pytest.raises(ValueError, match="set_weights needs 14 arrays.*got 1"):
        optimizer.set_weights(values[:1])
    with pytest.raises(ValueError, match=r"TorchOptimizer: the value of .* got \(7,\)"):
        optimizer.set_weights([np.zeros_like(value) for value in values[:-1]] + [np.ones(7)])
    for variable, value in zip(optimizer.variables, values, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_copied_model_trains_on_by_itself(data: Any) -> None:
    model = network()
    make, interval = SCHEDULERS["CosineAnnealingLR"]
    model.compile((KINDS["AdamW"], make, interval), "mse")
    fit(model, data, 1)
    other = copy.deepcopy(model)
    fit(other, data, 1)
    assert int(model.optimizer.iterations) == STEPS // EPOCHS
    fit(model, data, 1)
    assert_same(model, other)


def test_state_follows_a_model_to_another_dtype(data: Any) -> None:
    model = network()
    model.compile(KINDS["AdamW"], "mse")
    fit(model, data, 1)
    model.double()
    fit(model, [part.double() for part in data], 1)
    dtypes = {v.dtype for v in model.optimizer.variables if v.name.startswith("exp_avg")}
    assert dtypes == {"float64"}


def test_an_adapter_can_be_made_and_passed_by_hand(data: Any) -> None:
    model, by_hand = network(), network()
    model.compile(TorchOptimizer(torch.optim.SGD(model.parameters(), lr=0.1)), "mse")
    fit(model, data)
    train_by_hand(by_hand, data, torch.optim.SGD(by_hand.parameters(), lr=0.1))
    assert_same(model, by_hand)
    assert "of SGD" in repr(model.optimizer)
