"""Which encoder, format and options are chosen."""

import struct
import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import decode, moving_frames, write_video
from containers import names

import animevsr
from animevsr.errors import MediaError
from animevsr.video import encoders
from animevsr.video.color import Color
from animevsr.video.encoders import choose_encoding, choose_options, works
from animevsr.video.reader import VideoReader


def info_of(path):
    with VideoReader(path) as reader:
        return reader.info


@pytest.fixture
def info(tmp_path):
    return info_of(write_video(tmp_path / 'in.mkv', moving_frames(2, 64, 64)))


@pytest.mark.parametrize('suffix', ['.mov', '.mkv'])
@pytest.mark.parametrize('codec, pix_fmt', [('ffv1', 'bgr0'), ('mjpeg', 'yuvj420p')])
def test_prores_of_the_full_range(codec, pix_fmt, suffix, identity, tmp_path):
    """It cannot say the full range: its samples have the other one."""
    frames = np.zeros((3, 64, 64, 3), np.uint8) + np.array([200, 58, 29], np.uint8)
    source = write_video(tmp_path / 'in.mkv', frames, codec=codec, pix_fmt=pix_fmt)
    output = tmp_path / f'out{suffix}'
    animevsr.upscale(source, output, identity, codec='prores', backend='torch', device='cpu')
    before, after = decode(source)[0][0, 8, 8].astype(int), decode(output)[0][0, 32, 32].astype(int)
    assert np.abs(after - before).max() <= 3
    assert not names(animevsr.verify(source, output))


def mastering(info, primaries, luminance):
    values = [13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450, 50, 10_000_000]
    data = b''.join(struct.pack('<ii', v, 50000 if i < 8 else 10000) for i, v in enumerate(values))
    side = {'MASTERING_DISPLAY_METADATA': data + struct.pack('<ii', primaries, luminance)}
    return replace(info, side_data=side, depth=10, pixel_format='yuv420p10le')


def test_hdr_metadata_that_says_the_light_alone_is_left_out(info):
    assert (
        'mastering-display' in choose_encoding('h264', mastering(info, 1, 1), (64, 64)).options['x264-params']
    )
    assert 'x264-params' not in choose_encoding('h264', mastering(info, 0, 1), (64, 64)).options


def test_hdr_metadata_that_is_not_carried_is_told(info):
    with pytest.warns(UserWarning, match='prores_ks is not told the HDR metadata of the input'):
        choose_encoding('prores', mastering(info, 1, 1), (64, 64))


def test_hardware_takes_formats_of_its_own(info, monkeypatch):
    """Those of Intel know none whose planes are apart, and those of NVIDIA none such of 10 bits."""
    working = ['h264_qsv']
    monkeypatch.setattr(encoders, 'works', lambda encoding, full_size: encoding.encoder in working)
    made = choose_encoding('h264', info, (64, 64), hardware=True)
    assert (made.encoder, made.pix_fmt, made.options) == ('h264_qsv', 'nv12', dict(global_quality=18))
    working[:] = ['hevc_nvenc']
    deep = replace(info, depth=10, pixel_format='yuv420p10le')
    made = choose_encoding('h265', deep, (64, 64), hardware=True)
    assert (made.encoder, made.pix_fmt) == ('hevc_nvenc', 'p010le')
    working.clear()
    with pytest.warns(UserWarning, match='no hardware encoder of h264 works here: libx264 is taken'):
        assert choose_encoding('h264', info, (64, 64), hardware=True).encoder == 'libx264'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        choose_encoding('h264', info, (64, 64))


def test_pictures_that_an_encoder_does_not_take(info):
    with pytest.raises(MediaError, match='libx264 does not take pictures of 17600x64; use ffv1'):
        choose_encoding('h264', info, (64, 17600))
    assert choose_encoding('ffv1', info, (64, 17600)).width == 17600
    assert choose_encoding('h264', info, (64, 8200)).width == 8200
    encoding = choose_encoding('h264', info, (64, 64))
    assert works(replace(encoding, width=17600)) and not works(replace(encoding, width=17600), full_size=True)


def test_quality_of_apples_encoder_is_an_option_of_the_library(info):
    """As libav's own encoders know it; `q:v` is one of the program ffmpeg, which nothing here would take."""
    encoding = replace(choose_encoding('h264', info, (64, 64)), encoder='mpeg4')
    assert works(replace(encoding, options=choose_options('h264_videotoolbox', 18, {}, 'yuv420p')))
    assert not works(replace(encoding, options={'q:v': 64}))


def test_an_encoding_knows_its_colour(info):
    full = replace(info, color=Color(6, True, 5, 6))
    assert choose_encoding('h264', full, (64, 64)).color == full.color
    assert choose_encoding('prores', full, (64, 64)).color == Color(6, False, 5, 6)


def test_what_x264_says_itself_is_left_out(info, capfd):
    with pytest.raises(MediaError, match='libx264 does not take these options: preset=foo'):
        choose_encoding('h264', info, (64, 64), extra={'preset': 'foo'})
    assert capfd.readouterr() == ('', '')


def test_quality_of_what_has_none_is_told(info):
    with pytest.warns(UserWarning, match='crf is left out: ffv1 has no levels of quality'):
        choose_encoding('ffv1', info, (64, 64), crf=3)


def test_images_have_no_sound(identity, tmp_path):
    source = write_video(tmp_path / 'in.mkv', moving_frames(2, 32, 48), sound=True)
    with pytest.warns(UserWarning, match='only the pictures of .*in.mkv are kept: images have no sound'):
        animevsr.upscale(source, tmp_path / 'out', identity, backend='torch', device='cpu')
