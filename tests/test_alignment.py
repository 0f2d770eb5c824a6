"""Explanation runs beside people's scores: what is read, counted, compared, printed and drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from scipy import stats

from vlground.alignment import figures, tables
from vlground.alignment.acceptance import accept
from vlground.alignment.analysis import Alignment, align, images_of, jsonable
from vlground.alignment.blocks import acceptance_blocks, alignment_blocks
from vlground.alignment.grid import Cell, alignment_figure, draw, grid_figure, is_grid
from vlground.alignment.people import Decision, Scores, read_decisions, read_scores
from vlground.alignment.runs import explained, reference_of, settings, sigmoid_of
from vlground.errors import VlgroundError
from vlground.identity import digest
from vlground.metrics.proportions import wilson
from vlground.metrics.reliability import Level, krippendorff

TRUTH = np.random.default_rng(0).integers(0, 6, 60).astype(float)
IDS = [f"s{i:03d}" for i in range(60)]


def noisy(seed: int, spread: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, spread, len(TRUTH))
    return np.clip(np.round(TRUTH + noise), 0, 5)


def make_run(
    runs: Path,
    scores: np.ndarray,
    ids: list[str] | None = None,
    mask: dict[str, Any] | None = None,
    images: list[str] | None = None,
    predicted: list[str] | None = None,
    **choices: str,
) -> Path:
    """A run directory as `task=explanation` leaves it."""
    ids = IDS[: len(scores)] if ids is None else ids
    mask = {"alpha": 25.0, "beta": 0.6} if mask is None else mask
    chosen = {"task": "explanation", "dataset": "drawn", "model": "net", "cam": "gradcam"}
    chosen |= {"mask": "sigmoid", "judge": "reference", **choices}
    known = ~np.isnan(scores)
    mean = {
        "value": float(np.mean(scores[known])),
        "low": None,
        "high": None,
        "n": int(known.sum()),
    }
    results = {
        "task": "explanation",
        "choices": chosen,
        "fingerprint": digest([chosen, mask]),
        "identity": {"mask": {"_target_": "x", **mask}},
        "scores": {"judge_score": mean},
        "counts": {"samples": len(scores), "scored": int(known.sum())},
    }
    folder = runs / "explanation" / digest([chosen, mask])
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))
    rows = {
        "id": ids,
        "image_id": images or ids,
        "score": scores,
        "outcome": np.where(known, "score", "refusal").tolist(),
        "predicted": predicted or ["cat"] * len(scores),
    }
    pandas.DataFrame(rows).to_parquet(folder / "rows.parquet")
    return folder


def write_scores(path: Path, columns: dict[str, np.ndarray], ids: list[str] | None = None) -> Path:
    lines = ["id,annotator,score"]
    for who, scores in columns.items():
        for name, score in zip(ids or IDS, scores, strict=True):
            lines.append(f"{name},{who},{'' if np.isnan(score) else f'{score:g}'}")
    path.write_text("\n".join(lines) + "\n")
    return path


PEOPLE = {"Ann": noisy(1, 0.7), "Bob": noisy(2, 0.7), "Cyd": noisy(3, 0.7)}


@pytest.fixture
def human(tmp_path: Path) -> Scores:
    return read_scores([write_scores(tmp_path / "human.csv", PEOPLE)])


def found(runs: Path, scores: Scores, reference: str | None = None) -> Alignment:
    return align(explained(runs), scores, reference, n_resamples=200)


def test_statistics_are_of_the_judge_and_the_mean_of_people(tmp_path: Path, human: Scores) -> None:
    judge = noisy(9, 1.0)
    make_run(tmp_path, judge)
    (run,) = found(tmp_path, human).runs
    mean = np.mean(list(PEOPLE.values()), axis=0)
    assert run.agreement["pearson"].value == pytest.approx(stats.pearsonr(judge, mean)[0])
    assert run.agreement["kendall"].value == pytest.approx(stats.kendalltau(judge, mean)[0])
    assert run.agreement["bias"].value == pytest.approx(np.mean(judge - mean))
    assert run.agreement["pearson"].low is not None
    rests = [np.mean([PEOPLE[o] for o in PEOPLE if o != who], axis=0) for who in PEOPLE]
    top = np.mean(
        [stats.pearsonr(own, r)[0] for own, r in zip(PEOPLE.values(), rests, strict=True)]
    )
    assert run.ceiling.scores["ceiling"].value == pytest.approx(top)
    assert len(run.alternative.duels) == 3
    table = human.ratings.scores
    for kind, alpha in found(tmp_path, human).people.krippendorff.items():
        measurement: Level = "ordinal" if kind == "ordinal" else "interval"
        assert alpha.value == krippendorff(table, IDS, measurement, n_resamples=1).value
    assert run.counts.both == 60
    assert run.sigmoid == (25.0, 0.6)


def test_files_of_several_annotators_and_a_byte_order_mark(tmp_path: Path) -> None:
    paths = [write_scores(tmp_path / f"{who}.csv", {who: PEOPLE[who]}) for who in PEOPLE]
    paths[0].write_bytes(b"\xef\xbb\xbf" + paths[0].read_bytes().replace(b"\n", b"\r\n"))
    scores = read_scores(paths).ratings
    assert scores.annotators == ("Ann", "Bob", "Cyd")
    assert scores.scores[:, 0].tolist() == PEOPLE["Ann"].tolist()


def test_a_row_without_a_score_is_counted(tmp_path: Path) -> None:
    some = np.where(np.arange(60) < 4, np.nan, PEOPLE["Ann"])
    scores = read_scores([write_scores(tmp_path / "h.csv", {"Ann": some, "Bob": PEOPLE["Bob"]})])
    make_run(tmp_path / "runs", noisy(9, 1.0))
    alignment = found(tmp_path / "runs", scores)
    assert alignment.people.empty == 4
    assert alignment.people.annotators == {"Ann": 56, "Bob": 60}
    assert alignment.people.krippendorff["ordinal"].n == 56
    assert "rows without a score: 4" in alignment_blocks(alignment)[1].notes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,score\ns,1\n", "no column annotator"),
        ("id;annotator;score\ns;a;1\n", "no column id, annotator, score"),
        ("", "its first line has nothing"),
        ("id,annotator,score\ns,a,six\n", "a on s: six is no number from 0 to 5"),
        ("id,annotator,score\ns,a,6\n", "6 is no number from 0 to 5"),
        ("id,annotator,score\ns,a,-1\n", "-1 is no number from 0 to 5"),
        ("id,annotator,score\ns,a,nan\n", "nan is no number from 0 to 5"),
        ("id,annotator,score\ns,a,1\ns,a,1\n", "a scored s twice"),
        ("id,annotator,score\ns,a,1,2\n", "line 2: 4 entries in 3 columns"),
        ("id,annotator,score\n,a,1\n", "line 2: no id"),
        ("id,annotator,score\ns,,1\n", "line 2: no annotator"),
        ("id,annotator,score\ns,a,\n", "no score in it"),
        ('id,annotator,score\ns,a,"1\n', "cannot be read as CSV"),
    ],
)
def test_files_of_scores_that_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "h.csv"
    path.write_text(text)
    with pytest.raises(VlgroundError) as error:
        read_scores([path])
    assert told in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match="cannot be read as CSV"):
        read_scores([tmp_path / "none.csv"])


def test_what_only_one_side_has_is_counted(tmp_path: Path) -> None:
    people = write_scores(tmp_path / "h.csv", {"Ann": PEOPLE["Ann"]})
    judge = noisy(9, 1.0)
    judge[[20, 21, 22]] = np.nan
    make_run(tmp_path / "runs", judge[10:], ids=[*IDS[10:55], "x1", "x2", "x3", "x4", "x5"])
    alignment = found(tmp_path / "runs", read_scores([people]))
    (run,) = alignment.runs
    assert alignment.people.in_no_run == [*IDS[:10], *IDS[55:]]
    assert run.counts.not_in_run == 15
    assert run.counts.not_by_people == 5
    assert run.counts.not_judged == {"refusal": 3}
    assert run.counts.both == 45 - 3
    agreement, people_block = alignment_blocks(alignment)[:2]
    line = "left out: not judged: refusal (3); not in the run (15); not scored by people (5)"
    assert any(line in note for note in agreement.notes)
    assert any("in no run: 15 samples (s000, s001, s002, …)" in n for n in people_block.notes)


def test_runs_are_matched_by_id_and_not_by_place(tmp_path: Path, human: Scores) -> None:
    judge = noisy(9, 1.0)
    backwards = list(range(59, -1, -1))
    make_run(tmp_path / "a", judge)
    make_run(tmp_path / "b", judge[backwards], ids=[IDS[i] for i in backwards])
    (one,), (other,) = (found(tmp_path / name, human).runs for name in "ab")
    assert one.agreement == other.agreement


def test_no_id_in_common(tmp_path: Path, human: Scores) -> None:
    make_run(tmp_path, noisy(9, 1.0), ids=[f"other{i}" for i in range(60)])
    with pytest.raises(VlgroundError, match=r"no id of theirs \(s000, s001, s002, …\)"):
        found(tmp_path, human)


def test_runs_of_several_data_sets_are_refused(tmp_path: Path, human: Scores) -> None:
    make_run(tmp_path, noisy(8, 1.0))
    make_run(tmp_path, noisy(9, 1.0), dataset="voc")
    with pytest.raises(VlgroundError, match=r"^dataset=drawn: .* drawn, voc"):
        found(tmp_path, human)
    runs = explained(tmp_path, {"dataset": "voc"})
    assert [run.choices["dataset"] for run in align(runs, human, n_resamples=50).runs] == ["voc"]


def test_one_id_of_two_images_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, noisy(8, 1.0))
    make_run(tmp_path, noisy(9, 1.0), model="b", images=["other", *IDS[1:]])
    with pytest.raises(VlgroundError, match="sample s000 is of image"):
        images_of(explained(tmp_path))


def grid(runs: Path, alphas: tuple[float, ...] = (15.0, 25.0), skip: int | None = None) -> None:
    betas = (0.4, 0.6)
    for place, (alpha, beta) in enumerate((a, b) for a in alphas for b in betas):
        if place != skip:
            spread = 0.3 if beta == 0.6 else 2.0
            make_run(runs, noisy(20 + place, spread), mask={"alpha": alpha, "beta": beta})


def test_settings_are_compared_with_the_papers_mask(tmp_path: Path, human: Scores) -> None:
    grid(tmp_path)
    alignment = found(tmp_path, human)
    assert alignment.reference == "mask.alpha=25 mask.beta=0.6"
    assert set(alignment.comparisons) == {
        "mask.alpha=15 mask.beta=0.4",
        "mask.alpha=15 mask.beta=0.6",
        "mask.alpha=25 mask.beta=0.4",
    }
    worse = alignment.comparisons["mask.alpha=25 mask.beta=0.4"]
    assert worse.difference.value is not None
    assert worse.difference.value < 0
    assert worse.williams is not None
    assert worse.p_holm is not None
    assert worse.williams.p < worse.p_holm < 0.05
    named = found(tmp_path, human, "mask.alpha=15 mask.beta=0.4")
    assert named.comparisons["mask.alpha=25 mask.beta=0.6"].difference.value > 0  # type: ignore[operator]


def test_the_reference(tmp_path: Path) -> None:
    grid(tmp_path)
    make_run(tmp_path, noisy(40, 1.0), mask={"of": {"alpha": 25.0}})
    runs = explained(tmp_path)
    names = settings([run.results for run in runs])
    for run, name in zip(runs, names, strict=True):
        assert reference_of(runs, names, run.folder.name) == name
        assert reference_of(runs, names, run.results["fingerprint"][:10]) == name
    with pytest.raises(VlgroundError, match=r"^--reference none-such: no run"):
        reference_of(runs, names, "none-such")
    with pytest.raises(VlgroundError, match="several runs"):
        reference_of(runs, names, "")


def test_without_the_papers_mask_the_first_run_is_the_reference(tmp_path: Path) -> None:
    for model in "ab":
        make_run(tmp_path, noisy(8, 1.0), mask={"opacity": 0.5}, model=model, cam="c")
    runs = explained(tmp_path)
    assert reference_of(runs, settings([run.results for run in runs])) == "a"


def test_only_the_sigmoid_has_alpha_and_beta() -> None:
    mask = {"alpha": 25, "beta": 0.6}
    assert sigmoid_of({"choices": {"mask": "sigmoid"}, "identity": {"mask": mask}}) == (25, 0.6)
    assert sigmoid_of({"choices": {"mask": "random"}, "identity": {"mask": mask}}) is None
    assert sigmoid_of({"choices": {"mask": "sigmoid"}, "identity": {}}) is None


def test_runs_that_nothing_tells_apart_get_their_fingerprints() -> None:
    runs = [{"choices": {"model": "m"}, "identity": {}, "fingerprint": f} for f in "ab"]
    first, second = settings(runs)
    assert first.endswith("a")
    assert second.endswith("b")
    assert settings([{"choices": {"model": "m", "cam": "c", "mask": "k"}}]) == ["m c k"]


def test_labels_that_people_did_not_see_are_counted(tmp_path: Path, human: Scores) -> None:
    make_run(tmp_path, noisy(8, 1.0), model="a")
    make_run(tmp_path, noisy(9, 1.0), model="b", predicted=["dog"] * 7 + ["cat"] * 53)
    alignment = found(tmp_path, human)
    assert [run.counts.other_label for run in alignment.runs] == [0, 7]
    notes = alignment_blocks(alignment)[0].notes
    assert "b: 7 of 60 samples have another label than in a" in notes


def test_images_with_several_samples_are_not_tested_as_independent(
    tmp_path: Path, human: Scores
) -> None:
    images = [f"i{i // 2}" for i in range(60)]
    for model in "ab":
        make_run(tmp_path, noisy(ord(model), 1.0), model=model, images=images)
    (made,) = found(tmp_path, human).comparisons.values()
    assert made.williams is None
    assert made.difference.low is not None


def test_debug_and_other_tasks_are_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path, noisy(8, 1.0))
    results = json.loads((folder / "results.json").read_text()) | {"task": "grounding"}
    (folder / "results.json").write_text(json.dumps(results))
    with pytest.raises(VlgroundError, match="no run of task=explanation"):
        explained(tmp_path)


def test_rows_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    folder = make_run(tmp_path, noisy(8, 1.0))
    (folder / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(VlgroundError, match="overwrite=true"):
        explained(tmp_path)


def test_the_result_is_json(tmp_path: Path, human: Scores) -> None:
    grid(tmp_path)
    text = json.dumps(jsonable(found(tmp_path, human)), allow_nan=False)
    read = json.loads(text)
    assert read["runs"][0]["agreement"]["pearson"]["n"] == 60
    assert read["runs"][0]["alternative"]["duels"][0]["annotator"] == "Ann"
    assert read["comparisons"]["mask.alpha=25 mask.beta=0.4"]["williams"]["p"] < 1
    empty = accept([Decision("unknown", "Ann", "sigmoid", True)], {})
    assert json.loads(json.dumps(jsonable(empty), allow_nan=False))["rates"][0]["in_no_run"] == 1


def test_tables_are_whole(tmp_path: Path, human: Scores) -> None:
    grid(tmp_path)
    blocks = alignment_blocks(found(tmp_path, human))
    assert [block.caption.split(": ")[1] for block in blocks] == [
        "agreement with people",
        "people among themselves",
        "ceiling",
        "alternative-annotator test",
        "runs against the reference",
    ]
    for block in blocks:
        assert {len(row) for row in block.rows} == {len(block.heads)}
        assert block.heads[block.words] == "n"
    pearson = blocks[0].rows[3][2]
    assert pearson.startswith("0.9")
    assert "\n" in pearson


def test_a_note_names_few_runs_and_counts_many(tmp_path: Path, human: Scores) -> None:
    for number in range(6):
        judge = noisy(number, 1.0)
        judge[: 1 if number else 2] = np.nan
        make_run(tmp_path, judge, model=f"m{number}")
    notes = alignment_blocks(found(tmp_path, human))[0].notes
    assert "m0: left out: not judged: refusal (2)" in notes
    assert "5 of 6 runs: left out: not judged: refusal (1)" in notes


def test_what_vlground_report_asks_for(tmp_path: Path) -> None:
    grid(tmp_path / "runs")
    path = write_scores(tmp_path / "h.csv", PEOPLE)
    decisions = tmp_path / "d.csv"
    decisions.write_text("id,annotator,accepted,mask\ns000,Ann,1,sigmoid\n")
    blocks = tables(tmp_path / "runs", {}, [path], [decisions])
    assert len(blocks) == 6
    assert len(tables(tmp_path / "runs", {}, [], [decisions])) == 1


def test_the_figures_that_vlground_report_asks_for(tmp_path: Path) -> None:
    grid(tmp_path / "runs")
    path = write_scores(tmp_path / "h.csv", PEOPLE)
    assert set(figures(tmp_path / "runs", {})) == {"alpha_beta_judge_score"}
    found = figures(tmp_path / "runs", {}, [path])
    assert set(found) == {"alpha_beta_judge_score", "alpha_beta_pearson"}
    make_run(tmp_path / "one", noisy(8, 1.0))
    assert figures(tmp_path / "one", {}, [path]) == {}


def test_a_grid_is_in_order(tmp_path: Path) -> None:
    grid(tmp_path, alphas=(100.0, 25.0, 5.0))
    masks = [sigmoid_of(run.results) for run in explained(tmp_path)]
    assert masks == [(a, b) for a in (5.0, 25.0, 100.0) for b in (0.4, 0.6)]


def decisions(mask: str, accepted: list[int], who: str = "Ann") -> list[Decision]:
    return [Decision(IDS[i], who, mask, bool(a)) for i, a in enumerate(accepted)]


def test_acceptance_masked_against_overlay() -> None:
    images = {name: name for name in IDS}
    masked, overlay = [1] * 30 + [0] * 5, [1] * 20 + [0] * 10 + [1] * 3 + [0] * 2
    said = decisions("sigmoid", masked) + decisions("overlay", overlay)
    result = accept(said, images)
    assert [rate.mask for rate in result.rates] == ["overlay", "sigmoid"]
    assert result.rates[1].accepted == wilson(30, 35)
    (pair,) = result.pairs
    assert (pair.first, pair.second) == ("sigmoid", "overlay")
    assert (pair.test.only_first, pair.test.only_second) == (10, 3)
    assert pair.p_holm == pytest.approx(stats.binomtest(10, 13).pvalue)
    rates, pairs = acceptance_blocks(result)
    assert rates.rows[1] == ["sigmoid", "1", "35", "0.857\n0.71–0.94"]
    assert pairs.rows == [["sigmoid", "overlay", "35", "10", "3", "0.092", "0.092"]]


def test_the_majority_of_several_people_counts() -> None:
    images = {name: name for name in IDS}
    said = decisions("sigmoid", [1, 1, 0]) + decisions("sigmoid", [1, 0, 0], "Bob")
    (rate,) = accept(said, images).rates
    assert (rate.accepted.value, rate.accepted.n, rate.split) == (0.5, 2, 1)
    said += decisions("sigmoid", [1, 1, 0], "Cyd")
    (rate,) = accept(said, images).rates
    assert (rate.accepted.value, rate.accepted.n, rate.split) == (2 / 3, 3, 0)
    assert rate.annotators == 3


def test_images_with_several_samples_have_no_wilson_and_no_mcnemar() -> None:
    images = {name: str(i // 2) for i, name in enumerate(IDS)}
    said = decisions("sigmoid", [1] * 50 + [0] * 10) + decisions("overlay", [1] * 40 + [0] * 20)
    result = accept(said, images)
    assert result.several
    assert result.rates[1].accepted != wilson(50, 60)
    assert result.pairs[0].p_holm is None
    assert "several rows" in acceptance_blocks(result)[1].notes[-1]


def test_decisions_on_samples_of_no_run_are_counted() -> None:
    (rate,) = accept(decisions("sigmoid", [1, 0, 1]), {IDS[0]: "i", IDS[1]: "j"}).rates
    assert (rate.in_no_run, rate.accepted.n) == (1, 2)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("s,a,2,sigmoid", "accepted=2: expected 0 or 1"),
        ("s,a,yes,sigmoid", "accepted=yes: expected 0 or 1"),
        ("s,a,1,sigmoid\ns,a,0,sigmoid", "decided twice"),
        ("s,a,1,", "line 2: no mask"),
        ("", "no decision in it"),
    ],
)
def test_files_of_decisions_that_are_refused(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text(f"id,annotator,accepted,mask\n{line}\n")
    with pytest.raises(VlgroundError, match=told):
        read_decisions([path])


def results_of(runs: Path) -> list[Any]:
    return [run.results for run in explained(runs)]


def test_a_heat_map_of_any_score(tmp_path: Path) -> None:
    grid(tmp_path, skip=1)
    make_run(tmp_path, noisy(3, 1.0), mask={"opacity": 0.5}, model="net", cam="gradcam", judge="z")
    picture = np.asarray(grid_figure(results_of(tmp_path), "judge_score"))
    assert picture.std() > 10
    assert is_grid(results_of(tmp_path))
    with pytest.raises(
        VlgroundError, match="score=none_such: no run has it; there are judge_score"
    ):
        grid_figure(results_of(tmp_path), "none_such")


def test_heat_maps_tell_values_missing_cells_and_the_paper_apart() -> None:
    whole = [Cell(a, b, "p", a / 100 + b, None, None, 60) for a in (15.0, 25.0) for b in (0.4, 0.6)]
    drawn = np.asarray(draw(whole, "r")).astype(int)
    missing = np.asarray(draw(whole[1:], "r")).astype(int)
    undefined = np.asarray(draw([Cell(15.0, 0.4, "p", None, None, None, 0), *whole[1:]], "r"))
    assert (drawn != missing).any()
    assert (undefined != missing).any(), "no run and no value are different things"
    red = (drawn[..., 0] > 180) & (drawn[..., 1] < 100) & (drawn[..., 2] < 80)
    assert red.sum() > 200, "the frame round the published optimum"
    elsewhere = [Cell(a, b, "p", 0.5, None, None, 9) for a in (15.0, 20.0) for b in (0.4, 0.5)]
    other = np.asarray(draw(elsewhere, "r")).astype(int)
    assert not ((other[..., 0] > 180) & (other[..., 1] < 100) & (other[..., 2] < 80)).any()


def test_two_runs_of_one_cell_are_refused() -> None:
    with pytest.raises(VlgroundError, match=r"several runs have mask.alpha=25 mask.beta=0.6"):
        draw([Cell(25.0, 0.6, "p", 0.5, None, None, 9)] * 2, "r")
    with pytest.raises(VlgroundError, match=r"^mask=sigmoid"):
        draw([], "r")


def test_a_panel_for_each_model(tmp_path: Path, human: Scores) -> None:
    for model in "ab":
        for beta in (0.4, 0.6):
            make_run(tmp_path, noisy(9, 1 / beta), mask={"alpha": 25.0, "beta": beta}, model=model)
    one = alignment_figure(found(tmp_path, human), results_of(tmp_path))
    (only,) = {run.choices["dataset"] for run in found(tmp_path, human).runs}
    assert only == "drawn"
    single = draw([Cell(25.0, b, "a", 0.5, None, None, 60) for b in (0.4, 0.6)], "r")
    assert one.height == 2 * single.height
    assert one.width == single.width
