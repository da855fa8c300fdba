"""Names and configs to objects and back."""

import numpy as np
import pytest
import torch

import torchseq as ts
from torchseq.base import registry


@pytest.fixture(autouse=True)
def _no_leftovers():
    before = dict(registry._custom), dict(registry._custom_names)
    yield
    registry._custom.clear()
    registry._custom.update(before[0])
    registry._custom_names.clear()
    registry._custom_names.update(before[1])


class Scale(ts.Layer):
    """A layer of a user's."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor


def test_plain_values_and_containers_keep_their_types():
    value = {"a": [1, 2.5, None, "x", True], "b": (1, (2,))}
    assert registry.serialize(value) == value
    assert registry.deserialize(value) == value


def test_numpy_scalars_become_plain_numbers():
    result = registry.serialize([np.int64(3), np.float32(0.5), np.bool_(True)])
    assert result == [3, 0.5, True]
    assert [type(entry) for entry in result] == [int, float, bool]


@pytest.mark.parametrize("value", [np.arange(3, dtype="int16"), np.ones((2, 1), "float32")])
def test_arrays_go_round(value):
    back = registry.deserialize(registry.serialize(value))
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_go_round(dtype):
    value = torch.tensor([0, 1, 2]).to(dtype)
    back = registry.deserialize(registry.serialize(value))
    assert back.dtype == dtype
    assert torch.equal(back, value)


def test_a_layer_goes_round():
    layer = ts.layers.Dense(3, activation="relu", name="d")
    config = registry.serialize(layer)
    assert (config["module"], config["class_name"]) == ("keras.layers", "Dense")
    assert registry.deserialize(config).get_config() == layer.get_config()


def test_aliases_are_written_under_the_classs_own_name():
    assert registry.serialize(ts.layers.MaxPool2D())["class_name"] == "MaxPooling2D"


def test_a_custom_class_needs_custom_objects_or_registration():
    config = registry.serialize(Scale(2.0, name="s"))
    with pytest.raises(ValueError, match=r"'Scale'.*custom_objects=\{'Scale': \.\.\.\}"):
        registry.deserialize(config)
    assert registry.deserialize(config, {"Scale": Scale}).factor == 2.0
    with registry.custom_object_scope({"Scale": Scale}):
        assert registry.deserialize(config).factor == 2.0
    registry.register_keras_serializable("mine")(Scale)
    config = registry.serialize(Scale(2.0))
    assert config["registered_name"] == "mine>Scale"
    assert isinstance(registry.deserialize(config), Scale)


def test_a_config_cannot_name_a_module_to_import():
    config = {"module": "os", "class_name": "system", "config": {"command": "true"}}
    with pytest.raises(ValueError, match="does not know"):
        registry.deserialize(config)
    config = {"module": "builtins", "class_name": "function", "config": "eval"}
    with pytest.raises(ValueError, match="does not know"):
        registry.deserialize(config)


def test_a_lambda_cannot_be_saved():
    with pytest.raises(ValueError, match="a lambda cannot be saved"):
        registry.serialize(lambda x: x)


def test_an_object_without_config_is_refused():
    with pytest.raises(TypeError, match="must have `get_config`"):
        registry.serialize(object())


def test_a_registered_class_must_have_a_config():
    with pytest.raises(ValueError, match="must have `get_config`"):
        registry.register_keras_serializable()(type("Bare", (), {}))


def test_unknown_names_name_the_nearest():
    family = registry.Family("fruit", "keras.fruits", {"apple": int, "pear": float})
    with pytest.raises(ValueError, match=r"fruit: 'appel' is not a known name\. Nearest: 'apple'"):
        family.get("appel")
    with pytest.raises(ValueError, match=r"Known: 'apple', 'pear'"):
        family.get("zzz")
    with pytest.raises(TypeError, match="must be a name, a config"):
        family.get(3)


def test_functions_go_by_name_when_registered():
    @registry.register_keras_serializable("mine")
    def double(x):
        return 2 * x

    assert registry.deserialize(registry.serialize(double)) is double
