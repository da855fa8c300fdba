"""Objects that take part in training through hooks.

Source: keras.callbacks.
"""

from torchseq.base import registry as _registry
from torchseq.callbacks.callback import Callback, LambdaCallback
from torchseq.callbacks.checkpoints import ModelCheckpoint
from torchseq.callbacks.history import History
from torchseq.callbacks.progress import ProgbarLogger
from torchseq.callbacks.sequence import CallbackList
from torchseq.callbacks.stopping import EarlyStopping, TerminateOnNaN

__all__ = [
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "ModelCheckpoint",
    "ProgbarLogger",
    "TerminateOnNaN",
]

_registry.register_builtin("keras.callbacks", {name: globals()[name] for name in __all__})
