"""Names and configs <-> classes and functions, and nothing else.

A config can name only what stands in these tables: torchseq's own objects, what the program
registered with `register_keras_serializable`, and what the caller passes as `custom_objects`. No
module is imported and no code is run because a config says so.

Source: keras.saving (serialize_keras_object, deserialize_keras_object, custom objects).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch

from torchseq.base import arguments, dtypes
from torchseq.base.types import Config

_Thing = TypeVar("_Thing")

_builtin: dict[tuple[str, str], Any] = {}  # (Keras module, class or function name) -> object
_builtin_names: dict[str, Any] = {}  # class or function name alone, for old and moved configs
_module_of: dict[Any, tuple[str, str]] = {}  # object -> its key in _builtin
_custom: dict[str, Any] = {}  # registered name -> object
_custom_names: dict[Any, str] = {}
_scopes: list[dict[str, Any]] = []

_PLAIN = (str, int, float, bool, type(None))


# --- tables -------------------------------------------------------------------------------------


def register_builtin(module: str, names: Mapping[str, Any]) -> None:
    """Enter torchseq's own public objects under the Keras module that has them.

    Args:
        module: such as `"keras.layers"`.
        names: public name -> class or function; configs get its own name, not an alias.
    """
    for name, thing in names.items():
        if not callable(thing):
            continue
        _builtin[module, name] = thing
        _builtin_names.setdefault(name, thing)
        own_name = thing.__name__ if thing.__name__ in names else name
        _module_of.setdefault(thing, (module, own_name))


def is_builtin(thing: Any) -> bool:
    """Tell whether `thing` is a public class or function of torchseq's own."""
    return thing in _module_of


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[_Thing], _Thing]:
    """Return a decorator that lets files name a class or function of yours.

    Args:
        package: written before the name, `package>name`, to keep names of several packages apart.
        name: the class or function name by default.

    Raises:
        ValueError: if a class has no `get_config`.

    Source: keras.saving.register_keras_serializable.
    """

    def decorate(thing: _Thing) -> _Thing:
        if inspect.isclass(thing) and not hasattr(thing, "get_config"):
            raise ValueError(
                f"register_keras_serializable: a registered class must have `get_config`; "
                f"{thing.__name__} has none. Add one that returns its constructor arguments."
            )
        own_name = name if name is not None else getattr(thing, "__name__", str(thing))
        registered = f"{package}>{own_name}"
        _custom[registered] = thing
        _custom_names[thing] = registered
        return thing

    return decorate


def get_registered_name(obj: Any) -> str:
    """Return `package>name` for a registered class or function, else its plain name."""
    return _custom_names.get(obj) or str(getattr(obj, "__name__", obj))


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any:
    """Return what is registered under `name`, or None."""
    for table in (*_scope_tables(custom_objects), _custom, module_objects or {}):
        if name in table:
            return table[name]
    return None


def get_custom_objects() -> dict[str, Any]:
    """Return the table of objects known everywhere; changing it registers objects."""
    return _custom


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any]) -> Iterator[None]:
    """Let configs read inside name these objects.

    Args:
        custom_objects: name in configs -> class or function.

    Source: keras.saving.CustomObjectScope.
    """
    _scopes.append(dict(custom_objects))
    try:
        yield
    finally:
        _scopes.pop()


def _scope_tables(custom_objects: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return [custom_objects or {}, *reversed(_scopes)]


# --- object -> config ---------------------------------------------------------------------------


def serialize(obj: Any) -> Any:
    """Return the JSON-able description of `obj`, as `keras.saving.serialize_keras_object` does.

    Raises:
        TypeError: for objects without `get_config` that are neither plain values nor functions.
        ValueError: for lambdas, which have no name by which a file could refer to them.
    """
    if isinstance(obj, bool | np.bool_):
        return bool(obj)
    if isinstance(obj, _PLAIN):
        return obj
    if isinstance(obj, np.integer):
        return int(obj)
    if isinstance(obj, np.floating):
        return float(obj)
    if isinstance(obj, list | tuple):
        kind = tuple if isinstance(obj, tuple) else list
        return kind(serialize(entry) for entry in obj)
    if isinstance(obj, Mapping):
        return {key: serialize(value) for key, value in obj.items()}
    if isinstance(obj, np.ndarray):
        return _described("__numpy__", {"value": obj.tolist(), "dtype": obj.dtype.name})
    if isinstance(obj, torch.Tensor):
        values = obj.detach().to("cpu", torch.float64 if obj.is_floating_point() else None)
        return _described(
            "__tensor__", {"value": values.numpy().tolist(), "dtype": dtypes.name_of(obj.dtype)}
        )
    if isinstance(obj, torch.dtype):
        return dtypes.name_of(obj)
    if not inspect.isclass(obj) and hasattr(obj, "get_config"):
        return _serialize_object(obj)
    if callable(obj) and hasattr(obj, "__name__"):
        return _serialize_function(obj)
    raise TypeError(
        f"serialize: an object must have `get_config` to be saved; got {obj!r} of type "
        f"{type(obj).__name__}. Write `get_config`, returning its constructor arguments."
    )


def _described(class_name: str, config: Config) -> Config:
    return {"class_name": class_name, "config": config}


def _serialize_object(obj: Any) -> Config:
    module, class_name = _module_of.get(type(obj), (type(obj).__module__, type(obj).__name__))
    is_builtin = type(obj) in _module_of
    config = {
        "module": module,
        "class_name": class_name,
        "config": serialize(obj.get_config()),
        "registered_name": None if is_builtin else get_registered_name(type(obj)),
    }
    build_config = obj.get_build_config() if hasattr(obj, "get_build_config") else None
    if build_config is not None:
        config["build_config"] = serialize(build_config)
    if hasattr(obj, "get_compile_config"):
        config["compile_config"] = serialize(obj.get_compile_config())
    return config


def _serialize_function(function: Any) -> Config:
    name = function.__name__
    if name == "<lambda>":
        raise ValueError(
            "serialize: a lambda cannot be saved, since a file must not hold code; got "
            f"{function!r}. Define a named function and pass it in `custom_objects` when loading."
        )
    return {
        "module": "builtins",
        "class_name": "function",
        "config": get_registered_name(function),
        "registered_name": "function",  # Keras's word for none
    }


# --- config -> object ---------------------------------------------------------------------------


def deserialize(
    config: Any,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> Any:
    """Return the object that `config` describes.

    Args:
        config: what `serialize` (or Keras's) returned, or Keras's older form without `module`.
        custom_objects: name in the config -> class or function of yours.
        safe_mode: accepted for Keras's sake; no config can run code here, with or without it.

    Raises:
        ValueError: if the config names a class or function that is not known.
        TypeError: if it is none of the known forms.

    Source: keras.saving.deserialize_keras_object.
    """
    if isinstance(config, list | tuple):
        return type(config)(deserialize(entry, custom_objects) for entry in config)
    if not isinstance(config, Mapping):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: deserialize(value, custom_objects) for key, value in config.items()}
    class_name, inner = config["class_name"], config["config"]
    if class_name in ("__numpy__", "__tensor__"):
        return _deserialize_array(class_name, inner)
    if class_name == "function":
        registered = config.get("registered_name")
        registered = None if registered == "function" else registered  # Keras's word for none
        return find(str(inner), "builtins", custom_objects, registered)
    thing = find(
        str(class_name), config.get("module"), custom_objects, config.get("registered_name")
    )
    return _instance(thing, class_name, inner, config.get("build_config"), custom_objects)


def _instance(thing: Any, name: str, config: Any, build_config: Any, custom_objects: Any) -> Any:
    if not hasattr(thing, "from_config"):
        raise TypeError(
            f"deserialize: a class named in a config must have `from_config`; {name} has none."
        )
    config = _copied(config)  # users' `from_config` often take things out
    if "custom_objects" in inspect.signature(thing.from_config).parameters:
        made = thing.from_config(config, custom_objects=custom_objects)
    else:
        with custom_object_scope(custom_objects or {}):
            made = thing.from_config(config)
    if build_config and hasattr(made, "build_from_config"):
        made.build_from_config(build_config)
    return made


def _copied(config: Any) -> Any:
    """Return a config with new mappings and lists, and the same entries."""
    if type(config) is dict:
        return {key: _copied(value) for key, value in config.items()}
    if type(config) in (list, tuple):
        return type(config)(_copied(value) for value in config)
    return config


def find(
    name: str,
    module: str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    registered_name: str | None = None,
) -> Any:
    """Return the class or function that a config means by `name`.

    Raises:
        ValueError: if it is in no table.
    """
    for table in (*_scope_tables(custom_objects), _custom):
        for key in (registered_name, name):
            if key and key in table:
                return table[key]
    if not module or module == "builtins" or module.startswith("keras"):
        found = _builtin.get((module or "", name), _builtin_names.get(name))
        if found is not None:
            return found
    raise ValueError(
        f"deserialize: the config names {registered_name or name!r}"
        + (f" of module {module!r}" if module else "")
        + ", which torchseq does not know. Pass custom_objects={"
        + f"{name!r}: ...}}, or decorate it with @register_keras_serializable(). "
        + arguments.nearest(name, _builtin_names)
    )


def _deserialize_array(class_name: str, config: Any) -> Any:
    array = np.array(config["value"])
    if class_name == "__numpy__":
        return array.astype(config["dtype"])
    return torch.tensor(array).to(dtypes.torch_dtype(config["dtype"]))


# --- families -----------------------------------------------------------------------------------


class Family:
    """The named objects of one kind, such as the initializers, and Keras's `get` over them.

    Args:
        kind: for error messages, such as `"initializer"`.
        module: the Keras module they live in, such as `"keras.initializers"`.
        names: every accepted string -> class or function.
        instantiate: make an object when a name or class is given (functions stay as they are).
    """

    def __init__(self, kind: str, module: str, names: Mapping[str, Any], instantiate: bool = True):
        self.kind = kind
        self.module = module
        self.names = dict(names)
        self.instantiate = instantiate

    def get(self, identifier: Any) -> Any:
        """Return the object for None, a name, a config, a class, or an object (returned as it is).

        Raises:
            ValueError: if the name is not known, with the nearest known ones.
            TypeError: if it is none of these.
        """
        if identifier is None:
            return None
        if isinstance(identifier, Mapping):
            return self.deserialize(identifier)
        if isinstance(identifier, str):
            return self._made(self._by_name(identifier))
        if callable(identifier) or hasattr(identifier, "get_config"):
            return self._made(identifier)
        raise TypeError(
            f"{self.kind}: must be a name, a config, an object or a callable; got {identifier!r}."
        )

    def deserialize(self, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return the object that a config or name describes."""
        if isinstance(config, str):
            return self._made(self._by_name(config, custom_objects))
        if isinstance(config, Mapping):
            config = {"module": self.module, **config}  # old configs name no module
        return self._made(deserialize(config, custom_objects))

    def serialize(self, obj: Any) -> Any:
        """Return an object's config; a built-in function's is its name."""
        if obj is None:
            return None
        if inspect.isfunction(obj) and obj.__name__ in self.names:
            return obj.__name__
        return serialize(obj)

    def _by_name(self, name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
        found = get_registered_object(name, custom_objects, self.names)
        if found is None:
            raise ValueError(
                f"{self.kind}: {name!r} is not a known name. {arguments.nearest(name, self.names)}"
            )
        return found

    def _made(self, thing: Any) -> Any:
        return thing() if self.instantiate and inspect.isclass(thing) else thing
