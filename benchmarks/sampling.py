"""Five candidates of an image at once, beside five calls that read image and prompt each time.

    OMP_NUM_THREADS=1 python benchmarks/sampling.py [--repeats 2] [--tokens 64]

Five calls are our own with one candidate each, and transformers' unmodified `generate` with
`do_sample=True`. Weights are random and no text ends early, so all write the same number of tokens.
The shape is a small one that two cores run: 576 image tokens as LLaVA-1.5, CLIP ViT-S/14 of 4
layers at 336 pixels, and 8 layers of Llama of width 512. Medians of the ratio of neighbouring
calls, as in cams.py.
"""

import argparse
import tempfile

import numpy as np
import torch
from generative import ARCHITECTURE
from tokenizers import Tokenizer, models, pre_tokenizers

from cams import ratio
from vlground.captioners.caption import candidate_key
from vlground.captioners.gumbel import gumbel_noise
from vlground.captioners.local import LocalCaptioner
from vlground.data.images import load_image
from vlground.data.sample import Sample

PROMPT = "Describe this image in detail and name all that you see"
TEMPLATE = "USER: <image> {{ messages[0]['content'][1]['text'] }} ASSISTANT:"
COUNT = 5


def write(folder):
    """Save a network and a processor of its size."""
    from transformers import (
        CLIPImageProcessor,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    network = LlavaForConditionalGeneration(LlavaConfig(**ARCHITECTURE))
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.data = torch.randn(weight.shape) * weight.shape[1] ** -0.5
    network.generation_config.eos_token_id = network.generation_config.pad_token_id = 2
    network.lm_head.weight.data[2] = 0  # texts hardly ever end
    network.save_pretrained(folder)
    words = ["<unk>", "<image>", "</s>", *f"USER : {PROMPT} ASSISTANT".split()]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    crop = {"height": 336, "width": 336}
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 336}, crop_size=crop),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)


class Bench:
    """One image, five candidates."""

    def __init__(self, tokens):
        with tempfile.TemporaryDirectory() as folder:
            write(folder)
            self.captioner = LocalCaptioner(folder, max_tokens=tokens)
        image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        self.samples, self.tokens = [Sample("a", "a", image, "")], tokens
        content = [{"type": "image"}, {"type": "text", "text": PROMPT}]
        self.dialogue = [{"role": "user", "content": content}]

    def ours(self):
        """All candidates in one call."""
        return self.captioner.caption(self.samples, [PROMPT], COUNT, 0)[0]

    def calls(self):
        """A call a candidate."""
        write, asked = self.captioner.caption, (self.samples, [PROMPT])
        return [write(*asked, index + 1, 0, first=index)[0][0] for index in range(COUNT)]

    def generate(self):
        """A call of transformers a candidate."""
        processor, network = self.captioner.processor, self.captioner.network
        made = []
        for _ in range(COUNT):
            words = processor.apply_chat_template(self.dialogue, add_generation_prompt=True)
            image = load_image(self.samples[0])
            inputs = processor(text=[words], images=[[image]], return_tensors="pt")
            made.append(
                network.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=self.tokens)
            )
        return made


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    bench = Bench(arguments.tokens)
    one, five = bench.ours(), bench.calls()
    same = sum(a.text == b.text for a, b in zip(one, five, strict=True))
    assert all(caption.cut_off for caption in one), "a text ended, so the calls are not alike"
    gain, loop, mine = ratio(bench.calls, bench.ours, arguments.repeats)
    theirs, generate, _ = ratio(bench.generate, bench.ours, arguments.repeats)
    keys = [candidate_key(0, "a", index) for index in range(COUNT)]
    vocabulary = ARCHITECTURE["text_config"]["vocab_size"]
    _, draw, step = ratio(
        bench.ours,
        lambda: [gumbel_noise(keys, p, vocabulary) for p in range(arguments.tokens)],
        1,
    )
    print(f"one image of 576 tokens, {COUNT} candidates of {arguments.tokens} tokens")
    print("ours s  five calls s  ratio  five generate s  ratio  same texts  noise's part")
    print(f"{mine:6.2f} {loop:13.2f} {gain:6.2f} {generate:16.2f} {theirs:6.2f}", end="")
    print(f" {same:9d}/{COUNT} {step / draw:13.3f}", flush=True)


if __name__ == "__main__":
    main()
