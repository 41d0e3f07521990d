"""From downloads to a model directory, part by part.

`python -m model_build.merge --downloads DIR --checkpoint NAME --to MODEL_DIR`: UNet and text encoders of the
checkpoint under diffusers' names, the attention LoRA merged into the UNet, the decoding half of the VAE that
does not overflow in float16, the transparent decoder, each checked against its network and saved in float16;
then style LoRAs, `LICENSES.txt` and, last, `manifest.json`. Files are mapped, not read, and written tensor by
tensor, so memory holds one tensor at a time. Exit codes: 0 done, 2 wrong arguments or table, 4 a file is not
what it must be.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open

from model_build.checkpoint import IGNORED_IN_VAE, CheckpointError, Place, place_tensors
from model_build.configs import ATTENTION_RANKS, SIZES, Config
from model_build.lora_merge import LoraError, merge_pair, place_pairs
from model_build.model_directory import sha256_of, write_manifest, write_weights
from model_build.sources import DEFAULT_TABLE, Source, SourcesError, choose, read_sources
from worker.errors import WorkerError
from worker.lora_file import LoraTargets, TensorFile, read_lora
from worker.manifest import MANIFEST_NAME, Checkpoint, WeightsFile, check_weights_file
from worker.weights import build_part

EXIT_USAGE: Final = 2
EXIT_CONTENT: Final = 4
DTYPE: Final = torch.float16
CHECKPOINT_PARTS: Final = ("unet", "clip_l", "clip_g")
LICENCES_NAME: Final = "LICENSES.txt"

Shapes = Mapping[str, tuple[int, ...]]


class MergeError(Exception):
    """A file does not fit; the message names the file and the tensor."""


@dataclass(frozen=True)
class Merge:
    """One run: where files are, what they are, and what the networks need.

    Args:
        downloads: directory of the files that `sources` names.
        sources: the checkpoint and the other files, one of each kind.
        target: the model directory.
        size: `full`, or `tiny` in tests.
    """

    downloads: Path
    sources: Sequence[Source]
    target: Path
    size: str

    def run(self, style_loras: Mapping[str, Path]) -> None:
        """Write the model directory.

        Args:
            style_loras: files to take along, by the name that a job asks for.

        Raises:
            MergeError: a file is not what it must be.
            WorkerError: `weights_invalid`, when a file is no safetensors file, or a style LoRA is not
                understood.
        """
        # A directory of an earlier run is unfinished again.
        (self.target / MANIFEST_NAME).unlink(missing_ok=True)
        for source in self.sources:
            self._verify(source)
        parts = {
            **{part: self._write_checkpoint_part(part) for part in CHECKPOINT_PARTS},
            "vae_decoder": self._write_vae_decoder(),
            "alpha_decoder": self._write_alpha_decoder(),
        }
        checkpoint = self._source("checkpoint")
        loras = {name: self._copy_lora(name, path) for name, path in style_loras.items()}
        notices = "\n\n".join(source.describe_licence() for source in self.sources)
        (self.target / LICENCES_NAME).write_text(notices + "\n", encoding="utf-8")
        write_manifest(
            self.target,
            Checkpoint(
                checkpoint.name, checkpoint.aliases, checkpoint.file, checkpoint.sha256, checkpoint.licence
            ),
            DTYPE,
            {name: (file, self._config(name)) for name, file in parts.items()},
            loras,
        )

    def _verify(self, source: Source) -> None:
        path = self.downloads / source.file
        check_weights_file(path, source.bytes)
        found = sha256_of(path)
        if found != source.sha256:
            raise MergeError(f"{source.file}: expected the sha256 {source.sha256}, found {found}")

    def _write_checkpoint_part(self, part: str) -> WeightsFile:
        source = self._source("checkpoint")
        # The VAE is not taken from here, yet its decoder is known.
        needed = {name: list(self._needed(name)) for name in (*CHECKPOINT_PARTS, "vae_decoder")}
        with _open(self._path(source)) as file:
            places = place_tensors(file.keys(), needed, layers_per_block=self._layers_per_block())[part]
            if part == "unet":
                return self._write_unet(file, places)
            return self._write_placed(part, source, file, places)

    def _write_unet(self, file: TensorFile, places: Mapping[str, Place]) -> WeightsFile:
        checkpoint, source = self._source("checkpoint"), self._source("attention_lora")
        shapes = self._needed("unet")
        with _open(self._path(source)) as lora:
            pairs = place_pairs(
                {key: tuple(lora.get_slice(key).get_shape()) for key in lora.keys()},  # noqa: SIM118
                shapes,
                layers_per_block=self._layers_per_block(),
                rank=ATTENTION_RANKS[self.size],
            )

            def make(name: str) -> torch.Tensor:
                weight = _placed(checkpoint, file, name, places[name], shapes[name])
                if (pair := pairs.get(name)) is not None:
                    weight = merge_pair(weight, lora.get_tensor(pair.up), lora.get_tensor(pair.down))
                return _cast(checkpoint, name, weight)

            return self._write("unet", shapes, make)

    def _write_placed(
        self, part: str, source: Source, file: TensorFile, places: Mapping[str, Place]
    ) -> WeightsFile:
        shapes = self._needed(part)

        def make(name: str) -> torch.Tensor:
            return _cast(source, name, _placed(source, file, name, places[name], shapes[name]))

        return self._write(part, shapes, make)

    def _write_vae_decoder(self) -> WeightsFile:
        source = self._source("vae")
        with _open(self._path(source)) as file:
            places = place_tensors(
                file.keys(),
                {"vae_decoder": list(self._needed("vae_decoder"))},
                layers_per_block=self._layers_per_block(),
                prefixes={"vae_decoder": ""},
                ignored=IGNORED_IN_VAE,
            )
            return self._write_placed("vae_decoder", source, file, places["vae_decoder"])

    def _write_alpha_decoder(self) -> WeightsFile:
        source = self._source("alpha_decoder")
        with _open(self._path(source)) as file:
            needed = self._needed("alpha_decoder")
            for name in sorted(needed.keys() ^ set(file.keys())):
                reason = "missing" if name in needed else "not in this network"
                raise MergeError(f"{source.file}: {name}: {reason}")
            return self._write_placed("alpha_decoder", source, file, {name: Place(name) for name in needed})

    def _copy_lora(self, name: str, path: Path) -> WeightsFile:
        if not re.fullmatch(r"[A-Za-z0-9][\w. -]*", name):
            raise MergeError(f"{name!r}: a LoRA's name has letters, digits, spaces and . _ - only")
        copy = self.target / "loras" / f"{name}.safetensors"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        weights = WeightsFile(f"loras/{copy.name}", copy.stat().st_size, sha256_of(copy))
        networks = {part: build_part(part, self._config(part)) for part in CHECKPOINT_PARTS}
        read_lora(copy, weights.bytes, LoraTargets(networks))
        return weights

    def _write(self, part: str, shapes: Shapes, make: Callable[[str], torch.Tensor]) -> WeightsFile:
        written = write_weights(self.target, f"{part}.safetensors", shapes, DTYPE, make)
        print(f"{written.file}: {written.bytes:,} bytes, sha256 {written.sha256}", flush=True)
        return written

    def _needed(self, part: str) -> Shapes:
        return self._shapes[part]

    @cached_property
    def _shapes(self) -> Mapping[str, Shapes]:
        return {
            part: {
                name: tuple(tensor.shape) for name, tensor in build_part(part, config).state_dict().items()
            }
            for part, config in SIZES[self.size].items()
        }

    def _config(self, part: str) -> Config:
        return SIZES[self.size][part]

    def _layers_per_block(self) -> int:
        return int(str(self._config("unet")["layers_per_block"]))

    def _source(self, kind: str) -> Source:
        return next(source for source in self.sources if source.kind == kind)

    def _path(self, source: Source) -> Path:
        return self.downloads / source.file


def _open(path: Path) -> safe_open:
    return safe_open(path, framework="pt", device="cpu")


def _placed(
    source: Source, file: TensorFile, name: str, place: Place, shape: tuple[int, ...]
) -> torch.Tensor:
    tensor = place.apply(file.get_tensor(place.key))
    if tuple(tensor.shape) != shape:
        raise MergeError(
            f"{source.file}: {place.key}: expected the shape {list(shape)}, found {list(tensor.shape)}"
        )
    return tensor


def _cast(source: Source, name: str, tensor: torch.Tensor) -> torch.Tensor:
    cast = tensor.to(DTYPE)
    if not bool(torch.isfinite(cast).all()):
        raise MergeError(f"{source.file}: {name}: holds numbers that float16 does not")
    return cast


def _parse_lora(value: str) -> tuple[str, Path]:
    name, equals, path = value.partition("=")
    if not equals or not name or not path:
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, got {value!r}")
    return name, Path(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="model_build.merge", description=__doc__.split("\n")[0])
    parser.add_argument("--downloads", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", metavar="NAME", help="in the table; its default if not given")
    parser.add_argument("--to", type=Path, required=True, metavar="MODEL_DIR")
    parser.add_argument("--lora", type=_parse_lora, action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--sources", type=Path, default=DEFAULT_TABLE, metavar="FILE")
    parser.add_argument(
        "--size", choices=sorted(SIZES), default="full", help="of the networks; tiny is for tests"
    )
    options = parser.parse_args(arguments)
    try:
        sources = read_sources(options.sources)
        name = options.checkpoint or next(source.name for source in sources if source.is_default)
        chosen = choose(sources, name)
        for source in chosen:
            print(source.describe_licence(), flush=True)
        options.to.mkdir(parents=True, exist_ok=True)
        Merge(options.downloads, chosen, options.to, options.size).run(dict(options.lora))
    except SourcesError as error:
        print(f"merge: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (MergeError, CheckpointError, LoraError, WorkerError, OSError) as error:
        print(f"merge: {error}", file=sys.stderr)
        return EXIT_CONTENT
    return 0


if __name__ == "__main__":
    sys.exit(main())
