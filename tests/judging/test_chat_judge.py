"""What is asked of an endpoint, how fast, in which order, and what is never asked again."""

import base64
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.judging.server import (
    Judgement,
    Say,
    asking,
    completion,
    judge_of,
    judging,
    scored,
    verdicts,
)

from vlground.errors import VlgroundError

NAMES = [f"thing {number}" for number in range(12)]


@pytest.fixture
def server() -> Any:
    with judging() as state:
        yield state


def test_the_request_holds_the_words_the_pixels_and_the_schema(server: Judgement) -> None:
    judge = judge_of(server, model="some/model", extra_body={"seed": 7})
    verdicts(judge, ["a {boat}"])
    (body,) = server.bodies
    assert (body["model"], body["temperature"], body["seed"]) == ("some/model", 0.0, 7)
    words, picture = body["messages"][0]["content"]
    assert words["text"].startswith('An image classifier answered "a {boat}"; it may be wrong.')
    kind, _, data = picture["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.array_equal(pixels, asking(["a {boat}"])[0].images[0])
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert list(schema["schema"]["properties"]) == ["description", "justification", "score"]
    assert schema["schema"]["required"] == ["description", "justification", "score"]
    assert schema["schema"]["additionalProperties"] is False


def test_what_an_endpoint_does_not_know_is_not_sent(server: Judgement) -> None:
    verdicts(judge_of(server, structured="json_object"), ["boat"])
    verdicts(judge_of(server, structured="none", temperature=None, max_tokens=None), ["boat"])
    first, second = server.bodies
    assert first["response_format"] == {"type": "json_object"}
    assert set(second) == {"model", "messages"}


def digits(**probabilities: float) -> dict[str, Any]:
    listed = [{"token": t, "logprob": float(np.log(p))} for t, p in probabilities.items()]
    return {"content": [{"token": "4", "logprob": -1.0, "top_logprobs": listed}]}


def test_digit_probabilities_are_the_expected_score(server: Judgement) -> None:
    server.scripts["boat"] = [
        Say(completion("4", logprobs=digits(**{"4": 0.4, " 4": 0.1, "5": 0.1, "0": 0.2, "9": 0.2})))
    ]
    judge = judge_of(server, score="digits", temperature=1.0, max_tokens=1)
    (found,) = verdicts(judge, ["boat"])
    assert found.score == pytest.approx((0.5 * 4 + 0.1 * 5) / 0.8)
    assert found.justification == "P(0) 0.250, P(4) 0.625, P(5) 0.125; mass 0.800"
    (body,) = server.bodies
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 20, 1)
    assert "response_format" not in body
    assert "one digit from 0 to 5" in body["messages"][0]["content"][0]["text"]


def test_digits_that_are_improbable_or_untold_are_errors(server: Judgement) -> None:
    server.scripts |= {
        "vague": [Say(completion("I", logprobs=digits(**{"4": 0.3, "I": 0.7})))],
        "never": [Say(completion("I", logprobs=digits(I=1.0)))],
        "untold": [Say(completion("4"))],
        "empty": [Say(completion("4", logprobs={"content": []}))],
        "refused": [Say(completion(None, refusal="no"))],
    }
    judge = judge_of(server, score="digits")
    reasons = [one.reason for one in verdicts(judge, list(server.scripts))]
    assert reasons == ["digits are improbable"] * 2 + ["no logprobs"] * 2 + ["refusal"]
    loose = judge_of(server, score="digits", lowest_mass=0.0)
    assert verdicts(loose, ["vague"])[0].score == pytest.approx(4)
    assert verdicts(loose, ["never"])[0].reason == "digits are improbable"


def test_as_many_as_allowed_are_in_flight_and_no_more(server: Judgement) -> None:
    server.wait = 0.1
    started = time.monotonic()
    found = verdicts(judge_of(server, concurrency=4), NAMES)
    assert server.most == 4
    assert time.monotonic() - started < 0.7, "three rounds of 0.1 s"
    assert all(one.score == 4.0 for one in found)


def test_each_verdict_comes_as_soon_as_it_is_known(server: Judgement) -> None:
    server.scripts["slow"] = [Say(scored(1), wait=0.5)]
    requests = asking(["slow", *NAMES[:3]])
    order = [request.fields["object"] for request, _ in judge_of(server).judge(requests)]
    assert order[-1] == "slow"
    assert sorted(order[:-1]) == NAMES[:3]


def test_requests_are_taken_as_they_are_needed(server: Judgement) -> None:
    taken = []

    def many() -> Any:
        for number in range(200):
            taken.append(number)
            yield asking([f"thing {number}"])[0]

    server.wait = 0.05
    answers = judge_of(server, concurrency=2).judge(many())
    for _ in range(3):
        next(answers)
    assert len(taken) <= 3 + 2 * 2 + 1
    started = time.monotonic()
    answers.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 1
    asked = len(server.asked)
    time.sleep(0.2)
    assert len(server.asked) == asked, "nobody asks after the end"


def test_a_run_that_is_left_does_not_wait_for_answers(
    server: Judgement, caplog: pytest.LogCaptureFixture
) -> None:
    server.scripts["slow"] = [Say(scored(1), wait=3)]
    answers = judge_of(server).judge(asking(["slow", *NAMES]))
    next(answers)
    started = time.monotonic()
    answers.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 1
    assert not caplog.records


def test_the_pace_is_kept(server: Judgement) -> None:
    verdicts(judge_of(server, requests_per_minute=600), NAMES[:6])
    gaps = np.diff(server.times)
    assert sum(gaps) >= 0.49
    assert gaps.min() > 0.05


def test_the_same_question_is_asked_once(server: Judgement) -> None:
    server.wait = 0.1
    requests = asking(["boat", "boat", "car"])
    same = [requests[0], requests[0], requests[1], requests[2]]
    judge = judge_of(server)
    found = [verdict for _, verdict in judge.judge(same)]
    assert sorted(server.asked) == ["boat", "boat", "car"], "two pictures of boats"
    assert sum(one.cached for one in found) == 1
    assert (judge.usage.scores, judge.usage.cached, judge.usage.calls) == (3, 1, 3)


def test_a_second_run_asks_nobody(server: Judgement, tmp_path: Path) -> None:
    first = verdicts(judge_of(server, cache_dir=str(tmp_path)), NAMES)
    before = len(server.asked)
    judge = judge_of(server, cache_dir=str(tmp_path), base_url="http://elsewhere/v1")
    second = verdicts(judge, NAMES)
    assert len(server.asked) == before == len(NAMES)
    assert all(one.cached for one in second)
    for name in ("score", "description", "justification", "model", "tokens_in", "tokens_out"):
        assert [getattr(a, name) for a in first] == [getattr(b, name) for b in second]
    assert (judge.usage.cached, judge.usage.tokens_in, judge.usage.calls) == (len(NAMES), 0, 0)
    assert judge.usage.models == {"judge-1": len(NAMES)}


def test_a_judge_remembers_within_a_process_too(server: Judgement, tmp_path: Path) -> None:
    judge = judge_of(server, cache_dir=str(tmp_path))
    for _ in range(2):
        verdicts(judge, NAMES[:3])
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"label": "another"},
        {"model": "judge-2"},
        {"prompt": "full"},
        {"temperature": 0.5},
        {"max_tokens": 99},
        {"structured": "none"},
        {"extra_body": {"seed": 1}},
    ],
)
def test_what_answers_depend_on_is_asked_anew(
    server: Judgement, tmp_path: Path, change: dict[str, Any]
) -> None:
    verdicts(judge_of(server, cache_dir=str(tmp_path)), ["boat"])
    (found,) = verdicts(judge_of(server, cache_dir=str(tmp_path), **change), ["boat"])
    assert not found.cached
    assert len(server.asked) == 2


def test_another_picture_or_label_is_asked_anew(server: Judgement, tmp_path: Path) -> None:
    judge = judge_of(server, cache_dir=str(tmp_path))
    one, other = asking(["boat", "boat"])
    darker = type(one)(one.key, one.fields, (one.images[0] // 2,))
    named = type(one)(one.key, {"object": "ship"}, one.images)
    renamed = type(one)("another key", one.fields, one.images)
    found = [verdict for _, verdict in judge.judge([one, other, darker, named])]
    assert not any(verdict.cached for verdict in found)
    ((_, again),) = judge.judge([renamed])
    assert again.cached, "the same question of another sample"


def test_failures_are_asked_again_in_the_next_run(server: Judgement, tmp_path: Path) -> None:
    faults = [Say("", 400), Say(completion("four")), Say(completion(None, refusal="no"))]
    server.scripts |= {str(n): [said, Say(scored(2))] for n, said in enumerate(faults)}
    first = verdicts(judge_of(server, cache_dir=str(tmp_path)), ["0", "1", "2"])
    assert [one.outcome for one in first] == ["error", "error", "refusal"]
    again = verdicts(judge_of(server, cache_dir=str(tmp_path)), ["0", "1", "2"])
    assert [(one.score, one.cached) for one in again] == [(2.0, False)] * 3


RUN = """
import sys
from tests.judging.server import Judgement, asking, judge_of
judge = judge_of(Judgement(url=sys.argv[1]), cache_dir=sys.argv[2], concurrency=3)
for request, verdict in judge.judge(asking([f"thing {n}" for n in range(60)])):
    print(request.fields["object"], flush=True)
"""


def test_kill_9_loses_no_answer(server: Judgement, tmp_path: Path) -> None:
    server.wait = 0.02
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, server.url, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    answered = [process.stdout.readline().strip() for _ in range(8)]
    os.kill(process.pid, signal.SIGKILL)
    answered += process.stdout.read().split("\n")[:-1]  # whole lines that were on their way
    process.wait()
    time.sleep(0.3)
    assert 8 <= len(answered) < 60
    before, names = len(server.asked), [f"thing {number}" for number in range(60)]
    server.wait = 0.0
    found = verdicts(judge_of(server, cache_dir=str(tmp_path)), names)
    assert all(one.outcome == "score" for one in found)
    assert not set(server.asked[before:]) & set(answered), "nobody is asked twice"
    assert len(server.asked) <= 60 + 3, "beside those in flight"


HELD = """
import sys
from tests.judging.server import Judgement, asking, judge_of
answers = judge_of(Judgement(url=sys.argv[1])).judge(asking(["a", "b", "slow"]))
next(answers)
raise SystemExit(3)
"""


def test_a_process_ends_although_its_run_is_held(server: Judgement) -> None:
    server.scripts["slow"] = [Say(scored(1), wait=20)]
    command = [sys.executable, "-c", HELD, server.url]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=15
    )
    assert (ended.returncode, ended.stderr) == (3, "")


def test_the_first_answer_is_on_disk_before_the_second_question(
    server: Judgement, tmp_path: Path
) -> None:
    answers = judge_of(server, cache_dir=str(tmp_path), concurrency=1).judge(asking(NAMES))
    next(answers)
    other = judge_of(server, cache_dir=str(tmp_path))
    asked = len(server.asked)
    assert verdicts(other, NAMES[:1])[0].cached
    assert asked < len(NAMES)


def test_a_disk_that_cannot_be_written_stops_the_run(server: Judgement, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VlgroundError, match=r"runs=DIR"):
        verdicts(judge_of(server, cache_dir=str(tmp_path / "file")), ["boat"])


def test_tokens_and_cost_are_counted_also_of_errors(server: Judgement) -> None:
    server.scripts["b"] = [Say(completion("four"))]
    server.scripts["c"] = [Say("", 400)]
    judge = judge_of(server, price_in=0.1, price_out=0.5)
    found = verdicts(judge, ["a", "b", "c"])
    assert [(one.tokens_in, one.tokens_out) for one in found] == [
        (900, 60),
        (900, 60),
        (None, None),
    ]
    assert (judge.usage.tokens_in, judge.usage.tokens_out) == (1800, 120)
    assert judge.usage.cost == pytest.approx((1800 * 0.1 + 120 * 0.5) / 1e6)
    assert judge_of(server).usage.cost is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "digit"}, r"judge\.score=digit: expected written, digits"),
        ({"structured": "xml"}, r"judge\.structured=xml"),
        ({"base_url": "localhost:8000"}, r"judge\.base_url=localhost:8000: expected http"),
        ({"concurrency": 0}, r"judge\.concurrency=0"),
        ({"requests_per_minute": 0}, r"judge\.requests_per_minute=0"),
        ({"attempts": 0}, r"judge\.attempts=0"),
        ({"timeout": -1}, r"judge\.timeout=-1"),
        ({"backoff": -1}, r"judge\.backoff=-1"),
        ({"prompt": "long"}, r"judge\.prompt=long: expected describe_then_judge, full"),
        ({"prompt": "describe_then_judge", "score": "digits"}, r"cannot ask for one digit"),
    ],
)
def test_options_that_do_not_fit(server: Judgement, options: dict[str, Any], message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        judge_of(server, **options)
