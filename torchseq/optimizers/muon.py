"""Muon."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.base.variable import Variable, as_tensor
from torchseq.optimizers import arithmetic
from torchseq.optimizers.adam import corrected_rate, fused_step
from torchseq.optimizers.optimizer import Optimizer, Part, Slots

_FLOOR = 1e-7  # added to a matrix's norm before it divides


class Muon(Optimizer):
    """Momentum whose matrices are made nearly orthogonal; Adam for all that is no matrix.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        adam_beta_1: Adam's weight of the old average gradient, in [0, 1].
        adam_beta_2: Adam's weight of the old average square, in [0, 1].
        adam_weight_decay: `weight_decay` of the weights that Adam updates; None for none.
        epsilon: Adam's.
        weight_decay: of the matrices; None for none.
        exclude_layers: regular expressions; Adam updates weights in whose path one is found, which
            should be so for the last Dense layer.
        exclude_embeddings: leave weights with "embedding" in their path to Adam.
        muon_a, muon_b, muon_c: coefficients of Newton-Schulz's polynomial.
        adam_lr_ratio: Adam's learning rate as a multiple of `learning_rate`.
        momentum: weight of the old momentum, in [0, 1].
        ns_steps: Newton-Schulz iterations.
        nesterov: look ahead along the momentum.
        rms_rate: updates are multiplied by `sqrt(longer axis) * rms_rate`; None leaves them.
        **options: those of `Optimizer`.

    Source: keras.optimizers.Muon; Jordan et al., 2024; Liu et al., 2025. What has two axes in
        Keras's layout is a matrix. Matrices of equal shape are multiplied in one batch.
    """

    _saved = (
        "adam_beta_1",
        "adam_beta_2",
        "epsilon",
        "exclude_layers",
        "muon_a",
        "muon_b",
        "muon_c",
        "adam_lr_ratio",
        "momentum",
        "ns_steps",
        "nesterov",
        "exclude_embeddings",
        "adam_weight_decay",
        "rms_rate",
    )

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **legacy: Any,
    ):
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **legacy,
        )
        self.adam_beta_1 = arguments.fraction(self, "adam_beta_1", adam_beta_1)
        self.adam_beta_2 = arguments.fraction(self, "adam_beta_2", adam_beta_2)
        self.adam_weight_decay = adam_weight_decay
        self.epsilon = arguments.number(self, "epsilon", epsilon, minimum=0)
        self.exclude_layers = _patterns(exclude_layers)
        self.exclude_embeddings = exclude_embeddings
        self.muon_a, self.muon_b, self.muon_c = muon_a, muon_b, muon_c
        self.adam_lr_ratio = arguments.number(self, "adam_lr_ratio", adam_lr_ratio, minimum=0)
        self.momentum = arguments.fraction(self, "momentum", momentum)
        self.ns_steps = arguments.positive_integer(self, "ns_steps", ns_steps)
        self.nesterov = nesterov
        self.rms_rate = rms_rate

    def _is_for_adam(self, weight: Variable) -> bool:
        if weight.ndim != 2 or (self.exclude_embeddings and "embedding" in weight.path.lower()):
            return True
        return any(re.search(pattern, weight.path) for pattern in self.exclude_layers)

    def build_slots(self) -> None:
        """Make the momentum, and the average square of what Adam updates."""
        for weight in self._weights:
            self.add_slot(weight, "momentum", torch.zeros_like(weight.tensor.detach()))
            for_adam = self._is_for_adam(weight)
            square = torch.zeros_like(weight.tensor.detach()) if for_adam else None
            self.add_slot(weight, "velocity", square)

    def _decay_weights(self, part: Part, rate: float) -> None:
        squares, places = part.slots["velocity"], self._decaying(part)
        for decay, for_adam in ((self.adam_weight_decay, True), (self.weight_decay, False)):
            if decay is not None:
                chosen = [i for i in places if (squares[i].numel() > 0) == for_adam]
                self._shrink([part.params[i] for i in chosen], decay * rate)

    def numbers(self, learning_rate: float, dtype: torch.dtype) -> tuple[float, ...]:
        """Return Muon's rate, and Adam's, corrected for the averages' start at zero."""
        betas, step = (self.adam_beta_1, self.adam_beta_2), self._num_updates() + 1
        rate = corrected_rate(learning_rate * self.adam_lr_ratio, *betas, step, dtype)
        return learning_rate, rate

    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: Slots,
        learning_rate: float,
        adam_rate: float,
    ) -> None:
        """Update the matrices by Muon and the others by Adam."""
        squares = slots["velocity"]
        by_adam = [i for i, square in enumerate(squares) if square.numel() > 0]
        by_muon = [i for i, square in enumerate(squares) if square.numel() == 0]
        columns = (params, grads, slots["momentum"])
        if by_adam:
            ours, their_grads, means = ([column[i] for i in by_adam] for column in columns)
            betas, chosen = (self.adam_beta_1, self.adam_beta_2), [squares[i] for i in by_adam]
            fused_step(ours, their_grads, means, chosen, [], adam_rate, betas, self.epsilon)
        if by_muon:
            ours, their_grads, means = ([column[i] for i in by_muon] for column in columns)
            self._update_by_muon(ours, their_grads, means, learning_rate)

    def _update_by_muon(
        self, params: list[Tensor], grads: list[Tensor], means: list[Tensor], learning_rate: float
    ) -> None:
        torch._foreach_mul_(means, self.momentum)
        torch._foreach_add_(means, grads)
        directions = means
        if self.nesterov:
            directions = list(torch._foreach_add(grads, means, alpha=self.momentum))
        weights = self._weights_of(params)
        matrices = [w.in_keras_layout(d) for w, d in zip(weights, directions, strict=True)]
        for indices in _of_equal_shape(matrices):
            batch = torch.stack([matrices[i] for i in indices])  # (weights, rows, columns)
            updates = self.zeropower_via_newtonschulz5(batch, self.ns_steps)
            arithmetic.add_scaled_(
                [params[i] for i in indices],
                [weights[i].in_torch_layout(u) for i, u in zip(indices, updates, strict=True)],
                -learning_rate * self._size_factor(batch.shape[1:]),
            )

    def _size_factor(self, shape: Sequence[int]) -> float:
        if self.rms_rate is None:
            return 1.0
        return math.sqrt(max(shape[0], shape[1])) * self.rms_rate

    # --- Keras's names of the steps -------------------------------------------------------------

    def lr_adjust(self, x: Any) -> Tensor:
        """Return a matrix times `sqrt(longer axis) * rms_rate`."""
        matrix = as_tensor(x)
        return matrix * self._size_factor(matrix.shape)

    def transpose_last_axis(self, X: Any) -> Tensor:
        """Return a tensor with its last two axes exchanged."""
        return as_tensor(X).transpose(-2, -1)

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Tensor:
        """Return matrices with the same singular vectors, and singular values near 1.

        Args:
            x: matrices on the last two axes.
            steps: iterations.

        Raises:
            ValueError: if there are fewer than two axes.
        """
        x = as_tensor(x)
        if x.ndim < 2:
            raise ValueError(
                "Muon: zeropower_via_newtonschulz5 needs at least two axes; got shape "
                f"{tuple(x.shape)}."
            )
        is_tall = x.shape[-2] > x.shape[-1]  # the shorter side is squared
        wide = x.mT if is_tall else x
        batch: Tensor = wide.reshape(-1, *wide.shape[-2:])  # (matrices, rows, columns)
        batch = batch / (torch.linalg.matrix_norm(batch, keepdim=True) + _FLOOR)
        for _ in range(steps):
            gram = batch @ batch.mT  # (matrices, rows, rows)
            factor = torch.baddbmm(gram, gram, gram, beta=self.muon_b, alpha=self.muon_c)
            batch = torch.baddbmm(batch, factor, batch, beta=self.muon_a)
        made: Tensor = batch.reshape(wide.shape)
        return made.mT if is_tall else made


def _patterns(exclude_layers: Any) -> list[str]:
    if isinstance(exclude_layers, str):
        raise ValueError(
            "Muon: `exclude_layers` must be a list of regular expressions; got "
            f"exclude_layers={exclude_layers!r}. Write [{exclude_layers!r}]."
        )
    return list(exclude_layers or [])


def _of_equal_shape(matrices: list[Tensor]) -> list[list[int]]:
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, matrix in enumerate(matrices):
        groups.setdefault((tuple(matrix.shape), matrix.dtype), []).append(index)
    return list(groups.values())
