"""Modules imported when a feature needs them: optional packages, and slow parts of torch."""

import importlib
from types import ModuleType


def require(module_name: str, extra: str, feature: str) -> ModuleType:
    """Imports a module of an optional package.

    With `late` the only way in which our code imports anything inside a function: `import torchseq`
    stays quick and works without the package, and the user who needs it reads what to install.

    Args:
        module_name: what to import, such as `"h5py"` or `"matplotlib.pyplot"`.
        extra: torchseq's extra that installs the package.
        feature: who needs it, as the user knows it: `"model.save('m.h5')"`.

    Returns:
        The module itself, also for a dotted name.

    Raises:
        ImportError: the package is not installed. A package that is there and fails within its
            own imports raises what it raises, since installing it again would not help.

    Examples:
        >>> require("json.decoder", "keras-files", "load_model").__name__
        'json.decoder'
    """
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not is_part_of(module_name, error.name):
            raise
        package = module_name.partition(".")[0]
        raise ImportError(
            f"`{feature}` needs the package {package}, which is not installed. "
            f'Install it with: pip install "torchseq[{extra}]"',
            name=error.name,
        ) from error


def late(module_name: str) -> ModuleType:
    """Imports a module of torch that takes long to import and that few need.

    Examples:
        >>> late("torch.fx").__name__
        'torch.fx'
    """
    return importlib.import_module(module_name)


def is_part_of(module_name: str, parent_name: str) -> bool:
    """Tells whether `parent_name` is the module, or a package that it lies in.

    Examples:
        >>> is_part_of("matplotlib.pyplot", "matplotlib"), is_part_of("matplotlib", "numpy")
        (True, False)
    """
    return f"{module_name}.".startswith(f"{parent_name}.")
