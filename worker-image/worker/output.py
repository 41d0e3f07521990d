"""What a job returns: the picture in base64, its name, its record."""

import base64
import json
import secrets
import time
from collections.abc import Callable

from worker.errors import WorkerError
from worker.png import AlphaStatistics
from worker.request import GenerateRequest

DATA_URL_START = "data:image/png;base64,"
FILENAME_RANDOM_BYTES = 16
SHARE_DIGITS = 4


def make_filename(
    now: Callable[[], float] = time.time, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> str:
    """Return `alpha_{unix seconds}_{22 url-safe characters}.png`, a name that cannot be guessed.

    Args:
        now: seconds since 1970, UTC.
        random_bytes: returns so many bytes; called once, for 16.
    """
    token = base64.urlsafe_b64encode(random_bytes(FILENAME_RANDOM_BYTES)).decode("ascii").rstrip("=")
    return f"alpha_{int(now())}_{token}.png"


def make_result(
    request: GenerateRequest,
    png: bytes,
    info: str,
    statistics: AlphaStatistics,
    filename: str,
    max_result_bytes: int,
) -> dict[str, object]:
    """Return the output of a job that drew a picture.

    Its `url` is a data URL and its `image_base64` the same data alone; `request.encoding` says which of them
    are there. `alpha` holds the shares of `AlphaStatistics`, rounded to four digits. `warnings` is a list of
    {code, message}, left out when empty: "no_transparency" for a picture that is nearly opaque,
    "result_reduced" when both copies of the picture would have been too large and only `url` is sent.

    Args:
        request: what was drawn.
        png: the file.
        info: of `record.make_info`.
        statistics: of the picture's pixels.
        filename: of `make_filename`.
        max_result_bytes: most bytes of the result as JSON. The service drops a larger one without a word,
            after the work is paid for.

    Raises:
        WorkerError: `result_too_large`, when one copy of the picture is too much.
    """
    warnings: list[dict[str, str]] = []
    result: dict[str, object] = {
        "status": "success",
        "filename": filename,
        "info": info,
        "seed": request.seed,
        "alpha": {
            "transparent": round(statistics.transparent, SHARE_DIGITS),
            "partial": round(statistics.partial, SHARE_DIGITS),
            "opaque": round(statistics.opaque, SHARE_DIGITS),
            "below_250": round(statistics.below_250, SHARE_DIGITS),
        },
    }
    if statistics.is_nearly_opaque:
        warnings.append(
            {
                "code": "no_transparency",
                "message": f"only {statistics.below_250:.2%} of the pixels are transparent;"
                " try another seed, or name a single subject in the prompt",
            }
        )
        result["warnings"] = warnings
    fields = {
        "both": ("url", "image_base64"),
        "url": ("url",),
        "base64": ("image_base64",),
    }[request.encoding]
    size = _json_bytes(result, fields, len(png))
    if size > max_result_bytes and len(fields) > 1:
        fields = ("url",)
        warnings.append(
            {
                "code": "result_reduced",
                "message": "image_base64 is left out: with both copies of the picture the result has"
                f" {size} bytes, and at most {max_result_bytes} can be sent;"
                ' ask for response.encoding "url" or "base64"',
            }
        )
        result["warnings"] = warnings
        size = _json_bytes(result, fields, len(png))
    if size > max_result_bytes:
        raise WorkerError(
            "result_too_large",
            f"the result has {size} bytes, and at most {max_result_bytes} can be sent;"
            " ask for a smaller width and height, or raise MAX_RESULT_BYTES where the service allows it",
        )
    data = base64.b64encode(png).decode("ascii")
    for field in fields:
        result[field] = DATA_URL_START + data if field == "url" else data
    return result


def _json_bytes(result: dict[str, object], fields: tuple[str, ...], png_bytes: int) -> int:
    """Return the length of `result` as JSON with the picture in `fields`, which hold "" here to be added up.

    Base64 has no character that JSON escapes, so the picture, megabytes long, is counted and not written.
    """
    base64_bytes = (png_bytes + 2) // 3 * 4
    small = len(json.dumps(result | dict.fromkeys(fields, "")))
    return small + sum(base64_bytes + (len(DATA_URL_START) if field == "url" else 0) for field in fields)
