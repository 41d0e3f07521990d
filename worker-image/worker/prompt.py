"""Reads the web UI's emphasis syntax: which words of a prompt weigh how much, and where a chunk must end.

The behaviour is that of Stable Diffusion web UI and Forge, described in `parse_prompt`; the code is our own.
"""

import math
import re
from dataclasses import dataclass
from itertools import groupby

EMPHASIS_STEP = 1.1
"""What one pair of round brackets multiplies by, and one pair of square brackets divides by."""

MAX_WEIGHT = 1000.0
"""Weights saturate here, on both sides of zero.

The web UI has no limit; a few hundred nested brackets there overflow float32 and the picture is lost.
"""

_PLAIN_TEXT = re.compile(r"[^\\()\[\]:]+")
_WEIGHT_AND_CLOSE = re.compile(r":\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))\s*\)")
_BREAK_WORD = re.compile(r"\bBREAK\b")
_BREAK = re.compile(rf"\s*{_BREAK_WORD.pattern}\s*")
_ESCAPABLE = frozenset("\\()[]")


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text, brackets and escapes resolved, with one weight (1 is neutral)."""

    text: str
    weight: float


@dataclass(slots=True)
class _Piece:
    text: str | None  # None stands for a BREAK
    weight: float = 1.0


def parse_prompt(text: str) -> tuple[tuple[Span, ...], ...]:
    r"""Resolve emphasis and BREAK.

    Returns one tuple of spans for each section; BREAK stands between sections, so there is at least one
    section, and a section may be empty. Neighbouring spans of a section differ in weight; no span is empty.

    - `(x)` multiplies the weight of x by 1.1, `[x]` divides it by 1.1, `(x:1.3)` multiplies it by 1.3; nested
      brackets multiply. The weight is a decimal number with an optional sign, spaces around it allowed.
    - What is no such number is text: in `(a:b)`, `(a:1.2.3)` and `(a:1e3)` the brackets are plain ones, of
      weight 1.1, around everything between them. (`1.2.3` makes the web UI fail.) Square brackets take none.
    - A bracket that is never closed applies to the end of the text. A closing bracket that closes nothing is
      text. Round and square brackets are counted apart, so `(a[b)c]` is allowed: b has both, c the square.
    - `\(` `\)` `\[` `\]` `\\` stand for the second character. Any other backslash is dropped, as there.
    - The word BREAK, in capitals, ends a section; the white space around it goes. Here that holds inside
      brackets too, where the web UI encodes the word as text with a negative weight.
    - `[a:b:0.5]`, `[a|b]` and `AND` have no meaning of their own: the brackets lower the weight, the rest is
      text.
    """
    pieces: list[_Piece] = []
    open_round: list[int] = []
    open_square: list[int] = []
    position = 0
    while position < len(text):
        character = text[position]
        if plain := _PLAIN_TEXT.match(text, position):
            _append_words(pieces, plain.group())
            position = plain.end()
            continue
        weight = _WEIGHT_AND_CLOSE.match(text, position) if open_round else None
        if weight:
            _multiply(pieces, open_round.pop(), float(weight.group(1)))
            position = weight.end()
            continue
        position += 1
        if character == "\\":
            if text[position : position + 1] in _ESCAPABLE:
                pieces.append(_Piece(text[position]))
                position += 1
        elif character == "(":
            open_round.append(len(pieces))
        elif character == "[":
            open_square.append(len(pieces))
        elif character == ")" and open_round:
            _multiply(pieces, open_round.pop(), EMPHASIS_STEP)
        elif character == "]" and open_square:
            _multiply(pieces, open_square.pop(), 1 / EMPHASIS_STEP)
        else:
            pieces.append(_Piece(character))
    for start in open_round:
        _multiply(pieces, start, EMPHASIS_STEP)
    for start in open_square:
        _multiply(pieces, start, 1 / EMPHASIS_STEP)
    return _sections(pieces)


def count_breaks(text: str) -> int:
    """Count the words BREAK, as `parse_prompt` finds them: each ends a section."""
    return len(_BREAK_WORD.findall(text))


def _append_words(pieces: list[_Piece], words: str) -> None:
    for index, part in enumerate(_BREAK.split(words)):
        if index > 0:
            pieces.append(_Piece(None))
        if part:
            pieces.append(_Piece(part))


def _multiply(pieces: list[_Piece], start: int, factor: float) -> None:
    for piece in pieces[start:]:
        # Saturated at each step: an infinity times a zero further out would be not-a-number.
        piece.weight = _saturate(piece.weight * _saturate(factor))


def _saturate(weight: float) -> float:
    return math.copysign(min(abs(weight), MAX_WEIGHT), weight)


def _sections(pieces: list[_Piece]) -> tuple[tuple[Span, ...], ...]:
    sections: list[list[_Piece]] = [[]]
    for piece in pieces:
        if piece.text is None:
            sections.append([])
        else:
            sections[-1].append(piece)
    return tuple(
        tuple(
            # Joined before tokenising, for "(un)(important)" is one word to the tokenizer.
            Span("".join(piece.text or "" for piece in run), weight)
            for weight, run in groupby(section, key=lambda piece: piece.weight)
        )
        for section in sections
    )
