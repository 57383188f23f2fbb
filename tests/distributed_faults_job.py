"""What `tests/test_distributed_faults.py` runs in several processes: every function here is one check on all ranks."""

from __future__ import annotations

import copy
import pickle
import sys
import traceback
import warnings

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import distributed as dist
from autograd_ff import nn
from autograd_ff.distributed import DistributedDataParallel, transfer
from autograd_ff.distributed.group import CHANNELS
from autograd_ff.errors import CaptureError, DistributedError


def gather(value):
    dist.all_gather_object(found := [None] * dist.get_world_size(), value)
    return found


EACH = 4  # samples of a rank
SMALL = 1e-5  # MiB: a bucket for each parameter
RANK, SIZE = 0, 1


def samples(seed=0, width=5):
    random = np.random.default_rng(seed)
    shape = EACH * SIZE
    return random.normal(size=(shape, width)).astype("float32"), random.normal(size=(shape, 3)).astype("float32")


def part(array, rank=None):
    rank = RANK if rank is None else rank
    return af.tensor(array[rank * EACH : (rank + 1) * EACH])


def network(dtype=None):
    af.manual_seed(0)
    made = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))
    return made.to(dtype) if dtype else made


class Branches(nn.Module):
    """Linear layers of which each pass uses some."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x, which="ab"):
        return sum(getattr(self, name)(x) for name in which)


def branches():
    af.manual_seed(2)
    return Branches()


def loss_of(model, x, y, *more):
    return ((model(x, *more) - y) ** 2).mean()


def distribute(model, seed=0, *more):
    x, y = samples(seed)
    dtype = next(model.parameters()).array.dtype
    loss_of(model, part(x.astype(dtype)), part(y.astype(dtype)), *more).backward()


def alone(model, seed=0, *more):
    """The same gradients in one process."""
    x, y = samples(seed)
    dtype = next(model.parameters()).array.dtype
    loss_of(model, af.tensor(x.astype(dtype)), af.tensor(y.astype(dtype)), *more).backward()
    return model


def close(model, reference, rtol=1e-4, atol=1e-6):
    for (name, one), (_, other) in zip(model.named_parameters(), reference.named_parameters(), strict=True):
        np.testing.assert_allclose(one.grad.array, other.grad.array, rtol=rtol, atol=atol, err_msg=name)


def message(action):
    try:
        action()
    except DistributedError as error:
        return str(error)
    raise AssertionError("no error")


# ---------------------------------------------------------------- gradients


def check_random_networks_and_buckets():
    @settings(
        max_examples=15, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from([1e-5, 1e-4, 3e-4, 4]), st.booleans(),
        st.sampled_from([None, "float32", "float64"]), st.integers(0, 9), st.booleans(),
    )  # fmt: skip
    def holds(widths, bucket, bias, dtype, seed, find):
        def make():
            af.manual_seed(seed)
            layers = []
            for fan_in, fan_out in zip([5, *widths], [*widths, 3], strict=True):
                layers += [nn.Linear(fan_in, fan_out, bias=bias), nn.Tanh()]
            return nn.Sequential(*layers).to(dtype) if dtype else nn.Sequential(*layers)

        model = DistributedDataParallel(
            make(), bucket_cap_mb=bucket, find_unused_parameters=find, gradient_as_bucket_view=bool(seed % 2)
        )
        for turn in range(2):
            model.zero_grad()
            distribute(model, turn)
            close(model.module, alone(make(), turn), 1e-10 if dtype == "float64" else 1e-4)

    holds()


def check_dtypes():
    for dtype, rtol, atol in (("float64", 1e-12, 1e-12), ("float16", 2e-2, 2e-3)):
        model = DistributedDataParallel(network(dtype), bucket_cap_mb=SMALL)
        distribute(model)
        close(model.module, alone(network(dtype)), rtol, atol)
        assert model.module[0].weight.grad.array.dtype == dtype

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(5, 3).to("float64"), nn.Linear(5, 3), nn.Linear(5, 3).to("float16")

        def forward(self, x):
            return self.b(x) + self.a(x.to(af.float64)).to(af.float32) + self.c(x.to(af.float16)).to(af.float32)

    af.manual_seed(1)
    model = DistributedDataParallel(Mixed())
    reference = copy.deepcopy(model.module)
    distribute(model)
    for parameter in reference.parameters():
        parameter.grad = None
    close(model.module, alone(reference), 1e-2, 1e-2)


def check_parameters_without_numbers():
    class Empty(nn.Module):
        def __init__(self):
            super().__init__()
            self.none, self.layer, self.rows = nn.Parameter(af.zeros(0)), nn.Linear(5, 3), nn.Parameter(af.zeros(0, 3))

        def forward(self, x):
            return self.layer(x) + self.none.sum() + self.rows.sum()

    for compression in (None, "bfloat16"):
        af.manual_seed(1)
        model = DistributedDataParallel(Empty(), gradient_compression=compression)
        reference = copy.deepcopy(model.module)
        distribute(model)
        close(model.module, alone(reference), 1e-2, 1e-2)


def check_tied_parameters():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.out(self.b(self.a(x).tanh()))

    af.manual_seed(1)
    model = DistributedDataParallel(Tied(), bucket_cap_mb=SMALL)
    assert model.module.b.weight is model.module.a.weight
    reference = copy.deepcopy(model.module)
    distribute(model)
    close(model.module, alone(reference))


def check_two_passes_before_a_step():
    for view in (False, True):
        model = DistributedDataParallel(network(), bucket_cap_mb=SMALL, gradient_as_bucket_view=view)
        distribute(model)
        distribute(model)
        kept = next(model.parameters()).grad
        close(model.module, alone(alone(network())))
        model.zero_grad()
        distribute(model)
        now = next(model.parameters()).grad
        assert np.shares_memory(kept.array, now.array) == view


def check_another_order_on_each_rank():
    model, reference = DistributedDataParallel(branches(), bucket_cap_mb=SMALL), branches()
    for seed in range(3):
        model.zero_grad()
        reference.zero_grad()
        distribute(model, seed, ["abc", "cba", "bca", "acb"][(RANK + seed) % 4])
        close(model.module, alone(reference, seed, "abc"))


def check_two_models_in_one_pass():
    for crossed in (False, True):  # the ranks' models get ready in another order
        pair = [DistributedDataParallel(network(), bucket_cap_mb=SMALL) for _ in range(2)]
        for seed in range(3):
            x, y = samples(seed)
            for one in pair:
                one.zero_grad()
            swapped = crossed and RANK % 2
            outputs = [one.module(part(x)) if crossed else one(part(x)) for one in (pair[::-1] if swapped else pair)]
            ((outputs[0] + outputs[1] - part(y)) ** 2).mean().backward()
            references = [network(), network()]
            ((references[0](af.tensor(x)) + references[1](af.tensor(x)) - af.tensor(y)) ** 2).mean().backward()
            for one, other in zip(pair, references, strict=True):
                close(one.module, other)


def check_gradients_of_gradients():
    def penalised(model, x, y):
        loss = loss_of(model, x, y)
        gradients = af.autograd.grad(loss, [*model.parameters()], create_graph=True)
        (loss + sum((one**2).sum() for one in gradients)).backward()
        return [one.grad.array for one in model.parameters()]

    x, y = samples()
    model = DistributedDataParallel(network())
    found = penalised(model, part(x), part(y))
    each = [penalised(network(), part(x, rank), part(y, rank)) for rank in range(SIZE)]
    for one, *others in zip(found, *each, strict=True):
        np.testing.assert_allclose(one, np.mean(others, 0), rtol=1e-4, atol=1e-6)
    model.zero_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cycle that create_graph makes
        told = message(lambda: loss_of(model, part(x), part(y)).backward(create_graph=True))
    assert "create_graph=True" in told
    assert "autograd.grad" in told
    model.zero_grad()
    distribute(model)
    close(model.module, alone(network()))


def check_nan_on_one_rank():
    x, y = samples()
    if RANK == 0:
        x[0, 0] = np.nan
    model = DistributedDataParallel(network())
    loss_of(model, part(x), part(y)).backward()
    assert np.isnan(model.module[4].bias.grad.array).all()


def check_users_hooks():
    model, seen = DistributedDataParallel(network()), []
    model.module[0].weight.register_hook(lambda gradient: gradient * 2)
    model.module[0].bias.register_post_accumulate_grad_hook(seen.append)
    distribute(model)
    reference = network()
    reference[0].weight.register_hook(lambda gradient: gradient * 2)
    close(model.module, alone(reference))
    assert len(seen) == 1


# ---------------------------------------------------------------- what does not take part


def check_unused_parameters_are_named_on_every_rank():
    _x, _y = samples()
    model = DistributedDataParallel(branches(), bucket_cap_mb=SMALL)
    for _ in range(2):
        told = message(lambda: distribute(model))
        assert f"rank {', '.join(map(str, range(SIZE)))}: it reached 4 of 6 parameters, and not" in told, told
        assert "c.bias" in told
        assert "find_unused_parameters=True" in told
    model = DistributedDataParallel(branches(), bucket_cap_mb=SMALL)  # rank 0 uses all
    told = message(lambda: distribute(model, 0, "abc" if RANK == 0 else "ab"))
    assert f"rank {', '.join(map(str, range(1, SIZE)))}: it reached 4 of 6" in told, told
    model.zero_grad()
    distribute(model, 0, "abc")
    close(model.module, alone(branches(), 0, "abc"))


def check_finding_unused_parameters():
    for compiled in (False, True):
        for uses in (["ab", "ab"], ["ab", "bc"], ["abc", "a"], ["a", "b"]):
            model = DistributedDataParallel(branches(), bucket_cap_mb=SMALL, find_unused_parameters=True)
            reference = branches()
            optimizer = af.optim.SGD(model.parameters(), lr=0.1)
            same = af.optim.SGD(reference.parameters(), lr=0.1)

            def step(x, y, model=model, optimizer=optimizer, own=uses[RANK % 2]):
                optimizer.zero_grad()
                loss = loss_of(model, x, y, own)
                loss.backward()
                optimizer.step()
                return loss

            run = af.compile(step) if compiled else step
            for seed in range(5):
                x, y = samples(seed)
                run(part(x), part(y))
                same.zero_grad()
                losses = [loss_of(reference, part(x, rank), part(y, rank), uses[rank % 2]) for rank in range(SIZE)]
                (sum(losses) / SIZE).backward()
                same.step()
                pairs = zip(model.module.named_parameters(), reference.parameters(), strict=True)
                for (name, one), other in pairs:
                    assert (one.grad is None) == (other.grad is None), (name, uses, compiled)
                    np.testing.assert_allclose(one.array, other.array, rtol=1e-4, atol=1e-5, err_msg=name)
            assert not compiled or run.plan


def check_unused_after_accumulation():
    """What an earlier pass under no_sync has brought is averaged too, although the last one does not reach it."""
    model, reference = DistributedDataParallel(branches(), find_unused_parameters=True), branches()
    with model.no_sync():
        distribute(model, 0, "abc")
    distribute(model, 0, "ab")
    close(model.module, alone(alone(reference, 0, "abc"), 0, "ab"))


def check_another_use_on_another_rank_in_a_compiled_step():
    """A plan that was made while no rank used a parameter does not go on in silence when another rank does."""
    model = DistributedDataParallel(branches(), find_unused_parameters=True)

    def step(x, y, which):
        model.zero_grad()
        loss = loss_of(model, x, y, which)
        loss.backward()
        return loss

    run, (x, y) = af.compile(step), samples()
    for _ in range(4):
        run(part(x), part(y), "ab")
    try:
        run(part(x), part(y), "ab" if RANK == 0 else "abc")
        told = ""
    except CaptureError as error:
        told = str(error)
    # Rank 0's plan has no place for that gradient; the others' step is another one.
    assert ("They are now used: c." in told) == (RANK == 0), told


def check_parameters_that_change():
    model = DistributedDataParallel(network())
    model.module[0].weight.requires_grad_(False)
    assert "0.weight do not require grad any more" in message(lambda: distribute(model))
    model.module[0].weight.requires_grad_(True)
    distribute(model)
    close(model.module, alone(network()))
    model.module.add_module("new", nn.Linear(3, 3))
    assert "new.weight, new.bias are trained now" in message(lambda: distribute(model))
    model = DistributedDataParallel(network())
    model.module[0].weight = nn.Parameter(af.zeros(7, 5))
    told = message(lambda: distribute(model))
    assert "0.weight are trained now; 0.weight are there no more" in told, told
    frozen = network()
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    assert "no parameter of the model requires grad" in message(lambda: DistributedDataParallel(frozen))


def check_inference_alone():
    model = DistributedDataParallel(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)))
    if RANK == 0:
        with af.no_grad():
            model(af.ones(3, 5))
        model.eval()
        assert model(af.ones(3, 5)).shape == (3, 4)
        model.train()


# ---------------------------------------------------------------- errors in the middle


def check_a_pass_that_raised():
    failing = True

    def hook(gradient):
        if failing and (everywhere or RANK == SIZE - 1):
            raise ValueError("in the middle")

    model = DistributedDataParallel(network(), bucket_cap_mb=SMALL)
    model.module[2].weight.register_hook(hook)
    for everywhere in (True, False):
        failing = True
        try:
            distribute(model)
            told = ""
        except (ValueError, DistributedError) as error:
            told = str(error)
        if everywhere or RANK == SIZE - 1:
            assert told == "in the middle"
            failing = False
            model.zero_grad()
            distribute(model)
        else:  # heard when the rank that failed began its next pass
            assert f"rank {SIZE - 1}: it ended with an error" in told, told
            failing = False
            model.zero_grad()
            distribute(model)
        close(model.module, alone(network()))


def check_an_error_after_all_gradients():
    """One that comes when all gradients are under way is heard in the same pass, so no rank steps alone."""
    model = DistributedDataParallel(network(), bucket_cap_mb=SMALL)
    x, y = (part(one) for one in samples())

    def fail(gradient):
        if RANK == SIZE - 1:
            raise ValueError("at the very end")

    (given := x.requires_grad_() * 1.0).register_hook(fail)
    try:
        loss_of(model, given, y).backward()
        told = ""
    except (ValueError, DistributedError) as error:
        told = str(error)
    model.zero_grad()
    distribute(model)
    assert told, "this rank would have stepped"
    close(model.module, alone(network()))


def check_freezing_all_while_evaluating():
    model = DistributedDataParallel(network()).eval()
    distribute(model)
    for trains in (False, True):
        model.module.requires_grad_(trains)
    model.zero_grad()
    distribute(model)
    close(model.module, alone(network()))


def check_work_that_is_completed():
    work = dist.all_reduce(x := af.tensor([float(RANK)]), dist.ReduceOp.AVG, async_op=True)
    while not work.is_completed():
        pass
    assert x.item() == (SIZE - 1) / 2


def check_ranks_that_do_not_do_the_same():
    """Each of them an error on every rank, and afterwards all goes on."""
    x = af.ones(4)
    last = RANK == SIZE - 1
    calls = [
        (lambda: dist.all_reduce(af.ones(5) if last else x), "float32 (5,)"),
        (lambda: dist.all_reduce(af.ones(4, dtype=af.float64) if last else x), "float64 (4,)"),
        (lambda: dist.all_reduce(x, dist.ReduceOp.MAX if last else dist.ReduceOp.SUM), "all_reduce, max"),
        (lambda: dist.broadcast(x, 1 if last else 0), "from rank 1"),
        (lambda: dist.barrier() if last else dist.all_reduce(x), "barrier"),
        (lambda: gather(1) if last else dist.broadcast_object_list([1]), "broadcast_object_list from rank 0"),
        (lambda: dist.all_reduce(af.ones(3) if last else x, async_op=True), "float32 (3,)"),
        (lambda: dist.sum_over_ranks(af.ones(3 if last else 4)), "sum_over_ranks of (3,)"),
        (lambda: dist.barrier() if last else dist.share_of_batch(3), "share_of_batch"),
        (lambda: dist.agree("the seed", [1 if last else 0]), f"the seed:\n  rank 0 has 0, rank {SIZE - 1} has 1"),
        (lambda: DistributedDataParallel(nn.Linear(3, 2 + last)), "rank 0 has weight float32 (2, 3) trained"),
        (lambda: DistributedDataParallel(nn.Linear(3, 2).to("float64" if last else "float32")), "weight float64"),
        (lambda: DistributedDataParallel(nn.Sequential(*[nn.Linear(3, 3) for _ in range(1 + last)])), "differ in the model's"),
        (lambda: DistributedDataParallel(nn.ModuleDict({"b" if last else "a": nn.Linear(3, 3)})), "b.weight"),
        (lambda: DistributedDataParallel(nn.Linear(3, 3), bucket_cap_mb=1 + last), "bucket_cap_mb=2"),
        (lambda: dist.agree_on_batches(af.data.DataLoader([0.0] * (10 + last * 5), batch_size=4)),
         f"rank 0 has 3 batches of 10 samples, rank {SIZE - 1} has 4 batches of 15"),
    ]  # fmt: skip
    for call, expected in calls:
        told = message(call)
        assert expected in told, told
        assert "distributed_faults_job.py" in told or "program.py" in told, told
    dist.agree_on_batches(af.data.DataLoader([0.0] * 10))
    dist.agree_on_batches(iter([]))
    dist.all_reduce(one := af.ones(1))
    assert one.item() == SIZE


# ---------------------------------------------------------------- the wrapper


def check_more_models_than_channels():
    """They share communicators then, and each still gets its own gradients."""
    models = [DistributedDataParallel(network(), bucket_cap_mb=SMALL) for _ in range(CHANNELS + 2)]
    assert models[0].group.communicator is models[CHANNELS].group.communicator
    x, y = samples()
    for _ in range(2):
        for model in models:
            model.zero_grad()
        # In one pass, in another order on each rank; each model has a factor of its own.
        outputs = [model(part(x)) for model in models]
        numbers = [*range(len(models))][:: 1 if RANK else -1]
        order = [(number + 1) * ((outputs[number] * 1 - part(y)) ** 2).mean() for number in numbers]
        sum(order).backward()
        reference = alone(network())
        for number, model in enumerate(models):
            for one, other in zip(model.module.parameters(), reference.parameters(), strict=True):
                np.testing.assert_allclose(one.grad.array, (number + 1) * other.grad.array, rtol=1e-4, atol=1e-5)


def check_sums_by_mpi_itself():
    """As from 32 ranks on."""
    transfer.MANY = 2
    try:
        check_another_order_on_each_rank()
        check_two_models_in_one_pass()
    finally:
        transfer.MANY = 32


def check_memory_that_is_not_contiguous():
    model = network()
    model.register_buffer("turned", af.tensor(np.full((4, 3), float(RANK), "float32").T))
    model.register_buffer("number", af.tensor(RANK))
    model[0].weight.data = af.tensor(np.asfortranarray(model[0].weight.array))
    assert not model.turned.array.flags.c_contiguous
    wrapped = DistributedDataParallel(model)
    assert (model.turned.array == 0).all()
    assert model.number.item() == 0
    model.turned.array[...] = RANK
    wrapped(af.ones(1, 5))
    assert (model.turned.array == 0).all()
    distribute(wrapped)
    close(model, alone(network()))


def check_copies_and_states():
    model = DistributedDataParallel(network(), bucket_cap_mb=SMALL)
    distribute(model)
    if RANK == 0:
        copy.deepcopy(model)  # one rank may do that alone
    for one in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert one.module[0].weight is not model.module[0].weight
        one.zero_grad()
        distribute(one)
        close(one.module, alone(network()))
    assert next(iter(model.state_dict())) == "module.0.weight"
    assert next(name for name, _ in model.named_parameters()) == "module.0.weight"
    other = DistributedDataParallel(network())
    other.load_state_dict(model.state_dict())
    model.eval()
    assert not model.module[0].training
    assert not copy.deepcopy(model).training
    model.train()
    assert model.module[0].training


def check_collectives_in_a_compiled_step():
    inner = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    model = DistributedDataParallel(inner, bucket_cap_mb=SMALL)
    optimizer = af.optim.Adam(model.parameters())

    @af.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        dist.all_reduce(mean := loss.detach().clone(), dist.ReduceOp.AVG)
        gathered = [af.zeros(()) for _ in range(SIZE)]
        dist.all_gather(gathered, mean)
        dist.reduce_scatter(total := af.zeros(()), gathered)
        return mean, total * 1, loss

    for seed in range(6):
        x, y = samples(seed)
        mean, total, loss = step(part(x), part(y))
        np.testing.assert_allclose(mean.item(), np.mean(gather(loss.item())), rtol=1e-5)
        np.testing.assert_allclose(total.item(), mean.item() * SIZE, rtol=1e-5)
    assert step.plan
    assert len(set(gather(b"".join(one.array.tobytes() for one in model.parameters())))) == 1


def main() -> None:
    global RANK, SIZE
    dist.init_process_group(timeout=30)
    RANK, SIZE = dist.get_rank(), dist.get_world_size()
    wanted = sys.argv[1:]
    for name, check in [*globals().items()]:
        if name.startswith("check_") and (not wanted or name in wanted):
            try:
                check()
            except BaseException:
                sys.stderr.write(f"rank {RANK}, {name}:\n{traceback.format_exc()}")
                dist.abort(1)
            dist.barrier()
            if RANK == 0:
                print("passed", name, flush=True)


if __name__ == "__main__":
    main()
