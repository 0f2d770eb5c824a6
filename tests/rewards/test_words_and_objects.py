"""A reward model of words and objects: what it reads, learns, keeps, and takes."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import sparse
from scipy.special import expit

from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.rewards.best_of_n import best_of_n, taken
from vlground.rewards.gathering import Scored
from vlground.rewards.logistic import best_penalty, fit
from vlground.rewards.options import ERROR_TYPES, VigorReward
from vlground.rewards.sentence_labels import LabelledSentences, held_out
from vlground.rewards.words_and_objects import WordsAndObjects, WordWeights, columns_of


def read(sentence: str, *objects: str) -> set[int]:
    return set(columns_of([sentence], [objects]).indices.tolist())


def test_a_sentence_is_its_words_and_each_with_each_object() -> None:
    assert len(read("A dog, a dog!")) == 2
    assert len(read("A dog runs.", "cat", "dog")) == 3 + 3 * 2
    assert read("Two DOGS run") == read("two, dog; run") != read("two, cat; run")
    assert read("A dog.") < read("A dog.", "cat")
    assert read("A dog.", "cat") & read("A cat.", "dog") == read("a")
    assert columns_of([], []).shape[0] == 0
    assert columns_of(["!", "a b"], [["dog"], []]).sum(axis=1).tolist() == [0, 2]


def test_columns_are_the_same_in_every_process() -> None:
    """Weights that were saved name columns by their number."""
    assert read("Dogs") == {957599}


def world(count: int, seed: int) -> tuple[list[str], list[list[str]], np.ndarray]:
    """Sentences with synonyms, images with or without what they name; labels."""
    random, names = Random(seed), {"puppy": "dog", "hound": "dog", "kitten": "cat", "tabby": "cat"}
    sentences, objects, wrong = [], [], []
    for _ in range(count):
        word = random.choice(list(names))
        there = [one for one in ("dog", "cat", "car") if random.random() < 0.5]
        sentences.append(random.choice(["A {} sleeps.", "There is a small {}."]).format(word))
        objects.append(there)
        wrong.append(names[word] not in there)
    return sentences, objects, np.array(wrong, dtype=float)


def test_synonyms_are_learnt_and_words_alone_tell_nothing() -> None:
    sentences, objects, wrong = world(400, 0)
    weights = WordWeights(*fit(columns_of(sentences, objects), wrong, 1.0), "objects")
    sentences, objects, wrong = world(200, 1)
    told = weights.probabilities(columns_of(sentences, objects))
    assert ((told > 0.5) == wrong).all()
    nothing: list[list[str]] = [[]] * len(sentences)
    blind = WordWeights(*fit(columns_of(sentences, nothing), wrong, 1.0), "none")
    assert np.ptp(blind.probabilities(columns_of(sentences, nothing))) < 0.3


def test_the_fit_is_the_minimum_and_columns_without_rows_weigh_nothing() -> None:
    random = np.random.default_rng(0)
    dense = (random.random((60, 7)) < 0.4) * 1.0
    dense[:, 3] = 0
    labels, penalty = random.random(60), 2.0
    weights, bias = fit(sparse.csr_array(dense), labels, penalty)
    off = expit(dense @ weights + bias) - labels
    slope = dense.T @ off + penalty * weights
    assert np.abs(slope).max() < 1e-2
    assert abs(off.sum()) < 1e-2  # the bias has no penalty
    assert weights[3] == 0
    assert np.abs(weights).max() > 0.01


def test_the_penalty_is_the_one_that_does_best_on_rows_left_out() -> None:
    random = np.random.default_rng(1)
    columns = sparse.csr_array((random.random((80, 200)) < 0.1) * 1.0)
    left_out = np.arange(80) % 4 == 0
    noise = (random.random(80) < 0.5) * 1.0
    assert best_penalty(columns, noise, left_out, [0.01, 1.0, 1000.0]) == 1000.0
    plain = sparse.csr_array((random.random((80, 8)) < 0.5) * 1.0)
    signal = plain[:, [0]].toarray()[:, 0]
    assert best_penalty(plain, signal, left_out, [1000.0, 0.01]) == 0.01


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    sentences, objects, wrong = world(100, 0)
    weights, bias = fit(columns_of(sentences, objects), wrong, 1.0)
    path = tmp_path / "model" / "seeing.safetensors"
    WordWeights(weights, bias, "objects", {"level": "sentence", "seed": 0}).save(path)
    return path


def test_weights_come_back_and_the_same_weights_are_the_same_file(saved: Path) -> None:
    weights = WordWeights.load(str(saved))
    assert (weights.evidence, weights.facts) == ("objects", {"level": "sentence", "seed": 0})
    sentences, objects, wrong = world(100, 0)
    again = WordWeights(*fit(columns_of(sentences, objects), wrong, 1.0), "objects", weights.facts)
    columns = columns_of(sentences, objects)
    assert np.array_equal(weights.probabilities(columns), again.probabilities(columns))
    content = saved.read_bytes()
    again.save(saved)
    assert saved.read_bytes() == content


def test_what_is_no_such_model_is_refused_in_a_line(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"^reward\.file=.*none: no such file$"):
        WordsAndObjects(str(tmp_path / "none"))
    (tmp_path / "text").write_text("no weights")
    save_file({"places": np.zeros(1, np.int32)}, tmp_path / "other")
    torn = tmp_path / "torn"
    torn.write_bytes(saved.read_bytes()[:-20])
    for name in ("text", "other", "torn"):
        with pytest.raises(VlgroundError, match=r"^reward\.file=.*: no weights that task=word_rew"):
            WordsAndObjects(str(tmp_path / name))
    with pytest.raises(VlgroundError, match=r"^reward\.objects=None: expected a JSON file"):
        WordsAndObjects(str(saved))


def test_the_scorer_reads_its_images_objects_and_says_where_it_does_not_know(
    saved: Path, tmp_path: Path
) -> None:
    (tmp_path / "objects.json").write_text('{"1": ["dog"], "2": ["cat"], "3": []}')
    scorer = WordsAndObjects(str(saved), str(tmp_path / "objects.json"))
    samples = [Sample(name, name, Path(), "") for name in ("1", "2", "3", "4")]
    told = scorer.score(samples, [["A puppy sleeps. ", "A kitten sleeps."]] * 4)
    first, second = ([row.get("unspecified") for row in pair] for pair in zip(*told, strict=True))
    assert first[0] < 0.5 < min(first[1], first[2])
    assert second[1] < 0.5 < min(second[0], second[2])
    assert told[3] == [{}, {}]
    assert scorer.score([samples[0]], [[]]) == [[]]
    WordWeights(np.zeros(1 << 20, np.float32), 0.0, "none").save(tmp_path / "blind")
    blind = WordsAndObjects(str(tmp_path / "blind"))
    assert blind.score([samples[3]], [["A puppy."]]) == [[{"unspecified": 0.5}]]


def sentences_of(*captions: tuple[str, int, list[float]]) -> LabelledSentences:
    """Captions with a label a sentence; the sentence is its label in words."""

    def scored(image: str, index: int, labels: list[float]) -> Scored:
        errors = np.zeros((len(labels), len(ERROR_TYPES)))
        errors[:, 1] = labels
        return Scored(image, index, 2 * len(labels), errors, (), np.zeros(0))

    return LabelledSentences.of(
        (scored(*one), [f"Says {label}. " for label in one[2]]) for one in captions
    )


def test_a_captions_worst_label_is_every_sentences_in_the_holistic_variant() -> None:
    unknown = float("nan")
    told = sentences_of(
        ("a", 0, [0.0, 1.0, unknown]), ("a", 1, [0.0, 0.4]), ("b", 1, [0.0]), ("b", 2, [unknown])
    )
    fine, holistic = told.targets("sentence"), told.targets("caption")
    np.testing.assert_array_equal(fine, [0, 1, unknown, 0, 0.4, 0, unknown])
    np.testing.assert_array_equal(holistic, [1, 1, 1, 0.4, 0.4, 0, unknown])
    assert [key for key, *_ in told.spans] == [("a", 0), ("a", 1), ("b", 1), ("b", 2)]
    part = told.part(told.image_ids == "b")
    assert [(one, end - start) for one, start, end in part.spans] == [(("b", 1), 1), (("b", 2), 1)]
    assert list(LabelledSentences.of([]).spans) == []


def test_images_are_held_out_whole_and_by_their_ids_alone() -> None:
    images = np.repeat([str(number) for number in range(50)], 3)
    out = held_out(images, 0.2, seed=0)
    assert out.sum() == 30
    assert set(images[out]).isdisjoint(images[~out])
    order = np.random.default_rng(0).permutation(150)
    assert (held_out(images[order], 0.2, seed=0) == out[order]).all()
    assert (held_out(images, 0.2, seed=1) != out).any()
    assert (held_out(images, 0.2, seed=0, of="penalty") != out).any()


def test_the_sum_takes_the_short_and_the_mean_the_long() -> None:
    told = sentences_of(
        *(("a", 0, [0.3]), ("a", 1, [0.2, 0.2, 0.2]), ("a", 2, [0.0, 0.9]), ("a", 3, [0.0])),
        *(("b", 0, [1.0]), ("b", 1, [0.0]), ("b", 2, [0.7])),
    )
    arms = best_of_n(told, told.labels, VigorReward(), n=3, seed=0)
    assert arms["sum"] == [("a", 0), ("b", 1)]
    assert arms["mean"] == [("a", 1), ("b", 1)]
    assert [image for image, _ in arms["random"]] == ["a", "b"]
    assert all(number < 3 for _, number in arms["random"])
    flipped = best_of_n(told, 1 - told.labels, VigorReward(), n=3, seed=0)
    assert flipped["sum"] == [("a", 0), ("b", 0)]
    assert (flipped["labels"], flipped["random"]) == (arms["sum"], arms["random"])
    of_a, of_b = taken(told, {"labels": [("a", 2), ("b", 2)]})["labels"]
    assert (of_a.text, of_a.wrong) == ("Says 0.0. Says 0.9.", (0.0, 1.0))
    assert (of_b.image_id, of_b.wrong) == ("b", (1.0,))
