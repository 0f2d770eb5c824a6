"""Dense pretraining of a vision tower: what a patch shows, and that it is learnt."""

import numpy as np
import torch
from tests.training.parts import tiny_captioner

from vlground.data.shapes.render import mask_of
from vlground.data.shapes.scene import COLOURS, SHAPES, SIZES, Scene, Thing
from vlground.training.patches import PatchHeads, PatchPretraining, cells, pixels_of


def test_a_patch_shows_the_object_at_its_middle_and_the_inner_one_of_two() -> None:
    ring = Thing("ring", "red", "large", 0, 0, 40)
    star = Thing("star", "blue", "small", 13, 13, 14, inside=0)
    heart = Thing("heart", "white", "small", 80, 60, 16)
    found = cells(Scene("s", (star, ring, heart)), 8).reshape(8, 8, 3)
    wanted = np.zeros((8, 8, 3), int)
    wanted[:3, :3] = [1 + SHAPES.index("ring"), 1 + COLOURS.index("red"), 2]
    wanted[1, 1] = [1 + SHAPES.index("star"), 1 + COLOURS.index("blue"), 1]
    wanted[5, 7] = [1 + SHAPES.index("heart"), 1 + COLOURS.index("white"), 1]
    assert (found == wanted).all()
    assert SIZES[0] == "small"


def test_most_pixels_of_an_object_lie_in_its_cells() -> None:
    (scene,) = PatchPretraining(0, 1, 8, batch=1).scenes(3)
    found = cells(scene, 96)[:, 0].reshape(96, 96)
    for thing in scene.things:
        assert (found[mask_of(thing, 96)] > 0).all()


def test_right_tokens_have_no_loss() -> None:
    scenes = PatchPretraining(0, 1, 8, batch=2).scenes(0)
    heads = PatchHeads(21)
    truth = torch.from_numpy(np.stack([cells(scene, 8) for scene in scenes]))
    tokens = torch.cat(
        [torch.nn.functional.one_hot(truth[..., n], k) for n, k in enumerate((9, 9, 3))], dim=-1
    ).float()
    starts = {"shape": 0, "colour": 9, "size": 18}
    for name, head in heads.heads.items():
        torch.nn.init.zeros_(head.bias)
        torch.nn.init.zeros_(head.weight)
        for place in range(head.out_features):
            head.weight.data[place, starts[name] + place] = 50.0
    loss, right = heads.loss(tokens, scenes)
    assert loss.item() < 1e-6
    assert right == {"shape": 1.0, "colour": 1.0, "size": 1.0}


def test_steps_draw_their_own_scenes_and_seeing_is_learnt() -> None:
    network, processor = tiny_captioner()
    pretraining = PatchPretraining(0, 40, 16, batch=4, learning_rate=1e-2)
    assert pretraining.scenes(5) == PatchPretraining(0, 9, 16, batch=4).scenes(5)
    assert pretraining.scenes(5) != pretraining.scenes(6)
    assert pretraining.rate_at(0) == 0.0
    assert pretraining.rate_at(20) < pretraining.learning_rate
    optimizers = pretraining.optimizers(network)
    trained = {id(w) for o in optimizers for g in o.param_groups for w in g["params"]}
    assert trained.isdisjoint(id(w) for w in network.model.language_model.parameters())
    scenes = pretraining.scenes(0)
    pixels = pixels_of(scenes, processor)
    losses = []
    for _ in range(30):
        loss = pretraining.loss(network, pixels, scenes)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 1e-2
            optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
