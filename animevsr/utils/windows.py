"""Windows over a stream of frames."""


def triples(frames):
    """(previous, current, next) of each item of an iterable; the first and the last one stand in for their
    missing neighbours.

    At most three items are held at a time.
    """
    frames = iter(frames)
    current = previous = next(frames, None)
    if current is None:
        return
    for following in frames:
        yield previous, current, following
        previous, current = current, following
    yield previous, current, current
