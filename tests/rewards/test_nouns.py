import importlib.util
import time

import pytest

from vlground.errors import VlgroundError
from vlground.rewards.nouns import NounFinder
from vlground.rewards.taggers import TAGGERS, Tagger
from vlground.rewards.words import singular

SENTENCE = "Two men wash the dog's wine-glasses at a kitchen counter in the scene."


class Listed(Tagger):
    """Nouns by heart: a tagger that needs no package."""

    package = "numpy"

    def nouns(self, words):
        known = {"men", "dog", "glasses", "kitchen", "counter", "scene", "bench", "tv", "wine"}
        known |= {"女", "7", "😀", "émeu"}
        return [word.lower() in known or word == "wine-glasses" for word in words]


@pytest.fixture
def listed(monkeypatch):
    monkeypatch.setitem(TAGGERS, "textblob", Listed)


def found(finder, sentence=SENTENCE):
    return [(sentence[noun.start : noun.end], noun.lemma) for noun in finder.find(sentence)]


def test_neighbouring_nouns_are_one_and_stop_nouns_none(listed):
    assert found(NounFinder()) == [
        ("men", "man"),
        ("dog", "dog"),
        ("wine-glasses", "wine glass"),
        ("kitchen counter", "kitchen counter"),
    ]


def test_only_listed_compounds(listed):
    lemmas = [lemma for _, lemma in found(NounFinder(compounds="listed"))]
    assert lemmas == ["man", "dog", "wine glass", "kitchen", "counter"]
    lemmas = [lemma for _, lemma in found(NounFinder(compounds="none", stop_nouns=""))]
    assert lemmas == ["man", "dog", "wine-glass", "kitchen", "counter", "scene"]


def test_a_listed_compound_and_punctuation_end_a_run(listed):
    finder = NounFinder()
    assert [lemma for _, lemma in found(finder, "a kitchen, counter")] == ["kitchen", "counter"]
    assert found(finder, "a dog’s kitchen") == [("dog", "dog"), ("kitchen", "kitchen")]
    lemmas = [lemma for _, lemma in found(finder, "kitchen wine glasses tv scene bench")]
    assert lemmas == ["kitchen", "wine glass", "tv", "bench"]


def test_other_scripts_numbers_and_emoji_are_no_nouns(listed):
    lemmas = [lemma for _, lemma in found(NounFinder(), "女 7 bench 女 😀 tv émeu")]
    assert lemmas == ["bench", "tv émeu"]


def test_own_files(listed, tmp_path):
    (tmp_path / "stop.txt").write_text("# mine\nman\n")
    (tmp_path / "compounds.txt").write_text("dog wine glass\n")
    finder = NounFinder(
        compounds="listed",
        compound_list=str(tmp_path / "compounds.txt"),
        stop_nouns=str(tmp_path / "stop.txt"),
    )
    lemmas = [lemma for _, lemma in found(finder, "men at the dog wine glasses scene")]
    assert lemmas == ["dog wine glass", "scene"]


def test_vocabulary_names_synonyms_and_keeps_offsets():
    finder = NounFinder("vocabulary", ["person, man, woman", "wine glass", "scene"])
    assert finder.tagger == "vocabulary"
    assert found(finder) == [("men", "person"), ("wine-glasses", "wine glass"), ("scene", "scene")]
    assert found(finder, "") == []
    assert found(finder, "😀 Women! 女") == [("Women", "person")]


def test_vocabulary_from_a_file(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_text("# shapes\nred circle\nsquare\n")
    finder = NounFinder("vocabulary", str(path))
    assert found(finder, "Red circles by a square") == [
        ("Red circles", "red circle"),
        ("square", "square"),
    ]


def test_an_endless_sentence_takes_linear_time(listed):
    finder = NounFinder()
    started = time.process_time()
    (noun,) = finder.find("kitchen " * 20_000 + "counter")
    assert noun.end == 8 * 20_000 + 7
    assert len(finder.find("kitchen, " * 20_000)) == 20_000
    assert time.process_time() - started < 10


def test_the_tagger_is_recorded_with_its_release(listed):
    name, release = NounFinder().tagger.split()
    assert name == "numpy"
    assert release[0].isdigit()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tagger": "brill"}, "task.nouns.tagger=brill"),
        ({"compounds": "all", "tagger": "vocabulary", "vocabulary": ["a"]}, "nouns.compounds=all"),
        ({"tagger": "vocabulary"}, "task.nouns.vocabulary=None"),
        ({"tagger": "textblob", "vocabulary": ["cat"]}, "task.nouns.vocabulary="),
        ({"tagger": "vocabulary", "vocabulary": []}, "no term"),
        ({"tagger": "vocabulary", "vocabulary": "/nowhere/x.txt"}, "cannot read"),
    ],
)
def test_impossible_options_are_one_line(options, named):
    with pytest.raises(VlgroundError, match=named) as caught:
        NounFinder(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tagger", ["textblob", "hanta", "nltk", "spacy"])
def test_taggers_find_the_objects_or_say_what_is_missing(tagger):
    package = TAGGERS[tagger].package
    if importlib.util.find_spec(package) is None:
        with pytest.raises(VlgroundError, match=f"the package {package} is not installed"):
            NounFinder(tagger)
        return
    # Packages without their data or model say so, too; only these two need any.
    failure = None
    try:
        finder = NounFinder(tagger)
    except VlgroundError as error:
        failure = str(error)
    if failure is not None:
        assert tagger in ("nltk", "spacy")
        assert f"task.nouns.tagger={tagger}" in failure
        return
    sentence = "A man sits on a wooden bench and holds two umbrellas / bags."
    assert {"man", "bench", "umbrella"} <= {lemma for _, lemma in found(finder, sentence)}
    assert finder.find("") == []
    assert finder.find("...") == []
    assert finder.tagger.startswith(package)


SINGULARS = {
    "women": "woman",
    "firemen": "fireman",
    "boxes": "box",
    "benches": "bench",
    "buses": "bus",
    "glass": "glass",
    "glasses": "glasses",  # spectacles, more often than not
    "skis": "ski",
    "knives": "knife",
    "tomatoes": "tomato",
    "cherries": "cherry",
    "ties": "tie",
    "horses": "horse",
    "sheep": "sheep",
    "People": "person",
    "dog's": "dog",
    "couches": "couch",
    "bananas": "banana",
    "scissors": "scissors",
    "s": "s",
}


@pytest.mark.parametrize(("plural", "one"), list(SINGULARS.items()))
def test_singulars(plural, one):
    assert singular(plural) == one
    assert singular(one) == one
