"""Every option file builds its judge and says the defaults of its class."""

import inspect
from typing import Any

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf
from tests.judging.server import judging, verdicts

from vlground.config import build
from vlground.contracts import Judge
from vlground.run import CONF

OPTIONS = sorted(p.stem for p in (CONF / "judge").glob("*.yaml") if p.stem != "none")
OWN = {  # where an option is there for another value than its class's default
    "logprobs": {"score", "temperature", "max_tokens"},
    "openai_compatible": {"extra_body"},
}
OWN["logprobs"] |= OWN["openai_compatible"]


def read(option: str, **values: Any) -> dict[str, Any]:
    file = OmegaConf.load(CONF / "judge" / f"{option}.yaml")
    whole: Any = OmegaConf.merge({"judge": file, "runs": None}, {"judge": values})
    found: Any = OmegaConf.to_container(whole, resolve=True)
    return found["judge"]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_file_is_in_step_with_its_class(option: str) -> None:
    node = read(option)
    judge = get_class(node.pop("_target_"))
    assert issubclass(judge, Judge)
    known = inspect.signature(judge).parameters
    assert set(node) <= set(known)
    for name, value in node.items():
        required = known[name].default is inspect.Parameter.empty
        if required:
            assert value == "???"
        elif name not in OWN.get(option, ()):
            assert value == known[name].default, name
    unsaid = {name for name in known if name not in node}
    assert unsaid <= {"structured", "lowest_mass"}, "read with the other kind of score only"


@pytest.mark.parametrize("option", ["openai_compatible", "logprobs"])
def test_an_option_file_asks_an_endpoint(option: str) -> None:
    with judging() as server:
        judge = build(read(option, label="loop", base_url=server.url, model="judge-1"))
        (found,) = verdicts(judge, ["boat"])
    written = option == "openai_compatible"
    assert (found.score, found.reason) == ((4.0, "") if written else (None, "no logprobs"))
    assert server.bodies[0]["max_tokens"] == (1024 if written else 1)
    assert server.bodies[0].get("logprobs", False) is not written
