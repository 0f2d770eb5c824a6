"""Selection, ties, agreement and refinement."""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from vlground.rewards.options import ERROR_TYPES, VigorReward
from vlground.rewards.refinement import refine
from vlground.rewards.selection import agreement, rank, select
from vlground.rewards.sentences import split
from vlground.rewards.signals import Candidates, signals

NONE = np.zeros(0, dtype=np.int64)


def bare(image, index=None, words=None):
    """Candidates without sentences or nouns."""
    image = np.array(image, dtype=np.int64)
    index = np.arange(len(image)) if index is None else np.array(index)
    words = np.full(len(image), 10) if words is None else np.array(words)
    return Candidates(image, index, words, NONE, np.zeros((0, 6)), NONE, NONE, np.zeros(0))


def chosen(candidates, total, grounded=None, **options):
    found = signals(candidates, VigorReward())
    if grounded is not None:
        found = replace(found, grounded=np.array(grounded))
    return select(candidates, found, np.array(total, dtype=float), VigorReward(**options))


def test_lowest_and_highest_of_each_image():
    candidates = bare([1, 0, 1, 0, 3], index=[0, 0, 1, 1, 0])
    found = chosen(candidates, [2, 5, 1, 6, 4])
    assert found.winner.tolist() == [1, 2, -1, 4]
    assert found.worst.tolist() == [3, 0, -1, -1]
    assert found.tied.tolist() == [1, 1, 0, 1]
    assert found.counts == {"images": 4, "no_candidate_scored": 1, "ties": 0, "all_tied": 0}


def test_ties_go_to_grounded_then_longer_then_lower_index():
    candidates = bare([0] * 5, index=[4, 3, 2, 1, 0], words=[9, 9, 7, 30, 50])
    total, grounded = [1, 1, 1, 1, 2], [3, 3, 3, 2, 9]
    found = chosen(candidates, total, grounded)
    assert found.winner.tolist() == [1]
    assert found.tied.tolist() == [4]
    assert found.worst.tolist() == [4]
    assert chosen(candidates, total, grounded, tie_order=["longer"]).winner.tolist() == [3]
    assert chosen(candidates, total, grounded, tie_order=["shorter"]).winner.tolist() == [2]
    assert chosen(candidates, total, grounded, tie_order=[]).winner.tolist() == [3]
    reordered = ["shorter", "grounded"]
    assert chosen(candidates, total, grounded, tie_order=reordered).winner.tolist() == [2]


def test_without_a_higher_penalty_there_is_no_worst():
    found = chosen(bare([0, 0]), [1, 1])
    assert (found.winner.tolist(), found.worst.tolist()) == ([0], [-1])
    assert found.counts["all_tied"] == 1


def test_unscored_candidates_are_never_taken():
    found = chosen(bare([0, 0, 1]), [np.nan, 3, np.nan])
    assert found.winner.tolist() == [1, -1]
    assert found.scored.tolist() == [1, 0]
    assert found.counts["no_candidate_scored"] == 1


def test_the_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(0)
    image, index = np.repeat(np.arange(40), 5), np.tile(np.arange(5), 40)
    words, total = rng.integers(5, 8, 200), rng.integers(0, 3, 200)
    first = chosen(bare(image, index, words), total)
    shuffled = rng.permutation(200)
    other = chosen(bare(image[shuffled], index[shuffled], words[shuffled]), total[shuffled])
    np.testing.assert_array_equal(shuffled[other.winner], first.winner)
    np.testing.assert_array_equal(shuffled[other.worst], first.worst)
    np.testing.assert_array_equal(other.tied, first.tied)


def test_agreement_counts_images_where_both_have_a_winner():
    candidates = bare([0, 0, 1, 1, 2])
    one = chosen(candidates, [1, 2, 1, 2, np.nan])
    other = chosen(candidates, [1, 2, 2, 1, 1])
    nobody = chosen(candidates, [np.nan] * 5)
    shares = agreement({"one": one, "other": other, "nobody": nobody})
    assert shares["one", "other"] == 0.5
    assert isnan(shares["one", "nobody"])
    assert len(shares) == 3


def test_counts_favour_short_captions_and_rates_long_ones():
    # 1 of 2 nouns missing, or 2 of 8.
    owner, noun = np.repeat([0, 1], [2, 8]), np.arange(10)
    seen = np.array([0, 1] + [0, 0] + [1] * 6, dtype=float)
    candidates = replace(bare([0, 0], words=[8, 40]), noun_owner=owner, noun=noun, presence=seen)
    assert rank(candidates, VigorReward())[2].winner.tolist() == [0]
    assert rank(candidates, VigorReward(amount="rates"))[2].winner.tolist() == [1]


TEXT = "  A man rides.\n\nA dog, e.g. a poodle, runs. A cat sits. "
SENTENCES = split(TEXT)


def errors(*inaccurate, kind="attribute", p=0.9):
    table = np.zeros((3, len(ERROR_TYPES)))
    table[list(inaccurate), ERROR_TYPES.index(kind)] = p
    return table


def test_removing_keeps_the_rest_to_the_character():
    found = refine(SENTENCES, [0, 2, 0], None, VigorReward())
    assert found.text == "  A man rides.\n\nA cat sits. "
    assert (found.kept, found.removed, found.spared, found.emptied) == ((0, 2), (1,), 0, False)
    untouched = refine(SENTENCES, [0, 0, 0], errors(0, 1, 2), VigorReward())
    assert untouched.text == TEXT
    assert refine(SENTENCES, [1, 1, 1], errors(0), VigorReward(refine="none")).text == TEXT


@pytest.mark.parametrize(
    ("how", "removed"), [("nouns", (1,)), ("sentences", (2,)), ("either", (1, 2))]
)
def test_what_triggers_a_removal(how, removed):
    assert refine(SENTENCES, [0, 1, 0], errors(2), VigorReward(refine=how)).removed == removed


def test_a_flag_needs_the_threshold_and_a_weight():
    at = VigorReward(refine="sentences", sentence_threshold=0.9)
    assert refine(SENTENCES, [0] * 3, errors(2), at).removed == ()
    weightless = VigorReward(refine="sentences", error_weights={"attribute": 0})
    assert refine(SENTENCES, [0] * 3, errors(2), weightless).removed == ()
    # Below 0.5 as a weighted score, but a flag all the same.
    light = VigorReward(
        refine="sentences", error_weights={"attribute": 0.1}, sentence_score="probabilistic"
    )
    assert refine(SENTENCES, [0] * 3, errors(2), light).removed == (2,)
    unknown = np.full((3, 6), np.nan)
    assert refine(SENTENCES, [0] * 3, unknown, VigorReward(refine="sentences")).removed == ()


def test_keep_at_least_spares_those_with_the_least_against_them():
    options = VigorReward(keep_at_least=1)
    found = refine(SENTENCES, [3, 1, 2], None, options)
    assert (found.kept, found.spared, found.emptied) == ((1,), 1, False)
    assert refine(SENTENCES, [1, 1, 1], None, options).kept == (0,)
    flagged = VigorReward(keep_at_least=1, refine="sentences", sentence_score="probabilistic")
    table = errors(0, p=0.9) + errors(1, p=0.8) + errors(2, p=0.7)
    assert refine(SENTENCES, [0, 0, 5], table, flagged).kept == (2,)
    assert refine(SENTENCES, [0, 1, 1], None, options).spared == 0
    assert refine(SENTENCES, [1, 1, 1], None, VigorReward(keep_at_least=9)).text == TEXT
    emptied = refine(SENTENCES, [1, 1, 1], None, VigorReward())
    assert (emptied.text, emptied.emptied) == ("", True)


def test_a_caption_without_sentences_is_not_emptied():
    found = refine([], [], np.zeros((0, 6)), VigorReward(refine="either"))
    assert (found.text, found.removed, found.emptied) == ("", (), False)
