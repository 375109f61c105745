"""What only POSIX has is called only where there is another way for Windows."""

import ast
import os
import sys

import pytest
from conftest import REPO
from small_networks import CPU, network

from animevsr.engine.backends import open_backend
from animevsr.utils.files import inherited_lock

# calls and modules that Windows does not have
PROCESSES = {'fork', 'forkpty', 'setsid', 'setpgid', 'killpg', 'getpgid', 'nice', 'wait', 'waitid', 'WNOHANG'}
SYSTEM = {'getuid', 'geteuid', 'getgid', 'chown', 'mkfifo', 'getloadavg', 'sysconf', 'statvfs', 'uname'}
AFFINITY = {'sched_getaffinity', 'sched_setaffinity', 'register_at_fork', 'set_blocking', 'O_CLOEXEC'}
SIGNALS = {'SIGKILL', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGSTOP', 'SIGCONT', 'SIGPIPE', 'SIGCHLD'}
CALLS = {'alarm', 'setitimer', 'pause', 'pthread_sigmask', 'pthread_kill', 'sigwait'}
POSIX = {'os': PROCESSES | SYSTEM | AFFINITY, 'signal': SIGNALS | CALLS}
MODULES = {'fcntl', 'resource', 'pwd', 'grp', 'termios', 'tty', 'pty', 'posix', 'syslog'}
GUARDS = (
    *('os.name', 'sys.platform', 'ImportError'),
    *(f'{how}({module}' for how in ('hasattr', 'getattr') for module in POSIX),
)
FILES = sorted([*(REPO / 'animevsr').rglob('*.py'), *(REPO / 'animevsr_cli').rglob('*.py')])


def posix_only(tree):
    """(node, what) of each use of what Windows lacks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in POSIX.get(node.value.id, ()):
                yield node, f'{node.value.id}.{node.attr}'
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in MODULES:
                    yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            names = (
                POSIX.get(node.module, set()) if node.module not in MODULES else {a.name for a in node.names}
            )
            for alias in node.names:
                if alias.name in names:
                    yield node, f'{node.module}.{alias.name}'


def guarded(tree, text, node):
    """Whether what stands around a node asks for the system first."""
    around = [
        n
        for n in ast.walk(tree)
        if isinstance(n, (ast.If, ast.IfExp, ast.Try, ast.BoolOp)) and n.lineno <= node.lineno <= n.end_lineno
    ]
    return any(guard in ast.get_source_segment(text, n) for n in around for guard in GUARDS)


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(REPO)))
def test_posix_has_a_branch_for_windows(path):
    text = path.read_text(encoding='utf8')
    tree = ast.parse(text)
    found = [
        f'{what}, line {node.lineno}' for node, what in posix_only(tree) if not guarded(tree, text, node)
    ]
    assert not found


def test_the_search_finds_what_it_should():
    bad = 'import os, signal\nimport fcntl\nfrom os import fork\nos.killpg(1, signal.SIGKILL)\n'
    assert sorted(what for _, what in posix_only(ast.parse(bad))) == [
        'fcntl',
        'os.fork',
        'os.killpg',
        'signal.SIGKILL',
    ]
    good = "import os\nif os.name == 'posix':\n    os.killpg(1, 9)\n"
    tree = ast.parse(good)
    assert all(guarded(tree, good, node) for node, _ in posix_only(tree))
    (node,) = (node for node, _ in posix_only(ast.parse('import os\nos.killpg(1, 9)\n')))
    assert not guarded(ast.parse('import os\nos.killpg(1, 9)\n'), 'import os\nos.killpg(1, 9)\n', node)


def test_without_what_windows_lacks_it_locks_and_counts(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'fcntl', None)
    with inherited_lock(tmp_path / 'lock'), inherited_lock(tmp_path / 'lock'):
        pass  # nobody is kept away
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    assert open_backend(network(), CPU, 'torch').threads >= 1
