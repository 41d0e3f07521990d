import json
import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from worker.record import VERSION, make_info, make_parameters
from worker.request import GenerateRequest, LoraUse

REQUEST = GenerateRequest(
    prompt="a red apple",
    prompt_text="a red apple",
    negative_prompt="bad, ugly",
    seed=12345,
    steps=20,
    cfg_scale=5.0,
    width=1024,
    height=768,
    sampler="DPM++ 2M SDE",
    scheduler="Karras",
    preset="general",
    loras=(),
    encoding="both",
)
MODEL = ("sd_xl_base_1.0", "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b")
NOON = datetime(2026, 11, 3, 12, 4, 5, tzinfo=UTC)

# `Processed.js` of the web UI, in its order.
KEYS = [
    "prompt",
    "all_prompts",
    "negative_prompt",
    "all_negative_prompts",
    "seed",
    "all_seeds",
    "subseed",
    "all_subseeds",
    "subseed_strength",
    "width",
    "height",
    "sampler_name",
    "cfg_scale",
    "steps",
    "batch_size",
    "restore_faces",
    "face_restoration_model",
    "sd_model_name",
    "sd_model_hash",
    "sd_vae_name",
    "sd_vae_hash",
    "seed_resize_from_w",
    "seed_resize_from_h",
    "denoising_strength",
    "extra_generation_params",
    "index_of_first_image",
    "infotexts",
    "styles",
    "job_timestamp",
    "clip_skip",
    "is_using_inpainting_conditioning",
    "version",
]


def info(request: GenerateRequest = REQUEST) -> dict[str, object]:
    record: dict[str, object] = json.loads(make_info(request, *MODEL, now=lambda: NOON))
    return record


def parsed(parameters: str) -> dict[str, str]:
    """Read the last line as the web UI does: names, and values that may be JSON strings."""
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', parameters.split("\n")[-1])
    return {name: json.loads(value) if value.startswith('"') else value for name, value in pairs}


def test_the_parameters_are_three_lines() -> None:
    assert make_parameters(REQUEST, *MODEL) == (
        "a red apple\n"
        "Negative prompt: bad, ugly\n"
        "Steps: 20, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 5.0, Seed: 12345,"
        " Size: 1024x768, Model hash: 31e35c80fc, Model: sd_xl_base_1.0, layerdiffusion_enabled: True,"
        " layerdiffusion_method: (SDXL) Only Generate Transparent Image (Attention Injection),"
        " layerdiffusion_weight: 1.0, layerdiffusion_ending_step: 1.0, Preset: general,"
        f" Version: {VERSION}"
    )


def test_an_empty_negative_prompt_has_no_line() -> None:
    lines = make_parameters(replace(REQUEST, negative_prompt=""), *MODEL).split("\n")
    assert len(lines) == 2
    assert lines[1].startswith("Steps: ")


def test_an_unknown_hash_is_left_out() -> None:
    parameters = make_parameters(REQUEST, "mine", "")
    assert "Model hash" not in parameters
    assert parsed(parameters)["Model"] == "mine"


@pytest.mark.parametrize("name", ["a, b", "a: b", "a\nb", 'a, "b"', "a, b\\c", "a, ябълка"])
def test_a_value_that_would_end_early_is_quoted_as_json(name: str) -> None:
    parameters = make_parameters(REQUEST, name, MODEL[1])
    assert f"Model: {json.dumps(name, ensure_ascii=False)}, " in parameters
    assert parsed(parameters)["Model"] == name
    assert parsed(parameters)["Version"] == VERSION


def test_a_plain_value_is_not_quoted() -> None:
    assert "Model: ябълка v1.0 (best), " in make_parameters(REQUEST, "ябълка v1.0 (best)", MODEL[1])


def test_presets_and_loras_are_written_with_what_was_encoded() -> None:
    request = replace(
        REQUEST,
        prompt_text="flat-line-logo, geometric, a red apple",
        preset="logo",
        loras=(LoraUse("geometric-logo", 0.85), LoraUse("other", 1.0)),
    )
    parameters = make_parameters(request, *MODEL)
    assert parameters.startswith("flat-line-logo, geometric, a red apple\n")
    assert parsed(parameters)["Preset"] == "logo"
    assert parsed(parameters)["LoRAs"] == "geometric-logo: 0.85, other: 1.0"
    assert info(request)["prompt"] == "flat-line-logo, geometric, a red apple"
    assert info(request)["extra_generation_params"] == {
        "Schedule type": "Karras",
        "layerdiffusion_enabled": True,
        "layerdiffusion_method": "(SDXL) Only Generate Transparent Image (Attention Injection)",
        "layerdiffusion_weight": 1.0,
        "layerdiffusion_ending_step": 1.0,
        "Preset": "logo",
        "LoRAs": "geometric-logo: 0.85, other: 1.0",
    }


def test_the_info_has_the_keys_of_the_web_uis_record() -> None:
    assert list(info()) == KEYS


def test_the_info_says_what_was_drawn() -> None:
    record = info()
    expected = {
        "prompt": "a red apple",
        "all_prompts": ["a red apple"],
        "negative_prompt": "bad, ugly",
        "all_negative_prompts": ["bad, ugly"],
        "seed": 12345,
        "all_seeds": [12345],
        "width": 1024,
        "height": 768,
        "sampler_name": "DPM++ 2M SDE",
        "cfg_scale": 5.0,
        "steps": 20,
        "batch_size": 1,
        "sd_model_name": "sd_xl_base_1.0",
        "sd_model_hash": "31e35c80fc",
        "index_of_first_image": 0,
        "infotexts": [make_parameters(REQUEST, *MODEL)],
        "job_timestamp": "20261103120405",
        "version": VERSION,
    }
    assert {key: record[key] for key in expected} == expected


def test_the_info_is_alike_each_time_but_for_the_clock() -> None:
    assert make_info(REQUEST, *MODEL, now=lambda: NOON) == make_info(REQUEST, *MODEL, now=lambda: NOON)
    now = json.loads(make_info(REQUEST, *MODEL))
    assert {**now, "job_timestamp": "20261103120405"} == info()
    written = datetime.strptime(now["job_timestamp"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - written).total_seconds()) < 60


@pytest.mark.parametrize(
    "prompt", ["red 🍎 ябълка", 'quotes " and \\', "half \ud83c a pair", "nul \0", "two\nlines"]
)
def test_any_prompt_survives_the_info_in_ascii(prompt: str) -> None:
    text = make_info(replace(REQUEST, prompt_text=prompt), *MODEL)
    assert text.isascii()
    assert json.loads(text)["all_prompts"] == [prompt]


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert f"{project['name']} {project['version']}" == VERSION
