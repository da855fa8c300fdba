"""All that `compile` makes of a module: each method in a file of its own."""

from __future__ import annotations

from torchseq.engine.fitting import Fitting
from torchseq.engine.prediction import Predicting
from torchseq.engine.single_batch import SingleBatch


class Trainer(Fitting, Predicting, SingleBatch):
    """Gives a module with Keras weights the methods that train and use it."""
