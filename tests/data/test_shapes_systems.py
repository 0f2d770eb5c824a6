"""Captions of the same drawn scenes by several systems, of files and of runs."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest

from vlground.data.sample import manifest
from vlground.data.shapes.captions import ShapesCaptions
from vlground.data.shapes.systems import ShapesSystems
from vlground.errors import VlgroundError

DATA = ShapesCaptions(3, "test", "in", "plain", 96, seed=0)
IMAGES = [DATA[index].image_id for index in range(3)]


def file(folder: Path, name: str, captions: list[dict[str, str]]) -> str:
    (folder / name).write_text(json.dumps(captions))
    return str(folder / name)


def run(folder: Path, fingerprint: str, metric: str, texts: list[str | None]) -> Path:
    """What task=benchmark leaves behind."""
    place = folder / "benchmark" / f"mini-shapes_captions-{fingerprint}"
    place.mkdir(parents=True)
    (place / "results.json").write_text(json.dumps({"choices": {"metric": metric}}))
    flags = ["" if text is not None else "429" for text in texts]
    rows = {"id": IMAGES, "image_id": IMAGES, "text": texts, "flag": flags}
    pandas.DataFrame(rows).to_parquet(place / "rows.parquet")
    return place


def test_files_and_runs_stand_beside_each_other(tmp_path: Path) -> None:
    told = [{"image_id": IMAGES[0], "caption": " a0 "}, {"image_id": IMAGES[2], "text": "a2"}]
    told += [{"image_id": IMAGES[0], "caption": "again"}, {"image_id": IMAGES[1]}, {"caption": "x"}]
    run(tmp_path, "aaaaaaaa", "claims", ["b0", None, ""])
    place = run(tmp_path, "bbbbbbbb", "chair", ["c0", "c1", "c2"])
    where = {"a": file(tmp_path, "a.json", told), "b": "run:aaaaaaaa00000000", "c": str(place)}
    data = ShapesSystems(where, runs=str(tmp_path))
    assert [data[index].id for index in range(len(data))] == [IMAGES[0], IMAGES[2], IMAGES[1]]
    assert data.of(IMAGES[0]) == {"a": "a0", "b": "b0", "c": "c0"}
    assert data.of(IMAGES[1]) == {"c": "c1"}, "what was not answered is no caption"
    assert data.of(IMAGES[2]) == {"a": "a2", "b": "", "c": "c2"}, "an empty one is"
    assert data.skipped == {
        "another caption of the same image": 1,
        "no caption": 2,
        "no image id": 1,
    }
    assert np.array_equal(data[0].image, DATA[0].image), "the scene is drawn again"
    assert set(data.checksums) == {"a", "b", "c"}


def test_another_caption_or_look_is_another_truth(tmp_path: Path) -> None:
    def of(text: str, look: str = "plain") -> str:
        where = {
            name: file(tmp_path, f"{name}.json", [{"image_id": IMAGES[0], "caption": said}])
            for name, said in (("a", text), ("b", "y"))
        }
        data = ShapesSystems(where, look)  # type: ignore[arg-type]
        return manifest([data[index] for index in range(len(data))])

    assert len({of("x"), of("z"), of("x", "shifted")}) == 3


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    good = file(tmp_path, "a.json", [{"image_id": IMAGES[0], "caption": "a"}])
    run(tmp_path, "aaaaaaaa", "pope", ["b0", "b1", "b2"])
    (tmp_path / "empty").mkdir()
    for b, told in (
        ("none.json", r"^dataset\.captions\.b=none\.json: expected a file, a run's folder or run:"),
        ("run:cccccccc", r"^dataset\.captions\.b=run:cccccccc: 0 such runs of task=benchmark in "),
        ("run:aaaa", r"^dataset\.captions\.b=run:aaaa: 0 such runs"),
        ("run:aaaaaaaa", r"its rows are no captions; expected a run with metric=claims or chair$"),
        (str(tmp_path / "empty"), r"^dataset\.captions\.b=.*empty: no finished run: No such file"),
        (
            file(tmp_path, "b.json", [{"image_id": "7", "caption": "a"}]),
            "^dataset: 7 is no image of shapes_captions",
        ),
    ):
        with pytest.raises(VlgroundError, match=told) as error:
            ShapesSystems({"a": good, "b": b}, runs=str(tmp_path))
        assert "\n" not in str(error.value)
    for captions in (None, {"a": good}):
        with pytest.raises(VlgroundError, match=r"^dataset\.captions=.*: expected two systems or"):
            ShapesSystems(captions)
    with pytest.raises(VlgroundError, match=r"^dataset\.look=dark: expected plain, shifted$"):
        ShapesSystems({"a": good, "b": good}, "dark")  # type: ignore[arg-type]
    nothing = file(tmp_path, "c.json", [])
    with pytest.raises(VlgroundError, match=r"^dataset\.captions=.*: no caption in any of them$"):
        ShapesSystems({"a": nothing, "b": nothing})
