"""Photo words: nouns and colours that photographs are asked about, and the questions that they are asked in."""

COCO_THINGS = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
).split(",")
LABELLED_THINGS = tuple(COCO_THINGS[:9] + COCO_THINGS[9:18])  # the 18 that coco_train is labelled with
VOC_THINGS = (
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,pottedplant,sheep,"
    "sofa,train,tvmonitor"
).split(",")
READABLE = {
    "aeroplane": "airplane", "diningtable": "dining table", "pottedplant": "potted plant", "motorbike": "motorcycle",
    "tvmonitor": "tv", "sofa": "couch",
}  # fmt: skip
# Nouns that people use in captions; a picture of five captions without one has none of it, as a rule.
CAPTION_NOUNS = (
    "dog,cat,horse,bird,cow,man,woman,boy,girl,child,baby,bicycle,car,bus,truck,boat,train,motorcycle,airplane,ball,"
    "bench,beach,tree,snow,grass,guitar,hat,helmet,umbrella,kite,skateboard,surfboard,fence,mountain,river,lake,"
    "swimming pool,rope,tent,bridge,flag,camera,book,phone,table,chair,bed,fire,flower,football,toy,swing,slide,"
    "fountain,staircase,tractor,balloon,frisbee,sandcastle,bucket,rock,sign"
).split(",")
COLOURS = "red,orange,yellow,green,blue,purple,pink,brown,black,white,gray,grey".split(",")
COLOURED_NOUNS = (
    "shirt,t-shirt,dress,jacket,coat,hat,cap,helmet,shorts,pants,jeans,suit,dog,cat,horse,car,truck,bus,train,boat,"
    "bicycle,bike,motorcycle,umbrella,ball,kite,frisbee,surfboard,skateboard,chair,couch,bench,sign,flower,bird,"
    "airplane,swimsuit,bikini,sweater,vest,tie,hair,sky,wall,door,fire hydrant,plate,bowl,vase,phone,bag,backpack"
).split(",")
# A caption with one of these words (regular expressions) may mean the thing without naming it.
IMPLIED_BY = {
    "man": "person|people|guy|player|rider|surfer|skier|boy|crowd|men|he|his|someone|couple",
    "woman": "person|people|lady|player|rider|girl|crowd|women|she|her|someone|couple",
    "boy": "child|kid|children|person|people|man|player", "girl": "child|kid|children|person|people|woman|lady",
    "child": "boy|girl|kid|kids|baby|toddler|people|person|boys|girls", "baby": "toddler|infant|child",
    "tree": "wood|woods|forest|park|branch|log|outside", "grass": "field|lawn|park|yard|outside|green",
    "beach": "sand|ocean|sea|shore|wave", "bicycle": "bike|cyclist|biker|bikes", "sign": "street|store|text",
    "motorcycle": "bike|motorbike|biker", "airplane": "plane|jet|planes",
    "ball": "baseball|football|soccer|tennis|basketball|golf", "snow": "ski|snowboard|winter|ice",
    "mountain": "cliff|hill|rock|ski", "rock": "cliff|stone|boulder|mountain|rocky", "river": "water|stream|creek",
    "lake": "water|pond|river", "toy": "ball|doll|frisbee|stuffed", "car": "vehicle|race|street|road|traffic",
    "football": "ball|player|game|team", "hat": "cap|helmet", "phone": "cell|talking",
    "boat": "ship|canoe|kayak|raft|row", "table": "desk|restaurant|eat|dinner|sit",
    "chair": "sit|seat|bench|couch|table", "flower": "garden|plant|flowers", "fence": "yard|gate",
    "rope": "climb|pull|swing|leash", "staircase": "stairs|steps", "book": "read|magazine",
}  # fmt: skip

DESCRIBE = (
    "Describe the picture.", "Describe the picture.", "Describe the picture.", "Describe the image.",
    "Describe this picture.", "Describe this photo.", "What is in the picture?", "What do you see?",
    "What does the picture show?", "Write a caption for this picture.", "What is happening in the picture?",
    "Caption this image.",
)  # fmt: skip
PRESENCE = (
    "Is there {a} in the picture?", "Is there {a} in the image?", "Is there {a} in this photo?", "Is there {a}?",
    "Can you see {a}?", "Does the picture show {a}?", "Is {a} visible in the picture?",
)  # fmt: skip
COUNTING = (
    "How many {s} are there?", "How many {s} are in the picture?", "How many {s} can you see?",
    "How many {s} are there in the image?",
)  # fmt: skip
NAMING = ("What is this?", "What object is this?", "What is it?", "What is shown here?", "What is the object called?")
DOING = ("What is the person doing?", "What is the person in the picture doing?", "What are they doing?",
         "What action is shown?")  # fmt: skip
WEARING = ("What garment is this?", "What piece of clothing is this?", "What is this?")
STYLE = ("What style is this picture?", "Is this a photo, a painting, a cartoon or a sketch?",
         "What kind of picture is this?")  # fmt: skip
ABSENT = (
    "What color is the {x}?", "Where is the {x}?", "What is the {x} doing?", "What is on the {x}?",
    "What is next to the {x}?", "How big is the {x}?", "What is the {x} made of?",
)  # fmt: skip
