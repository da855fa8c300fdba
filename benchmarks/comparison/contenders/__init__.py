"""Those who train: a file each."""

from __future__ import annotations

from comparison.contenders.contender import Contender
from comparison.contenders.dataloader_loop import DataLoaderLoop
from comparison.contenders.in_memory_loop import InMemoryLoop
from comparison.contenders.keras_fit import Keras, TorchSeq
from comparison.contenders.lightning_fit import Lightning
from comparison.contenders.poutyne_fit import Poutyne
from comparison.contenders.skorch_fit import Skorch

BASE = "in-memory loop"

# Those whose comparison matters most stand next to the first, so that they run right after it.
CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        InMemoryLoop(BASE),
        TorchSeq("torchseq"),
        TorchSeq("torchseq compiled", jit_compile=True),
        TorchSeq("torchseq cudagraph", jit_compile="cudagraph", devices=("cuda",)),
        Keras("Keras on JAX", "jax"),
        DataLoaderLoop("DataLoader loop"),
        Keras("Keras on torch", "torch"),
        Keras("Keras on TF", "tensorflow"),
        Lightning("Lightning"),
        Skorch("skorch"),
        Poutyne("Poutyne"),
    )
}
