"""A model directory of random weights: everything of the run-time format but a trained picture.

`python -m model_build.random_model --size tiny|full --to DIR`. Tiny is for tests on a CPU; full has the true
shapes, for timing and memory on a GPU.

The weights are drawn so that numbers keep their size through the networks (variance 1/fan-in), normalisations
are the identity, and the transparent decoder's alpha falls on both sides of its limits: its last layer is
widened by `ALPHA_SPREAD` and centred on one half.
"""

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import torch

from model_build.configs import SIZES, Config
from model_build.model_directory import write_manifest, write_weights
from worker.manifest import MANIFEST_NAME, PART_NAMES, Checkpoint
from worker.weights import build_part

DTYPES: Final = {"float32": torch.float32, "float16": torch.float16}
DEFAULT_DTYPE: Final = {"tiny": "float32", "full": "float16"}
ALPHA_SPREAD: Final = 2.0
"""Standard deviation of the decoder's output in units of its features': with less, the median of eight views
rarely leaves 0..1; a test counts the shares."""
LORA_RANK: Final = 4


def write_random_model(
    directory: Path,
    size: str,
    *,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    loras: Sequence[str] = (),
) -> None:
    """Write a model directory of random weights.

    Draws, in this order, one normal tensor per weight of each part in `PART_NAMES`, in the order of its state
    dict, from one generator on `device`; then the LoRAs'. Equal arguments give equal bytes.

    Args:
        directory: made when missing.
        size: `tiny` or `full`.
        seed: of the generator.
        dtype: of the files; float32 for tiny, float16 for full when None.
        device: where numbers are drawn; the CPU when None.
        loras: names of style LoRAs to add, in kohya's format.

    """
    dtype = dtype or DTYPES[DEFAULT_DTYPE[size]]
    generator = torch.Generator(device or torch.device("cpu")).manual_seed(seed)
    directory.mkdir(parents=True, exist_ok=True)
    # A directory of an earlier run is unfinished again.
    (directory / MANIFEST_NAME).unlink(missing_ok=True)
    parts = {}
    for name in PART_NAMES:
        config = SIZES[size][name]
        shapes = {key: tuple(tensor.shape) for key, tensor in build_part(name, config).state_dict().items()}
        make = partial(_random_weight, name, shapes, generator, dtype)
        parts[name] = (write_weights(directory, f"{name}.safetensors", shapes, dtype, make), config)
    written = {}
    for lora in loras:
        tensors = random_lora(SIZES[size], generator, dtype)
        shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        written[lora] = write_weights(
            directory, f"loras/{lora}.safetensors", shapes, dtype, tensors.__getitem__
        )
    checkpoint = Checkpoint(
        name=f"random-{size}",
        aliases=(f"random-{size}.safetensors",),
        file=f"random-{size}.safetensors",
        sha256=hashlib.sha256(f"random {size} {seed} {dtype}".encode()).hexdigest(),
        licence="none: random numbers",
    )
    write_manifest(directory, checkpoint, dtype, parts, written)


def random_lora(
    configs: Mapping[str, Config], generator: torch.Generator, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Return a small style LoRA in kohya's format.

    It changes the cross attention's and the first encoder's values.
    """
    tensors: dict[str, torch.Tensor] = {}
    for part, prefix, ending in (
        ("unet", "lora_unet", "attn2.to_v.weight"),
        ("clip_l", "lora_te1_text_model", "self_attn.v_proj.weight"),
    ):
        for key, weight in build_part(part, configs[part]).state_dict().items():
            if not key.endswith(ending):
                continue
            out_features, in_features = weight.shape
            module = f"{prefix}_{key.removesuffix('.weight').replace('.', '_')}"
            down = _normal((LORA_RANK, in_features), 1 / math.sqrt(in_features), generator)
            up = _normal((out_features, LORA_RANK), 1.0, generator)
            tensors[f"{module}.lora_down.weight"] = down.to(dtype)
            tensors[f"{module}.lora_up.weight"] = up.to(dtype)
            tensors[f"{module}.alpha"] = torch.tensor(float(LORA_RANK), dtype=dtype)
    return tensors


def _random_weight(
    part: str,
    shapes: Mapping[str, tuple[int, ...]],
    generator: torch.Generator,
    dtype: torch.dtype,
    key: str,
) -> torch.Tensor:
    tensor = _random_tensor(key, shapes[key], generator)
    if part == "alpha_decoder" and key == "conv_out.weight":
        tensor *= ALPHA_SPREAD
    if part == "alpha_decoder" and key == "conv_out.bias":
        tensor += 0.5
    return tensor.to(dtype)


def _random_tensor(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if len(shape) == 1:
        # Normalisation weights are one; all else that has one dimension is a bias.
        return torch.ones(shape) if key.endswith("weight") else torch.zeros(shape)
    deviation = 0.02 if "embedding.weight" in key else 1 / math.sqrt(math.prod(shape[1:]))
    return _normal(shape, deviation, generator)


def _normal(shape: tuple[int, ...], deviation: float, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator, device=generator.device).mul_(deviation)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="model_build.random_model", description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=sorted(SIZES), required=True)
    parser.add_argument("--to", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=sorted(DTYPES), help="default: float32 for tiny, float16 for full")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where the numbers are drawn"
    )
    parser.add_argument("--lora", action="append", default=[], metavar="NAME", help="add a random style LoRA")
    options = parser.parse_args(arguments)
    started_s = time.perf_counter()
    write_random_model(
        options.to,
        options.size,
        seed=options.seed,
        dtype=DTYPES[options.dtype] if options.dtype else None,
        device=torch.device(options.device),
        loras=options.lora,
    )
    print(f"{options.to}: random {options.size} model, {time.perf_counter() - started_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
