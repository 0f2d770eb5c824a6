"""CHAIR against a literal version of its script, and against the published figures."""

import re
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vlground.data.captions import Captions
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics.chair import (
    CHAIR,
    Chair,
    by_position,
    estimates,
    hallucinations,
    rows_of,
    tally,
)
from vlground.metrics.chair_vocabulary import OFFICIAL, vocabulary
from vlground.metrics.chair_words import singular, tokens
from vlground.run import CONF

SHARED = Path(__file__).parents[3] / "shared" / "data" / "pope"


def captions(*texts: str, image: str = "1") -> list[Sample]:
    return [Sample(str(i), image, Path(f"{image}.jpg"), text) for i, text in enumerate(texts)]


def named(caption: str, **options: object) -> list[str]:
    return [mention.name for mention in vocabulary(**options).mentions(caption)]  # type: ignore[arg-type]


# ---- the script, step by step and without any of our shortcuts


def literal_mentions(caption: str) -> list[str]:
    lines = [line for line in OFFICIAL.read_text().splitlines() if not line.startswith("#")]
    synonyms = [line.strip().split(", ") for line in lines]
    objects = [word for synonym in synonyms for word in synonym]
    inverse = {word: synonym[0] for synonym in synonyms for word in synonym}
    pairs = (
        "motor bike,motor cycle,air plane,traffic light,street light,traffic signal,stop light,"
        "fire hydrant,stop sign,parking meter,suit case,sports ball,baseball bat,baseball glove,"
        "tennis racket,wine glass,hot dog,cell phone,mobile phone,teddy bear,hair drier,"
        "potted plant,bow tie,laptop computer,stove top oven,home plate,train track"
    )
    animals = "bird cat dog horse sheep cow elephant bear zebra giraffe animal cub"
    doubles = {word: word for word in pairs.split(",")}
    for animal in animals.split():
        doubles["baby " + animal] = animal
        doubles["adult " + animal] = animal
    doubles["passenger jet"], doubles["passenger train"] = "jet", "train"
    doubles["bow tie"], doubles["toilet seat"] = "tie", "toilet"
    doubles["wine glas"] = "wine glass"

    words = [singular(token) for token, _, _ in tokens(caption.lower())]
    i, merged = 0, []
    while i < len(words):
        double = " ".join(words[i : i + 2])
        if double in doubles:
            merged.append(doubles[double])
            i += 2
        else:
            merged.append(words[i])
            i += 1
    if "toilet" in merged and "seat" in merged:
        merged = [word for word in merged if word != "seat"]
    return [inverse[word] for word in merged if word in objects]


def literal_chair(samples: list[Sample], objects: dict[str, frozenset[str]]) -> list[float]:
    hallucinated, mentions, bad, true, found = 0.0, 0.0, 0.0, 0.0, 0.0
    for sample in samples:
        truth, seen, wrong = objects[sample.image_id], set(), False
        for name in literal_mentions(sample.text):
            mentions += 1
            if name not in truth:
                hallucinated += 1
                wrong = True
            else:
                seen.add(name)
        bad += wrong
        true += len(truth)
        found += len(seen)
    return [hallucinated / mentions, bad / len(samples), found / true]


def random_captions(n: int, longest: int) -> tuple[list[Sample], dict[str, frozenset[str]]]:
    rng = np.random.default_rng(7)
    classes = sorted(set(vocabulary().classes.values()))
    words = [*vocabulary().classes, "baby", "adult", "passenger", "glasses", "seat", "home plate"]
    words += ["dogs", "knives", "buses", "people", "the", "a", ",", "...", "'s", "(", "wine"]
    made, objects = [], {}
    for i in range(n):
        picked = [words[k] for k in rng.integers(len(words), size=rng.integers(0, longest))]
        made.append(Sample(str(i), str(i // 2), Path("x.jpg"), " ".join(picked) + "."))
        objects[str(i // 2)] = frozenset(rng.choice(classes, size=rng.integers(1, 30)))
    return made, objects


def test_equal_to_the_script_on_random_captions() -> None:
    made, objects = random_captions(300, longest=25)
    for sample in made:
        assert named(sample.text) == literal_mentions(sample.text), sample.text
    scores = estimates(rows_of(made, objects))
    assert [scores[name].value for name in CHAIR[:3]] == literal_chair(made, objects)


# ---- real captions


def figures(name: str) -> list[float]:
    """CHAIRi, CHAIRs and recall in percent, and words."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real data (pope) is not beside the checkout")
    data = Captions(str(SHARED / name), str(SHARED / "coco_objects.json"))
    assert len(data) == 2000
    assert data.skipped == {}
    samples = [data[i] for i in range(len(data))]
    rows = rows_of(samples, data.objects)
    assert tally(rows)["truth with unknown names"] == 0
    scores = estimates(rows)
    return [round(scores[name].value * (1 if name == "words" else 100), 1) for name in CHAIR]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Instruction2_llava.json", [10.5, 32.7, 68.0, 64.3]),
        ("Instruction2_minigpt-4.json", [6.7, 9.5, 48.8, 24.8]),
        ("Instruction2_mplug.json", [14.8, 25.4, 46.8, 35.8]),
    ],
)
def test_published_figures(name: str, published: list[float]) -> None:
    assert figures(name) == published


@pytest.mark.shared
def test_later_sentences_hallucinate_more() -> None:
    if not SHARED.is_dir():
        pytest.skip("the folder of real data (pope) is not beside the checkout")
    file = SHARED / "Instruction1_llava.json"  # pretty-printed objects in a row
    data = Captions(str(file), str(SHARED / "coco_objects.json"))
    samples = [data[i] for i in range(len(data))]
    sentence = re.compile(r"\S.*?(?:[.!?](?=\s|$)|$)", re.DOTALL)
    spans = [[match.span() for match in sentence.finditer(s.text)] for s in samples]
    found = by_position(samples, spans, data.objects, last=9)
    assert sum(len(each) for each in spans) == sum(p.hallucinated.n for p in found) == 10096
    shares = [round(100 * place.hallucinated.value, 1) for place in found[:6]]
    assert shares == [5.7, 10.1, 21.0, 36.3, 39.3, 37.3]


# ---- words


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog, a Dog and two dogs' toys.", ["dog", "dog", "dog"]),  # mentions, not kinds
        ("A baby elephant and a baby.", ["elephant", "person"]),
        ("A passenger train with a passenger.", ["train", "person"]),
        ("Two wine glasses and eyeglasses.", ["wine glass"]),
        ("The seat of the toilet.", ["toilet"]),
        ("A toilet seat", ["toilet"]),
        ("The seat of a bus", ["chair"]),  # "bus" loses its s in the official logic
        ("Buses on train tracks, at home plate.", ["bus"]),
        ("A hot-dog is no hot, dog.", ["dog"]),  # a comma between two words
        ("hot\n dog", ["hot dog"]),
        ("A motor bike with a cheesecake and an iPhone.", []),  # stray spaces, a capital
        ('He said "Dogs." The couch’s cat', ["dog", "couch", "cat"]),
        ("dog. cat.", ["dog", "cat"]),
        ("🐶 dog 🐶 und ein Hund, собака", ["dog"]),
        ("", []),
    ],
)
def test_mentions(caption: str, expected: list[str]) -> None:
    assert named(caption) == expected


def test_repaired_terms() -> None:
    caption = "A motor bike with a cheesecake and an iPhone."
    assert named(caption, repaired=True) == ["motorcycle", "cake", "cell phone"]


def test_places_are_of_the_caption_as_given() -> None:
    caption = "İstanbul 🚌: Two HOT dogs."  # the first letter is two in lower case
    (mention,) = vocabulary().mentions(caption)
    assert (mention.word, caption[mention.start : mention.end]) == ("hot dog", "HOT dogs")


def test_tokens() -> None:
    found = [token for token, _, _ in tokens("It's \"3,36\" U.S. dollars (isn't it?)... yes--no.")]
    expected = "it 's \" 3,36 \" u.s . dollars ( is n't it ? ) ... yes -- no ."
    assert found == expected.split()


@pytest.mark.parametrize(
    ("plural", "word"),
    [
        ("men", "man"), ("snowmen", "snowman"), ("knives", "knife"), ("calves", "calf"),
        ("benches", "bench"), ("boxes", "box"), ("ponies", "pony"), ("collies", "collie"),
        ("ties", "ty"), ("scissors", "scissors"), ("glasses", "glass"), ("glass", "glas"),
        ("mice", "mouse"), ("geese", "goose"), ("minibuses", "bus"), ("bus", "bu"),
        ("skis", "ski"), ("sheep", "sheep"), ("oxen", "ox"), ("vases", "vase"),
        ("potatoes", "potato"), ("children", "child"), ("teeth", "tooth"), ("series", "series"),
        ("leaves", "leaf"), ("quizzes", "quiz"), ("cacti", "cactus"), ("data", "datum"),
        ("horses", "horse"), ("roses", "rose"), ("bases", "basis"), ("giraffes", "giraffe"),
    ],
)  # fmt: skip
def test_singular(plural: str, word: str) -> None:
    assert singular(plural) == word


def test_every_class_of_the_official_list() -> None:
    classes = set(vocabulary().classes.values())
    assert len(classes) == 80
    # What the official logic cannot find under its own name.
    lost = {name for name in classes if name not in named(f"a {name}")}
    assert lost == {"bus"}


def test_libraries_agree_where_they_are_installed() -> None:
    inflect = pytest.importorskip("textblob.en.inflect")
    tokenizer = pytest.importorskip("nltk.tokenize").NLTKWordTokenizer()
    for word in [*vocabulary().classes, "women", "puppies", "wolves", "foxes", "heroes", "ties"]:
        for form in (word, word + "s", word + "es"):
            if " " not in form and word != "oxen":  # "oxens" is no word
                assert singular(form) == inflect.singularize(form), form
    text = "two dogs, isn't it? (a cat's tail) 3,36 dollars -- no: 'hot' dogs..."
    assert [token for token, _, _ in tokens(text)] == tokenizer.tokenize(text)


# ---- numbers


def test_numbers_by_hand() -> None:
    made = captions("A dog and a dog on a couch.", "A cat.", "Nothing to see.", "")
    rows = rows_of(made, {"1": ["dog", "chair", "person"]})
    assert rows["mentions"].tolist() == [3, 1, 0, 0]
    assert rows["hallucinated"].tolist() == [1, 1, 0, 0]
    assert rows["hallucinations"].tolist() == ["couch", "cat", "", ""]
    assert rows["found"].tolist() == [1, 0, 0, 0]
    scores = {name: estimate.value for name, estimate in estimates(rows).items()}
    assert scores == {"chair_i": 2 / 4, "chair_s": 2 / 4, "recall": 1 / 12, "words": 13 / 4}
    assert {name: estimate.n for name, estimate in estimates(rows).items()} == {
        "chair_i": 4, "chair_s": 4, "recall": 12, "words": 4,
    }  # fmt: skip
    assert tally(rows) == {
        "captions": 4,
        "empty": 1,
        "without mention": 1,
        "image without objects": 0,
        "truth with unknown names": 0,
    }


def test_truth_may_say_it_in_other_words_and_unknown_ones_are_counted() -> None:
    rows = rows_of(captions("A puppy."), {"1": ["dog", "puppy", "unicorn"]})
    assert rows[["hallucinated", "objects", "found", "no_class"]].values.tolist() == [
        [0, 1, 1, "unicorn"]
    ]
    assert tally(rows)["truth with unknown names"] == 1


def test_an_image_without_truth_is_no_hallucination() -> None:
    with pytest.raises(VlgroundError, match=r"dataset\.objects: image 1 is not in it"):
        rows_of(captions("A dog."), {})


def test_without_mentions_nothing_is_defined() -> None:
    rows = rows_of(captions("Hm."), {"1": []})
    scores = estimates(rows)
    assert np.isnan(scores["chair_i"].value)
    assert np.isnan(scores["recall"].value)
    assert scores["chair_s"].value == 0
    assert tally(rows)["image without objects"] == 1


def test_an_image_is_one_draw_however_many_captions_it_has() -> None:
    one_each, objects = random_captions(60, longest=5)
    scores = estimates(rows_of(one_each, objects))
    repeated = [
        Sample(f"{s.id}/{k}", s.image_id, s.image, s.text) for s in one_each for k in range(5)
    ]
    again = estimates(rows_of(repeated, objects))
    for name in CHAIR:
        assert again[name].value == pytest.approx(scores[name].value)
        assert again[name].low == pytest.approx(scores[name].low)
        assert again[name].high == pytest.approx(scores[name].high)
        assert scores[name].low < scores[name].value < scores[name].high  # type: ignore[operator]


def test_position_of_a_mention_is_where_it_begins() -> None:
    made = captions("A dog. A cat. A dog. A cow.")
    spans = [[(0, 6), (7, 13), (14, 20), (21, 27)]]
    found = by_position(made, spans, {"1": ["dog"]}, last=3)
    assert [place.hallucinated.value for place in found] == [0, 1, 0.5]
    assert [place.hallucinated.n for place in found] == [1, 1, 2]
    assert [place.mentions.value for place in found] == [1, 1, 1]


def test_hallucinations_have_places() -> None:
    caption = "A dog and two cats."
    (found,) = hallucinations(caption, ["dog"])
    assert caption[found.start : found.end] == "cats"


# ---- options


def test_your_own_words(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("# shapes\nred circle, Red  Disc,disk\n\nsquare\n")
    options = Chair(synonyms=str(file))
    rows = rows_of(captions("Red discs, a disk and a square dog."), {"1": ["square"]}, options)
    assert rows[["mentions", "hallucinated"]].values.tolist() == [[3, 2]]
    assert rows["hallucinations"].tolist() == ["red circle"]
    before = options.checksums
    file.write_text("square\n")
    assert options.vocabulary.classes == {"square": "square"}
    assert options.checksums != before
    assert Chair().checksums == {}


@pytest.mark.parametrize("content", [None, "", "# nothing\n", b"\xff\xfe\xfa"])
def test_bad_words(tmp_path: Path, content: str | bytes | None) -> None:
    file = tmp_path / "words.txt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        file.write_text(content)
    with pytest.raises(VlgroundError, match=r"metric\.synonyms="):
        rows_of(captions("A dog."), {"1": []}, Chair(synonyms=str(file)))


def test_impossible_options() -> None:
    with pytest.raises(VlgroundError, match=r"metric\.repaired=1: expected true or false"):
        Chair(repaired=1)  # type: ignore[arg-type]
    with pytest.raises(VlgroundError, match=r"metric\.repaired=true: only of the official"):
        Chair(synonyms="words.txt", repaired=True)


def test_configuration_has_the_defaults() -> None:
    assert instantiate(OmegaConf.load(Path(CONF) / "metric" / "chair.yaml")) == Chair()
