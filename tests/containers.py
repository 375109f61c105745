"""A zoo of odd files, made on the spot by ffmpeg, and what is looked at when one was upscaled."""

import subprocess
import warnings
from dataclasses import dataclass

import imageio_ffmpeg

import animevsr

PICTURE = 'testsrc2=s={size}:r={rate}:d={seconds},format={pix}'


HDR = (
    '-pix_fmt yuv420p10le -vf setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc'
    ' -x265-params '
    'log-level=error:hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400'
)


SUBTITLES = '1\n00:00:00,040 --> 00:00:00,300\nHello\n\n2\n00:00:00,320 --> 00:00:00,400\nWorld\n'


CHAPTERS = (
    ';FFMETADATA1\ntitle=My Cartoon\nartist=Me\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=One\n'
    '[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=400\ntitle=Two\n'
)


SOUND = '-f lavfi -i sine=d={seconds}'


FULL = (
    '{sound} {sound} -i {tmp}/s.srt -i {tmp}/meta.txt -map 0 -map 1 -map 2 -map 3 -map_metadata 4'
    ' -map_chapters 4 -c:v libx264 -metadata:s:a:0 language=jpn -metadata:s:a:1 language=eng -metadata:s:s:0'
    ' language=ger -disposition:a:0 comment -disposition:a:1 default -disposition:s:0 forced'
)


@dataclass(frozen=True)
class Container:
    """A file that ffmpeg makes, and what it is upscaled to.

    Attributes:
        name: of the source.
        arguments: of ffmpeg, whose first input is the test picture; {sound}, {nosound}, {tmp} and {seconds}
            are put in by `make`.
        suffix: of the result.
        size: of the picture. warning: what `upscale` warns of, if anything.
    """

    name: str
    arguments: str
    suffix: str = '.mkv'
    size: str = '64x48'
    warning: str | None = None


ZOO = (
    Container('h264.mkv', '-c:v libx264'),
    Container('h264.mp4', '-c:v libx264', '.mp4'),
    Container('to.mkv', '-c:v libx264 {nosound}', '.mp4'),
    Container('mp4.mp4', '-c:v libx264 {nosound}'),
    Container('xvid.avi', '-c:v mpeg4 -vtag xvid'),
    Container('bframes.avi', '-c:v mpeg4 -bf 2', '.mp4'),
    Container('mpeg1.mpg', '-c:v mpeg1video'),
    Container('mpeg2.mpg', '-c:v mpeg2video -bf 2', '.mp4'),
    Container('vcd.mpg', '-c:v mpeg1video -f vcd', size='352x240'),
    Container('sorenson.flv', '-c:v flv'),
    Container('h264.flv', '-c:v libx264', '.mp4'),
    Container('wmv2.wmv', '-c:v wmv2'),
    Container('ms.avi', '-c:v msmpeg4'),
    Container('theora.ogv', '-c:v libtheora'),
    Container('vp8.webm', '-c:v libvpx -b:v 500k'),
    Container('vp9.webm', '-c:v libvpx-vp9 -b:v 500k -cpu-used 8', '.mp4'),
    Container('real.rm', '-c:v rv20'),
    Container('transport.ts', '-c:v libx264'),
    Container('blu.m2ts', '-c:v libx264', '.mp4'),
    Container('mjpeg.avi', '-c:v mjpeg -pix_fmt yuvj420p'),
    Container('huff.avi', '-c:v huffyuv -pix_fmt yuv422p'),
    Container('lossless.mkv', '-c:v ffv1'),
    Container('rgb.mkv', '-c:v libx264rgb -crf 0'),
    Container('gray.mkv', '-c:v ffv1 -pix_fmt gray'),
    Container('prores.mov', '-c:v prores_ks -pix_fmt yuv422p10le', '.mov'),
    Container('raw.y4m', ''),
    Container('av1.mkv', '-c:v libsvtav1 -preset 12', size='64x64'),
    Container('old.3gp', '-c:v h263 -s 128x96', size='128x96'),
    Container('odd.mkv', '-c:v ffv1 -pix_fmt yuv444p', size='63x47'),
    Container('odd.mp4', '-c:v libx264 -pix_fmt yuv444p -vf crop=63:47', '.mp4'),
    Container('hevc10.mkv', '-c:v libx265 -x265-params log-level=error -pix_fmt yuv420p10le'),
    Container('422.mkv', '-c:v libx264 -pix_fmt yuv422p'),
    Container('444.mp4', '-c:v libx264 -pix_fmt yuv444p', '.mp4'),
    Container('422p10.mkv', '-c:v libx264 -pix_fmt yuv422p10le'),
    Container('hdr.mkv', f'-c:v libx265 {HDR}'),
    Container('full_range.mp4', '-c:v libx264 -pix_fmt yuvj420p', '.mp4'),
    Container(
        'bt709.mkv', '-c:v libx264 -vf setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709'
    ),
    Container('anamorphic.mkv', '-c:v libx264 -vf setsar=16/15'),
    Container('wide.mp4', '-c:v libx264 -vf setsar=4/3', '.mp4'),
    Container(
        'interlaced.mpg',
        '-c:v mpeg2video -vf tinterlace=interleave_top -flags +ildct+ilme',
        size='64x48',
        warning='is interlaced',
    ),
    Container('offset.mkv', '-c:v libx264 -output_ts_offset 1.5'),
    Container('offset.mp4', '-c:v libx264 -output_ts_offset 1.5', '.mp4'),
    Container('offset.ts', '-c:v libx264 -output_ts_offset 10', '.mp4'),
    Container(
        'negative.ts',
        '{sound} -map 0 -map 1 -c:v libx264 -c:a mp2 -output_ts_offset -1 -avoid_negative_ts disabled'
        ' -muxdelay 0',
        warning='before zero',
    ),
    Container('late_sound.mkv', '-itsoffset 0.2 {sound} -map 0 -map 1 -c:v libx264'),
    Container('variable.mkv', "-vf setpts='N*N/25/TB/4' -fps_mode passthrough -c:v libx264 {nosound}"),
    Container(
        'variable.mp4', "-vf setpts='N*N/25/TB/4' -fps_mode passthrough -c:v libx264 {nosound}", '.mp4'
    ),
    Container('fragments.mp4', '-c:v libx264 -movflags frag_keyframe+empty_moov', '.mp4'),
    Container('opengop.mkv', '-c:v libx264 -g 5 -bf 3 -flags -cgop'),
    Container('film.mp4', '-r 24000/1001 -c:v libx264', '.mp4'),
    Container('fast.mkv', '-r 60 -c:v libx264'),
    Container('slow.mp4', '-r 2 -c:v libx264'),
    Container(
        'full.mkv',
        FULL + ' -c:a:0 aac -c:a:1 libvorbis -c:s ass -attach {tmp}/font.ttf -metadata:s:t mimetype=font/ttf',
    ),
    Container('full.mp4', FULL + ' -c:a aac -c:s mov_text', '.mp4'),
    Container('full2.mp4', FULL + ' -c:a aac -c:s mov_text'),
    Container('subtitles.mkv', FULL + ' -c:a aac -c:s srt', '.mp4'),
    Container('pcm.mov', '{sound} -map 0 -map 1 -c:v libx264 -c:a pcm_s16le'),
    Container('flac.mkv', '{sound} -map 0 -map 1 -c:v libx264 -c:a flac'),
    Container('ac3.mkv', '{sound} -map 0 -map 1 -c:v libx264 -c:a ac3', '.mp4'),
    Container('timecode.mov', '-c:v libx264 -timecode 01:00:00:00', '.mov', warning='is left out'),
    Container('two_videos.mkv', '-map 0 -map 0 -c:v:0 libx264 -c:v:1 mpeg4'),
)


BY_NAME = {container.name: container for container in ZOO}


def make(folder, container, seconds=0.4):
    """The file of a container; the path."""
    (folder / 's.srt').write_text(SUBTITLES)
    (folder / 'meta.txt').write_text(CHAPTERS)
    (folder / 'font.ttf').write_bytes(b'a font' * 50)
    picture = PICTURE.format(size=container.size, rate=25, seconds=seconds, pix='yuv420p')
    arguments = (
        container.arguments.replace('{sound}', SOUND)
        .replace('{nosound}', '-an')
        .replace('{tmp}', str(folder))
        .replace('{seconds}', str(seconds))
    )
    path = folder / container.name
    ffmpeg('-f', 'lavfi', '-i', picture, *arguments.replace("'", '').split(), path)
    assert path.stat().st_size
    return path


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-y', *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def names(checks):
    return {check.name for check in checks if not check.ok}


def run_and_audit(source, output, identity, **options):
    """(what was said, names of the checks that failed)."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        animevsr.upscale(source, output, identity, backend='torch', device='cpu', **options)
    return [str(w.message) for w in said if issubclass(w.category, UserWarning)], names(
        animevsr.verify(source, output, every=3)
    )
