"""Reading ahead and writing behind."""

import pytest

from animevsr.utils.threads import BackgroundWriter, prefetch


def test_reading_ahead_and_writing_behind():
    taken = []
    items = prefetch((taken.append(i) or i for i in range(100)), 3)
    assert next(items) == 0
    items.close()
    assert len(taken) < 8

    def broken():
        yield 1
        raise KeyError('x')

    with pytest.raises(KeyError):
        list(prefetch(broken(), 2))
    written = []
    with BackgroundWriter(written.append, 2) as write:
        for i in range(20):
            write(i)
    assert written == list(range(20))

    def fails(item):
        raise OSError('full')

    with pytest.raises(OSError, match='full'), BackgroundWriter(fails, 2) as write:
        for i in range(20):
            write(i)
    with pytest.raises(KeyboardInterrupt), BackgroundWriter(written.append, 2) as write:
        raise KeyboardInterrupt
