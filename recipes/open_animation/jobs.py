"""Work in several processes, with progress."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed


def run_jobs(function, calls, label, jobs):
    """Call `function(*arguments)` for each of `calls`, `jobs` at a time; after the first error, or an
    interrupt, no more of them begins.
    """
    start = time.monotonic()
    # a fork of a process with threads, as libraries have them, may wait for ever
    with ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn')) as pool:
        todo = [pool.submit(function, *arguments) for arguments in calls]
        try:
            for done, future in enumerate(as_completed(todo), 1):
                future.result()
                spent = time.monotonic() - start
                print(
                    f'\r{label}: {done}/{len(todo)}, {spent / done * (len(todo) - done):.0f} s to go ',
                    end='',
                    flush=True,
                )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    print()
