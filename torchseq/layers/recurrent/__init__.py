"""Recurrent layers, their cells, and the wrappers that go with them."""

from torchseq.layers.recurrent.cells import GRUCell, LSTMCell, SimpleRNNCell
from torchseq.layers.recurrent.conv_lstm import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from torchseq.layers.recurrent.ordinary import GRU, LSTM, SimpleRNN
from torchseq.layers.recurrent.rnn import RNN
from torchseq.layers.recurrent.stacked import StackedRNNCells
from torchseq.layers.recurrent.wrappers import Bidirectional, TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "GRUCell",
    "LSTMCell",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
    "TimeDistributed",
]
