"""SmolLM2 out of a GGUF file: the numbers and tokens of transformers' own reader, and the chat template."""

from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests.kit import gguf_file
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models import smollm2

TEXTS = (
    "What is in the picture?",
    "TOTAL 12.50, 3x4\n\n\tdef f(x):\n    return x ** 2",
    "été naïve, 日本語 😀 ñ\r\n",
    "  two  spaces  ",
    "<|im_start|>user\nhi<|im_end|>\n<file_sep>",
    "",
)


def loaded(held: smollm2.LanguageModel) -> LlamaForCausalLM:
    model = LlamaForCausalLM(held.config).eval()
    keys = model.load_state_dict(dict(held.weights), strict=False)
    assert keys.missing_keys == ["lm_head.weight"] and not keys.unexpected_keys
    model.tie_weights()
    return model


def logits(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids).logits


def test_weights_are_those_that_were_written(tmp_path: Path) -> None:
    written = gguf_file.write(tmp_path / "tiny.gguf")
    ids = torch.arange(40)[None]
    assert torch.equal(logits(loaded(smollm2.read(tmp_path / "tiny.gguf")), ids), logits(written, ids))


@pytest.mark.parametrize("packed", [None, GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q8_0])
def test_logits_and_tokens_are_those_of_transformers_own_reader(
    tmp_path: Path, packed: GGMLQuantizationType | None
) -> None:
    gguf_file.write(tmp_path / "tiny.gguf", packed=packed)
    held = smollm2.read(tmp_path / "tiny.gguf")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32).eval()
    ids = torch.arange(40)[None]
    torch.testing.assert_close(logits(loaded(held), ids), logits(theirs, ids), atol=1e-4, rtol=0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    for text in TEXTS:
        ours = held.tokenizer(text).input_ids
        assert ours == tokenizer(text, add_special_tokens=False).input_ids
        assert held.tokenizer.decode(ours) == text


def test_digits_are_tokens_of_their_own(tmp_path: Path) -> None:
    gguf_file.write(tmp_path / "tiny.gguf")
    tokenizer = smollm2.read(tmp_path / "tiny.gguf").tokenizer
    assert tokenizer.tokenize("12.50") == ["1", "2", ".", "5", "0"]


def test_config_is_what_the_file_says(tmp_path: Path) -> None:
    written = gguf_file.write(tmp_path / "tiny.gguf").config
    config = smollm2.read(tmp_path / "tiny.gguf").config
    for name in ("hidden_size", "head_dim", "num_key_value_heads", "rms_norm_eps", "rope_parameters", "vocab_size"):
        assert getattr(config, name) == getattr(written, name)
    assert config.tie_word_embeddings
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 0)


def test_the_spare_token_stands_for_pictures_and_nothing_is_added(tmp_path: Path) -> None:
    gguf_file.write(tmp_path / "tiny.gguf")
    held = smollm2.read(tmp_path / "tiny.gguf")
    tokenizer = held.tokenizer
    assert tokenizer.convert_tokens_to_ids("<image>") == 4 and "<reponame>" not in tokenizer.get_vocab()
    assert len(tokenizer) == held.config.vocab_size and tokenizer.image_token == "<image>"
    assert tokenizer("<image><image>a").input_ids[:2] == [4, 4]
    assert tokenizer("").input_ids == [] and (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 0)
    assert tokenizer.decode([1, 4, 2], skip_special_tokens=True) == ""


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


IMAGE = {"type": "image"}


@pytest.mark.parametrize(
    ("messages", "written"),
    [
        ([{"role": "user", "content": " Hi \n"}], "<|im_start|>user\n Hi \n<|im_end|>\n"),
        ([{"role": "user", "content": [part("a"), IMAGE]}], "<|im_start|>user\n<image>\na<|im_end|>\n"),
        ([{"role": "user", "content": [IMAGE, part("a"), IMAGE]}], "<|im_start|>user\n<image><image>\na<|im_end|>\n"),
        ([{"role": "user", "content": [part("a"), part("b")]}], "<|im_start|>user\nab<|im_end|>\n"),
        (
            [{"role": "system", "content": "s"}, {"role": "assistant", "content": [part("t")]}],
            "<|im_start|>system\ns<|im_end|>\n<|im_start|>assistant\nt<|im_end|>\n",
        ),
    ],
)
def test_chat_template(tmp_path: Path, messages: list, written: str) -> None:
    gguf_file.write(tmp_path / "tiny.gguf")
    tokenizer = smollm2.read(tmp_path / "tiny.gguf").tokenizer
    assert tokenizer.apply_chat_template(messages, tokenize=False) == written
    asked = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert asked == f"{written}<|im_start|>assistant\n"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    gguf_file.write(tmp_path / "tiny.gguf")
    content = (tmp_path / "tiny.gguf").read_bytes()
    for damaged in (content[: len(content) // 2], b"nothing", b""):
        (tmp_path / "tiny.gguf").write_bytes(damaged)
        with pytest.raises(UnsupportedModel, match=r"tiny\.gguf is damaged"):
            smollm2.read(tmp_path / "tiny.gguf")


@pytest.mark.parametrize(("count", "kept"), [(3, (0, 1, 5)), (4, (0, 1, 4, 5)), (1, (0,))])
def test_the_first_half_of_the_layers_and_the_last_are_kept(count: int, kept: tuple[int, ...]) -> None:
    """Held against the whole model without its middle layers."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=6, num_attention_heads=2, vocab_size=60,
        num_key_value_heads=1,
    )  # fmt: skip
    whole = LlamaForCausalLM(config).eval()
    cut = smollm2.shortened(smollm2.LanguageModel(config, whole.state_dict(), None), count)
    short = LlamaForCausalLM(cut.config).eval()
    short.load_state_dict(cut.weights)
    whole.model.layers = torch.nn.ModuleList(whole.model.layers[i] for i in kept)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        torch.testing.assert_close(
            short(input_ids=ids, use_cache=False).logits, whole(input_ids=ids, use_cache=False).logits
        )
    assert config.num_hidden_layers == 6


def test_all_layers_are_the_model_itself_and_more_than_all_are_refused(tmp_path: Path) -> None:
    gguf_file.write(tmp_path / "words.gguf")
    read = smollm2.read(tmp_path / "words.gguf")
    assert smollm2.shortened(read, 0) is read and smollm2.shortened(read, read.config.num_hidden_layers) is read
    for count in (-1, 3):
        with pytest.raises(UnsupportedModel, match="has 2 layers: keep 1 to 2"):
            smollm2.shortened(read, count)
