"""A model's layers as the graph that TensorBoard draws."""

from __future__ import annotations

import warnings
from typing import Any

from torchseq.base import optional

_FEATURE = "callbacks.TensorBoard(write_graph=True)"


def write_layers(writer: Any, model: Any) -> None:
    """Write a model's architecture, which TensorBoard shows as "Conceptual Graph".

    Args:
        writer: torch's SummaryWriter.
        model: one without `to_json`, or with code in it, is not drawn, with a warning.

    Source: keras.src.callbacks.tensorboard.keras_model_summary, for tag and plugin.
    """
    try:
        text = model.to_json()
    except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
        # As in Keras: the graph is an extra, and no reason to end training.
        warnings.warn(f"TensorBoard: the model's graph cannot be drawn: {error}", stacklevel=4)
        return
    summaries = optional.require("tensorboard.compat.proto.summary_pb2", "tensorboard", _FEATURE)
    tensors = optional.require("tensorboard.compat.proto.tensor_pb2", "tensorboard", _FEATURE)
    types = optional.require("tensorboard.compat.proto.types_pb2", "tensorboard", _FEATURE)
    metadata = summaries.SummaryMetadata()
    metadata.plugin_data.plugin_name = "graph_keras_model"
    metadata.plugin_data.content = b"1"  # version of what is written
    tensor = tensors.TensorProto(dtype=types.DT_STRING, string_val=[text.encode()])
    value = summaries.Summary.Value(tag="keras", metadata=metadata, tensor=tensor)
    writer.file_writer.add_summary(summaries.Summary(value=[value]), 0)
