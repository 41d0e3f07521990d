"""Reads single fields of a job's input: their types, ranges and the values of which one alone is allowed."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from worker.errors import WorkerError
from worker.prompt import count_breaks
from worker.wording import did_you_mean, one_of, show, show_name

Fields = Mapping[object, object]
"""An object of the input. Null counts as absent in it."""

_NUMERIC: Final = re.compile(r"[ \t\n\r]*(-?[0-9]+(?:\.[0-9]+)?)[ \t\n\r]*")
_UNSUITABLE: Final = re.compile("[\0\ud800-\udfff]")
_TAG: Final = re.compile(r"<\s*(?:lora|lyco|hypernet)\s*:[^>]*>", re.IGNORECASE)


def refuse_unknown(fields: Fields, known: Sequence[str], others: Sequence[str] = (), path: str = "") -> None:
    """Refuse the first key that is neither in `known`, which the message lists, nor in `others`."""
    for key in fields:
        if key not in known and key not in others:
            name = path + show_name(key)
            hint = did_you_mean(str(key), (*known, *others)) or f"; known: {', '.join(known)}"
            raise WorkerError("unknown_field", f'"{name}" is not a known field{hint}', field=name)


def read_text(fields: Fields, field: str, path: str = "") -> str | None:
    """Return a text, or None where the field is absent."""
    value = fields.get(field)
    if value is None or isinstance(value, str):
        return value
    raise _wrong_type(path + field, "a string", value)


def read_choice(fields: Fields, field: str, known: Sequence[str], code: str) -> str | None:
    """Return one of the known names, letter by letter, or None where the field is absent."""
    value = read_text(fields, field)
    if value is None or value in known:
        return value
    raise unknown_name(field, "one of", value, known, code)


def unknown_name(
    field: str, kind: str, value: str, known: Sequence[str], code: str, *, guess_from: str | None = None
) -> WorkerError:
    """Make the error of a name that is not known; `guess_from` is the part of it to compare."""
    hint = did_you_mean(value if guess_from is None else guess_from, known)
    return WorkerError(code, f"{field} must be {kind} {one_of(known)} (got {show(value)}){hint}", field=field)


def read_flag(fields: Fields, field: str) -> bool:
    """Return true or false; false where the field is absent."""
    value = fields.get(field)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _wrong_type(field, "true or false", value)


def read_object(fields: Fields, field: str) -> Fields:
    """Return an object; an empty one where the field is absent."""
    value = fields.get(field)
    return {} if value is None else as_object(value, field)


def as_object(value: object, field: str) -> Fields:
    """Return the value, which must be an object."""
    if isinstance(value, dict):
        return value
    raise _wrong_type(field, "an object", value)


def read_list(fields: Fields, field: str) -> Sequence[object] | None:
    """Return a list, or None where the field is absent."""
    value = fields.get(field)
    if value is None or isinstance(value, list):
        return value
    raise _wrong_type(field, "a list", value)


def read_number(
    fields: Fields, field: str, least: float, most: float, *, whole: bool = False, path: str = ""
) -> float | None:
    """Return a number from `least` to `most`, or None where the field is absent."""
    value = fields.get(field)
    if value is None:
        return None
    number = to_number(value)
    if number is None or not least <= number <= most or (whole and not number.is_integer()):
        kind = "a whole number" if whole else "a number"
        message = f"{path}{field} must be {kind} {show(least)}..{show(most)} (got {show(value)})"
        raise WorkerError("out_of_range", message, field=path + field)
    return number


def to_number(value: object) -> float | None:
    """Return a finite number or a plain decimal text as a number, anything else as None.

    "20" counts as 20, as in the published worker; true and false are no numbers.
    """
    if isinstance(value, str):
        found = _NUMERIC.fullmatch(value)
        number = float(found[1]) if found else math.nan
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return None
    else:
        return None
    return number if math.isfinite(number) else None


def refuse_unless_accepted(fields: Fields, field: str, accepted: Iterable[object], reason: str) -> None:
    """Refuse any value of a field but the accepted ones and null."""
    value = fields.get(field)
    accepted = tuple(accepted)
    if value is None or any(_is_same(value, one) for one in accepted):
        return
    allowed = " or ".join(show(one) for one in accepted) or "null"
    raise WorkerError("unsupported", f"{field} must be {allowed} (got {show(value)}): {reason}", field=field)


def check_prompt(text: str, field: str, most: int, most_breaks: int) -> None:
    """Refuse a prompt that is too long, that no PNG or tokeniser could hold, or that has tags in it.

    How many chunks its words make is known once they are tokens: `worker.text.TextEncoder`.
    """
    if len(text) > most:
        message = f"{field} must have at most {most:,} characters (got {len(text)})"
        raise WorkerError("too_long", message, field=field)
    if _UNSUITABLE.search(text):
        # JSON can carry both. Neither has a place in UTF-8, PNG text (11.3.3) or a vocabulary.
        message = f"{field} must not contain null characters or unpaired surrogates"
        raise WorkerError("wrong_type", message, field=field)
    if tag := _TAG.search(text):
        message = f"{field} must not contain {show(tag[0])}; use the loras field"
        raise WorkerError("tag_not_allowed", message, field=field)
    breaks = count_breaks(text)
    if breaks > most_breaks:
        message = f"{field} must have at most {most_breaks} BREAKs (got {breaks})"
        raise WorkerError("too_long", message, field=field)


def is_blank(text: str) -> bool:
    """Tell whether a text has nothing to read: white space, control and format characters alone."""
    return all(letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf") for letter in text)


def _is_same(value: object, accepted: object) -> bool:
    if isinstance(accepted, int | float) and not isinstance(accepted, bool):
        return to_number(value) == accepted
    return type(value) is type(accepted) and value == accepted


def _wrong_type(field: str, expected: str, value: object) -> WorkerError:
    return WorkerError("wrong_type", f"{field} must be {expected} (got {show(value)})", field=field)
