"""Document values: invented names, addresses, numbers, dates and amounts, written as different countries write them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REGIONS = ("malaysia", "europe", "us", "uk")
MONTHS = ("January February March April May June July August September October November December").split()

_FIRST = (
    "Sunny Golden Green Blue River Lake Hill Royal Happy Lucky Fresh City Metro Grand Little Old New Silver Red Star "
    "Ocean Forest Garden Harbour Central Corner Family Prime Super Best Quick Urban Village Maple Oak Cedar Lotus "
    "Tiger Falcon Pioneer Summit Valley Sunrise Moon Anchor Bella Casa Nova Delta Alpha Omega Unity Perfect Smart Kim "
    "Tan Lee Mario Hansen Patel Garcia Weber Rossi Novak Wong Chen Gill Murphy Baker Schmidt Eagle Pearl Crystal "
    "Diamond Orchid Bamboo Jade Union Global Pacific Atlas Everest Apex Zenith Vista Aroma Spice Honey Olive Amber"
).split()
_SECOND = (
    "Mart Market Store Shop Bakery Cafe Restaurant Pharmacy Foods Grocer Grill Kitchen Hardware Books Trading "
    "Stationery "
    "Deli Bistro Pizza Electronics Garage Florist Outlet Supermarket Minimart Enterprise Coffee House Bar Boutique "
    "Toys "
    "Seafood Noodles Optical Motors Tyres Furniture Textiles Lighting Clinic Bookshop Supplies Machinery Plastics "
    "Printing Gifts Sports Fashion Jewellery Aquarium Paints Tools Sweets Steamboat Corner Station"
).split()
_MALAY = "Restoran Syarikat Perniagaan Kedai Pasaraya Pusat Klinik Farmasi Kopitiam Perusahaan".split()
_WORK = (
    "Logistics Consulting Software Systems Design Media Solutions Engineering Services Networks Telecom Hosting "
    "Energy Partners Industries Studios Supplies Technologies Holdings Publishing Analytics Cleaning Security"
).split()
_SUFFIX = {
    "malaysia": ("SDN BHD", "SDN BHD", "SDN. BHD.", "Sdn Bhd", "S/B", "ENTERPRISE", "TRADING", "(M) SDN BHD", ""),
    "europe": ("GmbH", "GmbH & Co. KG", "AG", "B.V.", "S.r.l.", "SARL", "S.A.", "Oy", "AB", "", ""),
    "us": ("Inc.", "LLC", "Inc", "Corp.", "& Sons", "Co.", "", "", ""),
    "uk": ("Ltd", "Ltd.", "Limited", "PLC", "& Co", "", "", ""),
}
_SYLLABLES = (
    "ka lo mi ra ten vor sun bel da pri qua zen fi gro hul ja ne so ti mar lin dor ves kor pan tel wen bri sto cal ni "
    "ber gan tro fel ma ri va to san el"
).split()
_GIVEN = (
    "Anna Ben Clara David Emma Farid George Hannah Ivan Julia Kevin Laura Mei Nadia Oliver Paul Rosa Samuel Tina "
    "Victor "
    "Wei Yusof Zoe Aisha Carlos Elena Hugo Ingrid Jonas Lucas Maria Peter Siti Thomas Alan Grace"
).split()
_FAMILY = (
    "Smith Jones Brown Wilson Taylor Miller Davis Garcia Lopez Weber Fischer Rossi Bianchi Novak Kowalski Jansen "
    "Andersen Larsen Tan Lim Wong Chen Nguyen Patel Khan Ahmad Hassan Murphy Kelly Walker Young Harris Clark Moreau "
    "Dubois Silva Costa Meyer Schulz Evans"
).split()
_STREETS = {
    "malaysia": "Jalan Merdeka|Jalan Sagu 18|Jalan Puteri 2/4|Jalan Air Panas|Jln SS 21/37|Persiaran Bakti|"
    "Lorong Haji 3|"
    "Jalan Tun Razak|Jalan Kuching|Jalan Ipoh Batu 5|Jalan Bukit Bintang|Jalan Setia 7/1A|Jln Dato Onn|Jalan Meru",
    "europe": "Hauptstrasse|Bahnhofstrasse|Via Roma|Rue de la Gare|Kerkstraat|Gartenweg|Rue Victor Hugo|Via Garibaldi|"
    "Lindenallee|Schulstrasse|Calle Mayor|Avenida del Sol|Storgatan|Marktplatz",
    "us": "Main Street|Park Avenue|Oak Street|5th Avenue|Sunset Blvd|Maple Drive|Broadway|Elm Street|Lake Road|"
    "Washington St|Highland Ave|River Road|W 42nd St|Pine Street",
    "uk": "High Street|Station Road|Church Lane|Mill Road|Victoria Road|Market Square|Queens Road|Bridge Street|"
    "Kings Lane|Green Lane|London Road|Albert Street",
}
_AREAS = (
    "Taman Daya|Bandar Puteri|Taman Subang Jaya|Setapak|Taman Berkeley|Kawasan Perindustrian|Seksyen 9|Bandar Mahkota|"
    "Taman Desa|Kampung Baru|Pusat Bandar|Bukit Jelutong"
).split("|")
_TOWNS = {
    "malaysia": "Johor Bahru|Kuala Lumpur|Shah Alam|Klang|Petaling Jaya|Puchong|Ipoh|Melaka|Seremban|Cheras|Kajang",
    "europe": "Berlin|Hamburg|Wien|Milano|Torino|Paris|Lyon|Utrecht|Rotterdam|Madrid|Bern|Gent|Oslo|Praha",
    "us": "Springfield|Denver|Austin|Portland|Riverton|Madison|Dallas|Oakland|Tampa|Boston|Salem|Reno",
    "uk": "Oxford|Leeds|Bristol|York|Cardiff|Bath|Dundee|Exeter|Derby|Norwich|Dublin|Luton",
}
_STATES = {
    "malaysia": "Selangor Johor Perak Penang Melaka Kedah".split(),
    "us": "IL CO TX OR WI CA FL MA NV NY".split(),
}


def pick(rng: np.random.Generator, options):
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def digits(rng: np.random.Generator, n: int) -> str:
    """``n`` random digits, the first not 0."""
    return str(int(rng.integers(10 ** (n - 1), 10**n)))


def made_up(rng: np.random.Generator) -> str:
    """A name that no list holds."""
    return "".join(pick(rng, _SYLLABLES) for _ in range(int(rng.integers(2, 4)))).capitalize()


def company(rng: np.random.Generator, region: str, business: bool = False) -> str:
    """A shop's name, or that of a firm that writes invoices."""
    name = made_up(rng) if rng.random() < 0.35 else str(pick(rng, _FIRST))
    if rng.random() < 0.25:
        name += " " + (made_up(rng) if rng.random() < 0.4 else str(pick(rng, _FIRST)))
    elif rng.random() < 0.1:
        name = "".join(chr(65 + int(i)) for i in rng.integers(0, 26, int(rng.integers(2, 5))))
    elif rng.random() < 0.08 and region != "malaysia":
        name += "'s"
    if region == "malaysia" and rng.random() < 0.25 and not business:
        name = f"{pick(rng, _MALAY)} {name}"
    elif rng.random() < 0.9:
        name += " " + str(pick(rng, _WORK if business and rng.random() < 0.7 else _SECOND))
    if region == "malaysia" and rng.random() < 0.12:
        name += f" ({pick(rng, _AREAS)})"
    suffix = str(pick(rng, _SUFFIX[region]))
    name = f"{name} {suffix}".strip()
    capitals = 0.8 if region == "malaysia" else 0.35
    return name.upper() if rng.random() < capitals else name


def person(rng: np.random.Generator) -> str:
    """A given and a family name."""
    family = made_up(rng) if rng.random() < 0.2 else pick(rng, _FAMILY)
    return f"{pick(rng, _GIVEN)} {family}"


def given(rng: np.random.Generator) -> str:
    """A given name."""
    return str(pick(rng, _GIVEN))


def town(rng: np.random.Generator, region: str) -> str:
    """A town's name."""
    return str(pick(rng, _TOWNS[region].split("|")))


def address(rng: np.random.Generator, region: str) -> list[str]:
    """The lines of an address, without the name."""
    street, place = pick(rng, _STREETS[region].split("|")), town(rng, region)
    number = int(rng.integers(1, 250))
    if region == "malaysia":
        lines = [f"{pick(rng, ['No.', 'No', 'NO.', 'Lot', 'No. ', ''])}{number}, {street},".replace(". ,", ".,")]
        if rng.random() < 0.6:
            lines.append(f"{pick(rng, _AREAS)},")
        end = f"{digits(rng, 5)} {place}"
        lines += [f"{end},", f"{pick(rng, _STATES['malaysia'])}."] if rng.random() < 0.5 else [end]
    elif region == "europe":
        lines = [f"{street} {number}", f"{digits(rng, 5 if rng.random() < 0.7 else 4)} {place}"]
    elif region == "us":
        state = pick(rng, _STATES["us"])
        lines = [f"{number * 7} {street}", f"{place}, {state} {digits(rng, 5)}"]
    else:
        code = f"{place[0].upper()}{pick(rng, 'ABDEHLNS')}{int(rng.integers(1, 20))} {int(rng.integers(1, 9))}"
        lines = [f"{number} {street}", f"{place} {code}{pick(rng, 'ABDEFHJL')}{pick(rng, 'NPQRSTUW')}"]
    return lines


def phone(rng: np.random.Generator, region: str) -> str:
    """A telephone number."""
    if region == "malaysia":
        body = digits(rng, 8) if rng.random() < 0.6 else f"{digits(rng, 4)} {digits(rng, 4)}"
        return f"{pick(rng, ['03', '07', '05', '012', '016'])}-{body}"
    if region == "us":
        a, b, c = digits(rng, 3), digits(rng, 3), digits(rng, 4)
        return str(pick(rng, [f"({a}) {b}-{c}", f"{a}-{b}-{c}", f"{a}.{b}.{c}"]))
    if region == "uk":
        return str(pick(rng, [f"0{digits(rng, 4)} {digits(rng, 6)}", f"020 {digits(rng, 4)} {digits(rng, 4)}"]))
    a, b, c = pick(rng, ["+49", "+31", "+33", "+39", "+43"]), digits(rng, 2), digits(rng, 7)
    return str(pick(rng, [f"{a} {b} {c}", f"0{b}/{c}", f"0{b} {c}", f"0{b}-{c}"]))


def day(rng: np.random.Generator) -> tuple[int, int, int]:
    """Year, month, day."""
    return int(rng.integers(2008, 2028)), int(rng.integers(1, 13)), int(rng.integers(1, 29))


def later(when: tuple[int, int, int], days: int) -> tuple[int, int, int]:
    """A day so many days after, months being of 28 days: any later day will do."""
    year, month, date = when
    total = (year * 12 + month - 1) * 28 + date - 1 + days
    months, date = divmod(total, 28)
    return months // 12, months % 12 + 1, date + 1


def date_style(rng: np.random.Generator, region: str, long: bool = False) -> str:
    """A way of writing dates, a template for `dated`."""
    styles = {
        "malaysia": "{d:02}/{m:02}/{y}|{d:02}/{m:02}/{y}|{d:02}-{m:02}-{y}|{d:02}-{m:02}-{s:02}|{d} {B} {y}|"
        "{d:02} {B} {y}|"
        "{d:02}-{b}-{y}|{d}/{m}/{y}|{d:02}/{m:02}/{s:02}|{y}-{m:02}-{d:02}|{d:02} {b} {y}|{d:02}-{B}-{y}",
        "europe": "{d:02}.{m:02}.{y}|{d:02}.{m:02}.{y}|{d:02}.{m:02}.{s:02}|{y}-{m:02}-{d:02}|{d:02}/{m:02}/{y}|"
        "{d:02}-{m:02}-{y}|{d} {b} {y}",
        "us": "{m:02}/{d:02}/{y}|{m:02}/{d:02}/{y}|{m}/{d}/{y}|{m:02}/{d:02}/{s:02}|{b} {d}, {y}|{b} {d:02}, {y}|"
        "{L} {d}, {y}|"
        "{m:02}-{d:02}-{y}",
        "uk": "{d:02}/{m:02}/{y}|{d:02}/{m:02}/{y}|{d:02}/{m:02}/{s:02}|{d} {b} {y}|{d} {L} {y}|{d:02}-{b}-{s:02}|"
        "{d:02}.{m:02}.{y}",
    }[region].split("|")
    if long:
        styles = ["{L} {d}, {y}"] if region == "us" else ["{d} {L} {y}", "{d} {L} {y}", "{L} {d}, {y}", styles[0]]
    return str(pick(rng, styles))


def dated(style: str, when: tuple[int, int, int]) -> str:
    """A day written in a style."""
    year, month, date = when
    name = MONTHS[month - 1]
    return style.format(d=date, m=month, y=year, s=year % 100, b=name[:3], B=name[:3].upper(), L=name)


def any_date(rng: np.random.Generator) -> str:
    """Some date, written somehow."""
    return dated(date_style(rng, str(pick(rng, REGIONS))), day(rng))


def clock(rng: np.random.Generator) -> str:
    """A time of the day."""
    hour, minute, second = int(rng.integers(7, 23)), int(rng.integers(60)), int(rng.integers(60))
    half = "AM" if hour < 12 else "PM"
    short = (hour - 1) % 12 + 1
    return str(
        pick(
            rng,
            [
                f"{hour:02}:{minute:02}",
                f"{hour:02}:{minute:02}",
                f"{hour:02}:{minute:02}:{second:02}",
                f"{hour:02}:{minute:02}:{second:02}",
                f"{short}:{minute:02}:{second:02} {half}",
                f"{short:02}:{minute:02} {half}",
                f"{short}:{minute:02}{half}",
                f"{short:02}:{minute:02}:{second:02} {half}",
            ],
        )
    )


@dataclass(frozen=True)
class Currency:
    """How amounts are written: ``name`` in words, ``mark`` printed with amounts at the total ("" = none)."""

    name: str
    mark: str
    point: str = "."
    thousands: str = ","
    after: bool = False

    def number(self, value: float) -> str:
        """The amount without its mark."""
        text = f"{abs(value):,.2f}".replace(",", "_").replace(".", self.point).replace("_", self.thousands)
        return f"-{text}" if value <= -0.005 else text

    def priced(self, value: float) -> str:
        """The amount with its mark."""
        return f"{self.number(value)}{self.mark}" if self.after else f"{self.mark}{self.number(value)}"


def currency(rng: np.random.Generator, region: str) -> Currency:
    """A currency of the region, with one of its ways of writing."""
    if region == "malaysia":
        return Currency("ringgit", str(pick(rng, ["RM", "RM ", "RM"])), thousands=str(pick(rng, [",", ",", ""])))
    if region == "us":
        return Currency("dollars", str(pick(rng, ["$", "$", "$", "USD "])))
    if region == "uk":
        return Currency("pounds", str(pick(rng, ["£", "£", "GBP "])))
    mark, after = pick(rng, [(" €", True), (" EUR", True), ("€ ", False), ("€", False), ("EUR ", False)])
    point, thousands = pick(rng, [(",", "."), (",", "."), (",", " "), (".", ","), (",", "")])
    return Currency("euros", mark, point, thousands, after)


def amount(rng: np.random.Generator) -> str:
    """Some amount, as a guess."""
    return pick(rng, [Currency("", ""), Currency("", "", ",", ".")]).number(round(float(rng.uniform(1, 200)), 2))
