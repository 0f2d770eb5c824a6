"""A small world for the tasks that reward captions: pictures, candidates, boxes, annotations."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

HOSTILE = "</script><script>alert(1)</script> <img src=x onerror=alert(2)> \u202eabc 😀 a dog."
IMAGES = 24
# Image -> three candidates, of those that are not "A dog runs. It is big." and its like.
CANDIDATES = {
    "0": ("A dog runs. It is big.", "A cat sleeps. A bird sings. A dog runs.", "A cat sleeps."),
    "1": ("There is a cat.",) * 3,
    "2": (HOSTILE, "A cat sleeps.", "A cat and a bird."),
    "3": ("A dog runs. It is big.", "A dog. A dog runs. It is big.", "A cat sleeps."),
    "4": ("A zebra runs.",) * 3,
    "5": ("", "A dog runs. It is big.", "A cat sleeps."),
    "6": ("A dog runs. A cat sleeps.", "A cat and a bird.", "A cat and a bird."),
}
_USUAL = ("A dog runs. It is big.", "A cat sleeps. A dog runs.", "A cat and a bird.")
_NOUNS = ("dog", "cat", "bird", "zebra")  # nobody looked for zebras
_REASONS = {"cat": "InAcc-Hallucination", "big": "InAcc-Attribute"}


def make_world(folder: Path) -> list[str]:
    """Write the files; the arguments of `vlground` that read them.

    In each image is a dog, in the left half of the picture. Every sentence with a cat is called a
    hallucination by three of three people, every big dog a wrong attribute by one of three. The
    picture of image 1 is no picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [str(number) for number in range(IMAGES)]
    texts = {name: CANDIDATES.get(name, _USUAL) for name in names}
    pictures = folder / "images"
    pictures.mkdir()
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / f"{name}.jpg")
    (pictures / "1.jpg").write_bytes(b"no picture")
    files = []
    for place in range(3):
        captions = [{"image_id": name, "caption": texts[name][place]} for name in names]
        files.append(_write(folder / f"candidates_{place}.json", captions))
    boxes = [
        {"image": name, "phrase": noun, "boxes": [[0, 0, 32, 48]] if noun == "dog" else []}
        | {"scores": [0.75] if noun == "dog" else [], "probability": 0.75 if noun == "dog" else 0.1}
        for name in names
        for noun in _NOUNS[:3]
    ]
    said = [
        _said(name, text, person) for name in names for text in texts[name] for person in (0, 1, 2)
    ]
    objects = {name: ["dog"] for name in names if name != "8"}
    objects["8"] = []
    (folder / "nouns.txt").write_text("\n".join(_NOUNS))
    return [
        "task=rejection_sampling",
        "dataset=captions",
        f"dataset.captions={files[0]}",
        f"dataset.objects={_write(folder / 'objects.json', objects)}",
        f"dataset.root={pictures}",
        "model=captioner_file",
        f"model.file=[{','.join(files)}]",
        "task.n=3",
        "task.nouns.tagger=vocabulary",
        f"task.nouns.vocabulary={folder / 'nouns.txt'}",
        "detector=file",
        f"detector.file={_write(folder / 'boxes.json', boxes)}",
        "reward=vigor",
        f"reward.file={_write(folder / 'annotations.json', [one for one in said if one])}",
    ]


def _said(name: str, text: str, person: int) -> dict | None:
    from vlground.rewards.sentences import split

    scores = {}
    for number, sentence in enumerate(split(text)):
        words = [word for word in _REASONS if word in sentence.text]
        wrong = [word for word in words if word == "cat" or person == 0]
        scores[str(number)] = {"Accurate": "No" if wrong else "Yes"}
        if wrong:
            scores[str(number)]["InAcc-Reason"] = _REASONS[wrong[0]]
    if not scores:
        return None
    return {"image_id": name, "text": text, "annotations": {"per_sentence_scores": scores}}


def _write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)
