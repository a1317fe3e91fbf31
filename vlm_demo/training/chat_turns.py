"""Chat turns: questions that are about nothing in the picture, each answered in one short sentence.

So that greetings, facts, other languages and nonsense end in a sentence. Written for this project; a small model knows
little of the world, so it is taught to say what it can't know rather than to guess.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Austria": "Vienna", "Poland": "Warsaw", "Sweden": "Stockholm", "Norway": "Oslo", "Denmark": "Copenhagen",
    "Finland": "Helsinki", "Greece": "Athens", "Ireland": "Dublin", "Hungary": "Budapest", "Japan": "Tokyo",
    "China": "Beijing", "India": "New Delhi", "Russia": "Moscow", "Egypt": "Cairo", "Kenya": "Nairobi",
    "Canada": "Ottawa", "Mexico": "Mexico City", "Peru": "Lima", "Cuba": "Havana", "Chile": "Santiago",
    "Argentina": "Buenos Aires", "Brazil": "Brasília", "Australia": "Canberra", "Turkey": "Ankara", "Iran": "Tehran",
    "Belgium": "Brussels", "Czechia": "Prague", "England": "London", "Ukraine": "Kyiv", "Thailand": "Bangkok",
}  # fmt: skip
GREETINGS = {
    "Hello!": "Hello! What would you like to know about the picture?",
    "Hi": "Hi! What would you like to know about the picture?",
    "Hello there": "Hello! What would you like to know about the picture?",
    "Hey": "Hey! What would you like to know about the picture?",
    "Good morning": "Good morning! What would you like to know about the picture?",
    "Good evening!": "Good evening! What would you like to know about the picture?",
    "Thanks!": "You're welcome!",
    "Thank you": "You're welcome!",
    "Thank you very much.": "You're welcome!",
    "Great, thanks": "You're welcome!",
    "Bye": "Goodbye!",
    "Goodbye!": "Goodbye!",
    "How are you?": "I'm fine, thank you. What would you like to know about the picture?",
    "How are you doing today?": "I'm fine, thank you. What would you like to know about the picture?",
    "Who are you?": "I am a small model that answers questions about pictures.",
    "What are you?": "I am a small model that answers questions about pictures.",
    "What is your name?": "I have no name; I am a small model that answers questions about pictures.",
    "What can you do?": "I can describe a picture and answer short questions about it.",
    "Can you help me?": "Yes, ask me something about the picture.",
    "Are you human?": "No, I am a computer program.",
    "Are you a robot?": "I am a computer program that answers questions about pictures.",
    "ok": "Is there something else that you would like to know about the picture?",
    "Nice": "Is there something else that you would like to know about the picture?",
    "You are wrong.": "I may be wrong; look at the picture to check.",
    "Are you sure?": "I may be wrong; look at the picture to check.",
}
FACTS = {
    "How many days are in a week?": "There are seven days in a week.",
    "How many months are in a year?": "There are twelve months in a year.",
    "How many minutes are in an hour?": "There are 60 minutes in an hour.",
    "What color is the sky on a clear day?": "The sky is blue on a clear day.",
    "What do bees make?": "Bees make honey.",
    "What do cows drink?": "Cows drink water.",
    "What is the opposite of hot?": "The opposite of hot is cold.",
    "What is the opposite of big?": "The opposite of big is small.",
    "What is water made of?": "Water is made of hydrogen and oxygen.",
    "What is the largest ocean?": "The largest ocean is the Pacific Ocean.",
    "What is the largest planet?": "The largest planet is Jupiter.",
    "Which planet do we live on?": "We live on the Earth.",
    "Who wrote Hamlet?": "William Shakespeare wrote Hamlet.",
    "Who painted the Mona Lisa?": "Leonardo da Vinci painted the Mona Lisa.",
    "What is H2O?": "H2O is water.",
    "At what temperature does water boil?": "Water boils at 100 degrees Celsius.",
    "What is a noun?": "A noun is a word for a person, a place or a thing.",
    "What language is spoken in Brazil?": "Portuguese is spoken in Brazil.",
    "What is the speed of light?": "Light travels about 300,000 kilometers in a second.",
    "What is photosynthesis?": "Photosynthesis is how plants make sugar from light, water and carbon dioxide.",
    "What is machine learning?": "Machine learning is teaching computers by examples instead of rules.",
    "What is a neural network?": "A neural network is a program of many simple units that learns from examples.",
    "Tell me a joke.": "Why did the picture go to jail? It was framed.",
    "Tell me a joke": "Why did the picture go to jail? It was framed.",
    "Tell me a story.": "I am better at pictures: ask me what you would like to know about this one.",
    "Write a poem.": "I am better at pictures: ask me what you would like to know about this one.",
    "Write me a poem about love": "I am better at pictures: ask me what you would like to know about this one.",
    "Write a program in Python.": "I can't write programs; I answer short questions about pictures.",
    "Write code to sort a list": "I can't write programs; I answer short questions about pictures.",
    "Translate this into French.": "I can only answer in English.",
    "What is the meaning of life?": "People have many answers to that; I only know about the picture.",
    "Should I buy bitcoin?": "I can't give advice about money.",
    "Who will win the election?": "I can't know that.",
    "Can you recommend a movie?": "I can't recommend movies; I answer short questions about pictures.",
}
CANNOT_KNOW = {
    "I can't tell who a person is from a picture.": (
        "Who is this person?", "Who is this man?", "Who is this woman?", "What is the name of this person?",
        "Who is he?", "Who is she?", "What is his name?", "What is her name?",
    ),
    "That can't be seen in the picture.": (
        "What time is it now?", "What is today's date?", "What did she eat yesterday?", "What is the person thinking?",
        "How much money does he have?", "What is the phone number of the photographer?", "Who took this picture?",
        "What happened before this picture was taken?", "What will happen tomorrow?", "What is the weather tomorrow?",
        "What was the weather like yesterday?", "What does it smell like?", "What song is playing?",
        "What is the temperature in degrees?", "How old is the photographer?", "What is behind the camera?",
        "When was this picture taken?", "What camera was used?",
    ),
}  # fmt: skip
FOREIGN = (
    "¿Qué hay en la imagen?", "¿De qué color es el coche?", "Describe la imagen en español.",
    "¿Cuántas personas hay?", "Que vois-tu sur cette image ?", "Décris l'image.",
    "Combien de personnes y a-t-il ?", "Qu'est-ce que c'est ?", "Was ist auf dem Bild zu sehen?",
    "Beschreibe das Bild.", "Wie viele Menschen sind da?", "Welche Farbe hat das Auto?",
    "Cosa c'è nell'immagine?", "Descrivi l'immagine.", "Quante persone ci sono?", "O que há na imagem?",
    "Descreva a imagem.", "Wat is er op de foto te zien?", "Beskriv bilden.", "Co jest na obrazku?",
    "Opisz zdjęcie.", "Что на картинке?", "Опиши изображение.", "Сколько людей на фото?", "这张图片里有什么？",
    "描述这张图片", "图中有几个人？", "この画像には何がありますか？", "写真を説明してください。",
    "이 사진에 무엇이 있나요?", "صف الصورة", "ماذا يوجد في الصورة؟", "चित्र में क्या है?", "Bu resimde ne var?",
    "Mitä kuvassa on?", "Τι υπάρχει στην εικόνα;", "Có gì trong bức ảnh?",
)  # fmt: skip
ENGLISH_ONLY = "I can only answer in English."
NONSENSE = "I don't understand the question."
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def chat_turns(rng: np.random.Generator, numbers: int = 60, nonsense: int = 60) -> Iterator[tuple[str, str]]:
    """All turns; sums and nonsense are drawn from ``rng``."""
    for country, capital in CAPITALS.items():
        yield f"What is the capital of {country}?", f"The capital of {country} is {capital}."
    yield from GREETINGS.items()
    yield from FACTS.items()
    for answer, questions in CANNOT_KNOW.items():
        for question in questions:
            yield question, answer
    for question in FOREIGN:
        yield question, ENGLISH_ONLY
    for _ in range(numbers):
        a, b = (int(n) for n in rng.integers(1, 10, 2))
        sign, result = (("+", a + b), ("-", max(a, b) - min(a, b)), ("times", a * b))[int(rng.integers(3))]
        first, second = (max(a, b), min(a, b)) if sign == "-" else (a, b)
        yield f"What is {first} {sign} {second}?", f"{first} {sign} {second} is {result}."
    for _ in range(nonsense):
        words = ["".join(LETTERS[int(i)] for i in rng.integers(26, size=int(rng.integers(3, 9)))) for _ in range(3)]
        yield " ".join(words[: int(rng.integers(1, 4))]) + ("?" if rng.random() < 0.3 else ""), NONSENSE
    for text in ("?", "???", "...", ".", "!!!", "x", "1234", "asdf", "asdf asdf asdf", "qwerty", "lorem ipsum dolor"):
        yield text, NONSENSE


def write(folder: Path) -> None:
    """Write the turns to ``chat.jsonl`` in a folder of drawn pictures, unless it exists."""
    file = folder / "chat.jsonl"
    if file.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    turns = [list(turn) for turn in chat_turns(np.random.default_rng(0))]
    file.write_text(json.dumps({"qa": turns}) + "\n", encoding="utf-8")
