"""A renderer without torch: a picture of one colour, and hooks to hold a job wherever a test wants it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worker.request import GenerateRequest, Installed
from worker.settings import Settings

PATIENCE_S = 20.0
"""How long a test waits for what must happen; reached only when it does not."""


@dataclass
class FakeRendering:
    pixels: NDArray[np.uint8]
    model_name: str = "tiny"
    model_hash: str = "0123456789"
    timings_s: dict[str, float] = field(default_factory=lambda: {"text": 0.25, "steps": 0.5})


class FakeRenderer:
    """Draws after calling `before_step(request, step)` for each step in the thread that draws."""

    def __init__(
        self, before_step: Callable[[GenerateRequest, int], None] = lambda request, step: None
    ) -> None:
        self.installed = Installed(checkpoint="tiny", checkpoint_aliases=(), loras=())
        self.before_step = before_step
        self.drawn: list[str] = []
        """Prompts of the jobs that were begun."""
        self.threads: set[int] = set()

    def render(self, request: GenerateRequest, on_step: Callable[[int, int], None]) -> FakeRendering:
        self.drawn.append(request.prompt)
        self.threads.add(threading.get_ident())
        for step in range(1, request.steps + 1):
            self.before_step(request, step)
            on_step(step, request.steps)
        pixels = np.full((request.height, request.width, 4), 128, np.uint8)
        pixels[: request.height // 2, :, 3] = 0
        return FakeRendering(pixels)


class Gate:
    """Holds the thread that draws: `reached` tells the test, `open` lets it go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def hold(self) -> None:
        self.reached.set()
        assert self.open.wait(PATIENCE_S), "the test did not open the gate"


def settings(**environment: str) -> Settings:
    return Settings.from_environment({"DEVICE": "cpu", "WARM_UP_SIZE": "0", **environment})


def job(prompt: str = "a red apple", **fields: object) -> dict[str, object]:
    return {"prompt": prompt, "width": 64, "height": 128, "steps": 3, "seed": 7, **fields}
