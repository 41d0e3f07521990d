"""The facts that both sides are held to: `test/fixtures/contract` at the repository's root."""

import json
from pathlib import Path
from typing import cast

from worker.request import Installed

_DIRECTORY = Path(__file__).parents[2] / "test" / "fixtures" / "contract"

Facts = dict[str, object]


def fixture(name: str) -> object:
    """What `<name>.json` holds."""
    return _expand(json.loads((_DIRECTORY / f"{name}.json").read_text(encoding="utf-8")))


def facts(value: object) -> Facts:
    """An object of a fixture."""
    assert isinstance(value, dict)
    return cast("Facts", value)


def rows(value: object) -> list[Facts]:
    """A list of objects of a fixture."""
    assert isinstance(value, list)
    return [facts(row) for row in value]


def texts(value: object) -> tuple[str, ...]:
    """A list of texts of a fixture."""
    assert isinstance(value, list)
    return tuple(str(item) for item in value)


def installed_of(value: object) -> Installed:
    """What a fixture says that an image holds."""
    held = facts(value)
    return Installed(str(held["checkpoint"]), texts(held["checkpoint_aliases"]), texts(held["loras"]))


def _expand(value: object) -> object:
    """Write out `{"$repeat": [value, count]}`, text or list, and `{"$number": "NaN"}`, which JSON lacks."""
    if isinstance(value, list):
        return [_expand(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$number" in value:
        return float(value["$number"])
    if "$repeat" in value:
        one, count = value["$repeat"]
        return one * count if isinstance(one, str) else [_expand(one) for _ in range(count)]
    return {key: _expand(item) for key, item in value.items()}
