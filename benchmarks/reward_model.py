"""Sentences of five captions of one image at once, beside a reading of everything a sentence.

    OMP_NUM_THREADS=1 python benchmarks/reward_model.py [--repeats 2]

Sentence by sentence: image, prompt, the sentences before it and the sentence itself are read anew,
with transformers' unmodified network, and the head at the last token. Between the two stands a
reading a caption: all of its sentences in one forward, image and prompt each time. The image is
prepared once on all sides. Two shapes, weights random: mini_captioner's, and a small LLaVA that two
cores run (that of sampling.py, 576 image tokens as LLaVA-1.5). Calls alternate; each ratio is the
median over neighbours, of the clock and of this process's own time, which others on the machine
hardly change.
"""

import argparse
import statistics
import tempfile
import time

import numpy as np
import sampling
import torch
from PIL import Image

from vlground.models.dialogue import load_dialogue_model
from vlground.rewards.network import SentenceReward
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.reading import Reading
from vlground.training.miniature import random_captioner

CAPTIONS, SENTENCES, WORDS = 5, 5, 12
MINIATURE = {
    "vision_feature_layer": -1,
    "vision_config": {
        "model_type": "clip_vision_model",
        "image_size": 96,
        "patch_size": 12,
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
    },
    "text_config": {
        "model_type": "llama",
        "max_position_embeddings": 512,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 5,
        "num_attention_heads": 3,
    },
}


class Bench:
    """One image, five captions of five sentences."""

    def __init__(self, miniature):
        with tempfile.TemporaryDirectory() as folder:
            if miniature:
                network, processor = random_captioner(MINIATURE)
                network.save_pretrained(folder)
                processor.save_pretrained(folder)
            else:
                sampling.write(folder)
            loaded = load_dialogue_model("pretrained", folder, None, torch.float32)
        self.models = {
            prefix: self._model(*loaded, prefix=prefix) for prefix in ("shared", "repeated")
        }
        pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        self.image = self.models["shared"].read(Image.fromarray(pixels))
        words = ["Describe", "this", "image", "in", "detail", "and", "name", "all", "that", "you"]
        rng = np.random.default_rng(1)
        self.captions = [
            [" ".join(rng.choice(words, WORDS)) for _ in range(SENTENCES)] for _ in range(CAPTIONS)
        ]

    @staticmethod
    def _model(network, processor, prefix):
        made = SentenceReward(network, processor, ERROR_TYPES, Reading("Describe", prefix=prefix))
        made.head.weight.data = torch.randn(made.head.weight.shape, generator=torch.manual_seed(0))
        return made.requires_grad_(False)

    def shared(self):
        """Ours: the image once, every caption once."""
        return self.models["shared"].probabilities([self.image], [self.captions])[0]

    def captions_apart(self):
        """The image a caption, every caption once."""
        ask = self.models["repeated"].probabilities
        return [ask([self.image], [[caption]])[0][0] for caption in self.captions]

    @torch.inference_mode()
    def sentences_apart(self):
        """Everything a sentence."""
        model = self.models["shared"]
        tokenizer, ids = model.processor.tokenizer, self.image["input_ids"]
        made = []
        for caption in self.captions:
            rows, text = [], ids
            for sentence in caption:
                piece = tokenizer(f" {sentence}", add_special_tokens=False, return_tensors="pt")
                text = torch.cat([text, piece["input_ids"]], dim=1)
                found = model.network.base_model(
                    input_ids=text, pixel_values=self.image["pixel_values"], use_cache=False
                )
                rows.append(model.head(found.last_hidden_state[:, -1]).sigmoid())
            made.append(torch.cat(rows))
        return made


def seconds(function):
    """What a call takes: by the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - clock, time.process_time() - processor


def compare(one, other, repeats):
    """Of the clock and of the processor: median time of each, and of time(one) / time(other)."""
    one(), other()  # to warm up
    pairs = [(seconds(one), seconds(other)) for _ in range(repeats)]
    found = []
    for kind in (0, 1):
        times = [(mine[kind], theirs[kind]) for mine, theirs in pairs]
        mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
        found.append((mine, theirs, statistics.median(a / b for a, b in times)))
    return found


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2)
    repeats = parser.parse_args().repeats
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    print(f"one image, {CAPTIONS} captions of {SENTENCES} sentences of {WORDS} tokens")
    print("shape           beside a reading a …      seconds    ours   ratio    of the processor:")
    for name in ("mini_captioner", "small LLaVA"):
        bench = Bench(name == "mini_captioner")
        pairs = zip(bench.shared(), bench.sentences_apart(), strict=True)
        off = max(float((one - other).abs().max()) for one, other in pairs)
        assert off < 1e-3, off
        again = 10 * repeats if name == "mini_captioner" else repeats
        for unit in ("caption", "sentence"):
            apart = getattr(bench, f"{unit}s_apart")
            clock, processor = compare(apart, bench.shared, again)
            told = "  ".join(
                f"{a:7.3f} {b:7.3f} {times:6.2f}" for a, b, times in (clock, processor)
            )
            print(f"{name:15} {unit:24} {told}", flush=True)
        print(f"{name:15} largest difference of a probability: {off:.1e}")


if __name__ == "__main__":
    main()
