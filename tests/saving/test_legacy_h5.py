import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import torchseq as keras
from tests.saving import samples
from torchseq import layers, optimizers
from torchseq.base.errors import FileFormatError, UnsupportedFeatureError


def kernel_entry(file: Any) -> str:
    """Returns the path of the first layer's first weight in a whole-model file."""
    group = file["model_weights"]
    layer = group.attrs["layer_names"][0]
    return f"model_weights/{layer}/{group[layer].attrs['weight_names'][0]}"


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("make", [samples.mlp, samples.convnet])
def test_a_loaded_model_goes_on_as_if_never_saved(
    make: Any, optimizer: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = make()
    x, y = samples.data(model, rng)
    chosen = optimizers.SGD(0.05, momentum=0.9) if optimizer == "sgd" else optimizer
    samples.trained(model, x, y, chosen)
    model.save(tmp_path / "m.h5")
    loaded = keras.models.load_model(tmp_path / "m.h5")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    samples.assert_equal_arrays(samples.values(loaded), samples.values(model))
    assert samples.train(loaded, x, y) == samples.train(model, x, y)
    samples.assert_equal_arrays(samples.values(loaded), samples.values(model))


def test_weights_load_by_order_and_by_name(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, name="a"), layers.Dense(3)])
    model.save_weights(tmp_path / "w.h5")
    model.save(tmp_path / "m.hdf5")
    for name in ("w.h5", "m.hdf5"):
        other = keras.Sequential([keras.Input((4,)), layers.Dense(5, name="z"), layers.Dense(3)])
        other.load_weights(tmp_path / name)
        samples.assert_equal_arrays(other.get_weights(), model.get_weights())

        longer = keras.Sequential(
            [keras.Input((4,)), layers.Dense(5, name="a"), layers.Dense(7, name="new")]
        )
        before = longer.get_weights()
        longer.load_weights(tmp_path / name, by_name=True)
        samples.assert_equal_arrays(longer.get_weights(), model.get_weights()[:2] + before[2:])
    samples.assert_equal_arrays(
        keras.models.load_model(tmp_path / "m.hdf5").get_weights(), model.get_weights()
    )


def test_weights_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    samples.mlp().save_weights(tmp_path / "w.h5")
    cases = {
        r"shape \(4, 6\), dtype float32; got shape \(4, 5\)": [layers.Dense(6), layers.Dense(3)],
        r"shape \(5, 2\), dtype float32; got shape \(5, 3\)": [layers.Dense(5), layers.Dense(2)],
        "it has 1 ": [layers.Dense(5)],
        "as many weights": [layers.Dense(5), layers.Dense(3, use_bias=False)],
    }
    for message, parts in cases.items():
        model = keras.Sequential([keras.Input((4,)), *parts])
        before = model.get_weights()
        with pytest.raises(FileFormatError, match=rf"w\.h5: .*{message}"):
            model.load_weights(tmp_path / "w.h5")
        samples.assert_equal_arrays(model.get_weights(), before)
    other = keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.Dense(2)])
    last = other.get_weights()[2:]
    with pytest.warns(UserWarning, match="skipped"):
        other.load_weights(tmp_path / "w.h5", skip_mismatch=True)
    samples.assert_equal_arrays(other.get_weights()[2:], last)
    with pytest.raises(FileFormatError, match="'model_config'; it does not"):
        keras.models.load_model(tmp_path / "w.h5")


def test_long_lists_of_names_are_split(tmp_path: Path) -> None:
    names = [f"{'n' * 200}{i}" for i in range(400)]
    model = keras.Sequential([keras.Input((1,)), *(layers.Dense(1, name=name) for name in names)])
    other = keras.Sequential([keras.Input((1,)), *(layers.Dense(1, name=name) for name in names)])
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert {"layer_names0", "layer_names1"} <= set(file.attrs)
    other.load_weights(tmp_path / "w.h5")
    samples.assert_equal_arrays(other.get_weights(), model.get_weights())


# Files of Keras 1 and 2, written here as those wrote them.

DENSE = {"name": "d", "trainable": True, "units": 3, "activation": "softmax", "use_bias": True}


def keras_2_model(**options: Any) -> dict[str, Any]:
    first = {
        **DENSE,
        "batch_input_shape": [None, 4],
        "dtype": "float32",
        "kernel_initializer": {
            "class_name": "VarianceScaling",
            "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
        },
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01}},
    }
    layer_configs = [{"class_name": "Dense", "config": first}]
    return {"class_name": "Sequential", "config": {"name": "s", "layers": layer_configs, **options}}


def write_keras_2(
    path: Path, model_config: Any, training: Any, slots: dict[str, Any], kernel: Any, bias: Any
) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.2.4"
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(model_config).encode()
        if training is not None:
            file.attrs["training_config"] = json.dumps(training).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"d"])
        layer = group.create_group("d")
        layer.attrs["weight_names"] = np.array([b"d/kernel:0", b"d/bias:0"])
        layer["d/kernel:0"], layer["d/bias:0"] = kernel, bias
        if slots:
            group = file.create_group("optimizer_weights")
            group.attrs["weight_names"] = np.array([name.encode() for name in slots])
            for name, value in slots.items():
                group[name] = value


def test_a_keras_2_file_goes_on_training(tmp_path: Path, rng: np.random.Generator) -> None:
    kernel, bias = rng.normal(size=(4, 3)).astype("f"), rng.normal(size=3).astype("f")
    slots = {
        "training/Adam/iter:0": np.int64(7),
        "training/Adam/d/kernel/m:0": rng.normal(size=(4, 3)).astype("f"),
        "training/Adam/d/bias/m:0": rng.normal(size=3).astype("f"),
        "training/Adam/d/kernel/v:0": rng.random((4, 3)).astype("f"),
        "training/Adam/d/bias/v:0": rng.random(3).astype("f"),
    }
    training = {
        "optimizer_config": {
            "class_name": "Adam",
            "config": {"name": "Adam", "lr": 0.25, "beta_1": 0.8, "decay": 0.0, "amsgrad": False},
        },
        "loss": "mse",
        "metrics": [
            [
                {
                    "class_name": "MeanMetricWrapper",
                    "config": {"name": "accuracy", "dtype": "float32", "fn": "binary_accuracy"},
                },
                {
                    "class_name": "MeanMetricWrapper",
                    "config": {"name": "mae", "dtype": "float32", "fn": "mean_absolute_error"},
                },
            ]
        ],
        "weighted_metrics": None,
        "sample_weight_mode": None,
        "loss_weights": None,
    }
    write_keras_2(tmp_path / "m.h5", keras_2_model(), training, slots, kernel, bias)
    model = keras.models.load_model(tmp_path / "m.h5")
    samples.assert_equal_arrays(model.get_weights(), [kernel, bias])
    assert model.optimizer.get_config()["learning_rate"] == 0.25
    assert model.optimizer.get_config()["beta_1"] == 0.8
    found = [variable.numpy() for variable in model.optimizer.variables]
    kernel_m, bias_m, kernel_v, bias_v = list(slots.values())[1:]
    samples.assert_equal_arrays(found, [7, np.float32(0.25), kernel_m, kernel_v, bias_m, bias_v])
    x, y = samples.data(model, rng)
    assert set(samples.train(model, x, y)) == {"accuracy", "loss", "mean_absolute_error"}


def test_slots_as_tensorflow_2_11_wrote_them(tmp_path: Path, rng: np.random.Generator) -> None:
    kernel, bias = rng.normal(size=(4, 3)).astype("f"), rng.normal(size=3).astype("f")
    slots = {
        "iteration:0": np.int64(7),
        "learning_rate:0": np.float32(0.5),
        "SGD/m/d/kernel:0": rng.normal(size=(4, 3)).astype("f"),
        "SGD/m/d/bias:0": rng.normal(size=3).astype("f"),
    }
    optimizer = {"learning_rate": 0.5, "momentum": 0.9, "is_legacy_optimizer": False}
    training = {
        "optimizer_config": {"class_name": "Custom>SGD", "config": {"name": "SGD", **optimizer}},
        "loss": "mean_squared_error",
        "metrics": None,
    }
    write_keras_2(tmp_path / "m.h5", keras_2_model(), training, slots, kernel, bias)
    model = keras.models.load_model(tmp_path / "m.h5")
    found = [variable.numpy() for variable in model.optimizer.variables]
    samples.assert_equal_arrays(found, list(slots.values()))


def test_a_bare_list_and_keras_1_arguments(tmp_path: Path, rng: np.random.Generator) -> None:
    kernel, bias = rng.normal(size=(4, 3)).astype("f"), rng.normal(size=3).astype("f")
    dense = {
        "name": "d",
        "trainable": True,
        "batch_input_shape": [None, 4],
        "input_dim": 4,
        "input_dtype": "float32",
        "output_dim": 3,
        "init": "glorot_uniform",
        "activation": "relu",
        "bias": True,
        "W_regularizer": None,
        "b_regularizer": None,
        "activity_regularizer": None,
        "W_constraint": None,
        "b_constraint": None,
    }
    config = [
        {"class_name": "Dense", "config": dense},
        {"class_name": "Dropout", "config": {"name": "p", "trainable": True, "p": 0.5}},
    ]
    for model_config in (config, {"class_name": "Sequential", "config": config}):
        write_keras_2(tmp_path / "m.h5", model_config, None, {}, kernel, bias)
        model = keras.models.load_model(tmp_path / "m.h5")
        samples.assert_equal_arrays(model.get_weights(), [kernel, bias])
        assert [layer.name for layer in model.layers] == ["d", "p"]
        assert model.layers[1].rate == 0.5


def test_optimizer_state_that_does_not_fit_is_left_out_with_a_warning(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    slots = {f"strange_{i}": np.zeros(3, "f") for i in range(4)}
    training = {"optimizer_config": {"class_name": "Adam", "config": {}}, "loss": "mse"}
    kernel, bias = np.ones((4, 3), "f"), np.ones(3, "f")
    write_keras_2(tmp_path / "m.h5", keras_2_model(), training, slots, kernel, bias)
    with pytest.warns(UserWarning, match="state was left out"):
        model = keras.models.load_model(tmp_path / "m.h5")
    samples.train(model, *samples.data(model, rng))


# Files that reach beyond themselves.


def replace_by_external_link(file: Any, entry: str, folder: Path) -> None:
    samples.mlp().save_weights(folder / "other.h5")
    del file[entry]
    file[entry] = h5py.ExternalLink(str(folder / "other.h5"), "/top_level_model_weights")


def replace_by_soft_link(file: Any, entry: str, folder: Path) -> None:
    file["elsewhere"] = file[entry][()]
    del file[entry]
    file[entry] = h5py.SoftLink("/elsewhere")


def replace_by_virtual_dataset(file: Any, entry: str, folder: Path) -> None:
    shape = file[entry].shape
    with h5py.File(folder / "source.h5", "w") as source:
        source["x"] = np.ones(shape, "f")
    layout = h5py.VirtualLayout(shape, "f")
    layout[...] = h5py.VirtualSource(folder / "source.h5", "x", shape)
    del file[entry]
    file.create_virtual_dataset(entry, layout)


def replace_by_external_storage(file: Any, entry: str, folder: Path) -> None:
    shape = file[entry].shape
    (folder / "raw").write_bytes(bytes(1000))
    del file[entry]
    file.create_dataset(entry, shape, "f", external=[(str(folder / "raw"), 0, 80)])


def replace_by_giant(file: Any, entry: str, folder: Path) -> None:
    del file[entry]
    file.create_dataset(entry, (1 << 40, 5), "f", chunks=(1024, 5), compression="gzip")


def replace_by_empty_of_right_shape(file: Any, entry: str, folder: Path) -> None:
    shape = file[entry].shape
    del file[entry]
    file.create_dataset(entry, shape, "f", chunks=shape)


def replace_by_objects(file: Any, entry: str, folder: Path) -> None:
    shape = file[entry].shape
    del file[entry]
    file.create_dataset(entry, shape, h5py.string_dtype())


def replace_by_compound(file: Any, entry: str, folder: Path) -> None:
    shape = file[entry].shape
    del file[entry]
    file.create_dataset(entry, data=np.zeros(shape, [("a", "f"), ("b", "f")]))


def replace_by_group(file: Any, entry: str, folder: Path) -> None:
    del file[entry]
    file.create_group(entry)


def remove(file: Any, entry: str, folder: Path) -> None:
    del file[entry]


def name_outside(file: Any, entry: str, folder: Path) -> None:
    layer = file[entry.split("/")[0]][entry.split("/")[1]]
    names = list(layer.attrs["weight_names"])
    layer.attrs["weight_names"] = [f"../../{entry}", *names[1:]]


def objects_as_names(file: Any, entry: str, folder: Path) -> None:
    file["model_weights"].attrs["layer_names"] = np.arange(3)


HOSTILE: dict[Any, str] = {
    replace_by_external_link: "ExternalLink",
    replace_by_soft_link: "SoftLink",
    replace_by_virtual_dataset: "virtual dataset",
    replace_by_external_storage: "lie in another file",
    replace_by_giant: "of which it holds 0",
    replace_by_empty_of_right_shape: "of which it holds 0",
    replace_by_objects: "dtype object",
    replace_by_compound: "plain array of numbers",
    replace_by_group: "must be a dataset; got a group",
    remove: "must lie in the file itself",
    name_outside: "words joined by slashes",
    objects_as_names: "must hold text",
}


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_files_that_reach_beyond_themselves_are_refused(change: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    model = samples.mlp()
    model.save(path)
    with h5py.File(path, "a") as file:
        change(file, kernel_entry(file), tmp_path)
    before = model.get_weights()
    with pytest.raises(FileFormatError, match=rf"m\.h5: .*{HOSTILE[change]}"):
        keras.models.load_model(path)
    with pytest.raises(FileFormatError, match=rf"m\.h5: .*{HOSTILE[change]}"):
        model.load_weights(path)
    samples.assert_equal_arrays(model.get_weights(), before)


def test_a_group_behind_a_link_is_refused(tmp_path: Path) -> None:
    samples.mlp().save(tmp_path / "other.h5")
    samples.mlp().save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/model_weights")
    with pytest.raises(FileFormatError, match="ExternalLink"):
        keras.models.load_model(tmp_path / "m.h5")
    with pytest.raises(FileFormatError, match="ExternalLink"):
        samples.mlp().load_weights(tmp_path / "m.h5")


def test_arrays_that_unpack_to_far_more_than_the_file(tmp_path: Path) -> None:
    shape = (4096, 8192)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = ["d"]
        group = file.create_group("d")
        group.attrs["weight_names"] = ["kernel"]
        group.create_dataset("kernel", data=np.zeros(shape, "f"), compression="gzip")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, use_bias=False)])
    with pytest.raises(FileFormatError, match=f"declare {4096 * 8192 * 4}"):
        model.load_weights(tmp_path / "w.h5")


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_compressed_weights_are_fine(compression: str, tmp_path: Path) -> None:
    model = samples.mlp()
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as source, h5py.File(tmp_path / "c.h5", "w") as target:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                target.create_dataset(name, data=item[()], compression=compression, shuffle=True)
            else:
                target.require_group(name)
            target[name].attrs.update(item.attrs)

        source.visititems(copy)
        target.attrs.update(source.attrs)
    other = samples.mlp()
    other.load_weights(tmp_path / "c.h5")
    samples.assert_equal_arrays(other.get_weights(), model.get_weights())


def test_big_endian_weights_are_fine(tmp_path: Path) -> None:
    model, other = samples.mlp(), samples.mlp()
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        for layer in model.layers:
            group = file[layer.name]
            for name in group.attrs["weight_names"]:
                values = group[name][()].astype(">f4")
                del group[name]
                group[name] = values
    other.load_weights(tmp_path / "w.h5")
    samples.assert_equal_arrays(other.get_weights(), model.get_weights())


def test_config_of_giant_layers_fails_before_memory_is_asked_for(tmp_path: Path) -> None:
    samples.mlp().save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["units"] = 10**11
        file.attrs["model_config"] = json.dumps(config).encode()
    with pytest.raises(FileFormatError, match="100000000000"):
        keras.models.load_model(tmp_path / "m.h5")


@pytest.mark.parametrize(
    "function",
    [["4wEAAAAA", None, None], {"class_name": "__lambda__", "config": {"code": "4wEAAAAA"}}],
)
def test_bytecode_of_lambdas_is_refused(function: Any, tmp_path: Path) -> None:
    config = keras_2_model()
    config["config"]["layers"].append(
        {"class_name": "Lambda", "config": {"name": "l", "function": function}}
    )
    write_keras_2(tmp_path / "m.h5", config, None, {}, np.ones((4, 3), "f"), np.ones(3, "f"))
    with pytest.raises(UnsupportedFeatureError, match=r"m\.h5: .*bytecode of a lambda"):
        keras.models.load_model(tmp_path / "m.h5")


def test_damage_on_which_hdf5_never_returns_is_found_first(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    model = samples.mlp()
    model.save(path)
    contents = bytearray(path.read_bytes())
    first_object = contents.find(b"GCOL") + 16
    contents[first_object : first_object + 16] = bytes(16)
    path.write_bytes(contents)
    for load in (keras.models.load_model, model.load_weights):
        with pytest.raises(FileFormatError, match=r"m\.h5: the heap at byte \d+ must come to"):
            load(path)


def test_damaged_configs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    kernel, bias = np.ones((4, 3), "f"), np.ones(3, "f")
    for config, message in {
        "{": "'model_config' must be JSON",
        "[" * 100_000: "'model_config' must be JSON",
        "[" * 101 + "]" * 101: "nested at most 100",
        '{"class_name": "NoSuch", "config": {}}': "'NoSuch'",
        '{"class_name": "Sequential", "config": 5}': "can be built",
        "5": "must describe a model",
        '"' + "x" * (17 << 20) + '"': "at most 16777216 bytes",
    }.items():
        write_keras_2(path, None, None, {}, kernel, bias)
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = config
        with pytest.raises(FileFormatError, match=rf"m\.h5: .*{message}"):
            keras.models.load_model(path)
    write_keras_2(path, keras_2_model(), {"loss": "mse"}, {}, kernel, bias)
    with pytest.raises(FileFormatError, match="'training_config'.*compile=False"):
        keras.models.load_model(path)
    assert keras.models.load_model(path, compile=False).built


def test_h5py_missing_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = samples.mlp()
    model.save(tmp_path / "m.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    for action in (model.save, model.save_weights, model.load_weights, keras.models.load_model):
        with pytest.raises(ImportError, match="keras-files"):
            action(tmp_path / "m.h5")
