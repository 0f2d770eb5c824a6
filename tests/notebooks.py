"""Executes notebooks, each in a folder of its own; as a command it keeps their outputs."""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "notebooks"
# Without versions and times, so that a notebook changes only if its content does.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path, folder: Path) -> NotebookNode:
    """Run a notebook from its first cell to its last; an error in a cell is raised.

    Args:
        path: Of the notebook, which is not written.
        folder: In which it runs.
    """
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=240, record_timing=False, coalesce_streams=True, resources=where
    )
    client.execute(env={**os.environ, "PYTHONWARNINGS": "ignore:IProgress not found"})
    notebook.metadata = NotebookNode(METADATA)
    return notebook


if __name__ == "__main__":
    for file in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as empty:
            nbformat.write(execute(file, Path(empty)), file)
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")
