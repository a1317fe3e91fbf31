"""The cache with room, against transformers' cache."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from vlm_demo.runtime.kv_cache import ROOM, PreallocatedLayer, empty
from vlm_demo.runtime.lru_store import size_of


def states(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(1, 2, tokens, 4), torch.randn(1, 2, tokens, 3)


@pytest.mark.parametrize("lengths", [(5, 1, 1, 1), (1, ROOM, 1, 2 * ROOM, 1), (3, ROOM - 1, 1, 1)])
def test_it_holds_what_a_growing_cache_holds(lengths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, other = PreallocatedLayer(), DynamicLayer()
    for tokens in lengths:
        new = states(tokens)
        for made, expected in zip(layer.update(*new), other.update(*new), strict=True):
            assert torch.equal(made, expected)
    assert layer.get_seq_length() == sum(lengths)


def test_a_token_is_written_without_moving_the_others() -> None:
    layer = PreallocatedLayer()
    places = [layer.update(*states(tokens))[0].data_ptr() for tokens in (5, *[1] * (ROOM + 2))]
    moved = [place != before for before, place in zip(places, places[1:], strict=False)]
    assert moved == [True, *[False] * ROOM, True]


def test_a_prompt_takes_its_own_bytes_and_no_more() -> None:
    layer = PreallocatedLayer()
    for tokens in (5, 7):
        layer.update(*states(tokens))
    assert size_of((layer.keys, layer.values)) == 12 * 2 * (4 + 3) * 4


def test_what_was_handed_out_never_changes() -> None:
    layer = PreallocatedLayer()
    keys, values = layer.update(*states(5))
    kept = keys.clone(), values.clone()
    layer.crop(-2)
    first, _ = layer.update(*states(1))
    # Two more that begin where the first one stood, such as a second question about the same picture.
    resumed = [PreallocatedLayer(), PreallocatedLayer()]
    for other in resumed:
        other.lazy_initialization(keys, values)
        other.keys, other.values = keys[..., :4, :], values[..., :4, :]
        other.update(*states(2))
    assert torch.equal(keys, kept[0]) and torch.equal(values, kept[1])
    assert torch.equal(first[..., :3, :], kept[0][..., :3, :])
    for other in resumed:
        assert torch.equal(other.keys[..., :4, :], kept[0][..., :4, :])
    assert not torch.equal(resumed[0].keys, resumed[1].keys)


def test_rows_of_a_batch_can_be_chosen_in_between() -> None:
    layer = PreallocatedLayer()
    layer.update(torch.randn(3, 2, 5, 4), torch.randn(3, 2, 5, 4))
    layer.batch_select_indices(torch.tensor([2]))
    held = layer.keys.clone()
    keys, _ = layer.update(torch.randn(1, 2, 1, 4), torch.randn(1, 2, 1, 4))
    assert keys.shape == (1, 2, 6, 4) and torch.equal(keys[..., :5, :], held)


def test_sliding_windows_stay_as_transformers_has_them() -> None:
    config = LlamaConfig(num_hidden_layers=2, sliding_window=8, layer_types=["full_attention", "sliding_attention"])
    assert [type(layer) for layer in empty(config).layers] == [PreallocatedLayer, DynamicSlidingWindowLayer]
