"""`task=dpo`: a captioner learns to prefer winners of rejection sampling to worst candidates."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import lightning

from vlground.cell import Cell
from vlground.errors import VlgroundError
from vlground.tasks.preference_training import PreferenceTraining
from vlground.training.dialogues import Dialogue
from vlground.training.preferences import Pair, read_pairs


class DPO(PreferenceTraining):
    """Direct preference optimisation by TRL's DPOTrainer.

    Attributes:
        pairs: What it learns from.
        left_out: Reason -> number of records that became no pair.
    """

    pairs: Sequence[Pair]
    left_out: Mapping[str, int]

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If an option does not fit, or there is no pair.
        """
        node, data = cell.node, cell.node["task"]["data"]
        cls.check(node)
        pairs, left_out = read_pairs("task.data.file", data["file"], data["root"], cell.runs)
        network, processor = cls.loaded(node)
        seed, directory = int(node["seed"]), cell.directory
        made = cls(network, processor, cell.samples, node["task"], seed, directory)
        made.pairs, made.left_out = pairs, left_out
        return made

    def optimise(self, trainer: lightning.Trainer) -> tuple[Any, list[dict[str, float]]]:
        """See the base class."""
        from vlground.training.with_trl import dpo

        about = (self.options, self.seed, self.directory, trainer)
        return dpo(self.network, self.processor, self.records(), *about)

    def records(self) -> list[dict[str, Any]]:
        """The pairs as plain texts, which the captioner would read and write token by token.

        From a dialogue TRL would leave out a start token that the tokenizer adds by itself, and an
        end token that the chat template does not write.

        Raises:
            VlgroundError: If they would be other tokens all the same.
        """
        tokenizer, found = self.processor.tokenizer, []
        for pair in self.pairs:
            texts = [
                self.collator.texts(Dialogue("", pair.image, pair.question, answer))
                for answer in (pair.chosen, pair.rejected)
            ]
            prompt = texts[0][0]
            start = tokenizer.bos_token or ""
            read = tokenizer(prompt).input_ids
            if start and not prompt.startswith(start) and read[0] == tokenizer.bos_token_id:
                prompt = start + prompt
            if tokenizer(prompt, add_special_tokens=False).input_ids != read:
                told = "TRL would read its prompt as other tokens than the captioner"
                raise VlgroundError(f"model.pretrained: {told}")
            record = {"prompt": prompt, "chosen": texts[0][1], "rejected": texts[1][1]}
            found.append(record | {"images": [{"path": str(pair.image), "bytes": None}]})
        return found

    def learnt_from(self) -> dict[str, Any]:
        """See the base class."""
        return {"pairs": len(self.pairs), "left_out": dict(self.left_out)}
