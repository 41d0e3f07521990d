"""What each zlib level costs and saves: `python bench/png_levels.py [--json] [--runs N] [--size PIXELS]`.

Draws two pictures of the kind that the worker makes: a smoothly shaded object with a soft edge on a
transparent ground whose hidden colour is smooth, once plain and once with film grain. Prints the median time
and the bytes of `worker.png.encode_png` per level, and the time of base64 for scale.
"""

import argparse
import base64
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

sys.path.insert(0, str(Path(__file__).parents[1]))

from worker.png import alpha_statistics, encode_png

LEVELS = (1, 3, 6, 9)
GRAIN = 6.0
"""Standard deviation of the noisy picture's grain, in levels of 255."""


def draw_picture(size: int, grain: float, seed: int = 1) -> NDArray[np.uint8]:
    """Return uint8 [size, size, 4]: a lit sphere with waves on it, `grain` on the sphere alone."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[-1.0 : 1.0 : size * 1j, -1.0 : 1.0 : size * 1j]
    radius = np.hypot(x, y)
    alpha = np.clip((0.7 - radius) / 0.04 + 0.5, 0.0, 1.0)
    light = np.clip(1.0 - np.hypot(x + 0.25, y + 0.3), 0.0, 1.0)
    waves = 0.08 * np.sin(9.0 * x + 4.0 * np.sin(5.0 * y))
    colour = np.array([0.85, 0.35, 0.25]) * (0.35 + light + waves)[..., None]
    hidden = np.array([0.56, 0.55, 0.54]) + 0.05 * (x + y)[..., None]
    blended = 255.0 * (colour * alpha[..., None] + hidden * (1.0 - alpha[..., None]))
    noise = generator.normal(0.0, 1.0, (size, size, 3)) * alpha[..., None]
    # The networks leave a trace of grain in the colour, and about a level of unrest in alpha near the object.
    pixels = blended + noise * (grain + 0.6)
    unrest = generator.normal(0.0, 0.7, (size, size)) * (radius < 0.75)
    return np.dstack((pixels, alpha * 255.0 + unrest)).clip(0.0, 255.0).astype(np.uint8)


def median_ms(work: Callable[[], object], runs: int) -> float:
    """Return the median time of `work` in milliseconds, after one run that does not count."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def measure(size: int, runs: int) -> list[dict[str, object]]:
    """Return one row per picture and level."""
    rows: list[dict[str, object]] = []
    for name, grain in (("plain", 0.0), ("noisy", GRAIN)):
        pixels = draw_picture(size, grain)
        shares = alpha_statistics(pixels)
        for level in LEVELS:
            file = encode_png(pixels, "a red apple", level)
            rows.append(
                {
                    "picture": name,
                    "transparent": round(shares.transparent, 3),
                    "level": level,
                    "bytes": len(file),
                    "png_ms": round(median_ms(partial(encode_png, pixels, "a red apple", level), runs), 1),
                    "base64_ms": round(median_ms(partial(base64.b64encode, file), runs), 2),
                }
            )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time and bytes of PNG per zlib level.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--runs", type=int, default=7, help="timed runs per row; the median counts (default 7)"
    )
    parser.add_argument(
        "--size", type=int, default=1024, help="side of the pictures in pixels (default 1024)"
    )
    arguments = parser.parse_args()
    rows = measure(arguments.size, arguments.runs)
    about = {
        "size": arguments.size,
        "runs": arguments.runs,
        "pillow": PIL.__version__,
        "zlib": features.version("zlib"),
        "zlib_ng": features.version("zlib_ng"),
    }
    if arguments.json:
        print(json.dumps({"about": about, "rows": rows}, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(" ".join(f"{name:>11}" for name in rows[0]))
    for row in rows:
        print(" ".join(f"{value!s:>11}" for value in row.values()))


if __name__ == "__main__":
    main()
