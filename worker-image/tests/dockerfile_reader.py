"""Reads the Dockerfile's instructions and .dockerignore, as far as this project's need it."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Instruction:
    name: str
    flags: tuple[str, ...]
    """Such as `--from=deps`."""
    value: str
    """What follows, continued lines joined by a blank."""

    @property
    def words(self) -> list[str]:
        """The words, or the entries of a JSON array."""
        if self.value.startswith("["):
            return [str(word) for word in json.loads(self.value)]
        return shlex.split(self.value)

    def flag(self, name: str) -> str | None:
        prefix = f"--{name}="
        return next((flag.removeprefix(prefix) for flag in self.flags if flag.startswith(prefix)), None)


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.name == name]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    syntax: str
    arguments: Mapping[str, str]
    """ARG before the first FROM: name to default."""
    stages: Mapping[str, Stage]

    def lineage(self, name: str) -> list[Stage]:
        """A stage and those it is built on, itself first."""
        stage = self.stages[name]
        base = self.resolve(stage.base)
        return [stage, *(self.lineage(base) if base in self.stages else [])]

    def inherited(self, stage: str, instruction: str) -> list[Instruction]:
        """The stage's instructions of a name with those it inherits, in the order in which they apply."""
        return [found for part in reversed(self.lineage(stage)) for found in part.all(instruction)]

    def environment(self, stage: str) -> dict[str, str]:
        """What ENV sets, `PATH` left out."""
        pairs = [word.partition("=") for found in self.inherited(stage, "ENV") for word in found.words]
        return {name: value for name, _, value in pairs if name != "PATH"}

    def resolve(self, reference: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda match: self.arguments[match[1]], reference)


def read_dockerfile(path: Path = ROOT / "Dockerfile") -> Dockerfile:
    text = path.read_text(encoding="utf-8")
    arguments: dict[str, str] = {}
    stages: dict[str, list[Instruction]] = {}
    bases: dict[str, str] = {}
    name = ""
    without_comments = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", without_comments).split("\n"):
        if not line.strip():
            continue
        instruction = _parse(line)
        if instruction.name == "FROM":
            base, _, name = instruction.words
            bases[name] = base
            stages[name] = []
        elif name:
            stages[name].append(instruction)
        else:
            argument, _, default = instruction.value.partition("=")
            arguments[argument] = default
    built = {name: Stage(name, bases[name], tuple(stages[name])) for name in stages}
    return Dockerfile(text.split("\n", 1)[0], arguments, built)


def _parse(line: str) -> Instruction:
    name, _, rest = line.strip().partition(" ")
    flags: list[str] = []
    # HEALTHCHECK's CMD has words of its own behind it, which stay in the value.
    while match := re.match(r"\s*(--\S+)\s+", rest):
        flags.append(match[1])
        rest = rest[match.end() :]
    return Instruction(name, tuple(flags), rest.strip())


def is_ignored(path: str, dockerignore: str) -> bool:
    """Whether a file is kept from the builder: the last pattern for it, or for a folder of it, decides."""
    ignored = False
    for line in dockerignore.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        expression = _pattern(pattern.removeprefix("!"))
        parts = path.split("/")
        if any(expression.fullmatch("/".join(parts[:count])) for count in range(1, len(parts) + 1)):
            ignored = not pattern.startswith("!")
    return ignored


def _pattern(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern.strip("/")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.compile(escaped)


def context_files() -> list[str]:
    """What the builder is given of this folder, as `worker/png.py`."""
    dockerignore = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    files: list[str] = []
    for entry in ROOT.iterdir():
        if is_ignored(entry.name, dockerignore):
            continue
        found = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
        files += [path.relative_to(ROOT).as_posix() for path in found]
    return sorted(path for path in files if not is_ignored(path, dockerignore))
