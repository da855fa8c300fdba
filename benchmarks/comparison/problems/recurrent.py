"""Recurrent networks over sequences of vectors and of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from comparison.problems.problem import Problem

FEATURES, TOKENS, UNITS = 32, 2_000, 64


def sequences(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (count, 50, 32); the question is whether the last step's first feature is positive."""
    x = generator.standard_normal((count, 50, FEATURES), dtype="float32")
    return x, x[:, -1, 0] > 0


def texts(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (count, 100) tokens from 1; each text has them from one half of the vocabulary."""
    y = generator.integers(0, 2, count)
    half = TOKENS // 2
    x = generator.integers(1, half, (count, 100)) + half * y[:, None]
    return x.astype("int64"), y


def padded_texts(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (count, 50) tokens, of which the first 10 to 50 are valid and the others 0."""
    x, y = texts(generator, count)
    lengths = generator.integers(10, 51, (count, 1))
    return x[:, :50] * (np.arange(50) < lengths), y


def gru_layers(keras: Any) -> list[Any]:
    """Return two GRUs and a yes or no."""
    layers = keras.layers
    return [
        layers.GRU(UNITS, return_sequences=True),
        layers.GRU(UNITS),
        layers.Dense(1, activation="sigmoid"),
    ]


def gru_module() -> Any:
    """Return two GRUs and a logit."""
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.GRU(FEATURES, UNITS, num_layers=2, batch_first=True)
            self.last = nn.Linear(UNITS, 1)

        def forward(self, inputs: Any) -> Any:
            return self.last(self.recurrent(inputs)[0][:, -1])

    return Network()


def lstm_layers(keras: Any) -> list[Any]:
    """Return an embedding, an LSTM and a yes or no."""
    layers = keras.layers
    return [
        layers.Embedding(TOKENS, 64),
        layers.LSTM(UNITS),
        layers.Dense(1, activation="sigmoid"),
    ]


def lstm_module() -> Any:
    """Return an embedding, an LSTM and a logit."""
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(TOKENS, 64)
            self.recurrent = nn.LSTM(64, UNITS, batch_first=True)
            self.last = nn.Linear(UNITS, 1)

        def forward(self, tokens: Any) -> Any:
            return self.last(self.recurrent(self.embedding(tokens))[0][:, -1])

    return Network()


def bilstm_layers(keras: Any) -> list[Any]:
    """Return an embedding that masks zeros, LSTMs in both directions and a yes or no."""
    layers = keras.layers
    return [
        layers.Embedding(TOKENS, 64, mask_zero=True),
        layers.Bidirectional(layers.LSTM(UNITS)),
        layers.Dense(1, activation="sigmoid"),
    ]


def bilstm_module() -> Any:
    """Return the same with packed sequences, which is torch's way to leave padding out."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(TOKENS, 64, padding_idx=0)
            self.recurrent = nn.LSTM(64, UNITS, batch_first=True, bidirectional=True)
            self.last = nn.Linear(2 * UNITS, 1)

        def forward(self, tokens: Any) -> Any:
            lengths = (tokens != 0).sum(1).cpu()
            packed = nn.utils.rnn.pack_padded_sequence(
                self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False
            )
            _, (hidden, _) = self.recurrent(packed)  # (direction, batch, units)
            return self.last(torch.cat([hidden[0], hidden[1]], 1))

    return Network()


PROBLEMS = [
    Problem("gru", "2 x GRU(64), 50 steps", 640, 32, 1, sequences, gru_layers, gru_module),
    Problem(
        "lstm", "Embedding + LSTM(64), 100 steps", 1_920, 32, 1, texts, lstm_layers, lstm_module
    ),
    Problem(
        "bilstm",
        "Embedding + bidirectional LSTM(64), masks",
        640,
        32,
        1,
        padded_texts,
        bilstm_layers,
        bilstm_module,
    ),
]
