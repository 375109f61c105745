"""Files as people have them: picture subtitles, DTS, covers, AVI captures, mirrored and transparent video."""

import struct
from fractions import Fraction
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import decode, moving_frames
from containers import Container, ffmpeg, make, run_and_audit

import animevsr
from animevsr.engine.upscaler import to_input
from animevsr.errors import MediaError
from animevsr.video.images import read_image, write_image
from animevsr.video.reader import VideoReader
from animevsr.video.telecine import stamped
from animevsr.video.tracks import Clock


def blu_ray_subtitles(path):
    """One subtitle made of pictures (PGS), from 0.1 to 0.3 s."""

    def segment(time, kind, data):
        return b'PG' + struct.pack('>IIBH', time, time, kind, len(data)) + data

    def shown(number, objects):
        head = struct.pack('>HHBHBBBB', 64, 48, 16, number, 0x80 if objects else 0, 0, 0, objects)
        return head + (struct.pack('>HBBHH', 0, 0, 0, 10, 10) if objects else b'')

    window = b'\1\0' + struct.pack('>HHHH', 10, 10, 16, 8)
    lines = bytes([0, 0x80 | 16, 1, 0, 0]) * 8
    picture = struct.pack('>HBB', 0, 0, 0xC0) + struct.pack('>I', len(lines) + 4)[1:]
    picture += struct.pack('>HH', 16, 8) + lines
    begin, end = 9000, 27000
    path.write_bytes(
        segment(begin, 0x16, shown(0, 1))
        + segment(begin, 0x17, window)
        + segment(begin, 0x14, bytes([0, 0, 1, 235, 128, 128, 255]))
        + segment(begin, 0x15, picture)
        + segment(begin, 0x80, b'')
        + segment(end, 0x16, shown(1, 0))
        + segment(end, 0x17, window)
        + segment(end, 0x80, b'')
    )


def test_subtitles_made_of_pictures_and_dts_stay(identity, tmp_path):
    blu_ray_subtitles(tmp_path / 's.sup')
    arguments = '{sound} -i {tmp}/s.sup -map 0 -map 1 -map 2 -c:v libx264 -c:a dca -strict -2 -c:s copy'
    source = make(tmp_path, Container('disc.mkv', arguments))
    assert run_and_audit(source, tmp_path / 'out.mkv', identity) == ([], set())
    with av.open(str(tmp_path / 'out.mkv')) as out:
        assert [s.codec_context.name for s in out.streams] == ['h264', 'dca', 'pgssub']


def test_what_cannot_be_carried_is_said_before_the_work(identity, tmp_path):
    source = make(tmp_path, Container('two.mkv', '-map 0 -map 0 -c:v:0 libx264 -c:v:1 libvpx'))
    with pytest.raises(MediaError, match=r'\.mp4 cannot carry video track 1 \(vp8\).*; use \.mkv'):
        animevsr.upscale(source, tmp_path / 'out.mp4', identity, backend='torch')
    assert [path.name for path in tmp_path.iterdir() if 'out' in path.name] == []
    with pytest.raises(MediaError, match=r'h265 is not written into .m4v'):
        animevsr.upscale(source, tmp_path / 'out.m4v', identity, backend='torch', codec='h265')


@pytest.mark.parametrize('suffix', ['.mkv', '.mp4'])
@pytest.mark.parametrize('picture', ['cover.jpg', 'cover.png'])
def test_covers_stay(picture, suffix, identity, tmp_path):
    write_image(tmp_path / picture, moving_frames(1, 32, 32)[0])
    plain = make(tmp_path, Container('plain.mkv', '-c:v libx264'))
    source = tmp_path / 'in.mp4'
    ffmpeg(
        *('-i', plain, '-i', tmp_path / picture, '-map', 0, '-map', 1),
        *('-c', 'copy', '-disposition:v:1', 'attached_pic', source),
    )
    for part in ({}, dict(start='0.2')):
        output = tmp_path / f'out{len(part)}{suffix}'
        animevsr.upscale(source, output, identity, backend='torch', **part)
        with av.open(str(output)) as out:
            (cover,) = [s for s in out.streams.video if 'attached_pic' in s.disposition.name]
            data = next(bytes(packet) for packet in out.demux(cover) if packet.size)
        assert data == (tmp_path / picture).read_bytes()
        if not part:
            assert all(check.ok for check in animevsr.verify(source, output))


def packet(time, kind='audio', base=Fraction(1, 1000)):
    return SimpleNamespace(
        pts=time, dts=time, duration=1, time_base=base, stream=SimpleNamespace(type=kind), size=1
    )


def test_packets_that_begin_together_do_not_drift():
    """TrueHD has 1,200 packets a second, which Matroska rounds to milliseconds."""
    times = [round(i / 1.2) for i in range(1200)]
    for strict, end in ((False, 999), (True, 1199)):
        clock = Clock('audio track 1', Fraction(0), strict)
        out = [item.dts for time in times for item in clock.push(packet(time))]
        assert out[-1] == end and (np.diff(out) >= strict).all()
    assert out[-1] - times[-1] == 200  # what MP4 asks for; it does not become a jump, of which there is none


def avi_with_dropped_frames(tmp_path, arguments):
    """25 frames a second, of which those from 10 to 19 are empty chunks, as captures have them."""
    source = make(tmp_path, Container('in.avi', arguments), 1.2)
    data = source.read_bytes()
    at = data.index(b'movi') + 4
    out, number = bytearray(data[:at]), 0
    index = data.rindex(b'idx1')
    entries = bytearray()
    while at < index - 8 and data[at : at + 2] == b'00':
        size = struct.unpack('<I', data[at + 4 : at + 8])[0]
        body = b'' if 10 <= number < 20 else data[at + 8 : at + 8 + size + size % 2]
        entries += b'00dc' + struct.pack('<III', 16, len(out) - data.index(b'movi'), 0 if not body else size)
        out += b'00dc' + struct.pack('<I', 0 if not body else size) + body
        number, at = number + 1, at + 8 + size + size % 2
    movi = data.index(b'movi')
    out[movi - 4 : movi] = struct.pack('<I', len(out) - movi)
    out += b'idx1' + struct.pack('<I', len(entries)) + entries
    out[4:8] = struct.pack('<I', len(out) - 8)
    source.write_bytes(bytes(out))
    return source, number


def test_avi_frames_that_a_capture_dropped_keep_the_others_in_time(identity, tmp_path):
    source, number = avi_with_dropped_frames(tmp_path, '-c:v mjpeg')
    assert number == 30
    expected = [i / 25 for i in range(30) if not 10 <= i < 20]
    with VideoReader(source, conceal=True) as reader:
        assert [float(time) for _, time in reader.timed()] == pytest.approx(expected)
    _, failed = run_and_audit(source, tmp_path / 'out.mkv', identity)
    assert not failed
    times = [float(time) for time in decode(tmp_path / 'out.mkv')[1]]
    assert times == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize('codec', ['mpeg4 -bf 2', 'libx264 -bf 3', 'msmpeg4v2', 'mjpeg'])
def test_avi_times_whatever_the_order_of_decoding(codec, tmp_path):
    source = make(tmp_path, Container('in.avi', f'-c:v {codec}'), 2.0)
    with VideoReader(source) as reader:
        assert [time for _, time in reader.timed()] == [Fraction(i, 25) for i in range(50)]


def test_avi_frames_that_cannot_be_decoded_are_replaced(tmp_path):
    source = make(tmp_path, Container('in.avi', '-c:v libx264 -bf 0'), 2.0)
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as file:
        places = [(p.pos, p.size) for p in file.demux(video=0) if p.size]
    for at, size in places[24:29]:
        data[at + 8 : at + size] = bytes(size - 8)
    source.write_bytes(bytes(data))
    with VideoReader(source, conceal=True) as reader:
        times = [time for _, time in reader.timed()]
        assert times == [Fraction(i, 25) for i in range(50)] and len(reader.damage) == 5


@pytest.mark.parametrize('deinterlace', ['marked', 'all', 'ivtc'])
def test_a_change_of_size_is_one_line(deinterlace, tmp_path):
    """Filters would end the process."""
    interlaced = '-c:v mpeg2video -f mpegts -vf setfield=tff -flags +ildct+ilme'
    parts = [
        make(tmp_path, Container(f'{size}.ts', interlaced, size=size)).read_bytes()
        for size in ('96x64', '64x48')
    ]
    (tmp_path / 'in.ts').write_bytes(b''.join(parts))
    with (
        VideoReader(tmp_path / 'in.ts', conceal=True, deinterlace=deinterlace) as reader,
        pytest.raises(MediaError, match='the picture changes its size to 64x48'),
    ):
        list(reader.timed())


def test_a_part_that_begins_after_the_last_key_frame(identity, tmp_path):
    source = make(tmp_path, Container('in.ts', '-c:v libx264 -g 1000 -f mpegts'), 6.0)
    done = animevsr.upscale(source, tmp_path / 'out.mkv', identity, backend='torch', start='5')
    assert done.frames == 25


def test_frames_without_times_follow_the_one_before():
    stream = SimpleNamespace(time_base=Fraction(1, 1000))
    frames = [SimpleNamespace(pts=pts, time_base=None) for pts in (None, 40, None, None, 160)]
    assert [frame.pts for frame in stamped(frames, stream, Fraction(25))] == [0, 40, 80, 120, 160]


def test_mirrored_video_is_upright(tmp_path):
    plain = make(tmp_path, Container('plain.mp4', '-c:v libx264 -crf 5'))
    mirrored = tmp_path / 'mirrored.mp4'
    ffmpeg('-display_hflip', '-i', plain, '-c', 'copy', mirrored)
    images = []
    for path in (plain, mirrored):
        with VideoReader(path) as reader:
            images.append(next(reader.frames())[0].astype(int))
    assert np.abs(images[0][:, ::-1] - images[1]).max() == 0


@pytest.mark.parametrize('codec', ['qtrle -pix_fmt argb', 'prores_ks -profile:v 4444 -pix_fmt yuva444p10le'])
def test_transparent_video_is_laid_over_black(codec, tmp_path):
    half = 'format=rgba,colorchannelmixer=aa=0.5'
    source = make(tmp_path, Container('in.mov', f'-vf {half} -c:v {codec}'))
    opaque = make(tmp_path, Container('opaque.mov', '-c:v qtrle -pix_fmt rgb24'))
    images = []
    for path in (source, opaque):
        with VideoReader(path) as reader:
            assert reader.info.transparent == (path == source)
            images.append(next(reader.frames())[0].astype(float))
    assert np.abs(images[0] - images[1] * 128 / 255).mean() < 3


def test_more_than_eight_bits_in_half_precision():
    """float16 ends at 65504."""
    frame = np.full((4, 4, 3), 65535, np.uint16)
    assert torch.equal(to_input(frame, torch.device('cpu'), torch.float16), torch.ones(1, 3, 4, 4).half())


def test_images_of_sixteen_bits_where_the_format_has_eight(tmp_path):
    image = moving_frames(1, 16, 16)[0]
    for suffix in ('.png', '.bmp', '.webp'):
        write_image(tmp_path / f'x{suffix}', image.astype(np.uint16) * 257)
        assert np.abs(read_image(tmp_path / f'x{suffix}').astype(int) - image).mean() < 8
    deep = cv2.imread(str(tmp_path / 'x.png'), cv2.IMREAD_UNCHANGED)
    assert deep.dtype == np.uint16 and np.array_equal(deep[..., ::-1], image.astype(np.uint16) * 257)


def test_an_image_on_a_full_disk_is_not_there(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('pathlib.Path.write_bytes', full)
    with pytest.raises(MediaError, match=r'x.png: could not be written \(No space left on device\)'):
        write_image(tmp_path / 'x.png', moving_frames(1, 16, 16)[0])
    assert not list(tmp_path.iterdir())
