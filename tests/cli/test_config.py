"""Settings in files: `--config`, `--save-config`, and `queue.toml` of a folder of videos."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import moving_frames, write_video

import animevsr
from animevsr.errors import CheckpointError
from animevsr.upscaling.batch import estimate_folder
from animevsr.upscaling.options import UpscaleOptions
from animevsr.utils.options import read_settings
from animevsr.video.selection import Part
from animevsr_cli.config import parse, settings_of
from animevsr_cli.console import build

COMMAND = ['upscale', 'in.mkv', '-o', 'out.mkv']


def parsed(*arguments):
    return parse(*build(), [*COMMAND, *map(str, arguments)])


def test_what_is_saved_is_read_again(tmp_path):
    file = tmp_path / 'my.toml'
    options = ['-s', 2, '--crf', 20, '--no-cuts', '--start', '1:23', '--grain', 2.5, '--part', '1/3']
    options += ['--encoder-options', 'g=12', 'bf=3', '--tile', 'auto', '-n', 'a "name"']
    saved = parsed(*options, '--save-config', file)
    text = file.read_text()
    assert 'outscale = 2.0' in text and 'cuts = false' in text and 'device' not in text
    again = parsed('--config', file)
    assert settings_of(again) == {**settings_of(saved), 'encoder_options': ('g=12', 'bf=3')}
    over = parsed('--config', file, '-s', 3)  # the command line goes before the file
    assert (over.outscale, over.crf) == (3, 20)


@pytest.mark.parametrize(
    'text, said',
    [
        ('crff = 3', "unknown setting 'crff'; did you mean 'crf'?"),
        ('codec = "h261"', 'codec must be one of h264'),
        ('crf = ', 'is not TOML'),
        ('weights = "ä"', 'is not TOML'),
        ('input = "x"', "unknown setting 'input'"),
        (None, 'cannot be read'),
    ],
)
def test_what_cannot_be(text, said, tmp_path):
    file = tmp_path / 'my.toml'
    if text is not None:
        file.write_bytes(text.encode('latin1'))
    with pytest.raises(SystemExit, match='my.toml: ') as error:
        parsed('--config', file)
    assert said in str(error.value) and '\n' not in str(error.value)


def test_times_of_toml(tmp_path):
    file = tmp_path / 'my.toml'
    file.write_text('start = 00:01:23\nend = 90.5\n')
    options = UpscaleOptions.of(**settings_of(parsed('--config', file)))
    assert options.selection.part() == Part.parse('83', '90.5')


def test_one_video_that_cannot_be_does_not_stop_the_others(tiny_weights, tmp_path):
    (tmp_path / 'in').mkdir()
    for name, size in (('a', (32, 48)), ('b', (64, 48)), ('c', (32, 48))):
        write_video(tmp_path / f'in/{name}.mkv', moving_frames(2, *size))
    options = dict(weights=tiny_weights, backend='torch', height=64)
    options['crop'] = '20:20:0:0'
    done = animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'out', **options)
    assert 'failed: ' in done['a.mkv'] and 'failed: ' in done['c.mkv'] and 'done' in done['b.mkv'], done
    looked = dict(estimate_folder(tmp_path / 'in', tmp_path / 'other', **options))
    assert [isinstance(looked[tmp_path / f'in/{name}.mkv'], str) for name in 'abc'] == [True, False, True]
    with pytest.raises(ValueError, match='crf must be between'):
        animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'none', crf=99)
    assert not (tmp_path / 'none').exists()


def test_a_queue(tiny_weights, tmp_path):
    root = tmp_path / 'in'
    (root / 'extras').mkdir(parents=True)
    for name in ('a.mkv', 'b.mkv', 'extras/c.mkv', 'extras/d.mkv'):
        write_video(root / name, moving_frames(3, 32, 48))
    (root / 'queue.toml').write_text(
        '["*.mkv"]\noutscale = 2\n["extras/*"]\nskip = true\n["extras/d.mkv"]\nskip = false\nend = "2f"\n'
    )
    done = animevsr.upscale_folder(root, tmp_path / 'out', weights=tiny_weights, backend='torch')
    assert done == {
        'a.mkv': 'done, 3 frames',
        'b.mkv': 'done, 3 frames',
        'extras/c.mkv': 'left out, by queue.toml',
        'extras/d.mkv': 'done, 2 frames',
    }
    from animevsr.video.reader import VideoReader

    with VideoReader(tmp_path / 'out/a.mkv') as reader:
        assert reader.info.size == (64, 96)


@pytest.mark.parametrize(
    'text, said',
    [
        ('["a.mkv"]\ncrf = 99', r'\["a.mkv"\]: crf must be between'),
        ('["a.mkv"]\nsize = 9', r"unknown setting 'size'; did you mean"),
        ('crf = 9', 'crf must be a table'),
        ('["a', 'is not TOML'),
    ],
)
def test_a_queue_that_cannot_be_is_told_before_the_work(text, said, tiny_weights, tmp_path):
    (tmp_path / 'in').mkdir()
    write_video(tmp_path / 'in/a.mkv', moving_frames(3, 32, 48))
    (tmp_path / 'in/queue.toml').write_text(text)
    with pytest.raises(ValueError, match=said):
        animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'out', weights=tiny_weights)
    assert not (tmp_path / 'out').exists()


def test_help_has_groups_and_examples():
    done = subprocess.run(
        [sys.executable, '-m', 'animevsr_cli', 'upscale', '--help'],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [
        name
        for name in ('input:', 'picture:', 'speed:', 'output:', 'examples:')
        if f'\n{name}' in done.stdout.lower()
    ]
    assert len(found) == 5 and 'animevsr upscale INPUT -o OUTPUT [options]' in done.stdout


@pytest.mark.skipif(sys.platform == 'win32', reason='needs a file descriptor of its own')
def test_a_shell_is_told_how_a_line_goes_on():
    line = 'animevsr upscale in.mkv --squ'
    asked = {**os.environ, '_ARGCOMPLETE': '1', 'COMP_LINE': line, 'COMP_POINT': str(len(line))}
    command = f'{sys.executable} -m animevsr_cli 8>&1 9>/dev/null'
    done = subprocess.run(['bash', '-c', command], env=asked, capture_output=True, text=True)
    assert done.stdout.strip() == '--square-pixels'


@pytest.mark.parametrize(
    'text, said',
    [
        ('jobs = 1.5', 'jobs must be a whole number, got 1.5'),
        ('fit = 100', 'fit must be text, got 100'),
        ('threads = 1.5', 'threads must be a whole number, got 1.5'),
        ('fast = "no"', "fast must be true or false, got 'no'"),
        ('crf = true', 'crf must be a number, got True'),
    ],
)
def test_values_of_another_type(text, said, tmp_path):
    (tmp_path / 'my.toml').write_text(text)
    with pytest.raises(ValueError) as error:
        UpscaleOptions.of(**settings_of(parsed('--config', tmp_path / 'my.toml')))
    assert str(error.value) == said


def test_values_that_are_as_good():
    good = dict(preset=4, codec='av1', crf=18.5, height=128.0, reuse=1, part=[1, 2], cuts=np.True_)
    options = UpscaleOptions.of(**good)
    assert options.encode.preset == '4' and options.part == (1, 2) and options.cuts
    with pytest.raises(ValueError, match='part must be I/N'):
        UpscaleOptions.of(part=[3, 2])


def test_values_that_are_meant(tmp_path):
    file = tmp_path / 'my.toml'
    file.write_bytes(  # as Notepad saves it
        b'\xef\xbb\xbfchroma = 420\nencoder-options = "g=48"\noutscale = 2\n'
    )
    options = UpscaleOptions.of(**settings_of(parsed('--config', file)))
    assert options.encode.chroma == '420' and options.encode.encoder_options == ('g=48',)
    assert options.outscale == 2


HIDDEN = """
import sys
class Finder:
    def find_spec(name, *_):
        if name.partition('.')[0] == '{0}':
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Finder)
"""


def test_what_is_missing_is_one_line(tmp_path):
    """Most packages are imported when they are used."""
    for module, command, remedy in (
        ('basicsr', 'compare', 'animevsr setup'),
        ('cv2', 'preview', 'pip install opencv-python'),
    ):
        (tmp_path / 'sitecustomize.py').write_text(HIDDEN.format(module))
        done = subprocess.run(
            [sys.executable, '-m', 'animevsr_cli', command, 'missing.mkv'],
            env={**os.environ, 'PYTHONPATH': str(tmp_path)},
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 1 and 'Traceback' not in done.stderr
        assert done.stderr.strip().endswith(f'the package {module} is missing; run: {remedy}'), done.stderr


def test_names_that_are_not_utf8(tmp_path, tiny_weights):
    folder = os.fsencode(tmp_path / 'in')
    os.mkdir(folder)
    write_video(tmp_path / 'v.mkv', moving_frames(2, 32, 48))
    try:
        os.rename(tmp_path / 'v.mkv', folder + b'/caf\xe9.mkv')
    except OSError:
        pytest.skip('this file system has no such names')
    arguments = ['upscale', 'in', '-o', 'out', '-n', str(tiny_weights), '--backend', 'torch']
    done = subprocess.run(
        [sys.executable, '-m', 'animevsr_cli', *arguments],
        env={**os.environ, 'PYTHONIOENCODING': 'utf-8:strict'},
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert b'caf\xe9.mkv' in os.listdir(os.fsencode(tmp_path / 'out')) and b'caf\\udce9' in done.stdout


TORCH = dict(backend='torch')


def test_names_with_no():
    known = ['cuts', 'compiled', 'crf']
    assert read_settings({'no-cuts': True, 'crf': 3}, known, 'x') == {'cuts': False, 'crf': 3}
    assert read_settings({'compile': True}, known, 'x') == {'compiled': True}
    with pytest.raises(ValueError, match="x: unknown setting 'no-crf'; did you mean 'crf'"):
        read_settings({'no-crf': True}, known, 'x')


def test_a_table_of_the_queue_that_is_for_no_video(tiny_weights, tmp_path):
    (tmp_path / 'in').mkdir()
    write_video(tmp_path / 'in/a.mkv', moving_frames(2, 32, 48))
    (tmp_path / 'in/queue.toml').write_text('["b.avi"]\nno-cuts = true\n')
    with pytest.warns(UserWarning, match=r'queue.toml: no video is named \["b.avi"\]'):
        done = animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'out', weights=tiny_weights, **TORCH)
    assert done == {'a.mkv': 'done, 2 frames'}
    (tmp_path / 'in/queue.toml').write_text('["a.mkv"]\ncrff = 3\n')
    with pytest.raises(ValueError, match="queue.toml: ..a.mkv..: unknown setting 'crff'; did you mean 'crf'"):
        animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'out2', weights=tiny_weights)


def test_a_wrong_name_and_a_file_that_is_there(tiny_weights, tmp_path):
    source = write_video(tmp_path / 'a.mkv', moving_frames(2, 32, 48))
    with pytest.raises(CheckpointError, match='animevsr_x5: no such weights file.*did you mean animevsr_x4'):
        animevsr.upscale(source, tmp_path / 'out.mkv', 'animevsr_x5')
    assert not list(tmp_path.glob('*out*'))
    (tmp_path / 'out.mkv').write_text('mine')
    with pytest.warns(UserWarning, match='out.mkv is there already; it is replaced when the new one is done'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, backend='torch')


def test_a_model_that_cannot_be_had_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv('ANIMEVSR_CACHE', str(tmp_path / 'cache'))
    source = write_video(tmp_path / 'a.mkv', moving_frames(2, 32, 48))
    with pytest.raises(CheckpointError, match='vqdsr: cannot be fetched'):
        animevsr.upscale(source, tmp_path / 'out.mkv', 'vqdsr')
    assert not list(tmp_path.glob('*out*'))


def test_several_inputs(tmp_path, capsys):
    for name in 'ab':
        (tmp_path / f'{name}.mkv').touch()
    with pytest.raises(SystemExit):
        parse(*build(), ['upscale', str(tmp_path / 'a.mkv'), str(tmp_path / 'b.mkv'), '-o', 'out'])
    assert 'b.mkv; one input at a time: of several videos name the folder' in capsys.readouterr().err
