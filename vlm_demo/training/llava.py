"""LLaVA recipe: CLIP-style ViT → projector → LLaMA-style language model, from nothing, in four stages.

1. ``vit``: the encoder learns to name patches (`patches.py`).
2. ``read``: the language model learns to answer about pictures that are told to it in words, patch by patch.
3. ``align``: encoder and language model are frozen; the projector alone learns to translate.
4. ``tune``: all of it is trained, the encoder slowly and with the patch labels still before its eyes.

The projector is LLaVA-1.5's two-layer MLP, or the linear one of the first LLaVA: the same class with the identity as
its activation.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from vlm_demo.training import shared
from vlm_demo.training.data import PatchBatches, QuestionBatches, loader
from vlm_demo.training.focus import Focus
from vlm_demo.training.gaze import GAZE_WEIGHT, decoders, gaze_loss, watched
from vlm_demo.training.ocr_marks import MARK, marks
from vlm_demo.training.packing import block_mask
from vlm_demo.training.patches import (
    GRID,
    IMAGE_SIZE,
    PATCH_SIZE,
    PatchHead,
    as_pixel_values,
    patch_accuracy,
    patch_loss,
)
from vlm_demo.training.start import finer, prepare, whiten
from vlm_demo.training.tokenizer import alike, carry_over, train_tokenizer, with_marks
from vlm_demo.training.words import PatchWords, nearness, patch_words, spoken, word_loss

SHARES = {"vit": 0.22, "read": 0.18, "align": 0.1, "tune": 0.5}  # of the time
BRIDGES = {"mlp": "gelu", "linear": "linear"}  # the projector's activation
BRIDGE_FILE, BLEND_FILE = "bridge.txt", "start.pt"
PATCH_WEIGHT, WORD_WEIGHT = 0.3, 0.1


def vision_config() -> CLIPVisionConfig:
    """The encoder's shape: 224 / 16 → 14 × 14 patches, six layers of 192."""
    return CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=3,
        hidden_act="gelu_pytorch_tanh",
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
    )


def build(tokenizer: PreTrainedTokenizerFast, bridge: str = "mlp") -> LlavaForConditionalGeneration:
    """The untrained model in float32, with one of BRIDGES as its projector."""
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=vision_config(),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(IMAGE_SIZE // PATCH_SIZE) ** 2,
        projector_hidden_act=BRIDGES[bridge],
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def vit_loss(batch: dict[str, Tensor], vit: CLIPVisionModel, head: PatchHead, device: str) -> dict[str, Tensor]:
    """The patch-label loss of stage 1."""
    batch = shared.moved(batch, device)
    with shared.autocast(device):
        outputs = head(vit(as_pixel_values(batch["pixels"])).last_hidden_state[:, 1:])
    return {
        "total": patch_loss(outputs, batch),
        "patches_right": patch_accuracy(outputs, batch),
        "examples": torch.tensor(len(batch["pixels"])),
    }


def answer_loss(
    batch: dict[str, Tensor],
    model: LlavaForConditionalGeneration,
    head: PatchHead,
    words: PatchWords,
    stage: str,
    device: str,
    focus: Focus | None = None,
) -> dict[str, Tensor]:
    """Next-token loss on the answers, logits only where a token is predicted; while the encoder is trained plus the
    patch labels.

    Beside it every image token on an object learns to speak the language model's language: to lie near the input
    embeddings of the words for its shape, colour, traits and place, and to have these words as the model's next token
    there. In ``read`` the image tokens are these words. A few heads are shown where to look (`gaze.py`).
    ``right`` is the share of answer tokens whose most likely token is the right one.
    """
    batch = shared.moved(batch, device)
    core = model.model
    translation = patches = torch.zeros((), device=device)
    seen, encoding = "pixels" in batch, next(core.vision_tower.parameters()).requires_grad
    with shared.autocast(device):
        embedded = core.language_model.embed_tokens(batch["ids"])
        where = batch["ids"] == model.config.image_token_id
        if seen:
            if stage == "read":
                image_tokens = spoken(batch, words, core.language_model.embed_tokens)
            else:
                with torch.set_grad_enabled(encoding):
                    features = core.vision_tower(as_pixel_values(batch["pixels"])).last_hidden_state[:, 1:]
                image_tokens = core.multi_modal_projector(features)
            embedded = embedded.to(image_tokens.dtype).masked_scatter(where[..., None], image_tokens.flatten(0, 1))
        with watched(decoders(core.language_model)) as attentions:
            hidden = core.language_model(
                inputs_embeds=embedded,
                attention_mask=block_mask(batch["blocks"], embedded.dtype),
                position_ids=batch["positions"],
                use_cache=False,
            ).last_hidden_state
        losses = shared.answer_losses(hidden, model.lm_head, batch, focus)
        if seen and stage != "read":
            shown, told = (batch["shape"] > 0).flatten(), image_tokens.flatten(0, 1)
            asked_words, said_words = (patch_words(batch, form)[shown] for form in (words.asked, words.said))
            near = nearness(told[shown], core.language_model.embed_tokens.weight)
            said = model.lm_head(hidden[where][shown])
            costs = word_loss(near, asked_words) + word_loss(said, said_words)
            translation = costs.sum() / max(len(costs), 1)
        if seen and encoding:
            patches = patch_loss(head(features), batch)
    gazes = gaze_loss(attentions, batch)
    total = losses["total"] + WORD_WEIGHT * translation + PATCH_WEIGHT * patches + GAZE_WEIGHT * gazes
    own = {"total": total, "answers": losses["answers"], "words": translation, "gaze": gazes}
    return own | {key: losses[key] for key in ("right", "examples")}


def train(
    folder: Path,
    minutes: float,
    seed: int,
    device: str,
    workers: int,
    resume: bool,
    start: Path | None = None,
    stages: tuple[str, ...] = tuple(SHARES),
    retokenize: bool = False,
    bridge: str | None = None,
    steps: int | None = None,
    keep_encoder: bool = False,
    blend: bool = False,
) -> dict[str, dict]:
    """Run the ``stages`` (each resumes where it stopped) and return what each did; checkpoints go to ``folder``.

    Args:
        start: a checkpoint that an earlier run exported, to go on from.
        stages: which of SHARES, the time being divided among them in these proportions.
        retokenize: learn a new tokenizer, as the world has grown since ``start``, instead of taking over its.
        bridge: the projector, one of BRIDGES, which begins anew; None = that of ``start``, or mlp.
        steps: of each stage, instead of minutes.
        keep_encoder: ``tune`` leaves the encoder as it is, so that families that share it stay as they are too.
        blend: `load_latest` shall return the mean of the weights of ``start`` and of those trained from it; not with
            ``bridge``, which begins anew.
    """
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    if not resume:
        (folder / BLEND_FILE).unlink(missing_ok=True)
    if start is not None and not retokenize and not (folder / "tokenizer").exists():
        known = PreTrainedTokenizerFast.from_pretrained(start)
        (known if marks(known) else with_marks(known, GRID * GRID)).save_pretrained(folder / "tokenizer")
    tokenizer = _tokenizer(folder, seed)
    kind = bridge or (_bridge_of(start) if start else "mlp")
    (folder / BRIDGE_FILE).write_text(kind)
    model = build(tokenizer, kind)
    if start is not None:
        state = carried(start, tokenizer)
        if bridge:
            state |= {key: value for key, value in model.state_dict().items() if "projector" in key}
        model.load_state_dict(state)
        if marks(tokenizer) and not marks(PreTrainedTokenizerFast.from_pretrained(start)):
            sample = next(iter(loader(PatchBatches(seed + 2, 0, size=200), 1)))
            give_places(model, tokenizer, as_pixel_values(sample["pixels"]))
        if blend and not (folder / BLEND_FILE).exists():
            torch.save(model.state_dict(), folder / BLEND_FILE)
    shared.ready(model, device)
    core, head = model.model, PatchHead(vision_config().hidden_size).to(device)
    vit = core.vision_tower
    bridge_part, writers = core.multi_modal_projector, [core.language_model, model.lm_head]
    words = PatchWords.of(tokenizer, device)
    recipe = shared.Recipe(folder, minutes, resume, {name: SHARES[name] for name in stages}, steps=steps)

    if start is None and not (folder / "vit.pt").exists():
        prepare(vit)
        sample = next(iter(loader(PatchBatches(seed + 2, 0, size=200), 1)))
        whiten(vit, as_pixel_values(sample["pixels"]).to(device))
    recipe.stage(
        "vit",
        {"vit": vit, "head": head},
        groups([vit, head], 6e-4, 1.2e-3),
        lambda start: loader(PatchBatches(seed, start), workers),
        partial(vit_loss, vit=vit, head=head, device=device),
    )
    focus = Focus()
    whole = {"model": model, "head": head, "focus": focus}

    def asking(name: str, groups, offset: int) -> None:
        seen = focus if name == "tune" else None  # projectors, which `align` trains, are compared on the same pictures

        def batches(at: int):
            asked = QuestionBatches(seed + offset, at, tokenizer, folder.parent, name != "align", seen)
            return loader(asked, workers)

        loss_of = partial(answer_loss, model=model, head=head, words=words, stage=name, device=device, focus=seen)
        recipe.stage(name, whole, groups, batches, loss_of)

    asking("read", groups(writers, 1e-3, 2e-3), 2)
    asking("align", groups([bridge_part], 1e-3, 2e-3), 0)
    encoding = [] if keep_encoder else groups([vit, head], 4e-4, 8e-4)
    asking("tune", groups([bridge_part, *writers], 6e-4, 1.2e-3) + encoding, 1)
    if "tune" in recipe.done:
        (folder / "kinds.json").write_text(json.dumps(focus.shares(), indent=1))
    return recipe.done


def _bridge_of(start: Path) -> str:
    activation = LlavaConfig.from_pretrained(start).projector_hidden_act
    return next(name for name, known in BRIDGES.items() if known == activation)


def carried(start: Path, tokenizer: PreTrainedTokenizerFast) -> dict[str, Tensor]:
    """The weights of an exported checkpoint for `build`'s model, which may have finer patches and another tokenizer."""
    state = LlavaForConditionalGeneration.from_pretrained(start, dtype=torch.float32).state_dict()
    old = PreTrainedTokenizerFast.from_pretrained(start)
    for key in [key for key in state if "patch_embedding" in key]:
        state[key] = finer(state[key], PATCH_SIZE)
    for key in [key for key in state if "embed_tokens" in key or "lm_head" in key]:
        state[key] = carry_over(old, tokenizer, state[key])
        if "embed_tokens" in key and not old.get_vocab().keys() <= tokenizer.get_vocab().keys():  # cut in another way
            state[key] = alike(tokenizer, state[key])
    return state


@torch.no_grad()
def give_places(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, pixels: Tensor) -> None:
    """Let each mark (`training/ocr_marks.py`) begin as what the image tokens of its patch have in common, as large as a
    word's embedding: the two find each other from the first step. ``pixels`` [B, 3, H, W] are of many pictures."""
    core = model.model
    told = core.multi_modal_projector(core.vision_tower(pixels).last_hidden_state[:, 1:]).mean(0)
    told = told - told.mean(0)
    words = core.language_model.embed_tokens.weight
    ids = [tokenizer.convert_tokens_to_ids(MARK.format(patch)) for patch in range(len(told))]
    words[ids] = told / told.std() * words.std()


def groups(modules: list[nn.Module], plain: float, muon: float) -> list[dict]:
    """Parameter groups with their peak learning rates: Muon's for the matrices of hidden layers, AdamW's for the rest
    (embeddings, norms, biases, the layers that read pixels and write words)."""
    inner: list[nn.Parameter] = []
    outer: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            hidden = parameter.ndim == 2 and any(part in name for part in ("layers.", "linear_"))
            (inner if hidden else outer).append(parameter)
    return [{"params": outer, "lr": plain}, {"params": inner, "lr": muon, "muon": True}]


def _tokenizer(folder: Path, seed: int) -> PreTrainedTokenizerFast:
    place = folder / "tokenizer"
    if not place.exists():
        with_marks(train_tokenizer(seed), GRID * GRID).save_pretrained(place)
    return PreTrainedTokenizerFast.from_pretrained(place)


def load_latest(folder: Path, seed: int) -> tuple[LlavaForConditionalGeneration, PreTrainedTokenizerFast]:
    """The model of the last stage that has a checkpoint, in float32; if the run was to blend, the mean of its weights
    and of those it went on from, which may answer better than either (Wortsman et al. 2022,
    https://arxiv.org/abs/2203.05482)."""
    tokenizer = _tokenizer(folder, seed)
    told = folder / BRIDGE_FILE
    model = build(tokenizer, told.read_text() if told.exists() else "mlp")
    name = next(name for name in reversed(SHARES) if name != "vit" and (folder / f"{name}.pt").exists())
    state = torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True)["model"]
    if (folder / BLEND_FILE).exists():
        before = torch.load(folder / BLEND_FILE, map_location="cpu", weights_only=True)
        state = {key: (before[key] + trained) / 2 for key, trained in state.items()}
    model.load_state_dict(state)
    return model.eval(), tokenizer


def save(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """Write an ordinary transformers checkpoint in bf16: weights, tokenizer, image processor, chat template."""
    from transformers import LlavaProcessor

    processor = LlavaProcessor(
        image_processor=shared.image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        chat_template=tokenizer.chat_template,
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    shared.save_weights(model, tokenizer, target)
    processor.save_pretrained(target)
