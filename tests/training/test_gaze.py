"""The gaze: targets lie where the truth is, the loss sees exactly the attention they name, and it can be learnt."""

import re

import numpy as np
import pytest
import torch

from vlm_demo.evaluation.answers import matches
from vlm_demo.stages.prompt import OCR_HEADER
from vlm_demo.synthetic.asking import Question
from vlm_demo.synthetic.charts import draw_chart
from vlm_demo.synthetic.printed import spelled
from vlm_demo.synthetic.questions import ask, transcript
from vlm_demo.synthetic.receipts import draw_receipt
from vlm_demo.synthetic.scenes import draw_scene
from vlm_demo.training import attention
from vlm_demo.training.gaze import (
    AIMS,
    COUNTING,
    FIRST_PATCH,
    HALVES,
    SIGHT,
    THIRDS,
    decoders,
    gaze_loss,
    on_patches,
    watched,
)
from vlm_demo.training.llava import build
from vlm_demo.training.ocr_marks import marked
from vlm_demo.training.packing import IGNORED, Packer, block_mask, collate
from vlm_demo.training.patches import COLOUR_INDEX, GRID, SHAPE_INDEX, Places, patch_boxes, patch_labels, places


def test_a_short_answer_looks_at_patches_of_the_right_colour(tokenizer):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        picture = draw_scene(rng)
        labels = patch_labels(picture)
        questions = [q for q in ask(picture, 8, rng) if q.kind == "colour" and q.guess is None]
        packed = Packer(tokenizer, GRID * GRID).pack(questions, None, rng, places(picture, labels))
        for at, _, patch in packed.gaze["things"]:
            word = tokenizer.decode([packed.labels[at]])
            if word in COLOUR_INDEX:
                assert labels.colour[patch - 2] == COLOUR_INDEX[word]


def test_each_name_of_a_description_looks_at_its_thing(tokenizer):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        picture = draw_scene(rng)
        labels = patch_labels(picture)
        questions = [q for q in ask(picture, 20, rng) if q.kind in ("describe", "what") and len(q.looks) > 1][:1]
        packed = Packer(tokenizer, GRID * GRID).pack(questions, None, rng, places(picture, labels))
        shapes = {at: labels.shape[patch - 2] for at, _, patch in packed.gaze["again"]}
        before = {at: labels.shape[patch - 2] for at, _, patch in packed.gaze["things"]}
        told = [(at, tokenizer.decode([packed.labels[at]]).strip()) for at in sorted(shapes)]
        named = [(at, SHAPE_INDEX[word]) for at, word in told if word in SHAPE_INDEX]
        assert all(shapes[at] in (shape, 0, -100) for at, shape in named)
        # Another head goes back to what has just been named, so that the next one can be found from there.
        assert all(before[at] in (shape, 0, -100) for (at, _), (_, shape) in zip(named[1:], named, strict=False))


@pytest.mark.parametrize("aims", [THIRDS, HALVES])
def test_the_counting_heads_share_out_the_things_to_be_counted(tokenizer, aims):
    found = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        picture = draw_scene(rng)
        questions = [q for q in ask(picture, 12, rng) if q.kind == "count"][:1]
        if not questions:
            continue
        packed = Packer(tokenizer, GRID * GRID).pack(questions, None, rng, places(picture, patch_labels(picture)))
        first = min(at for at, _, _ in packed.gaze[aims[0]])
        parts = {aim: {part for at, part, _ in packed.gaze[aim] if at == first} for aim in aims}
        assert all(0 in part for part in parts.values())  # <s>, whose share tells how many others there are
        counted = sum(len(part) - 1 for part in parts.values())
        assert matches("exact", questions[0].answer, (str(counted),))
        found += counted
    assert found > 30


def test_two_bars_that_are_compared_get_a_head_each(tokenizer):
    found = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        picture = draw_chart(rng)
        labels = patch_labels(picture)
        for question in [q for q in ask(picture, 9, rng) if q.kind == "bar compare" and q.guess is None][:1]:
            packed = Packer(tokenizer, GRID * GRID).pack([question], None, rng, places(picture, labels))
            looked = [{labels.thing[at - 2] for _, _, at in packed.gaze[aim]} for aim in ("things", "again")]
            text = question.text.lower().replace("grey", "gray")
            tints = [min(text.find(picture.things[i].colour) for i in things) for things in looked]
            assert all(len(things) == 1 for things in looked) and 0 <= tints[0] < tints[1]
            found += 1
    assert found > 3


def test_what_is_absent_sends_the_gaze_to_the_first_token(tokenizer):
    question = Question("colour", "What color is the star?", "unknown", "red", ((0, ()),))
    nothing = Places(np.full(16, -1), [], [], [])
    packed = Packer(tokenizer, 16).pack([question], None, np.random.default_rng(0), nothing)
    for aim in ("things", "again", *THIRDS, *HALVES):
        assert {row[1:] for row in packed.gaze[aim]} == {(0, 0)}


def test_a_copied_answer_points_at_its_own_tokens_in_the_text(tokenizer):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        picture = draw_receipt(rng)
        read = list(picture.facts["texts"])
        questions = [*ask(picture, 6, rng, read), transcript(read, rng)]
        pieces = marked(picture.facts["words"], patch_boxes(picture.image.size)) if seed % 2 else _plain(read)
        packed = Packer(tokenizer, 0).pack(questions, pieces, rng)
        pointing = [row[0] for row in packed.gaze["source"]]
        assert pointing
        for at, _, source in packed.gaze["source"]:
            said, there = (tokenizer.decode([i]).strip() for i in (packed.labels[at], packed.ids[source]))
            # One may have been merged with a neighbour that the other lacks.
            assert said in there or there in said
        lines = re.sub(r"<.at\d+.>", " ", tokenizer.decode(packed.ids[packed.blocks == 0])).split("\n")
        assert lines[0].endswith(OCR_HEADER) and lines[1].strip() == read[0]


def test_a_label_looks_at_the_bar_that_it_names(tokenizer):
    read = _plain(["Sales by town", "Rome Oslo Lima", "Lima Lima"])
    bars = Places(np.array([0, 1, -1, 2]), [[0], [1], [3]], [(0, 0)] * 3, ["Rome", "Oslo", "Lima"])
    packed = Packer(tokenizer, 4).pack([], read, np.random.default_rng(0), bars)
    text = [tokenizer.decode([i]) for i in packed.ids]
    named = {"".join(text[at : at + 4]).strip()[:4]: patch - 2 for at, _, patch in packed.gaze["labelled"]}
    assert not packed.gaze["things"]
    assert named == {"Rome": 0, "Oslo": 1}  # three say Lima


def test_a_printed_name_in_a_question_is_found_again_and_leads_to_its_thing(tokenizer):
    pieces = _plain(["Sales of the month", "Green tea", "Oslo Bill", "Oslo"])
    bars = Places(np.array([0, 1, -1, 2]), [[0], [1], [3]], [(0, 0)] * 3, ["Green tea", "Bill", "Oslo"])
    asked = {
        "What is the value of Green tea?": ("Green tea", 0),  # the name, and the patch of its thing
        'Which colour has "Bill"?': ("Bill", 1),
        "What about Oslo?": ("Oslo", 3),
        "What does the billboard say of Greenland?": None,
    }
    questions = [Question("bar value", text, "red", looks=((0, (1,)),), named=("Green tea",)) for text in asked]
    packed = Packer(tokenizer, 4).pack(questions, pieces, np.random.default_rng(1), bars)  # none follows another
    words = [tokenizer.decode([i]) for i in packed.ids]
    source = int((packed.blocks == 0).sum())
    for at, _, there in packed.gaze["named"]:
        assert there < source <= at and words[at].strip() == words[there].strip()
    steps = {name: {row[0] for row in packed.gaze[name]} for name in AIMS}
    for block, (text, expected) in enumerate(asked.items(), 1):
        own = set(np.flatnonzero(packed.blocks == block).tolist())
        found = sorted(steps["named"] & own)
        assert "".join(words[at] for at in found).strip() == (expected[0] if expected else ""), text
        looked = [row for row in packed.gaze["things"] if row[0] in found]
        assert looked == ([(found[0], 0, FIRST_PATCH + expected[1])] if expected else [])
        answering = {row[0]: row[2] for row in packed.gaze["asked"] if row[0] in own}
        assert set(answering.values()) == ({found[0]} if expected else set())
        assert own & steps["again"] and bool(expected) != bool(own & steps["high"])
        assert not steps["things"] & set(answering) and set(found) <= steps["previous"]


def test_a_name_in_the_rule_is_not_the_questions(tokenizer):
    question = Question("exist", "Is there a button?", "unknown", "yes", named=("unknown",))
    for seed in range(12):
        packed = Packer(tokenizer, 0).pack([question], _plain(["unknown", "Answer"]), np.random.default_rng(seed))
        assert not packed.gaze["named"] and not packed.gaze["asked"]


def test_a_mark_and_the_token_behind_it_look_at_its_patch(tokenizer):
    words = [spelled("Tea", (0, 0, 30, 10)) + spelled("1.00", (70, 0, 100, 10)), spelled("Total", (60, 90, 100, 100))]
    pieces = marked(words, patch_boxes((100, 100)))
    packed = Packer(tokenizer, GRID * GRID).pack([], pieces, np.random.default_rng(0), Places(None, [], [], []))
    told = {}
    for at, part, patch in packed.gaze["place"]:
        told.setdefault(patch - 2, []).append(tokenizer.decode([packed.ids[at]]))
        assert part == 0
    middles = {
        0 * GRID + int(0.15 * GRID): "Tea",
        0 * GRID + int(0.85 * GRID): "1",
        13 * GRID + int(0.8 * GRID): "Total",
    }
    assert set(told) == set(middles)
    for patch, (mark, behind) in told.items():
        assert mark == f"<|at{patch}|>" and middles[patch].startswith(behind.strip())
    assert not Packer(tokenizer, 0).pack([], pieces, np.random.default_rng(0)).gaze["place"]  # there is no picture


def test_the_exercise_repeats_its_tokens(tokenizer):
    packed = Packer(tokenizer, 0).exercise(40, np.random.default_rng(0))
    said = packed.labels[packed.labels != IGNORED]
    assert len(said) == 41 and said[-1] == tokenizer.eos_token_id
    assert all(packed.labels[at] == packed.ids[source] for at, _, source in packed.gaze["source"])
    assert all(packed.ids[at + 1] == packed.labels[at] for at, _, _ in packed.gaze["source"])


def _plain(lines):
    return [("ocr", "\n".join(lines))]


def _attention(tokenizer, packed):
    torch.manual_seed(0)
    model = build(tokenizer)
    model.set_attn_implementation(attention.register())
    batch = collate([packed, packed], tokenizer.pad_token_id)
    return model.model.language_model, batch


def test_the_loss_reads_the_share_that_the_named_head_gives(tokenizer):
    read = _plain(["MARIO'S 24", "TOTAL 12.50"])
    questions = [Question("total", "What is the total?", "12.50", looks=((0, (0, 1)),), copied="12.50")]
    two = Places(np.array([0, 0, 1, -1]), [[0, 1], [2]], [(0, 0), (0, 1)], ["", "TOTAL"])
    packed = Packer(tokenizer, 4).pack(questions, read, np.random.default_rng(0), two)
    assert {row[1:] for row in packed.gaze["high"]} == {(0, 0), (1, 2), (1, 3), (2, 4)}
    assert {row[1:] for row in packed.gaze["right"]} == {(0, 0), (1, 4)}
    model, batch = _attention(tokenizer, packed)
    mask = block_mask(batch["blocks"], torch.float32)
    with watched(decoders(model)) as seen, torch.no_grad():
        model(input_ids=batch["ids"], position_ids=batch["positions"], attention_mask=mask)
    loss = gaze_loss(seen, batch)
    expected = 0.0
    for name, aim in AIMS.items():
        rows = {}
        for at, part, key in packed.gaze[name]:
            shares = rows.setdefault(at, {})
            shares[part] = shares.get(part, 0) + float(seen[aim.layer][0, aim.head, at, key])
        costs = []
        for shares in rows.values():
            off = np.log(np.array(list(shares.values())) * len(shares))
            smooth = np.where(abs(off) < 0.5, off**2, abs(off) - 0.25)
            costs.append(np.mean(-off + (smooth if name in COUNTING else 0)))
        expected += np.mean(costs) if costs else 0
    assert float(loss) == pytest.approx(expected, rel=1e-2)
    assert not model.layers[0].self_attn._forward_hooks


def test_heads_learn_to_look_where_they_are_told(tokenizer):
    read = _plain(["MARIO'S 24", "1 Milk 3.20", "TOTAL 12.50", "CASH 20.00"])
    questions = [Question("total", "What is the total?", "12.50", copied="12.50")]
    packed = Packer(tokenizer, 0).pack(questions, read, np.random.default_rng(0))
    model, batch = _attention(tokenizer, packed)
    mask = block_mask(batch["blocks"], torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        with watched(decoders(model)) as seen:
            model(input_ids=batch["ids"], position_ids=batch["positions"], attention_mask=mask)
        losses.append(gaze_loss(seen, batch))
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(losses[-1].detach()) < 0.3 * float(losses[0].detach())


def test_where_the_keys_are_patches_targets_are_counted_from_the_first_patch():
    rows = torch.tensor([[0, 9, 0, 0], [0, 9, 1, FIRST_PATCH], [1, 4, 0, FIRST_PATCH + 7]])
    moved = on_patches(dict.fromkeys(SIGHT, rows), 1)
    assert set(moved) == set(SIGHT) and all(targets[:, 3].tolist() == [0, 1, 8] for targets in moved.values())
    # The loss then finds, of as many queries as the text has, the keys that the encoder gives.
    seen = torch.zeros(2, 4, 12, 17)
    seen[0, 0, 9, [0, 1]] = 0.5
    seen[1, 0, 4, 8] = 1
    assert float(gaze_loss({2: seen, 3: seen}, {"things": moved["things"]})) == pytest.approx(0, abs=1e-4)
