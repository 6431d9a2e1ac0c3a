"""Calls in a thread of their own."""

from threading import Event

import pytest

from mocanet_jax.runtime import background
from mocanet_jax.runtime.background import Background


def test_it_runs_beside_the_caller():
    """A call that is made when its result is wanted saves no time."""
    begun, goes_on = Event(), Event()

    def call():
        begun.set()
        goes_on.wait()
        return 3

    work = Background(call)
    assert begun.wait(10)
    assert background.running()
    goes_on.set()
    assert work.result() == 3
    assert not background.running()


def test_an_error_is_raised_where_the_result_is_wanted():
    """In the thread it would be printed, and the caller would go on."""

    def fail():
        raise ValueError("of the call")

    work = Background(fail)
    with pytest.raises(ValueError, match="of the call"):
        work.result()
