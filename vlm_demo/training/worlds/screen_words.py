"""Screen words: what stands on buttons, tabs, fields and headings, mostly composed, so that it must be read."""

from __future__ import annotations

from collections.abc import Callable

from vlm_demo.training.worlds.phrasings import tidy
from vlm_demo.training.worlds.values import Values
from vlm_demo.training.worlds.world import plural_of

# What a button says, and what a person presses it for.
AIMS = {
    "Save": "save|save the changes|keep my changes", "Cancel": "cancel|cancel this|abort", "OK": "confirm|agree",
    "Apply": "apply the changes|apply this", "Close": "close this|close the window", "Delete": "delete it|delete this",
    "Edit": "edit this|make edits", "Share": "share this|share it with someone", "Send": "send it|send this",
    "Reply": "reply|write a reply", "Sign in": "sign in|get into my account", "Register": "register|make an account",
    "Log out": "log out|log off", "Continue": "continue|go on", "Next": "go on|get to the next step",
    "Back": "go back|get back", "Finish": "finish|complete this", "Start": "start|begin", "Skip": "skip this step",
    "Submit": "submit this|hand this in", "Accept": "accept|accept this", "Decline": "decline|decline this",
    "Allow": "allow it|allow this", "Try again": "try again|try once more", "Refresh": "refresh|refresh the page",
    "Search": "search|find something", "Download": "download it|download this", "Upload": "upload something|upload it",
    "Install": "install it|install this", "Update": "update it|update this", "Print": "print it|print this",
    "Copy": "copy it|make a copy", "Undo": "undo this|undo the last step", "Reset": "reset everything|reset this",
    "Buy now": "buy it|buy this", "Pay": "pay|make the payment", "Subscribe": "subscribe|get the news",
    "Join": "join|become a member", "Learn more": "learn more|get to know more", "Play": "play it|start the music",
    "Call": "call|make a call", "Help": "get help|find help", "Add to cart": "add it to the cart|put it into the cart",
    "Not now": "do it some other time|put this off", "Discard": "discard the changes|throw the changes away",
}  # fmt: skip
_VERBS = (
    "Add Create Delete Edit Share Open Export Import Rename Move Print View Change Choose Invite Report Block Mute Pin "
    "Archive Send Show Hide Find Copy Select Sort Check Manage Restore Track Compare Scan"
).split()
_OBJECTS = (
    "photo file folder link account contact address message note event album playlist list item comment review card "
    "profile password team project invoice device code report order ticket page video song recipe trip room key chart "
    "group draft topic reminder backup theme language payment member guest form map"
).split()
_MIDDLE = "new all this your my another every selected old last".split()
_TOPICS = (
    "For you|Interests|Saved|Topics|People|Home|Search|Profile|Settings|Inbox|Messages|Headlines|Photos|Videos|Music|"
    "Albums|Artists|Calls|Contacts|Chats|Groups|Updates|News|Sports|Weather|Travel|Food|Health|Science|Business|Culture|"
    "Games|Movies|Books|Art|Design|Fashion|Fitness|Recipes|Garden|Nature|Animals|History|Today|Week|Month|Year|Recent|"
    "Popular|Latest|All|Unread|Starred|Drafts|Sent|Archive|Spam|Trash|Overview|Details|Reviews|Related|Activity|Members|"
    "Files|Tasks|Calendar|Projects|Reports|Billing|Security|Privacy|General|Account|Display|Sound|Network|Storage|"
    "Devices|Advanced|About|Favorites|Library|Discover|Explore|Shop|Cart|Orders|Offers|Wallet|Cards|Budget|Map|Nearby|"
    "Events|Tickets|Dashboard|Pricing|Products|Services|Blog|Docs|Support|Camera|Vegan|Open now|Free delivery|On sale"
).split("|")
_SETTINGS = (
    "Dark mode|Push notifications|Wi-Fi|Bluetooth|Airplane mode|Location|Auto-update|Sync contacts|Battery saver|"
    "Do not disturb|Vibrate|Auto-rotate|Night light|Mobile data|Hotspot|Remember me|Autoplay|Captions|High contrast|"
    "Large text|Show previews|Read receipts|Face unlock|Private account|Email alerts|Weekly digest|Spell check|"
    "Auto-save|Line numbers|Word wrap|Cookies|Offline mode|Newsletter|Gift wrap|Smart replies|Screen lock|Data saver"
).split("|")
_CHOICES = (
    "Small|Medium|Large|Light|Dark|Daily|Weekly|Monthly|Never|Always|Public|Private|Friends only|Everyone|Nobody|Cash|"
    "Credit card|Bank transfer|English|German|French|Spanish|Standard|Express|Pick up|Low|High|Automatic|Manual|Yes|No|"
    "Maybe|Metric|Imperial|Portrait|Landscape|Morning|Evening|Beginner|Expert|Free|Basic|Premium|Bus|Train|Bicycle|Car"
).split("|")
_LEVELS = "Volume|Brightness|Font size|Zoom|Speed|Contrast|Opacity|Quality|Price|Distance|Bass|Treble".split("|")
_ASKED = (
    "What do you want to see?|Who can see your {}?|Delete this {}?|Leave the {}?|Discard this {}?|How was your {}?|"
    "Which {} is yours?|Share your {}?|Rename the {}?|Move this {} to the trash?|What is your favorite {}?|"
    "Do you like this {}?|Where is your {}?|Allow access to your {}?|Replace the old {}?|Pick your first {}|"
    "Set up your {}|Welcome back|Create an account|Tell us about your {}|Log out?|Are you sure?|Update available"
).split("|")
_SAID = (
    "This {} cannot be restored.|You can change the {} later.|Your {} will be shared.|Choose a {} to get started.|"
    "We keep your {} safe.|Every {} counts.|The {} was saved.|No {} yet.|Only you can see this {}."
).split("|")
# Of a text field its label, the hint in an empty one, and how its value is made.
FIELDS: dict[str, tuple[str, Callable[[Values], str]]] = {
    "Name": ("Your name", Values.person),
    "Email": ("name@example.com", lambda v: f"{v.made_up().lower()}@{v.made_up().lower()}.com"),
    "City": ("Your city", Values.town),
    "Username": ("Pick a username", lambda v: v.made_up().lower() + v.code("##")),
    "Company": ("Optional", Values.company),
    "Phone": ("+00 000 0000", Values.phone),
    "Street": ("Street and number", lambda v: v.address()[0]),
    "Zip code": ("00000", lambda v: v.code("#####")),
    "Birthday": ("Day and month", lambda v: v.day().strftime("%B %d")),
    "Amount": ("0.00", lambda v: v.money.plain(v.cents())),
    "Destination": ("Where to?", Values.town),
    "Guests": ("How many?", lambda v: v.code("%")),
    "Code": ("Enter the code", lambda v: v.code("####")),
    "Website": ("https://", lambda v: f"www.{v.made_up().lower()}.org"),
    "Age": ("Your age", lambda v: v.code("%#")),
}


class Words:
    """Words for one screen, each only once."""

    def __init__(self, values: Values) -> None:
        self.values, self.used = values, set[str]()

    def new(self, make: Callable[[], str], longest: int = 30) -> str:
        """A text that stands nowhere else, nor in any other, of so many letters."""
        text = ""
        for _ in range(30):
            text = make()
            if len(text) <= longest and not any(text.lower() in o or o in text.lower() for o in self.used):
                break
        self.used.add(text.lower())
        return text

    def _phrase(self) -> str:
        pick = self.values.pick
        middle = f"{pick(_MIDDLE)} " if self.values.chance(0.3) else ""
        return f"{pick(_VERBS)} {middle}{pick(_OBJECTS)}"

    def action(self) -> str:
        """What a button says."""
        pick, chance = self.values.pick, self.values.chance
        return self.new(
            lambda: pick(list(AIMS)) if chance(0.55) else self._phrase() if chance(0.75) else self.values.made_up(), 22
        )

    def topic(self) -> str:
        """What a tab, a chip or a list item says."""
        pick, chance = self.values.pick, self.values.chance
        return self.new(
            lambda: (
                pick(_TOPICS) if chance(0.65)
                else self.values.made_up() if chance(0.4) else plural_of(pick(_OBJECTS)).capitalize()
            ), 14,
        )  # fmt: skip

    def setting(self) -> str:
        """What can be on or off."""
        pick, chance = self.values.pick, self.values.chance
        lead = ("Show", "Allow", "Use", "Keep", "Enable")
        return self.new(lambda: pick(_SETTINGS) if chance(0.7) else f"{pick(lead)} {plural_of(pick(_OBJECTS))}")

    def choice(self) -> str:
        """One of several, such as a radio button."""
        return self.new(lambda: self.values.pick(_CHOICES))

    def level(self) -> str:
        """What a slider sets."""
        return self.new(lambda: self.values.pick(_LEVELS))

    def title(self) -> str:
        """A screen's title."""
        pick, chance = self.values.pick, self.values.chance
        other = (self._phrase, self.values.made_up)
        return self.new(lambda: pick(_TOPICS) if chance(0.6) else pick(other)())

    def question(self) -> str:
        """A heading, mostly a question."""
        return self.new(lambda: tidy(self.values.pick(_ASKED).format(self.values.pick(_OBJECTS))), 40)

    def sentence(self) -> str:
        """What small print says."""
        return tidy(str(self.values.pick(_SAID)).format(self.values.pick(_OBJECTS)))
