"""Recipes: the parts of each embedded model that can be trained here."""

from __future__ import annotations

from vlm_demo.models.builders import Recipe

SMOLLM2, EFFICIENTNET, MINILM = "smollm2-135m-instruct", "efficientnet-lite2", "all-minilm-l6-v2"

# The embedded model → its recipe.
RECIPES = {
    "llava": Recipe("llava", SMOLLM2, EFFICIENTNET, 288, lora_alpha=32),
    # The trained model runs on transformers' classes alone. 168 × 168 pixels are 12 × 12 = 144 image tokens. At 224,
    # the size that this ViT was tuned at, there would be 256, three times as many as the default model reads; at 112
    # there are 64, but then small things are gone before anything reads them.
    "llava-vit": Recipe("llava", SMOLLM2, "dinov2-vit-s-focus", 168, lora_alpha=32),
    "blip2": Recipe("blip2", SMOLLM2, EFFICIENTNET, 288, text_encoder=MINILM),
    "idefics": Recipe("idefics", SMOLLM2, EFFICIENTNET, 288),
    "clip": Recipe("clip", MINILM, EFFICIENTNET, 288),
}
