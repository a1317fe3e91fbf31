"""Scripts: the letters that a text is written in and the languages it is read in → what to do where they do not fit.

Knows Tesseract's names of scripts and languages; neither pictures nor Tesseract.
"""

from __future__ import annotations

from collections.abc import Sequence

# Tesseract's script → the languages that are written in it, the commonest first. Every other one is written in Latin.
LANGUAGES = {
    "Arabic": ("ara", "fas", "urd", "pus", "snd", "uig", "kur_ara"),
    "Armenian": ("hye",),
    "Bengali": ("ben", "asm"),
    "Cyrillic": ("rus", "ukr", "bul", "srp", "bel", "mkd", "kaz", "kir", "mon", "tat", "tgk", "aze_cyrl", "uzb_cyrl"),
    "Devanagari": ("hin", "mar", "nep", "san"),
    "Ethiopic": ("amh", "tir"),
    "Georgian": ("kat",),
    "Greek": ("ell", "grc"),
    "Gujarati": ("guj",),
    "Gurmukhi": ("pan",),
    "Han": ("chi_sim", "chi_tra", "jpn", "chi_sim_vert", "chi_tra_vert", "jpn_vert"),
    "Hangul": ("kor", "kor_vert"),
    "Hebrew": ("heb", "yid"),
    "Japanese": ("jpn", "jpn_vert"),
    "Kannada": ("kan",),
    "Khmer": ("khm",),
    "Korean": ("kor", "kor_vert"),
    "Lao": ("lao",),
    "Malayalam": ("mal",),
    "Myanmar": ("mya",),
    "Sinhala": ("sin",),
    "Tamil": ("tam",),
    "Telugu": ("tel",),
    "Thai": ("tha",),
    "Tibetan": ("bod", "dzo"),
}
LATIN = "Latin"
SCRIPT_DATA = {"Han": ("HanS", "HanT"), "Korean": ("Hangul",)}  # the data of scripts that have other names
CHOOSE = "The text looks like {script} letters, and was read as {chosen}: choose {known} as its language."
INSTALL = (
    "The text looks like {script} letters, and only {installed} can be read here: install another language with "
    "`sudo apt-get install tesseract-ocr-{package}`."
)
UNSURE = (
    "Little of this text was read surely: if it is not written as {chosen} is, choose another language "
    "(here: {installed}), or install one, such as `sudo apt-get install tesseract-ocr-rus`."
)


def written_in(language: str, script: str) -> bool:
    """Whether a language, or a script's own data (``script/Cyrillic``), covers a script."""
    if language.startswith("script/"):
        data = language.removeprefix("script/").removesuffix("_vert")
        return data in (script, *SCRIPT_DATA.get(script, ()))
    if script == LATIN:
        return all(language not in languages for languages in LANGUAGES.values())
    return language in LANGUAGES[script]


def advice(script: str, languages: str, installed: Sequence[str], many: bool) -> str:
    """One sentence on what to do about a text that was hardly read; empty where its letters are those of a chosen
    language.

    Args:
        script: by Tesseract's name; empty = not recognised.
        languages: those chosen, joined by ``+``.
        installed: those that can be read here.
        many: whether enough letters were read to report a script that was not recognised.
    """
    chosen = languages.split("+")
    names = {"chosen": " and ".join(chosen), "installed": ", ".join(installed)}
    if script != LATIN and script not in LANGUAGES:
        return UNSURE.format(**names) if many else ""
    if any(written_in(language, script) for language in chosen):
        return ""
    known = [language for language in installed if written_in(language, script)]
    if known:
        return CHOOSE.format(script=script, known=" or ".join(known), **names)
    package = "eng" if script == LATIN else LANGUAGES[script][0].replace("_", "-")
    return INSTALL.format(script=script, package=package, **names)
