"""InstructBLIP against plain transformers: its Q-Former reads the question too."""

from pathlib import Path

import pytest
import torch
from tokenizers import processors
from transformers import (
    AutoTokenizer,
    Blip2VisionConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    PreTrainedTokenizerFast,
)

from tests.kit.tiny import SPECIAL, closing, llama, noise, tokenizer, write, write_processors
from tests.models.adapters.parity import QUESTION, Both, Parity
from vlm_demo import Pipeline, Turn
from vlm_demo.errors import BadQuestion, UnsupportedModel

QUERIES, LONGEST = 5, 64


class TestInstructBlip(Parity):
    @staticmethod
    def make(folder: Path) -> Path:
        torch.manual_seed(0)
        words = tokenizer()
        words.chat_template = None
        shape = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
        vision = Blip2VisionConfig(**shape, num_hidden_layers=2, image_size=24, patch_size=6, initializer_range=0.02)
        qformer = InstructBlipQFormerConfig(
            **shape,
            vocab_size=len(words) + 1,
            num_hidden_layers=2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=LONGEST,
            encoder_hidden_size=32,
        )
        config = InstructBlipConfig(
            vision_config=vision.to_dict() | {"model_type": "instructblip_vision_model"},
            qformer_config=qformer.to_dict(),
            text_config=llama(words, 32).to_dict(),
            num_query_tokens=QUERIES,
            image_token_index=words.convert_tokens_to_ids("<image>"),
        )
        model = InstructBlipForConditionalGeneration(config)
        noise(model, {"vision_model": 0.35, "query_tokens": 1.0, "crossattention": 0.5})
        write(model, folder, {token: words.convert_tokens_to_ids(token) for token in SPECIAL}, torch.float32)
        closing(tokenizer(), "<|end|>").save_pretrained(folder / "qformer_tokenizer")
        first = [("<s>", words.bos_token_id)]
        words.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=first)
        write_processors(words, folder, 24)
        return folder

    def text_of(self, both: Both, images: int, history: tuple[Turn, ...] = ()) -> str:
        """What its processor is given: words alone."""
        return "".join(f"{turn.question} {turn.answer} " for turn in history) + QUESTION

    @staticmethod
    def inputs(both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        """As its processor does, which puts the pictures before the first token and takes one; so do others by hand."""
        pixels = torch.cat([both.image_processor(picture, return_tensors="pt")["pixel_values"] for picture in pictures])
        places = [both.plain.config.image_token_index] * QUERIES * len(pictures)
        reader: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(both.folder / "qformer_tokenizer")
        read = torch.tensor([reader(text)["input_ids"]] * len(pictures))
        ids = torch.tensor([places + both.tokenizer(text)["input_ids"]])
        return {"input_ids": ids, "pixel_values": pixels, "qformer_input_ids": read}

    def test_another_question_gives_other_image_tokens(self, both: Both, noise) -> None:
        pipe, view = both.pipe, both.pipe.view(noise(60, 60))
        patches = pipe.stages().encoder(view)
        prompts = [pipe.stages().prompt(question, [QUERIES]) for question in (QUESTION, "Is there a star?")]
        one, two = (pipe.stages().bridge(patches, None, prompt) for prompt in prompts)
        assert (one.embeddings - two.embeddings).abs().max() > 1e-3
        assert one.patch_weights.shape == (1, QUERIES, 17)

    def test_control_strings_are_text_to_the_q_former_too(self, both: Both, noise) -> None:
        read: list[list[int]] = []
        hook = both.pipe.model.qformer.register_forward_pre_hook(
            lambda _part, _given, named: read.append(named["input_ids"][0].tolist()), with_kwargs=True
        )
        try:
            both.pipe.ask(noise(60, 60), "What does <|end|> <s> mean?", max_new_tokens=1)
        finally:
            hook.remove()
        reader = AutoTokenizer.from_pretrained(both.folder / "qformer_tokenizer")
        (ids,) = read
        assert (ids[0], ids[-1]) == (reader.bos_token_id, reader.eos_token_id)
        assert not set(ids[1:-1]) & set(reader.all_special_ids) and "<|end|> <s>" in reader.decode(ids[1:-1])

    def test_a_question_longer_than_it_reads_is_refused(self, both: Both, noise) -> None:
        with pytest.raises(BadQuestion, match=f"reads {LONGEST}"):
            both.pipe.ask(noise(60, 60), "How many circles are there? " * 12)

    def test_without_its_tokenizer(self, tmp_path: Path) -> None:
        folder = self.make(tmp_path)
        for file in (folder / "qformer_tokenizer").iterdir():
            file.unlink()
        with pytest.raises(UnsupportedModel, match="qformer_tokenizer"):
            Pipeline.from_pretrained(folder)
