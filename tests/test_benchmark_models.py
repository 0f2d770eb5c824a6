"""task=benchmark with answers by a model behind a server, and with a judge behind another one."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict
from PIL import Image

from tests.judging.server import Judgement, Say, completion, judging, problem, scored
from vlground.cell import Cell
from vlground.data.mmhal import TYPES
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.reporting.benchmarks import benchmark_blocks
from vlground.run import CONF, compute
from vlground.tasks.judgements import Asked
from vlground.tracking import flat_scores

Answer = Callable[[str, dict[str, Any]], Say]
FILES = ("metric=pope", "dataset=questions", "model=captioner_file", "model.file=none.json")
OBJECTS = {"1": ["dog", "couch"], "2": ["person"], "3": ["cat", "tv"]}


class Served:
    """A server whose answers are a function of the words that it is asked."""

    def __init__(self, state: Judgement) -> None:
        self.url, self.bodies = state.url, state.bodies
        self.say: Answer = lambda words, body: Say(completion("yes"))
        state.answer = self._answer  # type: ignore[method-assign]

    def _answer(self, body: dict[str, Any], headers: dict[str, str]) -> Say:
        self.bodies.append(body)
        return self.say(body["messages"][0]["content"][0]["text"], body)

    @property
    def words(self) -> list[str]:
        return [body["messages"][0]["content"][0]["text"] for body in self.bodies]

    @property
    def model(self) -> tuple[str, ...]:
        """Options of a captioner that is served here."""
        quick = ("model.backoff=0.01", "model.attempts=1", "model.cache_dir=null")
        asked = ("model.label=loop", f"model.base_url={self.url}", "model.model=vlm")
        return ("model=captioner_server", "model.temperature=0", *asked, *quick)

    def judge(self, prompt: str) -> tuple[str, ...]:
        """Options of a judge that is served here."""
        quick = ("judge.backoff=0.01", "judge.attempts=1", "judge.cache_dir=null")
        asked = ("judge.label=loop", f"judge.base_url={self.url}", "judge.model=gpt")
        return ("judge=openai_compatible", f"judge.prompt={prompt}", *asked, *quick)


@pytest.fixture
def served() -> Iterator[Served]:
    with judging() as state:
        yield Served(state)


@pytest.fixture
def judge() -> Iterator[Served]:
    with judging() as state:
        yield Served(state)


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    level = logging.getLogger("lightning.pytorch.utilities.rank_zero").level
    yield
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(level)


def run(folder: Path, *overrides: str) -> tuple[dict[str, Any], pandas.DataFrame]:
    """Results and rows of a cell, computed even if they are there."""
    one = cell(folder, *overrides)
    one.identify()
    with one.recorded():
        found = compute(one)
    return found, pandas.read_parquet(one.directory / "rows.parquet")


def cell(folder: Path, *overrides: str) -> Cell:
    options = ["task=benchmark", "logger=none", "trainer.enable_progress_bar=false"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        told = [*options, f"runs={folder / 'runs'}", *overrides]
        config = compose("run", overrides=told, return_hydra_config=True)
    hydra = config.hydra
    with open_dict(config):
        del config["hydra"]
    return Cell.of(config, hydra)


def values(results: dict[str, Any]) -> dict[str, float]:
    return {name: round(one["value"], 4) for name, one in results["scores"].items()}


def images(folder: Path, names: list[str]) -> str:
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.jpg")
    return f"dataset.root={folder}"


def pope(folder: Path) -> tuple[str, ...]:
    """Two images, asked about a dog (there in the first) and a cat, in two categories."""
    for split in ("random", "popular"):
        asked = [
            {"question_id": n, "image": f"{1 + n // 2}.jpg", "label": "yes" if n == 0 else "no"}
            | {"text": f"Is there a {'cat' if n % 2 else 'dog'} in the image?"}
            for n in range(4)
        ]
        (folder / f"coco_pope_{split}.json").write_text("\n".join(map(json.dumps, asked)))
    root = images(folder, ["1", "2"])
    return ("metric=pope", "dataset=questions", f"dataset.questions={folder}", root)


def test_a_model_answers_questions_each_once(tmp_path: Path, served: Served) -> None:
    options = (*pope(tmp_path), *served.model, 'task.suffix=" Yes or no?"')
    bad = [True]

    def say(words: str, body: dict[str, Any]) -> Say:
        if "cat" in words and bad and len(served.bodies) % 2 == 0:
            return Say(problem("slow down"), 429)
        return Say(completion("Yes." if "dog" in words else "No."))

    served.say = say
    first, rows = run(tmp_path, *options, "model.concurrency=1", "batch_size=1")
    assert sorted(served.words) == sorted(
        f"Is there a {name} in the image? Yes or no?" for name in ("dog", "cat") * 2
    ), "the same question of two categories is asked once"
    lost = first["counts"]["flagged"]["429"]
    assert lost > 0
    assert lost % 2 == 0
    assert set(rows["flag"]) == {"", "429"}
    assert (rows["outcome"][rows["flag"] == "429"] == "no answer").all()
    assert first["scores"]["accuracy"]["n"] == 8 - lost, "a failure is no answer"
    assert first["benchmark"]["answered"]["models"] == ["judge-1"]
    served.bodies.clear()
    bad.clear()
    second, _ = run(tmp_path, *options)
    assert len(served.bodies) == lost // 2, "only what was not answered is asked again"
    assert values(second)["random/accuracy"] == 0.75
    assert values(second)["random/recall"] == 1.0
    assert second["counts"]["flagged"] == {}
    served.bodies.clear()
    strict, _ = run(tmp_path, *options, "metric.policy=strict")
    assert served.bodies == [], "another policy reads the same answers"
    assert values(strict)["random/accuracy"] == 0.0, "Yes. is not yes"
    run(tmp_path, *pope(tmp_path), *served.model)
    assert len(served.bodies) == 4, "another suffix is another question"


def test_a_run_that_stops_goes_on_from_what_was_answered(tmp_path: Path, served: Served) -> None:
    options = (*pope(tmp_path), *served.model, "model.concurrency=1", "batch_size=1")
    served.say = lambda words, body: (
        Say(completion("no")) if len(served.bodies) < 3 else Say(problem("gone"), 401)
    )
    with pytest.raises(VlgroundError, match=r"^model\.api_key_env=null: .*401"):
        run(tmp_path, *options)
    served.bodies.clear()
    served.say = lambda words, body: Say(completion("no"))
    found, _ = run(tmp_path, *options)
    assert len(served.bodies) == 2
    assert found["scores"]["accuracy"]["n"] == 8


def test_a_model_that_answers_nothing_has_no_scores(tmp_path: Path, served: Served) -> None:
    served.say = lambda words, body: Say(problem("slow down"), 429)
    with pytest.raises(VlgroundError, match=r"^model: it answered none of 8 prompts: 429$"):
        run(tmp_path, *pope(tmp_path), *served.model)


def test_captions_that_a_model_writes_are_scored(tmp_path: Path, served: Served) -> None:
    (tmp_path / "objects.json").write_text(json.dumps(OBJECTS))
    texts = iter(["A dog on a couch.", "A person and a dog.", ""])

    def say(words: str, body: dict[str, Any]) -> Say:
        text = next(texts)
        return Say(completion(text)) if text else Say(problem("no"), 500)

    served.say = say
    found, rows = run(
        tmp_path,
        *("metric=chair", "dataset=image_objects", f"dataset.objects={tmp_path}/objects.json"),
        images(tmp_path, ["1", "2", "3"]),
        *(*served.model, "model.concurrency=1", "batch_size=1", "task.prompt=Look."),
    )
    assert served.words == ["Look."] * 3
    assert values(found) == {"chair_i": 0.25, "chair_s": 0.5, "recall": 1.0, "words": 5.0}
    assert found["counts"]["flagged"] == {"500": 1}
    assert rows["text"].tolist()[:2] == ["A dog on a couch.", "A person and a dog."]
    assert found["benchmark"]["tally"]["captions"] == 2
    assert flat_scores(found)["chair/chair_s"] == 0.5


def test_captions_of_a_file_score_the_same_as_data_and_as_a_model(tmp_path: Path) -> None:
    captions = [{"image_id": n, "caption": f"A {name}."} for n, name in ((1, "dog"), (2, "cat"))]
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    (tmp_path / "objects.json").write_text(json.dumps(OBJECTS))
    objects = ("metric=chair", f"dataset.objects={tmp_path}/objects.json")
    file = f"{tmp_path}/captions.json"
    data, _ = run(tmp_path, *objects, "dataset=captions", f"dataset.captions={file}")
    as_model = ("dataset=image_objects", "model=captioner_file", f"model.file=[{file}]")
    model, _ = run(tmp_path, *objects, *as_model)
    assert values(model) == values(data)
    assert values(data)["chair_i"] == 0.5
    assert model["counts"]["flagged"] == {"fewer captions in model.file than asked": 1}
    assert data["fingerprint"] != model["fingerprint"]


def test_questions_about_an_annotated_data_set_are_answered(tmp_path: Path, served: Served) -> None:
    source = ("dataset=existence", "dataset.source.samples=8", "dataset.pairs=1")
    found, rows = run(tmp_path, "metric=pope", *source, *served.model)
    assert set(rows["category"]) == {"random", "popular", "adversarial"}
    assert values(found)["accuracy"] == 0.5
    assert rows["text"].str.fullmatch(r"Is there an? [a-z]+ [a-z]+ in the image\?").all()
    assert len(served.bodies) == len(rows.drop_duplicates(["image_id", "text"])) < len(rows)
    other = cell(tmp_path, "metric=pope", *source, "dataset@dataset.source=shapes_phrases")
    assert other.node["dataset"]["source"]["_target_"].endswith("ShapesPhrases")


def mmhal(folder: Path, count: int = 16, answered: bool = True) -> tuple[str, ...]:
    """As published, with an answer of the question's number."""
    records = [
        {
            "question_type": TYPES[n % 8],
            "image_id": f"i{n}",
            "image_src": f"https://example.org/{n}.jpg",
            "image_content": ["Dog", "Tree"],
            "question": f"Question {n}?",
            "gt_answer": f"Truth {n}.",
            "model_answer": f"Answer <{n}>." if answered else "",
        }
        for n in range(count)
    ]
    (folder / "mmhal.json").write_text(json.dumps(records, indent=2))
    return ("metric=mmhal", "dataset=mmhal", f"dataset.questions={folder}/mmhal.json")


def number_of(words: str) -> int:
    return int(words.split("Question ")[1].split("?")[0])


def test_a_judge_scores_answers_from_words_alone(tmp_path: Path, judge: Served) -> None:
    said = {2: Say(scored(7)), 3: Say(completion("I rate it 4.")), 4: Say(completion(None))}
    said[5] = Say(completion(None, refusal="No."))
    judge.say = lambda words, body: said.get(number_of(words), Say(scored(number_of(words) % 7)))
    options = (*mmhal(tmp_path), *judge.judge("mmhal"))
    found, rows = run(tmp_path, *options)
    assert len(judge.bodies) == 16
    for body in judge.bodies:
        assert [part["type"] for part in body["messages"][0]["content"]] == ["text"]
        properties = body["response_format"]["json_schema"]["schema"]["properties"]
        assert properties["score"]["maximum"] == 6
    (words,) = [one for one in judge.words if "Question 9?" in one]
    for part in ("Dog, Tree", "Question 9?", "Truth 9.", "Answer <9>."):
        assert part in words
    given = np.array([n % 7 for n in range(16) if n not in said], dtype=float)
    scores = values(found)
    assert scores["score"] == round(given.mean(), 4)
    assert scores["hallucination_rate"] == round((given < 3).mean(), 4)
    better = np.where(given >= 3, given - 3, given)
    assert scores["informativeness"] == round(better.mean() / 3, 4)
    assert scores["attribute/score"] == 0.5, "of 0 and 8 % 7"
    assert scores["counting/score"] == 4.0, "the one that cannot be read is no 0"
    assert found["counts"]["flagged"] == {
        "error: empty answer": 1,
        "error: no JSON": 1,
        "error: score is no number 0-6": 1,
        "refusal: refusal": 1,
    }
    assert rows.set_index("id").loc["counting/3", "score"] != 0
    assert found["benchmark"]["usage"]["scores"] == 12
    assert (
        flat_scores(found)["mmhal/hallucination_rate"]
        == found["scores"]["hallucination_rate"]["value"]
    )
    (block,) = benchmark_blocks([found])
    assert block.heads[:4] == ["run", "n", "score (0-6) ↑", "hallucination rate ↓"]
    assert "counting/score" in block.heads
    assert "error: no JSON (1)" in block.notes[1]
    judge.bodies.clear()
    said.clear()
    again, _ = run(tmp_path, *options)
    assert sorted(number_of(words) for words in judge.words) == [2, 3, 4, 5]
    assert again["counts"]["flagged"] == {}
    judge.bodies.clear()
    run(tmp_path, *options, "metric.threshold=4")
    assert judge.bodies == []


def test_a_model_answers_and_a_judge_scores(tmp_path: Path, served: Served, judge: Served) -> None:
    names = [str(n) for n in range(8)]  # as image_src ends
    files = (*mmhal(tmp_path, 8, answered=False), images(tmp_path, names))
    served.say = lambda words, body: (
        Say(completion("")) if "3" in words else Say(completion(f"So {words}"))
    )
    judge.say = lambda words, body: Say(scored(6 if "(nothing)" not in words else 1))
    found, rows = run(tmp_path, *files, *served.model, *judge.judge("mmhal"))
    assert sorted(served.words) == [f"Question {n}?" for n in range(8)]
    assert "Answer to be checked: So Question 4?" in "".join(judge.words)
    assert values(found)["hallucination_rate"] == 0.125, "an empty answer is judged too"
    assert rows["answer"].tolist()[3] == ""
    judge.say = lambda words, body: Say(problem("gone"), 503)
    with pytest.raises(VlgroundError, match=r"the judge answered none of 8 questions: 503 \(8\)$"):
        run(tmp_path, *files, *served.model, *judge.judge("mmhal"), "judge.label=other")


def systems(folder: Path) -> tuple[str, ...]:
    for name, quality in (("weak", 1), ("good", 8), ("same", 1)):
        captions = [
            {"image_id": n, "caption": f"{name} {n} quality={quality}"}
            for n in range(25)
            if (name, n) != ("good", 24)
        ]
        (folder / f"{name}.json").write_text(json.dumps(captions))
    named = ",".join(f"{name}:{folder}/{name}.json" for name in ("weak", "good", "same"))
    root = images(folder, [str(n) for n in range(25)])
    return ("metric=preference", "dataset=systems", f"dataset.captions={{{named}}}", root)


def test_a_judge_ranks_systems(tmp_path: Path, judge: Served) -> None:
    def say(words: str, body: dict[str, Any]) -> Say:
        number = words.split("Score description ")[1].split(":")[0]
        (line,) = [line for line in words.splitlines() if line.startswith(f"{number}. ")]
        if line.split()[2] == "7" and "good" in line:
            return Say(problem("slow down"), 429)
        return Say(scored(int(line.rsplit("=", 1)[1])))

    judge.say = say
    options = (*systems(tmp_path), *judge.judge("preference"))
    found, rows = run(tmp_path, *options)
    assert len(judge.bodies) == 24 * 3, "nobody is asked about an image without all captions"
    assert all(len(body["messages"][0]["content"]) == 2 for body in judge.bodies), "with the image"
    scores = values(found)
    ranks = {name: scores[f"mean_rank/{name}"] for name in ("weak", "good", "same")}
    assert ranks == {"weak": 2.5, "good": 1.0, "same": 2.5}
    assert scores["wins/good/weak"] == 1.0
    assert scores["wins/same/weak"] == 0.5
    assert found["scores"]["mean_rank/good"]["n"] == 23
    assert found["counts"]["flagged"] == {"error: 429": 1, "no caption of good": 1}
    assert len(set(rows["shown"])) > 3, "orders are drawn"
    orders = {tuple(re.findall(r"(?m)^\d\. (\w+)", words)) for words in judge.words}
    complete = rows[rows["flag"] != "no caption of good"]
    assert orders == {tuple(shown.split(",")) for shown in complete["shown"]}, "and recorded"
    (block,) = benchmark_blocks([found])
    shown = dict(zip(block.heads, block.rows[0], strict=True))
    assert shown["rank of good ↓"].startswith("1.000")
    assert shown["good > weak"].startswith("1.000")
    first = found["benchmark"]["first_place"]["value"]
    assert 1.0 < first < 2.6
    judge.bodies.clear()
    run(tmp_path, *options, "metric.tie=worst")
    assert len(judge.bodies) == 1, "the one that failed"
    judge.bodies.clear()
    run(tmp_path, *options, "metric.seed=1")
    assert judge.bodies, "another order is another question"


def test_the_same_words_about_another_image_are_another_question() -> None:
    one, other = (Sample(n, n, np.full((2, 2, 3), int(n), np.uint8), "") for n in "12")
    fields = {"captions": "1. a", "number": "1"}
    keys = {Asked(fields, one).key, Asked(fields, other).key, Asked(fields).key}
    keys.add(Asked({**fields, "number": "2"}, one).key)
    assert len(keys) == 4
    assert Asked(dict(fields), one).key in keys


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("metric=pope", "dataset=mmhal"), "metric=pope: expected dataset=questions or dataset=ex"),
        (("metric=mme", "dataset=mmhal"), "metric=mme: expected dataset=questions"),
        (("metric=chair", "dataset=mmhal"), "metric=chair: expected dataset=captions, or a model"),
        (("metric=mmhal", "dataset=photos"), "metric=mmhal: expected dataset=mmhal"),
        (("metric=preference", "dataset=photos"), "metric=preference: expected dataset=systems"),
        (("metric=mmhal", "dataset=mmhal"), "judge=none: metric=mmhal asks one: judge=openai_com"),
        (
            ("metric=mmhal", "dataset=mmhal", "judge=reference"),
            "judge=reference: metric=mmhal asks about words alone, with scores of 0-6; take judge=",
        ),
        (("metric=pope", "dataset=questions"), "dataset.answers: metric=pope needs answers: a fi"),
        (
            FILES,
            "dataset.root=null: model=captioner_file has to see the images",
        ),
        (
            (*FILES, "dataset.answers=answers.json"),
            "dataset.answers=answers.json: the answers are there, and model=captioner_file would",
        ),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    mmhal(tmp_path, answered=False)
    asked = {"question_id": 1, "image": "1.jpg", "text": "Is there a dog?", "label": "yes"}
    (tmp_path / "pope.json").write_text(json.dumps(asked))
    (tmp_path / "answers.json").write_text('{"question_id": 1, "answer": "no"}')
    files = {"dataset=mmhal": "mmhal.json", "dataset=questions": "pope.json"}
    named = [f"dataset.questions={file}" for option, file in files.items() if option in overrides]
    with pytest.raises(VlgroundError) as error:
        run(tmp_path, *overrides, *named)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
