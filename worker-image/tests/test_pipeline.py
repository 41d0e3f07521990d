import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from worker.errors import WorkerError
from worker.pipeline import Pipeline, choose_device, paced
from worker.png import encode_png
from worker.record import make_parameters
from worker.request import SAMPLERS, GenerateRequest, parse_request
from worker.settings import Settings


def ignore_step(done: int, of: int) -> None:
    """Watch nothing."""


def load(directory: Path, **environment: str) -> Pipeline:
    return Pipeline.load(
        Settings.from_environment(
            {"MODEL_DIR": str(directory), "DEVICE": "cpu", "WARM_UP_SIZE": "64", **environment}
        )
    )


@pytest.fixture(scope="module")
def pipeline(tiny_model: Path) -> Pipeline:
    return load(tiny_model)


def request(pipeline: Pipeline, **fields: object) -> GenerateRequest:
    parsed = parse_request(
        {"prompt": "a red apple", "seed": 7, "steps": 4, "width": 64, "height": 128, **fields},
        pipeline.installed,
    )
    assert isinstance(parsed, GenerateRequest)
    return parsed


def test_a_picture_has_the_size_asked_for_and_alpha_that_varies(pipeline: Pipeline) -> None:
    pixels = pipeline.render(request(pipeline), ignore_step).pixels
    assert pixels.shape == (128, 64, 4)
    assert pixels.dtype == np.uint8
    alpha = pixels[..., 3]
    assert alpha.std() > 5
    assert alpha.min() < 250


def test_colour_under_alpha_0_is_kept(pipeline: Pipeline) -> None:
    pixels = pipeline.render(request(pipeline), ignore_step).pixels
    hidden = pixels[pixels[..., 3] == 0][:, :3]
    assert len(hidden) > 0
    assert hidden.any()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(pipeline: Pipeline) -> None:
    asked = request(pipeline)
    first = pipeline.render(asked, ignore_step).pixels
    other = pipeline.render(replace(asked, seed=8), ignore_step).pixels
    again = pipeline.render(asked, ignore_step).pixels
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    ("sampler", "noise"),
    [*((sampler, "gaussian") for sampler in SAMPLERS), ("DPM++ 2M SDE", "brownian")],
)
def test_latents_do_not_depend_on_what_else_is_in_the_batch(
    tiny_model: Path, sampler: str, noise: str
) -> None:
    pipeline = load(tiny_model, NOISE=noise)
    asked = request(pipeline, sampler_name=sampler)
    with torch.inference_mode():
        positive = pipeline.text.encode(asked.prompt_text)
        negative = pipeline.text.encode_negative(asked.negative_prompt)

        def latents(*seeds: int) -> torch.Tensor:
            return pipeline.sample_latents(asked, list(seeds), positive, negative, ignore_step)

        alone = torch.cat([latents(7), latents(8)])
        # Not bit for bit: a batched product may sum in another order, which the random UNet magnifies.
        assert (latents(7, 8) - alone).norm() < 1e-4 * alone.norm()
        assert (latents(8, 7) - alone).norm() > 0.1 * alone.norm()


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a green apple"},
        {"negative_prompt": "blurred"},
        {"negative_prompt": ""},
        {"steps": 5},
        {"cfg_scale": 7},
        {"cfg_scale": 1},
        {"sampler_name": "Euler"},
        {"scheduler": "Exponential"},
        {"prompt": "a (red:1.3) apple"},
        {"loras": [{"name": "geometric-logo", "weight": 1.0}]},
        {"generator_type": "aesthetic"},
        {"prompt": "a red apple, " * 40},
    ],
    ids=str,
)
def test_every_field_changes_the_picture(pipeline: Pipeline, fields: dict[str, object]) -> None:
    plain = pipeline.render(request(pipeline), ignore_step).pixels
    changed = pipeline.render(request(pipeline, **fields), ignore_step).pixels
    assert plain.tobytes() != changed.tobytes()


def test_a_lora_leaves_no_trace_in_the_next_picture(pipeline: Pipeline) -> None:
    before = pipeline.render(request(pipeline), ignore_step).pixels
    pipeline.render(request(pipeline, loras=[{"name": "geometric-logo", "weight": 1.5}]), ignore_step)
    after = pipeline.render(request(pipeline), ignore_step).pixels
    assert before.tobytes() == after.tobytes()


def test_steps_are_reported_one_by_one_and_an_exception_there_stops_the_job(pipeline: Pipeline) -> None:
    seen: list[tuple[int, int]] = []
    pipeline.render(request(pipeline), lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]

    class StopHereError(Exception):
        pass

    def stop_at_2(done: int, of: int) -> None:
        if done == 2:
            raise StopHereError

    with pytest.raises(StopHereError):
        pipeline.render(request(pipeline), stop_at_2)
    again = pipeline.render(request(pipeline), ignore_step).pixels
    assert again.shape == (128, 64, 4)


def test_the_latent_convention_changes_only_what_the_transparent_decoder_is_given(tiny_model: Path) -> None:
    given: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for convention in ("scaled", "unscaled"):
        pipeline = load(tiny_model, LATENT_CONVENTION=convention)
        calls: list[tuple[torch.Tensor, torch.Tensor]] = []
        pipeline.models.alpha_decoder.register_forward_pre_hook(
            lambda module, inputs, calls=calls: calls.append(tuple(inputs))
        )
        pipeline.render(request(pipeline), ignore_step)
        given[convention] = calls
    assert len(given["scaled"]) == len(given["unscaled"]) > 0
    for (pixels, scaled), (same_pixels, unscaled) in zip(given["scaled"], given["unscaled"], strict=True):
        assert torch.equal(pixels, same_pixels)
        torch.testing.assert_close(unscaled, scaled / 0.13025)


def test_the_parameters_text_round_trips_through_the_png(pipeline: Pipeline) -> None:
    asked = request(pipeline, prompt="une pomme rouge, 苹果")
    rendered = pipeline.render(asked, ignore_step)
    parameters = make_parameters(asked, rendered.model_name, rendered.model_hash)
    with Image.open(io.BytesIO(encode_png(rendered.pixels, parameters))) as image:
        assert image.mode == "RGBA"
        assert image.size == (64, 128)
        assert image.info["parameters"] == parameters
        assert np.asarray(image).tobytes() == rendered.pixels.tobytes()


def test_latents_that_overflow_are_an_error_with_advice(tiny_model: Path) -> None:
    pipeline = load(tiny_model)
    with torch.no_grad():
        next(pipeline.models.unet.parameters()).fill_(float("nan"))
    with pytest.raises(WorkerError, match="another seed") as caught:
        pipeline.render(request(pipeline), ignore_step)
    assert caught.value.code == "nan_latents"


def test_transparency_that_overflows_is_an_error_rather_than_a_black_picture(tiny_model: Path) -> None:
    pipeline = load(tiny_model)
    with torch.no_grad():
        pipeline.models.alpha_decoder.conv_out.bias.fill_(float("nan"))  # type: ignore[union-attr] # it has one
    with pytest.raises(WorkerError, match="transparency overflowed"):
        pipeline.render(request(pipeline), ignore_step)


def test_warming_up_draws_and_can_be_turned_off(tiny_model: Path) -> None:
    drawn: list[object] = []
    for size in ("64", "0"):
        pipeline = load(tiny_model, WARM_UP_SIZE=size)
        pipeline.models.alpha_decoder.register_forward_hook(lambda *call: drawn.append(call))
        drawn.clear()
        pipeline.warm_up()
        assert bool(drawn) == (size != "0")


def test_compiled_blocks_draw_the_same_picture(tiny_model: Path, pipeline: Pipeline) -> None:
    torch.compiler.reset()
    compiled = load(tiny_model, COMPILE="blocks")
    asked = request(pipeline, steps=2, width=64, height=64)
    plain = pipeline.render(asked, ignore_step).pixels.astype(int)
    assert np.abs(compiled.render(asked, ignore_step).pixels.astype(int) - plain).max() <= 2


def test_a_device_that_is_not_there_is_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(WorkerError, match="no CUDA device"):
            choose_device("cuda")


def test_steps_on_a_cpu_are_passed_on_as_they_are() -> None:
    seen: list[tuple[int, int]] = []
    step = paced(lambda done, of: seen.append((done, of)), 2, torch.device("cpu"))
    step(1)
    step(2)
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.gpu
def test_half_precision_on_a_gpu_keeps_finite_and_below_the_memory_ceiling(tmp_path: Path) -> None:
    from model_build.random_model import main

    main(["--size", "full", "--to", str(tmp_path), "--device", "cuda"])
    pipeline = load(tmp_path, DEVICE="cuda", WARM_UP_SIZE="1024")
    torch.cuda.reset_peak_memory_stats()
    asked = request(pipeline, width=1024, height=1024, steps=20)
    first = pipeline.render(asked, ignore_step).pixels
    assert pipeline.render(asked, ignore_step).pixels.tobytes() == first.tobytes()
    assert torch.cuda.max_memory_allocated() < 16 * 2**30
