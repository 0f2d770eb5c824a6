"""The choices that span a multiverse: every combination of some options of `metric=q_groundcam`.

They are what an experiment sweeps (`metric.tie: expected,first`), so that a multiverse is also an
ordinary sweep. An option that does not touch a score does not multiply the settings of that score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import product
from math import prod

from vlground.errors import VlgroundError
from vlground.labels import COLUMNS
from vlground.metrics.grounding import QGroundCAM

_DEFAULT = "q_groundcam_multiverse"
SCORES = tuple(name for name in COLUMNS if name != "io_lift")  # those that the paper ranks by

# Options that make the picture a score reads, and those that make the region.
PICTURE = ("resolution", "resize", "resize_clip", "resize_order", "normalise")
REGION = ("box_merge", "box_edge")
_BINARY = ("threshold", "threshold_strict")
_DISTANCE = ("wdp_distance", "wdp_unit", "wdp_normalisation")
_OWN: Mapping[str, tuple[str, ...]] = {
    "pointing_game": ("tie", "tie_tolerance"),
    "pg_uncertainty": ("peak_threshold", "peak_distance", "peak_unit", "tie_tolerance"),
    "io_ratio": (),
    "iou_soft": ("smooth",),
    "iou_binary": (*_BINARY, "smooth"),
    "dice_soft": ("smooth",),
    "dice_binary": (*_BINARY, "smooth"),
    "wdp_soft": _DISTANCE,
    "wdp_binary": (*_BINARY, *_DISTANCE),
}
TOUCHES = {name: (*PICTURE, *REGION, *own, "empty_map") for name, own in _OWN.items()}


@dataclass(frozen=True)
class Grid:
    """Options of the metric and their values.

    Attributes:
        name: Of the experiment that sweeps them.
        axes: Option and its values. The metric's default comes first, or, where an experiment does
            not list it, the first that it lists.
    """

    name: str
    axes: tuple[tuple[str, tuple[str | float | bool, ...]], ...]

    @classmethod
    def of(cls, experiment: str | None = None) -> "Grid":
        """What an experiment sweeps of the metric.

        Args:
            experiment: Its name; None, or of one that sweeps nothing of the metric:
                `q_groundcam_multiverse`.

        Raises:
            VlgroundError: It sweeps an option of another metric.
        """
        name = experiment if experiment and _sweep(experiment) else _DEFAULT
        swept = {option: _values(option, text) for option, text in _sweep(name).items()}
        known = {field.name: field.default for field in fields(QGroundCAM)}
        unknown = [o for o in swept if not any(o in touching for touching in TOUCHES.values())]
        if unknown:
            told = "its sweep spans no multiverse of metric=q_groundcam"
            raise VlgroundError(f"experiment={name}: metric.{unknown[0]}: {told}")
        axes = tuple(
            (option, tuple(sorted(values, key=lambda value: value != known[option])))
            for option, values in swept.items()
        )
        return cls(name, axes)

    @property
    def combinations(self) -> int:
        """Of all values of all options."""
        return prod(len(values) for _, values in self.axes)

    @property
    def default(self) -> QGroundCAM:
        """The first value of every option."""
        return replace(QGroundCAM(), **{name: values[0] for name, values in self.axes})  # type: ignore[arg-type]

    def touching(self, score: str) -> list[tuple[str, tuple[str | float | bool, ...]]]:
        """The options that a score depends on."""
        return [(name, values) for name, values in self.axes if name in TOUCHES[score]]

    def settings(self, score: str) -> list[QGroundCAM]:
        """The different settings of one score, the default first.

        Raises:
            VlgroundError: If options do not go together.
        """
        return list(_settings(self, score))

    def place(self, score: str, setting: QGroundCAM) -> int | None:
        """Where a setting stands among those of a score; None if it is not of this grid."""
        names = [name for name, _ in self.touching(score)]
        own = replace(self.default, **{name: getattr(setting, name) for name in names})
        return _places(self, score).get(_canonical(own))

    def neighbours(self, score: str, option: str) -> list[list[int]]:
        """For each setting of a score those that differ in this option alone, by their place."""
        values = dict(self.axes)[option]
        found = []
        for number, setting in enumerate(self.settings(score)):
            others = [self.place(score, replace(setting, **{option: value})) for value in values]  # type: ignore[arg-type]
            found.append(sorted({other for other in others if other is not None} - {number}))
        return found


@lru_cache(maxsize=64)
def _settings(grid: Grid, score: str) -> tuple[QGroundCAM, ...]:
    touching = grid.touching(score)
    names = [name for name, _ in touching]
    combined = product(*(values for _, values in touching))
    settings = [replace(grid.default, **dict(zip(names, c, strict=True))) for c in combined]  # type: ignore[arg-type]
    return tuple(dict.fromkeys(map(_canonical, settings)))


@lru_cache(maxsize=64)
def _places(grid: Grid, score: str) -> dict[QGroundCAM, int]:
    return {setting: number for number, setting in enumerate(_settings(grid, score))}


def _canonical(setting: QGroundCAM) -> QGroundCAM:
    """One setting for all that give the same numbers."""
    if setting.resolution == "native":  # nothing is resized
        setting = replace(setting, resize="bilinear", resize_order="resize_first")
    if setting.resolution == "native" or setting.resize == "nearest":
        setting = replace(setting, resize_clip=False)
    if setting.normalise == "none":
        setting = replace(setting, resize_order="resize_first")
    return setting


def _sweep(experiment: str) -> dict[str, str]:
    """Option of the metric -> its values, as an experiment's file has them; {} without a file."""
    import yaml

    from vlground.run import CONF

    file = CONF / "experiment" / f"{experiment}.yaml"
    if not file.is_file():  # of a folder of the user's, see --config-dir
        return {}
    node = yaml.safe_load(file.read_text("utf-8"))
    axes = node.get("hydra", {}).get("sweeper", {}).get("params", {})
    return {
        axis.removeprefix("metric."): str(values)
        for axis, values in axes.items()
        if axis.startswith("metric.")
    }


def _values(option: str, text: str) -> Sequence[str | float | bool]:
    """`a,b` as Hydra's sweeper reads it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Transformer

    override = OverridesParser.create().parse_override(f"metric.{option}={text}")
    if not override.is_sweep_override():
        return [override.value()]  # type: ignore[list-item]
    return list(override.sweep_iterator(Transformer.identity))  # type: ignore[arg-type]
