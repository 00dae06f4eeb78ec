"""Bad COCO files: every fault is found, none hides another, and what can be imported is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import granum
from granum.errors import FindingsError, FormatError
from granum.schema.findings import Findings
from tests.loaders.faults import FAULTS, VALID, _no_categories, faulty


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of the dataset: ``sizeless.jpg`` is 60 x 40; ``again.jpg``, ``b.jpg`` are absent."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (100, 80)).save(folder / "a.jpg")
    Image.new("RGB", (60, 40)).save(folder / "sizeless.jpg")
    return folder


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_valid_file_has_no_findings(tmp_path: Path) -> None:
    found = granum.validate(write(tmp_path / "x.json", VALID))
    assert not found.findings.counts
    assert (found.samples, found.annotations) == (2, 20)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found(name: str, tmp_path: Path, images: Path) -> None:
    code = FAULTS[name][0]
    folder = images if code == "file-missing" else None
    found = granum.validate(write(tmp_path / "x.json", faulty(name)), images=folder)
    assert found.findings.counts[code] == 1
    assert set(found.findings.counts) == {code}


def test_all_faults_in_one_file_are_found_in_one_run(tmp_path: Path, images: Path) -> None:
    path = write(tmp_path / "x.json", faulty(*FAULTS))
    found = granum.validate(path, images=images)
    missing = {code for code, _ in FAULTS.values()} - set(found.findings.counts)
    assert not missing
    # Under fail the same findings stop the import.
    with pytest.raises(FindingsError) as error:
        granum.read(path, images=images)
    assert error.value.findings.counts == found.findings.counts


def test_places_are_json_pointers_into_the_file(tmp_path: Path) -> None:
    found = granum.validate(write(tmp_path / "x.json", faulty("orphan image", "odd polygon")))
    places = {f.code: (f.path, f.place) for f in found.findings.items}
    assert places["orphan-image"] == ("x.json", "/annotations/1/image_id")
    assert places["odd-polygon"] == ("x.json", "/annotations/12")


def test_skip_leaves_out_what_is_faulty_and_counts_it(tmp_path: Path) -> None:
    findings = Findings()
    path = write(tmp_path / "x.json", faulty(*FAULTS))
    ds = granum.read(path, on_error="skip", findings=findings)
    left_out = {1, 2, 3, 4, 6, 9, 11, 12, 13}
    kept = {a.ordinal[0] for s in ds for a in s.annotations if a.ordinal}
    assert kept == set(range(20)) - left_out
    assert len(ds) == 3  # the second image of id 1 is left out, the one without size stays
    assert all(f.action for f in findings.items)


def test_fix_mends_what_can_be_mended(tmp_path: Path, images: Path) -> None:
    findings = Findings()
    path = write(tmp_path / "x.json", faulty(*FAULTS))
    ds = granum.read(path, on_error="fix", images=images, findings=findings)
    by_place = {a.ordinal[0]: a for s in ds for a in s.annotations if a.ordinal}
    assert set(by_place) == set(range(20)) - {1}  # only the one without an image is left out
    assert ds.category_names()[by_place[2].category or 0] == "444"
    assert by_place[3].bbox == (10.0, 10.0, 20.0, 30.0)  # from the polygon
    assert by_place[4].bbox == (10.0, 10.0, 20.0, 30.0)  # turned round
    assert by_place[5].bbox == (90.0, 70.0, 10.0, 10.0)  # clipped
    assert by_place[6].source_id is None  # gets a new id when written
    assert by_place[11].polygons is None
    assert by_place[12].polygons == [[[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]]
    assert by_place[13].rle is None
    sizeless = ds["sizeless.jpg"].row
    assert (sizeless.width, sizeless.height) == (60, 40)
    out = tmp_path / "fixed.json"
    granum.write(ds, out, "coco")
    again = granum.validate(out)
    assert not again.findings.errors
    ids = [a["id"] for a in json.loads(out.read_text())["annotations"]]
    assert len(set(map(str, ids))) == len(ids)


def test_missing_categories(tmp_path: Path) -> None:
    data = faulty()
    _no_categories(data)
    path = write(tmp_path / "x.json", data)
    assert granum.validate(path).findings.counts == {"missing-categories": 1}
    assert granum.read(path, on_error="fix").counts() == {"3": 20}
    assert granum.read(path, on_error="skip").num_annotations == 0


def test_truncated_json_tells_the_offset(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    text = json.dumps(VALID)
    for cut in (len(text) - 1, len(text) // 2, 30):
        path.write_text(text[:cut])
        with pytest.raises(FormatError, match=rf"\(byte {cut}\)"):
            granum.validate(path, "coco")


def test_binary_junk_tells_the_offset(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"images": [' + bytes(range(128, 160)))
    with pytest.raises(FormatError, match=r"byte 12"):
        granum.read(path, "coco")


def test_repeated_keys_are_found(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    text = json.dumps(VALID)
    path.write_text(text.replace('"iscrowd": 0', '"iscrowd": 0, "area": 5', 1))
    found = granum.validate(path)
    assert found.findings.counts == {"duplicate-json-key": 1}
    assert found.findings.items[0].place == "/annotations/0"
    fixed = granum.read(path, on_error="fix")
    assert fixed[0].annotations[0].area == 5  # the last value, as json.loads has it
    path.write_text(text[:-1] + ', "images": []}')
    assert granum.validate(path).findings.counts["duplicate-json-key"] == 1


def test_nan_tokens_are_found_outside_strings_only(tmp_path: Path) -> None:
    data = faulty()
    data["images"][0]["file_name"] = "NaN of Infinity.jpg"
    data["annotations"][0]["area"] = float("inf")
    path = write(tmp_path / "x.json", data)
    found = granum.validate(path)
    assert found.findings.counts == {"nan-token": 1}
    assert found.findings.items[0].place == "/annotations/0/area"
    assert granum.read(path, on_error="skip")[0].key == "NaN of Infinity.jpg"


def test_values_of_the_wrong_type_name_their_place(tmp_path: Path) -> None:
    data = faulty()
    data["annotations"][4]["area"] = "large"
    data["annotations"][5] = 7
    found = granum.validate(write(tmp_path / "x.json", data))
    assert {f.place for f in found.findings.items} == {"/annotations/4/area", "/annotations/5"}
    assert found.annotations == 18


def test_media_checks(tmp_path: Path, images: Path) -> None:
    data = faulty()
    data["images"][1] = {"id": 2, "file_name": "broken.jpg", "width": 100, "height": 80}
    data["images"].append({"id": 3, "file_name": "sizeless.jpg", "width": 61, "height": 40})
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    path = write(tmp_path / "x.json", data)
    found = granum.validate(path, images=images, check_media=True)
    assert found.findings.counts == {"broken-media": 1, "size-mismatch": 1}


def test_numbers_that_no_double_holds_are_faults(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(VALID).replace('"area": 600.0', '"area": 1e999', 1))
    found = granum.validate(path)
    assert found.findings.counts == {"nan-token": 1}
    assert found.findings.items[0].place == "/annotations/0/area"


def test_keys_with_quotation_marks_are_refused(tmp_path: Path) -> None:
    data = faulty()
    data["images"][0]['a"b'] = 1
    with pytest.raises(FormatError, match="quotation mark"):
        granum.read(write(tmp_path / "x.json", data))
