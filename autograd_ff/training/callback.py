"""What a callback is, and calling many of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..engine import here
from ..errors import DtypeError

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Callback", "Callbacks"]


class Callback:
    """Something that looks on while a model is trained, and may steer.

    One's own overrides any of the hooks. Epochs and batches count from 0; ``logs`` maps names to numbers: at the end of a
    batch the means over the epoch so far (``"loss"``, ``"accuracy"``), at the end of an epoch also those of the validation
    (``"val_loss"``). What `on_epoch_end` adds to its ``logs`` goes into the history. `on_train_end` is called on every way
    out: also after a Ctrl-C, a NaN or an exception.

    Attributes:
        trainer: the `Trainer` that calls; set before `on_train_begin`.
        model: its module.
        params: what was asked for, as in Keras: ``epochs``, ``steps``, ``verbose``.
        order: callbacks are called in ascending order, those of the same order as they were given.
        leader_only: where several processes train, call it in the first one alone: what prints, plots or writes files,
            and neither steers nor communicates.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Callback, Trainer
    >>> class Shout(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(f"epoch {epoch} is over, {sorted(logs)}")
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=0.1))
    >>> _ = trainer.fit(af.ones(8, 2), af.zeros(8, 1), epochs=2, callbacks=[Shout()], checks=False, verbose=0)
    epoch 0 is over, ['loss']
    epoch 1 is over, ['loss']
    """

    trainer: Trainer
    order: int = 0
    leader_only: bool = False

    @property
    def model(self) -> Any:
        return self.trainer.model

    @property
    def params(self) -> dict[str, Any]:
        """What the training was asked for: ``epochs``, ``steps`` of an epoch, ``verbose``."""
        return self.trainer.history.params

    def on_train_begin(self, logs: Any = None) -> None: ...
    def on_train_end(self, logs: Any = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None: ...
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None: ...
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None: ...
    def on_test_begin(self, logs: Any = None) -> None: ...
    def on_test_end(self, logs: Any = None) -> None: ...
    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: Any = None) -> None: ...
    def on_predict_begin(self, logs: Any = None) -> None: ...
    def on_predict_end(self, logs: Any = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs of it: tensors, numbers and strings, in dicts and lists."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""


class Callbacks:
    """The callbacks of one call, in their order; a hook that nobody overrides costs nothing."""

    def __init__(self, callbacks: Iterable[Callback], trainer: Trainer) -> None:
        given = list(callbacks)
        for one in given:
            if not isinstance(one, Callback):
                raise DtypeError(
                    f"callbacks are objects of classes derived from autograd_ff.training.Callback, got {one!r}.{here()}"
                    + ("\n  Make one of the class: give it parentheses." if isinstance(one, type) else "")
                )
            one.trainer = trainer
        called = [one for one in given if trainer.sharing.leads or not one.leader_only]
        self._callbacks = sorted(called, key=lambda one: one.order)
        self._hooks: dict[str, list[Any]] = {}

    def __iter__(self) -> Iterator[Callback]:
        return iter(self._callbacks)

    def of(self, hook: str) -> list[Any]:
        """The methods that override a hook."""
        if hook not in self._hooks:
            default = getattr(Callback, hook)
            found = [getattr(one, hook) for one in self._callbacks]
            self._hooks[hook] = [method for method in found if getattr(method, "__func__", method) is not default]
        return self._hooks[hook]

    def call(self, hook: str, *arguments: Any) -> None:
        for method in self.of(hook):
            method(*arguments)
