"""Muon: orthogonal updates, which weights it leaves to Adam, errors."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchseq
from torchseq import layers
from torchseq.optimizers import Adam, Muon


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (5, 5), (2, 6, 4)])
def test_singular_values_come_near_1_and_vectors_stay(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    matrix = torch.tensor(rng.normal(size=shape))
    made = Muon().zeropower_via_newtonschulz5(matrix, 5)
    assert made.shape == shape
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = torch.diagonal(left.mT @ made @ right.mT, dim1=-2, dim2=-1)
    assert ((values > 0.5) & (values < 1.3)).all()
    aside = left.mT @ made @ right.mT - torch.diag_embed(values)
    assert aside.abs().max() < 1e-6


def test_matrices_of_equal_shape_are_updated_as_one_by_one(rng: np.random.Generator) -> None:
    shapes = [(4, 6), (6, 4), (4, 6), (3,), (4, 6)]
    grads = [torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in shapes]
    together = [nn.Parameter(torch.ones(shape)) for shape in shapes]
    Muon(0.1).apply(grads, together)
    for grad, weight in zip(grads, together, strict=True):
        alone = nn.Parameter(torch.ones(weight.shape))
        Muon(0.1).apply([grad], [alone])
        torch.testing.assert_close(weight, alone, rtol=0, atol=1e-6)


def test_adam_updates_what_is_no_matrix_or_excluded(rng: np.random.Generator) -> None:
    def network() -> Any:
        return torchseq.Sequential(
            [
                torchseq.Input((3,), dtype="int32"),
                layers.Embedding(5, 4, name="embedding"),
                layers.Flatten(),
                layers.Dense(6, name="hidden"),
                layers.Dense(2, name="last"),
            ]
        )

    ours, by_adam = network(), network()
    by_adam.set_weights(ours.get_weights())
    muon = Muon(0.01, exclude_layers=["last"], weight_decay=None, adam_weight_decay=None)
    adam = Adam(0.01)
    grads = [rng.normal(size=weight.shape).astype("float32") for weight in ours.trainable_weights]
    for _ in range(3):
        muon.apply(grads, ours.trainable_weights)
        adam.apply(grads, by_adam.trainable_weights)
    is_equal = [
        np.allclose(one, two, rtol=0, atol=1e-7)
        for one, two in zip(ours.get_weights(), by_adam.get_weights(), strict=True)
    ]
    assert is_equal == [True, False, True, True, True]  # all but `hidden/kernel`
    slots = [v.name for v in muon.variables if "hidden" in v.name]
    assert [name.rpartition("_")[2] for name in slots] == ["momentum", "momentum", "velocity"]


def test_keras_names_of_the_steps() -> None:
    muon = Muon(rms_rate=0.5)
    assert muon.transpose_last_axis(torch.ones(2, 3, 4)).shape == (2, 4, 3)
    torch.testing.assert_close(muon.lr_adjust(torch.ones(4, 9)), torch.full((4, 9), 1.5))
    assert float(Muon(rms_rate=None).lr_adjust(np.float32([[2.0]]))) == 2
    with pytest.raises(ValueError, match=r"needs at least two axes; got shape \(3,\)"):
        muon.zeropower_via_newtonschulz5(torch.ones(3), 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.5}, r"Muon: `momentum` must be in \[0, 1\]; got momentum=1.5"),
        ({"adam_beta_1": -1}, r"Muon: `adam_beta_1` must be in \[0, 1\]"),
        ({"ns_steps": 0}, "Muon: `ns_steps` must be a positive integer; got ns_steps=0"),
        ({"adam_lr_ratio": -1.0}, "Muon: `adam_lr_ratio` must be at least 0"),
        ({"exclude_layers": "last"}, r"`exclude_layers` must be a list .* Write \['last'\]"),
        ({"steps": 3}, r"Muon: unrecognized arguments \['steps'\]"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Muon(**options)
