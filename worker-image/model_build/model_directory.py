"""Write a model directory: safetensors files and the `manifest.json` that `worker.manifest` reads."""

import hashlib
import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Final

import torch

from worker.manifest import FORMAT, MANIFEST_NAME, Checkpoint, WeightsFile

READ_BYTES: Final = 8 << 20
DTYPE_NAMES: Final = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
"""The safetensors format's names."""

Shapes = Mapping[str, tuple[int, ...]]


def write_weights(
    directory: Path, name: str, shapes: Shapes, dtype: torch.dtype, make: Callable[[str], torch.Tensor]
) -> WeightsFile:
    """Write a safetensors file tensor by tensor: no more than one of them is held at a time.

    Format: an eight-byte little-endian length, a JSON header padded with spaces to a multiple of eight, the
        data without gaps (huggingface/safetensors README.md, "Format").

    Args:
        directory: of the model.
        name: of the file in it.
        shapes: of the tensors, in the order in which they are made and written.
        dtype: of them all.
        make: returns a tensor by name, of its shape and dtype.

    Returns:
        Name, size and hash, for the manifest.

    Raises:
        ValueError: `make` returned a tensor of another shape or dtype.
    """
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    start = _header(shapes, dtype)
    digest = hashlib.sha256(start)
    size = len(start)
    with path.open("wb") as file:
        file.write(start)
        for key, shape in shapes.items():
            tensor = make(key)
            if tensor.shape != shape or tensor.dtype != dtype:
                raise ValueError(
                    f"{key}: made {tensor.dtype} {list(tensor.shape)}, promised {dtype} {list(shape)}"
                )
            data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            file.write(data)
            digest.update(data)
            size += len(data)
    return WeightsFile(name, size, digest.hexdigest())


def _header(shapes: Shapes, dtype: torch.dtype) -> bytes:
    entries: dict[str, object] = {}
    end = 0
    for key, shape in shapes.items():
        begin, end = end, end + prod(shape) * dtype.itemsize
        entries[key] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def write_manifest(
    directory: Path,
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    parts: Mapping[str, tuple[WeightsFile, Mapping[str, object]]],
    loras: Mapping[str, WeightsFile],
) -> None:
    """Write `manifest.json`, last of all: a directory without one is unfinished.

    Args:
        directory: of the files.
        checkpoint: what the weights come from.
        dtype: of all tensors.
        parts: file and constructor arguments by part name.
        loras: style LoRAs by name.
    """
    value = {
        "format": FORMAT,
        "checkpoint": {
            "name": checkpoint.name,
            "aliases": list(checkpoint.aliases),
            "file": checkpoint.file,
            "sha256": checkpoint.sha256,
            "licence": checkpoint.licence,
        },
        "dtype": str(dtype).removeprefix("torch."),
        "parts": {name: {**_entry(file), "config": dict(config)} for name, (file, config) in parts.items()},
        "loras": {name: _entry(file) for name, file in loras.items()},
    }
    (directory / MANIFEST_NAME).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return a file's sha256 as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _entry(file: WeightsFile) -> dict[str, object]:
    return {"file": file.file, "bytes": file.bytes, "sha256": file.sha256}
