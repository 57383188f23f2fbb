"""A callback made of functions."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from ...engine import here
from ...errors import DtypeError
from ..callback import Callback

__all__ = ["LambdaCallback"]

_HOOKS = sorted(name for name in vars(Callback) if name.startswith("on_"))
Hook = Callable[..., Any] | None


class LambdaCallback(Callback):
    """Calls functions at the hooks of `Callback`, with those hooks' arguments.

    Args:
        on_epoch_begin, on_epoch_end: functions of ``(epoch, logs)``.
        on_train_begin, on_train_end: functions of ``(logs)``.
        on_train_batch_begin, on_train_batch_end: functions of ``(batch, logs)``.
        hooks: functions for the other hooks, by their names (``on_test_end``).

    Raises:
        DtypeError: a name that is no hook, or something that cannot be called.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> from autograd_ff.training.callbacks import LambdaCallback
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=0.1))
    >>> tell = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, *logs))
    >>> _ = trainer.fit(af.ones(8, 2), af.zeros(8, 1), epochs=2, callbacks=[tell], checks=False, verbose=0)
    0 loss
    1 loss
    """

    def __init__(
        self,
        on_epoch_begin: Hook = None,
        on_epoch_end: Hook = None,
        on_train_begin: Hook = None,
        on_train_end: Hook = None,
        on_train_batch_begin: Hook = None,
        on_train_batch_end: Hook = None,
        **hooks: Hook,
    ) -> None:
        hooks |= {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for name, function in hooks.items():
            if name not in _HOOKS:
                near = difflib.get_close_matches(name, _HOOKS, 1)
                raise DtypeError(
                    f"{name!r} is no hook; {f'is {near[0]!r} meant?' if near else 'there are ' + ', '.join(_HOOKS)}{here()}"
                )
            if function is not None:
                if not callable(function):
                    raise DtypeError(f"{name} takes a function, got {function!r}{here()}")
                setattr(self, name, function)
