"""task=benchmark on drawn scenes, from captions to ranks, without a network."""

from pathlib import Path
from typing import Any

import pytest

from tests.test_benchmark_models import run, values
from vlground.captioners.planted import PlantedCaptioner
from vlground.errors import VlgroundError
from vlground.reporting.benchmarks import benchmark_blocks
from vlground.tracking import flat_scores

SCENES = ("dataset=shapes_captions", "dataset.samples=40", "seed=2")


def planted(share: float, sentences: int = 4) -> tuple[str, ...]:
    """A captioner of whose sentences a share is wrong about an attribute or a place."""
    rates = dict.fromkeys(("hallucination", "relationship", "conjecture"), 0.0)
    rates |= dict.fromkeys(("attribute", "location"), share / 2)
    errors = [f"model.errors.{name}={rate}" for name, rate in rates.items()]
    length = (f"model.min_sentences={sentences}", f"model.max_sentences={sentences}")
    return ("model=captioner_shapes", *errors, *length)


def test_captions_carry_wrong_sentences_and_chair_and_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, rows = run(tmp_path, "metric=claims", *SCENES, *planted(0.5))
    scores = values(found)
    assert scores["wrong_sentences"] == pytest.approx(0.5, abs=0.12)
    halves = scores["error/attribute"] + scores["error/location"]
    assert halves == pytest.approx(scores["wrong_sentences"], abs=1e-3)
    assert scores["error/hallucination"] == 0
    assert scores["sentences"] == 4
    assert found["benchmark"]["claims"]["sentences"] == 160
    assert len(rows) == rows["image_id"].nunique() == 40
    assert (rows["wrong"] == rows["error_attribute"] + rows["error_location"]).all()
    assert (
        flat_scores(found)["claims/wrong_sentences"] == found["scores"]["wrong_sentences"]["value"]
    )

    def never(*arguments: Any) -> None:
        raise AssertionError("the captions are known")

    monkeypatch.setattr(PlantedCaptioner, "caption", never)
    chair, again = run(tmp_path, "metric=chair", *SCENES, *planted(0.5))
    assert again["text"].tolist() == rows["text"].tolist()
    for name in ("chair_i", "chair_s", "recall", "words"):
        assert chair["scores"][name] == found["scores"][name]
    (block, *_) = benchmark_blocks([found])
    shown = dict(zip(block.heads, block.rows[0], strict=True))
    assert shown["wrong sentences ↓"].startswith(f"{scores['wrong_sentences']:.3f}")
    assert "error/attribute" in shown


def test_runs_are_ranked_by_a_judge_that_knows_the_scenes(tmp_path: Path) -> None:
    fingerprints = {}
    for name, how in (("bad", (0.9, 4)), ("good", (0.1, 2)), ("long", (0.5, 6))):
        found, _ = run(tmp_path, "metric=claims", *SCENES, *planted(*how))
        fingerprints[name] = found["fingerprint"]
    named = ", ".join(f"{name}: 'run:{one}'" for name, one in fingerprints.items())
    options = ("metric=preference", "dataset=shapes_systems", f"dataset.captions={{{named}}}")
    found, rows = run(tmp_path, *options, "judge=shapes_oracle")
    scores = values(found)
    ranks = {name: scores[f"mean_rank/{name}"] for name in fingerprints}
    assert sorted(ranks, key=lambda name: ranks[name]) == ["good", "long", "bad"]
    assert sum(ranks.values()) == pytest.approx(6, abs=1e-3)
    assert scores["wins/bad/good"] < 0.1
    assert found["scores"]["mean_rank/good"]["n"] == len(rows) == 40
    assert found["scores"]["mean_rank/good"]["low"] < ranks["good"]
    assert found["counts"]["flagged"] == {}
    other, _ = run(tmp_path, *options, "judge=shapes_oracle", "judge.wrong_cost=0")
    assert values(other)["mean_rank/long"] < 1.5, "where errors cost nothing, more is better"


def test_questions_about_scenes_are_asked_of_a_model(tmp_path: Path) -> None:
    """Its captions are no answers: neither yes nor no."""
    few = ("dataset.source.samples=24", "model=captioner_shapes")
    found, rows = run(tmp_path, "metric=mme", "dataset=shapes_mme", *few)
    assert set(rows["category"]) == {"existence", "count", "position", "color"}
    assert values(found)["coarse_grained"] == 0
    assert set(rows["prediction"]) == {"other"}
    assert (rows["label"] == "yes").mean() == 0.5
    found, rows = run(tmp_path, "metric=pope", "dataset=shapes_pope", *few)
    assert set(rows["category"]) == {"random", "popular", "adversarial"}
    assert found["counts"]["annotations_left_out"]["image with fewer than 3 objects"] > 0
    assert values(found)["yes_ratio"] == 1.0, "the official script reads all but no as yes"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ("metric=claims", "dataset=photos", "model=captioner_shapes"),
            "metric=claims: expected dataset=shapes_captions, of whose scenes all is known",
        ),
        (
            ("metric=claims", *SCENES),
            "model=none: metric=claims needs them; expected a model that writes captions, such as",
        ),
        (("metric=mme", "dataset=photos"), "metric=mme: expected dataset=questions or dataset=sha"),
        (
            ("metric=pope", "dataset=shapes_mme", "model=captioner_shapes"),
            "metric=pope: expected dataset=questions or dataset=existence",
        ),
        (
            ("metric=mme", "dataset=shapes_pope", "model=captioner_shapes"),
            "metric=mme: expected dataset=questions or dataset=shapes_mme",
        ),
    ],
)
def test_what_does_not_go_together_is_told(
    tmp_path: Path, overrides: tuple[str, ...], told: str
) -> None:
    with pytest.raises(VlgroundError) as error:
        run(tmp_path, *overrides)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
