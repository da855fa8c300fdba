"""Small datasets, a module each, with Keras's `load_data()`."""

from torchseq.datasets import digits, mnist

__all__ = ["digits", "mnist"]
