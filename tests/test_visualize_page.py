"""The HTML page: what is in the file, and what it does in a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
import visualize
from autograd_ff import nn
from visualize.drawing.appearance import Appearance
from visualize.drawing.style import DARK, LIGHT
from visualize.errors import PictureError
from visualize.folding.fold import fold_functions
from visualize.folding.repeats import merge_repeats
from visualize.graph.marks import mark
from visualize.graph.view import MARKS, Edge, GraphView, Histogram, Module, Node, Source, Value
from visualize.page.document import to_html
from visualize.page.formulas import formula
from visualize.page.tree import Tree

# ---------------------------------------------------------------- graphs


def network() -> GraphView:
    af.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    images, labels = af.rand(16, 8), af.randint(0, 3, (16,))

    def loss(images, labels):
        return nn.CrossEntropyLoss()(model(images), labels)

    return visualize.measure(loss, images, labels, names={"": model}, repeats=1)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.second(af.relu(self.first(x)))


class Deep(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(4) for _ in range(layers)))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.blocks(x)) * af.softmax(x[:, :2], dim=1)


def deep(layers: int = 12) -> GraphView:
    return visualize.trace(Deep(layers), af.ones(3, 4))


def gradients() -> GraphView:
    model = Deep(2)
    return visualize.trace(lambda x: model(x).sum(), af.ones(3, 4), names={"": model}, backward=True)


def chain(length: int = 700) -> GraphView:
    value = Value((2,), "float32")
    names = ("tanh", "exp", "sin")
    nodes = [Node(0, "input", outputs=(value,), names=("x",))]
    nodes += [Node(at, "op", names[at * at % 11 % 3], outputs=(value,)) for at in range(1, length + 1)]
    return GraphView(tuple(nodes), tuple(Edge(at, at + 1) for at in range(length)))


def hostile() -> GraphView:
    shape = (Value((2,), "float32"),)
    bad = [
        "</script><script>window.broken = 1</script>", "<!--<script>", "<img src=x onerror='window.broken=1'>", "]]>",
        'a"b', "{{script}}", "\u2028\u2029", "\ud800", "größe→λ🎈", "bell\x07", "", "&lt;b&gt;",
    ]  # fmt: skip
    nodes = [
        Node(at, "input", outputs=shape, names=(text,), module=0, source=Source(f"{text}.py", 1, text), remark=text, mark="suspect")
        for at, text in enumerate(bad)
    ]  # fmt: skip
    nodes.append(Node(len(bad), "op", bad[0], outputs=shape, arguments=((bad[0], bad[2]),), names=(bad[2],), module=0))
    edges = tuple(Edge(at, len(bad), input=at, name=bad[at], value=shape[0]) for at in range(len(bad)))
    return GraphView(tuple(nodes), edges, (Module(0, "module", bad[2], bad[0], detail=bad[3]),), bad[0])


GRAPHS = {
    "network": network,
    "deep": deep,
    "gradients": gradients,
    "chain": chain,
    "hostile": hostile,
    "empty": GraphView,
}


# ---------------------------------------------------------------- the file


class Parsed(HTMLParser):
    """Elements with their attributes, and the text of those that hold text only."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._inside: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self._inside and self._inside[-1] in self.texts:
            self.texts[self._inside[-1]][-1] += data

    def json(self, id: str):
        scripts = [attributes for tag, attributes in self.elements if tag == "script"]
        (at,) = [at for at, attributes in enumerate(scripts) if attributes.get("id") == id]
        return json.loads(self.texts["script"][at])


@pytest.mark.parametrize("name", GRAPHS)
def test_the_page_holds_the_graph_and_nothing_from_elsewhere(name):
    view = GRAPHS[name]()
    text = to_html(view, title="A <title> & more")
    page = Parsed(text)
    assert GraphView.from_dict(page.json("graph")) == view
    assert page.texts["title"] == ["A &lt;title&gt; &amp; more"] or page.texts["title"] == ["A <title> & more"]
    assert [attributes.get("type", "") for tag, attributes in page.elements if tag == "script"] == [
        "application/json", "application/json", "", "", "",
    ]  # fmt: skip
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base"), tag
        assert not {"src", "action", "background", "srcset"} & set(attributes), tag
        assert not any(key.startswith("on") for key in attributes), (tag, attributes)
        assert "style" not in attributes  # the policy forbids it
        assert attributes.get("href", "#").startswith("#")
    assert "@import" not in page.texts["style"][0]
    assert "url(" not in page.texts["style"][0]
    assert "sourceMappingURL" not in text


def test_the_policy_lets_its_own_scripts_run_and_nothing_else():
    page = Parsed(to_html(network()))
    (policy,) = [
        attributes["content"]
        for tag, attributes in page.elements
        if attributes.get("http-equiv", "").startswith("Content")
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy

    def hashed(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["script-src"].split() == [hashed(text) for text in page.texts["script"][2:]]
    assert rules["style-src"] == hashed(page.texts["style"][0])


def test_the_same_view_gives_the_same_bytes():
    assert to_html(deep()) == to_html(deep())
    program = (
        "import sys; sys.path.insert(0, 'tests'); from test_visualize_page import *; import hashlib\n"
        "print(hashlib.sha256((to_html(deep()) + to_html(hostile())).encode('utf-8', 'surrogatepass')).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, text=True, cwd=Path(__file__).parent.parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


def test_a_page_can_be_written_as_utf8():
    assert b"\xed\xa0\x80" not in to_html(hostile(), title="\ud800").encode()


def test_the_layout_library_comes_with_its_licence():
    text = to_html(network())
    assert "Permission is hereby granted, free of charge" in text
    assert "Chris Pettitt" in text
    assert len(text) < 250_000  # a small graph is a small file


def test_render_writes_a_page(tmp_path):
    path = visualize.render(
        network(), tmp_path / "graph.html", title="It", depth=1, direction="LR", caption="Below it."
    )
    data = Parsed(Path(path).read_text(encoding="utf-8")).json("page")
    assert (data["title"], data["caption"], data["direction"], data["theme"]) == ("It", "Below it.", "LR", "auto")


def test_wrong_options_are_told():
    for wrong in ({"direction": "down"}, {"depth": -1}, {"theme": "pink"}, {"color_by": "beauty"}, {"open": "nowhere"}):
        with pytest.raises(PictureError):
            to_html(deep(), **wrong)


def test_themes_become_style_rules():
    def page(theme):
        return Parsed(to_html(network(), theme=theme))

    assert [page(theme).json("page")["theme"] for theme in ("auto", LIGHT, "light", DARK, "dark")] == [
        "auto", "auto", "light", "dark", "dark",
    ]  # fmt: skip
    from dataclasses import replace

    evil = replace(LIGHT, edge="red} body { display: none", font="</style><script>")
    css = page(evil).texts["style"][0]
    assert "--edge: red body  display none;" in css
    assert "<" not in css.split("--font")[1].split(";")[0]
    for kind, style in LIGHT.kinds.items():
        assert re.search(rf'data-theme="light"\] \.k-{kind} {{ --fill: {style.fill}; --line: {style.line};', css)
    for name in MARKS:
        assert f".m-{name} " in css


def test_formulas_are_of_operations_that_exist():
    from visualize.page.formulas import _KNOWN

    public = {"permute", "sum", "relu", "transpose"}
    unknown = [op for op in _KNOWN if op not in af.engine.OPS and op not in public]
    assert unknown == []
    data = Parsed(to_html(network())).json("page")["formulas"]
    assert data["linear"] == list(formula("linear"))


@pytest.mark.parametrize("op", ["exp", "log", "tanh", "sigmoid", "relu", "silu", "softplus", "square", "sqrt", "rsqrt", "reciprocal", "log1p", "expm1", "sin", "cos"])  # fmt: skip
def test_formulas_are_true(op):
    """The formula and the gradient as they are written, computed."""
    x = np.linspace(0.3, 2.0, 7)
    tensor = af.tensor(x, dtype=af.float64, requires_grad=True)
    result = (getattr(af, op, None) or getattr(nn.functional, op))(tensor)
    result.sum().backward()
    value, slope = formula(op)
    sigma = 1 / (1 + np.exp(-x))
    names = {
        "x": x,
        "y": result.numpy() if not result.requires_grad else result.detach().numpy(),
        "g": 1.0,
        "σ": sigma,
        "np": np,
    }

    def evaluated(text):
        text = text.removeprefix("y = ").replace("σ(x)", "σ").replace("−", "-").replace("·", "*")
        text = text.replace("e⁻ˣ", "np.exp(-x)").replace("eˣ", "np.exp(x)").replace("²", "**2").replace("³", "**3")
        text = re.sub(r"√x", "np.sqrt(x)", text)
        text = re.sub(r"\b(log|sin|cos|tanh)(?:\(([^()]*(?:\([^()]*\))?[^()]*)\)| x)", lambda found: f"np.{found[1].replace('log', 'log')}({found[2] or 'x'})", text)  # fmt: skip
        text = text.replace("max(x, 0)", "np.maximum(x, 0)").replace("g where x > 0, else 0", "g * (x > 0)")
        return eval(text, {}, names)

    assert evaluated(value) == pytest.approx(names["y"], rel=1e-6)
    assert evaluated(slope) * np.ones_like(x) == pytest.approx(tensor.grad.numpy(), rel=1e-6)


# ---------------------------------------------------------------- what can be opened


def tree_of(view: GraphView, group: bool = True) -> Tree:
    return Tree(Appearance(view, "light"), group)


def check_tree(view: GraphView, tree: Tree) -> None:
    assert len(tree.home) == len(view.nodes)
    assert [one.id for one in tree.containers] == list(range(len(tree.containers)))
    children: dict[int, int] = {}
    for one in tree.containers:
        assert one.parent is None or one.parent.id < one.id
        assert one.title
        children[-1 if one.parent is None else one.parent.id] = (
            children.get(-1 if one.parent is None else one.parent.id, 0) + 1
        )
    for home in tree.home:
        children[-1 if home is None else home.id] = children.get(-1 if home is None else home.id, 0) + 1
    assert all(children.get(one.id) for one in tree.containers), "a box around nothing"
    # Whatever is closed, data never flow in a circle.
    for level in {None, *tree.containers}:
        forward: set[tuple[object, object]] = set()
        for edge in view.edges:
            ends = [item_in(tree, level, node) for node in (edge.source, edge.target)]
            if None not in ends and ends[0] != ends[1]:
                forward.add((ends[0], ends[1]))
        assert acyclic(forward)


def item_in(tree: Tree, level, node: int):
    item, home = ("node", node), tree.home[node]
    while home is not level and home is not None:
        item, home = ("box", home.id), home.parent
    return item if home is level else None


def acyclic(pairs: set) -> bool:
    waiting: dict[object, int] = {}
    after: dict[object, list[object]] = {}
    for one, other in pairs:
        waiting[other] = waiting.get(other, 0) + 1
        waiting.setdefault(one, 0)
        after.setdefault(one, []).append(other)
    ready = [one for one, count in waiting.items() if not count]
    done = 0
    while ready:
        done += 1
        for other in after.get(ready.pop(), ()):
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return done == len(waiting)


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "empty"])
def test_boxes_hold_the_whole_graph_and_close_no_circle(name, group):
    view = GRAPHS[name]()
    check_tree(view, tree_of(view, group))


def test_a_planted_circle_would_be_found():
    assert not acyclic({(1, 2), (2, 3), (3, 1)})
    assert acyclic({(1, 2), (2, 3), (1, 3)})


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_boxes_of_random_graphs(data):
    modules = []
    for at in range(data.draw(st.integers(0, 5))):
        kind = data.draw(st.sampled_from(("module", "composite", "backward")))
        parent = data.draw(st.none() | st.integers(0, at - 1)) if at else None
        modules.append(Module(at, kind, f"m{at}", data.draw(st.sampled_from("AB")), parent))
    value = Value((2,), "float32")
    # Modules are entered and left like calls: never again once they were left.
    nodes, edges, left, path = [], [], set(), []
    for at in range(data.draw(st.integers(1, 24))):
        choices = [None, *path, *(one.id for one in modules if one.id not in left and one.id not in path and (one.parent is None or one.parent in path))]  # fmt: skip
        place = data.draw(st.sampled_from(choices))
        around = set()
        inner = place
        while inner is not None:
            around.add(inner)
            inner = modules[inner].parent
        left.update(one for one in path if one not in around)
        path = [one for one in path if one in around] + ([place] if place is not None and place not in path else [])
        op = data.draw(st.sampled_from(("exp", "exp", "add", "")))
        nodes.append(Node(at, "op" if op else "parameter", op, (value,), module=place))
        if op and at:
            sources = data.draw(st.lists(st.integers(0, at - 1), max_size=2))
            edges += [Edge(source, at, input=number, value=value) for number, source in enumerate(sources)]
    view = GraphView(tuple(nodes), tuple(edges), tuple(modules))
    tree = tree_of(view)
    check_tree(view, tree)
    ids = tree.opened(None, False, False, 8)
    assert ids == sorted(set(ids))
    assert GraphView.from_dict(Parsed(to_html(view)).json("graph")) == view


def test_equal_blocks_stand_together_and_can_be_opened_each():
    view = deep()
    tree = tree_of(view)
    (group,) = [one for one in tree.containers if one.count == 12]
    assert group.title == "blocks.0–11 · Block ×12"
    assert ("operations", "48") in group.rows
    assert ("parameters", "912 in 48 arrays, 3.6 kB") in group.rows
    assert sum(one.parent is group for one in tree.containers) == 12
    merged = merge_repeats(view)
    (whole,) = [one for one in tree_of(merged, group=False).containers if one.count == 12]
    assert dict(whole.rows)["operations"] == "48"


def test_what_is_open_at_first():
    view = deep()
    tree = tree_of(view)

    def titles(**options):
        given = {"depth": None, "open": False, "fold": False, "limit": 40, **options}
        return [tree.containers[id].title for id in tree.opened(**given)]

    assert titles(depth=0) == []
    assert titles(depth=1) == ["Deep"]
    assert "Deep" in titles()
    assert titles(depth=0, open="Block") == ["Deep", "blocks.0–11 · Block ×12", "0 · Block"]
    assert titles(depth=0, open="blocks.3") == ["Deep", "blocks.0–11 · Block ×12", "3 · Block"]
    assert titles(open=True) == [one.title for one in tree.containers]
    assert "Deep" not in titles(fold="Deep")
    inside = next(node.id for node in view.nodes if node.op == "relu")
    marked = tree_of(mark(view, {inside: ("origin", "here")}))
    shown = [marked.containers[id].title for id in marked.opened(None, False, False, 40)]
    assert "0 · Block" in shown


def test_long_chains_stand_in_parts():
    view = chain(700)
    tree = tree_of(view, group=False)
    assert [one.title for one in tree.containers] == [
        f"{at}01–{at + 1}00 of 700" if at else "1–100 of 700" for at in range(7)
    ]
    assert tree.home[0] is None or tree.home[0] is tree.containers[0]
    many = tree_of(chain(20_000), group=False)
    sizes: dict[int, int] = {}
    for one in (*many.containers, *()):
        key = -1 if one.parent is None else one.parent.id
        sizes[key] = sizes.get(key, 0) + 1
    for home in many.home:
        key = -1 if home is None else home.id
        sizes[key] = sizes.get(key, 0) + 1
    assert max(sizes.values()) <= 151


def test_large_graphs_lose_details_and_say_so():
    view = chain(21_000)
    data = Parsed(to_html(view, repeats=False)).json("page")
    assert data["notice"].startswith("A graph of 21,001 nodes.")
    assert len(data["nodes"]) == 21_001
    assert Parsed(to_html(chain(50))).json("page")["notice"] == ""


def test_hidden_kinds_are_not_in_the_page():
    view = network()
    data = Parsed(to_html(view, hide="parameter")).json("graph")
    assert "parameter" not in {node["kind"] for node in data["nodes"]}


# ---------------------------------------------------------------- in a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver on PATH (Debian: apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1300,900"):
        options.add_argument(argument)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


class Page:
    """A page in the browser."""

    def __init__(self, driver, path: Path) -> None:
        self.driver = driver
        driver.get_log("browser")
        driver.get("about:blank")
        driver.get(path.as_uri())
        self.wait("document.documentElement.dataset.ready === 'true'")

    def run(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 30, poll_frequency=0.02).until(
            lambda driver: driver.execute_script(f"return {condition}")
        )

    def rest(self) -> None:
        """Until nothing moves any more."""
        self.run("window.last = null")
        self.wait("document.querySelector('#graph-picture').dataset.moving !== 'yes'")

    def count(self) -> int:
        return int(self.run("return document.querySelector('#graph-picture').dataset.nodes"))

    def click(self, selector: str) -> None:
        self.rest()
        self.driver.find_element("css selector", selector).click()

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0]).textContent.toWellFormed()", selector)

    def selected(self) -> str:
        return self.run("const one = document.querySelector('.selected'); return one ? one.id : ''")

    def focused(self) -> str:
        return self.run("return document.activeElement.id")

    def keys(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        chain = ActionChains(self.driver)
        for key in keys:
            if key.startswith("SHIFT+"):
                chain.key_down(Keys.SHIFT).send_keys(getattr(Keys, key[6:], key[6:])).key_up(Keys.SHIFT)
            else:
                chain.send_keys(getattr(Keys, key, key))
        chain.perform()
        self.rest()

    def titled(self, title: str) -> str:
        """The id of what has a label that starts so."""
        ids = self.run(
            "return [...document.querySelectorAll('.node, .box')].filter(one => one.getAttribute('aria-label').startsWith(arguments[0])).map(one => one.id)",
            title,
        )
        assert ids, title
        return ids[0]

    def problems(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.fixture
def show(browser, tmp_path):
    pages = []

    def make(view: GraphView, **options) -> Page:
        path = tmp_path / f"page{len(pages)}.html"
        path.write_text(to_html(view, **options), encoding="utf-8")
        pages.append(Page(browser, path))
        return pages[-1]

    yield make
    for page in pages[-1:]:
        assert page.problems() == []


@pytest.mark.parametrize("direction", ["TB", "LR", "BT", "RL"])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_opens_fully_and_nothing_overlaps(show, name, direction):
    if direction != "TB" and name in ("chain", "empty"):
        pytest.skip("once is enough")
    view = GRAPHS[name]()
    page = show(view, direction=direction, limit=5)
    first = page.count()
    looks = Appearance(view, "light")
    tree = Tree(looks, group=len(fold_functions(view).nodes) > 5)
    opened = tree.opened(None, False, False, 5)
    assert first == tree._count({tree.containers[id] for id in opened})
    for _ in range(12 if name != "chain" else 1):
        page.keys("o")
    if name != "chain":
        assert page.count() == len(view.nodes)
    check_layout(page, direction)


def check_layout(page: Page, direction: str) -> None:
    places = page.run(
        """return [...document.querySelectorAll('.node, .box')].map(one => {
          const shape = one.querySelector('.shape:not(.behind), rect').getBBox(), at = one.transform.baseVal[0].matrix;
          return [one.id, at.e, at.f, shape.width, shape.height];
        })"""
    )
    parents = page.run(
        """const page = JSON.parse(document.getElementById('page').textContent);
        return [page.containers.map(one => one.parent), page.homes]"""
    )
    rects = {id: (x, y, x + w, y + h) for id, x, y, w, h in places}
    levels: dict[int, list[str]] = {}
    for id in rects:
        parent = parents[0 if id[0] == "b" else 1][int(id[1:])]
        levels.setdefault(parent, []).append(id)
        if parent >= 0:
            outer, inner = rects[f"b{parent}"], rects[id]
            inside = outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]
            assert inside, id
    for ids in levels.values():
        for at, one in enumerate(ids):
            for other in ids[:at]:
                a, b = rects[one], rects[other]
                apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
                assert apart, (one, other)
    # Data flow in the direction that was asked for.
    axis, sign = {"TB": (1, 1), "BT": (1, -1), "LR": (0, 1), "RL": (0, -1)}[direction]
    straight = page.run(
        """const graph = JSON.parse(document.getElementById('graph').textContent);
        return graph.edges.filter(one => graph.nodes[one.source].op).map(one => [`n${one.source}`, `n${one.target}`])"""
    )
    for one, other in straight:
        if one in rects and other in rects:
            assert (rects[other][axis] - rects[one][axis]) * sign > 0, (one, other)


def test_a_press_shows_details(show):
    view = network()
    page = show(view)
    linear = next(node for node in view.nodes if node.op == "linear")
    page.click(f"#n{linear.id} .title")
    assert page.selected() == f"n{linear.id}"
    text = page.text("#details")
    for part in ("linear 8→6", "fused kernel", "y = x Wᵀ + b", "16×6", "float32", "384", "test_visualize_page.py", "CrossEntropyLoss()(model(images), labels)", "Linear(8→6)", "forward", "gradient norm"):  # fmt: skip
        assert part in text, part
    assert page.run("return document.querySelectorAll('#details .bars').length") == len(linear.histograms) == 2
    bars = page.run(
        "return [...document.querySelectorAll('#details .bars')].map(one => one.querySelectorAll('rect').length)"
    )
    assert bars == [len(one.counts) for one in linear.histograms]
    tallest = page.run(
        "return Math.max(...[...document.querySelectorAll('#details .bars rect')].map(one => one.getBoundingClientRect().height))"
    )
    assert tallest > 30
    # Its inputs are links that jump.
    weight = next(node.id for node in view.nodes if node.names == ("0.weight",))
    page.click(f"#details [data-key=n{weight}]")
    assert page.selected() == f"n{weight}"
    assert "8→6" not in page.text("#details h2")
    assert "parameter" in page.text("#details .kind")
    # A press beside everything lets go.
    page.run("document.querySelector('#graph-picture').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert page.selected() == ""
    assert "operations" in page.text("#details")


def test_a_module_opens_and_closes_in_place(show):
    page = show(deep(), depth=1)
    before = page.count()
    group = page.titled("blocks.0–11 · Block ×12")
    where = page.run("return document.getElementById(arguments[0]).getBoundingClientRect().y", group)
    page.click(f"#{group} .sign")
    assert page.count() == before + 11
    assert page.run("return document.getElementById(arguments[0]).getAttribute('aria-expanded')", group) == "true"
    assert "blocks.0–11 · Block ×12 is open" in page.text("#said")
    page.rest()
    assert abs(page.run("return document.getElementById(arguments[0]).getBoundingClientRect().y", group) - where) < 400
    block = page.titled("3 · Block")
    page.click(f"#{block} .sign")
    assert page.count() > before + 11
    page.run(
        "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))",
        f"#{block} .sign",
    )
    assert page.count() == before + 11
    page.run(
        "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))",
        f"#{group} .sign",
    )
    assert page.count() == before


def test_drilling_down_and_back(show):
    page = show(deep(), depth=1)
    before = page.count()
    group = page.titled("blocks.0–11")
    page.click(f"#{group} .title")
    page.click("#enter")
    assert page.count() == 12
    assert "blocks.0–11 · Block ×12" in page.text("#trail [aria-current]")
    assert "from x" in page.text("#viewport")
    page.click(f"#{page.titled('2 · Block')} .title")
    page.click("#enter")
    assert page.run("return [...document.querySelectorAll('#trail button')].map(one => one.textContent)") == [
        "Deep",
        "Deep",
        "blocks.0–11 · Block ×12",
    ]
    page.keys("ESCAPE", "ESCAPE", "ESCAPE")
    page.run("const first = document.querySelector('#trail button'); if (first) first.click()")
    assert page.text("#trail") == ""
    assert page.count() >= before


def test_search_finds_opens_and_steps(show):
    page = show(deep(), depth=1)
    page.click("#query")
    page.keys(*"blocks.7.second.weight", "ENTER")
    (weight,) = [node.id for node in deep().nodes if node.names == ("blocks.7.second.weight",)]
    assert page.selected() == f"n{weight}"  # its modules are open now
    assert page.text("#found").startswith("1 of ")
    assert page.focused() == "query"
    area = page.run("return document.querySelector('.selected').getBoundingClientRect().toJSON()")
    assert 0 < area["x"] < 1300
    assert 0 < area["y"] < 900
    page.run("document.querySelector('#query').value = ''")
    for query, least in (("relu", 12), ("3x8", 12), ("softmax", 1), ("test_visualize_page.py", 5), ("Block 5", 1)):
        page.run(
            "const box = document.querySelector('#query'); box.value = arguments[0]; box.dispatchEvent(new Event('input'))",
            query,
        )
        page.wait("document.querySelector('#found').textContent !== ''")
        found = page.text("#found")
        assert found.endswith("found"), query
        assert int(found.split()[0]) >= least, query
        assert page.run("return document.querySelectorAll('.hit').length") >= 1
    page.click("#query")
    page.run("const box = document.querySelector('#query'); box.value = 'relu'; box.dispatchEvent(new Event('input'))")
    page.wait("document.querySelector('#found').textContent.endsWith('found')")
    page.keys("ENTER")
    first = page.selected()
    page.keys("ENTER")
    second = page.selected()
    assert first != second
    page.keys("SHIFT+ENTER")
    assert page.selected() == first
    page.run(
        "const box = document.querySelector('#query'); box.value = 'no such thing'; box.dispatchEvent(new Event('input'))"
    )
    page.wait("document.querySelector('#found').textContent === 'none'")
    page.keys("ESCAPE")
    assert page.run("return document.querySelectorAll('.hit').length") == 0


def test_the_keyboard_reaches_everything(show):
    view = deep()
    page = show(view, depth=1)
    page.run("document.activeElement.blur()")
    page.click("#help")
    assert page.run("return document.querySelector('#keys').open")
    page.keys("ESCAPE")
    assert not page.run("return document.querySelector('#keys').open")
    # Tab goes through the nodes in the order of the data and on to the rest of the page.
    page.run('document.querySelector(\'.node[tabindex="0"], .box[tabindex="0"]\').focus()')
    seen = []
    for _ in range(page.count() + 3):
        focused = page.focused()
        if not re.fullmatch(r"[nb]\d+", focused):
            break
        seen.append(focused)
        page.keys("TAB")
    assert (
        len(seen)
        == len(set(seen))
        == page.count() + int(page.run("return document.querySelector('#graph-picture').dataset.boxes"))
    )
    assert page.focused() not in seen
    # Arrows go where they point, with a focus that can be seen.
    x = next(node.id for node in view.nodes if node.names == ("x",))
    page.run("document.getElementById(arguments[0]).focus()", f"n{x}")
    page.keys("ARROW_DOWN")
    below = page.focused()
    assert below != f"n{x}"
    assert page.selected() == below
    ring = page.run("return getComputedStyle(document.activeElement.querySelector('.ring')).stroke")
    assert ring not in ("none", "rgba(0, 0, 0, 0)")
    page.keys("ARROW_UP")
    assert page.focused() == f"n{x}"
    # Enter opens, Escape closes what is around.
    group = page.titled("blocks.0–11")
    before = page.count()
    page.run("document.getElementById(arguments[0]).focus()", group)
    page.keys("ENTER")
    assert page.count() == before + 11
    page.keys("ARROW_DOWN")
    assert page.focused() != group
    page.keys("ESCAPE")
    assert page.count() == before
    assert page.focused() == group
    page.keys("ESCAPE")
    assert page.count() < before
    # Letters and signs.
    page.keys("o", "o")
    assert page.count() >= before
    page.keys("/")
    assert page.focused() == "query"


def test_pan_zoom_and_fit(show):
    page = show(network())

    def transform():
        page.rest()
        found = page.run("return document.getElementById('viewport').getAttribute('transform')")
        return [float(number) for number in re.findall(r"-?[\d.]+", found)]

    start = transform()
    page.click("#in")
    assert transform()[2] == pytest.approx(start[2] * 1.3, rel=1e-3)
    page.click("#out")
    assert transform() == pytest.approx(start, abs=0.3)
    page.keys("+")
    assert transform()[2] > start[2]
    page.keys("0")
    assert transform() == pytest.approx(start, abs=0.3)
    wheel = "document.querySelector('#graph-picture').dispatchEvent(new WheelEvent('wheel', {deltaY: arguments[0], clientX: 300, clientY: 300, bubbles: true, cancelable: true}))"
    page.run(wheel, -200)
    now = transform()
    assert now[2] > start[2]
    page.run(wheel, 200)
    assert transform() == pytest.approx(start, abs=0.5)
    # What lies under the pointer stays there.
    top = page.run("return document.querySelector('#graph-picture').getBoundingClientRect().y")
    held = [(300 - start[0]) / start[2], (300 - top - start[1]) / start[2]]
    assert [(300 - now[0]) / now[2], (300 - top - now[1]) / now[2]] == pytest.approx(held, abs=1)
    from selenium.webdriver.common.action_chains import ActionChains

    picture = page.driver.find_element("css selector", "#graph-picture")
    corner = ActionChains(page.driver).move_to_element_with_offset(picture, -400, -200)
    corner.click_and_hold().move_by_offset(60, 40).release().perform()
    assert transform()[:2] == pytest.approx([start[0] + 60, start[1] + 40], abs=1)
    assert page.selected() == ""
    # Two fingers.
    page.run(
        """const picture = document.querySelector('#graph-picture');
        const finger = (type, id, x, y) => picture.dispatchEvent(new PointerEvent(type, {pointerId: id, clientX: x, clientY: y, bubbles: true, button: 0}));
        finger('pointerdown', 11, 300, 300); finger('pointerdown', 12, 400, 300);
        finger('pointermove', 12, 410, 300); finger('pointermove', 12, 510, 300);
        finger('pointerup', 11, 300, 300); finger('pointerup', 12, 510, 300);"""
    )
    assert transform()[2] == pytest.approx(start[2] * 210 / 110, rel=0.01)


def test_no_motion_for_those_who_want_none(show, browser):
    features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        page = show(network())
        script = "const before = document.querySelector('#viewport').getAttribute('transform'); document.querySelector('#in').click(); return [before, document.querySelector('#viewport').getAttribute('transform'), document.querySelector('#graph-picture').dataset.moving]"
        before, after, moving = page.run(script)
        assert before != after
        assert moving == "no"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_themes(show, browser):
    def background():
        return page.run("return getComputedStyle(document.body).backgroundColor")

    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    try:
        page = show(network())
        assert background() == "rgb(20, 23, 28)"
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
        )
        page.wait("document.documentElement.dataset.theme === 'light'")
        assert background() == "rgb(255, 255, 255)"
        page.click("#theme")
        assert background() == "rgb(20, 23, 28)"
        fill = page.run("return getComputedStyle(document.querySelector('.k-parameter .shape')).fill")
        assert fill == "rgb(23, 74, 115)"
        page.click("#theme")
        assert (
            page.run("return getComputedStyle(document.querySelector('.k-parameter .shape')).fill")
            == "rgb(207, 227, 244)"
        )
        assert show(network(), theme="dark").run("return document.documentElement.dataset.theme") == "dark"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_colours_by_a_measurement(show):
    view = network()
    page = show(view, color_by="gradient norm")
    assert "gradient norm (log)" in page.text("#entries")
    fills = page.run(
        "return Object.fromEntries([...document.querySelectorAll('.node')].map(one => [one.id, one.style.getPropertyValue('--fill')]))"
    )
    measured = {node.id: node.measure("gradient norm") for node in view.nodes if not node.mark}  # a mark says more
    for id, number in measured.items():
        assert bool(fills[f"n{id}"]) == (number is not None)
    assert len(set(fills.values())) > 3
    page.click("#show > summary")
    page.run(
        "const choice = document.querySelector('#color-by'); choice.value = ''; choice.dispatchEvent(new Event('change'))"
    )
    assert not page.run(
        "return [...document.querySelectorAll('.node')].some(one => one.style.getPropertyValue('--fill'))"
    )


def test_kinds_can_be_hidden_and_come_back(show):
    page = show(network())
    before = page.count()
    page.click("#show > summary")
    page.click("#show-parameters")
    assert page.count() == before - 4
    assert page.run("return document.querySelectorAll('.k-parameter.node').length") == 0
    page.click("#show-parameters")
    assert page.count() == before


def test_hostile_names_are_only_text(show):
    page = show(hostile(), title="<b>title</b>", caption="</p><script>window.broken = 1</script>")
    view = hostile()
    for node in view.nodes:
        page.run("document.getElementById(arguments[0]).focus()", f"n{node.id}")
        page.run(
            "document.getElementById(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))",
            f"n{node.id}",
        )
        assert page.selected() == f"n{node.id}"
        if node.names[0].isprintable():
            assert node.names[0] in page.text("#details")
    assert page.text("#title") == "<b>title</b>"
    assert page.run("return window.broken") is None
    assert page.run("return document.querySelectorAll('img, iframe, b').length") == 0


def test_marks_show_through_closed_modules(show):
    view = deep()
    inside = next(node.id for node in view.nodes if node.op == "relu")
    page = show(mark(view, {inside: ("origin", "log of 0")}), depth=0)
    assert page.run("return document.querySelectorAll('.badge.m-origin').length") == 1
    assert "first NaN or infinity" in page.text("#entries")
    assert "log of 0" not in page.text("#viewport")
    page.click(f"#details [data-key=n{inside}]")
    assert page.selected() == f"n{inside}"
    assert "log of 0" in page.text("#details .remark")
    assert "log of 0" in page.text("#viewport")


def test_an_address_leads_to_a_node(show, browser):
    view = deep()
    inside = next(node.id for node in view.nodes if node.op == "relu")
    page = show(view, depth=0)
    page.run("location.hash = arguments[0]", f"n{inside}")
    page.wait("document.querySelector('.selected') !== null")
    assert page.selected() == f"n{inside}"
    page.run("location.hash = 'n999999'")
    page.run("location.hash = '<script>'")
    assert page.selected() == f"n{inside}"


def test_it_prints_in_light_colours_on_one_page(show, browser):
    page = show(deep(), theme="dark", open=True)
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    assert page.run("return document.documentElement.dataset.theme") == "dark"  # and is as it was
    assert page.run("return document.querySelector('#graph-picture').getAttribute('viewBox')") is None


def test_names_of_elements_for_screen_readers(show):
    page = show(network())
    silent = page.run(
        "return [...document.querySelectorAll('button, input, select, [role=button], [role=application], aside, nav')].filter(one => !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length)).map(one => one.outerHTML)"
    )
    assert silent == []
    assert page.run('return document.querySelectorAll(\'[tabindex="0"].node, [tabindex="0"].box\').length') == 1
    labels = page.run("return [...document.querySelectorAll('.node')].map(one => one.getAttribute('aria-label'))")
    assert any(label.startswith("linear 8→6, 16×6 float32") and label.endswith("fused kernel") for label in labels)


def test_histograms_of_anything(show):
    nodes = (
        Node(0, "parameter", outputs=(Value((4,), "float32"),), names=("w",), histograms=(
            Histogram("values", 0.0, 0.0, (4,)), Histogram("gradient", -1e-30, 1e30, (0, 0, 3)), Histogram("values", -1.0, 1.0, (0, 0)),
        ), measures=(("mean", float("nan")), ("norm", float("inf")), ("zeros", 1.0))),
    )  # fmt: skip
    page = show(GraphView(nodes), color_by="norm")
    page.click("#n0 .title")
    assert page.run("return document.querySelectorAll('#details .bars').length") == 3
    assert "NaN" in page.text("#details")
    assert "undefined" not in page.text("main")
    numbers = page.run("return [...document.querySelectorAll('.bars rect')].map(one => one.getAttribute('height'))")
    assert all(np.isfinite(float(number)) for number in numbers)
