import hashlib
import json

import pytest
from transformers import CLIPTokenizer

from worker.tokenizer import (
    COMMA_TOKEN,
    END_TOKEN,
    MERGES_FILE,
    START_TOKEN,
    ClipTokenizer,
    load_tokenizer,
    make_vocabulary,
    read_merges,
)

TEXTS = [
    "",
    " ",
    "a photo of a cat",
    "A PHOTO Of A Cat",
    "  leading,  double \t tab \r\n line  ",
    "no\u00a0break\u2003em\u200bzero\u3000wide",
    "it's they're I've I'm she'll he'd don't CAN'T",
    "'s 'tis 'll''d \u2019s",
    "1girl 2024 3.14 4k 8K ½ ² Ⅷ ١٢٣",
    "café cafe\u0301 naïve Ångström straße İstanbul ÑANDÚ",
    "猫と犬 中文提示 한국어 русский ελληνικά עברית العربية हिन्दी ไทย",
    "🦊🐱‍👤 👩‍👩‍👧‍👦 🇩🇪 ✨️ ❤️",
    "a, b,c,, d ,e , , f.",
    "(round) [square] {curly} <angle> \\ / | ~ ` @#$%^&*_+-=",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "state-of-the-art, semi-transparent... wow!!! what?!",
    "&amp; &lt;b&gt; <br/> https://example.org/a?b=c",
    "\x00\x07\x1b control \x7f",
    "ﬁ ﬂ ㎏ Ⅳ \uff46\uff55\uff4c\uff4c",
    "x" * 500,
    "endoftext startoftext < | > <|other|>",
]


@pytest.fixture(scope="module")
def reference() -> CLIPTokenizer:
    merges = read_merges()
    return CLIPTokenizer(vocab=make_vocabulary(merges), merges=merges)


def test_the_merges_file_is_the_published_one() -> None:
    content = MERGES_FILE.read_bytes()
    assert len(content) == 524_619
    digest = hashlib.sha256(content).hexdigest()
    assert digest == "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"


def test_the_vocabulary_derived_from_it_is_the_published_one() -> None:
    vocabulary = make_vocabulary(read_merges())
    assert len(vocabulary) == 49_408
    # The format of the published vocab.json: keys sorted, two spaces, no escapes, a line end.
    text = json.dumps(vocabulary, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest == "e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349"


def test_the_special_ids_are_where_the_vocabulary_has_them() -> None:
    vocabulary = make_vocabulary(read_merges())
    assert vocabulary["<|startoftext|>"] == START_TOKEN
    assert vocabulary["<|endoftext|>"] == END_TOKEN
    assert vocabulary[",</w>"] == COMMA_TOKEN
    assert vocabulary["!"] == 0


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("A Photo OF a  CAT", [320, 1125, 539, 320, 2368]),
        ("!", [256]),
        ("a,", [320, 267]),
        ("", []),
    ],
)
def test_known_texts_have_their_known_ids(text: str, ids: list[int]) -> None:
    assert load_tokenizer().encode(text) == ids


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_ids_equal_those_of_transformers(text: str, reference: CLIPTokenizer) -> None:
    assert load_tokenizer().encode(text) == reference(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    "text",
    [
        "<|endoftext|>",
        "a<|endoftext|>b",
        "<|startoftext|> cat",
        "<|ENDOFTEXT|>",
        "<<|endoftext|>>",
        "<|endoftext|></w>",
    ],
)
def test_a_prompt_cannot_bring_in_special_tokens(text: str) -> None:
    ids = load_tokenizer().encode(text)
    assert ids
    assert max(ids) < START_TOKEN


def test_a_literal_end_token_is_encoded_as_its_characters() -> None:
    encode = load_tokenizer().encode
    assert encode("a <|endoftext|> b") == encode("a <| endoftext |> b")


def test_half_a_surrogate_pair_counts_as_a_question_mark() -> None:
    assert load_tokenizer().encode("cat \ud83e") == load_tokenizer().encode("cat ?")


def test_the_tokenizer_is_built_once() -> None:
    assert load_tokenizer() is load_tokenizer()
    assert isinstance(load_tokenizer(), ClipTokenizer)
