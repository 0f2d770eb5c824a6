import hashlib
import json

import pytest

from vlground.errors import VlgroundError
from vlground.rewards.data_card import LICENCES, Provenance
from vlground.rewards.export import Winner, dataset_info, export

CAPTION = " A cat\n\nsits. 😀 猫\ud83d "
STEPS = (["A cat", " sits."], [True, 0.25])
WINNERS = [
    Winner("1", "a/1.jpg", "Describe.", CAPTION, "A dog.", *STEPS),
    Winner("2", "a/2.jpg", "<image>\nDescribe.", "", "A dog.", ["A bus."], [False]),
    Winner("3", "a/3.jpg", "Describe.", "A bus.", None, ["A bus."], [float("nan")]),
    Winner("4", "a/4.jpg", "Describe.", "A bus.", " A bus. ", ["A bus."], []),
    Winner("5", "a/5.jpg", "Describe.", "A bus.", " ", [], []),
]
TEXT = "A cat\n\nsits. 😀 猫\ud83d"
ABOUT = Provenance(
    "Best of 5",
    {"candidates": "candidates-0123", "model": "mini | llava"},
    {"noun_weight": 1.0},
    {"images": 5},
    {"ViGoR annotations": LICENCES["ViGoR annotations"], "images": "CC-BY-4.0"},
)


@pytest.fixture
def write(tmp_path):
    def written(style):
        path = tmp_path / "out" / f"{style}.json"
        counts = export(WINNERS, style, path, ABOUT)
        text = path.read_text("utf-8")
        if style.startswith("trl_"):
            records = [json.loads(line) for line in text.splitlines()]
        else:
            records = json.loads(text)
        assert counts["records"] == len(records)
        return records, counts

    return written


def test_llava(write):
    records, counts = write("llava")
    assert records[0] == {
        "id": "1",
        "image": "a/1.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nDescribe."},
            {"from": "gpt", "value": TEXT},
        ],
    }
    assert counts == {"records": 4, "emptied by refinement": 1}


def test_llama_factory(write):
    records, _ = write("llama_factory")
    asked = {"role": "user", "content": "<image>Describe."}
    answered = {"role": "assistant", "content": TEXT}
    assert records[0] == {"messages": [asked, answered], "images": ["a/1.jpg"]}
    # As many placeholders as images, or LLaMA-Factory refuses the record.
    assert all(record["messages"][0]["content"].count("<image>") == 1 for record in records)
    info = dataset_info("best", "llama_factory.json")["best"]
    assert info["columns"] == {"messages": "messages", "images": "images"}
    assert info["tags"]["user_tag"] == "user"


def test_trl_sft(write):
    records, counts = write("trl_sft")
    assert set(records[0]) == {"prompt", "completion", "images"}
    assert records[0]["prompt"][0]["content"] == [
        {"type": "image"},
        {"type": "text", "text": "Describe."},
    ]
    assert records[0]["completion"][0]["content"][0]["text"] == TEXT
    assert counts["emptied by refinement"] == 1


def test_trl_dpo_has_the_winner_and_a_worse_one(write):
    records, counts = write("trl_dpo")
    (record,) = records
    assert record["chosen"][0]["content"][0]["text"] == TEXT
    assert record["rejected"][0]["content"][0]["text"] == "A dog."
    assert record["images"] == ["a/1.jpg"]
    assert counts == {
        "records": 1,
        "emptied by refinement": 1,
        "no candidate is worse": 1,
        "winner and worst read the same": 1,
        "the worst candidate is empty": 1,
    }


def test_trl_stepwise_joins_to_the_caption_and_keeps_probabilities(write):
    records, counts = write("trl_stepwise")
    assert records[0] == {
        "prompt": "Describe.",
        "completions": ["A cat", " sits."],
        "labels": [True, 0.25],
    }
    assert records[1]["prompt"] == "Describe."
    assert counts["a sentence without a label"] == 1
    assert counts["not a label a sentence"] == 1
    assert counts["no sentences"] == 1


def test_the_card_names_file_provenance_counts_and_licences(write, tmp_path):
    write("trl_dpo")
    file = tmp_path / "out" / "trl_dpo.json"
    card = (tmp_path / "out" / "trl_dpo.json.card.md").read_text("utf-8")
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    for row in (
        "| candidates | candidates-0123 |",
        "| model | mini \\| llava |",
        "| noun_weight | 1.0 |",
        "| images | 5 |",
        "| records in this file | 1 |",
        "| no candidate is worse | 1 |",
        "| images | CC-BY-4.0 |",
    ):
        assert row in card
    assert "Not for commercial use, and neither is a model trained on it: ViGoR annotations" in card
    assert "No licence is stated" not in card


@pytest.mark.parametrize(
    ("licences", "warning"),
    [({}, "No licence is stated: ask"), ({"photos": ""}, "No licence is stated of photos")],
)
def test_a_missing_licence_is_said(tmp_path, licences, warning):
    export(WINNERS[:1], "llava", tmp_path / "x.json", Provenance("t", {}, licences=licences))
    card = (tmp_path / "x.json.card.md").read_text("utf-8")
    assert warning in card
    assert "commercial" not in card


def test_a_failed_export_leaves_the_file_before_it(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    export(WINNERS[:1], "llava", path, ABOUT)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(VlgroundError, match="cannot write"):
        export(WINNERS, "llava", path, ABOUT)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.json", "x.json.card.md"]


def test_unknown_format_and_repeated_ids_are_refused(tmp_path):
    with pytest.raises(VlgroundError, match="export=csv: expected one of llava"):
        export(WINNERS, "csv", tmp_path / "x", ABOUT)
    with pytest.raises(VlgroundError, match="the id 1 occurs twice"):
        export([WINNERS[0]] * 2, "llava", tmp_path / "x", ABOUT)
    assert not list(tmp_path.iterdir())
