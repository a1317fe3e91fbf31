"""A new tokenizer takes over what the old one's tokens meant."""

import torch

from vlm_demo.synthetic.world import COLOURS, NOUNS, TRAITS
from vlm_demo.training.tokenizer import SPECIAL, carry_over, train_tokenizer


def test_rows_are_carried_over_by_what_the_tokens_spell(tokenizer):
    old = train_tokenizer(seed=2, pictures=12)
    rows = torch.randn(len(old), 3)
    carried = carry_over(old, tokenizer, rows)
    assert carried.shape == (len(tokenizer), 3)
    for token in (*SPECIAL, "a", "Ġ"):
        mine, theirs = tokenizer.convert_tokens_to_ids(token), old.convert_tokens_to_ids(token)
        assert torch.equal(carried[mine], rows[theirs])
    new = [token for token in tokenizer.get_vocab() if token not in old.get_vocab()]
    assert new
    for token in new[:50]:
        pieces = old(tokenizer.decode([tokenizer.convert_tokens_to_ids(token)]), add_special_tokens=False).input_ids
        torch.testing.assert_close(carried[tokenizer.convert_tokens_to_ids(token)], rows[pieces].mean(0))


def test_every_name_of_the_world_begins_with_a_token_of_its_own(tokenizer):
    for names in (NOUNS, TRAITS, tuple(COLOURS)):
        first = {name: tokenizer(" " + name, add_special_tokens=False).input_ids[0] for name in names}
        assert len(set(first.values())) == len({name.split()[0] for name in names})
