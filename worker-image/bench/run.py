"""Times a worker's phases beside plain diffusers on the same weights, in one run.

    python -m bench.run                                # tiny random weights, whatever device there is
    python -m bench.run --size full --device cuda      # true shapes: random weights time like real ones
    python -m bench.run --model-dir /models --compile  # an image's own weights, with COMPILE=blocks

Prints a table; `--json FILE` writes the figures. Every figure is a median; rounds of ours and of the peer
alternate.
"""

import argparse
import base64
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "a glass bottle with a paper label, high quality"
NEGATIVE = "bad, ugly"


def main() -> None:
    """Run the bench."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        model_dir = options.model_dir or make_model(options.size, Path(scratch), options.device)
        environment = {
            "MODEL_DIR": str(model_dir),
            "DEVICE": options.device,
            "WARM_UP_SIZE": str(options.pixels),
            "COMPILE": "blocks" if options.compile else "off",
        }
        figures: dict[str, Any] = {
            "machine": describe_machine(options.device),
            "size": "model directory" if options.model_dir else options.size,
            "picture": f"{options.pixels}x{options.pixels}, {options.steps} steps",
            "start_s": start_phases(environment, options.starts),
        }
        figures.update(image_phases(environment, options))
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Times the worker's phases beside plain diffusers.")
    parser.add_argument("--model-dir", type=Path, help="a model directory; default: random weights")
    parser.add_argument("--size", choices=["tiny", "full"], default="tiny", help="of the random weights")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--pixels", type=int, help="width and height; default 1024, tiny: 256")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5, help="pictures of each kind after the warm-up")
    parser.add_argument("--starts", type=int, default=3, help="processes started")
    parser.add_argument("--compile", action="store_true", help="COMPILE=blocks")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    if options.pixels is None:
        options.pixels = 256 if options.size == "tiny" and not options.model_dir else 1024
    return options


def make_model(size: str, scratch: Path, device: str) -> Path:
    """Write a model directory of random weights."""
    from worker.pipeline import choose_device

    directory = scratch / "model"
    where = str(choose_device(device))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "model_build.random_model",
            "--size",
            size,
            "--to",
            directory,
            "--device",
            where,
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return directory


def describe_machine(device: str) -> str:
    """Name the device and the versions."""
    import torch

    from worker.pipeline import choose_device

    chosen = choose_device(device)
    name = torch.cuda.get_device_name() if chosen.type == "cuda" else f"CPU, {os.cpu_count()} cores"
    return f"{name}; torch {torch.__version__}, Python {platform.python_version()}"


def start_phases(environment: Mapping[str, str], starts: int) -> dict[str, float]:
    """Time from a process's start to a warm pipeline, as `bench.start` reports it from within."""
    runs: list[dict[str, float]] = []
    for _ in range(starts):
        began = time.time()
        child = subprocess.run(
            [sys.executable, "-m", "bench.start"],
            cwd=ROOT,
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
            text=True,
        )
        phases: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
        phases["process start to ready"] = phases.pop("ready at") - began
        runs.append(phases)
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def image_phases(environment: Mapping[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Time the phases of a picture, the peer, and the decoder's batching."""
    import torch

    from bench.peer import plain_pipeline
    from worker.alpha_decoder import decode_alpha
    from worker.pipeline import Pipeline, choose_device
    from worker.png import encode_png
    from worker.request import GenerateRequest, parse_request
    from worker.settings import Settings

    settings = Settings.from_environment(environment)
    device = choose_device(settings.device)
    pipeline = Pipeline.load(settings)
    request = parse_request(
        {
            "prompt": PROMPT,
            "negative_prompt": NEGATIVE,
            "steps": options.steps,
            "width": options.pixels,
            "height": options.pixels,
            "seed": 1,
        },
        pipeline.installed,
    )
    if not isinstance(request, GenerateRequest):
        raise TypeError("the bench's own request was not read as one")

    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def timed(work: Callable[[int], object], number: int) -> float:
        settle()
        began = time.perf_counter()
        work(number)
        settle()
        return time.perf_counter() - began

    phases: dict[str, list[float]] = {name: [] for name in ("text", "steps", "vae", "alpha", "png", "base64")}
    ours: list[float] = []
    theirs: list[float] = []
    peer = plain_pipeline(pipeline, options, PROMPT, NEGATIVE)

    def draw(seed: int) -> None:
        # A prompt of its own, since the last few prompts' encodings are kept. The negative stays, as in use.
        rendered = pipeline.render(
            replace(request, seed=seed, prompt_text=f"{PROMPT}, {seed}"), lambda done, of: None
        )
        for name, seconds in rendered.timings_s.items():
            phases[name].append(seconds)
        began = time.perf_counter()
        png = encode_png(rendered.pixels, "", settings.png_level)
        phases["png"].append(time.perf_counter() - began)
        began = time.perf_counter()
        base64.b64encode(png)
        phases["base64"].append(time.perf_counter() - began)

    draw(-1)
    peer(options.rounds)
    for measured in phases.values():
        measured.clear()
    peak = None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        draw(-2)
        peak = torch.cuda.max_memory_allocated() / 2**30
    for seed in range(options.rounds):
        theirs.append(timed(peer, seed))
        ours.append(timed(draw, seed))

    models = pipeline.models
    dtype = next(models.unet.parameters()).dtype
    pixels = torch.rand(1, 3, options.pixels, options.pixels, device=device, dtype=dtype)
    latent = torch.randn(1, 4, options.pixels // 8, options.pixels // 8, device=device, dtype=dtype)
    batches: dict[int, list[float]] = {8: [], 1: []}

    def decode(batch: int) -> None:
        decode_alpha(models.alpha_decoder, pixels, latent, batch=batch)

    with torch.inference_mode():
        for batch in batches:
            decode(batch)
        for _ in range(options.rounds):
            for batch, times in batches.items():
                times.append(timed(decode, batch))

    picture = statistics.median(ours)
    return {
        "picture_s": {
            **{name: statistics.median(values) for name, values in phases.items()},
            "each step": statistics.median(phases["steps"]) / options.steps,
            "whole picture": picture,
        },
        "pictures_per_minute": 60 / picture,
        "peer_s": statistics.median(theirs),
        "ratio_to_peer": statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True)),
        "decoder_s": {
            "eight at once": statistics.median(batches[8]),
            "one by one": statistics.median(batches[1]),
        },
        "decoder_gain": statistics.median(batches[1]) / statistics.median(batches[8]),
        "peak_gib": peak,
    }


def table(figures: Mapping[str, Any]) -> str:
    """Lay the figures out."""
    lines = [f"{figures['machine']}", f"{figures['size']} weights, {figures['picture']}", ""]
    lines += [f"start: {name:<34} {seconds:8.2f} s" for name, seconds in figures["start_s"].items()]
    lines += [
        f"picture: {name:<32} {seconds * 1000:8.1f} ms" for name, seconds in figures["picture_s"].items()
    ]
    lines.append(f"{'pictures a minute':<41} {figures['pictures_per_minute']:8.1f}")
    lines.append(f"{'plain diffusers SDXL, without alpha':<41} {figures['peer_s'] * 1000:8.1f} ms")
    lines.append(f"{'ours / plain diffusers':<41} {figures['ratio_to_peer']:8.2f} x")
    lines += [
        f"decoder: {name:<32} {seconds * 1000:8.1f} ms" for name, seconds in figures["decoder_s"].items()
    ]
    lines.append(f"{'decoder: one by one / eight at once':<41} {figures['decoder_gain']:8.2f} x")
    if figures["peak_gib"] is not None:
        lines.append(f"{'peak GPU memory':<41} {figures['peak_gib']:8.2f} GiB")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
