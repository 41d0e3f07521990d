import os
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

import worker.settings
from worker.limits import MAX_PIXELS, SIZE_STEP
from worker.settings import MOST_WARM_UP_SIZE, Settings, SettingsError

TABLE = {
    name: (default, values.strip())
    for name, default, values in re.findall(
        r"^\| `([A-Z_]+)` \| (?:`(.*?)` )?\|(.*?)\|", worker.settings.__doc__ or "", flags=re.MULTILINE
    )
}


def read(**environment: str) -> Settings:
    return Settings.from_environment(environment)


def refusal(**environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**environment)
    return str(caught.value)


def test_the_table_names_each_setting_once_and_in_order() -> None:
    assert [name.lower() for name in TABLE] == [field.name for field in fields(Settings)]


@pytest.mark.parametrize("name", TABLE)
def test_the_table_tells_the_default(name: str) -> None:
    default, _ = TABLE[name]
    assert read(**{name: default}) == read()
    value = getattr(read(), name.lower())
    assert value is None if default == "" else str(value) == default


@pytest.mark.parametrize("name", [name for name, (_, values) in TABLE.items() if ".." in values])
def test_a_number_lies_in_the_range_that_the_table_tells(name: str) -> None:
    least, most = (int(end) for end in TABLE[name][1].split(".."))
    for good in (least, most):
        assert getattr(read(**{name: str(good)}), name.lower()) == good
    for bad in (str(least - 1), str(most + 1), "many", "1e3", "0x10", "NaN", "٣", "-", "1,5", "9" * 5000):
        message = refusal(**{name: bad})
        assert message.startswith(f"{name} must be ")
        assert f"{least}..{most}" in message
        assert '(got "' in message
        assert len(message) < 250


@pytest.mark.parametrize(
    "name", [name for name, (_, values) in TABLE.items() if ", " in values and ".." not in values]
)
def test_a_choice_is_one_of_those_that_the_table_tells(name: str) -> None:
    choices = TABLE[name][1].split(", ")
    for choice in choices:
        assert str(getattr(read(**{name: choice}), name.lower())) == choice
        assert read(**{name: choice.upper()}) == read(**{name: f" {choice} "})
    assert refusal(**{name: "other"}) == f'{name} must be one of {TABLE[name][1]} (got "other")'


def test_an_empty_variable_counts_as_absent() -> None:
    assert read(**dict.fromkeys(TABLE, "")) == read(**dict.fromkeys(TABLE, "  ")) == read()


def test_variables_of_others_are_ignored() -> None:
    assert read(PATH="/bin", RUNPOD_POD_ID="x", mode="http") == read()


def test_values_have_their_types() -> None:
    settings = read(
        DECODER_BATCH="4", MODEL_DIR="models", STORE_DIR="/data/pictures", JOB_TIMEOUT_S="2.5", PNG_LEVEL="0"
    )
    assert settings.decoder_batch == 4
    assert settings.model_dir == Path("models")
    assert settings.store_dir == Path("/data/pictures")
    assert settings.job_timeout_s == 2.5
    assert settings.png_level == 0


@pytest.mark.parametrize("value", ["1000", "1", "32", "1500"])
def test_the_warm_up_picture_has_sides_that_are_multiples_of_64(value: str) -> None:
    assert refusal(WARM_UP_SIZE=value) == f'WARM_UP_SIZE must be a multiple of 64 0..1536 (got "{value}")'


def test_the_largest_warm_up_picture_is_one_that_a_job_may_ask_for() -> None:
    assert MOST_WARM_UP_SIZE**2 <= MAX_PIXELS < (MOST_WARM_UP_SIZE + SIZE_STEP) ** 2


def test_whole_numbers_have_no_fraction() -> None:
    assert refusal(PORT="80.5") == 'PORT must be a whole number 0..65535 (got "80.5")'


@pytest.mark.parametrize("value", ["stabilityai/stable-diffusion-xl-base-1.0", "me/a_b.c"])
def test_a_model_repository_has_an_organisation_and_a_name(value: str) -> None:
    assert read(MODEL_REPO=value).model_repo == value


@pytest.mark.parametrize(
    "value", ["model", "a/b/c", "/a/b", "../b", "a/..", "a/b c", "https://example.com/a/b"]
)
def test_any_other_model_repository_is_refused(value: str) -> None:
    assert refusal(MODEL_REPO=value).startswith("MODEL_REPO must be the name of a model repository")


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        ("https://pictures.example.com", "https://pictures.example.com"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("https://example.com/a/b/", "https://example.com/a/b"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_public_address_may_have_a_path_and_loses_its_last_slash(value: str, read_as: str) -> None:
    assert read(PUBLIC_URL=value).public_url == read_as


@pytest.mark.parametrize(
    "value",
    [
        "example.com",
        "ftp://example.com",
        "https://",
        "http://[",
        "http://a:99999",
        "http://a?b=c",
        "http://a#b",
        "x",
    ],
)
def test_any_other_public_address_is_refused(value: str) -> None:
    assert refusal(PUBLIC_URL=value).startswith("PUBLIC_URL must be an http or https address")


def test_a_sign_in_in_an_address_is_refused_and_not_repeated() -> None:
    message = refusal(PUBLIC_URL="https://me:secret@example.com")
    assert "sign-in" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"PORT": "8000", "PORT_HEALTH": "8080"},
            "PORT_HEALTH must be 8000, as PORT (got 8080): in HTTP mode one port answers requests and /ping; "
            "set both to the same number",
        ),
        ({"PORT_HEALTH": "80"}, "PORT_HEALTH must be 8000, as PORT (got 80)"),
        ({"PORT": "0", "PORT_HEALTH": "8000"}, "PORT_HEALTH must be 0, as PORT (got 8000)"),
    ],
    ids=str,
)
def test_the_http_mode_has_one_port_for_requests_and_pings(environment: dict[str, str], message: str) -> None:
    assert refusal(MODE="http", **environment).startswith(message)
    # In queue mode nothing listens.
    assert read(MODE="queue", **environment).mode == "queue"


@pytest.mark.parametrize("port_health", ["", "9000"])
def test_pings_may_be_told_to_come_to_the_http_modes_own_port(port_health: str) -> None:
    assert read(MODE="http", PORT="9000", PORT_HEALTH=port_health).port == 9000


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        read().port = 1  # type: ignore[misc] # what mypy forbids as well


def test_the_environment_is_read_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE", "nonsense")
    assert read().mode == "queue"
    with pytest.raises(SettingsError, match="MODE must be one of queue, http"):
        Settings.from_environment(os.environ)
