"""Conversations as transformers writes them → what the pipeline is asked."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_demo import Pipeline, chat_messages
from vlm_demo.errors import BadImage, BadQuestion
from vlm_demo.images.remote_pictures import RemotePictures
from vlm_demo.stages.view import open_image

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG")
    return buffer.getvalue()


class Pipe(io.RawIOBase):
    """A file that can be read once."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def readable(self) -> bool:
        return True

    def readall(self) -> bytes:
        data, self.left = self.left, b""
        return data

    def read(self, size: int = -1) -> bytes:
        return self.readall()


def user(*parts: object) -> dict:
    return {"role": "user", "content": list(parts)}


def text(content: str) -> dict:
    return {"type": "text", "text": content}


def image(source: object, key: str = "image") -> dict:
    return {"type": "image", key: source}


class TestForm:
    def test_roles_become_turns(self) -> None:
        found = chat_messages.read(
            [
                {"role": "system", "content": "Be brief."},
                user(image("a.png"), text("What is it?")),
                {"role": "assistant", "content": [text("A star")]},
                user(text("Which "), image(b"b"), image("c.png"), text("colour?")),
            ]
        )
        assert found.system == "Be brief."
        assert [(turn.question, turn.answer, turn.images) for turn in found.history] == [
            ("What is it?", "A star", ("a.png",))
        ]
        assert (found.images, found.question) == ((b"b", "c.png"), "Which colour?")

    def test_plain_contents(self) -> None:
        found = chat_messages.read([{"role": "user", "content": "What is it?"}])
        assert (found.system, found.history, found.images, found.question) == ("", (), (), "What is it?")

    @pytest.mark.parametrize(
        ("messages", "expected"),
        [
            ([], "Messages are a list"),
            ("What is it?", "Messages are a list"),
            ({"role": "user", "content": "x"}, "Messages are a list"),
            (["What is it?"], "Message 1 must be a dictionary"),
            ([{"role": "user"}], "Message 1 must be a dictionary"),
            ([{"role": "tool", "content": "x"}], "choose one of system, user, assistant"),
            ([{"role": "user", "content": None}], "content of message 1"),
            ([user({"type": "video", "video": "x"})], "part of message 1 is neither"),
            ([user({"type": "image"})], "part of message 1 is neither"),
            ([user("What?")], "part of message 1 is neither"),
            ([{"role": "system", "content": "x"}], "last message must be the user's"),
            ([user(text("a")), {"role": "assistant", "content": "b"}], "last message must be the user's"),
            ([{"role": "assistant", "content": "b"}, user(text("a"))], "Message 1 has the role assistant where user"),
            ([user(text("a")), user(text("b"))], "Message 2 has the role user where assistant"),
            ([user(text("a")), {"role": "system", "content": "b"}], "Message 2 has the role system where assistant"),
            ([{"role": "system", "content": [image("a.png")]}, user(text("a"))], "is the system's and holds a picture"),
        ],
    )
    def test_one_sentence_says_what_is_wrong(self, messages: object, expected: str) -> None:
        with pytest.raises(BadQuestion) as caught:
            chat_messages.read(messages)
        assert expected in str(caught.value) and str(caught.value).endswith(".") and "\n" not in str(caught.value)

    def test_several_conversations(self) -> None:
        one = [user(text("a"))]
        assert chat_messages.is_batch([one, one]) and chat_messages.is_batch([one])
        assert not chat_messages.is_batch(one) and not chat_messages.is_batch([]) and not chat_messages.is_batch("ab")


class TestPictures:
    @pytest.mark.parametrize("form", ["path", "bytes", "PIL", "array", "uri", "base64", "file", "pipe"])
    def test_every_form_is_the_same_picture_any_number_of_times(self, form: str, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(png())
        coded = base64.b64encode(png()).decode()
        given = {
            "path": tmp_path / "a.png",
            "bytes": png(),
            "PIL": Image.fromarray(PIXELS),
            "array": PIXELS,
            "uri": f"data:image/png;base64,{coded}",
            "base64": coded,
            "file": io.BytesIO(png()),
            "pipe": Pipe(png()),
        }[form]
        part = image(given, "base64" if form == "base64" else "image")
        asked = [user(part, part, text("a")), {"role": "assistant", "content": "b"}, user(part, text("c"))]
        for _ in range(1 if form == "pipe" else 2):
            found = chat_messages.read(asked)
            pictures = [*found.history[0].images, *found.images]
            assert len(pictures) == 3
            for picture in pictures:
                assert np.array_equal(np.asarray(open_image(picture)[0]), PIXELS)

    def test_a_file_that_was_read_before_is_read_from_its_beginning(self) -> None:
        file = io.BytesIO(png())
        file.read(10)
        assert chat_messages.read([user(image(file), text("a"))]).images == (png(),)

    @pytest.mark.parametrize("channels", [(), (1,), (4,)])
    def test_grey_and_transparent_arrays(self, channels: tuple[int, ...]) -> None:
        array = np.full((4, 6, *channels), 255, np.uint8)
        (picture,) = chat_messages.read([user(image(array), text("a"))]).images
        assert picture.size == (6, 4) and open_image(picture)[0].getpixel((0, 0)) == (255, 255, 255)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("https://example.com/a.png", "download it"),
            ("data:image/png;base64,???", "damaged"),
            ("data:image/png;base64,ä", "damaged"),
            (np.zeros((4, 4, 3), np.float32), "float32 4×4×3"),
            (np.zeros((2, 4, 4, 3), np.uint8), "uint8 2×4×4×3"),
            (np.zeros((0, 4, 3), np.uint8), "uint8 0×4×3"),
        ],
    )
    def test_what_can_be_no_picture(self, given: object, expected: str) -> None:
        with pytest.raises(BadImage) as caught:
            chat_messages.read([user(image(given), text("a"))])
        assert expected in str(caught.value) and str(caught.value).endswith(".") and "message 1" in str(caught.value)


class TestAddresses:
    """Pictures on the web, from a host that was allowed."""

    ADDRESS = "https://images.example.org/a.png"

    class Web(RemotePictures):
        """Gives a picture, and counts how often it was asked."""

        asked = 0

        def fetch(self, address: str) -> bytes:
            self.asked += 1
            return png()

    @pytest.mark.parametrize("key", ["image", "url"])
    def test_one_is_fetched_once(self, key: str) -> None:
        web = self.Web(("images.example.org",))
        part = image(self.ADDRESS, key)
        found = chat_messages.read([user(part, part, text("a"))], web)
        assert found.images == (png(), png()) and web.asked == 1

    def test_a_pipeline_asks_its_own_hosts_alone(self, checkpoint: Path) -> None:
        pipe = Pipeline.from_pretrained(checkpoint, image_hosts=["Images.Example.org"])
        assert pipe.view.remote.hosts == {"images.example.org"}
        pipe.view.remote = self.Web()
        asked = [user(image(self.ADDRESS), text("What is it?"))]
        answers = pipe.chat(asked, max_new_tokens=2), pipe.ask(self.ADDRESS, "What is it?", max_new_tokens=2)
        plain = pipe.ask(png(), "What is it?", max_new_tokens=2)
        assert [answer.tokens for answer in answers] == [plain.tokens] * 2

    def test_by_default_none(self, pipe: Pipeline) -> None:
        with pytest.raises(BadImage, match=r"^In message 1: The picture on .* is not fetched"):
            pipe.chat([user(image(self.ADDRESS), text("a"))])
        with pytest.raises(BadImage, match="is not fetched: download it"):
            pipe.ask(self.ADDRESS, "What is it?")
