"""The notebooks: what is stored was run in order and is small, and it runs again."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from tests.notebooks import FOLDER, METADATA, execute

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
_NUMBER = re.compile(r"\d[\d.,]*(?:e[-+]?\d+)?")
# Of a folder's name; the same on every machine, but another when a component's version is raised.
_FINGERPRINT = re.compile(r"-[0-9a-f]{8}\b")


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(cell: NotebookNode) -> list[tuple[str, str]]:
    """Kind and text of each output of a cell, without numbers and alignment."""
    found = []
    for output in cell.outputs:
        data = {output.name: output.text} if "text" in output else output.get("data", {})
        kind = f"{output.output_type} {' '.join(sorted(data))}"
        text = " ".join(data[name] for name in ("stdout", "text/plain") if name in data)
        shapeless = _NUMBER.sub("#", _FINGERPRINT.sub("", text)).replace("-", "")
        found.append((kind, " ".join(shapeless.split())))
    return found


def test_there_is_one_for_each_way_in() -> None:
    assert {path.stem for path in NOTEBOOKS} == {
        "one_map_step_by_step",
        "compare_two_runs",
        "your_own_model",
        "judge_and_matrix",
        "rewards_of_one_caption",
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_was_run_in_order_and_is_small(path: Path) -> None:
    assert path.stat().st_size < 300_000
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata == METADATA
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "execute_result"}
    pictures = [output.data for output in outputs if "image/jpeg" in output.get("data", {})]
    assert pictures, "something to see"
    assert all(output.get("name") != "stderr" for output in outputs), "a warning was kept"
    text = path.read_text(encoding="utf-8")
    assert "image/png" not in text
    for private in (str(FOLDER.parent), str(Path.home()), "/tmp/"):
        assert private not in text, "a path of the machine it ran on"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_again_and_says_the_same(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "empty").mkdir()
    stored = code(nbformat.read(path, as_version=4))
    for before, after in zip(stored, code(execute(path, tmp_path / "empty")), strict=True):
        assert said(after) == said(before), before.source
