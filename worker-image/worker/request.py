"""A job's input: every field honoured, or refused by name. Standard library only.

Fields, defaults and coercions are those of the published worker (`rp_handler.py`, `modules/api/models.py`);
what it drops or replaces in silence is an error here. Checks run in a fixed order; the first error is told.
`test/fixtures/contract/good-inputs.json` and `bad-inputs.json` hold the TypeScript side to the same answers.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from worker.errors import WorkerError
from worker.fields import (
    Fields,
    as_object,
    check_prompt,
    is_blank,
    read_choice,
    read_flag,
    read_list,
    read_number,
    read_object,
    read_text,
    refuse_unknown,
    refuse_unless_accepted,
    to_number,
    unknown_name,
)
from worker.limits import (
    CFG_SCALE,
    DEFAULT_CFG_SCALE,
    DEFAULT_LORA_WEIGHT,
    DEFAULT_NEGATIVE_PROMPT,
    DEFAULT_SIDE,
    DEFAULT_STEPS,
    ENCODINGS,
    FIELDS,
    FIXED_FIELDS,
    LORA_WEIGHT,
    MAX_CHUNKS,
    MAX_LORAS,
    MAX_PIXELS,
    MAX_PROMPT_LENGTH,
    MAX_SEED,
    SAMPLERS,
    SCHEDULERS,
    SIDE,
    SIZE_STEP,
    STEPS,
    Encoding,
)
from worker.presets import DEFAULT_PRESET, PRESETS, Preset
from worker.wording import one_of, show

__all__ = [
    "SAMPLERS",
    "SCHEDULERS",
    "GenerateRequest",
    "Installed",
    "LoraUse",
    "WarmUp",
    "draw_seed",
    "parse_request",
]


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A style LoRA and how strongly it is applied."""

    name: str
    weight: float


@dataclass(frozen=True, slots=True)
class Installed:
    """What this image holds."""

    checkpoint: str
    checkpoint_aliases: tuple[str, ...]
    """Other names of the checkpoint, such as its file's. `.safetensors` may be left out or added."""
    loras: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A job that draws nothing: it is done once the worker has taken it."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A checked request, with every default filled in."""

    prompt: str
    """As the caller gave it."""
    prompt_text: str
    """What is encoded: the preset's text and the prompt."""
    negative_prompt: str
    seed: int
    """0..4294967295: the caller's, or the one drawn."""
    steps: int
    cfg_scale: float
    width: int
    """Pixels, as `height`."""
    height: int
    sampler: str
    scheduler: str
    preset: str
    loras: tuple[LoraUse, ...]
    """No name twice; all installed."""
    encoding: Encoding


def draw_seed() -> int:
    """Draw a seed, each of 0..4294967295 equally likely."""
    return secrets.randbelow(MAX_SEED + 1)


def parse_request(
    value: object, installed: Installed, draw_seed: Callable[[], int] = draw_seed
) -> GenerateRequest | WarmUp:
    """Check a job's input.

    Null counts as absent, 20.0 and "20" as 20. With `warm_up: true` the other fields are not looked at, but
    unknown ones are refused.

    Args:
        value: the job's `input`, as JSON was read.
        installed: what checkpoint and LoRAs are at hand.
        draw_seed: called once, when the input is good and has no seed or -1.

    Raises:
        WorkerError: with the code of a bad input and the field; only the first thing that is wrong is told.
    """
    if not isinstance(value, dict):
        raise WorkerError("bad_input", "input must be an object", field="input")
    fields: Fields = value
    refuse_unknown(fields, FIELDS, tuple(FIXED_FIELDS))
    if read_flag(fields, "warm_up"):
        return WarmUp()

    prompt = _read_prompt(fields)
    negative_prompt = read_text(fields, "negative_prompt")
    if negative_prompt is not None:
        check_prompt(negative_prompt, "negative_prompt", MAX_PROMPT_LENGTH, MAX_CHUNKS)
    seed = _read_seed(fields)
    steps = read_number(fields, "steps", *STEPS, whole=True)
    sampler, scheduler = _read_sampler(fields)
    cfg_scale = read_number(fields, "cfg_scale", *CFG_SCALE)
    width, height = _read_size(fields)
    for field, (accepted, reason) in FIXED_FIELDS.items():
        refuse_unless_accepted(fields, field, accepted, reason)
    preset_name = read_choice(fields, "generator_type", tuple(PRESETS), "unknown_preset") or DEFAULT_PRESET
    preset = PRESETS[preset_name]
    has_checkpoint = _check_checkpoint(fields, installed, preset_name, preset)
    given_loras = _read_loras(fields, installed)
    loras = _preset_loras(preset_name, preset, installed) if given_loras is None else given_loras
    encoding = _read_encoding(fields)
    # The published worker's rule: an empty list takes the preset's LoRA away and leaves its text.
    text = "" if has_checkpoint or given_loras else preset.text
    return GenerateRequest(
        prompt=prompt,
        prompt_text=text + prompt,
        negative_prompt=DEFAULT_NEGATIVE_PROMPT if negative_prompt is None else negative_prompt,
        seed=draw_seed() if seed is None else seed,
        steps=DEFAULT_STEPS if steps is None else int(steps),
        cfg_scale=DEFAULT_CFG_SCALE if cfg_scale is None else cfg_scale,
        width=width,
        height=height,
        sampler=sampler,
        scheduler=scheduler,
        preset=preset_name,
        loras=loras,
        encoding=encoding,
    )


def _read_prompt(fields: Fields) -> str:
    prompt = read_text(fields, "prompt")
    if prompt is None:
        raise WorkerError("missing_field", "prompt is required", field="prompt")
    check_prompt(prompt, "prompt", MAX_PROMPT_LENGTH, MAX_CHUNKS)
    if is_blank(prompt):
        raise WorkerError("empty_prompt", "prompt has no text", field="prompt")
    return prompt


def _read_seed(fields: Fields) -> int | None:
    """Return the seed; None where one is to be drawn."""
    value = fields.get("seed")
    number = -1.0 if value is None else to_number(value)
    if number == -1:
        return None
    if number is None or not number.is_integer() or not 0 <= number <= MAX_SEED:
        message = f"seed must be -1 or 0..{MAX_SEED} (got {show(value)})"
        raise WorkerError("bad_seed", message, field="seed")
    return int(number)


def _read_sampler(fields: Fields) -> tuple[str, str]:
    """Return the names of sampler and schedule.

    A schedule's name at the end of the sampler's counts as the schedule, as in "DPM++ 2M SDE Karras". Source:
    the web UI's `modules/sd_samplers.py`.
    """
    given = read_text(fields, "sampler_name")
    sampler = SAMPLERS[0] if given is None else given
    trailing = next((name for name in SCHEDULERS if sampler.endswith(f" {name}")), None)
    if trailing is not None:
        sampler = sampler.removesuffix(f" {trailing}")
    if given is not None and sampler not in SAMPLERS:
        raise unknown_name("sampler_name", "one of", given, SAMPLERS, "unknown_sampler", guess_from=sampler)
    scheduler = read_choice(fields, "scheduler", SCHEDULERS, "unknown_scheduler")
    if trailing is not None and scheduler not in (None, trailing):
        message = f"scheduler {show(scheduler)} contradicts sampler_name {show(given)}; send one schedule"
        raise WorkerError("unsupported", message, field="scheduler")
    return sampler, scheduler or trailing or SCHEDULERS[0]


def _read_size(fields: Fields) -> tuple[int, int]:
    width, height = _read_side(fields, "width"), _read_side(fields, "height")
    longer = "width" if width >= height else "height"
    if width * height > MAX_PIXELS:
        message = f"width x height must be at most 2.4 megapixels (got {show(width)} x {show(height)})"
        raise WorkerError("too_large", message, field=longer)
    if max(width, height) > SIDE[1]:
        message = f"{longer} must be at most {SIDE[1]} (got {max(width, height)})"
        raise WorkerError("too_large", message, field=longer)
    return width, height


def _read_side(fields: Fields, field: str) -> int:
    value = fields.get(field)
    number = float(DEFAULT_SIDE) if value is None else to_number(value)
    if number is not None and number > 0 and number % SIZE_STEP == 0:
        return int(number)
    hint = ""
    if number is not None:
        below = int(number // SIZE_STEP) * SIZE_STEP
        near = sorted({min(max(side, SIDE[0]), SIDE[1]) for side in (below, below + SIZE_STEP)})
        hint = f" (nearest: {', '.join(map(str, near))})"
    message = f"{field} must be a multiple of {SIZE_STEP}{hint} (got {show(value)})"
    raise WorkerError("bad_size", message, field=field)


def _check_checkpoint(fields: Fields, installed: Installed, preset_name: str, preset: Preset) -> bool:
    """Refuse a checkpoint that is not installed; tell whether the input names one."""
    names = {_without_ending(name) for name in (installed.checkpoint, *installed.checkpoint_aliases)}
    given = read_text(fields, "checkpoint")
    if given is not None and _without_ending(given) not in names:
        raise unknown_name(
            "checkpoint", "the installed", given, (installed.checkpoint,), "unknown_checkpoint"
        )
    if given is None and preset.checkpoint is not None and preset.checkpoint not in names:
        raise _preset_needs(preset_name, "checkpoint", preset.checkpoint, (installed.checkpoint,))
    return given is not None


def _without_ending(checkpoint: str) -> str:
    return checkpoint.removesuffix(".safetensors")


def _read_loras(fields: Fields, installed: Installed) -> tuple[LoraUse, ...] | None:
    """Return the LoRAs that the input names; None where it says nothing about them."""
    items = read_list(fields, "loras")
    if items is None:
        return None
    if len(items) > MAX_LORAS:
        raise WorkerError(
            "too_many", f"loras must hold at most {MAX_LORAS} (got {len(items)})", field="loras"
        )
    uses: list[LoraUse] = []
    for index, item in enumerate(items):
        path = f"loras.{index}."
        lora = as_object(item, f"loras.{index}")
        refuse_unknown(lora, ("name", "weight"), path=path)
        name = read_text(lora, "name", path)
        if name is None:
            raise WorkerError("missing_field", f"{path}name is required", field=f"{path}name")
        if name not in installed.loras:
            raise unknown_name(f"{path}name", "one of the installed:", name, installed.loras, "unknown_lora")
        if any(name == use.name for use in uses):
            raise WorkerError("unsupported", f"{path}name {show(name)} is there twice", field=f"{path}name")
        weight = read_number(lora, "weight", *LORA_WEIGHT, path=path)
        uses.append(LoraUse(name, DEFAULT_LORA_WEIGHT if weight is None else weight))
    return tuple(uses)


def _preset_loras(preset_name: str, preset: Preset, installed: Installed) -> tuple[LoraUse, ...]:
    for name in preset.loras:
        if name not in installed.loras:
            raise _preset_needs(preset_name, "LoRA", name, installed.loras)
    return tuple(LoraUse(name, DEFAULT_LORA_WEIGHT) for name in preset.loras)


def _preset_needs(
    preset_name: str, kind: Literal["checkpoint", "LoRA"], needed: str, at_hand: tuple[str, ...]
) -> WorkerError:
    code = "unknown_checkpoint" if kind == "checkpoint" else "unknown_lora"
    message = (
        f"generator_type {show(preset_name)} needs the {kind} {show(needed)}; installed: {one_of(at_hand)}"
    )
    return WorkerError(code, message, field="generator_type")


def _read_encoding(fields: Fields) -> Encoding:
    response = read_object(fields, "response")
    refuse_unknown(response, ("encoding",), path="response.")
    value = response.get("encoding")
    if value is None:
        return "both"
    for encoding in ENCODINGS:
        if value == encoding:
            return encoding
    message = f"response.encoding must be one of {one_of(ENCODINGS)} (got {show(value)})"
    raise WorkerError("unsupported", message, field="response.encoding")
