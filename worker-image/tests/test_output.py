import base64
import json
import re
from dataclasses import replace
from typing import Literal

import pytest

from worker.errors import WorkerError
from worker.output import make_filename, make_result
from worker.png import AlphaStatistics
from worker.request import GenerateRequest

REQUEST = GenerateRequest(
    prompt="a red apple",
    prompt_text="a red apple",
    negative_prompt="bad, ugly",
    seed=12345,
    steps=20,
    cfg_scale=5.0,
    width=1024,
    height=1024,
    sampler="DPM++ 2M SDE",
    scheduler="Karras",
    preset="general",
    loras=(),
    encoding="both",
)
PNG = bytes(range(256)) * 4
BASE64 = base64.b64encode(PNG).decode()
INFO = '{"prompt": "a \\"red\\" apple \\ud83c\\udf4e"}'
CLEAR = AlphaStatistics(transparent=0.726123, partial=0.258649, opaque=0.015228, below_250=0.97561)
SOLID = AlphaStatistics(transparent=0.0, partial=0.02, opaque=0.98, below_250=0.0099)
FILENAME = "alpha_1700000000_AAAAAAAAAAAAAAAAAAAAAA.png"
Encoding = Literal["both", "base64", "url"]


def result(
    encoding: Encoding = "both",
    *,
    png: bytes = PNG,
    statistics: AlphaStatistics = CLEAR,
    max_result_bytes: int = 10_000_000,
) -> dict[str, object]:
    return make_result(replace(REQUEST, encoding=encoding), png, INFO, statistics, FILENAME, max_result_bytes)


def json_bytes(value: object) -> int:
    return len(json.dumps(value).encode())


def test_a_result_holds_the_picture_twice_its_name_record_seed_and_alpha() -> None:
    assert result() == {
        "status": "success",
        "url": f"data:image/png;base64,{BASE64}",
        "image_base64": BASE64,
        "filename": FILENAME,
        "info": INFO,
        "seed": 12345,
        "alpha": {"transparent": 0.7261, "partial": 0.2586, "opaque": 0.0152, "below_250": 0.9756},
    }


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("both", {"url", "image_base64"}), ("url", {"url"}), ("base64", {"image_base64"})],
)
def test_the_picture_comes_in_the_encodings_asked_for(encoding: Encoding, expected: set[str]) -> None:
    assert result(encoding).keys() & {"url", "image_base64"} == expected
    assert "warnings" not in result(encoding)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 1023, 1024, 1025])
def test_the_base64_is_standard_and_padded(length: int) -> None:
    data = result(png=(b"\xfb\xff\xfe" * 400)[:length])["image_base64"]
    assert isinstance(data, str)
    assert re.fullmatch(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", data)
    assert base64.b64decode(data, validate=True) == (b"\xfb\xff\xfe" * 400)[:length]


def test_a_nearly_opaque_picture_is_delivered_with_a_warning() -> None:
    delivered = result(statistics=SOLID)
    assert delivered["image_base64"] == BASE64
    assert delivered["warnings"] == [
        {
            "code": "no_transparency",
            "message": "only 0.99% of the pixels are transparent;"
            " try another seed, or name a single subject in the prompt",
        }
    ]


@pytest.mark.parametrize("encoding", ["both", "url", "base64"])
@pytest.mark.parametrize("statistics", [CLEAR, SOLID])
@pytest.mark.parametrize("length", [1, 2, 3, 1024])
def test_the_limit_is_on_the_bytes_of_the_json(
    encoding: Encoding, statistics: AlphaStatistics, length: int
) -> None:
    png = PNG[:length]
    whole = result(encoding, png=png, statistics=statistics)
    size = json_bytes(whole)
    assert result(encoding, png=png, statistics=statistics, max_result_bytes=size) == whole
    if encoding != "both":
        with pytest.raises(WorkerError, match=f"has {size} bytes, and at most {size - 1} can"):
            result(encoding, png=png, statistics=statistics, max_result_bytes=size - 1)


@pytest.mark.parametrize("statistics", [CLEAR, SOLID])
def test_when_both_copies_are_too_large_the_url_alone_is_sent_with_a_warning(
    statistics: AlphaStatistics,
) -> None:
    whole = json_bytes(result(statistics=statistics))
    reduced = result(statistics=statistics, max_result_bytes=whole - 1)
    assert json_bytes(reduced) < whole
    assert reduced["url"] == f"data:image/png;base64,{BASE64}"
    assert "image_base64" not in reduced
    warnings = reduced["warnings"]
    assert isinstance(warnings, list)
    assert [warning["code"] for warning in warnings] == ["no_transparency"] * (statistics is SOLID) + [
        "result_reduced"
    ]
    assert f"has {whole} bytes, and at most {whole - 1} can be sent" in warnings[-1]["message"]


def test_a_reduced_result_keeps_to_the_limit_warning_included() -> None:
    whole = json_bytes(result())
    reduced = json_bytes(result(max_result_bytes=whole - 1))
    # The warning names the limit, whose number of digits is alike here.
    assert json_bytes(result(max_result_bytes=reduced)) == reduced
    with pytest.raises(WorkerError, match=f"has {reduced} bytes, and at most {reduced - 1} can be sent"):
        result(max_result_bytes=reduced - 1)


def test_a_picture_too_large_for_one_copy_is_an_error_that_says_what_to_do() -> None:
    size = json_bytes(result("base64"))
    with pytest.raises(WorkerError) as caught:
        result("base64", max_result_bytes=1000)
    assert caught.value.to_result() == {
        "status": "error",
        "code": "result_too_large",
        "error": f"the result has {size} bytes, and at most 1000 can be sent;"
        " ask for a smaller width and height, or raise MAX_RESULT_BYTES where the service allows it",
    }
    assert caught.value.http_status == 413


def test_a_filename_holds_whole_seconds_and_the_random_bytes() -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return b"\xfb\xff" * (count // 2)

    assert (
        make_filename(lambda: 1_700_000_000.9, random_bytes) == "alpha_1700000000_-__7__v_-__7__v_-__7_w.png"
    )
    assert asked == [16]


def test_filenames_are_url_safe_and_never_alike() -> None:
    names = {make_filename() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"alpha_\d{10}_[A-Za-z0-9_-]{22}\.png", name) for name in names)
