"""H, D and their normalisation, beside a literal version of one candidate at a time."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import yaml

from vlground.config import build
from vlground.errors import VlgroundError
from vlground.rewards.normalisation import normalised, normalised_by_image, spread
from vlground.rewards.options import ERROR_TYPES, VigorReward
from vlground.rewards.selection import measure, penalties, rank
from vlground.rewards.signals import Candidates, pool_hash, signals

CONF = Path(__file__).parents[2] / "conf"


def make(seed=0, images=30, each=5):
    """Random scores; candidates, sentences and nouns in no order."""
    rng = np.random.default_rng(seed)
    c = images * each
    place = rng.permutation(c)
    n_sentences, n_nouns = rng.integers(0, 6, c), rng.integers(0, 9, c)
    sentence_owner = rng.permutation(np.repeat(np.arange(c), n_sentences))
    noun_owner = rng.permutation(np.repeat(np.arange(c), n_nouns))
    noun = rng.integers(0, 12, len(noun_owner))
    seen = rng.random((images, 12)).round(1)  # an image has one answer for a noun
    image = (place // each).astype(np.int64)
    return Candidates(
        image,
        (place % each).astype(np.int64),
        rng.integers(5, 90, c),
        sentence_owner,
        rng.random((len(sentence_owner), len(ERROR_TYPES))).round(1) ** 3,
        noun_owner,
        noun,
        seen[image[noun_owner], noun],
    )


def literal(candidates, options):
    """H and D of each candidate, one at a time."""
    h, d = [], []
    weights = [options.error_weights.get(name, 1) for name in ERROR_TYPES]
    for i in range(len(candidates.image)):
        faults = []
        for errors in candidates.errors[candidates.sentence_owner == i]:
            if options.sentence_score == "binary":
                errors = [float(p > options.sentence_threshold) for p in errors]
            both = [p * w for p, w in zip(errors, weights, strict=True)]
            faults.append(max(both) if options.errors == "max" else sum(both))
        own = candidates.noun_owner == i
        named = list(zip(candidates.noun[own].tolist(), candidates.presence[own], strict=True))
        answers = (
            list(dict(named).values()) if options.nouns == "distinct" else [p for _, p in named]
        )
        if options.noun_score == "binary":
            missing = [float(not p > options.noun_threshold) for p in answers]
        else:
            missing = [1 - p for p in answers]
        rates = options.amount == "rates"
        h.append(sum(faults) / (max(1, len(faults)) if rates else 1))
        d.append(sum(missing) / (max(1, len(missing)) if rates else 1))
    return np.array(h), np.array(d)


SETTINGS = [
    VigorReward(),
    VigorReward(sentence_score="probabilistic", noun_score="probabilistic"),
    VigorReward(errors="sum", error_weights={"attribute": 0.5, "conjecture": 0}),
    VigorReward(amount="rates", nouns="mentions", noun_threshold=0.6, sentence_threshold=0.1),
]


@pytest.mark.parametrize("options", SETTINGS)
def test_signals_are_those_of_one_candidate_at_a_time(options):
    candidates = make()
    found = signals(candidates, options)
    h, d = literal(candidates, options)
    np.testing.assert_allclose(found.sentences, h, atol=1e-12)
    np.testing.assert_allclose(found.nouns, d, atol=1e-12)
    assert h.max() > 0
    assert len(np.unique(d)) > 3
    if options == VigorReward():
        np.testing.assert_array_equal(found.grounded + found.nouns, found.n_nouns)


@pytest.mark.parametrize("how", ["variance", "std", "rank", "none"])
@pytest.mark.parametrize("pool", ["global", "image"])
def test_normalised_streams_and_their_sum(how, pool):
    candidates = make()
    options = VigorReward(normalise=how, pool=pool, noun_weight=0.7)
    found, penalty, _ = rank(candidates, options)
    groups = candidates.image if pool == "image" else np.zeros_like(candidates.image)
    for values, scaled in ((found.sentences, penalty.sentences), (found.nouns, penalty.nouns)):
        for group in np.unique(groups):
            x, got = values[groups == group], scaled[groups == group]
            if np.ptp(x) == 0:
                expected = np.zeros(len(x))
            else:
                ranks = (scipy.stats.rankdata(x) - 0.5) / len(x)
                expected = {"variance": x / x.var(), "std": x / x.std(), "rank": ranks, "none": x}
                expected = expected[how]
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(penalty.total, penalty.sentences + 0.7 * penalty.nouns)


@pytest.mark.parametrize("how", ["variance", "std", "rank", "none"])
@pytest.mark.parametrize("pool", ["global", "image"])
def test_a_constant_stream_contributes_nothing(how, pool):
    candidates = make()
    options = VigorReward(normalise=how, pool=pool, amount="rates", sentence_score="probabilistic")
    # Every candidate has one sentence, as bad as all others.
    owner = np.arange(len(candidates.image))
    constant = replace(candidates, sentence_owner=owner, errors=np.full((len(owner), 6), 0.9))
    found, penalty, chosen = rank(constant, options)
    assert len(np.unique(found.sentences)) == 1
    assert (penalty.sentences == 0).all()
    alone = rank(constant, replace(options, streams=["nouns"]))[2]
    np.testing.assert_array_equal(chosen.winner, alone.winner)


def test_nearly_constant_is_constant():
    x = np.full(50, 0.1 + 0.2)
    x[7] = 0.3
    assert (normalised(x, spread(x), "variance") == 0).all()
    assert (normalised_by_image(x, np.zeros(50, int), "variance") == 0).all()


def test_streams_alone_and_lambda_zero():
    candidates = make()
    only = rank(candidates, VigorReward(streams=["sentences"]))[1]
    weightless = rank(candidates, VigorReward(noun_weight=0))[1]
    np.testing.assert_array_equal(only.total, weightless.total)
    assert not np.array_equal(only.total, rank(candidates, VigorReward())[1].total)


def test_a_candidate_with_a_missing_score_can_be_refused():
    candidates = make()
    candidates.errors[3] = np.nan
    candidates.presence[5] = np.nan
    lost = {candidates.sentence_owner[3], candidates.noun_owner[5]}
    refuse = {"unknown": "refuse", "nouns": "mentions"}
    _, penalty, chosen = rank(candidates, VigorReward(**refuse))
    assert set(np.flatnonzero(np.isnan(penalty.total))) == lost
    assert not lost & set(chosen.winner.tolist())
    # A stream that does not count asks for no score.
    only = rank(candidates, VigorReward(streams=["sentences"], **refuse))[1]
    assert set(np.flatnonzero(np.isnan(only.total))) == {candidates.sentence_owner[3]}


@pytest.mark.parametrize("amount", ["counts", "rates"])
def test_what_nobody_scored_is_as_if_it_were_not_there(amount):
    candidates = make()
    options = VigorReward(amount=amount, nouns="mentions")
    candidates.errors[3] = np.nan
    candidates.presence[5] = np.nan
    names = ("sentence_owner", "errors"), ("noun_owner", "noun", "presence")
    gone = {name: np.delete(getattr(candidates, name), 3, axis=0) for name in names[0]}
    gone |= {name: np.delete(getattr(candidates, name), 5, axis=0) for name in names[1]}
    found, without = signals(candidates, options), signals(replace(candidates, **gone), options)
    np.testing.assert_array_equal(found.sentences, without.sentences)
    np.testing.assert_array_equal(found.nouns, without.nouns)
    np.testing.assert_array_equal(found.n_nouns, without.n_nouns)


def test_a_candidate_of_which_a_stream_knows_nothing_cannot_win():
    candidates = make()
    candidates.errors[candidates.sentence_owner == 4] = np.nan
    candidates.presence[candidates.noun_owner == 9] = np.nan
    _, penalty, _ = rank(candidates, VigorReward())
    assert set(np.flatnonzero(np.isnan(penalty.total))) == {4, 9}


def test_an_empty_caption_wins_only_where_it_may():
    candidates = replace(make(), words=make().words.copy())
    candidates.words[7] = 0
    assert np.flatnonzero(np.isnan(rank(candidates, VigorReward())[1].total)).tolist() == [7]
    allowed = rank(candidates, VigorReward(take_empty=True))[1]
    assert not np.isnan(allowed.total).any()


@pytest.mark.parametrize("how", ["variance", "std", "rank"])
def test_a_shard_with_frozen_statistics_scores_as_the_whole(how, tmp_path):
    candidates = make()
    options = VigorReward(normalise=how)
    found, whole, _ = rank(candidates, options)
    keys = [f"{i}/{k}" for i, k in zip(candidates.image, candidates.index, strict=True)]
    measure(pool_hash(keys, found), found, options).write(tmp_path / "pool.json")
    frozen = replace(options, pool="frozen", statistics=str(tmp_path / "pool.json"))
    part = make_part(candidates, candidates.image < 7)
    scored = penalties(part, signals(part, frozen), frozen)
    np.testing.assert_array_equal(scored.total, whole.total[candidates.image < 7])
    assert not np.array_equal(scored.total, penalties(part, signals(part, options), options).total)


def make_part(candidates, kept):
    """The candidates of a mask, renumbered."""
    new = np.cumsum(kept) - 1
    s, n = kept[candidates.sentence_owner], kept[candidates.noun_owner]
    return Candidates(
        candidates.image[kept],
        candidates.index[kept],
        candidates.words[kept],
        new[candidates.sentence_owner[s]],
        candidates.errors[s],
        new[candidates.noun_owner[n]],
        candidates.noun[n],
        candidates.presence[n],
    )


def test_frozen_statistics_of_other_options_are_refused(tmp_path):
    candidates, path = make(), tmp_path / "pool.json"
    found = signals(candidates, VigorReward())
    measure("0", found, VigorReward()).write(path)
    other = VigorReward(amount="rates", pool="frozen", statistics=str(path))
    with pytest.raises(VlgroundError, match=r"metric\.statistics=.*another amount"):
        rank(candidates, other)
    for broken in ("{}", "no json", '{"sentences": 1}'):
        path.write_text(broken)
        with pytest.raises(VlgroundError, match="no statistics of a pool"):
            rank(candidates, VigorReward(pool="frozen", statistics=str(path)))
    path.unlink()
    with pytest.raises(VlgroundError, match="no statistics of a pool"):
        rank(candidates, VigorReward(pool="frozen", statistics=str(path)))


def test_the_pool_is_known_by_its_candidates_and_what_is_held_against_them():
    candidates = make()
    found = signals(candidates, VigorReward())
    keys = [f"{i}/{k}" for i, k in zip(candidates.image, candidates.index, strict=True)]
    whole = pool_hash(keys, found)
    back = replace(found, sentences=found.sentences[::-1], nouns=found.nouns[::-1])
    assert pool_hash(keys[::-1], back) == whole
    changed = found.nouns.copy()
    changed[0] += 1
    fewer = replace(found, sentences=found.sentences[1:], nouns=found.nouns[1:])
    others = {pool_hash(keys, replace(found, nouns=changed)), pool_hash(keys[1:], fewer)}
    assert len(others | {whole}) == 3
    # Statistics do not depend on the order to the last bit.
    assert spread(found.nouns / 3) == spread(found.nouns[::-1] / 3)


def test_no_candidates_at_all():
    none = make_part(make(), np.zeros(150, dtype=bool))
    for pool in ("global", "image"):
        _, penalty, chosen = rank(none, VigorReward(pool=pool))
        assert len(penalty.total) == len(chosen.winner) == 0


def test_the_shipped_options_are_the_defaults():
    shipped = build(yaml.safe_load((CONF / "metric" / "vigor_reward.yaml").read_text("utf-8")))
    for field in fields(VigorReward):
        default, found = getattr(VigorReward(), field.name), getattr(shipped, field.name)
        assert (list(found) == list(default)) if isinstance(default, tuple) else found == default


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"normalise": "mean"}, "normalise=mean"),
        ({"streams": []}, "streams"),
        ({"streams": "nouns"}, "streams=nouns"),
        ({"tie_order": ["grounded", "grounded"]}, "tie_order"),
        ({"noun_threshold": 1.5}, "noun_threshold=1.5"),
        ({"sentence_threshold": "high"}, "sentence_threshold=high"),
        ({"noun_weight": -1}, "noun_weight=-1"),
        ({"noun_weight": float("inf")}, "noun_weight=inf"),
        ({"noun_weight": float("nan")}, "noun_weight=nan"),
        ({"error_weights": {"colour": 1}}, "error_weights=colour"),
        ({"error_weights": {"attribute": -1}}, r"error_weights\.attribute=-1"),
        ({"keep_at_least": 1.5}, "keep_at_least=1.5"),
        ({"keep_at_least": True}, "keep_at_least=True"),
        ({"pool": "frozen"}, "statistics=None"),
        ({"statistics": "pool.json"}, r"statistics=pool\.json"),
    ],
)
def test_impossible_options_are_one_line(options, named):
    with pytest.raises(VlgroundError, match=rf"^metric\.{named}.*expected"):
        VigorReward(**options)
