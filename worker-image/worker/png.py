"""RGBA pixels as a PNG file, and what their alpha looks like."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

DEFAULT_LEVEL = 3
"""zlib level. Measured by `bench/png_levels.py` at 1024x1024 (two CPU cores, Pillow 13 with zlib-ng): level 1
is 7 to 14 per cent larger and up to a quarter faster, level 6 is 11 to 13 per cent smaller and two to three
times slower, level 9 three to twelve times."""

LOW_TRANSPARENCY = 0.01
"""Share of pixels with alpha below 250 under which a picture counts as opaque. LayerDiffuse sometimes leaves
the whole background solid, depending on seed and checkpoint (layerdiffusion/LayerDiffuse issue 27,
sd-forge-layerdiffuse issue 91); in its four published example pictures that share is 50 to 98 per cent."""


@dataclass(frozen=True, slots=True)
class AlphaStatistics:
    """Shares of the pixels, 0..1; the first three make up 1."""

    transparent: float
    """Alpha 0."""
    partial: float
    """Alpha 1 to 254."""
    opaque: float
    """Alpha 255."""
    below_250: float
    """Alpha 0 to 249: what a person sees as not quite solid."""

    @property
    def is_nearly_opaque(self) -> bool:
        """Whether next to nothing is transparent, so that the picture may not be what was asked for."""
        return self.below_250 < LOW_TRANSPARENCY


def alpha_statistics(pixels: NDArray[np.uint8]) -> AlphaStatistics:
    """Count the alpha values of `pixels`, uint8 [H, W, 4] with alpha last."""
    histogram = np.bincount(pixels[..., 3].ravel(), minlength=256) / (pixels.shape[0] * pixels.shape[1])
    return AlphaStatistics(
        transparent=float(histogram[0]),
        partial=float(histogram[1:255].sum()),
        opaque=float(histogram[255]),
        below_250=float(histogram[:250].sum()),
    )


def encode_png(pixels: NDArray[np.uint8], parameters: str, level: int = DEFAULT_LEVEL) -> bytes:
    """Write an 8-bit RGBA PNG with one text chunk, `parameters`, and no colour profile.

    Every value is kept, colour under alpha 0 too: it is smooth, and blending needs it. The chunk is tEXt for
    Latin-1 text, else iTXt in UTF-8.

    Args:
        pixels: uint8 [H, W, 4]: red, green, blue, straight (not premultiplied) alpha.
        parameters: the text of the chunk, of any characters (see `chunk_text`).
        level: zlib level, 0 to 9.

    Raises:
        ValueError: for pixels of another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ValueError(f"expected uint8 pixels [H, W, 4], but got {pixels.dtype} {list(pixels.shape)}")
    text = PngInfo()
    text.add_text("parameters", chunk_text(parameters))
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=level, pnginfo=text)
    return file.getvalue()


def chunk_text(text: str) -> str:
    """Return `text` as a PNG may hold it: PNG specification (third edition), 11.3.3.

    Lines end in a line feed alone. NUL, which no text chunk may hold, and lone surrogates, which UTF-8 has no
    form for and which JSON input can bring, become U+FFFD.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
