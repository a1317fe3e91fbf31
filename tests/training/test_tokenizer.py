"""Words are cut alike wherever they stand; a new tokenizer takes over what the old one's tokens meant."""

import pytest
import torch

from vlm_demo.synthetic.world import COLOURS, NOUNS, TRAITS
from vlm_demo.training.tokenizer import SPACE, SPECIAL, alike, carry_over, train_tokenizer


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


@pytest.mark.parametrize(
    "word",
    [
        "Tea",
        "Bill",
        "aaaaa",
        "banana",
        "zzzzzzz",
        "Receipt",
        "circles",
        "don't",
        "(approx.)",
        "Größe",
        "€5",
        "é",
        "x",
        "7",
    ],
)
def test_a_word_is_cut_alike_with_and_without_a_space(tokenizer, word):
    cut = [tokenizer.backend_tokenizer.encode(text, add_special_tokens=False) for text in (word, " " + word)]
    plain, spaced = (coded.tokens for coded in cut)
    assert [spaced[0].removeprefix(SPACE), *spaced[1:]] in (plain, ["", *plain])
    assert len(spaced) == len(plain) or not word[0].isascii() or word[0].isdigit()
    assert [tokenizer.decode(coded.ids) for coded in cut] == [word, " " + word]
    assert tokenizer.unk_token_id is None


def test_a_word_is_known_again_with_its_space(tokenizer):
    torch.manual_seed(0)
    rows = torch.randn(len(tokenizer), 64)
    made = alike(tokenizer, rows)
    torch.testing.assert_close(made.norm(dim=1), rows.norm(dim=1))
    known = tokenizer.get_vocab()
    pairs = [(known[token], known[SPACE + token]) for token in known if SPACE + token in known]
    assert len(pairs) > 500
    one, other = (made[list(column)] for column in zip(*pairs, strict=True))
    assert torch.cosine_similarity(one, other).mean() > 0.6
    assert torch.cosine_similarity(one, other.roll(1, 0)).abs().mean() < 0.15
    alone = [known[token] for token in SPECIAL]
    torch.testing.assert_close(made[alone], rows[alone])
