"""Chart statements: clauses that are true or false of a chart."""

from __future__ import annotations

from vlm_demo.training.worlds.asking import Looks
from vlm_demo.training.worlds.chart_facts import NAMED, ChartFacts
from vlm_demo.training.worlds.world import number_word

# A clause, whether it is true, the things that it is about, and those to be looked over.
Clause = tuple[str, bool, Looks, tuple[int, ...] | None]


class ChartStatements(ChartFacts):
    """Makes clauses about one chart; each may be None where it does not fit the chart."""

    def clause(self) -> Clause | None:
        """One clause."""
        ways = [self._counts, self._exists, self._is_kind, self._legend]
        if self.mark in ("bar", "slice"):
            ways += [self._selects, self._selects, self._compares, self._compares]
        if self.mark == "bar":
            ways += [self._lies]
        return self.pick(ways)()

    def _counts(self) -> Clause | None:
        n = len(self.things)
        if n > 12:
            return None
        said = max(1, n + int(self.pick((0, 0, 0, -1, 1, 2))))
        noun = self.mark if said == 1 else f"{self.mark}s"
        quantity, truth = self.pick(
            [("", n == said), ("exactly ", n == said), ("more than ", n > said), ("at least ", n >= said)]
        )
        text = self.pick(
            (
                f"the chart has {quantity}{number_word(said)} {noun}",
                f"the chart shows {quantity}{number_word(said)} {noun}",
            )
        )
        return text, truth, ((0, self.every),), None

    def _exists(self) -> Clause:
        truth = self.chance(0.5)
        colour = self.pick(self.colours) if truth else self.absent()
        article = "an" if colour == "orange" else "a"
        text = self.pick(
            (
                f"there is {article} {{}} {self.mark}",
                f"the chart has {article} {{}} {self.mark}",
                f"one of the {self.mark}s is {{}}",
            )
        )
        return text.format(self.tint(colour)), truth, ((0, self.painted(colour)),), None

    def _is_kind(self) -> Clause:
        others = ("bar chart", "line chart", "pie chart", "scatter plot", "donut chart")
        general = "bar chart" if self.mark == "bar" else self.kind
        said = general if self.chance(0.5) else self.pick([other for other in others if other != general])
        return (
            self.pick(
                (f"this is a {said}", f"the {{}} is a {said}".format("chart" if "plot" not in said else "picture"))
            ),
            said == general,
            (),
            None,
        )

    def _legend(self) -> Clause:
        there = bool(self.picture.facts["legend"])
        said = self.chance(0.5)
        return ("the chart has a legend" if said else "the chart has no legend"), there == said, (), None

    def _lies(self) -> Clause:
        said = self.chance(0.5)
        return f"the bars are {'horizontal' if said else 'vertical'}", self.lying == said, ((0, self.every),), None

    def _selects(self) -> Clause | None:
        top = self.chance(0.6)
        i = self.extreme(top)
        if i is None or len(set(self.colours)) == 1:
            return None
        truth = self.chance(0.5)
        said = self.colours[i] if truth else self.pick([c for c in (*self.colours, *NAMED) if c != self.colours[i]])
        return f"the {self.words(top)} {self.mark} is {self.tint(said)}", truth, ((0, (i,)),), self.every

    def _compares(self) -> Clause | None:
        i, j = self.two(len(self.things))
        if not self.differ(self.amount(i), self.amount(j)):
            return None
        more = self.amount(i) > self.amount(j)
        looks: Looks = ((0, (i,)), (0, (j,)))
        if self.apart and not self.negative and self.chance(0.5):
            word = "larger" if self.mark == "slice" else "longer" if self.lying else "taller"
            names = (self.tint(self.colours[k]) for k in (i, j))
            return (
                "the {} {mark} is {word} than the {} {mark}".format(*names, mark=self.mark, word=word),
                more,
                looks,
                None,
            )
        if self.several or not self.known(self.things[i].text, self.things[j].text):
            return None
        one, two = self.things[i].text, self.things[j].text
        text = self.pick((f"{one} is {{}} than {two}", f"the value of {one} is {{}} than the value of {two}"))
        said = self.pick(("greater", "less"))
        return text.format(said), more == (said == "greater"), looks, None
