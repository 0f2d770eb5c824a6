import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from vlground.data import photos as module
from vlground.data.images import load_image
from vlground.data.photos import Photos
from vlground.errors import VlgroundError
from vlground.models.imagenet import class_names

ANNOTATIONS = json.loads(files("vlground.data").joinpath("photos.json").read_text("utf-8"))


def test_every_annotation_becomes_a_sample() -> None:
    data = Photos(seed=0)
    assert dict(data.skipped) == {}
    assert len(data) == sum(len(photo["objects"]) for photo in ANNOTATIONS["photos"]) >= 12
    assert len({sample.id for sample in data}) == len(data)


def test_boxes_lie_in_the_photos_and_hold_something() -> None:
    for sample in Photos(seed=0):
        width, height = load_image(sample).size
        assert sample.boxes.shape[1] == 4
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= [width, height, width, height]).all()
        assert (sample.boxes[:, 2:] - sample.boxes[:, :2] >= 10).all()


def test_texts_are_imagenet_classes() -> None:
    assert {sample.text for sample in Photos(seed=0)} <= set(class_names())


def test_foils_are_true_of_other_photos_only_and_follow_the_seed() -> None:
    data = Photos(seed=0)
    for sample in data:
        assert sample.foil is not None
        here = {other.text for other in data if other.image_id == sample.image_id}
        assert sample.foil not in here
    drawn = [[sample.foil for sample in Photos(seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_changed_and_missing_photos_are_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(module._folder(), folder)
    with (folder / "coffee.png").open("ab") as file:
        file.write(b"\0")
    (folder / "camera.png").unlink()
    monkeypatch.setattr(module, "_folder", lambda: folder)
    data = Photos(seed=0)
    assert dict(data.skipped) == {"changed photo": 3, "missing photo": 3}
    assert {sample.image_id for sample in data}.isdisjoint({"coffee", "camera"})
    assert len(data) == sum(len(photo["objects"]) for photo in ANNOTATIONS["photos"]) - 6


def test_without_scikit_image_the_message_names_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(VlgroundError, match="pip install scikit-image"):
        Photos(seed=0)


def test_scikit_image_itself_is_not_imported() -> None:
    code = (
        "import sys; from vlground.data.photos import Photos; Photos(0);"
        "sys.exit('skimage' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_samples_carry_path_and_label() -> None:
    sample = next(s for s in Photos(seed=0) if s.id == "chelsea/tabby")
    assert isinstance(sample.image, Path)
    assert sample.label == sample.text == "tabby"
    np.testing.assert_array_equal(sample.boxes, [[0, 0, 398, 300]])
