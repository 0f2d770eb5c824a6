"""Published numbers, checked against themselves, and ours beside them."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from tests.cli import command
from vlground.labels import COLUMNS
from vlground.published import (
    Comparison,
    Published,
    Row,
    compare,
    experiments,
    pairing,
    read_published,
    values_of,
)
from vlground.report import collect, comparisons, html, latex, markdown
from vlground.reporting.beside import beside_published, comparison_table, lines
from vlground.run import CONF

TABLE1 = "q_groundcam_table1"
SCORES = [name for name in COLUMNS if name != "io_lift"]
# PG uncertainty in percent as published beside the counts; read a second time, by data set.
UNCERTAIN = {
    "flickr30k_entities": (2.19, 6.66, 0, 0.07),
    "refcoco_plus_testa": (3.46, 5.87, 0, 0.24),
    "refcoco_plus_testb": (4.11, 9.18, 0, 0.33),
    "spatial_sense_triplets": (2.76, 5.52, 0, 0.17),
    "spatial_sense_subjects": (2.32, 6.41, 0, 0.22),
    "spatial_sense_objects": (2.04, 8.72, 0, 0.17),
}
METHODS = ("blip_base", "blip_large", "clip_rn50x16_gscorecam", "albef_amc")


@pytest.fixture(scope="module")
def table1() -> dict[tuple[str, str], dict[str, Published]]:
    return read_published(experiments()[TABLE1])


def column(cells: dict[tuple[str, str], dict[str, Published]], score: str) -> np.ndarray:
    return np.array([cell[score].value for cell in cells.values()])


def test_table_1_is_whole(table1: Any) -> None:
    assert set(table1) == {(method, data) for method in METHODS for data in UNCERTAIN}
    assert all(set(cell) == set(SCORES) for cell in table1.values())
    for score in SCORES:
        assert all(0 <= value <= 1 for value in column(table1, score)), score
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("run", [f"experiment={TABLE1}"], return_hydra_config=True)
    axes = config.hydra.sweeper.params
    there = {path.stem for path in (CONF / "method").glob("*.yaml")}
    assert set(axes["method"].split(",")) == set(METHODS) & there
    assert set(axes["dataset"].split(",")) == set(UNCERTAIN)


def test_dice_follows_from_iou(table1: Any) -> None:
    """Of one map Dice = 2 IoU / (1 + IoU); the mean differs by Jensen and by rounding."""
    for kind, low in (("soft", -0.022), ("binary", -0.05)):
        iou, dice = column(table1, f"iou_{kind}"), column(table1, f"dice_{kind}")
        difference = dice - 2 * iou / (1 + iou)
        assert difference.min() > low
        assert difference.max() < 0.012


def test_uncertainty_is_the_count(table1: Any) -> None:
    sizes = {"flickr": 14481, "refcoco_plus_testa": 5726, "refcoco_plus_testb": 4889}
    for data, percents in UNCERTAIN.items():
        for method, percent in zip(METHODS, percents, strict=True):
            number = table1[method, data]["pg_uncertainty"]
            size = sizes.get(data, sizes["flickr"] if "flickr" in data else 1811)
            count = int(number.note.removeprefix("published as ").split(" of ")[0])
            assert number.n == size
            assert number.note.endswith(f" of {size}")
            assert number.value == pytest.approx(count / size, abs=1e-6)
            assert table1[method, data]["pointing_game"].rounding == pytest.approx(0.00005)
            assert round(100 * number.value, 2) == pytest.approx(percent, abs=0.006)


def test_correlations_are_those_of_a_second_reading(table1: Any) -> None:
    """Computed from another transcription of the table."""
    hits = column(table1, "pointing_game")
    known = {"io_ratio": 0.86, "wdp_binary": -0.69, "wdp_soft": -0.59, "iou_soft": 0.54}
    known |= {"dice_soft": 0.55, "iou_binary": 0.25, "dice_binary": 0.25}
    for score, value in known.items():
        assert pearsonr(hits, column(table1, score))[0] == pytest.approx(value, abs=0.0051), score
    for score, value in (("io_ratio", 0.86), ("iou_soft", 0.47), ("pg_uncertainty", -0.31)):
        assert spearmanr(hits, column(table1, score))[0] == pytest.approx(value, abs=0.0051), score


def test_the_best_of_each_block_is_who_the_paper_says(table1: Any) -> None:
    """ALBEF-AMC by PG and IO_ratio; gScoreCAM never uncertain, BLIP-large always most."""
    for data in UNCERTAIN:
        block = {method: table1[method, data] for method in METHODS}

        best = {
            score: max((cell[score].value, method) for method, cell in block.items())[1]
            for score in SCORES
        }
        assert best["pointing_game"] == best["io_ratio"] == "albef_amc"
        assert best["pg_uncertainty"] == "blip_large"
        assert block["clip_rn50x16_gscorecam"]["pg_uncertainty"].value == 0


def drawn(
    table: Any, method: str, data: str, shift: float, half: float | None = 0.01, **choices: str
) -> Any:
    """Results of a run whose scores are the published ones and a shift."""
    scores = {}
    for name, number in table[method, data].items():
        value = number.value + shift
        low, high = (None, None) if half is None else (value - half, value + half)
        scores[name] = {"value": value, "low": low, "high": high, "n": number.n}
    size = table[method, data]["io_ratio"].n
    chosen = {"dataset": data, "model": method, "cam": "attention_gradcam", "metric": "q_groundcam"}
    chosen |= pairing(method)
    counts = {"samples": size, "scored": size, "skipped": {}, "flagged": {}}
    counts["annotations_left_out"] = {}
    return {
        "task": "grounding",
        "choices": {**chosen, "method": method, **choices},
        "experiment": TABLE1,
        "fingerprint": f"{method}{data}{shift}",
        "scores": scores,
        "counts": counts,
        "seconds": 1.0,
    }


def run_rows(compared: Comparison) -> list[Row]:
    return [row for row in compared.rows if row.results is not None]


def test_a_difference_is_ours_minus_published(table1: Any) -> None:
    data = "refcoco_plus_testb"
    near, far = drawn(table1, "blip_base", data, 0.008), drawn(table1, "albef_amc", data, -0.05)
    few = drawn(table1, "blip_large", data, 0.02, half=None)
    compared = compare(TABLE1, [far, near, few], table1)
    first, second, third = run_rows(compared)
    assert [row.run for row in (first, second, third)] == ["blip_base", "blip_large", "albef_amc"]
    assert first.difference("io_ratio") == pytest.approx(0.008)
    assert first.within("io_ratio") is True
    assert third.difference("io_ratio") == pytest.approx(-0.05)
    assert third.within("io_ratio") is False
    assert second.within("io_ratio") is None


def test_a_published_value_counts_as_far_as_it_was_rounded(table1: Any) -> None:
    """0.31 stands for 0.305 to 0.315; 46.96 % for much less."""
    run = drawn(table1, "blip_base", "refcoco_plus_testb", 0.014)
    (row,) = run_rows(compare(TABLE1, [run], table1))
    assert row.within("io_ratio") is True  # 0.314 to 0.334
    assert row.within("pointing_game") is False


def test_the_method_names_a_row_and_without_it_the_model(table1: Any) -> None:
    data = "spatial_sense_objects"
    clip = drawn(table1, "clip_rn50x16_gscorecam", data, 0, model="clip_rn50x16", cam="gscorecam")
    bare = drawn(table1, "blip_base", data, 0)
    other = drawn(table1, "blip_large", data, 0)
    other["choices"]["method"] = "mine"
    baseline = drawn(table1, "albef_amc", data, 0, cam="uniform")
    del clip["choices"]["method"], bare["choices"]["method"]
    compared = compare(TABLE1, [clip, bare, other, baseline], table1)
    assert [row.run for row in run_rows(compared)] == ["blip_base", "clip_rn50x16_gscorecam"]
    assert len(compared.missing) == 22
    missing = [row.name for row in compared.missing]
    assert "blip_large on spatial_sense_objects" in missing
    assert "albef_amc on spatial_sense_objects" in missing


def partial(table: Any) -> Comparison:
    run = drawn(table, "blip_base", "flickr30k_entities", 0.02)
    run["counts"]["scored"] = 100
    return compare(TABLE1, [run], table)


def test_what_is_missing_and_what_is_smaller_is_said(table1: Any) -> None:
    told = lines(partial(table1))
    start = "not run (23), needs checkpoints: blip_large on flickr30k_entities, refcoco_plus_testa"
    assert told[0].startswith(start)
    assert "; blip_base on refcoco_plus_testa, " in told[0]
    assert told[1] == "other samples, blip_base on flickr30k_entities: 100 of the published 14481"


def test_a_method_with_another_cam_is_not_what_was_published(table1: Any) -> None:
    other = drawn(table1, "blip_base", "flickr30k_entities", 0.02, cam="rollout")
    assert run_rows(compare(TABLE1, [other], table1)) == []
    own = drawn(table1, "clip_rn50x16_gscorecam", "flickr30k_entities", 0.02)
    assert own["choices"]["cam"] == "gscorecam"
    assert len(run_rows(compare(TABLE1, [own, other], table1))) == 1


def test_a_run_has_three_lines(table1: Any) -> None:
    heads, rows = comparison_table(partial(table1), [""] * 24, " ")
    assert heads[:5] == ["data set", "method", "", "n", "PG ↑"]
    assert rows[0][:5] == ["flickr30k_entities", "blip_base", "ours", "100", "0.621 0.61–0.63"]
    assert rows[1][:5] == ["", "", "published", "14481", "0.6008"]
    assert rows[2][:5] == ["", "", "difference", "", "+0.020 ✗"]
    assert rows[3][:5] == ["", "blip_large", "published", "14481", "0.7143"]
    assert [len(row) for row in rows] == [len(heads)] * (3 + 23), "what was not run is not dropped"
    settings = ["cam.layer=7", *[""] * 23]
    assert comparison_table(partial(table1), settings, " ")[0][2] == "options"


def test_latex_is_bold_where_the_paper_is(table1: Any) -> None:
    data = "spatial_sense_subjects"
    runs = [drawn(table1, method, data, 0) for method in METHODS]
    # Ours disagree with the paper about who is best by PG.
    runs[0]["scores"]["pointing_game"] |= {"value": 0.9, "low": 0.88, "high": 0.92}
    text = latex(runs, [compare(TABLE1, runs, table1)])
    published = [line for line in text.splitlines() if " & published & " in line]
    assert len(published) == 24
    mine = published[16:20]  # the other data sets come before and after
    bold = [[cell.strip() for cell in line.split("&") if "textbf" in cell] for line in mine]
    # As the paper prints SUBJECTS in bold: PG .7001, uncertainty 0, IO .52, IoU and Dice of CLIP.
    assert bold[0] == []
    assert [cell.removesuffix(r" \\") for cell in bold[2]] == [
        r"\textbf{0.0000}",
        r"\textbf{0.17}",
        r"\textbf{0.23}",
        r"\textbf{0.28}",
        r"\textbf{0.34}",
        r"\textbf{0.69}",
    ]
    assert [cell.removesuffix(r" \\") for cell in bold[3]] == [
        r"\textbf{0.7001}",
        r"\textbf{0.52}",
        r"\textbf{0.89}",
    ]
    assert r"\textbf{0.900} $\pm$ 0.020" in text
    assert r"blip\_base" in text
    for table in text.split(r"\begin{tabular}")[1:]:
        body = table.split(r"\end{tabular}")[0]
        columns = body[1 : body.index("}")]
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {row.count(" & ") for row in rows} == {len(columns) - 1}


def write(runs: Path, results: Any) -> None:
    folder = runs / "grounding" / str(abs(hash(results["fingerprint"])))
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))


def test_the_command_shows_it_in_every_format(table1: Any, tmp_path: Path) -> None:
    for method in ("blip_base", "albef_amc"):
        write(tmp_path, drawn(table1, method, "refcoco_plus_testa", 0.003))
    stranger = drawn(table1, "blip_large", "refcoco_plus_testa", 0)
    write(tmp_path, {**stranger, "experiment": "another"})
    arguments = (str(tmp_path), f"experiment={TABLE1}")
    shown = command("vlground.report", *arguments, cwd=tmp_path)
    for word in (f"{TABLE1}: ours beside published", "0.679", "difference", "+0.003 ✓"):
        assert word in shown
    assert "not run (22)" in " ".join(shown.split())
    page = (tmp_path / "report.html").read_text()
    assert '"published":[["q_groundcam_table1: ours beside published"' in page
    shown_of = collect(tmp_path, {"experiment": TABLE1}), comparisons(tmp_path)
    assert re.search(r"\| refcoco_plus_testa +\| blip_base +\| ours", markdown(*shown_of))
    assert r"refcoco\_plus\_testa & blip\_base & ours & 5726 & 0.682 $\pm$ 0.010" in latex(
        *shown_of
    )
    web = command("vlground.report", *arguments, "--format=html", "--no-page", cwd=tmp_path)
    assert '<td>ours</td><td class="number">5726</td>' in web


def test_only_experiments_with_published_numbers_are_compared(table1: Any, tmp_path: Path) -> None:
    write(tmp_path, {**drawn(table1, "blip_base", "refcoco_plus_testa", 0), "experiment": "other"})
    assert comparisons(tmp_path) == []
    assert comparisons(tmp_path, {"experiment": "other"}) == []
    assert "published" not in markdown(collect(tmp_path), comparisons(tmp_path))
    folder = next(tmp_path.glob("*/*"))
    (folder / "experiments.txt").write_text(f"{TABLE1}\n")
    assert [one.experiment for one in comparisons(tmp_path)] == [TABLE1]


CHAIR = "chair_lvlm_captions"


def captions(name: str, instruction: int, chair_i: float, **scores: float) -> Any:
    """Results of a run that its command line tells from others, not its choices."""
    found = {"chair_i": chair_i, **scores}
    return {
        "task": "benchmark",
        "choices": {"dataset": "captions", "metric": "chair", "model": "none"},
        "experiment": CHAIR,
        "overrides": [f"lvlm.name={name}", f"lvlm.instruction={instruction}", "lvlm.folder=x"],
        "scores": {
            score: {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 9}
            for score, value in found.items()
        },
        "counts": {"samples": 1000, "scored": 1000, "skipped": {}, "flagged": {}},
    }


def test_any_option_may_name_a_row_of_any_score() -> None:
    cells = read_published(experiments()[CHAIR])
    runs = [captions("llava", 2, 0.11), captions("llava", 1, 0.105, chair_s=0.3)]
    runs.append(captions("minigpt-4", 2, 0.2, chair_s=0.0954))
    compared = compare(CHAIR, runs, cells)
    assert compared.scores == ["chair_i", "chair_s"]
    first, second = run_rows(compared)
    assert first.results is runs[0], "instruction 1 has no published number"
    assert first.within("chair_i") is True
    assert second.within("chair_i") is False
    assert second.difference("chair_s") == pytest.approx(0.0004)
    block = beside_published(compared)
    assert list(block.heads) == ["data set", "run", "", "n", "CHAIRi ↓", "CHAIRs ↓"]
    assert block.rows[0][1:4] == ["lvlm.name=llava lvlm.instruction=2", "ours", "1000"]
    assert block.rows[2][2:] == ["difference", "", "+0.005 ✓", "–"]
    last = ["", "lvlm.name=mplug lvlm.instruction=2", "published", "2000", "0.148"]
    assert block.rows[-1][:5] == last
    told = "\n".join(block.notes)
    assert "not run (1), needs POPE's captions: lvlm.name=mplug lvlm.instruction=2 on" in told
    assert "no CHAIRs ↓ of ours, needs POPE's captions: lvlm.name=llava" in told
    assert "other samples, lvlm.name=llava lvlm.instruction=2 on captions, lvlm.name=minigp" in told
    assert "published: table 2 of POPE" in told
    assert "unverified" in told, "how sure a number is stands below the table"


def test_options_are_found_wherever_a_run_keeps_them() -> None:
    run = captions("llava", 2, 0.1) | {"identity": {"mask": {"alpha": 25.0, "edge": None}}}
    assert values_of(run, "lvlm.name") >= {"llava"}
    assert values_of(run, "mask.alpha") == {"25", "25.0"}
    assert values_of(run, "dataset") == {"captions"}
    assert "llava" not in values_of(run, "lvlm.folder")
    run["overrides"] = ["++mask.alpha=30"]
    assert "30" in values_of(run, "mask.alpha")


def test_of_a_range_the_nearer_end_counts(tmp_path: Path) -> None:
    file = tmp_path / "range.csv"
    head = "run,dataset,score,value,n,needs,source,note\n"
    file.write_text(f"{head}judge=a,,pearson,0.54–0.64,,judge and people,the text,\n")
    cells = read_published(file)
    (number,) = cells["judge=a", ""].values()
    assert (number.low, number.high, number.n) == (0.54, 0.64, None)
    expected = ((0.60, 0, True), (0.7, 0.06, False), (0.5, -0.04, False), (0.65, 0.01, True))
    for value, difference, within in expected:
        score = {"value": value, "low": value - 0.02, "high": value + 0.02, "n": 50}
        run = {"choices": {"judge": "a"}, "scores": {"pearson": score}, "counts": {"scored": 50}}
        (row,) = compare("x", [run], cells).rows
        assert row.difference("pearson") == pytest.approx(difference)
        assert row.within("pearson") is within
    heads, rows = comparison_table(compare("x", [], cells), [""], " ")
    assert (heads, rows) == (
        ["run", "", "n", "Pearson ↑"],
        [["judge=a", "published", "", "0.54–0.64"]],
    )
    assert lines(compare("x", [], cells)) == [
        "not run (1), needs judge and people: judge=a",
        "published: the text",
    ]


def test_a_run_without_any_published_score_is_not_ours(table1: Any) -> None:
    """A judge's run has no acceptance: people give that."""
    cells = read_published(experiments()["autoxplain_masked_vs_overlay"])
    run = {
        "choices": {"mask": "sigmoid", "judge": "openai_compatible"},
        "identity": {"judge": {"model": "gpt-4o-mini"}},
        "scores": {"judge_score": {"value": 3.0, "low": 2.0, "high": 4.0, "n": 50}},
        "counts": {"scored": 50},
    }
    compared = compare("autoxplain_masked_vs_overlay", [run], cells)
    assert len(compared.missing) == len(compared.rows) == 4
    block = beside_published(compared)
    assert [row[-1] for row in block.rows] == ["0.8558", "0.7562", "0.7941", "0.5422"]
    assert "needs judge and people" in block.notes[0]


def test_what_was_published_is_shown_without_a_run(tmp_path: Path) -> None:
    (compared,) = comparisons(tmp_path, {"experiment": "vigor_table1"})
    page = html([], [compared])
    for value in ("3.24", "2.55", "2.24", "1.97"):
        assert f'<td class="number">{value}</td>' in page
    assert "needs checkpoints, judge and people" in page


def test_html_is_tables_and_nothing_that_runs(table1: Any) -> None:
    run = drawn(table1, "blip_base", "flickr30k_entities", 0.02)
    run["choices"]["model"] = "<script>alert(1)</script>"
    page = html([run], [compare(TABLE1, [run], table1)])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<table>") == page.count("</table>") == 2
    assert '<td class="number">0.621<small>0.61–0.63</small></td>' in page
    for table in page.split("<table>")[1:]:
        rows = [line for line in table.split("</table>")[0].splitlines() if "<td" in line]
        assert {row.count("<td") for row in rows} == {table.count('<th scope="col"')}
