"""What is installed and works, as text."""

from animevsr.evaluation import doctor as module
from animevsr.evaluation.doctor import doctor, try_backend


def test_it_says_what_works(monkeypatch):
    monkeypatch.setattr(module, 'NAMES', ('auto', 'torch'))
    monkeypatch.setattr(module, 'try_backend', lambda name, fast: try_backend('torch', False))
    text = doctor()
    assert 'backend torch: works (torch ' in text and 'codec ffv1: ffv1' in text and 'animevsr_x4' in text
    assert 'missing: ' in text and 'numpy' in text


def test_a_backend_that_is_not_there_says_why(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert 'not installed; run: pip install ncnn' in try_backend('ncnn', False)
