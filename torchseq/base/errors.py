"""Errors that are ours; wrong values and types raise Python's own, as in Keras."""


class UnsupportedFeatureError(NotImplementedError):
    """A Keras feature that torchseq does not offer.

    The message names the feature and the nearest way to do the same thing.
    """


class FileFormatError(ValueError):
    """A file that is not what it should be: broken, foreign, or of other contents.

    The message names the file and the entry in it that is wrong. It is a `ValueError` because
    Keras raises that, and scripts catch it.
    """
