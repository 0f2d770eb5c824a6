"""CONTRIBUTING.md's recipes, followed to the letter from a folder outside the repository."""

import re
import subprocess
import sys
from pathlib import Path

from tests.cli import ENVIRONMENT, results, vlground

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
OPTIONS = re.findall(r"`(my_conf/\S+\.yaml)`:\n\n```yaml\n(.*?)```", TEXT, flags=re.DOTALL)


def test_your_own_parts_from_any_folder(tmp_path: Path) -> None:
    *parts, check = PYTHON
    assert "check_scorer" in check
    assert len(parts) == len(OPTIONS) == 3
    (tmp_path / "my_package.py").write_text("\n\n".join(parts))
    for name, content in OPTIONS:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    command = [sys.executable, "-c", check]
    subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, check=True)
    arguments = re.search(r"vlground (--config-dir .*)", TEXT)
    assert arguments is not None
    cams = "cam=mine,gradcam,shuffled_text"
    output = vlground("-m", *arguments[1].split(), cams, "logger=none", cwd=tmp_path)
    assert "mine · mine · mine: " in output
    made = {result["choices"]["cam"]: result for result in results(tmp_path / "runs")}
    assert all(result["choices"]["model"] == "mine" for result in made.values())
    assert all(result["counts"]["scored"] == 12 for result in made.values())
    assert made["gradcam"]["scores"]["pointing_game"]["value"] > 0.9
    assert made["shuffled_text"]["scores"]["pointing_game"]["value"] < 0.1
