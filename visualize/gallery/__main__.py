"""``python -m visualize.gallery``: draws the pictures, and writes the page that shows them."""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
import time
from pathlib import Path

from visualize.drawing.palette import indexed

# In the order of the page.
GRAPHS = (
    "mnist", "backward", "residual", "transformer", "failed_check", "nan_hunt", "dying_relu", "difference", "animation",
)  # fmt: skip
STEPS = ("plan", "plan_memory")
CHARTS = ("mnist_curves", "histograms", "confusion", "worst")
NAMES = (*GRAPHS, *STEPS, *CHARTS)
_HERE = Path(__file__).parent
_PAGE = "README.md"
_START = """# Gallery

Each picture is drawn by the program beside it; `python -m visualize.gallery` draws all of them again, and
`python -m visualize.gallery NAME …` some.
"""


def file_of(name: str) -> str:
    """The picture's file name."""
    return f"{name}.gif" if name == "animation" else f"{name}.png"


def caption_of(name: str) -> tuple[str, str]:
    """Title and text of a picture, from its program's docstring."""
    title, _, text = (inspect.getdoc(importlib.import_module(f"visualize.gallery.{name}")) or "").partition("\n\n")
    return title, text


def page() -> str:
    """The page that shows all pictures."""
    parts = [_START]
    for heading, names in (("Graphs", GRAPHS), ("A compiled step", STEPS), ("A training run", CHARTS)):
        parts.append(f"## {heading}\n")
        for name in names:
            title, text = caption_of(name)
            parts.append(f"### {title}\n\n{text}\n\n![{title}]({file_of(name)})\n\n[{name}.py]({name}.py)\n")
    return "\n".join(parts)


def draw(name: str, folder: Path) -> Path:
    """Draw one picture."""
    path = folder / file_of(name)
    importlib.import_module(f"visualize.gallery.{name}").draw(str(path))
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as picture:
            (smaller,) = indexed([picture])
        smaller.save(path, optimize=True)
    return path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m visualize.gallery", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="for the pictures (default: where the page is)")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no picture named {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    # An installed package is no place to write into: there the page is not.
    folder = options.output or (_HERE if (_HERE / _PAGE).exists() else Path("gallery"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or NAMES:
        start = time.perf_counter()
        path = draw(name, folder)
        print(f"{path}: {path.stat().st_size / 1000:.0f} KB, {time.perf_counter() - start:.1f} s", flush=True)
    if not options.names:
        (folder / _PAGE).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
