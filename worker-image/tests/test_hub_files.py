"""The files that RunPod's Hub reads, against the fields that its publishing guide documents.

Source of the tables: runpod/docs `hub/publishing-guide.mdx` ("hub.json reference", "tests.json reference");
of the pools and GPU names: `references/gpu-types.mdx` and `flash/configuration/gpu-types.mdx` there.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from worker.limits import FIELDS
from worker.request import Installed, parse_request
from worker.settings import Settings

ROOT: Final = Path(__file__).parents[1]

Check = Callable[[object], bool]


def text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def versions(value: object) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(re.fullmatch(r"\d+\.\d+", entry) for entry in value)
    )


def objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


POOLS: Final[Mapping[str, int]] = {
    "AMPERE_16": 16,
    "AMPERE_24": 20,
    "ADA_24": 24,
    "ADA_32_PRO": 32,
    "AMPERE_48": 48,
    "ADA_48_PRO": 48,
    "AMPERE_80": 80,
    "ADA_80_PRO": 80,
    "HOPPER_141": 141,
}
"""GPU pools and the memory, GB, of the smallest GPU in each."""

GPU_NAMES: Final = {"NVIDIA GeForce RTX 4090", "NVIDIA L4", "NVIDIA L40S", "NVIDIA A40", "NVIDIA RTX A5000"}

# Field: (required, what it may be).
HUB: Final[Mapping[str, tuple[bool, Check]]] = {
    "title": (True, text),
    "description": (True, text),
    "type": (True, lambda value: value == "serverless"),
    "category": (True, lambda value: value in {"audio", "embedding", "language", "video", "image"}),
    "iconUrl": (False, text),
    "config": (True, lambda value: isinstance(value, dict)),
}
CONFIG: Final[Mapping[str, tuple[bool, Check]]] = {
    "runsOn": (True, lambda value: value == "GPU"),
    "containerDiskInGb": (True, whole),
    "gpuCount": (True, whole),
    "gpuIds": (True, text),
    "allowedCudaVersions": (False, versions),
    "env": (False, objects),
    "presets": (False, objects),
}
INPUT: Final[Mapping[str, tuple[bool, Check]]] = {
    "name": (True, text),
    "type": (True, lambda value: value in {"string", "number", "boolean", "huggingface"}),
    "description": (True, text),
    "default": (True, lambda value: isinstance(value, str | int | bool)),
    "options": (False, objects),
    "min": (False, lambda value: isinstance(value, int)),
    "max": (False, lambda value: isinstance(value, int)),
    "trueValue": (False, text),
    "falseValue": (False, text),
    "advanced": (False, lambda value: isinstance(value, bool)),
}
TESTS: Final[Mapping[str, tuple[bool, Check]]] = {
    "tests": (True, objects),
    "config": (True, lambda value: isinstance(value, dict)),
}
TEST: Final[Mapping[str, tuple[bool, Check]]] = {
    "name": (True, text),
    "input": (True, lambda value: isinstance(value, dict)),
    "timeout": (False, whole),
}
TEST_CONFIG: Final[Mapping[str, tuple[bool, Check]]] = {
    "gpuTypeId": (True, lambda value: value in GPU_NAMES),
    "gpuCount": (True, whole),
    "env": (False, objects),
    "allowedCudaVersions": (False, versions),
}


def check(value: Mapping[str, Any], fields: Mapping[str, tuple[bool, Check]]) -> None:
    assert value.keys() <= fields.keys()
    for name, (required, is_right) in fields.items():
        assert name in value or not required, name
        assert name not in value or is_right(value[name]), f"{name}: {value[name]!r}"


def read(name: str) -> dict[str, Any]:
    value = json.loads((ROOT / ".runpod" / name).read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


HUB_FILE: Final = read("hub.json")
TESTS_FILE: Final = read("tests.json")
VARIABLES: Final[Mapping[str, Any]] = {entry["key"]: entry["input"] for entry in HUB_FILE["config"]["env"]}


def settings(values: Mapping[str, object]) -> Settings:
    return Settings.from_environment({name: str(value) for name, value in values.items()})


def test_hub_json_has_the_documented_fields() -> None:
    check(HUB_FILE, HUB)
    check(HUB_FILE["config"], CONFIG)
    for entry in HUB_FILE["config"]["env"]:
        assert entry.keys() == {"key", "input"}
        check(entry["input"], INPUT)
    for preset in HUB_FILE["config"]["presets"]:
        assert preset.keys() == {"name", "defaults"}
        assert preset["defaults"].keys() <= VARIABLES.keys()


def test_each_gpu_pool_has_gpus_that_the_worker_fits_into() -> None:
    pools = HUB_FILE["config"]["gpuIds"].split(",")
    assert len(pools) == len(set(pools))
    assert all(POOLS[pool] >= 16 for pool in pools)


def test_the_disk_holds_what_the_worker_writes_and_the_image_too_should_it_count() -> None:
    # GB: the locked packages, installed (measured); the weights in half precision (about); the kept pictures.
    packages, weights, store = 5.5, 7.2, settings({}).store_max_bytes / 1e9
    # The runpod SDK refuses to start with less than a tenth of the disk free.
    assert (packages + weights + store) < 0.9 * HUB_FILE["config"]["containerDiskInGb"]


def test_the_cuda_version_is_the_locked_pytorchs() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    found = re.search(r"^cuda-toolkit==(\d+\.\d+)\.", lock, re.MULTILINE)
    assert found
    assert (
        HUB_FILE["config"]["allowedCudaVersions"] == TESTS_FILE["config"]["allowedCudaVersions"] == [found[1]]
    )
    assert f"RUNPOD_MIN_CUDA_VERSION={found[1]} " in (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_is_a_setting_whose_default_it_shows(name: str) -> None:
    assert name.lower() in Settings.__slots__
    assert settings({name: VARIABLES[name]["default"]}) == settings({})


@pytest.mark.parametrize("name", VARIABLES)
def test_each_value_that_can_be_chosen_is_allowed(name: str) -> None:
    variable = VARIABLES[name]
    values = [option["value"] for option in variable.get("options", [])]
    values += [variable[bound] for bound in ("min", "max") if bound in variable]
    assert values
    for value in values:
        settings({name: value})


@pytest.mark.parametrize("name", [name for name in VARIABLES if "min" in VARIABLES[name]])
def test_a_number_beyond_what_can_be_entered_is_refused(name: str) -> None:
    for value in (VARIABLES[name]["min"] - 1, VARIABLES[name]["max"] + 1):
        with pytest.raises(ValueError, match=name):
            settings({name: value})


def test_each_preset_is_allowed() -> None:
    for preset in HUB_FILE["config"]["presets"]:
        settings(preset["defaults"])


def test_tests_json_has_the_documented_fields() -> None:
    check(TESTS_FILE, TESTS)
    check(TESTS_FILE["config"], TEST_CONFIG)
    for entry in TESTS_FILE["config"]["env"]:
        assert entry.keys() == {"key", "value"}
        settings({entry["key"]: entry["value"]})


@pytest.mark.parametrize("test", TESTS_FILE["tests"], ids=lambda test: test["name"])
def test_each_of_the_hubs_tests_is_an_input_that_the_worker_takes(test: dict[str, Any]) -> None:
    check(test, TEST)
    assert test["input"].keys() <= {*FIELDS}
    parse_request(test["input"], Installed("sdxl-base", (), ()))


def test_what_the_hub_wants_lies_beside_its_files() -> None:
    for name in ("handler.py", "Dockerfile", "README.md"):
        assert (ROOT / name).is_file()
