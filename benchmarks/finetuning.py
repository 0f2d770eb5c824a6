"""task=finetuning beside what transformers' Trainer does in a step, on mini_captioner's shape.

    OMP_NUM_THREADS=1 python benchmarks/finetuning.py [--steps 8] [--repeats 4]

Both learn from the same 32 dialogues a step, collated anew, with AdamW and clipped gradients. The
Trainer itself needs accelerate, which is not installed here; its step is written out: the loss of
`network(**inputs, labels=labels)`, which computes the logits of all places. Ours is a whole run of
Lightning's trainer, its checkpoint and the saving of the model left out. Medians of the ratio of
neighbouring calls, as in cams.py.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import torch
from omegaconf import OmegaConf

from cams import ratio
from vlground.run import CONF, quieten
from vlground.tasks.finetuning import Finetuning
from vlground.training.miniature import random_captioner
from vlground.training.mixture import Mixture
from vlground.training.objective import answer_losses
from vlground.training.shapes_dialogues import ShapesDialogues
from vlground.training.weights import optimizers_of, rate_at

PROMPT = "Describe this image in detail."


class Bench:
    """The same network, data and steps, twice."""

    def __init__(self, steps):
        trained = OmegaConf.load(CONF / "task" / "finetuning" / "network.yaml")
        node = OmegaConf.merge(trained, OmegaConf.load(CONF / "task" / "finetuning.yaml").task)
        experiment = OmegaConf.load(CONF / "experiment" / "miniature_captioner.yaml").task
        self.options = OmegaConf.to_container(node) | {
            "steps": steps,
            "checkpoint_every": steps,
            "learning_rate": 2e-3,
            "freeze": [],
        }
        torch.manual_seed(0)
        architecture = OmegaConf.to_container(experiment.initial.architecture)
        self.network, self.processor = random_captioner(architecture)
        captions = ShapesDialogues(0, 12000, PROMPT, {"hallucination": 0.3})
        self.mixture = Mixture(captions, ShapesDialogues(0, 12000), 0.25, 32, 0)
        self.steps = steps

    def ours(self):
        """A run of the task."""
        import lightning

        with tempfile.TemporaryDirectory() as folder:
            made = Finetuning(
                self.network, self.processor, self.mixture, [], self.options, Path(folder)
            )
            made.configure_callbacks = list  # no checkpoint: the other writes none
            trainer = lightning.Trainer(
                accelerator="cpu",
                devices=1,
                max_epochs=1,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                use_distributed_sampler=False,
            )
            trainer.fit(made)

    def plain(self):
        """The Trainer's calls."""
        collate = Finetuning(
            self.network, self.processor, self.mixture, [], self.options, Path()
        ).collator
        (optimizer,) = optimizers_of(self.network, "adamw", 0.0)
        self.network.train()
        for number in range(self.steps):
            batch = collate(self.mixture.step(number))
            loss = self.network(**batch.inputs, labels=batch.labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate_at(number, self.steps, self.options)
            optimizer.step()
            optimizer.zero_grad()


def main(steps, repeats):
    quieten()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    bench = Bench(steps)
    batch = Finetuning(
        bench.network, bench.processor, bench.mixture, [], bench.options, Path()
    ).collator(bench.mixture.step(0))
    with torch.no_grad():  # they make the same thing small
        losses, tokens = answer_losses(bench.network, batch)
        theirs = bench.network(**batch.inputs, labels=batch.labels).loss
        torch.testing.assert_close(losses.sum() / tokens.sum(), theirs, rtol=1e-4, atol=1e-5)
    times, plain, ours = ratio(bench.plain, bench.ours, repeats)
    each = f"plain {plain / steps:.3f}, ours {ours / steps:.3f}"
    print(f"throughput {times:.2f} × plain; seconds a step: {each}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=4)
    arguments = parser.parse_args()
    main(arguments.steps, arguments.repeats)
