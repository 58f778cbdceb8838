"""The sentence grammar: enough words, right inflections, the same sentences everywhere."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter

import pytest

from audioslots.data.corpora.sentences import past, plural, present, sentence, vocabulary, with_article, words


@pytest.fixture(scope="module")
def text() -> list[str]:
    generator = random.Random(0)
    return [sentence(generator) for _ in range(12000)]


def test_at_least_1500_plain_words_are_reachable_and_more_than_that_with_inflections(text):
    plain = {entry.partition("/")[0].lower() for section in vocabulary().values() for entry in section}
    spoken = {word.lower() for line in text for word in words(line)}
    assert len(plain & spoken) >= 1500
    assert len(spoken) >= 2500


def test_no_section_lists_a_word_twice():
    repeated = {name: [w for w, n in Counter(section).items() if n > 1] for name, section in vocabulary().items()}
    assert not any(repeated.values()), repeated


def test_sentences_vary_in_length_and_hardly_ever_repeat(text):
    lengths = Counter(len(words(line)) for line in text)
    assert min(lengths) >= 8 and max(lengths) <= 34
    assert len(lengths) >= 20
    assert len(set(text)) > 0.99 * len(text)


def test_sentences_are_clean_prose(text):
    for line in text:
        assert re.fullmatch(r"[A-Z][A-Za-z, ]+[.?]", line), line
        assert "  " not in line and " ," not in line, line
        assert not re.search(r"\ba [aeio]", line), line


def test_the_same_seed_gives_the_same_sentences_on_every_machine():
    generator = random.Random("a seed")
    lines = "\n".join(sentence(generator) for _ in range(50))
    assert lines == "\n".join(sentence(again) for again in [random.Random("a seed")] for _ in range(50))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == "6e20ee245d41b95c"


@pytest.mark.parametrize(
    ("inflect", "entry", "expected"),
    [
        (plural, "fox", "foxes"),
        (plural, "library", "libraries"),
        (plural, "boy", "boys"),
        (plural, "man/men", "men"),
        (past, "carry", "carried"),
        (past, "drop", "dropped"),
        (past, "admire", "admired"),
        (past, "stay", "stayed"),
        (past, "bring/brought", "brought"),
    ],
)
def test_words_are_inflected(inflect, entry, expected):
    assert inflect(entry) == expected


def test_present_tense_agrees_with_its_subject():
    assert present("carry", is_plural=False) == "carries"
    assert present("go/went", is_plural=False) == "goes"
    assert present("bring/brought", is_plural=True) == "bring"


@pytest.mark.parametrize("words", ["an hour", "a university", "an oak", "a useful tool", "an honest man", "a one"])
def test_the_article_follows_the_sound(words):
    assert with_article(words.split(" ", 1)[1]) == words


def test_transcripts_are_capitals_without_punctuation():
    assert words("In May, the owl slept.") == ["IN", "MAY", "THE", "OWL", "SLEPT"]
