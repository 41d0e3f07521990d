import math

import numpy as np
import pytest
import torch

from worker.schedule import SCHEDULERS, make_sigmas, make_timesteps, training_sigmas

# 20 steps of Karras on SDXL's schedule, as stable-diffusion-webui-forge's k-diffusion computes them.
KARRAS_20 = [
    14.614643, 11.725368, 9.340202, 7.383618, 5.789413, 4.499835, 3.464747, 2.640841, 1.990916, 1.483211,
    1.090786, 0.790946, 0.564722, 0.396390, 0.273038, 0.184168, 0.121341, 0.077860, 0.048481, 0.029167, 0.0,
]  # fmt: skip
KARRAS_20_TIMESTEPS = [
    999, 962, 921, 876, 827, 772, 710, 640, 561, 474, 380, 285, 197, 123, 69, 35, 15, 6, 2, 0,
]  # fmt: skip


def sigma_at(timestep: float) -> float:
    """The level at a fractional timestep, written anew: numpy, and a loop for the product of alphas."""
    levels = []
    kept = 1.0
    for beta_root in np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000):
        kept *= 1 - beta_root**2
        levels.append(math.log(math.sqrt((1 - kept) / kept)))
    return math.exp(np.interp(timestep, np.arange(1000), levels))


def test_the_training_levels_span_the_known_range() -> None:
    sigmas = training_sigmas()
    assert sigmas.shape == (1000,)
    assert sigmas.dtype == torch.float64
    assert float(sigmas[0]) == pytest.approx(0.0291672, abs=1e-6)
    assert float(sigmas[-1]) == pytest.approx(14.6146412, abs=1e-6)
    assert bool((sigmas.diff() > 0).all())


def test_karras_levels_of_twenty_steps_equal_the_table() -> None:
    assert make_sigmas("Karras", 20).tolist() == pytest.approx(KARRAS_20, abs=1e-5)


def test_karras_timesteps_of_twenty_steps_equal_the_table() -> None:
    timesteps = make_timesteps(make_sigmas("Karras", 20))
    assert timesteps.dtype == torch.float32
    assert timesteps.tolist() == KARRAS_20_TIMESTEPS


def test_exponential_levels_keep_one_ratio_from_the_largest_to_the_smallest() -> None:
    sigmas = make_sigmas("Exponential", 20)[:-1]
    ratio = (0.0291672 / 14.6146412) ** (1 / 19)
    assert (sigmas[1:] / sigmas[:-1]).tolist() == pytest.approx([ratio] * 19, rel=1e-6)
    assert float(sigmas[0]) == pytest.approx(14.6146412, abs=1e-6)
    assert float(sigmas[-1]) == pytest.approx(0.0291672, abs=1e-6)


@pytest.mark.parametrize("steps", [2, 7, 20])
def test_normal_levels_lie_at_even_timesteps_down_to_0(steps: int) -> None:
    expected = [sigma_at(999 - 999 * i / (steps - 1)) for i in range(steps)]
    assert make_sigmas("Normal", steps).tolist() == pytest.approx([*expected, 0.0], rel=1e-9)


@pytest.mark.parametrize("steps", [2, 7, 20])
def test_sgm_uniform_levels_lie_at_even_timesteps_that_stop_one_short_of_0(steps: int) -> None:
    expected = [sigma_at(999 - 999 * i / steps) for i in range(steps)]
    assert make_sigmas("SGM Uniform", steps).tolist() == pytest.approx([*expected, 0.0], rel=1e-9)


def test_even_timesteps_come_back_rounded_to_whole_ones() -> None:
    timesteps = make_timesteps(make_sigmas("SGM Uniform", 5))
    assert timesteps.tolist() == [999.0, 799.0, 599.0, 400.0, 200.0]  # from 799.2, 599.4, 399.6, 199.8


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 100])
def test_every_schedule_descends_strictly_from_the_largest_level_to_an_appended_0(
    scheduler: str, steps: int
) -> None:
    sigmas = make_sigmas(scheduler, steps)
    assert sigmas.shape == (steps + 1,)
    assert sigmas.dtype == torch.float64
    assert float(sigmas[0]) == pytest.approx(14.6146412, abs=1e-6)
    assert float(sigmas[-1]) == 0.0
    assert bool((sigmas.diff() < 0).all())
    timesteps = make_timesteps(sigmas)
    assert timesteps.shape == (steps,)
    assert float(timesteps[0]) == 999.0


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_one_step_goes_from_the_largest_level_to_0(scheduler: str) -> None:
    assert make_sigmas(scheduler, 1).tolist() == pytest.approx([14.6146412, 0.0], abs=1e-6)


def test_the_schedules_are_those_a_request_may_name() -> None:
    from worker import request

    assert tuple(SCHEDULERS) == request.SCHEDULERS
