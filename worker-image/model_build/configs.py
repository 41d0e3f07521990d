"""What the parts of the model are: constructor arguments, true size and tiny.

Each dict holds the keyword arguments of the class that `worker.weights.build_part` names for the part; it is
written into `manifest.json`, so that the worker needs no configuration from anywhere else.

Sources of the true sizes: stabilityai/stable-diffusion-xl-base-1.0 `unet/config.json`,
`text_encoder/config.json`, `text_encoder_2/config.json`, `vae/config.json`; the transparent decoder after
lllyasviel/sd-forge-layerdiffuse `lib_layerdiffusion/models.py`. A test counts the parameters that they give.
"""

from collections.abc import Mapping
from typing import Final

Config = Mapping[str, object]

VOCABULARY: Final = 49408
"""CLIP's byte-pair vocabulary; the tiny encoders have all of it, since the tokenizer is the real one."""
END_OF_TEXT: Final = 49407

UNET: Final[Config] = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 2,
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
CLIP_L: Final[Config] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
    "eos_token_id": END_OF_TEXT,
}
CLIP_G: Final[Config] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
    "eos_token_id": END_OF_TEXT,
}
VAE_DECODER: Final[Config] = {
    "in_channels": 4,
    "out_channels": 3,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "norm_num_groups": 32,
}
ALPHA_DECODER: Final[Config] = {
    "channels": [32, 32, 64, 128, 256, 512, 512],
    "layers_per_block": 2,
}

FULL: Final[Mapping[str, Config]] = {
    "unet": UNET,
    "clip_l": CLIP_L,
    "clip_g": CLIP_G,
    "vae_decoder": VAE_DECODER,
    "alpha_decoder": ALPHA_DECODER,
}
"""SDXL and the transparent decoder as published."""

TINY: Final[Mapping[str, Config]] = {
    "unet": {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "block_out_channels": [32, 64],
        "layers_per_block": 1,
        "transformer_layers_per_block": [1, 1],
        "attention_head_dim": [2, 4],
        "cross_attention_dim": 64,
        "use_linear_projection": True,
        "norm_num_groups": 8,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80,
    },
    "clip_l": {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "projection_dim": 32,
        "hidden_act": "quick_gelu",
        "eos_token_id": END_OF_TEXT,
    },
    "clip_g": {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "projection_dim": 32,
        "hidden_act": "gelu",
        "eos_token_id": END_OF_TEXT,
    },
    "vae_decoder": {
        "in_channels": 4,
        "out_channels": 3,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [32, 32, 32, 32],
        "layers_per_block": 1,
        "norm_num_groups": 8,
    },
    "alpha_decoder": {
        "channels": [8, 8, 16, 16, 16, 16, 16],
        "layers_per_block": 1,
    },
}
"""The same shapes of graph with few channels: the tests' model, which a CPU runs in a blink."""

SIZES: Final[Mapping[str, Mapping[str, Config]]] = {"full": FULL, "tiny": TINY}

ATTENTION_RANKS: Final[Mapping[str, int]] = {"full": 256, "tiny": 4}
"""Rank of LayerDiffuse's attention LoRA, and of the tests' own."""
