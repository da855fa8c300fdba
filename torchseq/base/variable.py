"""A weight as Keras shows it, over the torch tensor that holds it.

torch keeps a Linear's weight as (units, features), Keras shows a Dense's kernel as
(features, units). A `Variable` is the second, seen through to the first: a view where axes only
move, a converted copy where entries are reordered. There is one tensor, and it is torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from torchseq.base import dtypes, naming, pieces, settings
from torchseq.base.types import Shape

Conversion: TypeAlias = Callable[[Tensor], Tensor]


# What floating variables are cast to when they are read: set by a layer with a mixed policy.
reading_dtype: list[torch.dtype | None] = [None]


class _Holder:
    """Holds the tensor of a variable that belongs to no module."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


class Variable:
    """A tensor with a name, a shape and a dtype, that can be assigned to and used as a tensor.

    Args:
        initializer: the value (array, tensor, number), or a callable `(shape, dtype) -> tensor`,
            for which `shape` is needed.
        shape: tuple of sizes.
        dtype: dtype name; that of the value, or floatx, by default.
        trainable: whether gradients flow to it.
        name: unique by default.

    Raises:
        ValueError: if `initializer` is a callable and `shape` is missing.

    Source: keras.Variable. Values are torch tensors; torch functions take a Variable as a tensor.
    """

    regularizer: Any = None
    constraint: Any = None
    autocast = True  # whether a layer with a mixed policy reads it in its compute dtype

    def __init__(
        self,
        initializer: Any,
        shape: Shape | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
    ):
        if callable(initializer):
            if shape is None:
                raise ValueError(
                    "Variable: `shape` must be given with a callable initializer; got shape=None."
                )
            value = initializer(shape, dtype=dtypes.name_of(dtype))
        else:
            value = initializer
        tensor = as_tensor(value, dtype)
        if trainable and tensor.is_floating_point():
            tensor = nn.Parameter(tensor.detach().clone())
        self._bind(_Holder(tensor), "tensor", name or naming.auto_name("Variable"))

    @classmethod
    def over(
        cls,
        owner: Any,
        attribute: str,
        name: str,
        axes: tuple[int, ...] | None = None,
        to_keras: Conversion | None = None,
        to_torch: Conversion | None = None,
    ) -> Variable:
        """Return a variable over the tensor `owner.attribute`.

        Args:
            owner: a module, or anything that has the attribute.
            attribute: name of the parameter or buffer on `owner`.
            name: Keras's name for it.
            axes: the torch tensor's axes in Keras's order; None leaves them.
            to_keras: torch tensor -> Keras's form, where axes alone do not do it.
            to_torch: the inverse of `to_keras`.
        """
        variable = cls.__new__(cls)
        variable._bind(owner, attribute, name, axes, to_keras, to_torch)
        return variable

    def _bind(
        self,
        owner: Any,
        attribute: str,
        name: str,
        axes: tuple[int, ...] | None = None,
        to_keras: Conversion | None = None,
        to_torch: Conversion | None = None,
    ) -> None:
        self._owner, self._attribute = owner, attribute
        self._axes, self._to_keras, self._to_torch = axes, to_keras, to_torch
        self.name = name
        self.path = naming.path_to(name)

    # The tensor, in torch's form and in Keras's.

    @property
    def tensor(self) -> Tensor:
        """The torch parameter or buffer itself, in torch's layout."""
        owner, attribute = self._owner, self._attribute
        if isinstance(owner, nn.Module):  # its attribute of that name may be this variable
            tensor: Tensor | None = owner._parameters.get(attribute)
            tensor = owner._buffers.get(attribute) if tensor is None else tensor
            if tensor is not None:
                return tensor
        found: Tensor = getattr(owner, attribute)  # a parametrized weight, say
        return found

    @property
    def is_parameter(self) -> bool:
        """Whether it was made to be trained; a frozen parameter is one still."""
        return isinstance(self.tensor, nn.Parameter)

    @property
    def value(self) -> Tensor:
        """The tensor in Keras's layout; gradients flow through it to the parameter."""
        value = self._exact()
        dtype = reading_dtype[0]
        if dtype is None or not (self.autocast and value.is_floating_point()):
            return self._with_gradient(value)
        return value.to(dtype)

    def _with_gradient(self, value: Tensor) -> Tensor:
        """Let the parameter's gradient be found at `value.grad`, also where `value` is a view."""
        parameter = self.tensor
        if value is not parameter and parameter.is_leaf and parameter.grad is not None:
            value.grad = self.in_keras_layout(parameter.grad)
        return value

    def _exact(self) -> Tensor:
        """Return the tensor in Keras's layout and in its own dtype."""
        return self.in_keras_layout(self.tensor)

    def in_keras_layout(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the parameter's layout (a gradient, a slot) in Keras's."""
        if self._to_keras is not None:
            return self._to_keras(tensor)
        return tensor if self._axes is None else tensor.permute(self._axes)

    def in_torch_layout(self, tensor: Tensor) -> Tensor:
        """Return a tensor of Keras's layout in the parameter's."""
        if self._to_torch is not None:
            return self._to_torch(tensor)
        if self._axes is None:
            return tensor
        inverse = sorted(range(len(self._axes)), key=self._axes.__getitem__)
        return tensor.permute(inverse)

    # What Keras users read.

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, in Keras's order."""
        return tuple(self._exact().shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._exact().ndim

    @property
    def dtype(self) -> str:
        """Dtype name, such as `"float32"`; that of what is read now, as in Keras."""
        if reading_dtype[0] is not None:
            return dtypes.name_of(self.value.dtype)
        return dtypes.name_of(self.tensor.dtype)

    @property
    def trainable(self) -> bool:
        """Whether gradients flow to it; buffers never train."""
        return self.tensor.requires_grad

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if isinstance(self.tensor, nn.Parameter) and self.tensor.is_floating_point():
            self.tensor.requires_grad_(bool(value))

    @property
    def grad(self) -> Tensor | None:
        """The parameter's gradient, in Keras's layout."""
        grad = self.tensor.grad
        return None if grad is None else self.in_keras_layout(grad)

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return a copy of the values as an array on the host."""
        value = self.in_keras_layout(pieces.whole(self.tensor.detach()))
        if value.dtype == torch.bfloat16:  # NumPy has no such dtype
            value = value.float()
        return np.array(value.cpu().numpy())

    def assign(self, value: Any) -> Variable:
        """Replace the values, in place.

        Args:
            value: array or tensor of the same shape.

        Raises:
            ValueError: if the shapes differ.
        """
        source = as_tensor(value).detach()
        if tuple(source.shape) != self.shape:
            raise ValueError(
                f"Variable: a value assigned to {self.path!r} must have its shape, {self.shape}; "
                f"got shape {tuple(source.shape)}."
            )
        with torch.no_grad():
            tensor = self.tensor
            tensor.copy_(pieces.cut_as(self.in_torch_layout(source), tensor))
        return self

    def assign_add(self, value: Any) -> Variable:
        """Add to the values, in place."""
        return self.assign(self._exact().detach() + as_tensor(value))

    def assign_sub(self, value: Any) -> Variable:
        """Subtract from the values, in place."""
        return self.assign(self._exact().detach() - as_tensor(value))

    # As a tensor among tensors.

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        unwrapped = {key: _unwrap(value) for key, value in (kwargs or {}).items()}
        return function(*_unwrap(args), **unwrapped)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"Variable: no attribute {name!r}.")
        return getattr(self.value, name)

    def __repr__(self) -> str:
        return (
            f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, "
            f"value={self.numpy()}>"
        )

    def __hash__(self) -> int:
        return id(self)

    def __getitem__(self, index: Any) -> Tensor:
        return self.value[_unwrap(index)]

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self.value.detach())

    def __int__(self) -> int:
        return int(self.value.detach())

    def __float__(self) -> float:
        return float(self.value.detach())

    def __index__(self) -> int:
        return self.value.detach().__index__()


def _unwrap(value: Any) -> Any:
    if isinstance(value, Variable):
        return value.value
    if type(value) in (tuple, list):
        return type(value)(_unwrap(entry) for entry in value)
    return value


def _operator(name: str) -> Callable[..., Any]:
    def apply(self: Variable, *others: Any) -> Any:
        return getattr(self.value, name)(*_unwrap(others))

    apply.__name__ = name
    return apply


_WITH_REFLECTED = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
_PLAIN = ("neg", "abs", "invert", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor")

for _name in (*_WITH_REFLECTED, *(f"r{name}" for name in _WITH_REFLECTED), *_PLAIN):
    setattr(Variable, f"__{_name}__", _operator(f"__{_name}__"))


def as_tensor(value: Any, dtype: Any = None) -> Tensor:
    """Return a number, array, variable or tensor as a tensor, on the device of new weights.

    Tensors and variables stay on their device.
    """
    value = _unwrap(value)
    wanted = None if dtype is None else dtypes.torch_dtype(dtype)
    if not isinstance(value, Tensor):
        if isinstance(value, np.ndarray) and not value.flags.writeable:
            value = value.copy()  # torch warns about arrays that it must not write to
        if getattr(getattr(value, "dtype", None), "name", "") == "bfloat16":  # of ml_dtypes
            value = torch.from_numpy(value.view(np.uint16).copy()).view(torch.bfloat16)
        device = settings.device()
        if type(value) in (bool, int, float) and device.type == "cuda":
            return torch.full((), value, dtype=wanted, device=device)  # a copy would make it wait
        # The dtype is given here, not changed later: a Python float would pass through float32.
        return torch.as_tensor(value, dtype=wanted, device=device)
    return value if wanted is None else value.to(wanted)


def check_values(
    owner: str, needed: str, variables: Sequence[Variable], values: Sequence[Any]
) -> None:
    """Check that `set_weights` can assign all values, before it assigns the first.

    Args:
        owner: whom errors name.
        needed: what they say there must be.
        variables: as many as there must be values.
        values: arrays or tensors, in Keras's layout.

    Raises:
        ValueError: if their number or a shape differs.
    """
    if len(values) != len(variables):
        raise ValueError(f"{owner}: set_weights needs {needed}; got {len(values)}.")
    for variable, value in zip(variables, values, strict=True):
        if tuple(np.shape(value)) != variable.shape:
            raise ValueError(
                f"{owner}: the value of {variable.path!r} must have shape {variable.shape}; got "
                f"{tuple(np.shape(value))}."
            )
