"""The shipped ``llava-vit``, exported: transformers alone loads the folder, and writes what the pipeline writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from vlm_demo import Pipeline

CAT = Path(__file__).parents[1] / "assets" / "examples" / "cat.jpg"
QUESTION = "What is in the picture?"
SNIPPET = """
import json, sys
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

folder, picture, question = sys.argv[1:]
model = LlavaForConditionalGeneration.from_pretrained(folder, dtype="float32")
processor = AutoProcessor.from_pretrained(folder)
messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
inputs = processor(images=Image.open(picture).convert("RGB"), text=prompt, return_tensors="pt")
out = model.generate(**inputs, max_new_tokens=12, do_sample=False)
assert "vlm_demo" not in sys.modules
print(json.dumps(processor.decode(out[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)))
"""


def test_transformers_alone_says_what_the_pipeline_says(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("vlm_demo.models.quantization.fast_bf16", lambda _device: False)  # in float32 there are no ties
    expected = Pipeline.from_pretrained("llava-vit").ask(CAT, QUESTION, max_new_tokens=12).text
    folder = tmp_path / "exported"
    subprocess.run([sys.executable, "-m", "vlm_demo", "export", "llava-vit", str(folder)], check=True)
    ran = subprocess.run(
        [sys.executable, "-c", SNIPPET, str(folder), str(CAT), QUESTION],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert expected and json.loads(ran.stdout.splitlines()[-1]).strip() == expected
