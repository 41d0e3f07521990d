"""The noise levels of a run, and the timesteps that tell the UNet where it stands.

The variance-exploding convention: a sample at level sigma is `image + sigma * noise`. Everything here is
computed on the CPU in float64, a few microseconds a run; the sampler turns the levels into Python floats.
"""

import math
from collections.abc import Callable
from functools import cache

import torch

TRAINING_STEPS = 1000
BETA_START = 0.00085
BETA_END = 0.012
"""SDXL's training schedule: `scheduler/scheduler_config.json` of stabilityai/stable-diffusion-xl-base-1.0."""

KARRAS_RHO = 7.0
"""Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), table 1."""


@cache
def training_sigmas() -> torch.Tensor:
    """Return the 1000 levels SDXL was trained on: float64 [1000], ascending, 0.0291672 to 14.6146412.

    Betas run linearly in their square root ("scaled linear"), sigma = sqrt((1 - abar) / abar).
    """
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAINING_STEPS, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, dim=0)
    return ((1 - kept) / kept).sqrt()


def make_sigmas(scheduler: str, steps: int) -> torch.Tensor:
    """Return the levels of a run of `steps` >= 1: float64 [steps + 1] on the CPU, descending, the last 0.

    `scheduler` is a key of `SCHEDULERS`. Each starts at the largest training level. All but "SGM Uniform"
    reach the smallest one before the 0 when they have two steps or more.
    """
    return torch.cat([SCHEDULERS[scheduler](steps), torch.zeros(1, dtype=torch.float64)])


def make_timesteps(sigmas: torch.Tensor) -> torch.Tensor:
    """Return what the UNet is told at each step: float32 [steps], 0 to 999, whole numbers.

    `sigmas` is what `make_sigmas` returns. A level's timestep is the index of the training level nearest in
    log sigma, as stable-diffusion-webui-forge has it (`backend/modules/k_prediction.py`); the stock web UI's
    are fractional.
    """
    distances = (sigmas[:-1, None].log() - training_sigmas().log()).abs()
    return distances.argmin(dim=1).to(torch.float32)


def _karras(steps: int) -> torch.Tensor:
    """Even steps in sigma^(1/7). Source: k-diffusion `get_sigmas_karras`."""
    smallest, largest = _limits()
    low, high = smallest ** (1 / KARRAS_RHO), largest ** (1 / KARRAS_RHO)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    return torch.pow(high + ramp * (low - high), KARRAS_RHO)


def _exponential(steps: int) -> torch.Tensor:
    """Even steps in log sigma. Source: k-diffusion `get_sigmas_exponential`."""
    smallest, largest = _limits()
    return torch.linspace(math.log(largest), math.log(smallest), steps, dtype=torch.float64).exp()


def _normal(steps: int) -> torch.Tensor:
    """Even steps in the timestep, 999 to 0 inclusive. Source: k-diffusion `DiscreteSchedule.get_sigmas`."""
    return _at_timesteps(torch.linspace(TRAINING_STEPS - 1, 0, steps, dtype=torch.float64))


def _sgm_uniform(steps: int) -> torch.Tensor:
    """Even steps in the timestep that would reach 0 one step after the last.

    Source: the behaviour of the web UI's schedule of that name.
    """
    return _at_timesteps(torch.linspace(TRAINING_STEPS - 1, 0, steps + 1, dtype=torch.float64)[:-1])


def _limits() -> tuple[float, float]:
    sigmas = training_sigmas()
    return float(sigmas[0]), float(sigmas[-1])


def _at_timesteps(timesteps: torch.Tensor) -> torch.Tensor:
    """Return the levels at fractional timesteps, linear in log sigma between the training levels."""
    log_sigmas = training_sigmas().log()
    below, above = timesteps.floor().long(), timesteps.ceil().long()
    return torch.lerp(log_sigmas[below], log_sigmas[above], timesteps.frac()).exp()


SCHEDULERS: dict[str, Callable[[int], torch.Tensor]] = {
    "Karras": _karras,
    "Exponential": _exponential,
    "Normal": _normal,
    "SGM Uniform": _sgm_uniform,
}
"""Levels of a run without the final 0, by the name a request gives."""
