import math
from typing import NamedTuple

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from worker.denoiser import Denoiser
from worker.noise import GaussianNoise
from worker.sampler import sample
from worker.schedule import make_sigmas, make_timesteps
from worker.text import Conditioning

CPU = torch.device("cpu")
SIGMAS = make_sigmas("Karras", 20)
TIMESTEPS = make_timesteps(SIGMAS)
LATENT = (4, 8, 16)
WIDTH, HEIGHT = 128, 64


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    """SDXL's kind of UNet with about a million random weights."""
    torch.manual_seed(0)
    model: UNet2DConditionModel = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
        cross_attention_dim=64,
        norm_num_groups=1,
    )
    return model.eval().requires_grad_(False)


class UNetCall(NamedTuple):
    sample: torch.Tensor
    timestep: torch.Tensor
    context: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor


class FakeUNet(nn.Module):
    """Records its calls; "predicts" the sample times its pooled mean plus its context mean, per image."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 3, dtype=dtype)
        self.calls: list[UNetCall] = []

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        added_cond_kwargs: dict[str, torch.Tensor],
        return_dict: bool,
    ) -> tuple[torch.Tensor]:
        assert return_dict is False
        pooled, time_ids = added_cond_kwargs["text_embeds"], added_cond_kwargs["time_ids"]
        self.calls.append(UNetCall(sample, timestep, encoder_hidden_states, pooled, time_ids))
        means = pooled.mean(1), encoder_hidden_states.mean((1, 2))
        factor, offset = (mean.reshape(-1, 1, 1, 1) for mean in means)
        return (sample * factor + offset,)


def conditioning(seed: int, chunks: int = 1) -> Conditioning:
    generator = torch.Generator().manual_seed(seed)
    return Conditioning(
        context=torch.randn(1, 77 * chunks, 64, generator=generator),
        pooled=torch.randn(1, 32, generator=generator),
    )


POSITIVE, NEGATIVE = conditioning(1), conditioning(2)


def noisy(images: int = 1, seed: int = 9) -> torch.Tensor:
    return torch.randn((images, *LATENT), generator=torch.Generator().manual_seed(seed)) * float(SIGMAS[0])


def make_denoiser(
    unet: nn.Module,
    positive: Conditioning = POSITIVE,
    negative: Conditioning = NEGATIVE,
    cfg_scale: float = 5.0,
    dtype: torch.dtype = torch.float32,
) -> Denoiser:
    return Denoiser(unet, positive, negative, cfg_scale, SIGMAS, TIMESTEPS, WIDTH, HEIGHT, dtype)


def prediction_alone(unet: nn.Module, x: torch.Tensor, i: int, role: Conditioning) -> torch.Tensor:
    """D of one role, by its formula: a UNet call of its own, a Python number as the timestep."""
    sigma = float(SIGMAS[i])
    noise: torch.Tensor
    (noise,) = unet(
        x / math.sqrt(sigma**2 + 1),
        int(TIMESTEPS[i]),
        encoder_hidden_states=role.context.repeat(len(x), 1, 1),
        added_cond_kwargs={
            "text_embeds": role.pooled.repeat(len(x), 1),
            "time_ids": torch.tensor([[HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]] * len(x)),
        },
        return_dict=False,
    )
    return x - sigma * noise


@pytest.mark.parametrize("i", [0, 7, 19])
@pytest.mark.parametrize("cfg_scale", [5.0, 1.5, 12.0])
def test_guidance_goes_from_the_negative_prediction_past_the_positive_one(
    unet: UNet2DConditionModel, i: int, cfg_scale: float
) -> None:
    sigma = float(SIGMAS[i])
    x = noisy() * (math.hypot(sigma, 1) / float(SIGMAS[0]))
    negative = prediction_alone(unet, x, i, NEGATIVE)
    positive = prediction_alone(unet, x, i, POSITIVE)
    expected = negative + cfg_scale * (positive - negative)
    actual = make_denoiser(unet, cfg_scale=cfg_scale)(x, i)
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-6 + 1e-5 * sigma * cfg_scale)
    assert float((positive - negative).abs().max()) > 5e-3 * sigma  # or the factor would not show


def test_at_scale_1_the_prediction_is_the_positive_one(unet: UNet2DConditionModel) -> None:
    x = noisy()
    expected = prediction_alone(unet, x, 3, POSITIVE)
    torch.testing.assert_close(make_denoiser(unet, cfg_scale=1.0)(x, 3), expected, rtol=1e-5, atol=2e-5)


def test_both_roles_share_one_call_negative_first() -> None:
    unet = FakeUNet()
    make_denoiser(unet)(noisy(), 4)
    (call,) = unet.calls
    assert torch.equal(call.context, torch.cat([NEGATIVE.context, POSITIVE.context]))
    assert torch.equal(call.pooled, torch.cat([NEGATIVE.pooled, POSITIVE.pooled]))
    torch.testing.assert_close(call.sample[0], call.sample[1], rtol=0, atol=0)


def test_the_input_is_scaled_and_the_size_and_timestep_are_told() -> None:
    unet = FakeUNet()
    x = noisy()
    make_denoiser(unet)(x, 4)
    (call,) = unet.calls
    torch.testing.assert_close(call.sample[:1], x / math.sqrt(float(SIGMAS[4]) ** 2 + 1))
    assert call.time_ids.tolist() == [[64, 128, 0, 0, 64, 128]] * 2
    assert float(call.timestep) == 827.0
    assert call.timestep.shape == ()


def test_at_scale_1_the_negative_is_not_computed() -> None:
    unet = FakeUNet()
    make_denoiser(unet, cfg_scale=1.0)(noisy(), 0)
    (call,) = unet.calls
    assert torch.equal(call.context, POSITIVE.context)
    assert torch.equal(call.pooled, POSITIVE.pooled)


@pytest.mark.parametrize(
    ("chunks", "negative_chunks", "batches"),
    [(1, 1, [2]), (3, 1, [2]), (1, 4, [2]), (2, 3, [2]), (5, 1, [1, 1]), (4, 5, [1, 1])],
)
def test_the_roles_are_called_apart_only_when_their_lengths_cannot_be_matched(
    chunks: int, negative_chunks: int, batches: list[int]
) -> None:
    unet = FakeUNet()
    make_denoiser(unet, conditioning(1, chunks), conditioning(2, negative_chunks))(noisy(), 0)
    assert [len(call.sample) for call in unet.calls] == batches


@pytest.mark.parametrize(("chunks", "negative_chunks"), [(1, 1), (2, 3), (5, 1)])
@pytest.mark.parametrize("images", [1, 2])
def test_prompts_of_any_two_lengths_are_predicted_as_if_each_were_alone(
    unet: UNet2DConditionModel, chunks: int, negative_chunks: int, images: int
) -> None:
    positive, negative = conditioning(1, chunks), conditioning(2, negative_chunks)
    x = noisy(images)
    alone = [prediction_alone(unet, x, 5, role) for role in (negative, positive)]
    actual = make_denoiser(unet, positive, negative)(x, 5)
    torch.testing.assert_close(actual, alone[0] + 5.0 * (alone[1] - alone[0]), rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("images", [2, 3])
def test_every_image_of_a_batch_gets_its_roles_conditions(images: int) -> None:
    unet = FakeUNet()
    make_denoiser(unet)(noisy(images), 0)
    (call,) = unet.calls
    expected = torch.cat([NEGATIVE.pooled] * images + [POSITIVE.pooled] * images)
    assert torch.equal(call.pooled, expected)
    assert call.time_ids.shape == (2 * images, 6)
    assert torch.equal(call.sample[:images], call.sample[images:])


def test_one_denoiser_serves_batches_of_different_sizes() -> None:
    denoise = make_denoiser(FakeUNet())
    x = noisy(3)
    together = denoise(x, 2)
    for k in range(3):
        torch.testing.assert_close(denoise(x[k : k + 1], 2)[0], together[k])


@pytest.mark.parametrize("sampler", ["DPM++ 2M SDE", "Euler"])
def test_a_run_of_two_seeds_equals_two_runs_of_one(unet: UNet2DConditionModel, sampler: str) -> None:
    sigmas = make_sigmas("Karras", 4)

    def latents(seeds: list[int]) -> torch.Tensor:
        noise = GaussianNoise(seeds, LATENT, CPU)
        denoise = Denoiser(
            unet, POSITIVE, NEGATIVE, 5.0, sigmas, make_timesteps(sigmas), WIDTH, HEIGHT, torch.float32
        )
        start = noise.start() * float(sigmas[0])
        return sample(sampler, denoise, start, sigmas, noise, lambda done: None)

    together, apart = latents([5, 6]), torch.cat([latents([5]), latents([6])])
    assert float((together - apart).norm() / apart.norm()) < 1e-5
    assert not torch.allclose(together[0], together[1], atol=0.1)


def test_what_no_step_changes_is_made_once() -> None:
    unet = FakeUNet()
    denoise = make_denoiser(unet)
    for i in range(3):
        denoise(noisy(2), i)
    first, *later = unet.calls
    for call in later:
        assert call.context is first.context
        assert call.pooled is first.pooled
        assert call.time_ids is first.time_ids
    assert [float(call.timestep) for call in unet.calls] == [999.0, 962.0, 921.0]


def test_the_unet_gets_its_dtype_and_the_sampler_float32() -> None:
    unet = FakeUNet(torch.bfloat16)
    result = make_denoiser(unet, dtype=torch.bfloat16)(noisy(), 0)
    (call,) = unet.calls
    assert {call.sample.dtype, call.context.dtype, call.pooled.dtype} == {torch.bfloat16}
    # Sizes above 256 are no bfloat16 numbers, and those above 2048 no float16 ones.
    assert {call.timestep.dtype, call.time_ids.dtype, result.dtype} == {torch.float32}


def test_the_prediction_leaves_its_input_as_it_was() -> None:
    x = noisy()
    before = x.clone()
    make_denoiser(FakeUNet())(x, 0)
    assert torch.equal(x, before)


@pytest.mark.parametrize("cfg_scale", [1.0, 5.0])
def test_a_unet_in_channels_last_gets_its_input_so_and_the_sampler_a_contiguous_answer(
    cfg_scale: float,
) -> None:
    unet = FakeUNet()
    nn.utils.convert_conv2d_weight_memory_format(unet, torch.channels_last)
    result = make_denoiser(unet, cfg_scale=cfg_scale)(noisy(), 0)
    (call,) = unet.calls
    assert call.sample.is_contiguous(memory_format=torch.channels_last)
    assert not call.sample.is_contiguous()
    assert result.is_contiguous()


def test_a_contiguous_unet_gets_contiguous_input() -> None:
    unet = FakeUNet()
    make_denoiser(unet)(noisy(), 0)
    assert unet.calls[0].sample.is_contiguous()


def test_channels_last_changes_the_prediction_by_rounding_only(unet: UNet2DConditionModel) -> None:
    x = noisy()
    expected = make_denoiser(unet)(x, 2)
    unet.to(memory_format=torch.channels_last)
    try:
        actual = make_denoiser(unet)(x, 2)
    finally:
        unet.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=2e-4)


def test_the_prediction_carries_no_gradient() -> None:
    assert make_denoiser(FakeUNet())(noisy().requires_grad_(), 0).requires_grad is False


@pytest.mark.gpu
@pytest.mark.parametrize("sampler", ["DPM++ 2M SDE", "DPM++ 2M", "Euler", "Euler a"])
def test_steps_on_cuda_do_not_wait_for_the_device(unet: UNet2DConditionModel, sampler: str) -> None:
    device = torch.device("cuda")
    positive, negative = (
        Conditioning(role.context.to(device), role.pooled.to(device)) for role in (POSITIVE, NEGATIVE)
    )
    noise = GaussianNoise([5, 6], LATENT, device)
    start = noise.start() * float(SIGMAS[0])
    try:
        denoise = make_denoiser(unet.to(device), positive, negative)
        denoise(start, 0)
        torch.cuda.set_sync_debug_mode("error")
        sample(sampler, denoise, start, SIGMAS, noise, lambda done: None)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        unet.to(CPU)
