import struct
import zlib
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from worker.png import LOW_TRANSPARENCY, AlphaStatistics, alpha_statistics, chunk_text, encode_png

Pixels = NDArray[np.uint8]


def picture(height: int = 64, width: int = 128) -> Pixels:
    """Smooth colour everywhere, with alpha from 0 to 255 across the width."""
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., 0] = np.linspace(40, 200, width).astype(np.uint8)
    pixels[..., 1] = np.linspace(90, 10, height).astype(np.uint8)[:, None]
    pixels[..., 2] = 77
    pixels[..., 3] = np.linspace(0, 255, width).astype(np.uint8)
    return pixels


def chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG, their checksums checked."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    found = []
    at = 8
    while at < len(file):
        (length,) = struct.unpack(">I", file[at : at + 4])
        kind, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        assert struct.unpack(">I", file[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + data),)
        found.append((kind, data))
        at += 12 + length
    assert at == len(file)
    return found


def read(file: bytes) -> tuple[Pixels, str]:
    with Image.open(BytesIO(file)) as image:
        image.load()
        assert image.mode == "RGBA"
        return np.asarray(image), image.info["parameters"]


def test_every_value_comes_back_hidden_colour_too() -> None:
    pixels = picture()
    back, parameters = read(encode_png(pixels, "a red apple"))
    assert (back == pixels).all()
    assert parameters == "a red apple"
    assert back[back[..., 3] == 0][:, :3].min() > 0


def test_a_view_of_other_pixels_is_written_as_seen() -> None:
    pixels = picture()[::-1, ::2]
    assert (read(encode_png(pixels, ""))[0] == pixels).all()


def test_the_file_is_eight_bit_rgba_with_one_text_chunk_and_nothing_else() -> None:
    found = chunks(encode_png(picture(), "text"))
    assert found[0] == (b"IHDR", struct.pack(">IIBBBBB", 128, 64, 8, 6, 0, 0, 0))
    kinds = [kind for kind, after in pairwise([kind for kind, _ in found] + [b""]) if kind != after]
    assert kinds == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]
    assert dict(found)[b"tEXt"] == b"parameters\0text"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a red apple\nNegative prompt: bad, ugly\nSteps: 20", b"tEXt"),
        ("café, 5 °C", b"tEXt"),
        ("пеперуда", b"iTXt"),
        ("红苹果 🍎", b"iTXt"),
        ("", b"tEXt"),
    ],
)
def test_the_text_comes_back_from_the_chunk_for_its_characters(text: str, kind: bytes) -> None:
    file = encode_png(picture(), text)
    assert read(file)[1] == text
    assert [found for found, _ in chunks(file) if found in (b"tEXt", b"iTXt", b"zTXt")] == [kind]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour"),
        ("one\r\r\ntwo", "one\n\ntwo"),
        ("nul\0inside", "nul\ufffdinside"),
        ("half \ud83c a pair", "half \ufffd a pair"),
        ("the other half \udf4e", "the other half \ufffd"),
        ("whole 🍎", "whole 🍎"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_what_a_text_chunk_may_not_hold_is_replaced(text: str, expected: str) -> None:
    assert chunk_text(text) == expected
    assert read(encode_png(picture(), text))[1] == expected


@pytest.mark.parametrize("level", range(10))
def test_every_level_holds_the_same_pixels(level: int) -> None:
    assert (read(encode_png(picture(), "", level))[0] == picture()).all()


def test_a_higher_level_is_not_larger() -> None:
    pixels = np.tile(picture(), (4, 2, 1))
    assert len(encode_png(pixels, "", 9)) <= len(encode_png(pixels, "", 1)) < len(encode_png(pixels, "", 0))


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.float32)],
)
def test_other_pixels_are_refused(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 pixels \[H, W, 4\], but got"):
        encode_png(pixels, "")


def with_alphas(*alphas: int) -> Pixels:
    pixels = np.zeros((1, len(alphas), 4), np.uint8)
    pixels[0, :, 3] = alphas
    return pixels


@pytest.mark.parametrize(
    ("alphas", "expected"),
    [
        ((0,), AlphaStatistics(1, 0, 0, 1)),
        ((1,), AlphaStatistics(0, 1, 0, 1)),
        ((249,), AlphaStatistics(0, 1, 0, 1)),
        ((250,), AlphaStatistics(0, 1, 0, 0)),
        ((254,), AlphaStatistics(0, 1, 0, 0)),
        ((255,), AlphaStatistics(0, 0, 1, 0)),
        ((0, 1, 249, 250, 254, 255, 255, 255), AlphaStatistics(0.125, 0.5, 0.375, 0.375)),
    ],
)
def test_alpha_is_counted_in_shares(alphas: tuple[int, ...], expected: AlphaStatistics) -> None:
    assert alpha_statistics(with_alphas(*alphas)) == expected


@pytest.mark.parametrize(("below_250", "expected"), [(0, True), (99, True), (100, False), (10_000, False)])
def test_a_picture_with_less_than_a_hundredth_of_transparency_is_nearly_opaque(
    below_250: int, expected: bool
) -> None:
    statistics = alpha_statistics(with_alphas(*[249] * below_250, *[250] * (10_000 - below_250)))
    assert statistics.is_nearly_opaque is expected
    assert LOW_TRANSPARENCY == 0.01
