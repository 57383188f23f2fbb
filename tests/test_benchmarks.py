"""The benchmarks run, drop what was disturbed, and measure the same step in every framework. Nothing here is timed."""

from __future__ import annotations

import contextlib
import functools
import json
import sys

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import first, mnist, plot, scaling, steps, transformers
from benchmarks.cases import CASES, Block, Network, from_json, to_json
from benchmarks.frameworks import FRAMEWORKS, Unable, build, minilm, missing
from benchmarks.processes import Failed, Process, reason
from benchmarks.quiet import Calibration, ForeignLoad, Round, disturbances

LITTLE = Network("little", (32, 8, 8, 10), batch=4, steps=3, rotation=8)
LITTLE_BLOCK = Block("little block", tokens=6, width=8, hidden=12, steps=2, rotation=3)
# What starts a thread pool, a compiler or a device of its own is compared where the benchmarks run, not in each test run.
QUICK = ("products", "autograd_ff", "compiled", "pytorch", "pytorch_fused", "hips_autograd", "mygrad")


def losses(framework: str, case, number: int = 5) -> list[float]:
    training = build(framework, case)
    data = [(training.convert(inputs), training.convert(targets)) for inputs, targets in case.batches()]
    return [float(training.step(*data[turn % len(data)]).item()) for turn in range(number)]


# ---------------------------------------------------------------- the steps


@pytest.mark.parametrize("case", [LITTLE, LITTLE_BLOCK], ids=lambda case: case.name)
@pytest.mark.parametrize("framework", [key for key in QUICK if key not in ("products", "autograd_ff")])
def test_every_framework_takes_the_same_steps(framework, case):
    if why := missing(framework):
        pytest.skip(why)
    try:
        found = losses(framework, case)
    except Unable as error:
        pytest.skip(str(error))
    assert found == pytest.approx(losses("autograd_ff", case), rel=1e-4)


@pytest.mark.skipif(missing("fast") is not None, reason="nothing to compile")
def test_the_fast_step_takes_the_same_steps():
    pytest.importorskip("numba")
    try:
        found = losses("fast", LITTLE)
    except Unable as error:
        pytest.skip(str(error))
    assert found == pytest.approx(losses("autograd_ff", LITTLE), rel=1e-4)


@pytest.mark.parametrize("framework", ["jax", "tinygrad"])
def test_frameworks_with_a_compiler_take_the_same_steps_in_a_process_of_their_own(framework):
    if why := missing(framework):
        pytest.skip(why)
    worker = Process("worker", framework, to_json(LITTLE))
    try:
        found = worker.answer()["loss"]
    except Failed as error:
        pytest.skip(str(error))
    finally:
        worker.close()
    assert found == pytest.approx(losses("autograd_ff", LITTLE, 10)[-1], rel=1e-4)


def test_the_steps_learn():
    for case in (LITTLE, LITTLE_BLOCK):
        found = losses("autograd_ff", case, 60)
        assert np.mean(found[-case.rotation :]) < np.mean(found[: case.rotation])


@pytest.mark.parametrize("case", [LITTLE, LITTLE_BLOCK, *CASES.values()], ids=lambda case: case.name)
def test_cases_survive_the_way_to_another_process(case):
    assert from_json(to_json(case)) == case


def test_the_bare_products_are_those_of_the_step(monkeypatch):
    """Counted: as many as the step's own products, of the same sizes."""
    from benchmarks.frameworks import products

    for case, expected in ((LITTLE, 3 + 3 + 2), (LITTLE_BLOCK, 2 + 2 + 2)):
        calls = []

        def matmul(a, b, out, calls=calls):
            calls.append((a.shape, b.shape))
            return np.dot(a, b, out=out)

        training = products.products(case)
        with monkeypatch.context() as patch:
            patch.setattr(products.np, "matmul", matmul)
            training.step(*case.batches()[0])
        assert len(calls) == expected
        rows = case.tokens if isinstance(case, Block) else case.batch
        multiplications = sum(a[0] * a[1] * b[1] for a, b in calls)
        weights = [one.size for one in case.parameters() if one.ndim == 2]
        unneeded = 0 if isinstance(case, Block) else weights[0]
        assert multiplications == rows * (3 * sum(weights) - unneeded)


# ---------------------------------------------------------------- the driver


def test_rounds_of_the_products_and_of_autograd_ff():
    results = steps.measure(LITTLE, 3, ["autograd_ff"])
    assert set(results["frameworks"]) == {"products", "autograd_ff"}
    assert results["failed"] == {}
    ours = results["frameworks"]["autograd_ff"]
    assert results["frameworks"]["products"]["ratio"] == 1
    assert ours["beside_ours"] == 1
    assert ours["loss"] == pytest.approx(losses("autograd_ff", LITTLE, 10)[-1], rel=1e-5)
    assert len(ours["rounds"]) == results["rounds"] == 3
    assert not ours["differs"]
    assert "autograd_ff, eager" in steps.report(results)
    json.dumps(results)


def test_a_framework_that_fails_is_a_line_with_the_reason(monkeypatch):
    planted = {
        "absent": FRAMEWORKS["mygrad"].__class__("Absent", "no_such_module_at_all", "products:products"),
        "broken": FRAMEWORKS["mygrad"].__class__("Broken", "numpy", "products:no_such_builder"),
    }
    for key, framework in planted.items():
        monkeypatch.setitem(FRAMEWORKS, key, framework)
    results = steps.measure(LITTLE, 2, ["absent", "broken"])
    assert results["failed"]["absent"]["reason"] == "not installed"
    assert "KeyError: 'broken'" in results["failed"]["broken"]["reason"]  # the worker's own table has no such entry
    assert set(results["frameworks"]) == {"products"}
    text = steps.report(results)
    assert "Absent" in text
    assert "not installed" in text


def test_a_framework_that_crashes_in_a_round_leaves_the_others(monkeypatch):
    ask = Process.ask
    count = [0]

    def dying(self, limit=600):
        count[0] += 1
        if count[0] == 4:
            self.process.kill()
        return ask(self, limit)

    monkeypatch.setattr(Process, "ask", dying)
    results = steps.measure(LITTLE, 4, ["autograd_ff", "hips_autograd"])
    assert sum(entry["title"] != "HIPS autograd" for entry in results["failed"].values()) <= 1
    assert any("killed by signal" in one["reason"] or "code" in one["reason"] for one in results["failed"].values())
    assert results["frameworks"]
    assert all(len(one["rounds"]) == results["rounds"] == 3 for one in results["frameworks"].values())


def test_a_process_that_never_answers_is_given_up():
    worker = Process("worker", "products", to_json(LITTLE))
    try:
        worker.answer()
        with pytest.raises(Failed, match="no answer"):
            worker.answer(0.05)  # nobody asked it
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("errors", "code", "expected"),
    [
        ("Traceback\n  File x\nValueError: too small\n", 1, "ValueError: too small"),
        ("warning\npackage.module.CompileError: no clang\nlast words\n", 1, "CompileError: no clang"),
        ("something else\n\n", 1, "something else"),
        ("", -11, "killed by signal 11"),
        ("", 3, "ended with code 3"),
    ],
)
def test_why_a_process_ended(errors, code, expected):
    assert reason(errors, code) == expected


# ---------------------------------------------------------------- MiniLM


def minilm_runs(key, task, number=3):
    try:
        minilm.folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with transformers.limited(key, 1):  # two threads wait for each other where the machine is busy
        program = getattr(minilm, key)(task)
        return program.logits(), [float(np.sum(program.run().numpy())) for _ in range(number)], program.logits()


@pytest.mark.parametrize("kind", [*transformers.KINDS])
def test_minilm_computes_the_same_as_pytorch(kind, monkeypatch):
    import autograd_ff as af

    pytest.importorskip("torch")
    monkeypatch.setattr(
        af, "compile", functools.partial(af.compile, fast=False)
    )  # loops of a dozen kinds take their time
    task = minilm.Task(kind, texts=3, tokens=8, dropout=False)
    first, results, last = minilm_runs("pytorch", task)
    for key in ("autograd_ff", "compiled"):
        before, found, after = minilm_runs(key, task)
        np.testing.assert_allclose(before, first, atol=2e-5)
        np.testing.assert_allclose(after, last, atol=5e-5 if kind != "lora" else 5e-4)  # A is drawn by each itself
        assert found == pytest.approx(results, rel=1e-3)
    assert (kind == "inference") == (results[-1] == results[0])


def test_what_is_tuned_is_what_the_task_says(monkeypatch):
    import autograd_ff as af

    counts, kind = {}, ""
    adam = af.optim.AdamW

    def counting(parameters, **options):
        made = adam(parameters, **options)
        counts[kind] = sum(one.array.size for group in made.param_groups for one in group["params"])
        return made

    monkeypatch.setattr(af.optim, "AdamW", counting)
    for kind in ("full", "lora", "feedforward"):
        minilm_runs("autograd_ff", minilm.Task(kind, 2, 4), 0)
    head = 384 * 2 + 2
    assert counts["lora"] == 6 * 2 * 2 * 8 * 384 + head
    assert counts["feedforward"] == 6 * (2 * 384 * 1536 + 1536 + 384) + head
    assert counts["full"] > 22_000_000


def test_texts_have_padding_and_the_same_tokens_each_time():
    tokens, mask, labels = minilm.Task("full", 8, 32).batch()
    again = minilm.Task("lora", 8, 32).batch()
    assert all(np.array_equal(one, other) for one, other in zip((tokens, mask, labels), again, strict=True))
    assert tokens.max() < 30_522
    assert (tokens[mask == 0] == 0).all()
    assert (tokens[mask == 1] >= 1000).all()
    assert mask.sum(1).tolist() == [16, 18, 20, 22, 25, 27, 29, 32]


def minilm_rounds():
    started = {
        key: {"version": "1", "logits": [[0.5, 0.5]], "first_kib": 4096, "memory_kib": size * 1024}
        for key, size in (("pytorch", 20), ("compiled", 10))
    }
    started["autograd_ff"] = {**started["compiled"], "logits": [[0.5, 0.6]]}
    seconds = {
        f"{key} {n}": time / n
        for key, time in (("pytorch", 0.4), ("compiled", 0.3), ("autograd_ff", 0.5))
        for n in (1, 2)
    }
    rounds = [Round(seconds, (1.0, 1.0), 0.0)] * 3
    return transformers.summary(rounds, started, {"pytorch_compiled": "not installed"})


def test_the_report_of_minilm():
    results = {"full-32x32": {"title": transformers.title(transformers.TASKS["full-32x32"]), **minilm_rounds()}}
    found = results["full-32x32"]["programs"]
    assert found["compiled"]["threads"][2]["ratio"] == pytest.approx(0.75)
    assert [one["differs"] for one in found.values()] == [False, False, True]
    text = transformers.report(results)
    assert "tuning all, 32 × 32 (3 of 3 rounds)" in text
    assert text.count("OTHER RESULTS") == 1
    assert "not installed" in text
    lines = transformers.markdown(results).splitlines()
    assert lines[2].startswith("| tuning all, 32 × 32 | 400.0 ms | 1.25 (500.0 ms) | 0.75 (300.0 ms) | 200.0 ms |")
    assert lines[-1] == "| tuning all, 32 × 32 | 20 | 10 | 10 |"
    json.dumps(results)


# ---------------------------------------------------------------- disturbed rounds


def planted(count: int, disturbed: dict[int, Round]) -> list[Round]:
    calm = Round({"products": 1e-3, "autograd_ff": 2e-3, "pytorch": 4e-3}, (0.01, 0.0101), 0.01)
    return [disturbed.get(number, calm) for number in range(count)]


STARTED = {key: {"loss": 1.5, "first_kib": 2048, "memory_kib": 1024} for key in ("products", "autograd_ff", "pytorch")}
SLOW = {"products": 5e-3, "autograd_ff": 5e-3, "pytorch": 5e-3}


def test_disturbed_rounds_are_dropped_for_all_and_named():
    rounds = planted(9, {2: Round(SLOW, (0.01, 0.013), 0.0), 5: Round(SLOW, (0.01, 0.01), 0.4)})
    results = {"case": "a case", "name": "x", "failed": {}, **steps.summary(rounds, STARTED)}
    assert results["dropped"] == {2: "calibration +30 %", 5: "foreign load 40 %"}
    assert (results["rounds"], results["kept"], results["reliable"]) == (9, 7, True)
    assert results["frameworks"]["pytorch"]["ratio"] == pytest.approx(4)
    assert results["frameworks"]["pytorch"]["beside_ours"] == pytest.approx(2)
    assert results["frameworks"]["pytorch"]["spread"] == pytest.approx(0)
    assert "dropped rounds (3: calibration +30 %, 6: foreign load 40 %)" in steps.report(results)
    assert "UNRELIABLE" not in steps.report(results)


def test_figures_of_few_undisturbed_rounds_are_called_unreliable():
    rounds = planted(9, {number: Round(SLOW, (0.01, 0.01), 0.5) for number in range(5)})
    results = {"case": "a case", "name": "x", "failed": {}, **steps.summary(rounds, STARTED)}
    assert not results["reliable"]
    assert "UNRELIABLE" in steps.report(results)
    assert "UNRELIABLE" in steps.markdown([results])
    assert results["frameworks"]["pytorch"]["ratio"] == pytest.approx(4)  # of the four that remain
    everything = steps.summary(planted(3, {number: Round(SLOW, (0.01, 0.01), 0.5) for number in range(3)}), STARTED)
    assert not everything["reliable"]
    assert everything["frameworks"]["pytorch"]["ratio"] == pytest.approx(1)


def test_a_system_that_does_not_tell_the_load_is_judged_by_the_calibration():
    calm, slow = Round({}, (1.0, 1.0), None), Round({}, (1.2, 1.0), None)
    assert disturbances([calm, slow, calm]) == [None, "calibration +20 %", None]
    assert disturbances([]) == []


def test_ratios_are_taken_within_a_round():
    """A machine that grows slower from round to round changes no ratio."""
    rounds = [Round({"products": 1e-3 * n, "pytorch": 3e-3 * n}, (1.0, 1.0), 0.0) for n in range(1, 8)]
    found = steps.summary(rounds, {key: STARTED[key] for key in ("products", "pytorch")})
    assert found["frameworks"]["pytorch"]["ratio"] == pytest.approx(3)
    assert found["frameworks"]["pytorch"]["beside_ours"] is None


def test_another_loss_is_flagged():
    started = {**STARTED, "pytorch": {**STARTED["pytorch"], "loss": 1.6}, "jax": {**STARTED["pytorch"]}}
    rounds = [Round(dict.fromkeys(started, 0.001), (1.0, 1.0), 0.0)] * 3
    results = {"case": "a case", "name": "x", "failed": {}, **steps.summary(rounds, started)}
    assert [key for key, one in results["frameworks"].items() if one["differs"]] == ["pytorch"]
    assert steps.report(results).count("OTHER LOSS") == 1
    assert "another loss" in steps.markdown([results])


@pytest.mark.skipif(sys.platform != "linux", reason="the load is read from /proc")
def test_our_own_work_is_no_foreign_load():
    calibration = Calibration()
    load = ForeignLoad([])
    before = load.start
    for _ in range(20):
        calibration.seconds()
    assert load.share() is not None
    after = load.start
    assert after[2] - before[2] > 0.5 * (after[0] - before[0]) * 0.01  # our time went into our own account
    assert after[1] >= before[1]


# ---------------------------------------------------------------- reports


def canned() -> list[dict]:
    several = []
    for name in ("small", "transformer"):
        failed = {"mygrad": {"title": "MyGrad", "reason": "has no erf for GELU"}}
        several.append(
            {"case": CASES[name].title, "name": name, "failed": failed, **steps.summary(planted(5, {}), STARTED)}
        )
    return several


def test_the_table_for_the_readme():
    lines = steps.markdown(canned()).splitlines()
    assert lines[0] == f"| training step with Adam | {CASES['small'].title} | {CASES['transformer'].title} |"
    assert lines[2] == "| bare matrix products (NumPy) | 1.00 (1.0 ms) | 1.00 (1.0 ms) |"
    assert "| autograd_ff, eager | **2.00 (2.0 ms)** | **2.00 (2.0 ms)** |" in lines
    assert "| PyTorch, default Adam | 4.00 (4.0 ms) | 4.00 (4.0 ms) |" in lines
    assert any("MyGrad: has no erf for GELU" in line for line in lines)


def test_the_plot(tmp_path):
    pytest.importorskip("matplotlib")
    plot.save(canned(), tmp_path / "steps.png")
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")
    plot.save(canned()[:1], tmp_path / "one.svg")
    assert (
        "autograd_ff, eager" in (tmp_path / "one.svg").read_text(encoding="utf-8")
        or (tmp_path / "one.svg").stat().st_size > 5_000
    )


def test_reports_of_the_other_parts():
    starts = {"a": {"title": "A", "seconds": [0.5], "median": 0.5}, "b": {"title": "B", "failed": "not installed"}}
    assert "0.50" in first.report(starts)
    assert "not installed" in first.report(starts)
    assert "| A | 0.50 s |" in first.markdown(starts)
    epochs = {
        "epochs": 3, "kept": 0, "rounds": 2,
        "programs": {
            "fast": {"title": "A", "first": 0.9, "seconds": 0.25, "loss": 0.125},
            "pytorch": {"title": "B", "failed": "not installed"},
        },
    }  # fmt: skip
    assert "0.250" in mnist.report(epochs)
    assert "UNRELIABLE" in mnist.report(epochs)
    assert "| A | 0.250 s |" in mnist.markdown(epochs)
    points = {"batch": {"1": canned()[0], "8": canned()[0]}}
    assert "4.00" in scaling.report(points)
    assert "| PyTorch, default Adam | 4.00 | 4.00 |" in scaling.markdown(points)


def test_the_command_writes_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "CASES", {"little": LITTLE})
    monkeypatch.setattr(steps, "SETTLE", 0)
    files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "markdown")}
    arguments = [f"--{kind}={path}" for kind, path in files.items()]
    command.main(["steps", "--rounds", "2", "--framework", "autograd_ff", *arguments])
    assert "Training step with Adam, 32-8-8-10, batch 4" in capsys.readouterr().out
    found = json.loads(files["json"].read_text())
    assert set(found["steps"][0]["frameworks"]) == {"products", "autograd_ff"}
    assert "| autograd_ff, eager |" in files["markdown"].read_text(encoding="utf-8")
    with contextlib.suppress(SystemExit):
        command.main(["no_such_part"])
    assert "no part named no_such_part" in capsys.readouterr().err
