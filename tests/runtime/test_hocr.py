"""hOCR: which words of it are taken, and where a word is cut."""

from vlm_demo.runtime import hocr


def test_a_word_is_cut_between_letters_wide_apart_and_nowhere_else() -> None:
    def letter(text: str, left: int, right: int, top: int = 0) -> str:
        return f"<span class='ocrx_cinfo' title='x_bboxes {left} {top} {right} 20; x_conf 99'>{text}</span>"

    word = (
        letter("A", 0, 16) + letter("l", 20, 22) + letter(".", 24, 27, 17) + letter("B", 60, 76) + letter(" ", 90, 95)
    )
    markup = f"<html><p class='x'><span class='ocrx_word' title='bbox 0 0 80 21; x_wconf 49'>{word}</span></p></html>"
    (line,) = hocr.lines(markup, 0.5)
    assert [(part.text, part.box, part.confidence) for part in line] == [
        ("Al.", (0, 0, 14, 10), 49),
        ("B", (30, 0, 38, 10), 49),
    ]
    assert list(hocr.lines(markup.replace("x_wconf 49", "x_wconf 29"), 0.5)) == []
    (line,) = hocr.lines(markup.replace("60 0 76", "32 0 48"), 0.5)
    assert [(part.text, part.box) for part in line] == [("Al.B", (0, 0, 40, 10))]  # the word's own box
