"""Prompt to conditioning: chunks of 75 tokens, SDXL's two text encoders, emphasis.

Behaviour of Forge (`backend/text_processing/classic_engine.py` and `emphasis.py`,
`backend/diffusion_engine/sdxl.py`, `backend/sampling/condition.py`); the code is our own.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worker.errors import WorkerError
from worker.limits import MAX_CHUNKS
from worker.prompt import parse_prompt
from worker.tokenizer import COMMA_TOKEN, END_TOKEN, START_TOKEN, ClipTokenizer

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

CHUNK_TOKENS = 75
"""Tokens of the prompt in one chunk; with start and end it makes the 77 places of a CLIP text encoder."""

CHUNK_PLACES = CHUNK_TOKENS + 2

COMMA_BACKTRACK_TOKENS = 20
"""How far before the end of a full chunk a comma may lie for the tail after it to move on to the next chunk.

The web UI's default for "Prompt word wrap length limit".
"""

MAX_REPEATS = 4
"""How often `match_lengths` repeats a context at most (Forge's limit)."""

CACHED_PROMPTS = 8
"""Conditionings kept, about 0.3 MB per chunk each in float16."""

_PADDING_CLIP_L = END_TOKEN
_PADDING_CLIP_G = 0
_LEGACY_END_TOKEN = 2  # what SDXL's published configuration of encoder 2 says; see TextEncoder


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the UNet is told about a prompt of n chunks, in the encoders' dtype, on their device.

    context: [1, 77 * n, 2048], encoder 1 in channels 0..767, encoder 2 in 768..2047. pooled: [1, 1280].
    May be shared with later calls: not to be changed in place.
    """

    context: Tensor
    pooled: Tensor


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most 75 tokens without start and end, and the weight of each."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]

    def ids(self, padding: int) -> list[int]:
        """Return the 77 ids an encoder gets: start, the tokens, end, `padding` in every place after that."""
        ids = [START_TOKEN, *self.tokens, END_TOKEN]
        return ids + [padding] * (CHUNK_PLACES - len(ids))

    def place_weights(self) -> list[float]:
        """Return the weight of each of the 77 places; 1 where no token of the prompt stands."""
        weights = [1.0, *self.weights]
        return weights + [1.0] * (CHUNK_PLACES - len(weights))


class TextEncoder:
    """Both text encoders of SDXL behind one call, with the last few prompts remembered.

    tokenizer: see `worker.tokenizer`. clip_l: transformers `CLIPTextModel` (SDXL: 12 layers of 768 channels).
    clip_g: transformers `CLIPTextModelWithProjection` (SDXL: 32 layers of 1280, projection 1280). Both in
    eval mode, of one dtype, on one device.

    Whoever changes the encoders' weights (style LoRAs) calls `clear_cache()` afterwards. Not for use by
    several threads at once.

    Raises:
        WorkerError: `weights_invalid`, when clip_g's configured end token is neither 49407 nor the legacy 2:
            transformers would take the pooled state from another place than the end token's. (With 2 it takes
            the place of the highest id, and 49407 is the highest of all ids.)

    """

    def __init__(
        self, tokenizer: ClipTokenizer, clip_l: "CLIPTextModel", clip_g: "CLIPTextModelWithProjection"
    ) -> None:
        end_token = clip_g.config.eos_token_id
        if end_token not in (END_TOKEN, _LEGACY_END_TOKEN):
            expected = f"{END_TOKEN} or the legacy {_LEGACY_END_TOKEN}"
            raise WorkerError(
                "weights_invalid", f"clip_g: eos_token_id must be {expected}, got {end_token!r}"
            )
        self._tokenizer = tokenizer
        self._clip_l = clip_l
        self._clip_g = clip_g
        self._cache: OrderedDict[str, Conditioning] = OrderedDict()

    def clear_cache(self) -> None:
        """Forget all remembered prompts: the encoders are no longer what they were."""
        self._cache.clear()

    def encode(self, text: str, field: str = "prompt") -> Conditioning:
        """Conditioning of a prompt; an empty one is one chunk without tokens, not zeros.

        Args:
            text: the prompt.
            field: of the input, which an error names.

        Raises:
            WorkerError: `too_long`, when it makes more than `MAX_CHUNKS` chunks.

        """
        conditioning = self._cache.get(text)
        if conditioning is None:
            chunks = make_chunks(text, self._tokenizer)
            if len(chunks) > MAX_CHUNKS:
                raise WorkerError(
                    "too_long",
                    f"{field} must make at most {MAX_CHUNKS} chunks of {CHUNK_TOKENS} tokens "
                    f"(got {len(chunks)}); use fewer words or BREAKs",
                    field=field,
                )
            conditioning = self._cache[text] = self._encode_chunks(chunks)
        self._cache.move_to_end(text)
        if len(self._cache) > CACHED_PROMPTS:
            self._cache.popitem(last=False)
        return conditioning

    def encode_negative(self, text: str) -> Conditioning:
        """As `encode`, but exactly "" gives zeros, one chunk long (Forge: "force_zero_negative_prompt")."""
        if text:
            return self.encode(text, "negative_prompt")
        weight = self._clip_g.text_projection.weight
        channels = self._clip_l.config.hidden_size + self._clip_g.config.hidden_size
        return Conditioning(
            context=weight.new_zeros(1, CHUNK_PLACES, channels), pooled=weight.new_zeros(1, weight.shape[0])
        )

    @torch.no_grad()
    def _encode_chunks(self, chunks: Sequence[Chunk]) -> Conditioning:
        # Forge keeps the token and position embeddings in float32; here they have the module's dtype. In
        # float16 that rounds their sum, by at most 2**-11 of its size; its effect on a picture is unmeasured.
        device = self._clip_g.text_projection.weight.device
        ids_l = torch.tensor([chunk.ids(_PADDING_CLIP_L) for chunk in chunks], device=device)
        ids_g = torch.tensor([chunk.ids(_PADDING_CLIP_G) for chunk in chunks], device=device)
        output_l = self._clip_l(input_ids=ids_l, output_hidden_states=True)
        output_g = self._clip_g(input_ids=ids_g, output_hidden_states=True)
        # The input of the last layer, without the final norm: [n, 77, channels].
        states = [output_l.hidden_states[-2], output_g.hidden_states[-2]]
        if any(weight != 1.0 for chunk in chunks for weight in chunk.weights):
            weights = torch.tensor([chunk.place_weights() for chunk in chunks], device=device)
            states = [apply_emphasis(state, weights) for state in states]
        context = torch.cat(states, dim=-1).flatten(0, 1).unsqueeze(0)
        return Conditioning(context=context, pooled=output_g.text_embeds[:1])


def make_chunks(text: str, tokenizer: ClipTokenizer) -> list[Chunk]:
    """Parse, tokenise and split a prompt; at least one chunk.

    When a token does not fit, and the chunk's last comma is among its last 20 tokens, what follows that comma
    goes to the next chunk too; a comma that does not fit moves alone. BREAK ends a chunk, even an empty one,
    but a BREAK at the very end of the prompt opens no further one.
    """
    chunks: list[Chunk] = []
    current: list[tuple[int, float]] = []
    sections = parse_prompt(text)
    for index, section in enumerate(sections):
        for span in section:
            for token in tokenizer.encode(span.text):
                if len(current) == CHUNK_TOKENS:
                    kept = CHUNK_TOKENS if token == COMMA_TOKEN else _wrap_length(current)
                    chunks.append(_close(current[:kept]))
                    current = current[kept:]
                current.append((token, span.weight))
        is_last = index == len(sections) - 1
        if current or not is_last or not chunks:
            chunks.append(_close(current))
        current = []
    return chunks


def apply_emphasis(states: Tensor, weights: Tensor) -> Tensor:
    """Weigh each place, then scale each chunk so that its mean is what it was (Forge's "Original" emphasis).

    states: [n, 77, channels], any float dtype; weights: [n, 77]. Returns the shape and dtype of states.
    Computed in float32 and rounded once, at the end, where Forge computes in the dtype of its states: in
    float16 the weighted states and both means would each be rounded too. A chunk whose weighted mean is
    exactly 0 is not scaled.
    """
    original = states.float()
    weighted = original * weights.float().unsqueeze(-1)
    mean_before = original.mean(dim=(1, 2), keepdim=True)
    mean_after = weighted.mean(dim=(1, 2), keepdim=True)
    ratio = torch.where(mean_after == 0, torch.ones_like(mean_after), mean_before / mean_after)
    return (weighted * ratio).to(states.dtype)


def match_lengths(a: Conditioning, b: Conditioning) -> tuple[Tensor, Tensor] | None:
    """Both contexts, each [1, 77 * m, channels], repeated to their least common number of chunks m.

    Repeating all keys and values leaves cross-attention as it was. None when one of them would have to be
    repeated more than 4 times; the UNet then runs once for each.
    """
    places = math.lcm(a.context.shape[1], b.context.shape[1])
    repeats_a, repeats_b = places // a.context.shape[1], places // b.context.shape[1]
    if max(repeats_a, repeats_b) > MAX_REPEATS:
        return None
    return a.context.repeat(1, repeats_a, 1), b.context.repeat(1, repeats_b, 1)


def _wrap_length(full: Sequence[tuple[int, float]]) -> int:
    """How many tokens of a full chunk stay: all up to a late enough comma, or everything."""
    for length in range(CHUNK_TOKENS, CHUNK_TOKENS - COMMA_BACKTRACK_TOKENS, -1):
        if full[length - 1][0] == COMMA_TOKEN:
            return length
    return CHUNK_TOKENS


def _close(tokens: Sequence[tuple[int, float]]) -> Chunk:
    return Chunk(tuple(token for token, _ in tokens), tuple(weight for _, weight in tokens))
