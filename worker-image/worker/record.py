"""The record of a generation: the `info` JSON, and the text that goes into the PNG.

Both have the shape that the AUTOMATIC1111 and Forge web UIs write (`modules/processing.py`: `Processed.js`,
`create_infotext`), so that programs which read those read ours.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from worker.request import GenerateRequest

VERSION = "layerdiffuse-worker 0.1.0"
"""Says which program made a picture; the number is that of `pyproject.toml`."""

METHOD = "(SDXL) Only Generate Transparent Image (Attention Injection)"
"""The one LayerDiffuse method that the worker has, by its name in lllyasviel/sd-forge-layerdiffuse."""

SHORT_HASH_DIGITS = 10


def make_parameters(request: GenerateRequest, model_name: str, model_hash: str) -> str:
    """Return the text of the PNG's `parameters` chunk.

    The prompt, a line `Negative prompt: ...` unless that is empty, then one line of `Name: value` pairs, in
    which a value with a comma, a colon or a line feed is written as a JSON string.

    Args:
        request: what was drawn; the prompt is written as it was encoded, with the preset's words.
        model_name: the checkpoint's name.
        model_hash: hex sha256 of the checkpoint, ten digits or more; "" when not known.
    """
    values: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "Schedule type": request.scheduler,
        "CFG scale": request.cfg_scale,
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
    }
    if model_hash:
        values["Model hash"] = model_hash[:SHORT_HASH_DIGITS]
    values["Model"] = model_name
    values |= _extra_parameters(request)
    values["Version"] = VERSION
    lines = [request.prompt_text]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {_quote(value)}" for name, value in values.items()))
    return "\n".join(lines)


def make_info(
    request: GenerateRequest,
    model_name: str,
    model_hash: str,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> str:
    """Return the generation record: a JSON object, in ASCII.

    Keys of features that the worker does not have hold what the web UI writes when they are unused, but for
    `subseed`, which is -1: none is drawn.

    Args:
        request: what was drawn; `prompt` is written as it was encoded, with the preset's words.
        model_name: the checkpoint's name.
        model_hash: hex sha256 of the checkpoint, ten digits or more; "" when not known.
        now: the time for `job_timestamp` (`YYYYMMDDHHMMSS`); all else depends on the other arguments alone.
    """
    record: Mapping[str, object] = {
        "prompt": request.prompt_text,
        "all_prompts": [request.prompt_text],
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [request.negative_prompt],
        "seed": request.seed,
        "all_seeds": [request.seed],
        "subseed": -1,
        "all_subseeds": [-1],
        "subseed_strength": 0,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": 1,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": model_name,
        "sd_model_hash": model_hash[:SHORT_HASH_DIGITS],
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": None,
        "extra_generation_params": {"Schedule type": request.scheduler} | _extra_parameters(request),
        "index_of_first_image": 0,
        "infotexts": [make_parameters(request, model_name, model_hash)],
        "styles": [],
        "job_timestamp": now().strftime("%Y%m%d%H%M%S"),
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
    }
    return json.dumps(record)


def _extra_parameters(request: GenerateRequest) -> dict[str, object]:
    """Return what the web UI has no parameter of its own for."""
    extra: dict[str, object] = {
        "layerdiffusion_enabled": True,
        "layerdiffusion_method": METHOD,
        "layerdiffusion_weight": 1.0,
        "layerdiffusion_ending_step": 1.0,
        "Preset": request.preset,
    }
    if request.loras:
        extra["LoRAs"] = ", ".join(f"{lora.name}: {lora.weight}" for lora in request.loras)
    return extra


def _quote(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text
