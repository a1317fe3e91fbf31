"""Photos split: a photograph's name → whether it is held out of training.

By name alone, so that training and evaluation agree without a list that both would have to keep. Opens no file.
"""

from __future__ import annotations

import hashlib

from vlm_demo.errors import VlmDemoError

# Per cent of each folder's pictures that are never trained on.
PERCENT = {
    "flickr8k": 8,
    "flickr8k_rest": 4,
    "coco_captions": 8,
    "coco_train": 2,
    "coco_val2017_people": 10,
    "voc2007": 8,
    "stanford40": 8,
    "daquar": 8,
    "caltech101": 8,
    "imagenet": 8,
    "grocery": 8,
    "clothing": 8,
    "pacs": 8,
    "chartqa": 8,
}


def held_out(folder_name: str, image_name: str) -> bool:
    """Whether a picture is kept for evaluation and must not be trained on.

    The first 8 hexadecimal digits of the SHA-256 of ``folder_name/image_name``, modulo 100, are below the folder's
    share in PERCENT.

    Args:
        folder_name: the last part of the folder's path, a key of PERCENT: "flickr8k".
        image_name: the picture as the folder's annotations.jsonl gives it, all of it: "img/00000.jpg".
    Raises:
        VlmDemoError: no share is known for the folder.
    """
    if folder_name not in PERCENT:
        raise VlmDemoError(
            f"How much of the folder {folder_name} is held out is not settled; known are {', '.join(PERCENT)}."
        )
    digest = hashlib.sha256(f"{folder_name}/{image_name}".encode()).hexdigest()
    return int(digest[:8], 16) % 100 < PERCENT[folder_name]
