"""Benchmark scores: an answer against the accepted ones, as ChartQA, DocVQA and TextVQA count it.

`answers` holds the metrics of our own items, which forgive more; these follow the papers, so that a figure can be
compared with a published one. Knows nothing of pictures, models or files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from vlm_demo.evaluation import answers as plain

TOLERANCE = 0.05  # of the expected number
ROUNDING = 1e-9  # 1.05 is within 5 % of 1, though not in binary
THRESHOLD = 0.5  # of an answer's letters that may be wrong
AGREEING = 3  # people who agree
ARTICLES = ("a", "an", "the")
DIGITS = {"none": "0"} | {
    word: str(i) for i, word in enumerate("zero one two three four five six seven eight nine ten".split())
}
MARKS = ';/[]"{}()=+\\_-><@`!'

# Those of VQA's evaluation: each also matches with one apostrophe missing ("dont", "couldnt've").
SHORTENED = (
    "'ow's'at 'twas ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't "
    "haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've "
    "mustn't needn't not've o'clock oughtn't shan't she'd've should've shouldn't shouldn't've somebody'd've "
    "somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's "
    "there'd there'd've there're there's they'd they'd've they'll they're they've wasn't we'd've we've weren't what'll "
    "what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's "
    "won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're you've"
).split()
_FULL = {word[:i] + word[i + 1 :]: word for word in SHORTENED for i, sign in enumerate(word) if sign == "'"}


def relaxed_accuracy(prediction: str, answers: Sequence[str]) -> bool:
    """ChartQA's metric (Masry et al. 2022, https://arxiv.org/abs/2203.10244, section 5.1).

    Within 5 % of an expected number where both texts are numbers and nothing else, years too; other texts must be the
    same but for case and the space around them. "12%" is 0.12, as in the evaluation code in use; "1,200" is no number.
    """
    return any(_relaxed(prediction, answer) for answer in answers)


def anls(prediction: str, answers: Sequence[str]) -> float:
    """DocVQA's metric for one question (Biten et al. 2019, https://arxiv.org/abs/1905.13648, equation 1).

    One less the share of letters to be changed (edit distance over the longer text's length), the best over the
    answers; 0 where that share is above a half. Just a half gives 0.5, as in the evaluation code in use; the paper's
    equation gives 0. Case and the number of spaces are ignored.
    """
    return max((_similarity(prediction, answer) for answer in answers), default=0.0)


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """TextVQA's metric (Antol et al. 2015, https://arxiv.org/abs/1505.00468, in its evaluation code's form).

    min(people who gave this answer / 3, 1), the mean over the subsets that leave one person's answer out. Both sides
    are normalised as there (`normalised`). 0 where fewer than two people were asked.
    """
    folded = normalised(prediction)
    agreeing = sum(normalised(answer) == folded for answer in answers)
    n = len(answers)
    if n < 2 or not agreeing:
        return 0.0
    without_one, with_all = min((agreeing - 1) / AGREEING, 1.0), min(agreeing / AGREEING, 1.0)
    return (agreeing * without_one + (n - agreeing) * with_all) / n


# The metrics of this module, by the name that an item gives; the others are `answers.METRICS`.
SCORES: dict[str, Callable[[str, Sequence[str]], float]] = {
    "relaxed_accuracy": relaxed_accuracy,
    "anls": anls,
    "vqa_accuracy": vqa_accuracy,
}


def scored(metric: str, prediction: str, answers: Sequence[str]) -> float:
    """The score of an answer under a metric of ``SCORES`` or `answers.METRICS`: right or wrong, or a fraction 0..1."""
    if metric in SCORES:
        return SCORES[metric](prediction, answers)
    return plain.matches(metric, prediction, answers)


def normalised(text: str) -> str:
    """An answer as VQA's evaluation compares it: lower case, no articles, digits up to ten, no full stops but a
    number's, apostrophes put back into "dont".

    A mark that touches a space somewhere is dropped wherever it stands ("coca - cola"), others become a space
    ("t-shirt"); signs such as %, $, & and : stay.
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = re.sub(r"[\n\t]", " ", text)
    stripped = text
    for mark in MARKS:
        stripped = stripped.replace(mark, "" if f"{mark} " in text or f" {mark}" in text else " ")
    words = (DIGITS.get(word, word) for word in re.sub(r"\.(?!\d)", "", stripped).split())
    return " ".join(_FULL.get(word, word) for word in words if word not in ARTICLES)


def _relaxed(prediction: str, answer: str) -> bool:
    predicted, expected = _number(prediction), _number(answer)
    if predicted is None or expected is None:
        return prediction.strip().lower() == answer.strip().lower()
    return abs(predicted - expected) <= TOLERANCE * abs(expected) * (1 + ROUNDING)


def _number(text: str) -> float | None:
    """The number that a text is, 12 % as 0.12; None where it says anything else."""
    text = text.strip()
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _similarity(prediction: str, answer: str) -> float:
    predicted, expected = (" ".join(text.lower().split()) for text in (prediction, answer))
    longest = max(len(predicted), len(expected))
    if not longest:
        return 1.0
    if abs(len(predicted) - len(expected)) > THRESHOLD * longest:  # the lengths alone differ by too much
        return 0.0
    error = edits(predicted, expected) / longest
    return 1 - error if error <= THRESHOLD else 0.0


def edits(one: str, other: str) -> int:
    """The edit distance of Levenshtein 1966: letters to be put in, taken out or replaced."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        previous, row = row, [i]
        for j, other_letter in enumerate(other, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (letter != other_letter)))
    return row[-1]
