"""A judge in this process: any image-text-to-text model of transformers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from vlground.contracts import Judge, JudgeRequest, Verdict
from vlground.errors import VlgroundError
from vlground.identity import checksums
from vlground.judging.answer import as_digit, expected_score, read_json
from vlground.judging.cache import AnswerCache
from vlground.judging.messages import Score, check_option
from vlground.judging.prompt import Form, load_prompt
from vlground.judging.usage import Usage
from vlground.models.dialogue import Dtype, load_dialogue_model

_BLANKS = 2  # tokens of white space that may precede a digit (Llama 2 has one of its own)


class LocalJudge(Judge):
    """Asks a model of transformers, through its processor's chat template, without sampling.

    What it says that cannot be read is an error with its reason, see `vlground.judging.answer`.
    Scores are kept and never asked for again, as of `ChatJudge`; the model counts by the checksum
    of its weights.

    Args:
        pretrained: Name on the hub, or a folder with a model and its processor.
        revision: Commit on the hub; without one the weights may change behind your back.
        prompt: See `load_prompt`.
        score: `written`: it writes a JSON object with description, justification and score.
            `digits`: the expected score from the probabilities of the answer's first token that is
            no white space (see `read_digits`), over the whole vocabulary, without words.
        lowest_mass: With `digits`: probability of all digits below which it is an error.
        max_tokens: Longest answer.
        dtype: Of weights: float32, bfloat16 or float16.
        device: Where it runs; None: a GPU if there is one.
        batch_size: Requests at once.
        cache_dir: The folder `runs`; None: nothing is kept.

    Attributes:
        usage: What came of requests so far.

    Raises:
        VlgroundError: If an option does not fit, or there is no such model, or its processor has no
            chat template.
    """

    version = 2  # 2: a model's own repetition penalty no longer counts

    def __init__(
        self,
        pretrained: str,
        revision: str | None = None,
        prompt: str = "full",
        score: Score = "written",
        lowest_mass: float = 0.5,
        max_tokens: int = 1024,
        dtype: Dtype = "float32",
        device: str | None = None,
        batch_size: int = 1,
        cache_dir: str | None = None,
    ) -> None:
        check_option("score", score, get_args(Score))
        check_option("dtype", dtype, get_args(Dtype))
        for name, value in (("batch_size", batch_size), ("max_tokens", max_tokens)):
            if value < 1:
                raise VlgroundError(f"judge.{name}={value}: expected a positive number")
        self.prompt = load_prompt(prompt)
        self.form: Form = "digit" if score == "digits" else "json"
        self.prompt.check(self.form)
        self.shows, self.highest = self.prompt.shows, self.prompt.highest
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network, self.processor = load_dialogue_model(
            "judge.pretrained", pretrained, revision, getattr(torch, dtype)
        )
        self.network.to(self.device)
        self.usage = Usage()
        self._lowest_mass, self._max_tokens, self._batch_size = lowest_mass, max_tokens, batch_size
        # A folder's path would tell where it lies on this machine.
        self._name = Path(pretrained).name if Path(pretrained).exists() else pretrained
        self._digits = _digit_tokens(self.processor.tokenizer, self.highest)
        if self.form == "digit" and not all(len(ids) for ids in self._digits):
            told = f"its vocabulary lacks the digits 0-{self.highest} of judge.score=digits"
            raise VlgroundError(f"judge.pretrained={pretrained}: {told}")
        asked = {
            "judge": "local",
            "version": self.version,
            "model": checksums({"pretrained": pretrained, "revision": revision}),
            "prompt": [self.prompt.name, self.prompt.version],
            "parameters": [score, dtype, lowest_mass if score == "digits" else max_tokens],
        }
        self.cache = AnswerCache(cache_dir, asked)

    def judge(self, requests: Iterable[JudgeRequest]) -> Iterator[tuple[JudgeRequest, Verdict]]:
        """Answer requests in order, a batch at once (see the base class)."""
        self.cache.refresh()
        stream = iter(requests)
        try:
            while batch := list(islice(stream, self._batch_size)):
                for request, verdict in zip(batch, self._verdicts(batch), strict=True):
                    self.usage.add(verdict)
                    yield request, verdict
        finally:
            self.cache.close()

    def _verdicts(self, batch: Sequence[JudgeRequest]) -> list[Verdict]:
        """Of the cache, and of the model where it has none."""
        words = [self.prompt.write(request, self.form) for request in batch]
        keys = [self.cache.key(*asked) for asked in zip(batch, words, strict=True)]
        found = {key: known for key in keys if (known := self.cache.get(key))}
        new = {key: place for place, key in enumerate(keys) if key not in found}
        if new:
            places = list(new.values())
            answers = self._answer([batch[n] for n in places], [words[n] for n in places])
            for key, verdict in zip(new, answers, strict=True):
                self.cache.put(key, verdict)
                found[key] = verdict
        return [found[key] for key in keys]

    @torch.inference_mode()
    def _answer(self, requests: Sequence[JudgeRequest], words: Sequence[str]) -> list[Verdict]:
        dialogues = [
            [{"role": "user", "content": [*_pictures(request), {"type": "text", "text": text}]}]
            for request, text in zip(requests, words, strict=True)
        ]
        inputs = self.processor(
            text=self.processor.apply_chat_template(dialogues, add_generation_prompt=True),
            images=[list(request.images) for request in requests] if self.prompt.images else None,
            padding=True,
            return_tensors="pt",
        ).to(self.device, self.network.dtype)
        longest = 1 + _BLANKS if self.form == "digit" else self._max_tokens
        made = self.network.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=longest,
            output_logits=self.form == "digit",
            return_dict_in_generate=True,
        )
        read = inputs["input_ids"].shape[1]
        written = made.sequences[:, read:]
        if self.form == "digit":
            logits = torch.stack(made.logits, dim=1).float()
            verdicts = [self._expected(*one) for one in zip(written, logits, strict=True)]
        else:
            verdicts = [self._read(ids) for ids in written]
        counts = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            replace(verdict, model=self._name, tokens_in=count, tokens_out=len(self._own(ids)))
            for verdict, count, ids in zip(verdicts, counts, written, strict=True)
        ]

    def _read(self, ids: Tensor) -> Verdict:
        own = self._own(ids)
        ended = len(own) < len(ids) or int(ids[-1]) in self._ends
        text = self.processor.tokenizer.decode(own, skip_special_tokens=True)
        return read_json(text, not ended, self.highest)

    def _expected(self, ids: Tensor, logits: Tensor) -> Verdict:
        """The expected score, from the first token that is no white space."""
        decode, place = self.processor.tokenizer.decode, 0
        while place < len(ids) - 1 and not decode(ids[place : place + 1]).strip():
            place += 1
        probabilities = logits[place].softmax(dim=-1).cpu().numpy()
        mass = np.array([probabilities[ids].sum() for ids in self._digits])
        return expected_score(mass, self._lowest_mass)

    @property
    def _ends(self) -> list[int]:
        ends = self.network.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [ends]

    def _own(self, ids: Tensor) -> Tensor:
        """What was written before the end; after it there is only padding."""
        ends = [place for place, token in enumerate(ids.tolist()) if token in self._ends]
        return ids[: ends[0]] if ends else ids


def _digit_tokens(tokenizer: Any, highest: int) -> list[np.ndarray]:  # noqa: ANN401 - of any class
    """Ids of the tokens of each digit 0-highest, with a space before it or without."""
    ids: list[list[int]] = [[] for _ in range(highest + 1)]
    for token, number in tokenizer.get_vocab().items():
        digit = as_digit(token, highest)
        if digit is not None:
            ids[digit].append(number)
    return [np.array(sorted(numbers), dtype=int) for numbers in ids]


def _pictures(request: JudgeRequest) -> list[dict[str, str]]:
    return [{"type": "image"} for _ in request.images]
