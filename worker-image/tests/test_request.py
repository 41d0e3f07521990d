import random
from collections.abc import Callable
from dataclasses import asdict

import pytest

from tests.contract import Facts, facts, fixture, installed_of, rows, texts
from worker import limits
from worker.errors import HTTP_STATUS, WorkerError
from worker.presets import PRESETS
from worker.request import GenerateRequest, Installed, WarmUp, draw_seed, parse_request
from worker.wording import LONGEST_SHOWN, nearest, show

BAD = facts(fixture("bad-inputs"))
GOOD = facts(fixture("good-inputs"))
INSTALLED = installed_of(BAD["installed"])


def refusal(value: object, installed: Installed = INSTALLED) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        parse_request(value, installed)
    return caught.value


def parsed(value: object, installed: Installed = INSTALLED, seed: int = 7) -> GenerateRequest:
    request = parse_request(value, installed, lambda: seed)
    assert isinstance(request, GenerateRequest)
    return request


def title(row: Facts) -> str:
    return f"{row.get('group', '')} {row['input']!a}"[:90]


def held_by(row: Facts) -> Installed:
    return installed_of(row["installed"]) if "installed" in row else INSTALLED


@pytest.mark.parametrize("row", rows(BAD["inputs"]), ids=title)
def test_a_bad_input_is_refused_with_its_code_field_message_and_status(row: Facts) -> None:
    error = refusal(row["input"], held_by(row))
    assert (error.code, error.field, error.message, error.http_status) == (
        row["code"],
        row["field"],
        row["message"],
        row["status"],
    )


@pytest.mark.parametrize("row", rows(GOOD["inputs"]), ids=title)
def test_a_good_input_is_read_with_its_defaults(row: Facts) -> None:
    drawn = 4_294_967_295
    request = asdict(parsed(row["input"], held_by(row), drawn))
    request["loras"] = list(request["loras"])
    assert request == {**facts(GOOD["defaults"]), "seed": drawn, **facts(row["request"])}


def test_whole_numbers_are_ints_and_cfg_scale_is_a_float_whatever_was_sent() -> None:
    request = parsed({"prompt": "a", "steps": 20.0, "seed": "7", "width": "512", "cfg_scale": 7})
    for name in ("steps", "seed", "width", "height"):
        assert type(getattr(request, name)) is int
    assert type(request.cfg_scale) is float
    assert type(parsed({"prompt": "a"}).cfg_scale) is float


@pytest.mark.parametrize("value", rows(GOOD["warm_up"]))
def test_a_warm_up_needs_no_prompt(value: object) -> None:
    assert parse_request(value, INSTALLED) == WarmUp()


def test_a_seed_is_drawn_for_a_good_input_without_one_and_for_no_other() -> None:
    drawn: list[int] = []

    def draw() -> int:
        drawn.append(5)
        return 5

    for value in ({"prompt": "a"}, {"prompt": "a", "seed": -1}):
        request = parse_request(value, INSTALLED, draw)
        assert isinstance(request, GenerateRequest)
        assert request.seed == 5
    parse_request({"prompt": "a", "seed": 0}, INSTALLED, draw)
    parse_request({"warm_up": True}, INSTALLED, draw)
    with pytest.raises(WorkerError):
        parse_request({"prompt": "a", "response": 5}, INSTALLED, draw)
    assert drawn == [5, 5]


def test_drawn_seeds_lie_in_the_range_and_seldom_repeat() -> None:
    seeds = [draw_seed() for _ in range(200)]
    assert all(0 <= seed <= limits.MAX_SEED for seed in seeds)
    assert len(set(seeds)) > 190


def test_numbers_beyond_what_json_readers_elsewhere_know_are_refused() -> None:
    # Python reads such digits as integers, of which it refuses to print the longest.
    huge = 10**5000
    assert refusal({"prompt": "a", "steps": huge}).message.endswith("(got Infinity)")
    assert refusal({"prompt": "a", "seed": -huge}).message.endswith("(got -Infinity)")
    assert refusal({"prompt": "a", "width": huge}).code == "bad_size"
    assert refusal({"prompt": "a", "width": 1 << 200}).code == "too_large"
    assert refusal({"prompt": "a", "seed": "9" * 5000}).code == "bad_seed"


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_has_at_most_as_many_breaks_as_chunks(field: str) -> None:
    for breaks in (limits.MAX_CHUNKS + 1, 333):
        error = refusal({"prompt": "a", field: "BREAK " * breaks})
        assert (error.code, error.field, error.http_status) == ("too_long", field, 422)
        assert error.message == f"{field} must have at most 128 BREAKs (got {breaks})"
    most = "BREAK " * limits.MAX_CHUNKS
    assert getattr(parsed({"prompt": "a", field: most}), field) == most


def test_text_of_any_length_is_refused_quickly_and_shortly() -> None:
    for field in ("prompt", "sampler_name", "checkpoint", "steps", "x" * 1_000_000):
        assert len(refusal({"prompt": "a", field: "x" * 1_000_000}).message) < 500


def test_the_rules_are_those_the_typescript_side_knows() -> None:
    rules = facts(fixture("worker-input"))
    assert texts(rules["fields"]) == limits.FIELDS
    assert texts(rules["samplers"]) == limits.SAMPLERS
    assert texts(rules["schedulers"]) == limits.SCHEDULERS
    assert texts(rules["encodings"]) == limits.ENCODINGS
    assert rules["limits"] == {
        "prompt_length": limits.MAX_PROMPT_LENGTH,
        "prompt_breaks": limits.MAX_CHUNKS,
        "steps": list(limits.STEPS),
        "cfg_scale": list(limits.CFG_SCALE),
        "size_step": limits.SIZE_STEP,
        "side": list(limits.SIDE),
        "pixels": limits.MAX_PIXELS,
        "seed": [0, limits.MAX_SEED],
        "loras": limits.MAX_LORAS,
        "lora_weight": list(limits.LORA_WEIGHT),
    }
    default = parsed({"prompt": "a"})
    assert rules["defaults"] == {
        "negative_prompt": default.negative_prompt,
        "steps": default.steps,
        "cfg_scale": default.cfg_scale,
        "width": default.width,
        "height": default.height,
        "sampler_name": default.sampler,
        "scheduler": default.scheduler,
        "generator_type": default.preset,
        "lora_weight": limits.DEFAULT_LORA_WEIGHT,
        "encoding": default.encoding,
    }
    presets = {name: {**asdict(preset), "loras": list(preset.loras)} for name, preset in PRESETS.items()}
    assert rules["presets"] == presets
    fixed = {name: (list(accepted), reason) for name, (accepted, reason) in limits.FIXED_FIELDS.items()}
    assert facts(rules["fixed"]) == {
        name: {"accepted": accepted, "reason": reason} for name, (accepted, reason) in fixed.items()
    }


@pytest.mark.parametrize("row", rows(fixture("shown-values")), ids=lambda row: ascii(row["text"])[:60])
def test_a_received_value_is_shown_as_the_typescript_side_shows_it(row: Facts) -> None:
    assert show(row["value"]) == row["text"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("promt", "prompt"),
        ("PROMPT", "prompt"),
        ("negative_prompt", "negativePrompt"),
        ("sed", "seed"),
        ("step", "steps"),
        ("", None),
        ("x", None),
        ("colour", None),
        ("promptpromptprompt", None),
        ("s" * 81, None),
    ],
)
def test_the_nearest_known_name_is_at_most_a_third_of_the_letters_away(name: str, meant: str | None) -> None:
    # The table of the TypeScript side, test/unit/schema/did-you-mean.test.ts.
    assert nearest(name, ("prompt", "negativePrompt", "seed", "steps", "cfgScale", "width")) == meant


def test_the_nearest_known_name_is_the_closer_of_two() -> None:
    assert nearest("steps", ("step", "steps")) == "steps"
    assert nearest("stepz", ("step", "steps")) == "step"


SCALARS: tuple[Callable[[random.Random], object], ...] = (
    lambda draw: None,
    lambda draw: draw.random() < 0.5,
    lambda draw: draw.randint(-5, 200),
    lambda draw: draw.choice([-1, 1]) * 10 ** draw.choice([9, 18, 21, 308, 309, 5000]),
    lambda draw: draw.uniform(-10, 5000),
    lambda draw: draw.choice([float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 1e300]),
    lambda draw: draw.choice(
        ["20", " 7 ", "1.5", "1024", "-1", "9" * 5000, "1e5", "٣", "Karras", "Euler", "logo"]
    ),
    lambda draw: "".join(chr(draw.randrange(0x110000)) for _ in range(draw.randrange(6))),
    lambda draw: draw.choice(["\ud800", "\0", "<lora:x:1>", "a" * 2001, "🍎" * 2000, "\u2028", "😀"]),
)


def random_value(draw: random.Random, depth: int = 0) -> object:
    kind = draw.randrange(10)
    if kind > 1 or depth > 3:
        return draw.choice(SCALARS)(draw)
    items = [random_value(draw, depth + 1) for _ in range(draw.randrange(5))]
    if kind == 0:
        return items
    names = ["name", "weight", "encoding", *limits.FIELDS, *limits.FIXED_FIELDS, "", "\ud800", "x" * 200]
    return {draw.choice(names): item for item in items}


def random_input(draw: random.Random) -> object:
    value = random_value(draw)
    if draw.random() < 0.1:
        return value
    if not isinstance(value, dict) or draw.random() < 0.5:
        names = draw.sample([*limits.FIELDS, *limits.FIXED_FIELDS], draw.randrange(6))
        value = {name: random_value(draw, 1) for name in names}
    return {"prompt": "a red apple", **value}


def outcome(value: object) -> GenerateRequest | WarmUp | WorkerError:
    try:
        return parse_request(value, INSTALLED, lambda: 7)
    except WorkerError as error:
        return error


def test_any_json_is_read_or_refused_with_a_code_and_a_short_message() -> None:
    draw = random.Random(20260101)  # noqa: S311 - the same values in every run
    met: set[str] = set()
    for _ in range(20_000):
        result = outcome(random_input(draw))
        if not isinstance(result, WorkerError):
            met.add(type(result).__name__)
            continue
        met.add(result.code)
        assert result.code in HTTP_STATUS
        assert 0 < len(result.message) <= 1000
        assert "Traceback" not in result.message
        assert result.field is not None
        assert len(result.field) <= LONGEST_SHOWN + len("response.")
        (result.message + result.field).encode("utf-8")
    # The values are varied enough to meet the codes of a bad input, and good ones.
    rare = {"unknown_checkpoint", "unknown_lora", "too_many"}
    assert met >= {str(row["code"]) for row in rows(BAD["inputs"])} - rare | {"GenerateRequest", "WarmUp"}
