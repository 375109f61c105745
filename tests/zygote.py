"""A process in which this package is imported already, and that forks itself for each command of a test.

Starting Python and importing torch, torchvision and BasicSR takes some four seconds, a fork none. What runs
in the child is otherwise what `python -m MODULE ...` runs in a fresh process: its own arguments, folder,
environment, standard streams and exit code. A test of what is imported, or of variables that count before the
first import, needs a fresh one: `run_python` comes here for `-m animevsr...` alone.

    {"arguments": ["-m", "animevsr_cli", ...], "cwd": ..., "environment": {...}, "stdout": FILE, "stderr":
    FILE, "stdin": FILE, "timeout": SECONDS, "max_file": BYTES or null}

is read as a line from standard input; the answers are lines, too: the process's number, then its exit code
(negative: killed by a signal).
"""

import atexit
import contextlib
import json
import os
import resource
import runpy
import signal
import sys
import threading
import time
import traceback

import basicsr.train  # noqa: F401
import torch  # noqa: F401

import animevsr.upscaling.api  # noqa: F401


def run(arguments):
    """As the interpreter: a module (-m), a text (-c) or a script; its exit code."""
    kind, rest = (arguments[0], arguments[1:]) if arguments[0] in ('-m', '-c') else ('script', arguments)
    try:
        sys.path[0] = os.path.dirname(os.path.abspath(rest[0])) if kind == 'script' else ''
        if kind == '-m':
            sys.argv = rest
            runpy.run_module(rest[0], run_name='__main__', alter_sys=True)
        elif kind == '-c':
            sys.argv = ['-c', *rest[1:]]
            exec(compile(rest[0], '<string>', 'exec'), {'__name__': '__main__'})
        else:
            sys.argv = rest
            runpy.run_path(rest[0], run_name='__main__')
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def child(request):
    for number, (path, flags) in enumerate(
        ((request['stdin'], os.O_RDONLY), (request['stdout'], os.O_WRONLY), (request['stderr'], os.O_WRONLY))
    ):
        file = os.open(path, flags)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request['max_file']:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request['max_file'], request['max_file']))
    os.chdir(request['cwd'])
    os.environ.clear()
    os.environ.update(request['environment'])
    sys.path[1:1] = [path for path in os.environ.get('PYTHONPATH', '').split(os.pathsep) if path]
    code = run(request['arguments'])
    with contextlib.suppress(BaseException):
        threading._shutdown()  # waits for threads, as the interpreter does at its end
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code & 255)


def serve():
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(request)
        print(pid, flush=True)
        deadline = time.monotonic() + request['timeout']
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == '__main__':
    serve()
