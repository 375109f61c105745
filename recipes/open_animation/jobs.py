"""Work in several processes, with progress."""

import time
from concurrent.futures import as_completed

from animevsr.utils.tasks import process_pool


def run_jobs(function, calls, label, jobs):
    """Call `function(*arguments)` for each of `calls`, `jobs` at a time; the first error, or an interrupt,
    stops it.
    """
    start = time.monotonic()
    with process_pool(jobs) as pool:
        todo = [pool.submit(function, *arguments) for arguments in calls]
        for done, future in enumerate(as_completed(todo), 1):
            future.result()
            spent = time.monotonic() - start
            print(
                f'\r{label}: {done}/{len(todo)}, {spent / done * (len(todo) - done):.0f} s to go ',
                end='',
                flush=True,
            )
    print()
