"""`task=rejection_finetuning`: ViGoR as a whole, of one arm and one model (ViGoR 3 and 4).

    rejection_sampling ──export──▶ finetuning ──model──▶ benchmarks ──▶ scores and rows
            ▲                          │
            └──────── task.rounds ─────┘     online: candidates of the model as it is now

Every step is a run of its own, so arms share candidates and scores, and a command that is started
again goes on where it was. This run gathers what the benchmarks say.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import lightning
import pandas
from PIL import Image

from vlground.cell import Cell
from vlground.errors import VlgroundError
from vlground.tasks.chained import Step, carry_out, compose_cell, inherited, said
from vlground.tasks.tuning_arms import ARMS

TASK = "rejection_finetuning"
_SELECTIONS = ("limit", "shard", "sample")


class RejectionFinetuning:
    """Fine-tunes a captioner on its own best captions, and measures it.

    `overwrite=true` gathers again; a step is done anew once its folder is gone.

    Args:
        cell: Of the run. `task` says what each step is told beside the parts that it shares with
            the run: lists of overrides, as of the command.

    Attributes:
        table: After `carry_out`: the rows of all benchmarks, `benchmark` says whose.
        steps: After `carry_out`: name -> run.
    """

    version = 1

    def __init__(self, cell: Cell) -> None:
        self.cell, self.options = cell, cell.node["task"]
        self.arm = str(self.options["arm"])
        self.table = pandas.DataFrame()
        self.steps: dict[str, Step] = {}

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell; every step is composed once, before any is done.

        Raises:
            VlgroundError: If an option is impossible.
        """
        cls.check(cell.node)
        task = cls(cell)
        for name in task._planned():
            try:
                compose_cell(task._command(name, None))
            except VlgroundError as error:
                raise VlgroundError(f"{task._option(name)}: {error}") from error
        return task

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Refuse options that cannot be.

        Raises:
            VlgroundError: If one cannot.
        """
        task = node["task"]
        if task["arm"] not in ARMS:
            raise VlgroundError(f"task.arm={task['arm']}: expected one of {', '.join(ARMS)}")
        if not isinstance(task["rounds"], int) or task["rounds"] < 1:
            raise VlgroundError(f"task.rounds={task['rounds']}: expected a positive number")
        if not task["benchmarks"]:
            raise VlgroundError("task.benchmarks={}: expected name: [overrides], at least one")
        if not isinstance(node["model"].get("pretrained"), str):
            raise VlgroundError("model: nothing to fine-tune; expected model=captioner or like")
        for name in _SELECTIONS:
            if node[name] is not None:
                told = "images of benchmarks go together; give dataset.samples or the like"
                raise VlgroundError(f"{name}={node[name]}: not with task={TASK}: {told}")

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Do what is missing, step by step, and gather.

        Raises:
            VlgroundError: If a step cannot be done, such as fine-tuning on captions that refinement
                has all emptied.
        """
        if trainer.world_size > 1:
            told = "its steps share one process; use hydra/launcher=joblib for several arms"
            raise VlgroundError(
                f"trainer.devices={trainer.world_size}: not with task={TASK}: {told}"
            )
        model: Path | None = None
        for name in self._planned():
            try:
                self.steps[name] = carry_out(self._command(name, model))
            except VlgroundError as error:
                raise VlgroundError(f"task.arm={self.arm}, {name}: {error}") from error
            if name.startswith("finetuning"):
                model = self.steps[name].directory / "model"
        benchmarks = {name: self.steps[name].rows for name in self.options["benchmarks"]}
        named = [
            rows.assign(benchmark=name, id=[f"{name}/{one}" for one in rows["id"]])
            for name, rows in benchmarks.items()
        ]
        self.table = pandas.concat(named, ignore_index=True)

    def scores(self) -> dict[str, dict[str, Any]]:
        """Those of the benchmarks, `BENCHMARK/SCORE`."""
        return {
            f"{name}/{score}": value
            for name in self.options["benchmarks"]
            for score, value in self.steps[name].results["scores"].items()
        }

    def details(self) -> dict[str, Any]:
        """The arm, its steps, and what was learnt from."""
        told: dict[str, Any] = {"arm": self.arm, "rounds": self.options["rounds"]}
        told["benchmarks"] = {
            name: self.steps[name].results["choices"]["metric"]
            for name in self.options["benchmarks"]
        }
        told["steps"] = [
            {
                "name": name,
                "run": f"{step.directory.parent.name}/{step.directory.name}",
                "fingerprint": step.fingerprint,
                "seconds": step.results["seconds"],
                "command": list(step.command),
            }
            for name, step in self.steps.items()
        ]
        found = [step.results for step in self.steps.values()]
        told["selection"] = [one["reward"]["counts"] for one in found if "reward" in one]
        told["training"] = [
            {key: one["training"][key] for key in ("dialogues", "questions", "steps", "left_out")}
            for one in found
            if "training" in one
        ]
        return {"matrix": {}, TASK: json.loads(json.dumps(told))}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """None: the steps have theirs."""
        return {}

    def _planned(self) -> list[str]:
        """Names of the steps in order."""
        rounds = range(0 if ARMS[self.arm] is None else self.options["rounds"])
        kinds = ("candidates", "finetuning")
        tuned = [f"{kind}{f'_{n + 1}' if n else ''}" for n in rounds for kind in kinds]
        if both := {*tuned} & {*self.options["benchmarks"]}:
            told = "names a step; choose another name"
            raise VlgroundError(f"task.benchmarks.{min(both)}: {told}")
        return [*tuned, *self.options["benchmarks"]]

    def _command(self, name: str, model: Path | None) -> list[str]:
        """What a step is told.

        Args:
            name: Of the step.
            model: Folder of the network as it is now; None: the run's.
        """
        pretrained = [] if model is None else [f"++model.pretrained={said(str(model))}"]
        if name in self.options["benchmarks"]:
            groups: tuple[str, ...] = ("model",)
            task, told = "benchmark", self.options["benchmarks"][name]
        elif name.startswith("finetuning"):
            groups, task, told = ("model",), "finetuning", self.options["finetuning"]
            told = [*told, *self._data(name)]
        else:
            arm = ARMS[self.arm]
            assert arm is not None
            groups, task = arm.groups, "rejection_sampling"
            told = [*self.options["candidates"], *arm.overrides]
            told += self.options["holistic"] if arm.holistic else []
        return [*inherited(self.cell, task, groups), *pretrained, *told]

    def _option(self, name: str) -> str:
        """What tells a step what to do."""
        if name in self.options["benchmarks"]:
            return f"task.benchmarks.{name}"
        return f"task.{name.partition('_')[0]}"

    def _data(self, name: str) -> list[str]:
        """What the round's candidates have become; before they are there, nothing."""
        step = self.steps.get(name.replace("finetuning", "candidates"))
        return [] if step is None else [f"task.data.file=[{said(f'run:{step.fingerprint}')}]"]
