"""From noise to latent: four samplers over one loop.

The state is a variance-exploding sample, float32, that starts as `noise * sigmas[0]`. Every coefficient is
computed in Python floats (float64) from levels that left their tensor once, before the first step, so that no
step waits for the GPU.
"""

import math
from collections.abc import Callable, Sequence

import torch

from worker.noise import NoiseSource

Denoise = Callable[[torch.Tensor, int], torch.Tensor]
"""(x at sigmas[i]: float32 [B,4,h,w], i) -> the denoised prediction D_i, same shape and dtype."""

Step = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor | None, Sequence[float], int, NoiseSource], torch.Tensor
]
"""(x, D_i, D_{i-1} or None at the first step, sigmas, i, noise) -> x at sigmas[i + 1], which is above 0."""


def sample(
    sampler: str,
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: NoiseSource,
    on_step: Callable[[int], None],
) -> torch.Tensor:
    """Run all steps and return the latent: float32 [B,4,h,w], in the model's scale (not divided by 0.13025).

    `sampler` is a key of `SAMPLERS`; `x` is the start noise times sigmas[0]; `sigmas` [steps + 1] is what
    `make_sigmas` returns. One model call a step. The last step returns the prediction itself. `on_step` gets
    the number of steps done, 1 to steps, after each; what it raises ends the run. "DPM++ 2M SDE" and "Euler
    a" draw `noise.step` once a step except the last (steps - 1 draws), the others never.
    """
    step = SAMPLERS[sampler]
    levels: list[float] = sigmas.tolist()
    before: torch.Tensor | None = None
    for i in range(len(levels) - 1):
        denoised = denoise(x, i)
        x = denoised if levels[i + 1] == 0 else step(x, denoised, before, levels, i, noise)
        before = denoised
        on_step(i + 1)
    return x


def _dpmpp_2m_sde(
    x: torch.Tensor,
    denoised: torch.Tensor,
    before: torch.Tensor | None,
    sigmas: Sequence[float],
    i: int,
    noise: NoiseSource,
) -> torch.Tensor:
    """DPM-Solver++(2M) SDE, midpoint, eta 1, s_noise 1. Source: k-diffusion `sample_dpmpp_2m_sde`.

    With q = sigma_{i+1} / sigma_i: x <- q^2 x + (1 - q^2) (D_i + (D_i - D_{i-1}) / 2r) + sigma_{i+1} sqrt(1 -
    q^2) xi.
    """
    sigma, sigma_next = sigmas[i], sigmas[i + 1]
    kept = (sigma_next / sigma) ** 2
    x = torch.add(x * kept, _extrapolated(denoised, before, sigmas, i), alpha=1 - kept)
    return torch.add(x, noise.step(sigma, sigma_next), alpha=sigma_next * math.sqrt(1 - kept))


def _dpmpp_2m(
    x: torch.Tensor,
    denoised: torch.Tensor,
    before: torch.Tensor | None,
    sigmas: Sequence[float],
    i: int,
    noise: NoiseSource,
) -> torch.Tensor:
    """DPM-Solver++(2M). Source: k-diffusion `sample_dpmpp_2m`.

    With q = sigma_{i+1} / sigma_i: x <- q x + (1 - q) (D_i + (D_i - D_{i-1}) / 2r).
    """
    kept = sigmas[i + 1] / sigmas[i]
    return torch.add(x * kept, _extrapolated(denoised, before, sigmas, i), alpha=1 - kept)


def _euler(
    x: torch.Tensor,
    denoised: torch.Tensor,
    before: torch.Tensor | None,
    sigmas: Sequence[float],
    i: int,
    noise: NoiseSource,
) -> torch.Tensor:
    """Euler's step of the probability-flow equation. Source: k-diffusion `sample_euler`, without churn."""
    return torch.lerp(denoised, x, sigmas[i + 1] / sigmas[i])


def _euler_ancestral(
    x: torch.Tensor,
    denoised: torch.Tensor,
    before: torch.Tensor | None,
    sigmas: Sequence[float],
    i: int,
    noise: NoiseSource,
) -> torch.Tensor:
    """Euler's step to below the next level, and fresh noise back up to it; eta 1.

    Source: k-diffusion `sample_euler_ancestral`. At eta 1 its `min(sigma_{i+1}, ...)` never binds, as the
    levels descend.
    """
    sigma, sigma_next = sigmas[i], sigmas[i + 1]
    ratio = sigma_next / sigma
    sigma_up = sigma_next * math.sqrt(1 - ratio**2)
    sigma_down = sigma_next * ratio
    x = torch.lerp(denoised, x, sigma_down / sigma)
    return torch.add(x, noise.step(sigma, sigma_next), alpha=sigma_up)


def _extrapolated(
    denoised: torch.Tensor, before: torch.Tensor | None, sigmas: Sequence[float], i: int
) -> torch.Tensor:
    """Return D_i + (D_i - D_{i-1}) / 2r, r the last step's log-sigma length over this one's; D_0 at first."""
    if before is None:
        return denoised
    ratio = math.log(sigmas[i - 1] / sigmas[i]) / math.log(sigmas[i] / sigmas[i + 1])
    return torch.add(denoised, denoised - before, alpha=1 / (2 * ratio))


SAMPLERS: dict[str, Step] = {
    "DPM++ 2M SDE": _dpmpp_2m_sde,
    "DPM++ 2M": _dpmpp_2m,
    "Euler": _euler,
    "Euler a": _euler_ancestral,
}
"""The update of one step, by the name a request gives."""
