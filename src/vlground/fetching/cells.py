"""The cells of a command, composed as `vlground` would, without running any."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlground.errors import VlgroundError
from vlground.run import CONF

if TYPE_CHECKING:
    from omegaconf import DictConfig

Composed = tuple[dict[str, str], dict[str, Any]]


def compose_cells(overrides: Sequence[str], config_dir: Path | None = None) -> list[Composed]:
    """Choices and resolved configuration of every cell that the overrides stand for.

    Args:
        overrides: As of `vlground`; `a,b` is swept, and so are the axes of an experiment file that
            they do not set. Missing options (`???`) stay.
        config_dir: Further options, as `vlground --config-dir`.

    Raises:
        VlgroundError: If something cannot be composed.
    """
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    search = [f"hydra.searchpath=[file://{config_dir.absolute()}]"] if config_dir else []
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return [cell for one in _expand(overrides) for cell in _cells([*search, *one])]
    except (HydraException, OmegaConfBaseException) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise VlgroundError(lines[0] if lines else type(error).__name__) from error


def _expand(overrides: Sequence[str]) -> list[list[str]]:
    """The combinations of what is swept."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    axes = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.is_sweep_override():
            name = override.get_key_element()
            axes.append([f"{name}={value}" for value in override.sweep_string_iterator()])
        else:
            axes.append([str(override.input_line)])
    return [list(cell) for cell in product(*axes)]


def _cells(given: Sequence[str]) -> Iterator[Composed]:
    """The cells of an experiment that is a sweep, narrowed by what the command line sets."""
    whole = _compose(given)
    axes = dict(whole.hydra.sweeper.get("params") or {})
    names = {override.split("=", 1)[0] for override in given}
    swept = [f"{name}={values}" for name, values in axes.items() if name not in names]
    for cell in _expand(swept):
        yield _resolved(_compose([*given, *cell]) if swept else whole)


def _compose(cell: Sequence[str]) -> "DictConfig":
    from hydra import compose

    return compose("run", list(cell), return_hydra_config=True)


def _resolved(whole: "DictConfig") -> Composed:
    from omegaconf import OmegaConf

    choices = {str(k): str(v) for k, v in whole.hydra.runtime.choices.items() if v is not None}
    own = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
    node = OmegaConf.to_container(own, resolve=True)
    assert isinstance(node, dict)
    return choices, {str(key): value for key, value in node.items()}
