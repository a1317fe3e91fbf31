"""Caches that lie in one tensor, against the same ones row by row."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DynamicCache, LlamaConfig

from vlm_demo.runtime import attention_tap, batch_cache
from vlm_demo.runtime.kv_cache import ROOM, empty

LAYERS, HEADS, WIDTH = 2, 2, 4


def cache(tokens: int, dtype: torch.dtype = torch.float32) -> DynamicCache:
    """A cache that holds so many tokens."""
    made = empty(LlamaConfig(num_hidden_layers=LAYERS))
    for layer in made.layers:
        layer.update(*(torch.randn(1, HEADS, tokens, WIDTH).to(dtype) for _ in range(2)))
    return made


def write(caches: list[DynamicCache], new: list[torch.Tensor]) -> None:
    """Append a token to each cache, of keys and values [caches, heads, 1, d]."""
    step = batch_cache.joined(caches)
    for i in range(LAYERS):
        step.update(*new, i)


def stacks(caches: list[DynamicCache]) -> list[object]:
    return [layer.place and layer.place[0] for one in caches for layer in one.layers]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_stack_holds_what_rows_of_their_own_hold(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    stacked = [cache(tokens, dtype) for tokens in (5, 9, 7)]
    apart = copy.deepcopy(stacked)
    # All, some in another order, one alone, one with a newcomer, and all again, beyond the room that there was.
    for chosen in [(0, 1, 2), (2, 0), (1,), *[(0, 1, 2)] * (ROOM + 2)]:
        new = [torch.randn(len(chosen), HEADS, 1, WIDTH).to(dtype) for _ in range(2)]
        write([stacked[i] for i in chosen], new)
        with monkeypatch.context() as patch:
            patch.setattr(batch_cache, "MOST_STACKED", 0)
            write([apart[i] for i in chosen], new)
    for one, other in zip(stacked, apart, strict=True):
        for layer, expected in zip(one.layers, other.layers, strict=True):
            assert torch.equal(layer.keys, expected.keys) and torch.equal(layer.values, expected.values)
    assert None not in stacks(stacked) and set(stacks(apart)) == {None}


def test_rows_stay_where_they_lie_until_one_joins_or_there_is_no_room() -> None:
    caches = [cache(5), cache(9)]
    prompt = [layer.keys for layer in caches[0].layers]
    kept = [keys.clone() for keys in prompt]
    found = []
    for chosen in [caches, caches[:1], caches[::-1], [*caches, cache(6)], *[caches] * ROOM]:
        write(chosen, [torch.randn(len(chosen), HEADS, 1, WIDTH) for _ in range(2)])
        found.append(caches[0].layers[0].keys.data_ptr())
    moved = [one != other for one, other in zip(found, found[1:], strict=False)]
    assert moved == [False, False, True, *[False] * (ROOM - 1), True]
    assert all(torch.equal(one, other) for one, other in zip(prompt, kept, strict=True))


def test_a_step_that_is_cut_back_is_written_anew() -> None:
    caches = [cache(5), cache(9)]
    held = [layer.keys.clone() for layer in caches[0].layers]
    for _ in range(2):
        new = [torch.randn(2, HEADS, 1, WIDTH) for _ in range(2)]
        write(caches, new)
        assert torch.equal(caches[0].layers[1].keys, torch.cat([held[1], new[0][:1]], 2))
        for one, length in zip(caches, (5, 9), strict=True):
            batch_cache.cut_back(one, length)


@pytest.mark.parametrize("lengths", [(3, 40 * ROOM, 5), (batch_cache.MOST_STACKED // (64 * LAYERS), ROOM)])
def test_neither_very_different_nor_very_long_rows_are_stacked(lengths: tuple[int, ...]) -> None:
    caches = [cache(tokens) for tokens in lengths]
    write(caches, [torch.randn(len(caches), HEADS, 1, WIDTH) for _ in range(2)])
    assert set(stacks(caches)) == {None}
    assert [one.get_seq_length() for one in caches] == [length + 1 for length in lengths]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_attention_over_a_stack_is_that_of_each_row(dtype: torch.dtype, tolerance: float) -> None:
    """Of two of three slots, in another order, with a recorder for one of them; two query heads share a key head."""
    module = torch.nn.Module()
    caches = [cache(tokens, dtype) for tokens in (5, 9, 7)]
    write(caches, [torch.randn(3, HEADS, 1, WIDTH).to(dtype) for _ in range(2)])
    chosen = [caches[2], caches[0]]
    query, new = torch.randn(2, 2 * HEADS, 1, WIDTH).to(dtype), [torch.randn(2, HEADS, 1, WIDTH).to(dtype)] * 2
    recorders = [None, attention_tap.Recorder(torch.arange(2, 4), 1, None)]
    keys, values = batch_cache.joined(chosen).update(*new, 0)
    assert isinstance(keys, batch_cache.Padded)
    with attention_tap.recording_each(recorders):
        output, _ = attention_tap.tapped_sdpa(module, query, keys, values, None)
    assert output.shape == (2, 1, 2 * HEADS, WIDTH) and output.dtype == dtype
    for i, one in enumerate(chosen):
        layer = one.layers[0]
        repeated = [states.repeat_interleave(2, 1) for states in (layer.keys, layer.values)]
        expected = torch.nn.functional.scaled_dot_product_attention(query[i : i + 1], *repeated)
        assert (output[i] - expected[0].transpose(0, 1)).abs().max() < tolerance
    scores = query[1].float() @ chosen[1].layers[0].keys[0].repeat_interleave(2, 0).float().transpose(1, 2)
    rows = recorders[1].rows()
    assert (rows.image[0, 0] - (scores * WIDTH**-0.5).softmax(-1)[:, 0, 2:4]).abs().max() < 1e-5
