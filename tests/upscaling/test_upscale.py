"""Upscaling as a user does it: the function, the commands, and what happens when something is wrong."""

import signal
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from colour_bars import BARS, MATRIX, bar_colours, bars_frame
from conftest import REPO, decode, make_identity, moving_frames, run_python, write_clip, write_video

import animevsr
import animevsr_cli
from animevsr.engine.upscaler import Upscaler
from animevsr.errors import MediaError
from animevsr.utils.rates import parse_rate
from animevsr.video.images import image_size, read_image


def test_stream_equals_the_network_on_the_whole_clip(tiny_weights, device):
    frames = moving_frames(6, 21, 30)
    net = animevsr.load_network(tiny_weights, device)
    clip = torch.from_numpy(frames).permute(0, 3, 1, 2)[None].to(device) / 255
    with torch.no_grad():
        expected = (net(clip)[0].clamp(0, 1) * 255).round().permute(0, 2, 3, 1).cpu().numpy()
    streamed = np.stack(list(Upscaler(net, torch.device(device))(frames)))
    assert streamed.shape == (6, 84, 120, 3) and np.abs(streamed - expected).max() <= 1


def test_is_lazy(tiny_weights):
    """A frame comes out as soon as its right neighbour is in: memory does not grow with the length."""
    taken = []
    frames = (taken.append(i) or f for i, f in enumerate(moving_frames(9, 8, 8)))
    upscaled = Upscaler(animevsr.load_network(tiny_weights), torch.device('cpu'))(frames)
    for i in range(9):
        next(upscaled)
        assert len(taken) == min(i + 2, 9)


@pytest.mark.parametrize('t', [1, 2, 5])
def test_video(t, tiny_weights, tmp_path):
    source = write_video(
        tmp_path / 'in.mp4', moving_frames(t, 34, 50), rate=Fraction(24000, 1001), sound=True
    )
    done = animevsr.upscale(source, tmp_path / 'out.mp4', weights=tiny_weights)
    assert (done.frames, done.width, done.height, done.frame_rate) == (t, 200, 136, Fraction(24000, 1001))
    assert done.fps > 0 and done.seconds > 0
    frames, times = decode(tmp_path / 'out.mp4')
    assert frames.shape == (t, 136, 200, 3) and list(times) == [Fraction(1001 * i, 24000) for i in range(t)]
    assert [p.name for p in sorted(tmp_path.iterdir())] == ['in.mp4', 'out.mp4', 'tiny.pth']


def packets(path):
    with av.open(str(path)) as file:
        return [
            [(p.pts * p.time_base, bytes(p)) for p in file.demux(track) if p.size]
            for track in file.streams.audio[:1]
        ]


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv'])
def test_sound_is_copied_untouched(suffix, tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mp4', moving_frames(30, 16, 16), sound=True)
    animevsr.upscale(source, tmp_path / f'out{suffix}', weights=tiny_weights)
    (before,), (after,) = packets(source), packets(tmp_path / f'out{suffix}')
    assert len(before) > 40 and [data for _, data in before] == [data for _, data in after]
    # a container may shift everything together, by no more than the encoder's priming
    start = after[0][0] - before[0][0]
    assert abs(start) < 0.03
    assert all(abs(b - a - start) < 0.002 for (a, _), (b, _) in zip(before, after))


@pytest.mark.parametrize(
    'standard, full_range',
    [
        pytest.param('bt601', False, marks=pytest.mark.slow),
        ('bt709', True),
        pytest.param('bt601', True, marks=pytest.mark.slow),
        pytest.param('bt709', False, marks=pytest.mark.slow),
    ],
)
def test_colour_bars_through_the_whole_way(standard, full_range, tmp_path):
    """The network's skip connection alone (its last layer is zero) must give the bars back, and the tags."""
    weights = make_identity(tmp_path)
    with av.open(str(tmp_path / 'bars.mkv'), 'w') as out:
        stream = out.add_stream('ffv1', rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 64, 'yuv420p'
        context = stream.codec_context
        context.colorspace, context.color_range = MATRIX[standard], 2 if full_range else 1
        for i in range(3):
            frame = bars_frame(standard, full_range)
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    for name in ('out.mp4', 'out.mkv'):
        animevsr.upscale(tmp_path / 'bars.mkv', tmp_path / name, weights=weights, crf=1)
        with av.open(str(tmp_path / name)) as file:
            frame = next(file.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (MATRIX[standard], 2 if full_range else 1)
        images, _ = decode(tmp_path / name)
        assert np.abs(bar_colours(images[1]) - BARS).max() <= 2


def test_pixel_shape_is_kept(tiny_weights, tmp_path):
    source = tmp_path / 'dv.mkv'
    with av.open(str(source), 'w') as out:
        stream = out.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, 'yuv420p'
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(moving_frames(1, 32, 48)[0], format='rgb24')))
        out.mux(stream.encode(None))
    for name in ('o.mp4', 'o.mkv'):
        animevsr.upscale(source, tmp_path / name, weights=tiny_weights)
        with av.open(str(tmp_path / name)) as file:
            assert file.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


def test_what_is_left_out_is_said(tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mp4', moving_frames(2, 16, 16), sound=True)
    with pytest.warns(UserWarning, match='only the picture of .*in.mp4 is kept'):
        done = animevsr.upscale(source, tmp_path / 'o.mp4', weights=tiny_weights, fps=50)
    assert done.frame_rate == 50 and packets(tmp_path / 'o.mp4') == []
    with pytest.warns(UserWarning, match='half is left out'):
        animevsr.upscale(source, tmp_path / 'p.mp4', weights=tiny_weights, half=True, device='cpu')


def test_folder_and_image(tiny_weights, tmp_path):
    write_clip(tmp_path / 'in', moving_frames(3, 10, 15), start=8)
    assert animevsr.upscale(tmp_path / 'in', tmp_path / 'frames', weights=tiny_weights).frames == 3
    assert [cv2.imread(str(p)).shape for p in sorted((tmp_path / 'frames').iterdir())] == [(40, 60, 3)] * 3
    done = animevsr.upscale(
        tmp_path / 'in', tmp_path / 'v.mkv', weights=tiny_weights, fps='23.976', codec='ffv1'
    )
    assert done.frame_rate == Fraction(24000, 1001)
    video, _ = decode(tmp_path / 'v.mkv')
    images = [cv2.imread(str(p))[..., ::-1] for p in sorted((tmp_path / 'frames').iterdir())]
    assert np.array_equal(video, np.stack(images))  # ffv1 is lossless
    animevsr.upscale(tmp_path / 'in/00000008.png', tmp_path / 'one.png', weights=tiny_weights)
    assert cv2.imread(str(tmp_path / 'one.png')).shape == (40, 60, 3)


@pytest.mark.parametrize(
    'options, size',
    [
        (dict(height=60), (60, 88)),
        (dict(width=60), (42, 60)),
        (dict(fit='60x50'), (42, 60)),
        (dict(fit='99x50'), (50, 74)),
    ],
)
def test_the_size_can_be_asked_for(options, size, tiny_weights, tmp_path):
    write_clip(tmp_path / 'in', moving_frames(1, 17, 25))
    done = animevsr.upscale(tmp_path / 'in', tmp_path / 'o.mp4', weights=tiny_weights, **options)
    assert (done.height, done.width) == size


@pytest.mark.parametrize('outscale, size', [(4, (68, 100)), (2.5, (42, 62)), (1, (18, 26)), (0.5, (8, 12))])
def test_any_factor_up_to_four(outscale, size, tiny_weights, tmp_path):
    write_clip(tmp_path / 'in', moving_frames(2, 17, 25))
    done = animevsr.upscale(tmp_path / 'in', tmp_path / 'o.mp4', weights=tiny_weights, outscale=outscale)
    assert decode(tmp_path / 'o.mp4')[0].shape[1:3] == (done.height, done.width) == size  # even, for yuv420p
    done = animevsr.upscale(tmp_path / 'in', tmp_path / 'o', weights=tiny_weights, outscale=outscale)
    assert (done.height, done.width) == (round(17 * outscale), round(25 * outscale))
    done = animevsr.upscale(
        tmp_path / 'in/00000000.png', tmp_path / 'o.png', weights=tiny_weights, outscale=outscale
    )
    assert cv2.imread(str(tmp_path / 'o.png')).shape[:2] == (round(17 * outscale), round(25 * outscale))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(outscale=4.5), 'the output must be above 0 and at most 4 times as large.*got outscale'),
        (dict(height=999), 'at most 4 times .* got height 999, which is 124.9 times 8x8'),
        (dict(height=60, width=60), 'only one of height, width can be given'),
        (dict(fit='big'), "fit 'big' is not a size"),
        (dict(outscale=0), 'outscale'),
        (dict(crf=70), 'crf must be between 0 and 51'),
        (dict(codec='h266'), "codec 'h266' is not known"),
        (dict(device='warp'), "device 'warp' cannot be used here"),
        (dict(fps='fast'), "fps 'fast' is not a frame rate"),
        (dict(fps=0), 'fps must be above 0'),
        (dict(threads=-1), 'threads must be at least 1'),
    ],
)
def test_options_out_of_range(options, message, tiny_weights, tmp_path):
    write_clip(tmp_path / 'in', moving_frames(1, 8, 8))
    with pytest.raises(ValueError, match=message):
        animevsr.upscale(tmp_path / 'in', tmp_path / 'o.mp4', **{'weights': tiny_weights, **options})
    assert not list(tmp_path.glob('*o.*'))


def test_frame_rates():
    assert [parse_rate(v) for v in ('24000/1001', 23.976, '29.97', 25, Fraction(50))] == [
        Fraction(24000, 1001),
        Fraction(24000, 1001),
        Fraction(30000, 1001),
        25,
        50,
    ]
    assert parse_rate('12.5') == Fraction(25, 2)
    rate = parse_rate('14.985014985')  # more digits than a container takes
    assert abs(rate - Fraction('14.985014985')) < 1e-9 and rate.denominator <= 1_000_000


def test_commands(tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mp4', moving_frames(2, 16, 16))
    commands = [
        ['-m', 'animevsr_cli', 'upscale', source, '-o', 'a.mkv'],
        [REPO / 'inference_animevsr.py', '-i', source, '-o', 'b.mkv'],
    ]
    for command in commands:
        done = run_python(
            *command, '-n', tiny_weights, '--codec', 'ffv1', '--device', 'cpu', '-s', 3, cwd=tmp_path
        )
        assert '2 frames, 48x48' in done.stdout and 'frames/s' in done.stderr
    assert np.array_equal(decode(tmp_path / 'a.mkv')[0], decode(tmp_path / 'b.mkv')[0])


@pytest.mark.parametrize('arguments', [['--help'], ['upscale', '--help'], ['upscale']])
def test_help_does_not_wait_for_torch(arguments, tmp_path):
    (tmp_path / 'torch.py').write_text("raise SystemExit('torch was imported')")
    done = run_python(
        '-m', 'animevsr_cli', *arguments, cwd=tmp_path, check=False, PYTHONPATH=f'{tmp_path}:{REPO}'
    )
    assert (
        'usage: animevsr' in (done.stdout + done.stderr).lower() and 'torch was imported' not in done.stderr
    )


def test_problems_are_one_line(tiny_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, 'signal', lambda *_: None)  # this process keeps its own
    good = write_video(tmp_path / 'good.mp4', moving_frames(2, 16, 16))
    (tmp_path / 'cut.mp4').write_bytes(good.read_bytes()[:300])
    cases = {
        ('gone.mp4', 'o.mp4', tiny_weights): 'gone.mp4: no such file',
        ('cut.mp4', 'o.mp4', tiny_weights): 'cut.mp4: not readable',
        (good, 'o.mp4', 'nothing'): 'nothing: no such weights file',
        (good, 'o.mp4', good): 'not a weights file of PyTorch',
        (good, 'no/o.mp4', tiny_weights): 'folder does not exist',
        (good, good, tiny_weights): 'is the input',
    }
    for (source, output, weights), message in cases.items():
        with pytest.raises(SystemExit) as stopped:
            animevsr_cli.main(['upscale', str(source), '-o', str(output), '-n', str(weights)])
        said = str(stopped.value)
        assert said.startswith('animevsr: ') and message in said and len(said.splitlines()) == 1, said
    done = run_python('-m', 'animevsr_cli', 'upscale', 'gone.mp4', '-o', 'o.mp4', cwd=tmp_path, check=False)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(lines) == 1 and lines[0].startswith('animevsr: gone.mp4'), done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {'good.mp4', 'cut.mp4', 'tiny.pth'}
    assert len(decode(good)[0]) == 2


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tiny_weights, tmp_path):
    """Peak memory of 60 frames and of 300: kept frames would add 140 MB."""
    for t in (60, 300):
        write_video(tmp_path / f'{t}.mp4', moving_frames(t, 96, 128), sound=True)
    code = (
        'import animevsr, resource\n'
        'for t in (60, 300):\n'
        f"    animevsr.upscale(f'{{t}}.mp4', 'o.mp4', weights={str(tiny_weights)!r})\n"
        '    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)'
    )
    short, long = (int(line) for line in run_python('-c', code, cwd=tmp_path).stdout.split()[-2:])
    assert long <= 1.05 * short


def test_images_are_upright_and_still(tiny_weights, tmp_path):
    from PIL import Image

    frames = moving_frames(3, 32, 48)
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees
    Image.fromarray(frames[0]).save(tmp_path / 'turned.jpg', exif=exif, quality=95)
    assert (
        animevsr.upscale(
            tmp_path / 'turned.jpg', tmp_path / 'o.png', tiny_weights, backend='torch', outscale=1
        ).width
        == 32
    )
    difference = read_image(tmp_path / 'turned.jpg').astype(int) - np.rot90(frames[0], -1)
    assert np.abs(difference).mean() < 8 and image_size(tmp_path / 'turned.jpg') == (32, 48)
    images = [Image.fromarray(frame) for frame in frames]
    for name in ('moving.png', 'moving.webp'):
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:])
        with pytest.raises(MediaError, match='is an animation of 3 images'):
            animevsr.upscale(tmp_path / name, tmp_path / 'p.png', tiny_weights)
    Image.fromarray(np.dstack([frames[0], frames[0][..., 0]])).save(tmp_path / 'clear.png')
    with pytest.warns(UserWarning, match='the transparency of .* is left out: it is laid over black'):
        animevsr.upscale(tmp_path / 'clear.png', tmp_path / 'q.png', tiny_weights, backend='torch')
