"""BLIP-2 recipe: the encoder and the language model stay as they are, and a Q-Former learns to stand between them.

1. ``refit``: `Blip2VisionModel` has no layer norm before its first layer as CLIP's has. It starts from the shared
   encoder with that norm folded into the patch embedding as far as a linear map can be, and learns to give the shared
   encoder's features (`distance`). From here on it is frozen.
2. ``represent``: the queries learn to gather from the patches what a caption says: ITC, ITM and LM (`objectives.py`).
3. ``generate``: the queries are projected into the frozen language model, which answers questions through them. Every
   fourth batch repeats stage 2, so that one Q-Former serves both.

From ITC, ITM and LM alone queries learn to look only after millions of pictures. Here the truth of the drawn pictures
helps: the queries share out the picture, one head of each looks at a cell of its own (``gaze``), what it gathers lies
near the words for what is seen there (``words``), and a caption's words are shown the cells that they name. The model
itself is in `qformer.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    Blip2Config,
    Blip2VisionModel,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
)

from vlm_demo.training import objectives, shared
from vlm_demo.training.captions import CaptionBatches
from vlm_demo.training.clip import contrast
from vlm_demo.training.data import PatchBatches, loader
from vlm_demo.training.gaze import GAZE_WEIGHT, watched
from vlm_demo.training.packing import block_mask
from vlm_demo.training.patches import as_pixel_values
from vlm_demo.training.qformer import (
    QUERIES,
    Blip2,
    build,
    cell_gaze,
    cell_words,
    changed,
    looking,
    reading,
    word_gaze,
)
from vlm_demo.training.shared import (
    BridgedQuestions,
    Losses,
    Recipe,
    answer_losses,
    autocast,
    exported,
    groups,
    load,
    moved,
    ready,
    remember,
    remembered,
    word_vectors,
)
from vlm_demo.training.tokenizer import carry_over
from vlm_demo.training.words import PatchWords, nearness, word_loss

SHARES = {"refit": 0.12, "represent": 0.44, "generate": 0.44}
BATCH = 24
REHEARSED = 4  # in `generate` each so many-th batch is one of `represent`
CLAIMS = 2  # of each picture
ITM_WEIGHT = 3.0  # the other losses are several times as large, and ITM is the last to be learnt
WORD_WEIGHT = 0.5
DOUBT_WEIGHT = 1.0
MOST_WRONG = 6  # tokens of a word
ELSEWHERE = 1 / 3  # of the false full captions of ITM: those that are true of another picture


@torch.no_grad()
def refold(student: Blip2VisionModel, teacher: CLIPVisionModel, pixel_values: Tensor) -> None:
    """Start the student where it gives nearly the teacher's features.

    The teacher's first layer norm maps e, a patch's embedding with its position, to g (e - mean) / σ + b. Subtracting
    the mean is linear and goes into the patch embedding and the positions, g and b likewise; σ differs from patch to
    patch and becomes its root mean square over ``pixel_values`` [n, 3, h, w]. The class token meets no picture before
    that norm and is exact.
    """
    embeddings, norm = teacher.embeddings, teacher.pre_layrnorm
    whole = embeddings(pixel_values)
    spread = whole[:, 1:].var(-1, unbiased=False).add(norm.eps).mean().sqrt()
    kernel, positions = embeddings.patch_embedding.weight, embeddings.position_embedding.weight
    centred = (kernel - kernel.mean(0)) * norm.weight[:, None, None, None] / spread
    student.embeddings.patch_embedding.weight.copy_(centred)
    student.embeddings.patch_embedding.bias.zero_()
    placed = (positions - positions.mean(1, keepdim=True)) * norm.weight / spread + norm.bias
    placed[0] = 0
    student.embeddings.position_embedding.copy_(placed[None])
    student.embeddings.class_embedding.copy_(norm(whole[:1, :1]))
    for mine, theirs in zip(student.encoder.layers, teacher.encoder.layers, strict=True):
        attention = theirs.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        mine.self_attn.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        mine.self_attn.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        mine.self_attn.projection.load_state_dict(attention.out_proj.state_dict())
        for name in ("layer_norm1", "layer_norm2", "mlp"):
            getattr(mine, name).load_state_dict(getattr(theirs, name).state_dict())
    student.post_layernorm.weight.fill_(1)
    student.post_layernorm.bias.zero_()


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The share of the teacher's features, each patch's normalised to mean 0 and variance 1 as the student's are, that
    the student's leave unexplained: their mean squared difference."""
    return functional.mse_loss(student.float(), functional.layer_norm(teacher.float(), teacher.shape[-1:]))


def refit_loss(batch: dict[str, Tensor], student: Blip2VisionModel, teacher: CLIPVisionModel, device: str) -> Losses:
    """The `distance` of the two encoders on a batch of pictures."""
    values = as_pixel_values(batch["pixels"].to(device))
    with autocast(device):
        with torch.no_grad():
            wanted = teacher(values).last_hidden_state
        given = student(values).last_hidden_state
    return {"total": distance(given, wanted), "examples": torch.tensor(len(values))}


def represent_loss(batch: dict[str, Tensor], model: Blip2, opener: int, words: PatchWords, device: str) -> Losses:
    """ITC + ITM + LM, and the queries' gaze and words.

    ITC as in `clip.contrast`. ITM judges of every picture its full caption and its claims, and a false one of each:
    with one word changed, or the full caption of a picture that is much like it. There every token is also asked
    whether it is the wrong one (``doubt``: replaced-token detection, Clark et al. 2020,
    https://arxiv.org/abs/2003.10555), and one that names what a cell shows is shown that cell's query (``pointed``).
    LM writes the full caption, beginning
    with the token ``opener`` instead of ``<s>``. ``matched`` is the share of ITM's pairs judged rightly.
    """
    batch = moved(batch, device)
    full, claims, parts = batch["full"], batch["claims"], model.retrieval
    pad, told = parts.config.qformer_config.pad_token_id, full[:, 0]
    with autocast(device), watched(looking(model)) as attentions:
        with torch.no_grad():
            features = parts.vision_model(as_pixel_values(batch["pixels"])).last_hidden_state
        written = torch.cat([torch.full_like(told[:, :1], opener), told[:, 1:]], 1)
        queries, (read, drafts) = model.joint(features, [told, written], ("itc", "lm"))
        gazes = cell_gaze(attentions)
        pictures = parts.vision_projection(queries[:, 0])
        false = model.read(full[:, 1])
        texts = parts.text_projection(torch.stack([read[:, 0], false[:, 0]], 1))
        claimed = parts.text_projection(model.read(claims.flatten(0, 2))[:, 0]).reshape(*claims.shape[:3], -1)
        labels = torch.where(told[:, 1:] == pad, objectives.IGNORED, told[:, 1:])
        shown, names = cell_words(batch, words.asked)
        naming = word_loss(nearness(queries[:, 0][shown], parts.embeddings.word_embeddings.weight), names[shown])
        writing = objectives.lm(model.predicted(drafts[:, :-1]), labels)
    scale = model.temperature()
    contrasts, similarity = contrast(pictures, texts, claimed, scale, batch)
    drawn = [told, _false(full, similarity, scale, batch["same"]), *claims.flatten(1, 2).unbind(1)]
    match = torch.tensor([True, False], device=device).repeat(len(full) * len(drawn) // 2)
    with autocast(device), watched(reading(model)) as attentions:
        judged, judging = model.joint(features, drawn, ("itm",) * len(drawn))
        logits = parts.itm_head(judged).mean(2).flatten(0, 1)
        doubts = [model.doubt(hidden).squeeze(-1) for hidden in judging]
    matching = objectives.itm(logits, match)
    doubted = _doubt(doubts, drawn, pad)
    pointed = word_gaze(attentions[-1], drawn, shown, names)
    return {
        "total": contrasts["total"]
        + ITM_WEIGHT * matching
        + writing
        + WORD_WEIGHT * _mean(naming)
        + DOUBT_WEIGHT * doubted
        + GAZE_WEIGHT * (gazes + pointed),
        "itc": contrasts["total"],
        "itm": matching,
        "lm": writing,
        "words": _mean(naming),
        "gaze": gazes,
        "doubt": doubted,
        "pointed": pointed,
        "matched": ((logits[:, 1] > logits[:, 0]) == match).float().mean(),
        "apart": contrasts["apart"],
        "found": contrasts["found"],
        "examples": torch.tensor(len(full)),
    }


def _mean(losses: Tensor) -> Tensor:
    """Their mean; 0 where there is none."""
    return losses.sum() / max(len(losses), 1)


def _doubt(doubts: list[Tensor], drawn: list[Tensor], pad: int) -> Tensor:
    """How surely the wrong words are told from the right ones: binary cross-entropy, both sorts alike.

    Args:
        doubts: a logit for each token of each of ``drawn``, which stand in pairs of a true text and a false one; one
            that belongs to another picture has too many wrong words to count.
    """
    losses = []
    for i, (logits, text) in enumerate(zip(doubts, drawn, strict=True)):
        wrong = changed(drawn[i - i % 2], text, pad)
        counted = (text != pad) & (wrong.sum(1, keepdim=True) <= MOST_WRONG)
        losses.append((logits[counted], wrong[counted]))
    logits, wrong = (torch.cat(column) for column in zip(*losses, strict=True))
    costs = functional.binary_cross_entropy_with_logits(logits.float(), wrong.float(), reduction="none")
    return (_mean(costs[wrong]) + _mean(costs[~wrong])) / 2


def _false(full: Tensor, similarity: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """A full caption that is false, for each picture [B, T]: its own with one word changed, or a hard one of another
    picture."""
    drawn = objectives.hard_negatives(similarity.detach(), scale.detach(), same)
    elsewhere = (torch.rand(len(full), device=full.device) < ELSEWHERE) & (drawn >= 0)
    return torch.where(elsewhere[:, None], full[drawn.clamp(min=0), 0], full[:, 1])


def generate_loss(batch: dict[str, Tensor], model: Blip2, opener: int, words: PatchWords, device: str) -> Losses:
    """LM on the answers to packed questions, the queries' outputs being the image tokens, and the queries' gaze and
    words; of a batch of captions `represent_loss`."""
    if "same" in batch:
        repeated = represent_loss(batch, model, opener, words, device)
        return {"total": repeated["total"], "examples": repeated["examples"]}
    batch = moved(batch, device)
    parts = model.generator
    with autocast(device), watched(looking(model)) as attentions:
        with torch.no_grad():
            features = parts.vision_model(as_pixel_values(batch["pixels"])).last_hidden_state
        image_tokens = parts.language_projection(model.queried(features))
        embedded = parts.get_input_embeddings()(batch["ids"])
        where = batch["ids"] == parts.config.image_token_id
        embedded = embedded.to(image_tokens.dtype).masked_scatter(where[..., None], image_tokens.flatten(0, 1))
        hidden = parts.language_model.model(
            inputs_embeds=embedded,
            attention_mask=block_mask(batch["blocks"], embedded.dtype),
            position_ids=batch["positions"],
            use_cache=False,
        ).last_hidden_state
        losses = answer_losses(hidden, parts.language_model.lm_head, batch)
        (shown, asked), (_, said) = (cell_words(batch, form) for form in (words.asked, words.said))
        near = nearness(image_tokens[shown], parts.get_input_embeddings().weight)
        next_ = parts.language_model.lm_head(hidden[where].reshape(image_tokens.shape)[shown])
        naming = _mean(word_loss(near, asked[shown]) + word_loss(next_, said[shown]))
    gazes = cell_gaze(attentions)
    total = losses["total"] + WORD_WEIGHT * naming + GAZE_WEIGHT * gazes
    return losses | {"total": total, "words": naming, "gaze": gazes}


def train(
    folder: Path,
    minutes: float,
    seed: int,
    device: str,
    workers: int,
    resume: bool,
    start: Path,
    again: Path | None = None,
    stages: tuple[str, ...] = tuple(SHARES),
) -> dict[str, dict]:
    """Train around the encoder and the language model of the LLaVA in ``start``; returns what each stage did,
    checkpoints go to ``folder``. Of the BLIP-2 in ``again``, trained around the same encoder, all but the language
    model is taken over, and `refit` is left out."""
    torch.manual_seed(seed)
    llava, tokenizer = load(start)
    remember(folder, llava.config, tokenizer)
    model = build(tokenizer, llava.config.vision_config, llava.config.text_config)
    teacher, student = llava.model.vision_tower, model.retrieval.vision_model
    sample = next(iter(loader(PatchBatches(seed + 2, 0, size=32), 1)))
    refold(student, teacher, as_pixel_values(sample["pixels"]))
    model.generator.language_model.model.load_state_dict(llava.model.language_model.state_dict())
    model.generator.language_model.lm_head.load_state_dict(llava.lm_head.state_dict())
    words = model.retrieval.embeddings.word_embeddings
    words.weight.data.copy_(word_vectors(llava, words.num_embeddings))
    if again:
        take_over(model, again, tokenizer)
    for part in (teacher, model):
        ready(part, device)
    names = PatchWords.of(tokenizer, device)
    opener, closer = (tokenizer.convert_tokens_to_ids(token) for token in ("<|assistant|>", "</s>"))
    wanted = {name: share for name, share in SHARES.items() if name in stages and not (again and name == "refit")}
    recipe = Recipe(folder, minutes, resume, wanted)

    def captions(at: int):
        return loader(CaptionBatches(seed, at, tokenizer, closer, BATCH, CLAIMS, labels=True), workers)

    def both(at: int) -> Iterator[dict[str, Tensor]]:
        told = at // REHEARSED
        repeated = iter(loader(CaptionBatches(seed + 1, told, tokenizer, closer, BATCH, CLAIMS, labels=True), 1))
        asked = iter(loader(BridgedQuestions(seed, at - told, tokenizer, folder.parent, QUERIES), workers))
        for number in itertools.count(at):
            yield next(repeated if number % REHEARSED == REHEARSED - 1 else asked)

    recipe.stage(
        "refit",
        {"vision": student},
        groups([student.encoder], [student.embeddings, student.post_layernorm], 4e-4, 4e-4),
        lambda at: loader(PatchBatches(seed, at), workers),
        partial(refit_loss, student=student, teacher=teacher, device=device),
    )
    whole = {"model": model}
    recipe.stage(
        "represent",
        whole,
        qformer_groups(model),
        captions,
        partial(represent_loss, model=model, opener=opener, words=names, device=device),
    )
    recipe.stage(
        "generate",
        whole,
        qformer_groups(model, generating=True),
        both,
        partial(generate_loss, model=model, opener=opener, words=names, device=device),
    )
    return recipe.done


def take_over(model: Blip2, again: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Load all but the language model from an exported BLIP-2, which may have another ``tokenizer``."""
    words = "embeddings.word_embeddings.weight"
    state = {key: rows for key, rows in exported(again).items() if not key.startswith("language_model.")}
    known = state.pop(words)
    for part in (model.retrieval, model.generator):
        own = part.state_dict().keys() & state.keys()
        part.load_state_dict({key: state[key] for key in own}, strict=False)
    carried = carry_over(PreTrainedTokenizerFast.from_pretrained(again), tokenizer, known)
    model.retrieval.get_parameter(words).data[: len(carried)] = carried
    model.temperature.log_scale.data.fill_(Blip2Config.from_pretrained(again).itc_log_scale)


def qformer_groups(model: Blip2, generating: bool = False) -> list[dict]:
    """The Q-Former with its heads, and the projection into the language model, as parameter groups."""
    parts = model.retrieval
    others = [
        parts.qformer.layernorm, parts.embeddings, parts.vision_projection, parts.text_projection, parts.itm_head,
        parts.query_tokens, model.temperature,
    ]  # fmt: skip
    if generating:
        others.append(model.generator.language_projection)
    return groups([parts.qformer.encoder], others, 6e-4, 1.2e-3)


def load_latest(folder: Path) -> tuple[Blip2, PreTrainedTokenizerFast]:
    """The newest state of the run in ``folder``, in float32."""
    config, tokenizer = remembered(folder)
    model = build(tokenizer, config.vision_config, config.text_config)
    name = next(name for name in reversed(SHARES) if name != "refit" and (folder / f"{name}.pt").exists())
    model.load_state_dict(torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True)["model"])
    return model.eval(), tokenizer


def save(model: Blip2, tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """Write one checkpoint in bf16 that both of transformers' classes load: the generator's, in which the heads that
    only the other one has lie beside its weights, under their own names. The temperature, which neither class has, is
    ``itc_log_scale`` in the config, log(1/τ)."""
    model.to(torch.bfloat16)
    generator, retrieval = model.generator, model.retrieval
    own = generator.state_dict().keys()
    more = {key: value for key, value in retrieval.state_dict().items() if key not in own}
    generator.config.itc_log_scale = round(objectives.limited(model.temperature.log_scale).item(), 6)
    shared.save(generator, tokenizer, target, more)
