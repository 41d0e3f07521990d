"""The model directory's `manifest.json`, and what a weights file must look like before it is loaded.

Nothing here imports torch: a wrong directory is refused in milliseconds. Hashes are checked when the image is
built (hashing costs about a second per gigabyte); a start checks sizes and headers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn

from worker.errors import WorkerError

FORMAT: Final = 1
MANIFEST_NAME: Final = "manifest.json"
PART_NAMES: Final = ("unet", "clip_l", "clip_g", "vae_decoder", "alpha_decoder")
DTYPES: Final = ("float16", "bfloat16", "float32")

MAX_HEADER_BYTES: Final = 100_000_000
"""The safetensors format's own bound on its header."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the UNet and the text encoders come from."""

    name: str
    aliases: tuple[str, ...]
    file: str
    sha256: str
    """Of the downloaded single-file checkpoint, 64 hex digits."""
    licence: str


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One safetensors file of the directory."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """One network: its file and its constructor's arguments."""

    weights: WeightsFile
    config: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model directory, as its `manifest.json` describes it."""

    directory: Path
    checkpoint: Checkpoint
    dtype: str
    parts: Mapping[str, Part]
    """By the names in `PART_NAMES`, all of them."""
    loras: Mapping[str, WeightsFile]
    """Style LoRAs by the name that a job asks for."""

    def path(self, weights: WeightsFile) -> Path:
        """Return where a file of this directory lies."""
        return self.directory / weights.file


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor as a safetensors header tells it."""

    dtype: str
    """The format's own names: F16, BF16, F32 …"""
    shape: tuple[int, ...]


def read_manifest(directory: Path) -> Manifest:
    """Read and check `manifest.json`.

    Raises:
        WorkerError: `weights_invalid`: no such file, not JSON, or a field that is missing or of the wrong
            kind.

    """
    path = directory / MANIFEST_NAME
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid(
            f"{path}: expected a model directory's manifest, found none ({error.strerror})"
        ) from error
    except ValueError as error:
        raise _invalid(f"{path}: expected JSON, found something else ({error})") from error
    root = _Field(path.name, value)
    if root.get("format").value != FORMAT:
        root.get("format").refuse(f"format {FORMAT}")
    checkpoint = root.get("checkpoint")
    parts = root.get("parts")
    dtype = root.get("dtype")
    if dtype.text() not in DTYPES:
        dtype.refuse(f"one of {', '.join(DTYPES)}")
    return Manifest(
        directory=directory,
        checkpoint=Checkpoint(
            name=checkpoint.get("name").text(),
            aliases=tuple(checkpoint.get("aliases").texts()),
            file=checkpoint.get("file").text(),
            sha256=checkpoint.get("sha256").text(),
            licence=checkpoint.get("licence").text(),
        ),
        dtype=dtype.text(),
        parts={name: _part(parts.get(name)) for name in PART_NAMES},
        loras={name: _weights_file(field) for name, field in root.get("loras").items()},
    )


def check_weights_file(path: Path, expected_bytes: int) -> dict[str, TensorHeader]:
    """Check that a safetensors file exists, has its size, and has a header that fits; read no data.

    Returns:
        The tensors that it holds, by name.

    Raises:
        WorkerError: `weights_invalid`, naming the file, what was expected and what was found.

    """
    try:
        with path.open("rb") as file:
            found_bytes = file.seek(0, 2)
            file.seek(0)
            start = file.read(8)
            header_bytes = int.from_bytes(start, "little")
            # Eight letters make a length beyond any header's, so no true file is taken for a page of text.
            if header_bytes > MAX_HEADER_BYTES and start.isascii():
                text = (start + file.read(56)).decode("utf-8", "replace").strip().split("\n")[0]
                raise _invalid(f"{path.name}: expected safetensors weights, found text that begins {text!r}")
            if found_bytes != expected_bytes:
                raise _invalid(f"{path.name}: expected {expected_bytes:,} bytes, found {found_bytes:,}")
            if len(start) < 8 or header_bytes > min(MAX_HEADER_BYTES, found_bytes - 8):
                raise _invalid(
                    f"{path.name}: expected a safetensors header, found a length of {header_bytes:,} bytes"
                )
            header = file.read(header_bytes)
    except OSError as error:
        raise _invalid(
            f"{path.name}: expected {expected_bytes:,} bytes, found no file ({error.strerror})"
        ) from error
    tensors, data_bytes = _parse_header(path.name, header)
    if 8 + header_bytes + data_bytes != found_bytes:
        by_header = 8 + header_bytes + data_bytes
        raise _invalid(f"{path.name}: expected {by_header:,} bytes by its header, found {found_bytes:,}")
    return tensors


def _parse_header(name: str, header: bytes) -> tuple[dict[str, TensorHeader], int]:
    try:
        value: object = json.loads(header)
    except ValueError as error:
        raise _invalid(f"{name}: expected a safetensors header, found bytes that are not JSON") from error
    tensors: dict[str, TensorHeader] = {}
    data_bytes = 0
    for key, field in _Field(name, value).items():
        if key == "__metadata__":
            continue
        offsets = field.get("data_offsets").whole_numbers()
        if len(offsets) != 2:
            field.get("data_offsets").refuse("two offsets")
        tensors[key] = TensorHeader(field.get("dtype").text(), tuple(field.get("shape").whole_numbers()))
        data_bytes = max(data_bytes, offsets[1])
    return tensors, data_bytes


def _part(field: "_Field") -> Part:
    return Part(_weights_file(field), {key: inner.value for key, inner in field.get("config").items()})


def _weights_file(field: "_Field") -> WeightsFile:
    name = field.get("file")
    path = PurePosixPath(name.text())
    if path.is_absolute() or ".." in path.parts or "\\" in name.text():
        name.refuse("a path inside the model directory")
    size = field.get("bytes")
    if not isinstance(size.value, int) or size.value <= 0:
        size.refuse("a number of bytes")
    return WeightsFile(name.text(), size.value, field.get("sha256").text())


@dataclass(frozen=True, slots=True)
class _Field:
    """A value of a JSON file with its place, so that a refusal can say where."""

    place: str
    value: object

    def refuse(self, expected: str) -> NoReturn:
        raise _invalid(f"{self.place}: expected {expected}, found {str(self.value)[:80]!r}")

    def items(self) -> list[tuple[str, "_Field"]]:
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return [(str(key), _Field(f"{self.place}: {key}", inner)) for key, inner in self.value.items()]

    def get(self, key: str) -> "_Field":
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return _Field(f"{self.place}: {key}", self.value.get(key))

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            self.refuse("a text")
        return self.value

    def texts(self) -> list[str]:
        if not isinstance(self.value, list):
            self.refuse("a list of texts")
        return [_Field(self.place, item).text() for item in self.value]

    def whole_numbers(self) -> list[int]:
        if not isinstance(self.value, list) or not all(
            isinstance(item, int) and item >= 0 for item in self.value
        ):
            self.refuse("a list of whole numbers")
        return [item for item in self.value if isinstance(item, int)]


def _invalid(message: str) -> WorkerError:
    return WorkerError("weights_invalid", message)
