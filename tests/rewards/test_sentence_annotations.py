import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import yaml

from vlground.config import build
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.rewards.annotations import AnnotatedSentences, read_annotations
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.sentences import split

CONF = Path(__file__).parents[2] / "conf"
TEXT = "A man rides a horse. The horse is blue. They win a race."


def written(tmp_path, records):
    path = tmp_path / "annotations.json"
    path.write_text(records if isinstance(records, str) else json.dumps(records), "utf-8")
    return path


def vigor(scores, text=TEXT, image_id="000000040468", **more):
    inner = {"per_sentence_scores": scores, **more}
    return {"image_id": image_id, "text": text, "annotations": json.dumps(inner)}


def verdicts(base=0, last="No"):
    scores = [
        {"Accurate": "Yes", "Creative": "Not Creative"},
        {"Accurate": "No", "InAcc-Reason": "Attribute error", "Creative": "Creative"},
        {"Accurate": last, "InAcc-Reason": ["unreasonable conjecture", "C7"] * (last == "No")},
    ]
    return {str(base + i): score for i, score in enumerate(scores)}


def types(row):
    return {name for name, p in zip(ERROR_TYPES, row, strict=True) if p == 1}


@pytest.mark.parametrize("base", [0, 1])
def test_vigor_from_zero_or_one(tmp_path, base):
    found = read_annotations(
        written(tmp_path, [vigor(verdicts(base), overall_detail_score=4, grader="g")]), "vigor"
    )
    (caption,) = found.captions
    assert caption.aligned
    assert [types(row) for row in caption.errors] == [
        set(),
        {"attribute"},
        {"conjecture", "unspecified"},
    ]
    assert caption.creative == {0: False, 1: True}
    assert caption.detail == 4
    assert caption.extra["sentence 2"] == {"InAcc-Reason": ["unreasonable conjecture", "C7"]}
    assert found.counts == {"reason not understood": 1}


def test_vigor_keys_by_prefix_and_content_in_the_record_itself(tmp_path):
    record = {
        "image_id": 7,
        "text": TEXT,
        "Per-sentence scores": [
            {"accuracy": True},
            {"accurate": "no", "inacc_reasons": {"Location": True, "Relationship": False}},
            {"accurate": "No"},
        ],
        "detail": "3",
        "worker": "w1",
    }
    (caption,) = read_annotations(written(tmp_path, {"a": record}), "vigor").captions
    assert [types(row) for row in caption.errors] == [set(), {"location"}, {"unspecified"}]
    assert (caption.image_id, caption.detail, caption.aligned) == ("7", 3.0, True)
    assert caption.extra["worker"] == "w1"


def test_vigor_sentence_counts_that_disagree_are_reported_and_kept(tmp_path):
    four = verdicts() | {"3": {"Accurate": "Yes"}}
    two = {"0": {"Accurate": "Yes"}, "1": {"Accurate": "No"}}
    records = [vigor(four), vigor(two, image_id="2"), vigor(verdicts(last="Yes"), image_id="3")]
    found = read_annotations(written(tmp_path, records), "vigor")
    assert [caption.aligned for caption in found.captions] == [False, False, True]
    assert found.counts["sentence count disagrees with the text"] == 2
    assert [len(caption.errors) for caption in found.captions] == [4, 3, 3]
    assert np.isnan(found.captions[1].errors[2]).all()


def test_records_that_cannot_be_read_are_counted_with_the_reason(tmp_path):
    good = json.dumps(vigor(verdicts(last="maybe")))
    lines = [
        good,
        '{"image_id": 5, "text": "torn',
        json.dumps({"image_id": 5, "annotations": {}}),
        json.dumps({"image_id": 5, "text": TEXT, "annotations": "no json"}),
        "3",
        json.dumps(vigor({"123456789": {"Accurate": "Yes"}})),
    ]
    found = read_annotations(written(tmp_path, "\n".join(lines)), "vigor")
    assert len(found.captions) == 1
    assert found.counts == {
        "broken record": 1,
        "no text or image id": 1,
        "no sentence scores": 2,
        "no object": 1,
        "sentence without a verdict": 1,
    }
    assert np.isnan(found.captions[0].errors[2]).all()


def test_vigor_parquet(tmp_path):
    record = vigor(verdicts()) | {"image": {"bytes": b"x", "path": "a.jpg"}}
    pandas.DataFrame([record]).to_parquet(tmp_path / "vigor-0.parquet")
    (caption,) = read_annotations(tmp_path / "vigor-0.parquet", "vigor").captions
    assert types(caption.errors[1]) == {"attribute"}


def segment(words, label, **more):
    start = TEXT.find(words)
    return {"start": start, "end": start + len(words), "text": words, "label": label} | more


def test_m_haldetect_segments(tmp_path):
    record = {
        "question": "Describe.",
        "image": "COCO_val2014_000000040468.jpg",
        "response": TEXT,
        "annotations": [
            segment("A man rides", "ACCURATE"),
            segment("a horse.", "ANALYSIS"),
            segment("The horse", "ACCURATE"),
            segment("is blue.", "inaccurate", start=0, end=8),
            segment("They win a race.", "UNSURE"),
            segment("a unicorn", "INACCURATE"),
            segment("A man", "MAYBE"),
        ],
    }
    found = read_annotations(written(tmp_path, [record]), "m_haldetect")
    (caption,) = found.captions
    assert types(caption.errors[0]) == set()
    assert types(caption.errors[1]) == {"unspecified"}
    assert np.isnan(caption.errors[2]).all()
    assert found.counts == {
        "segment without a class": 1,
        "segment whose text is not in the response": 1,
    }
    assert caption.extra == {"question": "Describe."}


def test_rlhf_v_pairs(tmp_path):
    corrected = TEXT.replace("blue", "brown")
    pair = json.dumps({"question": "Describe.", "chosen": corrected, "rejected": TEXT})
    same = json.dumps({"chosen": TEXT, "rejected": TEXT + " "})
    records = [
        {"idx": 3, "image_path": "a/40468.jpg", "text": pair, "ds_name": "d"},
        {"idx": 4, "image_path": "b.jpg", "text": same},
        {"idx": 5, "text": "{"},
    ]
    found = read_annotations(written(tmp_path, records), "rlhf_v")
    chosen, rejected = found.captions
    assert [types(row) for row in chosen.errors] == [set()] * 3
    assert [types(row) for row in rejected.errors] == [set(), {"unspecified"}, set()]
    assert rejected.extra == {"question": "Describe.", "ds_name": "d"}
    assert found.counts == {"pair without a correction": 1, "no pair": 1}


def sample(image_id):
    return Sample("1", image_id, Path("x.jpg"), "")


def test_the_scorer_looks_up_image_and_caption_and_averages_annotators(tmp_path):
    records = [vigor(verdicts()), vigor(verdicts(last="Yes"), image_id="40468")]
    records += [vigor({"0": {"Accurate": "Yes"}}, image_id="7")]
    scorer = AnnotatedSentences(str(written(tmp_path, records)), "vigor")
    pieces = [sentence.text for sentence in split(TEXT)]
    known, stripped, other, unaligned = scorer.score(
        [sample("COCO_val2014_000000040468.jpg"), sample("40468"), sample("8"), sample("7")],
        [pieces, [piece.strip() for piece in pieces], pieces, pieces],
    )
    assert known == stripped
    assert known[1]["attribute"] == 1
    assert known[2]["conjecture"] == known[2]["unspecified"] == 0.5
    assert set(known[0]) == set(ERROR_TYPES)
    unsure = {**verdicts(), "0": {"Accurate": "maybe"}}
    one_sure = [vigor(unsure), vigor(verdicts())]
    lookup = AnnotatedSentences(str(written(tmp_path, one_sure)), "vigor")
    assert lookup.score([sample("40468")], [pieces])[0][0]["attribute"] == 0
    assert other == unaligned == [{}, {}, {}]
    assert scorer.counts["sentence count disagrees with the text"] == 1
    assert scorer.score([sample("40468")], [["A man rides a horse."]]) == [[{}]]


@pytest.mark.parametrize("style", ["vigor", "m_haldetect", "rlhf_v"])
def test_shipped_options(tmp_path, style):
    node = yaml.safe_load((CONF / "reward" / f"{style}.yaml").read_text("utf-8"))
    pair = {"chosen": "A cat.", "rejected": "A dog."}
    segments = {"response": TEXT, "annotations": [segment("A man", "ACCURATE")], "image": "1"}
    record = {"vigor": vigor(verdicts()), "m_haldetect": segments, "rlhf_v": pair | {"idx": 1}}
    scorer = build(node | {"file": str(written(tmp_path, [record[style]]))})
    assert isinstance(scorer, AnnotatedSentences)


def test_what_is_no_such_file_is_one_line(tmp_path):
    path = written(tmp_path, [vigor(verdicts())])
    with pytest.raises(VlgroundError, match=r"reward\.style=csv: expected one of vigor"):
        read_annotations(path, "csv")
    with pytest.raises(VlgroundError, match=r"no record in the format of m_haldetect: no seg|text"):
        read_annotations(path, "m_haldetect")
    with pytest.raises(VlgroundError, match=r"reward\.file=.*no record in it"):
        read_annotations(written(tmp_path, "[]"), "vigor")
    with pytest.raises(VlgroundError, match=r"reward\.file=.*no such file"):
        read_annotations(tmp_path / "nowhere.json", "vigor")
