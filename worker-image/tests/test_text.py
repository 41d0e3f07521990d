from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from worker.errors import WorkerError
from worker.limits import MAX_CHUNKS
from worker.text import (
    CACHED_PROMPTS,
    Chunk,
    Conditioning,
    TextEncoder,
    apply_emphasis,
    make_chunks,
    match_lengths,
)
from worker.tokenizer import COMMA_TOKEN, END_TOKEN, START_TOKEN, load_tokenizer

CAT = 2368
DOG = 1929


def tiny_config(**changes: object) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49_408,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        **{
            "projection_dim": 24,
            "hidden_act": "quick_gelu",
            "bos_token_id": 49_406,
            "eos_token_id": 49_407,
            **changes,
        },
    )


@pytest.fixture(scope="module")
def clip_l() -> CLIPTextModel:
    torch.manual_seed(1)
    return spread(CLIPTextModel(tiny_config()).eval())


@pytest.fixture(scope="module")
def clip_g() -> CLIPTextModelWithProjection:
    torch.manual_seed(2)
    return spread(CLIPTextModelWithProjection(tiny_config(hidden_act="gelu")).eval())


def spread(module: CLIPTextModel) -> CLIPTextModel:
    """Larger random weights than transformers' own, and norms that act, so that places differ clearly."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(
                torch.randn_like(parameter) * 0.2 + (1.0 if name.endswith("norm.weight") else 0.0)
            )
    return module


@pytest.fixture
def encoder(clip_l: CLIPTextModel, clip_g: CLIPTextModelWithProjection) -> TextEncoder:
    return TextEncoder(load_tokenizer(), clip_l, clip_g)


@pytest.fixture
def seen_ids(clip_l: CLIPTextModel, clip_g: CLIPTextModelWithProjection) -> Iterator[dict[str, list[Tensor]]]:
    """The ids that each encoder is called with."""
    seen: dict[str, list[Tensor]] = {"clip_l": [], "clip_g": []}
    hooks = [
        module.register_forward_pre_hook(
            lambda _module, _args, kwargs, name=name: seen[name].append(kwargs["input_ids"]), with_kwargs=True
        )
        for name, module in (("clip_l", clip_l), ("clip_g", clip_g))
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def literal_states(model: CLIPTextModel, ids: list[int]) -> list[Tensor]:
    """The embeddings, then the state after each layer without the final norm, each [places, channels]."""
    text_model = getattr(model, "text_model", model)
    mask = torch.full((len(ids), len(ids)), float("-inf")).triu(1)[None, None]
    with torch.no_grad():
        states = [text_model.embeddings(torch.tensor([ids]))]
        for layer in text_model.encoder.layers:
            states.append(layer(states[-1], attention_mask=mask))
    return [state[0] for state in states]


def ids_of(tokens: list[int], padding: int) -> list[int]:
    ids = [START_TOKEN, *tokens, END_TOKEN]
    return ids + [padding] * (77 - len(ids))


def words(count: int) -> str:
    return " ".join(["cat"] * count)


def lengths(text: str) -> list[int]:
    return [len(chunk.tokens) for chunk in make_chunks(text, load_tokenizer())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0]),
        ("   ", [0]),
        ("cat", [1]),
        (words(74), [74]),
        (words(75), [75]),
        (words(76), [75, 1]),
        (words(150), [75, 75]),
        (words(151), [75, 75, 1]),
        # The comma is the 56th of the 75 tokens, exactly 20 places back: the tail of 19 moves.
        (f"{words(55)}, {words(20)}", [56, 20]),
        # The comma is the 55th, 21 places back: it does not.
        (f"{words(54)}, {words(21)}", [75, 1]),
        # The last comma counts, not the first.
        (f"{words(56)}, {words(5)}, {words(20)}", [63, 20]),
        (f"{words(30)}, {words(27)}, {words(20)}", [59, 20]),
        # The comma is the 75th token: nothing to move.
        (f"{words(74)}, cat", [75, 1]),
        # A comma that does not fit moves alone, whatever came before it.
        (f"{words(60)}, {words(14)}, cat", [75, 2]),
        # A chunk that is just full is not split.
        (f"{words(60)}, {words(14)}", [75]),
        # The second chunk wraps as the first does.
        (f"{words(75)} {words(60)}, {words(20)}", [75, 61, 20]),
        # Two commas in a row are one other token, no place to wrap at.
        (f"{words(60)},, {words(20)}", [75, 6]),
        # BREAK.
        ("cat BREAK cat cat", [1, 2]),
        ("cat BREAK BREAK cat", [1, 0, 1]),
        ("BREAK cat", [0, 1]),
        ("cat BREAK", [1]),
        ("BREAK", [0]),
        (f"{words(75)} BREAK cat", [75, 1]),
        (f"{words(76)} BREAK cat", [75, 1, 1]),
        # A comma before a BREAK is not looked at by the next chunk.
        (f"{words(70)}, BREAK {words(76)}", [71, 75, 1]),
    ],
)
def test_a_prompt_is_split_into_chunks(text: str, expected: list[int]) -> None:
    assert lengths(text) == expected


def test_splitting_keeps_every_token_in_its_order_with_its_weight() -> None:
    chunks = make_chunks(f"{words(50)} (dog, {words(10)}:1.5), [{words(20)}] dog", load_tokenizer())
    tokens = [token for chunk in chunks for token in chunk.tokens]
    weights = [weight for chunk in chunks for weight in chunk.weights]
    assert tokens == [CAT] * 50 + [DOG, COMMA_TOKEN] + [CAT] * 10 + [COMMA_TOKEN] + [CAT] * 20 + [DOG]
    assert weights == pytest.approx([1.0] * 50 + [1.5] * 12 + [1.0] + [1 / 1.1] * 20 + [1.0])
    assert [len(chunk.tokens) for chunk in chunks] == [63, 21]


def test_a_chunk_gets_start_end_and_the_padding_asked_for() -> None:
    chunk = Chunk((CAT, DOG), (1.0, 1.5))
    assert chunk.ids(END_TOKEN) == [START_TOKEN, CAT, DOG, END_TOKEN] + [END_TOKEN] * 73
    assert chunk.ids(0) == [START_TOKEN, CAT, DOG, END_TOKEN] + [0] * 73
    assert chunk.place_weights() == [1.0, 1.0, 1.5] + [1.0] * 74


def test_a_full_chunk_ends_with_the_end_token() -> None:
    chunk = Chunk((CAT,) * 75, (1.0,) * 75)
    assert chunk.ids(0) == [START_TOKEN] + [CAT] * 75 + [END_TOKEN]
    assert len(chunk.place_weights()) == 77


def test_encoder_1_is_padded_with_the_end_token_and_encoder_2_with_zeros(
    encoder: TextEncoder, seen_ids: dict[str, list[Tensor]]
) -> None:
    encoder.encode("cat")
    assert [ids.tolist() for ids in seen_ids["clip_l"]] == [[ids_of([CAT], END_TOKEN)]]
    assert [ids.tolist() for ids in seen_ids["clip_g"]] == [[ids_of([CAT], 0)]]


def test_all_chunks_go_through_each_encoder_in_one_call(
    encoder: TextEncoder, seen_ids: dict[str, list[Tensor]]
) -> None:
    conditioning = encoder.encode("cat BREAK dog BREAK cat")
    assert [tuple(ids.shape) for ids in seen_ids["clip_l"]] == [(3, 77)]
    assert [tuple(ids.shape) for ids in seen_ids["clip_g"]] == [(3, 77)]
    assert conditioning.context.shape == (1, 231, 64)


def test_a_prompt_makes_at_most_so_many_chunks(
    encoder: TextEncoder, seen_ids: dict[str, list[Tensor]]
) -> None:
    encoder.encode(words(75 * MAX_CHUNKS))
    encoder.encode("BREAK " * MAX_CHUNKS)
    assert [ids.shape[0] for ids in seen_ids["clip_l"]] == [MAX_CHUNKS, MAX_CHUNKS]


@pytest.mark.parametrize("text", [words(75 * MAX_CHUNKS + 1), "cat BREAK " * MAX_CHUNKS + "cat"])
def test_a_prompt_of_more_chunks_is_refused_before_it_is_encoded(
    encoder: TextEncoder, seen_ids: dict[str, list[Tensor]], text: str
) -> None:
    for encode, field in ((encoder.encode, "prompt"), (encoder.encode_negative, "negative_prompt")):
        with pytest.raises(WorkerError) as caught:
            encode(text)
        assert (caught.value.code, caught.value.field) == ("too_long", field)
        assert caught.value.message == (
            f"{field} must make at most 128 chunks of 75 tokens (got 129); use fewer words or BREAKs"
        )
    assert seen_ids == {"clip_l": [], "clip_g": []}


def test_the_context_is_the_input_of_the_last_layer_of_both_encoders_without_the_final_norm(
    encoder: TextEncoder, clip_l: CLIPTextModel, clip_g: CLIPTextModelWithProjection
) -> None:
    context = encoder.encode("a photo of a cat").context
    tokens = [320, 1125, 539, 320, 2368]
    expected_l = literal_states(clip_l, ids_of(tokens, END_TOKEN))[-2]
    expected_g = literal_states(clip_g, ids_of(tokens, 0))[-2]
    assert context.shape == (1, 77, 64)
    torch.testing.assert_close(context[0, :, :32], expected_l, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(context[0, :, 32:], expected_g, rtol=1e-4, atol=1e-5)


def test_chunks_stand_one_after_the_other_in_the_context(encoder: TextEncoder) -> None:
    both = encoder.encode("cat BREAK dog").context
    torch.testing.assert_close(both[:, :77], encoder.encode("cat").context)
    torch.testing.assert_close(both[:, 77:], encoder.encode("dog").context)


def test_an_empty_prompt_is_one_chunk_without_tokens(
    encoder: TextEncoder, seen_ids: dict[str, list[Tensor]]
) -> None:
    conditioning = encoder.encode("")
    assert seen_ids["clip_g"][0].tolist() == [ids_of([], 0)]
    assert conditioning.context.shape == (1, 77, 64)
    assert conditioning.context.abs().min() > 0


@pytest.mark.parametrize("end_token", [2, 49_407])
@pytest.mark.parametrize("text", ["", "cat", "a photo of a cat", words(75), f"{words(76)}", "cat BREAK dog"])
def test_pooled_is_the_projected_state_at_the_first_end_token_of_the_first_chunk(
    text: str, end_token: int, clip_l: CLIPTextModel, clip_g: CLIPTextModelWithProjection
) -> None:
    other = CLIPTextModelWithProjection(tiny_config(hidden_act="gelu", eos_token_id=end_token)).eval()
    other.load_state_dict(clip_g.state_dict())
    pooled = TextEncoder(load_tokenizer(), clip_l, other).encode(text).pooled

    first = list(make_chunks(text, load_tokenizer())[0].tokens)
    last_state = literal_states(clip_g, ids_of(first, 0))[-1][1 + len(first)]
    with torch.no_grad():
        expected = clip_g.text_projection(clip_g.text_model.final_layer_norm(last_state))
    assert pooled.shape == (1, 24)
    torch.testing.assert_close(pooled[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("end_token", [0, 1, 49_406, None])
def test_an_end_token_that_would_misplace_the_pooled_state_is_refused(
    end_token: int | None, clip_l: CLIPTextModel
) -> None:
    clip_g = CLIPTextModelWithProjection(tiny_config(eos_token_id=end_token))
    with pytest.raises(WorkerError) as failure:
        TextEncoder(load_tokenizer(), clip_l, clip_g)
    assert failure.value.code == "weights_invalid"


def test_emphasis_weighs_and_restores_the_mean_for_each_encoder_and_each_chunk(encoder: TextEncoder) -> None:
    plain = encoder.encode("a cat BREAK a dog").context
    weighted = encoder.encode("a (cat:1.5) BREAK a [dog]").context
    expected = torch.empty_like(plain)
    for chunk, weight in ((slice(0, 77), 1.5), (slice(77, 154), 1 / 1.1)):
        for channels in (slice(0, 32), slice(32, 64)):
            states = plain[0, chunk, channels].double()
            scaled = states.clone()
            scaled[2] *= weight
            expected[0, chunk, channels] = (scaled * (states.sum() / scaled.sum())).float()
    torch.testing.assert_close(weighted, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(weighted, plain, rtol=1e-2)


def test_a_chunk_without_emphasis_is_untouched_beside_one_with_it(encoder: TextEncoder) -> None:
    plain = encoder.encode("cat BREAK dog").context
    weighted = encoder.encode("(cat:2) BREAK dog").context
    torch.testing.assert_close(weighted[:, 77:], plain[:, 77:])
    assert not torch.allclose(weighted[:, :77], plain[:, :77], rtol=1e-2)


def test_emphasis_leaves_pooled_alone(encoder: TextEncoder) -> None:
    torch.testing.assert_close(encoder.encode("a (cat:1.7)").pooled, encoder.encode("a cat").pooled)


def test_emphasis_of_float16_states_is_rounded_once() -> None:
    generator = torch.Generator().manual_seed(3)
    states = (torch.randn(2, 77, 512, generator=generator) * 20 + 1).half()
    weights = torch.ones(2, 77)
    weights[0, 5:9] = 1.4
    result = apply_emphasis(states, weights)
    scaled = states.double() * weights.double()[..., None]
    ratio = states.double().mean(dim=(1, 2), keepdim=True) / scaled.mean(dim=(1, 2), keepdim=True)
    assert result.dtype == torch.float16
    # Rounded once: what differs from the exact result's own rounding are near ties alone.
    assert (result == (scaled * ratio).half()).double().mean() > 0.999


def test_emphasis_of_a_chunk_whose_mean_vanishes_stays_finite() -> None:
    states = torch.ones(1, 77, 4)
    states[:, :, 2:] = -1.0
    weights = torch.full((1, 77), 2.0)
    assert torch.equal(apply_emphasis(states, weights), states * 2)


def test_a_negative_prompt_of_no_characters_is_all_zeros(
    encoder: TextEncoder, seen_ids: dict[str, list[Tensor]]
) -> None:
    conditioning = encoder.encode_negative("")
    assert conditioning.context.shape == (1, 77, 64)
    assert conditioning.pooled.shape == (1, 24)
    assert not conditioning.context.any()
    assert not conditioning.pooled.any()
    assert seen_ids["clip_l"] == []


@pytest.mark.parametrize("text", [" ", "ugly", "bad, (ugly:1.3)"])
def test_any_other_negative_prompt_is_encoded_as_a_prompt_is(text: str, encoder: TextEncoder) -> None:
    negative = encoder.encode_negative(text)
    encoder.clear_cache()
    assert torch.equal(negative.context, encoder.encode(text).context)
    assert negative.context.any()


def test_an_empty_prompt_and_an_empty_negative_prompt_are_kept_apart(encoder: TextEncoder) -> None:
    assert encoder.encode("").context.any()
    assert not encoder.encode_negative("").context.any()
    assert encoder.encode("").context.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_conditioning_has_the_dtype_of_the_encoders_and_no_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    clip_l = CLIPTextModel(tiny_config()).eval().to(dtype)
    clip_g = CLIPTextModelWithProjection(tiny_config()).eval().to(dtype)
    encoder = TextEncoder(load_tokenizer(), clip_l, clip_g)
    for conditioning in (encoder.encode("a (cat:1.3)"), encoder.encode_negative("")):
        assert conditioning.context.dtype == dtype
        assert conditioning.pooled.dtype == dtype
        assert not conditioning.context.requires_grad
        assert not conditioning.pooled.requires_grad
        assert conditioning.context.isfinite().all()


def test_a_repeated_prompt_is_not_encoded_again_until_the_cache_is_cleared(
    encoder: TextEncoder, seen_ids: dict[str, list[Tensor]]
) -> None:
    first = encoder.encode("cat")
    assert encoder.encode("cat") is first
    assert len(seen_ids["clip_l"]) == 1
    encoder.clear_cache()
    assert torch.equal(encoder.encode("cat").context, first.context)
    assert len(seen_ids["clip_l"]) == 2


def test_the_prompt_used_longest_ago_is_forgotten_first(
    encoder: TextEncoder, seen_ids: dict[str, list[Tensor]]
) -> None:
    for number in range(CACHED_PROMPTS):
        encoder.encode(f"cat {number}")
    encoder.encode("cat 0")
    encoder.encode("one more")
    calls = len(seen_ids["clip_l"])
    encoder.encode("cat 0")
    assert len(seen_ids["clip_l"]) == calls
    encoder.encode("cat 1")
    assert len(seen_ids["clip_l"]) == calls + 1


def conditioning_of(chunks: int) -> Conditioning:
    return Conditioning(context=torch.randn(1, 77 * chunks, 8), pooled=torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("chunks_a", "chunks_b", "repeats_a", "repeats_b"),
    [
        (1, 1, 1, 1),
        (3, 3, 1, 1),
        (1, 3, 3, 1),
        (3, 1, 1, 3),
        (2, 3, 3, 2),
        (1, 4, 4, 1),
        (3, 4, 4, 3),
        (2, 4, 2, 1),
        (5, 5, 1, 1),
    ],
)
def test_contexts_are_repeated_to_their_least_common_length(
    chunks_a: int, chunks_b: int, repeats_a: int, repeats_b: int
) -> None:
    a, b = conditioning_of(chunks_a), conditioning_of(chunks_b)
    matched = match_lengths(a, b)
    assert matched is not None
    assert torch.equal(matched[0], torch.cat([a.context] * repeats_a, dim=1))
    assert torch.equal(matched[1], torch.cat([b.context] * repeats_b, dim=1))


@pytest.mark.parametrize(("chunks_a", "chunks_b"), [(1, 5), (5, 1), (4, 5), (2, 9)])
def test_contexts_that_would_need_more_than_four_repeats_are_not_matched(
    chunks_a: int, chunks_b: int
) -> None:
    assert match_lengths(conditioning_of(chunks_a), conditioning_of(chunks_b)) is None


def test_repeating_a_context_leaves_cross_attention_as_it_was() -> None:
    torch.manual_seed(5)
    query, context = torch.randn(1, 10, 8), conditioning_of(1)
    matched = match_lengths(context, conditioning_of(3))
    assert matched is not None
    attend = torch.nn.functional.scaled_dot_product_attention
    torch.testing.assert_close(
        attend(query, matched[0], matched[0]), attend(query, context.context, context.context)
    )
