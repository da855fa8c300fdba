"""C++ of ours, compiled on first use by the compiler that Inductor uses, and kept in its cache."""

from __future__ import annotations

import ctypes
import functools
import logging

from torchseq.base import optional

# Inductor's own flags forbid to multiply and add in one instruction.
_FLAGS = ("-ffp-contract=fast",)


@functools.cache
def library(source: str) -> ctypes.CDLL | None:
    """Compile C++ and load it; None where that fails, for want of a compiler as a rule.

    It takes a second or two, once for each machine: the code is found again in Inductor's cache.

    Args:
        source: the program, which includes no header of torch; what is to be called is
            `extern "C"`.
    """
    try:
        cache = optional.late("torch._inductor.codecache").CppCodeCache
        loaded: ctypes.CDLL = cache.load(source, extra_flags=_FLAGS)
    except Exception as error:  # whatever private parts of torch, the compiler or the loader raise
        logging.getLogger(__name__).info("C++ could not be compiled: %s", error)
        return None
    return loaded
