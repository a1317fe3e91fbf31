"""`python -m vlm_demo train`: trains the embedded models, and prepares and measures what belongs to their training."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application
from vlm_demo.cli.train_options import (
    AlignEpochs,
    AlignPictures,
    CaptionMinutes,
    Drawn,
    ExportOnly,
    ImageSize,
    Init,
    InitShare,
    LabelMinutes,
    Layers,
    Minutes,
    Out,
    Photos,
    ProjectorMinutes,
    Resume,
    Runs,
    Seed,
    Steps,
    TowerStages,
    TrainingOptions,
)
from vlm_demo.errors import VlmDemoError
from vlm_demo.models.efficientnet_lite_config import STRIDE
from vlm_demo.trust import Trust

app = application("Train the embedded models, and prepare and measure what belongs to their training.")
OUT = Path("assets/models")
DRAWN = Path("runs/drawn")
RUNS = Path("runs")
HELD_PHOTOS = 1000  # at most, for the recall of clip
# A model that answers → the module that trains it: its ``run`` trains, its ``spent`` returns what that took; see
# ``training.prepare.Training``.
TRAINERS = {
    "llava": "finetune",
    "llava-vit": "finetune",
    "blip2": "qformer_training",
    "idefics": "cross_attention",
}
ALONE = ("blip2",)  # trained by one process only


# -- models that answer: the signatures are read by Typer, the values from its context --------------------------


@app.command(cls=Command)
def llava(
    context: typer.Context,
    photos: Photos,
    drawn: Drawn = DRAWN,
    out: Out = OUT / "llava",
    runs: Runs = RUNS,
    init: Init = None,
    init_share: InitShare = 0.0,
    resume: Resume = False,
    export_only: ExportOnly = False,
    minutes: Minutes = 75.0,
    align_pictures: AlignPictures = 9000,
    align_epochs: AlignEpochs = 4,
    projector_minutes: ProjectorMinutes = 4.0,
    caption_minutes: CaptionMinutes = 0.0,
    label_minutes: LabelMinutes = 0.0,
    steps: Steps = 0,
    tower_stages: TowerStages = 0,
    layers: Layers = 0,
    image_size: ImageSize = 0,
    seed: Seed = 0,
    threads: options.Threads = 2,
) -> None:
    """Train the embedded llava's projector and LoRA on photographs and drawings."""
    _train_and_export(context)


@app.command(cls=Command)
def llava_vit(
    context: typer.Context,
    photos: Photos,
    drawn: Drawn = DRAWN,
    out: Out = OUT / "llava-vit",
    runs: Runs = RUNS,
    init: Init = None,
    init_share: InitShare = 0.0,
    resume: Resume = False,
    export_only: ExportOnly = False,
    minutes: Minutes = 75.0,
    align_pictures: AlignPictures = 9000,
    align_epochs: AlignEpochs = 4,
    projector_minutes: ProjectorMinutes = 4.0,
    caption_minutes: CaptionMinutes = 0.0,
    label_minutes: LabelMinutes = 0.0,
    steps: Steps = 0,
    seed: Seed = 0,
    threads: options.Threads = 2,
) -> None:
    """Train the same behind a DINOv2 ViT."""
    _train_and_export(context)


@app.command(cls=Command)
def blip2(
    context: typer.Context,
    photos: Photos,
    drawn: Drawn = DRAWN,
    out: Out = OUT / "blip2",
    runs: Runs = RUNS,
    init: Init = None,
    resume: Resume = False,
    export_only: ExportOnly = False,
    minutes: Minutes = 75.0,
    pictures: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="captioned photographs that are compared with their texts (285 KB of disk each)",
        ),
    ] = 12000,
    compare_minutes: Annotated[
        float, typer.Option(metavar="N", help="of comparing them (ITC and ITM), before anything else")
    ] = 30.0,
    align_epochs: AlignEpochs = 10,
    seed: Seed = 0,
    threads: options.Threads = 2,
) -> None:
    """Train a Q-Former between vision encoder and language model."""
    _train_and_export(context)


@app.command(cls=Command)
def idefics(
    context: typer.Context,
    photos: Photos,
    drawn: Drawn = DRAWN,
    out: Out = OUT / "idefics",
    runs: Runs = RUNS,
    init: Init = None,
    resume: Resume = False,
    export_only: ExportOnly = False,
    minutes: Minutes = 75.0,
    align_pictures: AlignPictures = 9000,
    align_epochs: AlignEpochs = 2,
    seed: Seed = 0,
    threads: options.Threads = 2,
) -> None:
    """Train gated cross-attention layers in the language model."""
    _train_and_export(context)


def _train_and_export(context: typer.Context) -> None:
    from vlm_demo.training.data_parallel import init_peers
    from vlm_demo.training.export import export_run
    from vlm_demo.training.recipes import RECIPES

    values = dict(context.params)
    run = TrainingOptions(**{field.name: values.pop(field.name) for field in fields(TrainingOptions)})
    name = str(context.info_name)
    if name in ALONE and init_peers().world_size > 1:
        raise VlmDemoError(f"{name} is trained by one process: start it without torchrun.")
    folder, training = run.runs / name, import_module(f"vlm_demo.training.{TRAINERS[name]}")
    recipe = _varied(RECIPES[name], values.pop("layers", 0), values.pop("image_size", 0))
    init_share = values.pop("init_share", 0.0)
    if init_share and not (run.init and run.init.is_file()):
        raise VlmDemoError("--init-share mixes the weights of --init in: name their file.")
    if run.export_only:
        _require_checkpoint(folder, "to export; train first, or name another with --runs")
    else:
        _train(run, training, folder, recipe, context.obj, stages=values)
        if not init_peers().is_main:
            return
    export_run(folder, run.out, recipe, run.init, init_share)
    _record_history(folder, run.out, training)


def _varied(recipe: Any, layers: int, image_size: int) -> Any:
    """The recipe with another number of layers or another size, where given."""
    if image_size % STRIDE:
        raise VlmDemoError(f"Squares of {image_size} pixels hold no whole image tokens: give a multiple of {STRIDE}.")
    return replace(recipe, language_layers=layers, image_size=image_size or recipe.image_size)


def _train(
    run: TrainingOptions, training: Any, folder: Path, recipe: Any, line: str, stages: dict[str, int | float]
) -> None:
    if run.init and not run.init.is_file():
        raise VlmDemoError(f"There are no weights {run.init} to begin with.")
    if run.resume:
        _require_checkpoint(folder, "to go on from; leave out --resume")
    _seed(run.seed, run.threads)

    from vlm_demo.training import chat_turns, record
    from vlm_demo.training.data_parallel import init_peers
    from vlm_demo.training.prepare import prepare

    chat_turns.write(run.drawn)
    parts, data, held = prepare(recipe, training, [*run.photos, run.drawn], run.init, _show_progress)
    if init_peers().is_main:
        record.note_start(folder, line, run.init, run.resume)
    training.run(
        parts,
        data,
        held,
        folder,
        run.minutes,
        resume=run.resume,
        seed=run.seed,
        **stages,
    )


def _require_checkpoint(folder: Path, what: str) -> None:
    from vlm_demo.training.record import CHECKPOINT

    if not (folder / CHECKPOINT).is_file():
        raise VlmDemoError(f"{folder} holds no {CHECKPOINT} {what}.")


def _seed(seed: int, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)


def _record_history(folder: Path, out: Path, training: Any) -> None:
    from vlm_demo.training import record

    record.write(folder, out, training.spent(folder))
    print(f"saved {out}")


def _show_progress(_fraction: float | None, text: str) -> None:
    print(f"\r{text}", end="", file=sys.stderr, flush=True)


# -- others -----------------------------------------------------------------------------------------------------


@app.command(cls=Command)
def clip(
    context: typer.Context,
    photos: Photos,
    out: Out = OUT / "clip",
    runs: Runs = RUNS,
    export_only: ExportOnly = False,
    pictures: Annotated[int, typer.Option(min=1, metavar="N", help="at most")] = 40_000,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="how often each is seen")] = 16,
    seed: Seed = 0,
    threads: options.Threads = 2,
) -> None:
    """Train what compares photographs with texts."""
    folder = runs / "clip"
    if export_only:
        _require_checkpoint(folder, "to export; train first, or name another with --runs")
    from vlm_demo.training import contrastive, record
    from vlm_demo.training.recipes import RECIPES

    if not export_only:
        _seed(seed, threads)
        trained_on = contrastive.photos(photos, False, pictures, seed)
        held_out = contrastive.photos(photos, True, HELD_PHOTOS, seed)
        record.note_start(folder, context.obj, None, False)
        contrastive.run(trained_on, held_out, folder, RECIPES["clip"], epochs=epochs, seed=seed)
    contrastive.export(folder, out, RECIPES["clip"])
    _record_history(folder, out, contrastive)


@app.command(cls=Command)
def ocr(
    photos: Annotated[Path, typer.Option(metavar="FOLDER", help="holds the folder chartqa")],
    drawn: Annotated[Path, typer.Option(metavar="FOLDER", help="gets ocr/chartqa.jsonl")] = DRAWN,
) -> None:
    """Read the text of photographed charts with Tesseract once, for training."""
    from vlm_demo.training.photo_ocr import harvest

    options.require_ocr()
    file = drawn / "ocr" / "chartqa.jsonl"
    print(f"{harvest(photos / 'chartqa', file)} pictures read into {file}")


@app.command(cls=Command)
def world(
    pictures: Annotated[list[Path], typer.Option(metavar="FOLDER ...", help="pictures like those trained on")],
    model: options.Model = "llava",
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="of them at most")] = 6000,
    seed: Annotated[int, typer.Option(metavar="N", help="of the choice among them")] = 0,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="gets training_pictures.safetensors")] = OUT / "llava",
) -> None:
    """Fit what tells pictures like those trained on from others."""
    from vlm_demo.explain.out_of_distribution import FILE, save
    from vlm_demo.training.fit_out_of_distribution import fitted, pictures_in

    if not out.is_dir():
        raise VlmDemoError(f"There is no folder {out} to write {FILE} into.")
    chosen = pictures_in(pictures, count, seed)
    model_options = options.ModelOptions(model, quantize, device, Trust(trust_remote_code, allow_pickle))
    training_pictures, inside_share = fitted(options.load(model_options), chosen)
    save(out, training_pictures)
    print(f"inside: {inside_share:.1%} of pictures that decided nothing")
    print(f"saved {out / FILE}")


@app.command(cls=Command)
def heatmaps(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where they are written")],
    scenes: Annotated[int | None, typer.Option(metavar="N", help="of each of two sorts; default: as shipped")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="default: what training draws from")] = None,
) -> None:
    """Draw the scenes that evaluate --pointing --choose chooses a default map by."""
    from vlm_demo.training.heatmaps import SCENES, SEED, draw

    scenes = SCENES if scenes is None else scenes
    draw(folder, SEED if seed is None else seed, scenes)
    print(f"{2 * scenes} items in {folder}")


@app.command(cls=Command)
def curve(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="log.jsonl of a run's folder, or beside shipped weights")],
    plot: Annotated[Path, typer.Option(metavar="FILE", help="the picture, .png or .svg")],
) -> None:
    """Draw what a run's log holds."""
    from vlm_demo.training.curve import draw

    draw(log, plot)
    print(f"saved {plot}")
