"""Objects that take part in training through hooks.

Source: keras.callbacks.
"""

from torchseq.base import registry as _registry
from torchseq.callbacks.averaging import SwapEMAWeights
from torchseq.callbacks.backup import BackupAndRestore
from torchseq.callbacks.callback import Callback, LambdaCallback
from torchseq.callbacks.checkpoints import ModelCheckpoint
from torchseq.callbacks.history import History
from torchseq.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from torchseq.callbacks.loggers import CSVLogger, RemoteMonitor
from torchseq.callbacks.progress import ProgbarLogger
from torchseq.callbacks.sequence import CallbackList
from torchseq.callbacks.stopping import EarlyStopping, TerminateOnNaN
from torchseq.callbacks.tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]

_registry.register_builtin("keras.callbacks", {name: globals()[name] for name in __all__})
