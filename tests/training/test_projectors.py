"""Both projectors are trained alone and judged on the same pictures, and the card tells what was found."""

import torch

from vlm_demo.training import card, llava, projectors


def test_both_are_trained_and_judged_alike(tmp_path, tokenizer, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(projectors, "JUDGED", 1)
    start = tmp_path / "llava"
    llava.save(llava.build(tokenizer), tokenizer, start)
    found = projectors.compare(tmp_path / "runs", 2, 3, "cpu", 1, start)
    assert set(found) == set(llava.BRIDGES)
    one, other = found.values()
    assert (
        one["examples"] == other["examples"]
        and one["tokens"] == other["tokens"] > 0
        and one["trainable"] == other["trainable"]
    )
    assert all(0 <= told["correct"] <= told["tokens"] and told["examples"] for told in found.values())
    activations = [llava.load_latest(tmp_path / "runs" / f"projector-{name}", 3)[0].config for name in llava.BRIDGES]
    assert [config.projector_hidden_act for config in activations] == list(llava.BRIDGES.values())


def test_the_card_shows_them_once(tmp_path):
    (tmp_path / "README.md").write_text("# llava\n\nbefore\n")
    told = {"trainable": 115_000, "examples": 900, "tokens": 200, "correct": 150, "right": 0.75, "loss": 0.8}
    for right in (0.5, 0.75):
        card.add_projectors(tmp_path, {"linear": told | {"right": right}})
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# llava\n\nbefore\n") and text.count("## Linear") == 1
    assert "| linear | 0.12 M | 900 | 75.0% (68.6% – 80.5%) | 0.800 |" in text
