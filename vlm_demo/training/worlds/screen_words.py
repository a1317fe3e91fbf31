"""Screen words: what stands on buttons, tabs, fields and headings, mostly composed, so that it must be read."""

from __future__ import annotations

import re

import numpy as np

# What a button says, and what a person presses it for.
AIMS = {
    "Save": "save|save the changes|keep my changes", "Cancel": "cancel|cancel this|abort", "OK": "confirm|agree",
    "Apply": "apply the changes|apply this", "Close": "close this|close the window", "Delete": "delete it|delete this",
    "Remove": "remove it|remove this", "Edit": "edit this|make edits", "Share": "share this|share it with someone",
    "Send": "send it|send this", "Reply": "reply|write a reply", "Sign in": "sign in|get into my account",
    "Sign up": "sign up|make a new account", "Log in": "log in|get into my account", "Log out": "log out|log off",
    "Register": "register|make an account", "Continue": "continue|go on", "Next": "go on|get to the next step",
    "Back": "go back|get back", "Done": "finish|be done with this", "Finish": "finish|complete this",
    "Start": "start|begin", "Get started": "get started|begin", "Skip": "skip this|skip this step",
    "Submit": "submit this|hand this in", "Confirm": "confirm|confirm this", "Accept": "accept|accept this",
    "Decline": "decline|decline this", "Allow": "allow it|allow this", "Deny": "deny it|forbid this",
    "Retry": "try again|try once more", "Try again": "try again|try once more", "Refresh": "refresh|refresh the page",
    "Search": "search|find something", "Download": "download it|download this", "Upload": "upload something|upload it",
    "Install": "install it|install this", "Update": "update it|update this", "Open": "open it|open this",
    "Print": "print it|print this", "Copy": "copy it|make a copy", "Undo": "undo this|undo the last step",
    "Reset": "reset everything|reset this", "Clear": "clear this|empty this", "Buy now": "buy it|buy this",
    "Checkout": "check out|get to the checkout", "Pay": "pay|make the payment", "Subscribe": "subscribe|get the news",
    "Follow": "follow this|follow them", "Join": "join|become a member", "Learn more": "learn more|get to know more",
    "Read more": "read more|read on", "See all": "see all of it|see everything", "Book now": "book it|make a booking",
    "Play": "play it|start the music", "Call": "call|make a call", "Help": "get help|find help",
    "Add to cart": "add it to the cart|put it into the cart", "Not now": "do it some other time|put this off",
    "Discard": "discard the changes|throw the changes away", "Leave": "leave|leave this",
}  # fmt: skip
_VERBS = (
    "Add Create Delete Edit Share Open Export Import Rename Move Print View Change Choose Invite Report Block Mute Pin "
    "Archive Upload Download Send Show Hide Find Copy Select Sort Check Manage Restore Track Compare Switch Scan"
).split()
_OBJECTS = (
    "photo file folder link account contact address message note event album playlist list item comment review card "
    "profile password team project invoice device code report order ticket page video song recipe trip room key chart "
    "group draft topic reminder backup theme language payment member guest form map"
).split()
_MIDDLE = "new all this your my another every selected old last".split()
_TOPICS = (
    "For you|Interests|Saved|Topics|People|Home|Search|Profile|Settings|Inbox|Messages|Headlines|Photos|Videos|Music|"
    "Albums|Artists|Playlists|Calls|Contacts|Chats|Groups|Updates|News|Sports|Weather|Travel|Food|Health|Science|"
    "Business|Politics|Culture|Games|Movies|Books|Art|Design|Fashion|Fitness|Recipes|Garden|Nature|Animals|History|"
    "Today|Week|Month|Year|Recent|Popular|Trending|Latest|All|Unread|Starred|Drafts|Sent|Archive|Spam|Trash|Overview|"
    "Details|Reviews|Related|Questions|Activity|Members|Files|Tasks|Calendar|Projects|Reports|Billing|Security|Privacy|"
    "General|Account|Display|Sound|Network|Storage|Devices|Advanced|About|Help|Feedback|Favorites|Library|Discover|"
    "Explore|Shop|Cart|Orders|Offers|Wallet|Cards|Transfers|Budget|Map|Nearby|Places|Events|Tickets|Dashboard|Team|"
    "Pricing|Products|Services|Contact|Blog|Docs|Support|Community|Testing|Compose|Publishing|Tools|Performance|"
    "Architecture|Data|Camera|Media|Vegan|Gluten free|Open now|Free delivery|Under 30 min|Top rated|On sale|In stock"
).split("|")
_SETTINGS = (
    "Dark mode|Push notifications|Wi-Fi|Bluetooth|Airplane mode|Location|Auto-update|Sync contacts|Battery saver|"
    "Do not disturb|Vibrate|Auto-rotate|Night light|Mobile data|Hotspot|Keep me signed in|Remember me|Autoplay|"
    "Captions|High contrast|Large text|Show previews|Read receipts|Two-factor login|Face unlock|Developer mode|"
    "Private account|Email alerts|Weekly digest|Beta features|Spell check|Auto-save|Show hidden files|Line numbers|"
    "Word wrap|Word count|Cookies|Pop-ups|Offline mode|Share usage data|Newsletter|I agree to the terms|Gift wrap|"
    "Express delivery|Same as billing|Smart replies|Sound effects|Screen lock|Data saver|Quiet hours|Time zone"
).split("|")
_CHOICES = (
    "Small|Medium|Large|Light|Dark|System default|Daily|Weekly|Monthly|Never|Always|Ask every time|Public|Private|"
    "Friends only|Everyone|Nobody|Credit card|Bank transfer|Cash|PayPal|English|German|French|Spanish|Italian|Standard|"
    "Express|Overnight|Pick up|Low|High|Automatic|Manual|Yes|No|Maybe|Male|Female|Other|Metric|Imperial|Portrait|"
    "Landscape|Morning|Afternoon|Evening|Beginner|Intermediate|Expert|Free|Basic|Premium|Bus|Train|Bicycle|Car"
).split("|")
_LEVELS = "Volume|Brightness|Font size|Zoom|Speed|Contrast|Opacity|Quality|Price|Distance|Bass|Treble|Warmth".split("|")
_PEOPLE = (
    "Anna Ben Carla David Elena Felix Grace Hugo Ines Jonas Kira Leo Maria Nils Olga Pablo Rita Sam Tara Umar Vera Will"
).split()
_FAMILIES = "Adams Brown Costa Diaz Evans Fischer Garcia Hall Ito Jones Klein Lopez Meyer Novak Okoye Park Roy".split()
_TOWNS = "Berlin Oslo Lima Cairo Tokyo Madrid Boston Leeds Lyon Porto Turin Graz Perth Quito Riga Seoul".split()
_SYLLABLES = "ka lo mi ra ten vor sun bel da pri qua zen fi gro hul ja nor pe ti xa".split()
_GALLERY = ("Primary Secondary Small Large Default Custom Simple Plain Rounded Active Sample Main Long Wide").split()
_ASKED = (
    "What do you want to {}?|Who can see your {}?|Delete this {}?|Leave the {}?|Discard this {}?|How was your {}?|"
    "Which {} is yours?|Share your {}?|Rename the {}?|Move this {} to the trash?|Save the {} before closing?|"
    "What is your favorite {}?|Do you like this {}?|Where is your {}?|Remove {} from the list?|Turn off {} alerts?|"
    "Allow access to your {}?|Replace the old {}?|How often do you use a {}?|Pick your first {}|Set up your {}|"
    "Welcome back|Create an account|Tell us about your {}|Discard changes?|Log out?|Are you sure?|Update available"
).split("|")
_SAID = (
    "This {} cannot be restored.|You can change the {} later.|Your {} will be shared.|Choose a {} to get started.|"
    "We keep your {} safe.|Every {} counts.|Add a {} to see it here.|The {} was saved.|No {} yet.|New {} available.|"
    "Only you can see this {}.|Last {} sent yesterday.|Find a {} near you.|Tap to open the {}."
).split("|")
_MONTHS = "January February March April May June July August September October November December".split()


class Words:
    """Words for one screen, each label only once; ``loud`` writes what buttons say in capitals."""

    def __init__(self, rng: np.random.Generator, loud: bool = False) -> None:
        self.rng, self.loud = rng, loud
        self.used: set[str] = set()

    def pick(self, options) -> str:
        """One of the options."""
        return str(options[int(self.rng.integers(len(options)))])

    def _new(self, make) -> str:
        for _ in range(20):
            text = make()
            if text.lower() not in self.used:
                break
        self.used.add(text.lower())
        return text

    def action(self, most: int = 30) -> str:
        """What a button says, of ``most`` letters."""

        def make() -> str:
            for _ in range(10):
                text = self._action()
                if len(text) <= most:
                    return text
            return self.pick([a for a in AIMS if len(a) <= 7])

        return self._new(make)

    def _action(self) -> str:
        style = self.rng.random()
        if style < 0.45:
            text = self.pick(list(AIMS))
        elif style < 0.68:
            text = f"{self.pick(_VERBS)} {self.pick(_OBJECTS)}"
        elif style < 0.78:
            text = f"{self.pick(_VERBS)} {self.pick(_MIDDLE)} {self.pick(_OBJECTS)}"
        elif style < 0.86:
            text = self._invented()
        elif style < 0.93:
            text = f"{self.pick(_GALLERY)} {self.pick(_GALLERY)} button"
        else:
            text = f"{self.pick(_GALLERY)} Button"
        if self.loud:
            return text.upper()
        return text.title() if style > 0.45 and self.rng.random() < 0.3 else text

    def topic(self, most: int = 18) -> str:
        """What a tab, a chip or a list item says, of ``most`` letters."""

        def make() -> str:
            for _ in range(10):
                style = self.rng.random()
                text = (
                    self.pick(_TOPICS) if style < 0.6
                    else f"{self.pick(_GALLERY)} {self.pick(('tab', 'chip', 'item', 'topic'))}" if style < 0.67
                    else self._invented() if style < 0.76
                    else _plural(self.pick(_OBJECTS)).capitalize() if style < 0.86
                    else f"{self.pick(_MIDDLE).capitalize()} {self.pick(_OBJECTS)}"
                )  # fmt: skip
                if len(text) <= most:
                    return text
            return self.pick([topic for topic in _TOPICS if len(topic) <= 6])

        return self._new(make)

    def setting(self) -> str:
        """What can be on or off."""
        return self._new(
            lambda: (
                self.pick(_SETTINGS)
                if self.rng.random() < 0.6
                else f"{self.pick(_VERBS)} {self.pick(_MIDDLE)} {self.pick(_OBJECTS)}"
                if self.rng.random() < 0.4
                else f"{self.pick(('Show', 'Allow', 'Use', 'Keep', 'Enable'))} {_plural(self.pick(_OBJECTS))}"
            )
        )

    def choice(self) -> str:
        """One of several, such as a radio button."""
        return self._new(lambda: self.pick(_CHOICES) if self.rng.random() < 0.75 else self.topic())

    def level(self) -> str:
        """What a slider sets."""
        return self._new(lambda: self.pick(_LEVELS))

    def title(self) -> str:
        """A screen's title."""
        style = self.rng.random()
        return self._new(
            lambda: (
                self.pick(_TOPICS)
                if style < 0.5
                else f"My {_plural(self.pick(_OBJECTS))}"
                if style < 0.62
                else f"{self.pick(_VERBS)} {self.pick(_OBJECTS)}"
                if style < 0.8
                else f"{self.pick(_PEOPLE)} {self.pick(_FAMILIES)}"
                if style < 0.86
                else self.pick(("Untitled", "<No title>", "Title", "Screen title", "App name"))
                if style < 0.91
                else self._invented()
            )
        )

    def question(self) -> str:
        """A heading, mostly a question."""
        return self._new(lambda: _articled(self.pick(_ASKED).format(self.pick(_OBJECTS))))

    def sentence(self) -> str:
        """What small print says."""
        return self._new(lambda: _articled(self.pick(_SAID).format(self.pick(_OBJECTS))))

    def field(self) -> tuple[str, str, str]:
        """A text field's label, the hint in an empty one and a value."""
        first, family, town = self.pick(_PEOPLE), self.pick(_FAMILIES), self.pick(_TOWNS)
        n = int(self.rng.integers(1, 200))
        word = self._invented().lower()
        known = {
            "Name": ("Your name", f"{first} {family}"), "First name": ("First name", first),
            "Last name": ("Last name", family), "Email": ("name@example.com", f"{first.lower()}@{word}.com"),
            "Password": ("Your password", "*" * int(self.rng.integers(5, 10))), "City": ("Your city", town),
            "Username": ("Pick a username", f"{first.lower()}{n}"), "Company": ("Optional", f"{family} Ltd"),
            "Phone": ("+00 000 0000", f"+{n} {int(self.rng.integers(100, 999))} {int(self.rng.integers(1000, 9999))}"),
            "Street": ("Street and number", f"{n} {word.capitalize()} Street"),
            "Zip code": ("00000", str(int(self.rng.integers(10000, 99999)))),
            "Search": ("Search for something", f"{self.pick(_OBJECTS)} in {town}"),
            "Birthday": ("Day and month", f"{self.pick(_MONTHS)} {int(self.rng.integers(1, 29))}"),
            "Amount": ("0.00", f"{n}.{int(self.rng.integers(10, 99))}"), "Title": ("Add a title", word.capitalize()),
            "Destination": ("Where to?", town), "Guests": ("How many?", str(1 + n % 9)),
            "Message": ("Write a message", f"See you in {town}"), "Code": ("Enter the code", str(1000 + 37 * n)),
            "Website": ("https://", f"www.{word}.org"), "Country": ("Your country", f"{word.capitalize()}land"),
            "Promo code": ("Enter a code", f"{word.upper()}{n}"), "Age": ("Your age", str(10 + n % 80)),
        }  # fmt: skip
        label = self._new(lambda: self.pick(list(known)))
        return (label, *known[label])

    def _invented(self) -> str:
        return "".join(self.pick(_SYLLABLES) for _ in range(int(self.rng.integers(2, 4)))).capitalize()


def _articled(text: str) -> str:
    """The same with "an" before vowels."""
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith("s") else "s")
