"""The published sizes of the hub models in the catalog, as fields of their config classes; the rest are defaults."""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]


def sizes(width: int, inner: int, layers: int, heads: int, **more: Any) -> Fields:
    """A transformer's."""
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        **more,
    }


def text(kind: str, width: int, inner: int, layers: int, heads: int, keys: int, words: int, **more: Any) -> Fields:
    """A decoder's; ``keys`` are its key-value heads."""
    return {
        "model_type": kind,
        **sizes(width, inner, layers, heads, num_key_value_heads=keys, vocab_size=words, **more),
    }


CLIP_L = sizes(1024, 4096, 24, 16, image_size=336, patch_size=14, projection_dim=768)
CLIP_336 = {"model_type": "clip_vision_model", **CLIP_L}
SO400M = sizes(1152, 4304, 27, 16, image_size=384, patch_size=14)
SIGLIP_384 = {"model_type": "siglip_vision_model", "vision_use_head": False, **SO400M}
SIGLIP_LLAVA = {**SIGLIP_384, "num_hidden_layers": 26}
SMALL_SIGLIP = sizes(768, 3072, 12, 12, image_size=512, patch_size=16)
INTERN = sizes(1024, 4096, 24, 16, image_size=[448, 448], patch_size=[14, 14], attention_bias=True)
EVA = sizes(1408, 6144, 39, 16, image_size=224, patch_size=14)
QWEN25_VISION = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
QWEN3_VISION = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "deepstack_visual_indexes": [5, 11, 17],
}
LLAMA_7B = text("llama", 4096, 11008, 32, 32, 32, 32064, max_position_embeddings=4096)
LLAMA_13B = text("llama", 5120, 13824, 40, 40, 40, 32064, max_position_embeddings=4096)
MISTRAL_7B = text("mistral", 4096, 14336, 32, 32, 8, 32064, max_position_embeddings=32768)
QWEN15_05B = text("qwen2", 1024, 2816, 24, 16, 16, 152000, tie_word_embeddings=True)
QWEN15_7B = text("qwen2", 4096, 11008, 32, 32, 32, 152000)


def qwen2(size: str, words: int, **more: Any) -> Fields:
    """Qwen2's and Qwen2.5's."""
    width, inner, layers, heads, keys = {
        "0.5b": (896, 4864, 24, 14, 2),
        "1.5b": (1536, 8960, 28, 12, 2),
        "3b": (2048, 11008, 36, 16, 2),
        "7b": (3584, 18944, 28, 28, 4),
    }[size]
    return text("qwen2", width, inner, layers, heads, keys, words, **more)


def qwen3(width: int, inner: int, layers: int, heads: int) -> Fields:
    return text("qwen3_vl_text", width, inner, layers, heads, 8, 151936, head_dim=128, max_position_embeddings=262144)


SHAPES: dict[str, Fields] = {
    "HuggingFaceTB/SmolVLM-256M-Instruct": {
        "scale_factor": 4,
        "tie_word_embeddings": False,
        "vision_config": SMALL_SIGLIP,
        "text_config": text(
            "llama", 576, 1536, 30, 9, 3, 49280, tie_word_embeddings=False, max_position_embeddings=8192
        ),
    },
    "HuggingFaceTB/SmolVLM-500M-Instruct": {
        "scale_factor": 4,
        "tie_word_embeddings": False,
        "vision_config": SMALL_SIGLIP,
        "text_config": text(
            "llama", 960, 2560, 32, 15, 5, 49280, tie_word_embeddings=False, max_position_embeddings=8192
        ),
    },
    "HuggingFaceTB/SmolVLM-Instruct": {
        "scale_factor": 3,
        "tie_word_embeddings": False,
        "vision_config": SO400M,
        "text_config": text(
            "llama", 2048, 8192, 24, 32, 32, 49155, tie_word_embeddings=False, max_position_embeddings=16384
        ),
    },
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": {
        "scale_factor": 3,
        "tie_word_embeddings": False,
        "vision_config": SO400M,
        "text_config": text(
            "llama", 2048, 8192, 24, 32, 32, 49280, tie_word_embeddings=False, max_position_embeddings=8192
        ),
    },
    "HuggingFaceM4/Idefics3-8B-Llama3": {
        "scale_factor": 2,
        "tie_word_embeddings": False,
        "vision_config": {**SO400M, "image_size": 364},
        "text_config": text(
            "llama", 4096, 14336, 32, 32, 8, 128259, tie_word_embeddings=False, max_position_embeddings=131072
        ),
    },
    "llava-hf/llava-interleave-qwen-0.5b-hf": {
        "vision_config": SIGLIP_LLAVA,
        "text_config": QWEN15_05B,
        "vision_feature_select_strategy": "full",
        "tie_word_embeddings": True,
    },
    "llava-hf/llava-1.5-7b-hf": {"vision_config": CLIP_336, "text_config": LLAMA_7B},
    "llava-hf/llava-interleave-qwen-7b-hf": {
        "vision_config": SIGLIP_LLAVA,
        "text_config": QWEN15_7B,
        "vision_feature_select_strategy": "full",
    },
    "llava-hf/llava-1.5-13b-hf": {"vision_config": CLIP_336, "text_config": LLAMA_13B},
    "llava-hf/llava-v1.6-mistral-7b-hf": {"vision_config": CLIP_336, "text_config": MISTRAL_7B},
    "llava-hf/llava-v1.6-vicuna-7b-hf": {"vision_config": CLIP_336, "text_config": LLAMA_7B},
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": {
        "vision_config": SIGLIP_LLAVA,
        "text_config": qwen2("0.5b", 152000, tie_word_embeddings=True),
        "tie_word_embeddings": True,
    },
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": {
        "vision_config": SIGLIP_LLAVA,
        "text_config": qwen2("7b", 152128),
        "tie_word_embeddings": False,
    },
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "vision_config": {**QWEN25_VISION, "out_hidden_size": 2048},
        "text_config": {
            **qwen2("3b", 151936, max_position_embeddings=128000, tie_word_embeddings=True),
            "model_type": "qwen2_5_vl_text",
        },
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        "vision_config": {**QWEN25_VISION, "out_hidden_size": 3584},
        "text_config": {**qwen2("7b", 152064, max_position_embeddings=128000), "model_type": "qwen2_5_vl_text"},
        "tie_word_embeddings": False,
    },
    "Qwen/Qwen3-VL-2B-Instruct": {
        "vision_config": {**QWEN3_VISION, "out_hidden_size": 2048},
        "text_config": qwen3(2048, 6144, 28, 16),
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen3-VL-4B-Instruct": {
        "vision_config": {**QWEN3_VISION, "out_hidden_size": 2560},
        "text_config": qwen3(2560, 9728, 36, 32),
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen3-VL-8B-Instruct": {
        "vision_config": {
            **QWEN3_VISION,
            "depth": 27,
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "deepstack_visual_indexes": [8, 16, 24],
            "out_hidden_size": 4096,
        },
        "text_config": qwen3(4096, 12288, 36, 32),
        "tie_word_embeddings": False,
    },
    "google/gemma-3-4b-it": {
        "vision_config": {"model_type": "siglip_vision_model", "vision_use_head": False, **SO400M, "image_size": 896},
        "text_config": text("gemma3_text", 2560, 10240, 34, 8, 4, 262208, head_dim=256),
        "mm_tokens_per_image": 256,
    },
    "google/paligemma-3b-mix-224": {
        "vision_config": {"model_type": "siglip_vision_model", "vision_use_head": False, **SO400M, "image_size": 224},
        "text_config": text("gemma", 2048, 16384, 18, 8, 1, 257216, head_dim=256),
        "projection_dim": 2048,
    },
    "OpenGVLab/InternVL3-1B-hf": {
        "vision_config": INTERN,
        "text_config": qwen2("0.5b", 151674),
        "tie_word_embeddings": False,
    },
    "OpenGVLab/InternVL3-2B-hf": {
        "vision_config": INTERN,
        "text_config": qwen2("1.5b", 151674),
        "tie_word_embeddings": False,
    },
    "OpenGVLab/InternVL3-8B-hf": {
        "vision_config": INTERN,
        "text_config": qwen2("7b", 151674),
        "tie_word_embeddings": False,
    },
    "meta-llama/Llama-3.2-11B-Vision-Instruct": {
        "vision_config": {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_global_layers": 8,
            "attention_heads": 16,
            "image_size": 560,
            "patch_size": 14,
            "vision_output_dim": 7680,
            "intermediate_layers_indices": [3, 7, 15, 23, 30],
        },
        "text_config": {
            **sizes(4096, 14336, 40, 32, num_key_value_heads=8, vocab_size=128256),
            "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
        },
    },
    "Salesforce/blip2-opt-2.7b": {
        "vision_config": EVA,
        "qformer_config": {"encoder_hidden_size": 1408, "vocab_size": 30523},
        "text_config": {
            "model_type": "opt",
            "hidden_size": 2560,
            "ffn_dim": 10240,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "vocab_size": 50304,
            "word_embed_proj_dim": 2560,
        },
        "image_token_index": 50265,
    },
    "Salesforce/instructblip-vicuna-7b": {
        "vision_config": EVA,
        "qformer_config": {"encoder_hidden_size": 1408, "vocab_size": 30523},
        "text_config": text("llama", 4096, 11008, 32, 32, 32, 32001, max_position_embeddings=2048),
        "image_token_index": 32000,
    },
    "openai/clip-vit-large-patch14": {
        "projection_dim": 768,
        "vision_config": {**CLIP_L, "image_size": 224},
        "text_config": sizes(768, 3072, 12, 12, projection_dim=768),
    },
    "openai/clip-vit-base-patch32": {
        "projection_dim": 512,
        "vision_config": sizes(768, 3072, 12, 12, image_size=224, patch_size=32, projection_dim=512),
        "text_config": sizes(512, 2048, 12, 8, projection_dim=512),
    },
    "openai/clip-vit-large-patch14-336": {
        "projection_dim": 768,
        "vision_config": CLIP_L,
        "text_config": sizes(768, 3072, 12, 12, projection_dim=768),
    },
    "google/siglip-base-patch16-224": {
        "vision_config": sizes(768, 3072, 12, 12, image_size=224, patch_size=16),
        "text_config": sizes(768, 3072, 12, 12, vocab_size=32000, max_position_embeddings=64, projection_size=768),
    },
    "google/siglip-so400m-patch14-384": {
        "vision_config": SO400M,
        "text_config": sizes(1152, 4304, 27, 16, vocab_size=32000, max_position_embeddings=64, projection_size=1152),
    },
}
