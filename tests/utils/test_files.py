import os

import pytest

from animevsr.errors import MediaError
from animevsr.utils.files import make_folder


def test_folders_for_results(tmp_path, monkeypatch):
    make_folder(tmp_path / 'a/b')
    make_folder(tmp_path / 'a/b')
    (tmp_path / 'file').touch()
    with pytest.raises(MediaError, match=r'file: cannot be made \(a file has this name\); name another'):
        make_folder(tmp_path / 'file')
    with pytest.raises(MediaError, match=r'in: cannot be made \(Not a directory\); name another output'):
        make_folder(tmp_path / 'file/in')
    monkeypatch.setattr(os, 'access', lambda *_: False)  # tests may run as root, who may do all
    with pytest.raises(MediaError, match='b: is not writable; name another output'):
        make_folder(tmp_path / 'a/b')
