"""Every fault of an endpoint is a count with its reason, and none is a score."""

import logging
import time
from email.utils import formatdate
from typing import Any

import pytest
from tests.judging.server import (
    Judgement,
    Say,
    completion,
    judge_of,
    judging,
    problem,
    scored,
    verdicts,
)

from vlground.errors import VlgroundError


@pytest.fixture
def server() -> Any:
    with judging() as state:
        yield state


@pytest.mark.parametrize(
    ("said", "outcome", "reason"),
    [
        (Say(problem("later"), 429), "error", "429"),
        (Say(problem("oh"), 500), "error", "500"),
        (Say("<html>bad gateway</html>", 502), "error", "502"),
        (Say("", 503), "error", "503"),
        (Say(reset=True), "error", "connection"),
        (Say(scored(4), wait=0.8), "error", "time-out"),
        (Say(problem("image is larger than 20 MB"), 413), "error", "413"),
        (Say(problem("bad image"), 400), "error", "400"),
        (Say(problem("not yours"), 403), "error", "403"),
        (Say("", 307, {"Location": "http://127.0.0.1:9/"}), "error", "307"),
        (Say("<html>welcome</html>"), "error", "no chat completion"),
        (Say({"choices": []}), "error", "no chat completion"),
        (Say(problem("overloaded", 503)), "error", "503"),
        (
            Say(completion('{"description": "a wh', finish_reason="length")),
            "error",
            "cut off: longer than max_tokens",
        ),
        (Say(completion('{"description": "a wh')), "error", "broken JSON"),
        (Say(completion("I would give this a 4.")), "error", "no JSON"),
        (Say(completion("4")), "error", "no JSON object"),
        (Say(scored("3/5")), "error", "score is no number 0-5"),
        (Say(scored(10)), "error", "score is no number 0-5"),
        (Say(scored("10")), "error", "score is no number 0-5"),
        (Say(scored(-1)), "error", "score is no number 0-5"),
        (Say(scored(True)), "error", "score is no number 0-5"),
        (Say(scored(None)), "error", "score is no number 0-5"),
        (Say(scored(float("nan"))), "error", "broken JSON"),
        (
            Say(completion('{"score": 0, "score": 5, "description": "", "justification": ""}')),
            "error",
            "broken JSON",
        ),
        (Say(completion('{"score": 5}')), "error", "no description or justification"),
        (Say(completion("")), "error", "empty answer"),
        (Say(completion(None)), "error", "empty answer"),
        (Say(completion(None, finish_reason="length")), "error", "cut off before the answer"),
        (Say(completion(None, refusal="I cannot help with 5 of that.")), "refusal", "refusal"),
        (Say(completion(None, finish_reason="content_filter")), "refusal", "content filter"),
        (Say(problem("filtered", "content_filter"), 400), "refusal", "content filter"),
    ],
)
def test_a_fault_is_a_count_and_no_score(
    server: Judgement, said: Say, outcome: str, reason: str
) -> None:
    server.scripts["boat"] = [said]
    judge = judge_of(server, attempts=2, timeout=0.4)
    bad, good = verdicts(judge, ["boat", "car"])
    assert (bad.outcome, bad.reason, bad.score) == (outcome, reason, None)
    assert (good.outcome, good.score, good.description) == ("score", 4.0, "a wheel")
    counts = judge.usage.refusals if outcome == "refusal" else judge.usage.errors
    assert dict(counts) == {reason: 1}
    assert judge.usage.scores == 1


@pytest.mark.parametrize(("score", "expected"), [(0, 0.0), (4.5, 4.5), ("4.5", 4.5), ("5", 5.0)])
def test_a_number_is_the_score_that_it_says(server: Judgement, score: Any, expected: float) -> None:
    server.scripts["boat"] = [Say(scored(score))]
    assert verdicts(judge_of(server), ["boat"])[0].score == expected


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"description": "a", "justification": "b", "score": 2}\n```',
        [{"type": "text", "text": '{"description": "a", "justification": "b", "score": 2}'}],
    ],
)
def test_a_fence_and_parts_are_only_wrapping(server: Judgement, content: Any) -> None:
    server.scripts["boat"] = [Say(completion(content))]
    assert verdicts(judge_of(server), ["boat"])[0].score == 2.0


@pytest.mark.parametrize("said", [Say("", status) for status in (429, 500, 502, 503, 529)])
def test_what_may_pass_is_asked_again(server: Judgement, said: Say) -> None:
    server.scripts["boat"] = [said, said, Say(scored(3))]
    judge = judge_of(server)
    assert verdicts(judge, ["boat"])[0].score == 3.0
    assert judge.usage.calls == len(server.asked) == 3


def test_broken_connections_and_time_outs_are_asked_again(server: Judgement) -> None:
    server.scripts["boat"] = [Say(reset=True), Say(scored(1), wait=0.8), Say(scored(3))]
    assert verdicts(judge_of(server, timeout=0.4), ["boat"])[0].score == 3.0
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_what_will_not_pass_is_asked_once(server: Judgement, status: int) -> None:
    server.scripts["boat"] = [Say("", status), Say(scored(3))]
    assert verdicts(judge_of(server), ["boat"])[0].reason == str(status)
    assert len(server.asked) == 1


def test_attempts_end(server: Judgement) -> None:
    server.scripts["boat"] = [Say("", 500)]
    verdicts(judge_of(server, attempts=4), ["boat"])
    assert len(server.asked) == 4


def test_retry_after_is_waited_for_by_all(server: Judgement) -> None:
    server.scripts["boat"] = [Say("", 429, {"Retry-After": "0.6"}), Say(scored(3))]
    assert verdicts(judge_of(server), ["boat"])[0].score == 3.0
    assert server.times[1] - server.times[0] >= 0.6
    server.scripts["plane"] = [Say("", 429, {"Retry-After": "0.6"}), Say(scored(3))]
    server.scripts["bus"] = [Say("", 500, wait=0.1), Say(scored(2))]
    verdicts(judge_of(server, concurrency=2), ["plane", "bus"])
    assert server.times[4] - server.times[3] >= 0.45, "nobody asks while the endpoint rests"


def test_retry_after_may_be_a_date_and_too_late(server: Judgement) -> None:
    date = formatdate(time.time() + 2, usegmt=True)
    server.scripts["boat"] = [Say("", 503, {"Retry-After": date}), Say(scored(3))]
    server.scripts["car"] = [Say("", 429, {"Retry-After": "86400"})]
    boat, car = verdicts(judge_of(server, concurrency=2), ["boat", "car"])
    assert (boat.score, car.reason) == (3.0, "429")
    assert server.asked.count("car") == 1
    boats = [when for when, name in zip(server.times, server.asked, strict=True) if name == "boat"]
    assert boats[1] - boats[0] > 0.8


def test_back_off_doubles(server: Judgement) -> None:
    server.scripts["boat"] = [Say("", 500)]
    verdicts(judge_of(server, attempts=4, backoff=0.1), ["boat"])
    gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    for gap, longest in zip(gaps, (0.1, 0.2, 0.4), strict=True):
        assert longest / 2 <= gap < longest + 0.15


def test_another_model_is_stored_and_its_change_told_once(
    server: Judgement, caplog: pytest.LogCaptureFixture
) -> None:
    for name, model in (("a", "judge-1-0813"), ("b", "judge-2"), ("c", "judge-2")):
        server.scripts[name] = [Say(scored(3, model=model))]
    with caplog.at_level(logging.INFO, "vlground"):
        judge = judge_of(server)
        found = [verdicts(judge, [name])[0] for name in ("a", "b", "c")]
    assert [one.model for one in found] == ["judge-1-0813", "judge-2", "judge-2"]
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "judge.model=judge-1: the endpoint answers as judge-1-0813",
        "the judge is now judge-2, it was judge-1-0813: scores may not compare",
    ]


def test_a_reason_is_told_once_with_what_the_endpoint_said(
    server: Judgement, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a", "b", "c"]
    server.scripts |= {name: [Say(problem("no 'max_tokens',\nplease"), 400)] for name in names}
    verdicts(judge_of(server), names)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["the judge did not answer: 400: no 'max_tokens', please"]


def test_an_endpoint_that_never_answers_stops_the_run(server: Judgement) -> None:
    names = [f"thing {number}" for number in range(30)]
    server.scripts |= {name: [Say("", 404)] for name in names}
    with pytest.raises(VlgroundError, match=r"judge\.give_up=5: 5 requests in a row .* 404"):
        verdicts(judge_of(server, give_up=5, concurrency=2), names)
    assert len(server.asked) < 15
    whole = verdicts(judge_of(server, give_up=None), names)
    assert [one.reason for one in whole] == ["404"] * 30
    for name in names:  # a model that does not do as it is told is the judge's quality
        server.scripts[name] = [Say(completion("four"))]
    assert [one.reason for one in verdicts(judge_of(server, give_up=5), names)] == ["no JSON"] * 30


def test_nobody_there_stops_the_run_too() -> None:
    with judging() as gone:
        judge = judge_of(gone, give_up=3, attempts=2)
    with pytest.raises(VlgroundError, match="3 requests in a row were not answered: connection"):
        verdicts(judge, ["a", "b", "c", "d"])


@pytest.mark.parametrize(
    "said", [Say("", 402), Say(problem("you exceeded your quota", "insufficient_quota"), 429)]
)
def test_an_empty_account_stops_the_run(server: Judgement, said: Say) -> None:
    names = [f"thing {number}" for number in range(30)]
    server.scripts |= {name: [said] for name in names}
    with pytest.raises(VlgroundError, match="out of money"):
        verdicts(judge_of(server, concurrency=2), names)
    assert len(server.asked) <= 4
