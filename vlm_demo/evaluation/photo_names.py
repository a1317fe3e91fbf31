"""Photo names: the labels of the photo folders → readable words, and further right names for them.

Tables alone. A further name is a synonym, or the everyday word where the label is an expert's: a dalmatian is a dog.
"""

from __future__ import annotations

# Labels that can't be used in a question or an answer as they are.
READABLE = {
    "faces": "face",
    "leopards": "leopard",
    "motorbikes": "motorbike",
    "airplanes": "airplane",
    "car side": "car",
    "cougar body": "cougar",
    "cougar face": "cougar",
    "crocodile head": "crocodile",
    "flamingo head": "flamingo",
    "water lilly": "water lily",
    "cellphone": "cell phone",
    "sea horse": "seahorse",
    "rhino": "rhinoceros",
    "binocular": "binoculars",
    "headphone": "headphones",
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "tvmonitor": "TV",
    "tv": "TV",
    "hair drier": "hair dryer",
    "texting message": "texting a message",
    "throwing frisby": "throwing a frisbee",
    "playing guitar": "playing the guitar",
    "playing violin": "playing the violin",
    "writing on a book": "writing in a book",
    "cutting trees": "cutting a tree",
    "waving hands": "waving",
    "outwear": "jacket",
    "longsleeve": "long-sleeved shirt",
    "body": "bodysuit",
    "polo": "polo shirt",
}

# By readable name.
SYNONYMS = {
    # caltech101
    "face": ["person", "man", "woman"],
    "motorbike": ["motorcycle"],
    "airplane": ["plane", "aeroplane", "aircraft", "jet"],
    "cougar": ["puma", "mountain lion"],
    "cell phone": ["cellphone", "mobile phone", "phone", "mobile"],
    "seahorse": ["sea horse"],
    "rhinoceros": ["rhino"],
    "headphones": ["headset", "earphones"],
    "inline skate": ["roller skate", "rollerblade", "roller blade", "skate"],
    "wild cat": ["wildcat"],
    "hawksbill": ["turtle", "sea turtle"],
    "gerenuk": ["antelope", "gazelle"],
    "dalmatian": ["dog"],
    "garfield": ["cat"],
    "snoopy": ["dog"],
    "ketch": ["sailboat", "sailing boat", "boat", "ship"],
    "schooner": ["sailboat", "sailing boat", "sailing ship", "boat", "ship"],
    "ferry": ["boat", "ship"],
    "rooster": ["cock", "chicken"],
    "pigeon": ["dove"],
    "brontosaurus": ["dinosaur"],
    "stegosaurus": ["dinosaur"],
    "trilobite": ["fossil"],
    "nautilus": ["shell", "seashell"],
    "joshua tree": ["yucca", "tree"],
    "bonsai": ["tree"],
    "lotus": ["water lily", "flower"],
    "water lily": ["lotus", "flower"],
    "windsor chair": ["chair"],
    "grand piano": ["piano"],
    "electric guitar": ["guitar"],
    "dollar bill": ["money", "banknote", "bill", "dollar"],
    "soccer ball": ["football", "ball"],
    "ewer": ["pitcher", "jug"],
    "laptop": ["computer", "notebook"],
    "cup": ["mug"],
    "ceiling fan": ["fan"],
    "revolver": ["gun", "pistol", "handgun"],
    "watch": ["wristwatch"],
    "wrench": ["spanner"],
    "bass": ["fish"],
    "buddha": ["statue"],
    "gramophone": ["phonograph", "record player"],
    "menorah": ["candelabra", "candelabrum", "candlestick", "candle holder"],
    "minaret": ["tower"],
    "pagoda": ["temple"],
    "saxophone": ["sax"],
    "starfish": ["sea star"],
    "yin yang": ["yinyang"],
    "crayfish": ["crawfish"],
    "ibis": ["bird"],
    "mayfly": ["insect"],
    # grocery
    "aubergine": ["eggplant"],
    "zucchini": ["courgette"],
    "red beet": ["beet", "beetroot"],
    "satsumas": ["mandarin", "tangerine", "clementine"],
    "yoghurt": ["yogurt"],
    "oatghurt": ["oat yoghurt", "oat yogurt"],
    "soyghurt": ["soy yoghurt", "soy yogurt"],
    "red grapefruit": ["grapefruit"],
    "passion fruit": ["passionfruit"],
    "sour cream": ["creme fraiche"],
    # stanford40
    "applauding": ["clapping"],
    "brushing teeth": ["brushing his teeth", "brushing her teeth", "brushing their teeth"],
    "cleaning the floor": ["cleaning", "mopping", "sweeping", "vacuuming"],
    "climbing": ["rock climbing"],
    "cooking": ["preparing food", "making food", "preparing a meal"],
    "cutting a tree": ["cutting trees", "cutting down a tree", "cutting wood", "chopping", "sawing"],
    "cutting vegetables": ["chopping vegetables", "slicing vegetables", "cutting food", "chopping", "slicing"],
    "fixing a bike": ["fixing a bicycle", "repairing a bike", "repairing a bicycle", "working on a bike"],
    "fixing a car": ["repairing a car", "working on a car"],
    "gardening": ["planting", "working in the garden"],
    "looking through a microscope": ["using a microscope", "looking into a microscope"],
    "looking through a telescope": ["using a telescope", "looking into a telescope"],
    "phoning": [
        "talking on the phone",
        "talking on his phone",
        "talking on her phone",
        "talking on a cell phone",
        "on the phone",
        "calling",
        "making a phone call",
    ],
    "playing the guitar": ["playing his guitar", "playing her guitar"],
    "pouring liquid": ["pouring"],
    "pushing a cart": ["pushing a shopping cart"],
    "riding a bike": ["riding a bicycle", "cycling", "biking", "bike riding"],
    "riding a horse": ["horse riding", "horseback riding", "horseback"],
    "rowing a boat": ["rowing"],
    "running": ["jogging"],
    "shooting an arrow": ["archery", "shooting a bow", "shooting arrows"],
    "taking photos": ["taking a photo", "taking a picture", "taking pictures", "photographing", "taking a photograph"],
    "texting a message": ["texting", "using a phone", "using a cell phone", "using his phone", "using her phone"],
    "throwing a frisbee": ["playing frisbee"],
    "using a computer": ["using a laptop", "working on a computer", "on a computer", "on a laptop", "typing"],
    "walking the dog": ["walking his dog", "walking her dog", "walking their dog"],
    "washing dishes": ["doing dishes"],
    "watching TV": ["watching television"],
    "writing in a book": ["writing"],
    "writing on a board": ["writing on a blackboard", "writing on a whiteboard", "writing on a chalkboard", "writing"],
    # clothing
    "t-shirt": ["tee shirt", "t shirt"],
    "jacket": ["outerwear", "coat"],
    "long-sleeved shirt": ["long sleeve shirt", "long sleeve", "shirt"],
    "bodysuit": ["body suit", "onesie", "baby bodysuit"],
    "polo shirt": ["polo"],
    "undershirt": ["tank top", "vest"],
    "pants": ["trousers", "jeans"],
    "shoes": ["sneakers", "boots", "sandals"],
    "hoodie": ["sweatshirt"],
    "blazer": ["jacket", "suit jacket"],
    "blouse": ["shirt"],
    "hat": ["cap", "beanie"],
    # pacs
    "photo": ["photograph"],
    "sketch": ["drawing"],
    "cartoon": ["comic"],
}

PLURALS = {
    "person": "people",
    "sheep": "sheep",
    "bus": "buses",
    "bench": "benches",
    "couch": "couches",
    "sandwich": "sandwiches",
    "toothbrush": "toothbrushes",
    "wine glass": "wine glasses",
    "knife": "knives",
    "mouse": "computer mice",
    "TV": "TVs",
}
UNCOUNTED = ("skis", "scissors", "broccoli")  # asked about with "any", never counted


def readable(label: str) -> str:
    """The label as a word of plain English, without underscores."""
    label = label.replace("_", " ").strip()
    return READABLE.get(label, READABLE.get(label.lower(), label))


def accepted(name: str) -> list[str]:
    """Further right names of a readable name; may be empty."""
    return SYNONYMS.get(name, [])


def plural(name: str) -> str:
    return PLURALS.get(name, f"{name}s")


def is_there(name: str) -> str:
    """The question whether a thing is in the picture."""
    if name in UNCOUNTED:
        verb = "Is" if name == "broccoli" else "Are"
        return f"{verb} there any {name} in the picture?"
    return f"Is there {'an' if name[0] in 'aeiou' else 'a'} {name} in the picture?"
