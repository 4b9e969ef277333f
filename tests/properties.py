"""Settings of the property tests: how many examples they try, and how a failing example is reported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import format_exception
from typing import Any, ParamSpec

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine
from twisted.trial.unittest import FailTest

_P = ParamSpec("_P")

#: In CI the same examples each time, so that no change fails for an old fault; elsewhere, and in ``python -m fuzz``,
#: new ones.
_usual = settings(deadline=None, derandomize="CI" in os.environ)


@contextmanager
def _told() -> Iterator[None]:
    """Hypothesis puts the example that failed into the notes of the exception, which trial does not print.

    Nor does it print the parts of a group, which it is where several examples fail in different ways.
    """
    try:
        yield
    except Exception as error:
        if not hasattr(error, "__notes__") and not isinstance(error, ExceptionGroup):
            raise
        raise FailTest("".join(format_exception(error))) from None


def examples(number: int) -> Callable[[Callable[_P, None]], Callable[_P, None]]:
    """Decorate a test that is given something.

    :param number: how many examples it tries; there is no deadline, as machines of CI are slow
    """
    chosen = settings(_usual, max_examples=number)

    def decorate(test: Callable[_P, None]) -> Callable[_P, None]:
        return _told()(chosen(test))

    return decorate


#: Enough examples to find what there is, few enough for a quick run.
moderately = examples(200)


def run_courses(machine: type[RuleBasedStateMachine], number: int, steps: int) -> None:
    """Run a state machine.

    :param number: of courses
    :param steps: of each, at most
    """
    case: Any = machine.TestCase
    case.settings = settings(
        _usual, max_examples=number, stateful_step_count=steps, suppress_health_check=list(HealthCheck)
    )
    with _told():
        case("runTest").debug()
