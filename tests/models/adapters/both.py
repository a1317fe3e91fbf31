"""Each family that writes, in this project and in plain transformers, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AddedToken,
    AutoImageProcessor,
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    IdeficsForVisionText2Text,
)

from vlm_demo import Pipeline, Turn

QUERIES = 5


@dataclass
class Both:
    """One checkpoint, loaded twice; ``attention`` is plain transformers'."""

    folder: Path
    attention: str = "sdpa"

    def __post_init__(self) -> None:
        self.pipe = Pipeline.from_pretrained(self.folder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.image_processor = AutoImageProcessor.from_pretrained(self.folder, backend="pil")
        kind = {"blip2": Blip2ForConditionalGeneration, "idefics": IdeficsForVisionText2Text}[self.pipe.family]
        self.plain = kind.from_pretrained(self.folder, dtype="auto", attn_implementation=self.attention).eval()

    def prompt(self, question: str, images: int, history: tuple[Turn, ...] = ()) -> str:
        """The filled chat template, or what BLIP-2's own processor is given where there is none."""
        messages: list[dict[str, Any]] = []
        for turn in (*history, Turn(question, "", (None,) * images)):
            pictures = [{"type": "image"}] * len(turn.images)
            messages.append({"role": "user", "content": [*pictures, {"type": "text", "text": turn.question}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
        return self.tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, tokenize=False)

    def inputs(self, pictures: list[Image.Image], text: str) -> dict[str, torch.Tensor]:
        pixels = torch.cat([self.image_processor(p, return_tensors="pt")["pixel_values"] for p in pictures])
        pixels = pixels.to(self.plain.dtype)
        if self.pipe.family == "blip2":
            if self.tokenizer.chat_template is None:
                made = Blip2Processor(self.image_processor, self.tokenizer, num_query_tokens=QUERIES)
                made.image_token = AddedToken("<image>", special=True)  # it trips over a tokenizer that names its own
                ids = made(images=pictures, text=text, return_tensors="pt")["input_ids"]
            else:
                written = text.replace("<image>", "<image>" * QUERIES)
                ids = self.tokenizer(written, add_special_tokens=False, return_tensors="pt")["input_ids"]
            return {"input_ids": ids, "pixel_values": pixels}
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        seen, picture = [], 0
        begun = False
        for token in ids[0].tolist():
            if token == self.tokenizer.convert_tokens_to_ids("<image>"):
                picture, begun = picture + begun, True
            seen.append([float(i == picture) for i in range(len(pictures))])
        return {"input_ids": ids, "pixel_values": pixels[None], "image_attention_mask": torch.tensor([seen])}

    @torch.no_grad()
    def generated(self, inputs: dict[str, torch.Tensor], tokens: int = 12) -> list[int]:
        """Greedy, without the end token."""
        out = self.plain.generate(**inputs, do_sample=False, max_new_tokens=tokens)[0].tolist()
        given = inputs["input_ids"][0].tolist()
        new = out[len(given) :] if out[: len(given)] == given else out
        end = self.plain.generation_config.eos_token_id
        return new[: new.index(end)] if end in new else new

    def agrees(self, tokens: list[int], inputs: dict[str, torch.Tensor], count: int = 12) -> bool:
        """Whether greedy tokens are plain transformers'. A prompt is read in pieces here and at once there, and narrow
        numbers are rounded differently then, so those may part where two tokens are nearly as likely."""
        plain = self.generated(inputs, count)
        if tokens == plain or self.plain.dtype == torch.float32:
            return tokens == plain
        at = next(i for i, (one, two) in enumerate(zip(tokens, plain, strict=False)) if one != two)
        ids = torch.cat([inputs["input_ids"], torch.tensor([plain[:at]], dtype=torch.long)], 1)
        longer = inputs | {"input_ids": ids}
        if "image_attention_mask" in inputs:
            seen = inputs["image_attention_mask"]
            longer["image_attention_mask"] = torch.cat([seen, seen[:, -1:].expand(-1, at, -1)], 1)
        logits = self.logits(longer)
        return bool(logits.max() - logits[tokens[at]] <= 2 * torch.finfo(self.plain.dtype).eps * logits.abs().max())

    @torch.no_grad()
    def logits(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Of the prompt's last token."""
        return self.plain(**inputs).logits[0, -1].float()
