"""Files: locks."""
import errno


def inherited_lock(path):
    """A file, made where it is missing, that is locked until it is closed, also in processes that inherit it (filelock's are not).

    Where there are no locks (Windows, some network folders) nobody is kept away.

    Raises:
        BlockingIOError: another process holds it.
    """
    file = open(path, 'w')  # noqa: SIM115  (the caller closes it)
    try:
        import fcntl
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            file.close()
            raise BlockingIOError(error.errno, f'{path}: is locked') from None
    return file
