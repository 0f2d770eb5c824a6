"""The key goes to the endpoint, and nowhere else."""

import json
import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from tests.judging.server import (
    ENVIRONMENT,
    KEY,
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
from vlground.judging.chat import ChatJudge


@pytest.fixture
def server() -> Any:
    with judging() as state:
        yield state


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, KEY)


def test_the_key_is_sent_and_none_without_a_name(server: Judgement) -> None:
    server.key = KEY
    assert verdicts(judge_of(server, api_key_env=ENVIRONMENT), ["boat"])[0].score == 4.0
    server.key = None
    verdicts(judge_of(server), ["boat"])
    assert [one.get("Authorization") for one in server.headers] == [f"Bearer {KEY}", None]


def test_a_missing_key_is_one_line_and_nobody_is_asked(
    server: Judgement, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = {"api_key_env": ENVIRONMENT, "cache_dir": str(tmp_path)}
    verdicts(judge_of(server, **options), ["boat"])
    for value in ("", "  "):
        monkeypatch.setenv(ENVIRONMENT, value)
        with pytest.raises(VlgroundError) as caught:
            verdicts(judge_of(server, **options), ["boat", "car"])
        told = f"judge.api_key_env={ENVIRONMENT}: this environment variable is not set"
        assert str(caught.value) == told
    assert server.asked == ["boat"]
    assert verdicts(judge_of(server, **options), ["boat"])[0].cached, "what is known needs no key"


def test_a_wrong_key_stops_the_run_at_once(
    server: Judgement, caplog: pytest.LogCaptureFixture
) -> None:
    server.key, server.wait = "another", 0.05  # both in flight are told
    names = [f"thing {number}" for number in range(100)]
    with pytest.raises(VlgroundError) as caught:
        verdicts(judge_of(server, api_key_env=ENVIRONMENT, concurrency=2), names)
    told = f"judge.api_key_env={ENVIRONMENT}: the endpoint does not accept this key (401)"
    assert str(caught.value) == told
    assert len(server.asked) <= 4
    assert not caplog.records, "one line is enough"
    with pytest.raises(VlgroundError, match=r"api_key_env=null: the endpoint wants a key"):
        verdicts(judge_of(server), ["boat"])


def test_no_key_is_anywhere_even_if_the_server_repeats_it(
    server: Judgement,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    echo = f"your key {KEY}, Bearer {KEY}"
    words = {"description": echo, "justification": KEY, "score": 1}
    said = {
        "json": Say(problem(echo, KEY), 400),
        "text": Say(echo, 413),
        "escaped": Say(problem(echo, "other"), 500),
        "page": Say(f"<html>{echo}</html>"),
        "words": Say(completion(json.dumps(words))),
        "model": Say(scored(2, model=f"model-of-{KEY}")),
        "refusal": Say(completion(None, refusal=echo)),
        "reset": Say(reset=True),
        "moved": Say("", 302, {"Location": f"http://127.0.0.1:9/?key={KEY}"}),
    }
    server.scripts |= {name: [one] for name, one in said.items()}
    caplog.set_level(logging.DEBUG)
    judge = judge_of(server, api_key_env=ENVIRONMENT, cache_dir=str(tmp_path), attempts=2)
    found = verdicts(judge, list(said))
    assert [one.outcome for one in found] == ["error"] * 4 + ["score"] * 2 + ["refusal"] + [
        "error"
    ] * 2
    assert "[key]" in found[4].description, "the rest of the words stays"
    server.key = "another"
    with pytest.raises(VlgroundError) as caught:
        verdicts(judge, ["new"])
    printed = capfd.readouterr()
    files = [file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    everything = [
        repr(found),
        repr(judge),
        repr(vars(judge)),
        repr(judge.endpoint),
        repr(judge.usage),
        "".join(traceback.format_exception(caught.value)),
        caplog.text,
        printed.out,
        printed.err,
        *files,
    ]
    assert caplog.records
    for text in everything:
        assert KEY not in text


@pytest.mark.parametrize(
    ("options", "secret"),
    [
        ({"api_key_env": "sk-abc-def-0123"}, "0123"),
        ({"api_key_env": "sk_abc_def_0123"}, "0123"),
        ({"base_url": "https://user:hidden@host/v1"}, "hidden"),
        ({"base_url": "https://host/v1?key=hidden"}, "hidden"),
    ],
)
def test_a_key_in_the_options_is_refused_and_not_repeated(
    options: dict[str, str], secret: str
) -> None:
    whole = {"label": "a", "base_url": "http://host/v1", "model": "m"} | options
    with pytest.raises(VlgroundError, match=r"judge\.") as caught:
        ChatJudge(**whole)  # type: ignore[arg-type]
    assert secret not in str(caught.value)


def test_a_key_that_cannot_be_sent_is_not_repeated(
    server: Judgement, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("sk-two words", "sk-ü", "sk-a\nInjected: yes"):
        monkeypatch.setenv(ENVIRONMENT, value)
        with pytest.raises(VlgroundError, match="characters that no key has") as caught:
            verdicts(judge_of(server, api_key_env=ENVIRONMENT), ["boat"])
        assert "sk-" not in str(caught.value)
    monkeypatch.setenv(ENVIRONMENT, f" {KEY}\n")  # as it comes out of a file
    verdicts(judge_of(server, api_key_env=ENVIRONMENT), ["boat"])
    assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"
