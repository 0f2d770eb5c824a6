"""Shuffled text: which CAM draws it, of which text."""

import pytest
import torch
from tests.cams.scenes import Scene, blip, clip, phrases, resnet
from tests.scorers import PatchScorer, TinyBlip
from tests.test_config import composed

from vlground.cams.attention import AttentionGradCAM
from vlground.cams.baselines import ShuffledText, Uniform
from vlground.cams.eigen import EigenCAM
from vlground.cams.gradient import GradCAM
from vlground.cams.relevance import Rollout
from vlground.config import build, versions
from vlground.contracts import CAM, check_pair
from vlground.errors import ImpossiblePairError, VlgroundError
from vlground.testing import check_cam


@pytest.mark.parametrize(
    ("scene", "cam"), [(blip(), AttentionGradCAM()), (clip(), GradCAM()), (resnet(), GradCAM())]
)
def test_the_option_takes_the_first_cam_that_can_read_the_model(scene: Scene, cam: CAM) -> None:
    node = composed("cam=shuffled_text")["cam"]
    shuffled = build(node)
    check_pair(scene.scorer, shuffled)
    assert torch.equal(scene.maps(shuffled), scene.maps(cam))
    assert [inner["_target_"] for inner in node["cams"]] == [
        "vlground.cams.attention.AttentionGradCAM",
        "vlground.cams.gradient.GradCAM",
    ]
    assert len(versions(node)) == 3, "a CAM whose numbers change draws it anew"


def test_it_asks_for_the_foil() -> None:
    shuffled, sample = ShuffledText([AttentionGradCAM()]), phrases()[0]
    assert shuffled.asks(sample) == sample.foil != sample.text
    check_cam(shuffled, TinyBlip(), phrases())


def test_impossible_if_none_fits() -> None:
    shuffled, scene = ShuffledText([AttentionGradCAM(), Rollout()]), clip()
    with pytest.raises(ImpossiblePairError, match="cross_attention or self_attention"):
        check_pair(scene.scorer, shuffled)
    with pytest.raises(ImpossiblePairError):
        scene.maps(shuffled)
    for one in (blip().scorer, PatchScorer()):
        check_pair(one, ShuffledText([AttentionGradCAM(), EigenCAM()]))
    with pytest.raises(VlgroundError, match=r"cam.cams: expected at least one CAM"):
        ShuffledText([])


def test_a_cam_that_needs_nothing_always_fits() -> None:
    scene = clip()
    shuffled = ShuffledText([Rollout(), Uniform()])
    check_pair(scene.scorer, shuffled)
    assert (scene.maps(shuffled) == 1).all()
