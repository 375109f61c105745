"""Waiting for the queue of the app."""

import time


def wait(queue, number, *states, seconds=600):
    """The entry, once it is in one of the states.

    Raises:
        TimeoutError: it is not within `seconds`.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        entry = queue.find(number)
        if entry.state in states:
            return entry
        time.sleep(0.1)
    raise TimeoutError(f'{entry.input}: is {entry.state} after {seconds} s')
