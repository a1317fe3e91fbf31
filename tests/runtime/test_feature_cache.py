"""Each picture is encoded and bridged once, whatever other pictures there are."""

import pytest
import torch

from vlm_demo import Pipeline
from vlm_demo.contracts import ImageTokens, PatchFeatures
from vlm_demo.errors import Stopped
from vlm_demo.runtime.feature_cache import ImageTokenCache
from vlm_demo.runtime.lru_store import LruStore


def test_tokens_are_those_of_the_stations(pipe: Pipeline, noise) -> None:
    views = [pipe.view(noise(50, 60, seed)) for seed in range(3)]
    prompt = pipe.stages().prompt("What is it?", [16] * 3)
    pictures = ImageTokenCache(pipe.stages().encoder, pipe.stages().bridge, LruStore(2**20))
    first, known = pictures.patches(views)
    tokens, bridged = pictures.tokens(first, prompt)
    assert (known, bridged) == (0, 0)
    plain = pipe.stages().bridge(pipe.stages().encoder(views))
    assert tokens.counts == plain.counts and tokens.grids == plain.grids
    assert torch.allclose(tokens.embeddings, plain.embeddings, atol=1e-5)
    again, known = pictures.patches([views[2], views[0]])
    others, bridged = pictures.tokens(again, prompt)
    assert (known, bridged) == (2, 2)
    assert torch.equal(others.embeddings, torch.cat([tokens.embeddings[32:], tokens.embeddings[:16]]))
    assert others.names == (tokens.names[2], tokens.names[0]) and len(set(tokens.names)) == 3


def test_a_picture_is_known_by_its_pixels_and_shape(pipe: Pipeline, noise) -> None:
    pictures = ImageTokenCache(pipe.stages().encoder, pipe.stages().bridge, LruStore(2**20))
    one = noise(50, 60, 1)
    assert pictures.patches([pipe.view(one)])[1] == 0
    assert pictures.patches([pipe.view(one.copy())])[1] == 1
    changed = one.copy()
    changed.putpixel((3, 3), (255, 255, 255))
    assert pictures.patches([pipe.view(changed)])[1] == 0


def test_uploads_are_not_kept(pipe: Pipeline, noise) -> None:
    store = LruStore(2**20)
    pictures = ImageTokenCache(pipe.stages().encoder, pipe.stages().bridge, store)
    patches, _ = pictures.patches([pipe.view(noise(50, 60))])
    pictures.tokens(patches, pipe.stages().prompt("What is it?", [16]))
    assert not store.of(PatchFeatures) and len(store.of(torch.Tensor)) == len(store.of(ImageTokens)) == 1
    assert store.bytes == patches[0].features.nbytes + store.of(ImageTokens)[0].embeddings.nbytes


def test_what_was_stopped_is_not_remembered(pipe: Pipeline, noise) -> None:
    store = LruStore(2**20)
    with pytest.raises(Stopped):
        ImageTokenCache(pipe.stages().encoder, pipe.stages().bridge, store).patches(
            [pipe.view(noise(50, 60))], lambda: True
        )
    assert store.bytes == 0
