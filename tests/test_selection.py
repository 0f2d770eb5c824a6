"""Which samples a run is about, in which batches they are loaded, and what is counted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.scorers import SIZE
from tests.worlds import planted
from vlground.config import build_dataset, select, versions
from vlground.data.batches import image_loader
from vlground.data.sample import Sample, draw_foil, manifest
from vlground.errors import VlgroundError
from vlground.plots import overlay, shown
from vlground.preprocess import Preprocess

SAMPLES = planted(12, (1, 5))


@given(st.integers(1, 9))
def test_shards_are_a_partition_and_keep_images_together(count: int) -> None:
    shards = [select(SAMPLES, shard=f"{i}/{count}") for i in range(count)]
    assert sorted(s.id for shard in shards for s in shard) == sorted(s.id for s in SAMPLES)
    images = [{s.image_id for s in shard} for shard in shards]
    assert sum(map(len, images)) == len(set.union(*images)) == 12


@pytest.mark.parametrize("shard", ["1", "a/b", "2/2", "-1/2", "1/0"])
def test_a_malformed_shard_is_named(shard: str) -> None:
    with pytest.raises(VlgroundError, match=f"shard={shard}"):
        select(SAMPLES, shard=shard)


@given(st.integers(1, 8), st.integers(0, 2))
def test_batches_hold_every_sample_once_with_its_image(batch_size: int, workers: int) -> None:
    loader = image_loader(SAMPLES, Preprocess(size=SIZE), batch_size, num_workers=0)
    seen = []
    for batch in loader:
        assert 0 < len(batch.samples) <= batch_size
        assert len(batch.pixels) == len(batch.frames) == len({s.image_id for s in batch.samples})
        for sample, owner in zip(batch.samples, batch.owner.tolist(), strict=True):
            expected, frame = Preprocess(size=SIZE)(_picture(sample))
            assert torch.equal(batch.pixels[owner], expected)
            assert batch.frames[owner] == frame
        seen += [s.id for s in batch.samples]
    assert seen == [s.id for s in SAMPLES]


def _picture(sample: Sample):  # type: ignore[no-untyped-def]
    from PIL import Image

    return Image.fromarray(sample.image)


def test_the_manifest_sees_every_change() -> None:
    from dataclasses import replace

    first = SAMPLES[0]
    assert isinstance(first.image, np.ndarray)
    changed = [
        replace(first, id="x"),
        replace(first, text="3 3"),
        replace(first, foil="3 1"),
        replace(first, boxes=first.boxes + 1),
        replace(first, label="x"),
        replace(first, mask=np.ones((2, 2), bool)),
        replace(first, image=255 - first.image),
    ]
    digests = {manifest([sample]) for sample in [first, *changed]}
    assert len(digests) == 8
    keys = [sample.key == first.key for sample in changed]
    assert keys == [False, False, False, True, True, True, False], "a map depends on no box"


def test_foils_depend_on_seed_and_id_alone() -> None:
    others = [f"class {i}" for i in range(50)]
    drawn = [draw_foil(0, str(i), "class 3", others) for i in range(200)]
    assert drawn == [draw_foil(0, str(i), "class 3", others[::-1]) for i in range(200)]
    assert "class 3" not in drawn
    assert len(set(drawn)) > 40
    assert drawn != [draw_foil(1, str(i), "class 3", others) for i in range(200)]
    assert draw_foil(0, "a", "cat", ["cat"]) is None


def test_versions_of_nested_components() -> None:
    node = {
        "_target_": "vlground.cams.baselines.ShuffledText",
        "cams": [{"_target_": "vlground.cams.gradient.GradCAM"}],
        "inner": {"_target_": "vlground.cams.baselines.Random"},
    }
    assert versions([node]) == {
        "vlground.cams.baselines.ShuffledText": 1,
        "vlground.cams.gradient.GradCAM": 1,
        "vlground.cams.baselines.Random": 1,
    }


def test_a_data_set_is_indexed_once_a_process() -> None:
    node = {"_target_": "vlground.data.photos.Photos", "seed": 0}
    assert build_dataset(node) is build_dataset(dict(node))
    assert build_dataset({**node, "seed": 1}) is not build_dataset(node)


def test_overlays(tmp_path: Path) -> None:
    sample = planted(1)[0]
    image = _picture(sample).resize((640, 480))
    activation = np.zeros((480, 640))
    activation[100:200, 300:500] = 1
    picture = overlay(image, activation, np.array([[10.0, 10, 200, 200]]))
    assert picture.size == (320, 240)
    pixels = np.asarray(picture, dtype=int)
    assert tuple(pixels[50, 5]) == (80, 255, 120), "the box"
    cold = np.asarray(overlay(image, np.zeros((480, 640)), np.zeros((0, 4))), dtype=int)
    assert pixels[75, 200].sum() > cold[75, 200].sum() + 60, "what is activated is lit"
    assert tuple(pixels[230, 20]) == tuple(cold[230, 20])
    flat = overlay(image, np.full((480, 640), np.nan), np.zeros((0, 4)))
    assert flat.size == (320, 240)
    assert [s.id for s in shown(SAMPLES, 5)] == [s.id for s in shown(SAMPLES[::-1], 5)][::-1]


def test_a_data_set_with_an_id_twice_is_refused() -> None:
    node = {"_target_": "tests.worlds.Twice"}
    with pytest.raises(VlgroundError, match="Twice: 2 samples have the id a; rows and maps"):
        build_dataset(node)
