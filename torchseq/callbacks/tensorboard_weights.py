"""A model's weights as TensorBoard shows them: histograms, images, embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchseq.base import settings

_IMAGES_AT_MOST = 3  # of one weight, as TensorFlow writes


def write_weights(writer: Any, model: Any, epoch: int, has_images: bool) -> None:
    """Write a histogram of each weight, and an image if wanted.

    Args:
        writer: torch's SummaryWriter.
        model: with layers.
        epoch: where on TensorBoard's axis.
        has_images: write images, too.
    """
    for layer in model.layers:
        for weight in layer.weights:
            name = weight.path.replace(":", "_")
            value = weight.value.detach().float()
            finite = value[torch.isfinite(value)]  # a histogram has no place for NaN
            if finite.numel():
                writer.add_histogram(f"{name}/histogram", finite, epoch)
            image = as_images(value.nan_to_num()) if has_images else None
            if image is not None:
                writer.add_images(f"{name}/image", image, epoch, dataformats="NHWC")


def as_images(value: Tensor) -> Tensor | None:
    """Return a weight as images, (count, height, width, channels); None if it cannot be shown.

    Examples:
        >>> [tuple(as_images(torch.zeros(s)).shape) for s in [(5,), (7, 2), (3, 4, 2)]]
        [(1, 5, 1, 1), (1, 2, 7, 1), (2, 3, 4, 1)]
    """
    value = value.squeeze()
    if value.ndim == 1:
        return value.reshape(1, -1, 1, 1)
    if value.ndim == 2:
        lying = value.T if value.shape[0] > value.shape[1] else value
        return lying[None, :, :, None]
    if value.ndim == 3:
        if settings.image_data_format() == "channels_last":
            value = value.permute(2, 0, 1)
        return value[:_IMAGES_AT_MOST, :, :, None]
    if value.ndim == 4 and value.shape[-1] in (1, 3, 4):
        return value[:_IMAGES_AT_MOST]
    return None


# --- Embeddings ---------------------------------------------------------------------------------


def embeddings_of(model: Any) -> Iterator[Any]:
    """Yield the model's Embedding layers; by name, since callbacks know no layers."""
    for layer in model.layers:
        if any(kind.__name__ == "Embedding" for kind in type(layer).__mro__):
            yield layer


def check_metadata(model: Any, metadata: str | Mapping[str, str] | None) -> None:
    """Check that a dict of metadata files names Embedding layers only.

    Raises:
        ValueError: if another name is in it.
    """
    if not isinstance(metadata, Mapping):
        return
    known = [layer.name for layer in embeddings_of(model)]
    unknown = sorted(set(metadata) - set(known))
    if unknown:
        raise ValueError(
            "TensorBoard: the keys of `embeddings_metadata` must be names of Embedding layers; "
            f"got {unknown}, and there are {known}."
        )


def write_embeddings(
    writer: Any, model: Any, epoch: int, metadata: str | Mapping[str, str] | None, folder: str
) -> None:
    """Write the table of each Embedding layer for the projector.

    Args:
        writer: torch's SummaryWriter.
        model: with layers.
        epoch: where on TensorBoard's axis.
        metadata: file with the rows' labels, or layer name -> file.
        folder: where such files lie, unless they are found from the working directory.

    Raises:
        ValueError: if a file has another number of labels than the table has rows.
    """
    for layer in embeddings_of(model):
        table = layer.embeddings.value.detach()  # (rows, units)
        file = metadata.get(layer.name) if isinstance(metadata, Mapping) else metadata
        labels = None if file is None else _labels(file, folder, layer.name, len(table))
        writer.add_embedding(table, metadata=labels, global_step=epoch, tag=layer.name)


def _labels(file: str, folder: str, layer_name: str, count: int) -> list[str]:
    path = Path(file) if Path(file).exists() else Path(folder, file)
    labels = path.read_text(encoding="utf-8").splitlines()
    if len(labels) != count:
        raise ValueError(
            f"TensorBoard: the file of `embeddings_metadata` for layer {layer_name!r} must have a "
            f"line for each of the {count} rows of its table; {str(path)!r} has {len(labels)}."
        )
    return labels
