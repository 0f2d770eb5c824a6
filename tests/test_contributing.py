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
    assert len(parts) == len(OPTIONS) == 4
    (tmp_path / "my_package.py").write_text("\n\n".join(parts))
    for name, content in OPTIONS:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    command = [sys.executable, "-c", check]
    subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, check=True)
    first, _ = re.findall(r"vlground (--config-dir .*)", TEXT)
    cams = "cam=mine,gradcam,shuffled_text"
    output = vlground("-m", *first.split(), cams, "logger=none", cwd=tmp_path)
    assert "mine · mine · mine: " in output
    made = {result["choices"]["cam"]: result for result in results(tmp_path / "runs")}
    assert all(result["choices"]["model"] == "mine" for result in made.values())
    assert all(result["counts"]["scored"] == 12 for result in made.values())
    assert made["gradcam"]["scores"]["pointing_game"]["value"] > 0.9
    assert made["shuffled_text"]["scores"]["pointing_game"]["value"] < 0.1


def test_your_own_judge(tmp_path: Path) -> None:
    (part,) = [part for part in PYTHON if "MyJudge" in part]
    (option,) = [content for name, content in OPTIONS if "judge" in name]
    (tmp_path / "my_package.py").write_text(part)
    (tmp_path / "my_conf" / "judge").mkdir(parents=True)
    (tmp_path / "my_conf" / "judge" / "mine.yaml").write_text(option)
    _, judged = re.findall(r"vlground (--config-dir .*)", TEXT)
    output = vlground(*judged.split(), "logger=none", "cam=gradcam", cwd=tmp_path)
    assert "photos · sigmoid · mine" in output
    (result,) = results(tmp_path / "runs")
    assert result["counts"]["scored"] == 6
    means = result["explanation"]["sanity"]["means"]
    assert means["black"]["value"] == 0 < means["own"]["value"] < means["full"]["value"]
