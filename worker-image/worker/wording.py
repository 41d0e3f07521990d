"""How messages show a value that was received, and what it was probably meant to be. Standard library only.

`src/local/artist/wording.ts` of the TypeScript side says the same of the same value, but for integers beyond
a double, whose digits JavaScript has lost; `test/fixtures/contract/shown-values.json` holds both to it.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

LONGEST_SHOWN: Final = 80
"""Characters of a received value that a message repeats at most."""

_ITEMS_SHOWN: Final = 40
"""Of a list or an object. With as many, the text is longer than `LONGEST_SHOWN` whatever the items are."""

_TEXT_SHOWN: Final = 200
"""Characters of a text that are looked at; TypeScript counts an emoji as two."""

_LONGEST_GUESSED: Final = 80
"""Characters of a name for which a known one is looked for: the search takes longer the longer it is."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def show(value: object) -> str:
    """Return a received value as JSON, in at most 80 characters.

    Whole numbers come in all their digits and 20.0 as 20, numbers beyond a double as Infinity; what is nested
    is shown as […] or {…}. The text can always be encoded as UTF-8.
    """
    return shorten(_render(value))


def show_name(name: object) -> str:
    """Return a received key as it may stand in a message: escaped as in JSON, without the quotes."""
    return shorten(_quote(str(name))[1:-1])


def shorten(text: str) -> str:
    """Return at most 80 characters of a text, the last one `…` where some are left out."""
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def one_of(known: Sequence[str]) -> str:
    """Return a list of names for a message, each in double quotes; "none" for no names."""
    return ", ".join(f'"{name}"' for name in known) or "none"


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return `; did you mean "…"?` where one of the known names is near, else nothing."""
    near = nearest(name, known)
    return "" if near is None else f'; did you mean "{near}"?'


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that `name` was probably meant to be: at most a third of its letters away."""
    if len(name) > _LONGEST_GUESSED:
        return None
    best: str | None = None
    best_distance = max(1, len(name) // 3) + 1
    for candidate in known:
        distance = _edit_distance(name.lower(), candidate.lower())
        if distance < best_distance:
            best, best_distance = candidate, distance
    return best


def _edit_distance(one: str, other: str) -> int:
    """Levenshtein's distance, one row at a time."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        following = [i + 1]
        for j, wanted in enumerate(other):
            following.append(min(row[j] + (letter != wanted), row[j + 1] + 1, following[j] + 1))
        row = following
    return row[-1]


def _render(value: object, *, nested: bool = False) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _show_number(value)
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, list):
        if nested and value:
            return "[…]"
        return f"[{','.join(_render(item, nested=True) for item in value[:_ITEMS_SHOWN])}]"
    if isinstance(value, dict):
        if nested and value:
            return "{…}"
        items = list(value.items())[:_ITEMS_SHOWN]
        return "{" + ",".join(f"{_quote(str(key))}:{_render(item, nested=True)}" for key, item in items) + "}"
    return type(value).__name__


def _quote(text: str) -> str:
    quoted = json.dumps(text[:_TEXT_SHOWN], ensure_ascii=False)
    # A lone surrogate has no UTF-8 form: a message that held one could not be sent.
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def _show_number(value: int | float) -> str:
    """Return a number as ECMAScript's Number::toString does, but all digits of a whole one."""
    try:
        number = float(value)
    except OverflowError:
        # Python knows larger integers than JSON readers elsewhere do, and refuses to print the largest.
        return "Infinity" if value > 0 else "-Infinity"
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    # Python changes to the exponent below 1e-4, ECMAScript below 1e-6.
    return f"{mantissa}e{int(exponent)}" if int(exponent) < -6 else format(Decimal(repr(value)), "f")
