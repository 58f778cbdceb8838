"""English sentences to be read aloud, from a small grammar and a vocabulary of the project's own.

The vocabulary (``vocabulary.txt``) lists words by part of speech; this module inflects and combines them. Sentences
mean little but have the shape of narrative prose: subjects with their verbs in agreement, clauses joined and nested,
time and place. Read at 145 to 195 words a minute they last about 2.5 to 15 s.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import NamedTuple

VOWELS = "aeiou"
# The spelling misleads: these begin with the other kind of sound.
VOWEL_SOUND = ("heir", "honest", "honour", "hour")
CONSONANT_SOUND = ("eulog", "eur", "one", "unit", "univers", "use", "usual")
# Verbs that double their last consonant before "-ed".
DOUBLED = frozenset(
    "admit drag drop grab hop jog label pat pedal plod skip slip step stir stop travel trot unwrap wrap".split()
)
# Words in a sentence, so that it lasts about 2.5 to 15 s when read.
SHORTEST, LONGEST = 8, 34


class Phrase(NamedTuple):
    """A noun phrase and the agreement it asks of its verb."""

    text: str
    plural: bool


@cache
def vocabulary() -> dict[str, tuple[str, ...]]:
    """The entries of ``vocabulary.txt`` by section, each a plain form with an optional ``/irregular`` form."""
    sections: dict[str, list[str]] = {}
    entries: list[str] = []
    for line in Path(__file__).with_name("vocabulary.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            entries = sections.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            entries.extend(line.split())
    return {name: tuple(words) for name, words in sections.items()}


def _sibilant(word: str) -> bool:
    return word.endswith(("s", "x", "z", "ch", "sh"))


def _with_s(word: str) -> str:
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + ("es" if _sibilant(word) or word in ("go", "echo") else "s")


def plural(entry: str) -> str:
    """The plural of a noun entry: ``"fox"`` gives ``"foxes"``, ``"man/men"`` gives ``"men"``."""
    word, _, irregular = entry.partition("/")
    return irregular or _with_s(word)


def past(entry: str) -> str:
    """The past tense of a verb entry: ``"carry"`` gives ``"carried"``, ``"bring/brought"`` gives ``"brought"``."""
    word, _, irregular = entry.partition("/")
    if irregular:
        return irregular
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ied"
    if word.endswith("e"):
        return word + "d"
    return (word + word[-1] if word in DOUBLED else word) + "ed"


def present(entry: str, is_plural: bool) -> str:
    """The present tense of a verb entry in the third person: ``"carry"`` gives ``"carries"``, or ``"carry"``."""
    word = entry.partition("/")[0]
    return word if is_plural else _with_s(word)


def with_article(words: str) -> str:
    """``words`` after "a" or "an", by sound: "an hour", "a university"."""
    vowel = words[0].lower() in VOWELS and not words.startswith(CONSONANT_SOUND)
    return f"{'an' if vowel or words.startswith(VOWEL_SOUND) else 'a'} {words}"


class Grammar:
    """Draws phrases and sentences from one random generator; each method is one rule of the grammar."""

    def __init__(self, generator: random.Random) -> None:
        self.generator = generator

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.generator.random() < probability

    def word(self, section: str) -> str:
        """The plain form of a word of a section."""
        return self.entry(section).partition("/")[0]

    def entry(self, section: str) -> str:
        """A word of a section, with its irregular form."""
        return self.generator.choice(vocabulary()[section])

    def noun_phrase(self, section: str, adjectives: str, detail: float = 0.3) -> Phrase:
        """A noun of ``section`` with a determiner, often an adjective and, at probability ``detail``, more."""
        entry = self.entry(section)
        described = self.word(adjectives) + " " if self.chance(0.55) else ""
        if described and self.chance(0.15):
            described = f"{self.word('degree')} {described}"
        many = self.chance(0.25)
        noun = described + (plural(entry) if many else entry.partition("/")[0])
        if many:
            number = self.word("number")
            first = self.generator.choice(("the", "the", "the", "some", "several", "many", "those", "a few", number))
            text = f"{first} {noun}"
        else:
            rare = ("this", "that", "every", "another", "our", "her", "his")
            first = self.generator.choice(("the",) * 6 + ("a",) * 5 + rare)
            text = with_article(noun) if first == "a" else f"{first} {noun}"
        if self.chance(detail):
            text += " " + self.detail(section)
        return Phrase(text, many)

    def detail(self, section: str) -> str:
        """What follows a noun: a place, a stuff or an owner."""
        if section in ("object", "food"):
            return self.generator.choice(
                (f"full of {self.word('stuff')}", f"from {self.word('city')}", self.location())
            )
        if section == "place":
            return self.generator.choice((f"near {self.word('city')}", f"of {self.word('city')}"))
        return self.generator.choice(
            (f"from {self.word('city')}", f"with the {self.word('thing')} {self.word('object')}")
        )

    def subject(self) -> Phrase:
        """Somebody, or an animal."""
        if self.chance(0.25):
            return self.noun_phrase("animal", "thing", 0.1)
        if self.chance(0.12):
            one, other = self.word("person"), self.word("person")
            return Phrase(f"the {one} and the {other}", True)
        return self.noun_phrase("person", "human", 0.2)

    def thing(self) -> str:
        """Something to be handled."""
        if self.chance(0.2):
            return self.noun_phrase("food", "thing", 0.1).text
        if self.chance(0.12):
            return f"some {self.word('stuff')}"
        return self.noun_phrase("object", "thing").text

    def idea(self) -> str:
        """Something abstract, always singular."""
        word, quality = self.word("idea"), self.word("quality")
        return f"the {quality} {word}" if self.chance(0.5) else f"the {word} of the {self.word('person')}"

    def location(self) -> str:
        """Where something is."""
        place = self.noun_phrase("place", "scene", 0.15).text
        return f"{self.word('stay')} {place}"

    def direction(self) -> str:
        """Where something goes."""
        place = self.noun_phrase("place", "scene", 0.15).text
        return f"{self.word('where')} {place}"

    def time(self) -> str:
        """When: a phrase that can open or close a sentence."""
        number, unit = self.word("number"), plural(self.entry("unit"))
        return self.generator.choice(
            (
                f"on {self.word('day')} {self.generator.choice(('morning', 'afternoon', 'evening', 'night'))}",
                f"in {self.word('month')}",
                f"one {self.word('season')} {self.generator.choice(('morning', 'evening', 'night', 'day'))}",
                f"after {number} {unit}",
                f"for {number} {unit}",
                f"about {number} {unit} ago",
                f"during the {self.word('quality')} {self.word('nature')}",
                f"at {self.generator.choice(('dawn', 'noon', 'midnight', 'dusk', 'sunrise', 'nightfall'))}",
            )
        )

    def predicate(self) -> str:
        """What somebody did, in the past tense, so that it agrees with any subject."""
        manner = f" {self.word('manner')}" if self.chance(0.35) else ""
        return self.generator.choice((self.handling, self.handling, self.moving))() + manner

    def handling(self) -> str:
        """Somebody handled something, perhaps somewhere."""
        where = f" {self.location()}" if self.chance(0.3) else ""
        return f"{past(self.entry('handle'))} {self.thing()}{where}"

    def moving(self) -> str:
        """Somebody moved or stayed somewhere."""
        return f"{past(self.entry('move'))} {self.direction()}"

    def clause(self) -> str:
        """A main clause without its full stop."""
        rare = (self.habit, self.relative, self.state, self.weather, self.influence, self.presence)
        return self.generator.choice((self.deed,) * 3 + rare)()

    def deed(self) -> str:
        """Somebody did something, and perhaps something more."""
        more = f" and {self.predicate()}" if self.chance(0.25) else ""
        return f"{self.subject().text} {self.predicate()}{more}"

    def habit(self) -> str:
        """Somebody does something again and again, in the present tense."""
        who = self.subject()
        if self.chance(0.5):
            what = f"{present(self.entry('handle'), who.plural)} {self.thing()}"
        else:
            what = f"{present(self.entry('move'), who.plural)} {self.direction()}"
        return f"{who.text} {self.word('often')} {what}"

    def relative(self) -> str:
        """Somebody, who had a past, did something."""
        who = self.noun_phrase("person", "human", 0.0)
        return f"{who.text}, who {self.predicate()}, {self.predicate()}"

    def state(self) -> str:
        """Somebody, or some place, was like this."""
        if self.chance(0.5):
            who, kind = self.subject(), "human"
        else:
            who, kind = self.noun_phrase("place", "scene"), "scene"
        verb = self.generator.choice(("was", "seemed", "looked", "remained"))
        if verb == "was" and who.plural:
            verb = "were"
        join = self.generator.choice(("and", "but"))
        return f"{who.text} {verb} {self.word('degree')} {self.word(kind)} {join} {self.word(kind)}"

    def weather(self) -> str:
        """The weather, or the hour, changed."""
        return f"the {self.word('nature')} {past(self.entry('happen'))} {self.word('manner')} {self.direction()}"

    def influence(self) -> str:
        """An idea moved somebody."""
        return f"{self.idea()} {past(self.entry('affect'))} {self.subject().text}"

    def presence(self) -> str:
        """There was something somewhere."""
        what = self.noun_phrase("object", "thing", 0.2)
        return f"{self.location()} there {'were' if what.plural else 'was'} {what.text}"

    def sentence(self) -> str:
        """A whole sentence, with its capital and its full stop."""
        usual = (self.timed,) * 2 + (self.compound,) * 2 + (self.complex,) * 2
        text = self.generator.choice((self.simple, *usual, self.reported, self.question))()
        return text[0].upper() + text[1:]

    def simple(self) -> str:
        """One clause, closed by a time."""
        return f"{self.clause()} {self.time()}."

    def timed(self) -> str:
        """A time, or a comment, before a clause, perhaps with a second clause."""
        opening = self.time() if self.chance(0.6) else self.word("comment")
        more = f", {self.generator.choice(('and', 'but', 'so', 'yet'))} {self.clause()}" if self.chance(0.35) else ""
        return f"{opening}, {self.clause()}{more}."

    def compound(self) -> str:
        """Two clauses side by side."""
        return f"{self.clause()}, {self.generator.choice(('and', 'but', 'so', 'yet', 'for'))} {self.clause()}."

    def complex(self) -> str:
        """A clause under another, in either order."""
        if self.chance(0.5):
            return f"{self.word('link')} {self.clause()}, {self.clause()}."
        return f"{self.clause()} {self.word('link')} {self.clause()}."

    def reported(self) -> str:
        """Somebody said that something was so."""
        who = self.noun_phrase("person", "human", 0.2).text
        manner = f" {self.word('manner')}" if self.chance(0.3) else ""
        return f"{who}{manner} {past(self.entry('say'))} that {self.clause()}."

    def question(self) -> str:
        """A question about somebody."""
        word = self.generator.choice(("why", "when", "how", "where"))
        deed = f"{self.word('handle')} {self.thing()} {self.location()}"
        return f"{word} did {self.subject().text} {deed} {self.time()}?"


def sentence(generator: random.Random) -> str:
    """Draw one English sentence, with its capital letter and closing mark, of 8 to 34 words.

    Args:
        generator: the only source of chance: the same state gives the same sentence on every machine.
    """
    while True:
        text = Grammar(generator).sentence()
        if SHORTEST <= len(words(text)) <= LONGEST:
            return text


def words(text: str) -> list[str]:
    """The words of a text in capitals and without punctuation, as LibriSpeech's transcripts write them."""
    return "".join(letter for letter in text.upper() if letter.isalpha() or letter == " ").split()
