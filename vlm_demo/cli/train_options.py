"""Options that the commands which train have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.models.embedded import TRAINED

# Options of every model's command.
Photos = Annotated[
    list[Path],
    typer.Option(
        default_factory=list, show_default=False, metavar="FOLDER ...", help="hold folders of annotated photographs"
    ),
]
Runs = Annotated[Path, typer.Option(metavar="FOLDER", help="folder of checkpoints and logs")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="where the trained weights go")]
ExportOnly = Annotated[bool, typer.Option("--export-only", help="train nothing; write the checkpoint's weights to OUT")]
Seed = Annotated[int, typer.Option(metavar="N", help="of new weights and of the order of the samples")]
# Further options of the models that answer.
Drawn = Annotated[Path, typer.Option(metavar="FOLDER", help="what train-shards wrote")]
Minutes = Annotated[float, typer.Option(metavar="N", help="of the language model's loss")]
Resume = Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in RUNS, in the folder of that name")]
Init = Annotated[Path | None, typer.Option(metavar="FILE", help=f"begin with the weights of this {TRAINED}")]
# Of training stages before the language model's loss, which only some models have.
AlignPictures = Annotated[
    int, typer.Option(min=1, metavar="N", help="pictures whose features are aligned with words first")
]
AlignEpochs = Annotated[int, typer.Option(min=1, metavar="N", help="of aligning features with words")]
ProjectorMinutes = Annotated[float, typer.Option(metavar="N", help="of the projector alone, after its alignment")]
# And of those after it.
CaptionMinutes = Annotated[
    float, typer.Option(metavar="N", help="of captions that are sampled and scored by CIDEr-D, beside that loss")
]
LabelMinutes = Annotated[
    float, typer.Option(metavar="N", help="of labelled pictures, charts and short texts, without descriptions, at last")
]
InitShare = Annotated[
    float, typer.Option(min=0, max=1, metavar="SHARE", help="of INIT's weights that is mixed into what is written")
]
# Variations of a recipe.
Steps = Annotated[int, typer.Option(min=0, metavar="N", help="of the language model's loss, instead of MINUTES")]
Layers = Annotated[
    int, typer.Option(min=0, metavar="N", help="of the language model: its first half and the last; 0 = all")
]
TowerStages = Annotated[
    int, typer.Option(min=0, metavar="N", help="of the vision tower, the last, that are trained too")
]
ImageSize = Annotated[
    int, typer.Option(min=0, metavar="PIXELS", help="side of the square that the encoder sees; 0 = the recipe's")
]


@dataclass(frozen=True)
class TrainingOptions:
    """The options that the models which answer have in common: see their help."""

    photos: list[Path]
    drawn: Path
    out: Path
    runs: Path
    init: Path | None
    resume: bool
    export_only: bool
    minutes: float
    seed: int
    threads: int
