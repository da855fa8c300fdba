"""Keras scripts on torchseq: `install()`, then `import keras` and `import tensorflow` mean it."""

from torchseq.porting.shim import install, uninstall

__all__ = ["install", "uninstall"]
