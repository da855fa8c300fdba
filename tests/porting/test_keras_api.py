"""The table of Keras's names against the installed Keras."""

from types import ModuleType

import keras

from torchseq.porting import keras_api, keras_names


def public_names(module: ModuleType) -> set[str]:
    values = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return {name for name, value in values.items() if callable(value)}


def test_table_is_for_the_installed_keras() -> None:
    assert keras.__version__ == keras_names.KERAS_VERSION


def test_table_has_every_name_of_keras() -> None:
    for path, names in keras_api.NAMES.items():
        module = keras
        for part in path.split(".") if path else ():
            module = getattr(module, part)
        assert public_names(module) == names, path


def test_table_has_every_module_of_keras() -> None:
    modules = {
        name
        for name, value in vars(keras).items()
        if isinstance(value, ModuleType) and value.__name__.startswith("keras.")
    }
    assert modules - {"_tf_keras", "api", "src"} <= keras_api.NAMES.keys()
