"""Answers: is this reply the expected one? Metrics, each a function of two texts → bool, and whether an answer
occurs in a longer text.

Knows nothing of pictures, models or folders.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from decimal import ROUND_HALF_UP, Decimal

TOLERANCE = Decimal("0.05")
YEARS = range(1900, 2101)
ARTICLES = ("a", "an", "the")

_SMALL = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety".split(),
        [*range(20), *range(20, 100, 10)],
        strict=True,
    )
)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}

# Private-use placeholders for the two marks that belong to a number and must survive the folding.
_POINT, _MINUS = "\ue000", "\ue001"

_NUMBER = re.compile(
    r"(?<!\w)(?<!\d[/:.,-])"  # not inside a word, a date or a time
    r"(?P<sign>-)?"
    r"(?P<body>\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)*|\.\d+)"
    r"(?!\d|[/:-]\d)"
)


def exact(prediction: str, answer: str) -> bool:
    """The same words: case, punctuation and spacing folded, number words equal digits.

    "Twenty-one." equals "21", "14-MAR-2018" equals "14 Mar 2018", "1,000" equals "1000". A decimal point and a
    minus sign carry meaning and stay: "4.11" is not "411", "-5" is not "5". Leading articles stay too: a bare
    answer is part of what is asked for, and dropping "a" would turn the chart category "A" into nothing. Texts
    made of punctuation alone are compared as they are.
    """
    folded = fold(prediction), fold(answer)
    if not any(folded):
        return prediction.strip() == answer.strip()
    return folded[0] == folded[1]


def number(prediction: str, answer: str) -> bool:
    """The first number of each text, within 5 % of the expected one; an expected zero must be zero.

    This is ChartQA's relaxed accuracy (Masry et al. 2022, https://arxiv.org/abs/2203.10244, section 5.1) for
    numbers. False if either text holds no number.
    """
    predicted, expected = _first_number(prediction), _first_number(answer)
    return predicted is not None and expected is not None and abs(predicted - expected) <= TOLERANCE * abs(expected)


def money(prediction: str, answer: str) -> bool:
    """The first amount of each text, equal to the cent; currency marks and thousands separators are dropped.

    "RM 1,234.56", "1.234,56 €" and "1 234.56" are the same amount. False if either text holds no amount.
    """
    predicted, expected = _first_amount(prediction), _first_amount(answer)
    return predicted is not None and expected is not None and _cents(predicted) == _cents(expected)


def name(prediction: str, answer: str) -> bool:
    """The expected name occurs in the reply as whole words, next to each other and in order.

    Case, punctuation, articles and the s of a plural are ignored: "Two brown horses in a field." holds "horse",
    "riding the bike" holds "riding a bike". False if nothing of the name is left.
    """
    words, name_words = _names(prediction), _names(answer)
    starts = range(len(words) - len(name_words) + 1) if name_words else range(0)
    return any(all(a & b for a, b in zip(words[i:], name_words, strict=False)) for i in starts)


def vqa(prediction: str, answer: str) -> bool:
    """The same words after the normalisation of VQA (Antol et al. 2015, https://arxiv.org/abs/1505.00468, and its
    evaluation code): as ``exact``, articles are dropped too, and "none" is 0."""
    return exact(_without_articles(prediction), _without_articles(answer))


def relaxed(prediction: str, answer: str) -> bool:
    """ChartQA's relaxed accuracy (Masry et al. 2022, https://arxiv.org/abs/2203.10244, section 5.1).

    Where both texts are numbers and nothing else but units of money and per cent, within 5 % of the expected one;
    two years, integers from 1900 to 2100, must be the same, or every year of a chart would be right. Other texts as
    ``exact``.
    """
    predicted, expected = _only_number(prediction), _only_number(answer)
    if predicted is None or expected is None or (predicted in YEARS and expected in YEARS):
        return exact(prediction, answer)
    return abs(predicted - expected) <= TOLERANCE * abs(expected)


METRICS: dict[str, Callable[[str, str], bool]] = {
    "exact": exact,
    "number": number,
    "money": money,
    "name": name,
    "vqa": vqa,
    "relaxed": relaxed,
}


def matches(metric: str, prediction: str, answers: Iterable[str]) -> bool:
    """Whether ``prediction`` equals any of ``answers`` under the metric of that name (a key of ``METRICS``)."""
    return any(METRICS[metric](prediction, answer) for answer in answers)


def fits(metric: str, answer: str) -> bool:
    """Whether ``answer`` can be met at all: an expected number or amount must hold one, a name a word."""
    return METRICS[metric](answer, answer)


def occurs_in(metric: str, answer: str, text: str) -> bool:
    """Whether ``answer`` can be copied from ``text``: its words occur there in order, folded as for ``exact``, or,
    for ``money``, an amount equal to the cent. False for an answer without words."""
    words = fold(answer)
    if words and f" {words} " in f" {fold(text)} ":
        return True
    amount = _first_amount(answer) if metric == "money" else None
    return amount is not None and any(_cents(amount) == _cents(other) for other in _amounts(text))


def fold(text: str) -> str:
    """Lower case, no punctuation, single spaces, digits for number words: what ``exact`` compares."""
    text = _plain(text)
    text = re.sub(r"(?<=\w)'(?=\w)", "", text)
    text = re.sub(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)", lambda m: m[0].replace(",", ""), text)
    text = re.sub(r"(?<![\w.])\.(?=\d)", "0.", text)
    text = re.sub(r"(?<![\d.])(\d+)\.(\d+)(?!\d|\.\d)", rf"\1{_POINT}\2", text)
    text = re.sub(r"(?<![^\s(])-(?=\d)", _MINUS, text)
    text = re.sub(rf"[^\w{_POINT}{_MINUS}]|_", " ", text)
    return " ".join(_digits(text.split())).replace(_POINT, ".").replace(_MINUS, "-")


def _names(text: str) -> list[set[str]]:
    """For each word of a text, articles left out, the singulars that it may be the plural of, and itself."""
    joined = re.sub(r"\b(\w)-(?=[^\W\d])", r"\1", _plain(text))  # a "t-shirt" is no "shirt"
    return [_singulars(word) for word in fold(joined).split() if word not in ARTICLES]


def _singulars(word: str) -> set[str]:
    forms = {word}
    if len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
        forms.add(word[:-1])
        if word.endswith("es"):
            forms.add(word[:-2])
        if word.endswith("ies"):
            forms.add(word[:-3] + "y")
    return forms


def _without_articles(text: str) -> str:
    words = ["0" if word == "none" else word for word in fold(text).split() if word not in ARTICLES]
    return " ".join(words) or text  # "A" may be the answer itself


def _plain(text: str) -> str:
    """One spelling of each sign: full-width letters, no-break spaces, curly apostrophes and true minus signs."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return text.replace("’", "'").replace("\u2212", "-")


def _digits(words: list[str]) -> list[str]:
    """Number words become digits: "twenty", "one" → "21"; everything else stays."""
    converted, i = [], 0
    while i < len(words):
        value, stop = _spelled(words, i)
        converted.append(words[i] if stop == i else str(value))
        i = max(stop, i + 1)
    return converted


def _spelled(words: list[str], start: int) -> tuple[int, int]:
    """The spelled number that begins at ``start`` and the index after it, or ``start`` itself where none begins.

    ``upper_bound`` is what the next word must be below: after "twenty" only a unit fits, after "hundred" anything up to
    99, so "seven eight" stays two numbers.
    """
    total, current, upper_bound, limit, i = 0, 0, 1000, max(_SCALES.values()) + 1, start
    while i < len(words):
        word = words[i]
        joined = word == "and" and i > start and (words[i - 1] == "hundred" or words[i - 1] in _SCALES)
        if joined and i + 1 < len(words) and words[i + 1] in _SMALL:
            i += 1
            continue
        small_value = _SMALL.get(word)
        if small_value is not None and (10 if small_value < 10 else 100) <= upper_bound and (small_value or i == start):
            current, upper_bound = current + small_value, 10 if small_value >= 20 else 0
        elif word == "hundred" and 0 < current < 10:
            current, upper_bound = current * 100, 100
        elif word in _SCALES and current and _SCALES[word] < limit:
            total, current, upper_bound, limit = total + current * _SCALES[word], 0, 1000, _SCALES[word]
        else:
            break
        i += 1
    return total + current, i


def _first_number(text: str) -> Decimal | None:
    text = _plain(text)
    found = _NUMBER.search(text)
    if not found and not re.search(r"\d", text):
        text = re.sub(r"\bminus (?=\d)", "-", " ".join(_digits(re.split(r"[^\w]+", text))))
        found = _NUMBER.search(text)
    if not found:
        return None
    scale = re.match(r"\s*(thousand|million|billion|trillion)\b", text[found.end() :])
    return _value(found, thousands=",") * (_SCALES[scale[1]] if scale else 1)


def _only_number(text: str) -> Decimal | None:
    """The number that a text is, units of money and per cent aside; None where it says anything else."""
    found = re.fullmatch(r"(-?\d+(?:\.\d+)?)(?: (thousand|million|billion|trillion))?", fold(text))
    return Decimal(found[1]) * _SCALES.get(found[2], 1) if found else None


def _first_amount(text: str) -> Decimal | None:
    amount = next(_amounts(text), None)
    return _first_number(text) if amount is None else amount


def _amounts(text: str) -> Iterator[Decimal]:
    without_signs = "".join(character for character in _plain(text) if unicodedata.category(character) != "Sc")
    # Words go with their full stop, or "Rs.500" would be read as half a rupee.
    for found in _NUMBER.finditer(re.sub(r"[^\W\d_]+\.?", " ", without_signs)):
        yield _value(found, thousands=".,")


def _value(found: re.Match[str], thousands: str) -> Decimal:
    """The number that was found.

    With both marks present the last is the decimal mark, and a mark that comes twice separates thousands. A single
    mark is a thousands separator where it is one of ``thousands`` and just three digits follow it: "1,234" always,
    "1.234" only for money, which has no third decimal.
    """
    body = re.sub(r"[ ']", "", found["body"])
    marks = re.findall(r"[.,]", body)
    if marks:
        decimal = marks[-1]
        head, _, tail = body.rpartition(decimal)
        grouped = len(tail) == 3 and 1 <= len(head) <= 3 and head != "0" and decimal in thousands
        if marks.count(decimal) > 1 or (len(marks) == 1 and grouped):
            body = re.sub(r"[.,]", "", body)
        else:
            body = f"{re.sub(r'[.,]', '', head)}.{tail}"
    value = Decimal(body)
    return -value if found["sign"] else value


def _cents(amount: Decimal) -> Decimal:
    return (amount * 100).to_integral_value(ROUND_HALF_UP)
