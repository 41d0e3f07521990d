"""A picture as a file, with its record."""

from dataclasses import dataclass

from worker.output import make_filename
from worker.png import AlphaStatistics, alpha_statistics, encode_png
from worker.record import make_info, make_parameters
from worker.renderer import Rendering
from worker.request import GenerateRequest


@dataclass(frozen=True, slots=True)
class Finished:
    """A picture as a file."""

    request: GenerateRequest
    png: bytes
    info: str
    """The generation record, JSON text."""
    statistics: AlphaStatistics
    filename: str
    """As `worker.output.make_filename` makes it."""


def make_finished(request: GenerateRequest, rendering: Rendering, png_level: int) -> Finished:
    """Encode what was drawn; takes tens of milliseconds, so not for the event loop."""
    model = (rendering.model_name, rendering.model_hash)
    return Finished(
        request=request,
        png=encode_png(rendering.pixels, make_parameters(request, *model), png_level),
        info=make_info(request, *model),
        statistics=alpha_statistics(rendering.pixels),
        filename=make_filename(),
    )
