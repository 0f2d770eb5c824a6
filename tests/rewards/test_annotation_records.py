import json

import pytest

from vlground.errors import VlgroundError
from vlground.rewards.records import annotation_records

RECORDS = [{"image_id": n, "text": 'a {"b"}, [c]'} for n in range(3)]
LINES = "\n".join(json.dumps(record) for record in RECORDS)
TEXTS = [{"text": record["text"]} for record in RECORDS]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS, indent=4),
        LINES,
        "".join(json.dumps(record, indent=4) for record in RECORDS),
        json.dumps({str(n): record for n, record in enumerate(TEXTS)}),
        json.dumps({"0": TEXTS[:1], "1": TEXTS[1:2], "2": TEXTS[2:]}),
        json.dumps({"x": RECORDS}),
    ],
)
def test_every_layout(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_text(text, "utf-8")
    records, counts = annotation_records("x.file", path)
    assert [str(record["image_id"]) for record in records] == ["0", "1", "2"]
    assert [record["text"] for record in records] == [record["text"] for record in RECORDS]
    assert not counts


def test_what_is_torn_is_counted(tmp_path):
    path = tmp_path / "file.json"
    path.write_text(LINES + '\n{"image_id": 3, "te', "utf-8")
    records, counts = annotation_records("x.file", path)
    assert (len(records), counts.total()) == (3, 1)


@pytest.mark.parametrize("name", ["file.json", "file.parquet"])
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b"3", None])
def test_no_records_is_one_line(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VlgroundError, match=r"^x\.file=") as caught:
        annotation_records("x.file", path)
    assert "\n" not in str(caught.value)
