import itertools
import math
from collections.abc import Callable

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler

from worker.noise import GaussianNoise
from worker.sampler import SAMPLERS, sample
from worker.schedule import SCHEDULERS, make_sigmas

CPU = torch.device("cpu")
SHAPE = (4, 8, 12)
STOCHASTIC = {"DPM++ 2M SDE", "Euler a"}

# stabilityai/stable-diffusion-xl-base-1.0, scheduler/scheduler_config.json
SDXL_TRAINING = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}


class RecordedNoise:
    """Noise of one seed that keeps what it gave and for which interval."""

    def __init__(self, seed: int = 3, dtype: torch.dtype = torch.float32) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._dtype = dtype
        self.intervals: list[tuple[float, float]] = []
        self.drawn: list[torch.Tensor] = []

    def start(self) -> torch.Tensor:
        return torch.randn((1, *SHAPE), generator=self._generator, dtype=self._dtype)

    def step(self, sigma: float, sigma_next: float) -> torch.Tensor:
        self.intervals.append((sigma, sigma_next))
        self.drawn.append(self.start())
        return self.drawn[-1]


def predict(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """A denoiser with a bend: two modes per element, softly chosen."""
    return (x + 0.7 * sigma**2 * torch.tanh(x / (1 + sigma**2))) / (1 + sigma**2)


def toy(sigmas: torch.Tensor) -> Callable[[torch.Tensor, int], torch.Tensor]:
    levels = sigmas.tolist()
    return lambda x, i: predict(x, levels[i])


def ignore(done: int) -> None: ...


def run(
    sampler: str, sigmas: torch.Tensor, noise: RecordedNoise, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    start = (noise.start() * float(sigmas[0])).to(dtype)
    return sample(sampler, toy(sigmas), start, sigmas, noise, ignore)


def relative_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Root of the mean square of the difference over that of the value."""
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def literal(sampler: str, sigmas: list[float], noise: RecordedNoise) -> torch.Tensor:
    """The four samplers as their formulas are written, in general eta, float64, coefficients from h and q."""
    eta = 1.0
    x = noise.start().double() * sigmas[0]
    history: list[torch.Tensor] = []
    steps = len(sigmas) - 1
    for i in range(steps):
        sigma, following = sigmas[i], sigmas[i + 1]
        current = predict(x, sigma)
        history.append(current)
        last = i == steps - 1
        q = following / sigma
        if last and sampler in ("DPM++ 2M SDE", "DPM++ 2M"):
            x = current
        elif sampler == "DPM++ 2M SDE":
            h = -math.log(q)
            x = q * math.exp(-eta * h) * x + (1 - math.exp(-(1 + eta) * h)) * current
            if i > 0:
                r = -math.log(sigma / sigmas[i - 1]) / h
                x = x + 0.5 * (1 - math.exp(-(1 + eta) * h)) * (current - history[i - 1]) / r
            x = x + noise.step(sigma, following) * following * math.sqrt(1 - math.exp(-2 * eta * h))
        elif sampler == "DPM++ 2M":
            if i > 0:
                r = math.log(sigma / sigmas[i - 1]) / math.log(q)
                x = q * x + (1 - q) * ((1 + 1 / (2 * r)) * current - history[i - 1] / (2 * r))
            else:
                x = q * x + (1 - q) * current
        elif sampler == "Euler":
            x = x + (x - current) * (q - 1)
        else:
            up = min(following, eta * math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2))
            down = math.sqrt(following**2 - up**2)
            x = x + (x - current) / sigma * (down - sigma)
            if following > 0:
                x = x + noise.step(sigma, following) * up
    return x


def test_the_samplers_are_those_a_request_may_name() -> None:
    from worker import request

    assert tuple(SAMPLERS) == request.SAMPLERS


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 60])
def test_a_sampler_equals_its_formulas(sampler: str, scheduler: str, steps: int) -> None:
    sigmas = make_sigmas(scheduler, steps)
    expected = literal(sampler, sigmas.tolist(), RecordedNoise())
    assert relative_difference(run(sampler, sigmas, RecordedNoise()), expected) < 1e-5


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_in_float64_a_sampler_equals_its_formulas_to_the_last_digits(sampler: str) -> None:
    sigmas = make_sigmas("Karras", 20)
    expected = literal(sampler, sigmas.tolist(), RecordedNoise(dtype=torch.float64))
    ours = run(sampler, sigmas, RecordedNoise(dtype=torch.float64), torch.float64)
    assert relative_difference(ours, expected) < 1e-12


def diffusers_dpm(algorithm: str, steps: int, noise: RecordedNoise) -> tuple[torch.Tensor, torch.Tensor]:
    """Return diffusers' levels and its result, started and fed with our noise.

    Its sample is ours over sqrt(1 + sigma^2), so it starts from the noise times sigma / sqrt(1 + sigma^2).
    """
    scheduler = DPMSolverMultistepScheduler(
        **SDXL_TRAINING, algorithm_type=algorithm, solver_order=2, use_karras_sigmas=True
    )
    scheduler.set_timesteps(steps)
    sigmas: torch.Tensor = scheduler.sigmas.double()
    levels = sigmas.tolist()
    x = noise.start() * (levels[0] / math.hypot(levels[0], 1))
    for i, timestep in enumerate(scheduler.timesteps):
        exploded = x * math.hypot(levels[i], 1)
        predicted_noise = (exploded - predict(exploded, levels[i])) / levels[i]
        fresh = noise.step(levels[i], levels[i + 1])  # asked for at the last step too, where its factor is 0
        x = scheduler.step(predicted_noise, timestep, x, variance_noise=fresh).prev_sample
    return sigmas, x


@pytest.mark.parametrize("steps", [5, 20, 40])
@pytest.mark.parametrize(
    ("sampler", "algorithm"), [("DPM++ 2M SDE", "sde-dpmsolver++"), ("DPM++ 2M", "dpmsolver++")]
)
def test_a_multistep_sampler_equals_the_step_of_diffusers(sampler: str, algorithm: str, steps: int) -> None:
    sigmas, expected = diffusers_dpm(algorithm, steps, RecordedNoise())
    assert relative_difference(run(sampler, sigmas, RecordedNoise()), expected) < 1e-5


def test_a_whole_run_of_20_karras_steps_equals_that_of_diffusers() -> None:
    # With our own levels, which differ from diffusers' by up to 1.2e-5.
    _, expected = diffusers_dpm("sde-dpmsolver++", 20, RecordedNoise())
    assert (
        relative_difference(run("DPM++ 2M SDE", make_sigmas("Karras", 20), RecordedNoise()), expected) < 1e-5
    )


def test_euler_equals_the_step_of_diffusers() -> None:
    scheduler = EulerDiscreteScheduler(**SDXL_TRAINING, use_karras_sigmas=True)
    scheduler.set_timesteps(20)
    sigmas: torch.Tensor = scheduler.sigmas.double()
    noise = RecordedNoise()
    x = noise.start() * float(sigmas[0])
    for timestep, sigma in zip(scheduler.timesteps, sigmas.tolist(), strict=False):
        x = scheduler.step((x - predict(x, sigma)) / sigma, timestep, x).prev_sample
    assert relative_difference(run("Euler", sigmas, RecordedNoise()), x) < 1e-5


def test_euler_ancestral_equals_the_step_of_diffusers() -> None:
    scheduler = EulerAncestralDiscreteScheduler(**SDXL_TRAINING)
    scheduler.set_timesteps(20)
    sigmas: torch.Tensor = scheduler.sigmas.double()
    generator = torch.Generator().manual_seed(3)  # the stream of RecordedNoise
    x = torch.randn((1, *SHAPE), generator=generator) * float(sigmas[0])
    for timestep, sigma in zip(scheduler.timesteps, sigmas.tolist(), strict=False):
        predicted_noise = (x - predict(x, sigma)) / sigma
        x = scheduler.step(predicted_noise, timestep, x, generator=generator).prev_sample
    assert relative_difference(run("Euler a", sigmas, RecordedNoise()), x) < 1e-5


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 20])
def test_the_last_step_returns_the_denoised_prediction(sampler: str, steps: int) -> None:
    predictions: list[torch.Tensor] = []
    sigmas = make_sigmas("Karras", steps)

    def denoise(x: torch.Tensor, i: int) -> torch.Tensor:
        predictions.append(predict(x, float(sigmas[i])))
        return predictions[-1]

    noise = RecordedNoise()
    result = sample(sampler, denoise, noise.start() * float(sigmas[0]), sigmas, noise, ignore)
    assert len(predictions) == steps
    assert torch.equal(result, predictions[-1])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_noise_is_drawn_once_for_each_step_that_uses_it(sampler: str, steps: int) -> None:
    sigmas = make_sigmas("Karras", steps)
    noise = RecordedNoise()
    run(sampler, sigmas, noise)
    intervals = list(itertools.pairwise(sigmas[:-1].tolist()))
    assert noise.intervals == (intervals if sampler in STOCHASTIC else [])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_model_is_asked_once_a_step_in_order_and_progress_follows_it(sampler: str) -> None:
    events: list[tuple[str, int]] = []
    sigmas = make_sigmas("Karras", 3)

    def denoise(x: torch.Tensor, i: int) -> torch.Tensor:
        events.append(("denoise", i))
        return predict(x, float(sigmas[i]))

    sample(
        sampler,
        denoise,
        torch.ones(1, *SHAPE),
        sigmas,
        RecordedNoise(),
        lambda done: events.append(("done", done)),
    )
    assert events == [("denoise", 0), ("done", 1), ("denoise", 1), ("done", 2), ("denoise", 2), ("done", 3)]


def test_what_on_step_raises_stops_the_run() -> None:
    asked: list[int] = []
    sigmas = make_sigmas("Karras", 20)

    def denoise(x: torch.Tensor, i: int) -> torch.Tensor:
        asked.append(i)
        return x

    def stop_after_two(done: int) -> None:
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sample("Euler", denoise, torch.ones(1, *SHAPE), sigmas, RecordedNoise(), stop_after_two)
    assert asked == [0, 1]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_of_two_seeds_equals_two_singles(sampler: str) -> None:
    sigmas = make_sigmas("Karras", 6)

    def latents(seeds: list[int]) -> torch.Tensor:
        noise = GaussianNoise(seeds, SHAPE, CPU)
        return sample(sampler, toy(sigmas), noise.start() * float(sigmas[0]), sigmas, noise, ignore)

    assert torch.equal(latents([5, 6]), torch.cat([latents([5]), latents([6])]))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_neither_the_start_nor_a_prediction_is_changed_in_place(sampler: str) -> None:
    sigmas = make_sigmas("Karras", 4)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def denoise(x: torch.Tensor, i: int) -> torch.Tensor:
        prediction = predict(x, float(sigmas[i]))
        seen.extend([(x, x.clone()), (prediction, prediction.clone())])
        return prediction

    noise = RecordedNoise()
    sample(sampler, denoise, noise.start() * float(sigmas[0]), sigmas, noise, ignore)
    assert all(torch.equal(now, then) for now, then in seen)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_state_stays_float32(sampler: str) -> None:
    sigmas = make_sigmas("Karras", 3)
    dtypes: set[torch.dtype] = set()

    def denoise(x: torch.Tensor, i: int) -> torch.Tensor:
        dtypes.add(x.dtype)
        return predict(x, float(sigmas[i]))

    noise = RecordedNoise()
    result = sample(sampler, denoise, noise.start() * float(sigmas[0]), sigmas, noise, ignore)
    assert dtypes | {result.dtype} == {torch.float32}


def test_samplers_that_draw_no_noise_ignore_the_noise_source() -> None:
    sigmas = make_sigmas("Karras", 5)
    start = RecordedNoise().start() * float(sigmas[0])
    for sampler in SAMPLERS:
        first, second = (
            sample(sampler, toy(sigmas), start, sigmas, RecordedNoise(seed), ignore) for seed in (1, 2)
        )
        assert torch.equal(first, second) is (sampler not in STOCHASTIC)
