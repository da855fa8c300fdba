"""Makes `keras` and `tensorflow`, and all modules in them, mean torchseq.

A finder answers the import system with proxies: modules that look each name up in the torchseq
module of the same path when it is asked for. Objects are torchseq's own, so `isinstance`, pickles
and settings are shared; only the modules are others, because `keras.__version__` is Keras's.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

from torchseq.base import arguments
from torchseq.porting import keras_api, keras_names, tensorflow

_ROOTS = ("keras", "tensorflow", "tf_keras")
# Parts of torchseq that no Keras module corresponds to.
_INSIDE = {"base", "cli", "data", "engine", "porting"}
# With this module there, TensorBoard does without TensorFlow: what it would call is not offered.
_TENSORBOARD_SWITCH = "tensorboard.compat.notf"
_MISSING = object()


def install(replace: bool = False) -> None:
    """Make `import keras`, `import tensorflow` and all that lies in them mean torchseq.

    Args:
        replace: also when the real ones are imported already; `uninstall` brings them back.

    Raises:
        RuntimeError: the real ones are imported already, and `replace` is False.

    Examples:
        >>> from torchseq import porting
        >>> porting.install(replace=True)
        >>> from tensorflow.keras.layers import Dense
        >>> Dense.__module__.partition(".")[0]
        'torchseq'
        >>> porting.uninstall()
    """
    if _finder in sys.meta_path:
        return
    present = sorted(_present())
    if present and not replace:
        raise RuntimeError(
            f"torchseq.porting.install: keras and tensorflow must not be imported yet; got "
            f"{present[0]!r} from {getattr(sys.modules[present[0]], '__file__', 'memory')}. "
            "Call it first, in a fresh process, or call install(replace=True)."
        )
    for name in present:
        _replaced[name] = sys.modules.pop(name)
    sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Undo `install`: the names mean the real packages again, if there are any."""
    if _finder not in sys.meta_path:
        return
    sys.meta_path.remove(_finder)
    for name in [*_present(), _TENSORBOARD_SWITCH]:
        sys.modules.pop(name, None)
    sys.modules.update(_replaced)
    _replaced.clear()


_replaced: dict[str, ModuleType] = {}


def _present() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] in _ROOTS]


# --- what modules contain -----------------------------------------------------------------------


def _is_module(name: str) -> bool:
    """Tell whether there is a module of this canonical name."""
    root, _, path = name.partition(".")
    if root == "tensorflow":
        return path in tensorflow.NAMESPACES
    is_only_renamed = any(old.startswith(f"{path}.") for old in keras_names.RENAMED)
    return _torchseq_module(path) is not None or is_only_renamed


@functools.cache
def _torchseq_module(path: str) -> ModuleType | None:
    """Return torchseq's public module at this path, None if there is none."""
    package = importlib.import_module("torchseq")
    top, _, rest = path.partition(".")
    if not top:
        return package
    if top not in _top_modules():
        return None
    module = importlib.import_module(f"torchseq.{top}")
    for part in rest.split(".") if rest else ():
        found = getattr(module, part, None) if part in _public(module) else None
        if not isinstance(found, ModuleType):
            return None
        module = found
    return module


def _top_modules() -> set[str]:
    package = importlib.import_module("torchseq")
    found = {module.name for module in pkgutil.iter_modules(package.__path__)}
    return {name for name in found - _INSIDE if not name.startswith("_")}


def _public(module: ModuleType | None) -> list[str]:
    return [name for name in getattr(module, "__all__", ()) if name not in _INSIDE]


def _own_values(name: str) -> Mapping[str, Any]:
    """Return what a module has that torchseq's module of the same path lacks."""
    root, _, path = name.partition(".")
    if root == "tensorflow":
        return tensorflow.NAMESPACES[path]
    if name == "keras":
        return {"__version__": keras_names.KERAS_VERSION, "version": _keras_version}
    return {}


def _keras_version() -> str:
    """Return the version of Keras that torchseq follows."""
    return keras_names.KERAS_VERSION


def _value(name: str, attribute: str) -> Any:
    """Return an attribute of the module `name` that is no module; `_MISSING` if there is none."""
    own = _own_values(name)
    if attribute in own:
        return own[attribute]
    if not name.startswith("keras"):
        return _MISSING
    path = name[len("keras.") :]
    module = _torchseq_module(path)
    if attribute in _public(module):
        found = getattr(module, attribute)
        return _MISSING if isinstance(found, ModuleType) else found
    ours = keras_names.RENAMED.get(f"{path}.{attribute}" if path else attribute)
    if ours is None:
        return _MISSING
    holder, _, new_name = ours.rpartition(".")
    return _value(f"keras.{holder}".rstrip("."), new_name)


def _names(name: str) -> list[str]:
    """Return all names in a module: values, those that were renamed, and modules."""
    root, _, path = name.partition(".")
    if root == "tensorflow":
        modules = {*tensorflow.NAMESPACES, "keras"}
        return sorted({*_own_values(name), *_below(path, modules)})
    offered = {old for old in _below(path, keras_names.RENAMED) if _has(name, old)}
    top = set() if path else _top_modules()
    return sorted({*_own_values(name), *_public(_torchseq_module(path)), *top, *offered})


def _below(path: str, names: Iterable[str]) -> set[str]:
    """Return the last parts of those names that lie directly in `path`."""
    parts = (name.rpartition(".") for name in names if name)
    return {last for holder, _, last in parts if holder == path}


def _has(name: str, attribute: str) -> bool:
    return _value(name, attribute) is not _MISSING


# --- errors -------------------------------------------------------------------------------------


def _explanation(name: str) -> str:
    """Return why there is no such module or attribute, and what to do.

    Args:
        name: canonical, with the module in front.
    """
    root, _, path = name.partition(".")
    holder, _, attribute = name.rpartition(".")
    reasons = tensorflow.NOT_OFFERED if root == "tensorflow" else keras_names.NOT_OFFERED
    known = keras_names.longest_prefix(path, reasons)
    if known is not None:
        return f"{name}: torchseq does not offer it: {reasons[known]}"
    known_holder = holder if _is_module(holder) else root
    hint = arguments.nearest(attribute, _names(known_holder))
    near = f" {hint}" if hint.startswith("Nearest") else ""
    if root == "tensorflow":
        return (
            f"{name}: torchseq offers of TensorFlow only Keras and what its scripts print or "
            f"configure; got {attribute!r}.{near} Write this part in plain torch, or run it with "
            "the real TensorFlow."
        )
    module_path = path.rpartition(".")[0]
    if attribute in keras_api.NAMES.get(module_path, ()) or path in keras_api.NAMES:
        return (
            f"{name}: Keras {keras_names.KERAS_VERSION} has it, torchseq does not offer it."
            f"{near} Write this part in plain torch (a Sequential takes any `nn.Module` as a "
            "layer), or run the script with the real Keras."
        )
    return (
        f"{name}: neither Keras {keras_names.KERAS_VERSION} nor torchseq has it.{near} "
        "Check the spelling, or look for its new name in Keras's documentation."
    )


def _import_error(full_name: str) -> ImportError:
    """Return the error that the statement which asks for `full_name` should raise."""
    text = _explanation(keras_names.canonical(full_name))
    # `from a import b` asks for the module a.b when a has no attribute b. A ModuleNotFoundError
    # would be swallowed there, and with it the explanation.
    if _is_from_import(sys._getframe(1)):
        return ImportError(text, name=full_name)
    return ModuleNotFoundError(text, name=full_name)


def _is_from_import(frame: FrameType | None) -> bool:
    """Tell whether the innermost import under way is a `from ... import ...` on a module."""
    while frame is not None and _is_machinery(frame.f_code.co_filename):
        if frame.f_code.co_name == "_handle_fromlist":
            return True
        frame = frame.f_back
    return False


def _is_machinery(file_name: str) -> bool:
    return file_name == __file__ or file_name.startswith("<frozen importlib")


# --- proxies ------------------------------------------------------------------------------------


class _Proxy(ModuleType):
    """A module of Keras or TensorFlow, with torchseq's objects in it."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return [entry for entry in _names(self.__name__) if not entry.startswith("_")]
        found = _value(self.__name__, name)
        if found is not _MISSING:  # looked up anew each time: changes to torchseq show here
            return found
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name)
        full_name = f"{self.__name__}.{name}"
        if _is_module(keras_names.canonical(full_name)):
            return importlib.import_module(full_name)
        raise AttributeError(_explanation(keras_names.canonical(full_name)), name=name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_names(self.__name__)]

    def __repr__(self) -> str:
        return f"<module {self.__name__!r} from torchseq>"


class _Finder(MetaPathFinder, Loader):
    """Finds and loads the proxies."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in _ROOTS and fullname != _TENSORBOARD_SWITCH:
            return None
        if fullname != _TENSORBOARD_SWITCH and not _is_module(keras_names.canonical(fullname)):
            raise _import_error(fullname)
        return ModuleSpec(fullname, self, origin="torchseq", is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        is_alias = keras_names.canonical(spec.name) != spec.name
        return None if is_alias or spec.name == _TENSORBOARD_SWITCH else _Proxy(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        name = keras_names.canonical(module.__name__)
        if name != module.__name__:  # what Keras has under several names is one module
            sys.modules[module.__name__] = importlib.import_module(name)


_finder = _Finder()
