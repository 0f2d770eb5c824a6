"""The oracle errs as often as it is told, and about the same things every time."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.detectors.grounded import photo

from vlground.data.sample import Sample
from vlground.detectors.oracle import OracleDetector
from vlground.errors import VlgroundError

NAMES = [f"thing {number}" for number in range(40)]


def world(folder: Path, images: int) -> tuple[str, list[Sample]]:
    """Half of the things are in each image."""
    samples = [Sample(f"s{i}", str(i), np.zeros((4, 4, 3), np.uint8), "") for i in range(images)]
    path = folder / "objects.json"
    path.write_text(
        json.dumps(
            {sample.image_id: NAMES[:20] for sample in samples[:-1]}
            | {samples[-1].image_id: NAMES[20:]}
        )
    )
    return str(path), samples


def found(detector: OracleDetector, samples: list[Sample]) -> np.ndarray:
    rows = detector.detect(samples, [NAMES] * len(samples))
    return np.array([[one.probability for one in row] for row in rows])


def test_without_errors_it_tells_the_truth(tmp_path: Path) -> None:
    file, samples = world(tmp_path, 3)
    given = found(OracleDetector(file), samples)
    assert (given[:2, :20] == 1).all()
    assert (given[:2, 20:] == 0).all()
    assert (given[2, 20:] == 1).all()


def test_it_errs_at_its_rates(tmp_path: Path) -> None:
    file, samples = world(tmp_path, 400)
    before = found(OracleDetector(file), samples)
    missed = found(OracleDetector(file, miss=0.3), samples)
    assert 1 - missed[before == 1].mean() == pytest.approx(0.3, abs=0.015)
    assert (missed[before == 0] == 0).all()
    alarms = found(OracleDetector(file, false_alarm=0.1), samples)
    assert alarms[before == 0].mean() == pytest.approx(0.1, abs=0.015)
    assert (alarms[before == 1] == 1).all()
    everything = found(OracleDetector(file, miss=1.0, false_alarm=1.0), samples)
    assert (everything == 1 - before).all()


def test_errors_depend_on_seed_image_and_name_alone(tmp_path: Path) -> None:
    file, samples = world(tmp_path, 50)
    (tmp_path / "words.txt").write_text("thing 7, seventh\n")
    words = str(tmp_path / "words.txt")
    detector = OracleDetector(file, words, miss=0.5, false_alarm=0.5)
    given = found(detector, samples)
    assert (found(detector, samples[::-1]) == given[::-1]).all()
    candidates = [replace(one, id=f"{one.id}/3", text="A thing.") for one in samples]
    for phrase in ("Thing  7", "seventh"):
        rows = detector.detect(candidates, [[phrase]] * len(candidates))
        assert [row[0].probability for row in rows] == given[:, 7].tolist()
    assert (found(OracleDetector(file, words, 0.5, 0.5, seed=1), samples) != given).any()


def test_fifty_thousand_nouns_take_no_time(tmp_path: Path) -> None:
    file, samples = world(tmp_path, 1250)
    detector = OracleDetector(file, miss=0.1, false_alarm=0.1)
    started = time.process_time()
    detector.detect(samples, [NAMES] * len(samples))
    assert time.process_time() - started < 2


def test_objects_of_captions_are_found_by_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "objects.json"
    path.write_text('{"COCO_val2014_000000000042": ["cat"], "world/in/7": ["dog"], "042": ["cow"]}')
    detector = OracleDetector(str(path))
    image = np.zeros((4, 4, 3), np.uint8)
    samples = [Sample(i, i, image, "") for i in ("42", "world/in/7", "042", "7")]
    rows = detector.detect(samples, [["cat", "dog", "cow"]] * 4)
    given = [[one.probability for one in row] for row in rows]
    assert given[:3] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert all(map(math.isnan, given[3]))


def test_it_does_not_guess_what_nobody_knows(tmp_path: Path) -> None:
    file, samples = world(tmp_path, 2)
    stranger = Sample("x", "unknown", samples[0].image, "")
    ((sky,), (thing,)) = OracleDetector(file).detect([samples[0], stranger], [["sky"], NAMES[:1]])
    assert math.isnan(sky.probability)
    assert math.isnan(thing.probability)


def test_synonyms_stand_for_the_name(tmp_path: Path) -> None:
    (tmp_path / "objects.json").write_text('{"1": ["bicycle"], "2": ["person"]}')
    (tmp_path / "words.txt").write_text(
        "# words\nbicycle, bike, Push Bike\nperson, man\ndog, puppy\n\n"
    )
    detector = OracleDetector(str(tmp_path / "objects.json"), synonyms=str(tmp_path / "words.txt"))
    sample = Sample("a", "1", np.zeros((4, 4, 3), np.uint8), "")
    asked = ["bike", "push bike", "bicycle", "man", "puppy", "tree", "# words"]
    (row,) = detector.detect([sample], [asked])
    assert [one.probability for one in row[:5]] == [1, 1, 1, 0, 0]
    assert all(math.isnan(one.probability) for one in row[5:])


def test_without_a_file_it_knows_the_samples_own_text() -> None:
    boxes = np.array([[10.0, 10.0, 40.0, 30.0]])
    sample = photo(text="red dog", foil="blue cat", boxes=boxes, label="dog")
    asked = ["Red  dog", "dog", "blue cat", "tree"]
    ((own, label, foil, tree),) = OracleDetector().detect([sample], [asked])
    assert (own.probability, label.probability, foil.probability) == (1, 1, 0)
    np.testing.assert_array_equal(own.boxes, boxes)
    assert own.scores.tolist() == [1]
    assert len(label.boxes) == 0
    assert math.isnan(tree.probability)
    ((missed,),) = OracleDetector(miss=1.0).detect([sample], [["red dog"]])
    assert (missed.probability, len(missed.boxes)) == (0, 0)


def test_wrong_options_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"^detector\.miss=1\.5: expected 0 to 1$"):
        OracleDetector(miss=1.5)
    with pytest.raises(VlgroundError, match=r"^detector\.false_alarm=-1: expected 0 to 1$"):
        OracleDetector(false_alarm=-1)
    with pytest.raises(VlgroundError, match=r"^detector\.file=.*: no such file$"):
        OracleDetector(str(tmp_path / "none.json"))
    with pytest.raises(VlgroundError, match=r"^detector\.synonyms=.*: no such file$"):
        OracleDetector(synonyms=str(tmp_path / "none.txt"))
    (tmp_path / "list.json").write_text('{"1": "cat"}')
    with pytest.raises(VlgroundError, match="not in the format of objects"):
        OracleDetector(str(tmp_path / "list.json"))


def test_of_a_file_it_knows_all_words_of_coco(tmp_path: Path) -> None:
    """Also of things that no image of the file holds: else who names them is not contradicted."""
    (tmp_path / "objects.json").write_text(json.dumps({"1": ["cat", "tv", "unicorn"]}))
    detector = OracleDetector(str(tmp_path / "objects.json"))
    asked = ["kitten", "television", "unicorn", "zebra", "man", "serenity"]
    (found,) = detector.detect([Sample("1", "1", Path("1.jpg"), "")], [asked])
    assert [one.probability for one in found[:5]] == [1, 1, 1, 0, 0]
    assert math.isnan(found[5].probability)
