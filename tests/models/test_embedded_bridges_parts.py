"""BLIP-2 and Idefics that are put together from parts: transformers' own generate() and scores are the pipeline's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoModelForZeroShotImageClassification,
    AutoTokenizer,
    LlamaForCausalLM,
)

from tests.kit import composed, fresh_imports, minilm_files
from tests.kit.composed import silent
from vlm_demo import Pipeline
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models import embedded, loading, smollm2, user_cache
from vlm_demo.models.builders import RECIPE, read_recipe
from vlm_demo.models.efficientnet_bridges import EfficientNetBlip2ForImageTextRetrieval

QUERIES, SIDE, TOKENS = 5, 96, 8
QUESTION = "What is it? 12"


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((120, 80), Image.Resampling.NEAREST)


def random(shapes: dict[str, tuple[int, ...]], scale: float = 0.3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    made = {name: torch.randn(shape, generator=generator) * scale for name, shape in shapes.items()}
    return {name: t + 1 if "norm.weight" in name.lower() else t for name, t in made.items()}


def head(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    positions = (SIDE // 32) ** 2
    return {
        f"{prefix}.feature_head.projection.weight": (width, composed.SEEN),
        f"{prefix}.feature_head.projection.bias": (width,),
        f"{prefix}.feature_head.position_embedding": (positions, width),
        f"{prefix}.feature_head.layernorm.weight": (width,),
        f"{prefix}.feature_head.layernorm.bias": (width,),
    }


def trained_blip2() -> dict[str, Tensor]:
    """What is trained of a Q-Former of MiniLM's two layers, the first of which attends to the picture."""
    width, inner = minilm_files.WIDTH, minilm_files.INNER

    def linear(name: str, outputs: int, inputs: int = width) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.LayerNorm.weight": (width,), f"{name}.LayerNorm.bias": (width,)}

    shapes = head("vision_model", width) | {"query_tokens": (1, QUERIES, width), "itc_log_scale": ()}
    for i, attention in enumerate(("crossattention", "attention")):
        layer = f"qformer.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            shapes |= linear(f"{layer}.{attention}.attention.{part}", width)
        shapes |= linear(f"{layer}.{attention}.output.dense", width) | norm(f"{layer}.{attention}.output")
        shapes |= linear(f"{layer}.intermediate_query.dense", inner)
        shapes |= linear(f"{layer}.output_query.dense", width, inner) | norm(f"{layer}.output_query")
    shapes |= linear("language_projection", composed.WIDTH) | linear("itm_head", 2)
    shapes |= linear("vision_projection", 24) | linear("text_projection", 24)
    return random(shapes)


def trained_idefics() -> dict[str, Tensor]:
    """One gated cross-attention layer, before the first of two."""
    width, inner, heads = composed.WIDTH, 40, 4
    layer = "model.gated_cross_attn_layers.0"
    shapes = head("model.vision_model", width)
    shapes |= {f"{layer}.cross_attn.{part}_proj.weight": (width, width) for part in "qkvo"}
    shapes |= {f"{layer}.cross_attn.{part}_layer_norm.weight": (width // heads,) for part in "qk"}
    shapes |= {f"{layer}.mlp.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
    shapes |= {f"{layer}.mlp.down_proj.weight": (width, inner)}
    shapes |= {f"{layer}.{part}_layernorm.weight": (width,) for part in ("input", "post_attention")}
    shapes |= {f"{layer}.alpha_{part}": (1, 1, width) for part in ("cross_attn", "dense")}
    return random(shapes)


TRAINED = {"blip2": trained_blip2, "idefics": trained_idefics}


def recipe_of(family: str) -> dict[str, object]:
    recipe: dict[str, object] = {"family": family, "image_size": SIDE}
    return recipe | ({"text_encoder": composed.TEXT} if family == "blip2" else {})


class Made:
    """A model put together in float32 numbers: its shipped files, its folder, the pipeline and plain transformers."""

    def __init__(self, family: str, files: dict[str, Path], place: Path) -> None:
        self.family, self.files = family, files
        self.shipped = composed.ship(place / "models" / family, TRAINED[family](), **recipe_of(family))
        self.folder = embedded.assembled(self.shipped, silent)
        # In bf16 two words may be equally likely to the last digit; so both compute in float32.
        self.plain = AutoModelForImageTextToText.from_pretrained(self.folder, dtype=torch.float32).eval()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vlm_demo.models.quantization.fast_bf16", lambda _device: False)
            self.pipe = Pipeline.from_pretrained(self.folder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        processor = AutoImageProcessor.from_pretrained(self.folder, backend="pil")
        self.pixels = processor(images=[picture(1), picture(2)], return_tensors="pt")["pixel_values"]

    def inputs(self, row: int) -> dict[str, Tensor]:
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        asked = [{"role": "user", "content": content}]
        text = self.tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        pixels = self.pixels[row : row + 1]
        if self.family == "idefics":
            ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            seen = torch.ones(*ids.shape, 1, dtype=torch.long)
            return {"input_ids": ids, "pixel_values": pixels[:, None], "image_attention_mask": seen}
        text = text.replace("<image>", "<image>" * QUERIES)
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return {"input_ids": ids, "pixel_values": pixels}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Made]]:
    """Both models, put together once from the same tiny parts."""
    place = tmp_path_factory.mktemp("bridges")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_cache, "folder", lambda: place / "cache" / "vlm_demo")
        patch.setattr(loading, "EMBEDDED", place / "models")
        files = composed.install(place / "site", patch, (composed.LANGUAGE, composed.TOWER, composed.TEXT))
        yield {family: Made(family, files, place) for family in TRAINED}


@pytest.fixture(params=list(TRAINED))
def made(request: pytest.FixtureRequest, world: dict[str, Made]) -> Made:
    return world[request.param]


@torch.no_grad()
def test_greedy_tokens_are_those_of_plain_transformers(made: Made) -> None:
    inputs = made.inputs(0)
    out = made.plain.generate(**inputs, do_sample=False, max_new_tokens=TOKENS)[0].tolist()
    ids = out[inputs["input_ids"].shape[1] :]
    answer = made.pipe.ask(picture(1), QUESTION, max_new_tokens=TOKENS)
    written = [token.id for token in answer.tokens]
    assert list(answer.prompt.ids) == inputs["input_ids"][0].tolist()
    assert written == ids[: len(written)] and len(written) > 3
    assert answer.heatmap(0).shape == (80, 120) and answer.view.grid == (3, 3)
    # Without this, equal tokens would prove nothing.
    one, two = (made.plain(**made.inputs(row)).logits[0, -1] for row in range(2))
    assert (one - two).abs().max() > 0.1


def test_its_files_say_what_it_is(made: Made) -> None:
    config = AutoConfig.from_pretrained(made.folder)
    assert config.architectures == [type(made.plain).__name__] and config.image_token_id == 4
    assert read_recipe(made.shipped / RECIPE).family == made.family == made.pipe.family
    assert {p.dtype for p in AutoModelForImageTextToText.from_pretrained(made.folder).parameters()} == {torch.bfloat16}
    assert made.pipe.stages().family.leading_tokens == 0 and len(made.pipe.stages().family.encoder_layers) == 21
    assert "<image>" in (made.folder / "chat_template.jinja").read_text()


def test_idefics_holds_the_language_model_exactly(world: dict[str, Made]) -> None:
    """With its gates at 0 it writes what the language model writes alone."""
    made = world["idefics"]
    language = smollm2.read(made.files[composed.LANGUAGE])
    alone = LlamaForCausalLM(language.config).eval()
    alone.load_state_dict({name: t.bfloat16().float() for name, t in language.weights.items()}, strict=False)
    alone.tie_weights()
    gated = made.plain.model.gated_cross_attn_layers[0]
    kept = [gate.data.clone() for gate in (gated.alpha_cross_attn, gated.alpha_dense)]
    inputs = made.inputs(0)
    with torch.no_grad():
        gated.alpha_cross_attn.zero_()
        gated.alpha_dense.zero_()
        shut = made.plain(**inputs).logits
        gated.alpha_cross_attn.copy_(kept[0])
        gated.alpha_dense.copy_(kept[1])
        torch.testing.assert_close(shut, alone(inputs["input_ids"]).logits, atol=1e-4, rtol=1e-4)
        assert (made.plain(**inputs).logits - shut).abs().max() > 0.1


@torch.no_grad()
def test_one_folder_also_compares_pictures_with_texts(world: dict[str, Made]) -> None:
    made = world["blip2"]
    plain, report = AutoModelForZeroShotImageClassification.from_pretrained(
        made.folder, dtype=torch.float32, output_loading_info=True
    )
    assert type(plain) is EfficientNetBlip2ForImageTextRetrieval and not report["missing_keys"]
    reader = AutoTokenizer.from_pretrained(made.folder / "qformer_tokenizer")
    texts = ["a red circle", "two blue cats, 12"]
    scores = made.pipe.score(picture(1), texts)
    for i, text in enumerate(texts):
        # transformers expects a place for each query before a text.
        read = [4] * QUERIES + reader(text)["input_ids"]
        given = {"input_ids": torch.tensor([read]), "attention_mask": torch.ones(1, len(read), dtype=torch.long)}
        given["pixel_values"] = made.pixels[:1]
        assert plain(**given).logits_per_image.item() == pytest.approx(scores.similarities[i], abs=1e-4)
        match = plain(**given, use_image_text_matching_head=True).logits_per_image.softmax(1)[0, 1]
        assert match.item() == pytest.approx(scores.matches[i], abs=1e-4)
    assert abs(scores.similarities[0] - scores.similarities[1]) > 1e-3


def test_a_q_former_needs_a_text_encoder(world: dict[str, Made], tmp_path: Path) -> None:
    recipe = recipe_of("blip2") | {"text_encoder": ""}
    with pytest.raises(UnsupportedModel, match="do not fit"):
        embedded.assembled(composed.ship(tmp_path / "small", trained_blip2(), **recipe), silent)


@pytest.mark.parametrize(
    ("family", "name", "shape"),
    [
        ("blip2", "query_tokens", None),
        ("blip2", "text_projection.weight", (3, 5)),
        ("blip2", "no_such_layer", (3,)),
        ("idefics", "model.gated_cross_attn_layers.0.mlp.gate_proj.weight", None),
        ("idefics", "model.gated_cross_attn_layers.0.cross_attn.k_proj.weight", (64, 7)),
        ("idefics", "projector.linear_1.weight", (64, 64)),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    world: dict[str, Made], tmp_path: Path, family: str, name: str, shape: tuple[int, ...] | None
) -> None:
    tensors = TRAINED[family]()
    if shape is None:
        del tensors[name]
    else:
        tensors[name] = torch.zeros(shape)
    shipped = composed.ship(tmp_path / "small", tensors, **recipe_of(family))
    with pytest.raises(UnsupportedModel, match="trained weights of small do not fit"):
        embedded.assembled(shipped, silent)


ORDERS = [
    ("import vlm_demo", "import transformers.models.blip_2.modeling_blip_2"),
    ("import transformers.models.auto.auto_factory", "import vlm_demo"),
    ("import vlm_demo", "from transformers import AutoTokenizer"),
]


def test_transformers_finds_it_whatever_was_imported_first() -> None:
    """Each of these begins transformers' tables of automatic classes in the middle of another import."""
    found = [
        "from transformers import AutoConfig, AutoModelForImageTextToText as A",
        "config = AutoConfig.for_model('efficientnet_blip2')",
        "assert A._model_mapping[type(config)].__name__ == 'EfficientNetBlip2ForConditionalGeneration'",
        "config = AutoConfig.for_model('efficientnet_idefics')",
        "assert A._model_mapping[type(config)].from_pretrained.__self__.config_class is type(config)",
    ]
    fresh_imports.run_each(["\n".join([*order, *found]) for order in ORDERS])
