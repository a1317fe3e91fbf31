"""The encoder's first values do what their names promise."""

import numpy as np
import torch
from transformers import CLIPVisionModel

from vlm_demo.synthetic.scenes import draw_scene
from vlm_demo.training.llava import vision_config
from vlm_demo.training.patches import as_pixel_values, model_pixels
from vlm_demo.training.start import finer, prepare, sine_positions, whiten


def test_neighbours_have_similar_positions_and_distant_ones_do_not():
    positions = torch.nn.functional.normalize(sine_positions(14, 192), dim=-1).reshape(14, 14, -1)
    likeness = (positions[7, 7] * positions).sum(-1)
    assert likeness[7, 7] > likeness[7, 8] > likeness[7, 10] > likeness[7, 13]
    assert torch.allclose(likeness, likeness.T, atol=1e-5)  # both axes count alike


def test_the_patch_embedding_gives_uncorrelated_components_of_like_spread():
    torch.manual_seed(0)
    vit = CLIPVisionModel(vision_config())
    prepare(vit)
    pictures = [draw_scene(np.random.default_rng(seed)).image for seed in range(60)]
    pixels = as_pixel_values(torch.from_numpy(np.stack([model_pixels(image) for image in pictures])))
    whiten(vit, pixels)
    embedding = getattr(vit, "vision_model", vit).embeddings.patch_embedding
    with torch.no_grad():
        out = embedding(pixels).flatten(2).transpose(1, 2).flatten(0, 1)
    spread = out.std(0)
    assert spread[:20].max() / spread[:20].min() < 3  # raw patches: the first component outweighs the twentieth 300 : 1
    correlation = torch.corrcoef(out.T)[:20, :20] - torch.eye(20)
    assert correlation.abs().max() < 0.35


def test_a_finer_kernel_sees_in_an_enlarged_patch_what_the_old_one_saw():
    torch.manual_seed(0)
    kernel, patch = torch.randn(5, 3, 12, 12), torch.randn(1, 3, 12, 12)
    enlarged = torch.nn.functional.interpolate(patch, size=(16, 16), mode="bilinear")
    before = torch.nn.functional.conv2d(patch, kernel)
    after = torch.nn.functional.conv2d(enlarged, finer(kernel, 16))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
