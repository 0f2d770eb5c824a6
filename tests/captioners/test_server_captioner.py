"""A loopback server writes candidates; what it wrote once is never asked for again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.captioners.dialogues import pictures
from tests.judging.server import ENVIRONMENT, KEY, Judgement, Say, judging, problem

from vlground.captioners.caption import candidate_key
from vlground.captioners.server import ServerCaptioner
from vlground.contracts import Caption
from vlground.errors import VlgroundError

Answer = Callable[[dict[str, Any]], Say]


def written(body: dict[str, Any]) -> Say:
    """As vLLM: a text of the seed, and of the place among several."""
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": f"caption {body['seed']}.{index}"},
            "finish_reason": "length" if index == 1 else "stop",
            "logprobs": {"content": [{"token": "a", "logprob": -0.5}] * 3},
        }
        for index in range(body.get("n", 1))
    ]
    return Say({"model": "vlm-1", "choices": choices[::-1]})


class Server:
    """Serves what a function says of each request."""

    def __init__(self, state: Judgement) -> None:
        self.state, self.say = state, written
        self.url = state.url
        state.answer = self.answer  # type: ignore[method-assign]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return self.state.bodies

    def answer(self, body: dict[str, Any], headers: dict[str, str]) -> Say:
        self.bodies.append(body)
        self.state.headers.append(headers)
        return self.say(body)


@pytest.fixture
def server() -> Any:
    with judging() as state:
        yield Server(state)


def captioner_of(server: Server, folder: Path | None = None, **options: Any) -> ServerCaptioner:
    quick = {"backoff": 0.01, "attempts": 2, "timeout": 5.0, "concurrency": 4}
    asked = {"label": "loop", "base_url": server.url, "model": "vlm"}
    kept = {"cache_dir": str(folder)} if folder else {}
    return ServerCaptioner(**{**asked, **quick, **kept, **options})


def asked(
    captioner: ServerCaptioner, samples: Any, prompt: str, n: int, seed: int, first: int = 0
) -> list[list[Caption]]:
    return captioner.caption(samples, [prompt] * len(samples), n, seed, first)


def texts(found: Any) -> list[list[str]]:
    return [[one.text for one in row] for row in found]


def test_each_candidate_has_its_own_request_and_seed(server: Server) -> None:
    samples = pictures(3)
    captioner = captioner_of(server, top_p=0.9, extra_body={"top_k": 5})
    found = asked(captioner, samples, "Describe it", 2, seed=7)
    seeds = [[candidate_key(7, s.image_id, index) >> 33 for index in range(2)] for s in samples]
    assert texts(found) == [[f"caption {seed}.0" for seed in row] for row in seeds]
    assert captioner.calls == len(server.bodies) == 6
    for body in server.bodies:
        assert (body["model"], body["temperature"], body["top_p"]) == ("vlm", 1.0, 0.9)
        assert (body["max_tokens"], body["top_k"], body["logprobs"]) == (256, 5, True)
        words, image = body["messages"][0]["content"]
        assert words["text"] == "Describe it"
        assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert found[0][0].log_probabilities == (-0.5, -0.5, -0.5)
    assert found[0][0].model == "vlm-1"
    assert texts(asked(captioner_of(server), samples[::-1], "Describe it", 1, 7)) == [
        row[:1] for row in texts(found)[::-1]
    ]


def test_what_is_known_is_neither_asked_nor_returned(server: Server) -> None:
    samples = pictures(2)
    found = asked(captioner_of(server), samples, "Describe it", 4, 7, first=2)
    seeds = [[candidate_key(7, s.image_id, index) >> 33 for index in (2, 3)] for s in samples]
    assert texts(found) == [[f"caption {seed}.0" for seed in row] for row in seeds]
    assert len(server.bodies) == 4
    server.bodies.clear()
    rest = asked(captioner_of(server, requests="together"), samples, "Describe it", 4, 7, first=2)
    assert [body["n"] for body in server.bodies] == [4, 4], "a candidate depends on how many"
    assert [[text.split(".")[1] for text in row] for row in texts(rest)] == [["2", "3"]] * 2
    assert asked(captioner_of(server), samples, "Describe it", 2, 7, first=2) == [[], []]


def test_each_sample_is_asked_its_own_prompt(server: Server) -> None:
    samples = pictures(2)
    captioner_of(server).caption(samples, ["Describe it", "Name it"], 1, 0)
    words = {body["seed"]: body["messages"][0]["content"][0]["text"] for body in server.bodies}
    seeds = [candidate_key(0, sample.image_id, 0) >> 33 for sample in samples]
    assert [words[seed] for seed in seeds] == ["Describe it", "Name it"]


def test_candidates_of_one_request_come_in_their_order(server: Server, tmp_path: Path) -> None:
    samples = pictures(2)
    captioner = captioner_of(server, tmp_path, requests="together")
    found = asked(captioner, samples, "Describe it", 3, seed=7)
    seeds = [candidate_key(7, sample.image_id, 0) >> 33 for sample in samples]
    assert texts(found) == [[f"caption {seed}.{i}" for i in range(3)] for seed in seeds]
    assert [one.cut_off for one in found[0]] == [False, True, False]
    assert [body["n"] for body in server.bodies] == [3, 3]
    asked(captioner, samples, "Describe it", 3, seed=7)
    assert len(server.bodies) == 2
    asked(captioner, samples, "Describe it", 2, seed=7)  # with n=2 the server may say otherwise
    assert len(server.bodies) == 4


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        ({}, 0),
        ({"base_url": "elsewhere", "concurrency": 1, "timeout": 9.0, "attempts": 1}, 0),
        ({"label": "other"}, 4),
        ({"model": "other"}, 4),
        ({"temperature": 0.5}, 4),
        ({"max_tokens": 9}, 4),
        ({"extra_body": {"top_k": 2}}, 4),
        ({"requests": "together"}, 2),
    ],
)
def test_what_a_candidate_depends_on_is_its_key(
    server: Server, tmp_path: Path, changed: dict[str, Any], count: int
) -> None:
    samples = pictures(2)
    before = asked(captioner_of(server, tmp_path), samples, "Describe it", 2, 0)
    server.bodies.clear()
    if changed.get("base_url"):
        changed = {**changed, "base_url": server.url.replace("127.0.0.1", "localhost")}
    found = asked(captioner_of(server, tmp_path, **changed), samples, "Describe it", 2, 0)
    assert len(server.bodies) == count
    if not count:
        assert found == before


def test_image_prompt_seed_and_index_are_in_the_key(server: Server, tmp_path: Path) -> None:
    one, other = pictures(2)
    cases: list[Any] = [
        ([one], "Describe it", 1, 0, 1),
        ([one], "Describe it", 3, 0, 2),  # the first is known
        ([one], "Name it", 1, 0, 1),
        ([one], "Describe it", 1, 5, 1),
        ([other], "Describe it", 1, 0, 1),
        ([one, other], "Describe it", 1, 0, 0),
        ([replace(one, image=other.image)], "Describe it", 1, 0, 1),  # its file was replaced
    ]
    for samples, prompt, n, seed, count in cases:
        server.bodies.clear()
        asked(captioner_of(server, tmp_path), samples, prompt, n, seed)
        assert len(server.bodies) == count


def test_a_server_that_dies_is_asked_only_for_what_is_missing(
    server: Server, tmp_path: Path
) -> None:
    samples = pictures(6)
    alive = [20]

    def dying(body: dict[str, Any]) -> Say:
        alive[0] -= 1
        return written(body) if alive[0] >= 0 else Say(reset=True)

    server.say = dying
    # One at a time: of several, those in flight at the end may or may not have been kept.
    dead = captioner_of(server, tmp_path, give_up=3, concurrency=1)
    with pytest.raises(VlgroundError, match=r"^model\.give_up=3: 3 requests in a row .*connection"):
        asked(dead, samples, "Describe it", 5, 0)
    server.bodies.clear()
    server.say = written
    found = asked(captioner_of(server, tmp_path), samples, "Describe it", 5, 0)
    assert len(server.bodies) == 30 - 20
    assert len({text for row in texts(found) for text in row}) == 30
    assert not any(one.problem for row in found for one in row)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Say(problem("slow down"), 429), "429"),
        (Say({"choices": [{"message": {"refusal": "No."}}]}), "refusal"),
        (Say({"choices": [{"message": {}, "finish_reason": "content_filter"}]}), "content filter"),
        (Say({"choices": [{"message": {"content": None}}]}), "no text"),
        (Say("<html>"), "no chat completion"),
    ],
)
def test_a_failure_is_a_problem_and_is_asked_again(
    server: Server, tmp_path: Path, said: Say, reason: str
) -> None:
    first, second = pictures(2)
    bad = candidate_key(0, second.image_id, 1) >> 33
    server.say = lambda body: said if body["seed"] == bad else written(body)
    captioner = captioner_of(server, tmp_path)
    found = asked(captioner, [first, second], "Describe it", 2, 0)
    assert [[one.problem for one in row] for row in found] == [["", ""], ["", reason]]
    server.bodies.clear()
    server.say = written
    again = asked(captioner, [first, second], "Describe it", 2, 0)
    assert [body["seed"] for body in server.bodies] == [bad]
    assert again[1][1].text == f"caption {bad}.0"


def test_too_few_candidates_are_counted(server: Server) -> None:
    server.say = lambda body: written({**body, "n": 2})
    (row,) = asked(captioner_of(server, requests="together"), pictures(1), "Describe it", 3, 0)
    assert [one.problem for one in row] == ["", "", "fewer candidates than asked"]


def test_an_empty_caption_is_one(server: Server, tmp_path: Path) -> None:
    empty = {"message": {"content": " "}, "finish_reason": "stop"}
    server.say = lambda _: Say({"choices": [empty]})
    for _ in range(2):
        ((one,),) = asked(captioner_of(server, tmp_path), pictures(1), "Describe it", 1, 0)
        assert (one.text, one.problem, one.log_probabilities) == ("", "", None)
    assert len(server.bodies) == 1


def test_a_wrong_key_stops_and_is_named_as_the_models(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, KEY)
    server.say = lambda _: Say(problem(KEY), 401)
    captioner = captioner_of(server, api_key_env=ENVIRONMENT)
    with pytest.raises(VlgroundError, match=rf"^model\.api_key_env={ENVIRONMENT}: .*401") as caught:
        asked(captioner, pictures(1), "Describe it", 1, 0)
    assert KEY not in str(caught.value)
    with pytest.raises(VlgroundError, match=r"^model\.base_url=ftp://x: expected http"):
        captioner_of(server, base_url="ftp://x")
    with pytest.raises(VlgroundError, match=r"^model\.requests=all: expected each or together$"):
        captioner_of(server, requests="all")
