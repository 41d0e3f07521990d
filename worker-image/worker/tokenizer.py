"""CLIP's byte-pair tokenizer, built from its list of merges alone."""

from functools import lru_cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

START_TOKEN = 49406
"""Id of `<|startoftext|>`."""

END_TOKEN = 49407
"""Id of `<|endoftext|>`."""

COMMA_TOKEN = 267
"""Id of `,</w>`, a comma that is a word of its own."""

MERGES_FILE = Path(__file__).parent / "assets" / "clip_merges.txt"

_END_OF_WORD = "</w>"
# CLIP's pattern of words (OpenAI CLIP `simple_tokenizer.py`) less its two special tokens; see ClipTokenizer.
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class ClipTokenizer:
    """Text to the ids that both text encoders of SDXL were trained with.

    Same ids as transformers' `CLIPTokenizer` of the published models (Unicode NFC, runs of white space to one
    space, lower case, then byte-level BPE), with one exception on purpose: `<|startoftext|>` and
    `<|endoftext|>` in a prompt are ordinary characters. There they become the special ids, by which a prompt
    could end its chunk early and move the pooled vector.
    """

    def __init__(self, merges_file: Path = MERGES_FILE) -> None:
        merges = read_merges(merges_file)
        tokenizer = Tokenizer(
            BPE(vocab=make_vocabulary(merges), merges=merges, end_of_word_suffix=_END_OF_WORD)
        )
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                # "removed" and "invert": the matches are kept, what lies between them goes.
                pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the ids of the text, of any length, each in 0..49405: no start, no end, no padding.

        Half of a surrogate pair, which JSON can carry but no encoding can write, counts as a question mark.
        """
        writable = text.encode("utf-8", "replace").decode("utf-8")
        return self._tokenizer.encode(writable, add_special_tokens=False).ids


@lru_cache(maxsize=1)
def load_tokenizer() -> ClipTokenizer:
    """Return the process's one tokenizer, built at the first call (0.2 s on two CPU cores)."""
    return ClipTokenizer()


def read_merges(merges_file: Path = MERGES_FILE) -> list[tuple[str, str]]:
    """Read the 48,894 pairs of the file, in order of priority; its first line, a version, is left out."""
    lines = merges_file.read_text(encoding="utf-8").split("\n")[1:]
    pairs = (line.split(" ") for line in lines if line)
    return [(first, second) for first, second in pairs]


def make_vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Derive the 49,408 ids that follow from the merges.

    256 bytes as characters, the same at the end of a word, one entry for each merge, then the two special
    tokens. Source: OpenAI CLIP `simple_tokenizer.py`; the result is the published `vocab.json`, which a test
    holds it to.
    """
    characters = _byte_characters()
    entries = [
        *characters,
        *(character + _END_OF_WORD for character in characters),
        *(first + second for first, second in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    return {entry: number for number, entry in enumerate(entries)}


def _byte_characters() -> list[str]:
    """Return byte-level BPE's characters (after GPT-2): printable bytes as themselves, the others moved."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(byte) for byte in printable] + [chr(0x100 + index) for index in range(256 - len(printable))]
