"""What draws, as the service sees it: without torch."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.request import GenerateRequest, Installed


class Rendering(Protocol):
    """A picture before it is a file; `worker.pipeline.Rendered` without torch."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Red, green, blue, straight alpha: uint8 [H, W, 4]."""

    @property
    def model_name(self) -> str:
        """The checkpoint's name."""

    @property
    def model_hash(self) -> str:
        """The first digits of the checkpoint's sha256."""

    @property
    def timings_s(self) -> Mapping[str, float]:
        """Seconds per phase."""


class Renderer(Protocol):
    """What draws; `worker.pipeline.Pipeline`, or a test's fake."""

    @property
    def installed(self) -> Installed:
        """What this worker holds."""

    def render(self, request: GenerateRequest, on_step: Callable[[int, int], None]) -> Rendering:
        """Draw one picture, calling `on_step(done, of)` after each step; it may raise to stop."""
