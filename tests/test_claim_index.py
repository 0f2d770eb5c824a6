"""The index of claims says what is so: commands compose, links lead somewhere, none is missing."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from vlground.claim_index import MEASURED, STATUSES, Claim, index_file, read_claims
from vlground.published import experiments, read_published
from vlground.report import _parser
from vlground.run import CONF

ROOT = Path(__file__).parents[1] / "experiments"
INDEX = ROOT / "README.md"
CLAIMS = read_claims(INDEX)
RUNS = [(c, words) for c in CLAIMS for words in map(shlex.split, c.commands)]
# Trainings of what ships, and the miniatures that a sweep of layers or a card needs.
MINIATURES = ("miniature_",)


def experiment_files() -> set[str]:
    names = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    return {name for name in names if not name.startswith(MINIATURES)}


def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub names them."""
    text = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_the_index_is_found_and_read() -> None:
    assert index_file() == INDEX
    assert {claim.paper for claim in CLAIMS} == {"Q-GroundCAM", "AutoXplain", "ViGoR"}
    first = CLAIMS[0]
    assert first.experiments == ["q_groundcam_table1"]
    assert "csv" not in first.words
    assert first.links[0] == "q_groundcam/table1.csv"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.words[:40])
def test_a_status_is_a_known_word_and_rests_on_something(claim: Claim) -> None:
    assert claim.status in STATUSES
    if claim.status in MEASURED:
        assert claim.commands, "who says so?"
        assert any("#" in link for link in claim.links), "where do the figures stand?"
    if claim.status != "open":
        assert claim.commands


def test_statuses_are_explained() -> None:
    head = INDEX.read_text("utf-8").partition("\n## ")[0]
    told = {line.split("|")[1].strip() for line in head.splitlines() if line.startswith("| ")}
    assert told - {"status"} == {*STATUSES}


def test_every_link_leads_somewhere() -> None:
    text = INDEX.read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        document = (ROOT / path).resolve()
        assert document.exists(), target
        assert not anchor or anchor in anchors(document), target


def cells(words: list[str]) -> list[str]:
    """Overrides of the first cell of a command, without what only a reader can fill in."""
    kept = [word for word in words if "…" not in word and word not in ("-m", "--multirun")]
    pairs = (word.partition("=") for word in kept)
    # A list in brackets is one value; of several values the first.
    return [
        f"{name}={value if value.startswith('[') else value.split(',')[0]}"
        for name, _, value in pairs
    ]


@pytest.fixture(scope="module")
def composed() -> dict[str, set[str]]:
    """Each command of `vlground` -> the values of its axes, as its sweep has them."""
    found = {}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for command, *words in (words for _, words in RUNS):
            if command == "vlground":
                config = compose("run", cells(words), return_hydra_config=True)
                swept = config.hydra.sweeper.params or {}
                found[" ".join(words)] = {str(axis) for axis in swept}
    return found


def test_every_command_composes(composed: dict[str, set[str]]) -> None:
    for _, (command, *words) in RUNS:
        if command == "vlground":
            axes = composed[" ".join(words)]
            several = [word for word in words if "," in word and "[" not in word]
            # Several values need a sweep: of the experiment, or -m.
            assert axes or "-m" in words or not several, words


def test_every_report_names_runs_that_a_command_makes() -> None:
    made = {name for claim in CLAIMS for name in claim.experiments if _makes(claim, name)}
    for _, (command, *words) in RUNS:
        if command != "vlground":
            assert command == "vlground-report", command
            arguments = _parser().parse_intermixed_args(words)
            named = [one.split("=")[1] for one in arguments.runs if one.startswith("experiment=")]
            assert {*named} <= made, words


def _makes(claim: Claim, name: str) -> bool:
    return any(f"vlground experiment={name}" in command for command in claim.commands)


def test_every_experiment_has_a_row() -> None:
    named = {name for claim in CLAIMS for name in claim.experiments}
    assert experiment_files() - named == set()
    assert named <= {path.stem for path in (CONF / "experiment").glob("*.yaml")}


def test_every_published_number_has_a_row_and_an_experiment() -> None:
    linked = {link for claim in CLAIMS for link in claim.links if link.endswith(".csv")}
    assert linked == {str(path.relative_to(ROOT)) for path in ROOT.glob("*/*.csv")}
    assert set(experiments()) <= experiment_files()
    for claim in CLAIMS:
        for link in claim.links:
            if link.endswith(".csv"):
                name = link.removesuffix(".csv").replace("/", "_")
                assert name in claim.experiments, claim.words


def test_every_published_number_says_where_it_stands() -> None:
    for name, path in experiments().items():
        for cell in read_published(path).values():
            for number in cell.values():
                assert number.source, name
                assert number.needs, name
                assert number.low <= number.high
