"""The table of everything that a build downloads, `sources.json`, read strictly: no entry without a pin.

An entry's address is made of its repository, revision and file; the table holds no addresses. The content is
pinned by size and sha256 in any case; the revision pins the place as well, or `revision_note` says why it
cannot.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast
from urllib.parse import quote

DEFAULT_TABLE: Final = Path(__file__).with_name("sources.json")
DEFAULT_BASE_URL: Final = "https://huggingface.co"

Kind = Literal["checkpoint", "vae", "attention_lora", "alpha_decoder"]
KINDS: Final = ("checkpoint", "vae", "attention_lora", "alpha_decoder")

_KEYS: Final = frozenset(
    {
        *("name", "kind", "default", "aliases", "repo", "file", "revision", "revision_note"),
        *("bytes", "sha256", "licence", "notice"),
    }
)
_PATTERNS: Final[Mapping[str, str]] = {
    "name": r"[a-z0-9][a-z0-9.-]*",
    "kind": "|".join(KINDS),
    "repo": r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*",
    "file": r"[A-Za-z0-9][\w.-]*\.safetensors",
    "revision": r"[0-9a-f]{40}|main",
    "sha256": r"[0-9a-f]{64}",
    "licence": r"\S.*",
    "notice": r"\S.*",
}


class SourcesError(Exception):
    """The table is not what it must be, or lacks what was asked for."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file to download."""

    name: str
    kind: Kind
    is_default: bool
    aliases: tuple[str, ...]
    """Further names under which a job may ask for this checkpoint."""
    repo: str
    file: str
    revision: str
    revision_note: str | None
    bytes: int
    sha256: str
    licence: str
    notice: str

    def url(self, base_url: str = DEFAULT_BASE_URL) -> str:
        """Return the file's address on the hub, or on a mirror of it."""
        return f"{base_url.rstrip('/')}/{self.repo}/resolve/{self.revision}/{quote(self.file)}"

    def describe_licence(self) -> str:
        """Return the licence notice that a build prints and writes beside the weights."""
        return f"{self.name} ({self.repo}, {self.file})\n  Licence: {self.licence}\n  {self.notice}"


def read_sources(path: Path = DEFAULT_TABLE) -> tuple[Source, ...]:
    """Read the table.

    Raises:
        SourcesError: an entry lacks a pin or has an unknown or malformed field; or there is not exactly one
        default
            checkpoint.

    """
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourcesError(f"{path}: {error}") from error
    files = value.get("files") if isinstance(value, dict) else None
    if not isinstance(files, list):
        raise SourcesError(f"{path.name}: expected an object with a list of files")
    sources = tuple(_parse(entry) for entry in files)
    names = [source.name for source in sources]
    if len(set(names)) != len(names):
        raise SourcesError(f"{path.name}: two entries have the same name")
    if sum(source.is_default for source in sources) != 1:
        raise SourcesError(f"{path.name}: expected exactly one default checkpoint")
    return sources


def choose(sources: Sequence[Source], checkpoint: str) -> tuple[Source, ...]:
    """Return what a model directory with this checkpoint is made of: the checkpoint, then the other files.

    Raises:
        SourcesError: no such checkpoint; the message lists those that there are.

    """
    checkpoints = {source.name: source for source in sources if source.kind == "checkpoint"}
    if checkpoint not in checkpoints:
        raise SourcesError(f"no checkpoint {checkpoint!r}; there are {', '.join(checkpoints)}")
    return (checkpoints[checkpoint], *(source for source in sources if source.kind != "checkpoint"))


def _parse(value: object) -> Source:
    if not isinstance(value, dict):
        raise SourcesError(f"expected an object for each file, found {str(value)[:80]!r}")
    name = str(value.get("name"))
    if unknown := sorted(value.keys() - _KEYS):
        raise SourcesError(f"{name}: unknown field {unknown[0]!r}")
    texts: dict[str, str] = {}
    for key, pattern in _PATTERNS.items():
        text = value.get(key)
        if not isinstance(text, str) or not re.fullmatch(pattern, text):
            raise SourcesError(f"{name}: {key}: found {text!r}, expected {pattern}")
        texts[key] = text
    size = value.get("bytes")
    if not isinstance(size, int) or size <= 0:
        raise SourcesError(f"{name}: bytes: found {size!r}, expected a whole number above 0")
    note = value.get("revision_note")
    if (texts["revision"] == "main") != isinstance(note, str):
        raise SourcesError(
            f"{name}: revision: expected 40 hex digits, or main and a revision_note that says why"
        )
    aliases = value.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise SourcesError(f"{name}: aliases: expected a list of texts")
    return Source(
        name=texts["name"],
        kind=cast("Kind", texts["kind"]),
        is_default=value.get("default") is True,
        aliases=tuple(aliases),
        repo=texts["repo"],
        file=texts["file"],
        revision=texts["revision"],
        revision_note=note if isinstance(note, str) else None,
        bytes=size,
        sha256=texts["sha256"],
        licence=texts["licence"],
        notice=texts["notice"],
    )
