import numpy as np

from vlground.rewards.gathering import Scored, errors_of, gather
from vlground.rewards.options import ERROR_TYPES, VigorReward
from vlground.rewards.selection import rank


def one(image_id, index, errors, lemmas, presence):
    return Scored(image_id, index, 9, np.array(errors).reshape(-1, 6), lemmas, np.array(presence))


def test_scores_stay_with_their_candidate():
    bad = errors_of([{"hallucination": 0.9}, {"location": 0.1}])
    found = gather(
        [
            one("b", 1, bad, ["cat", "dog", "cat"], [1.0, 0.0, 1.0]),
            one("a", 0, [], [], []),
            one("b", 0, errors_of([{}]), ["dog"], [0.0]),
        ]
    )
    assert found.image_ids == ["b", "a"]
    assert found.lemmas == ["cat", "dog"]
    assert found.keys == ["b/1", "a/0", "b/0"]
    assert found.candidates.sentence_owner.tolist() == [0, 0, 2]
    assert found.candidates.noun_owner.tolist() == [0, 0, 0, 2]
    assert found.candidates.noun.tolist() == [0, 1, 0, 1]
    signals, penalty, selection = rank(found.candidates, VigorReward())
    assert signals.n_nouns.tolist() == [2, 0, 1]
    assert signals.nouns.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(signals.sentences, [1, 0, np.nan])
    np.testing.assert_array_equal(np.isnan(penalty.total), [False, False, True])
    assert selection.winner.tolist() == [0, 1]


def test_nothing_gathers_to_nothing():
    found = gather([])
    assert found.keys == []
    assert rank(found.candidates, VigorReward())[2].counts["images"] == 0


def test_types_a_scorer_does_not_know_are_no_errors():
    table = errors_of([{"attribute": 0.7, "unspecified": 0.2}])
    assert table.shape == (1, len(ERROR_TYPES))
    assert table.sum() == 0.7 + 0.2
    assert errors_of([]).shape == (0, len(ERROR_TYPES))
