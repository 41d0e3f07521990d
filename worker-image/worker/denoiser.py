"""The UNet as the sampler sees it: a noisy sample in, the predicted clean one out."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from worker.text import Conditioning, match_lengths


@dataclass(frozen=True, slots=True)
class _Call:
    """The conditions of one UNet call: one or two roles (negative, then positive) of a batch of images."""

    context: torch.Tensor
    """[roles * images, tokens, channels] in the UNet's dtype."""
    pooled: torch.Tensor
    """[roles * images, channels] in the UNet's dtype."""
    size: torch.Tensor
    """float32 [roles * images, 6]: height, width, top, left, target height, target width."""
    roles: int

    def for_images(self, images: int) -> "_Call":
        """Return the same call with every role's conditions repeated for each image."""
        return _Call(
            self.context.repeat_interleave(images, dim=0),
            self.pooled.repeat_interleave(images, dim=0),
            self.size.repeat_interleave(images, dim=0),
            self.roles,
        )


class Denoiser:
    """Predicts the clean latent at each step of one run, with classifier-free guidance.

    Called with (x: float32 [B, 4, h, w] at sigmas[i], i), returns D_i, float32, same shape: x / sqrt(sigma^2
    + 1) goes to the UNet in its dtype, the predicted noise comes back to float32, D = x - sigma * noise, and
    of the two predictions D = D_negative + cfg_scale * (D_positive - D_negative). Source:
    stable-diffusion-webui-forge `backend/modules/k_model.py` and `backend/sampling/sampling_function.py`.

    Negative and positive are one UNet call of twice the batch; two calls where their contexts cannot be
    repeated to one length; at cfg_scale 1 the negative is not computed. All images share the two
    conditionings.

    Everything that no step changes is made once: the constructor puts it on the conditionings' device, where
    the UNet is too, and the calls themselves never wait for that device.

    Args:
        unet: an SDXL `UNet2DConditionModel`, predicting noise, in `dtype`; compiled or not. Where its
        convolutions are
            in channels_last, so is its input.
        positive: what to draw; context [1, 77 n, 2048], pooled [1, 1280].
        negative: what not to draw; n may differ.
        cfg_scale: 1 or more.
        sigmas: what `make_sigmas` returns, [steps + 1].
        timesteps: what `make_timesteps` returns, [steps].
        width: of the image, pixels.
        height: of the image, pixels.
        dtype: the UNet's.
    """

    def __init__(
        self,
        unet: nn.Module,
        positive: Conditioning,
        negative: Conditioning,
        cfg_scale: float,
        sigmas: torch.Tensor,
        timesteps: torch.Tensor,
        width: int,
        height: int,
        dtype: torch.dtype,
    ) -> None:
        device = positive.context.device
        self._unet = unet
        self._cfg_scale = cfg_scale
        self._dtype = dtype
        self._memory_format = _memory_format(unet)
        self._sigmas: list[float] = sigmas.tolist()
        self._input_scales = [1 / math.hypot(sigma, 1) for sigma in self._sigmas]
        self._timesteps = timesteps.to(device).unbind()
        size = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=device)
        self._calls = {1: _make_calls(positive, negative, cfg_scale, size, dtype)}

    def __call__(self, x: torch.Tensor, i: int) -> torch.Tensor:
        """Return D_i for x at sigmas[i]; see the class."""
        images = x.shape[0]
        if images not in self._calls:
            self._calls[images] = [call.for_images(images) for call in self._calls[1]]
        with torch.no_grad():
            scaled = x * self._input_scales[i]
            predictions = [
                torch.sub(x, noise, alpha=self._sigmas[i])
                for call in self._calls[images]
                for noise in self._predict_noise(call, scaled, i)
            ]
            if len(predictions) == 1:
                return predictions[0]
            negative, positive = predictions
            return torch.add(negative, positive - negative, alpha=self._cfg_scale)

    def _predict_noise(self, call: _Call, scaled: torch.Tensor, i: int) -> tuple[torch.Tensor, ...]:
        """Return the predicted noise of each of the call's roles, float32 [B, 4, h, w], contiguous."""
        noise: torch.Tensor = self._unet(
            scaled.repeat(call.roles, 1, 1, 1).to(self._dtype, memory_format=self._memory_format),
            self._timesteps[i],
            encoder_hidden_states=call.context,
            added_cond_kwargs={"text_embeds": call.pooled, "time_ids": call.size},
            return_dict=False,
        )[0]
        return noise.to(torch.float32, memory_format=torch.contiguous_format).chunk(call.roles)


def _make_calls(
    positive: Conditioning,
    negative: Conditioning,
    cfg_scale: float,
    size: torch.Tensor,
    dtype: torch.dtype,
) -> list[_Call]:
    """Return a step's UNet calls for one image: both roles at once, one by one, or the positive alone."""
    if math.isclose(cfg_scale, 1.0):
        return [_Call(positive.context.to(dtype), positive.pooled.to(dtype), size, roles=1)]
    contexts = match_lengths(negative, positive)
    if contexts is None:
        return [
            _Call(role.context.to(dtype), role.pooled.to(dtype), size, roles=1)
            for role in (negative, positive)
        ]
    pooled = torch.cat([negative.pooled, positive.pooled])
    return [_Call(torch.cat(contexts).to(dtype), pooled.to(dtype), size.repeat(2, 1), roles=2)]


def _memory_format(unet: nn.Module) -> torch.memory_format:
    """Return the layout of the UNet's convolutions, of which the first decides."""
    first = next((weight for weight in unet.parameters() if weight.ndim == 4), None)
    return torch.contiguous_format if first is None or first.is_contiguous() else torch.channels_last
