"""What the console script `animevsr` understands: its commands, their options, and its `--help`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from animevsr_cli.texts import (
    APP,
    ATLAS,
    BENCH,
    COMPARE,
    CURATE,
    DOCTOR,
    ENHANCE,
    EVALUATE,
    EXAMPLES,
    EXIT_CODES,
    EXPORT,
    JOIN,
    LEARN,
    LEARN_SIZES,
    MODELS,
    PACK,
    PREVIEW,
    REPRODUCE,
    RESCALE,
    ROOT,
    UPSCALE,
    VERIFY,
    VOTES,
    WEIGHTS,
)

try:  # colours
    from rich_argparse import RawDescriptionRichHelpFormatter as FORMATTER
except ImportError:
    from argparse import RawDescriptionHelpFormatter as FORMATTER


def parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    return build()[0]


def build() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """(`parser`, in it that of `upscale`)."""
    root = argparse.ArgumentParser(
        prog='animevsr', description=ROOT, formatter_class=FORMATTER, epilog=EXIT_CODES
    )
    commands = root.add_subparsers(dest='command', metavar='COMMAND', required=True)

    def command(name, summary, text):
        return commands.add_parser(name, help=summary, description=text, formatter_class=FORMATTER)

    up = command('upscale', 'upscale a video, a folder of frames or one image', UPSCALE)
    up.usage, up.epilog = 'animevsr upscale INPUT -o OUTPUT [options]', EXAMPLES
    up.add_argument('input', help='video file, folder of frames or image; - reads Y4M from standard input')
    up.add_argument(
        '-o',
        '--output',
        required=True,
        help='video file, image, or new folder for PNG images; - writes Y4M to standard output',
    )
    add_upscale_options(up)
    pre = command('preview', 'upscale a few frames, to choose a model and see how long it takes', PREVIEW)
    pre.add_argument('video', help='video file')
    pre.add_argument('-o', '--output', default='preview', help='folder (default: %(default)s)')
    pre.add_argument(
        '-n', '--models', nargs='+', default=['animevsr_x4'], metavar='MODEL', help='(default: animevsr_x4)'
    )
    pre.add_argument('--at', nargs='+', type=moment, metavar='TIME', help='e.g. 83.5 or 1:23.5')
    pre.add_argument('--count', type=int, default=4, help='moments without --at (default: %(default)s)')
    pre.add_argument('--device', default='auto', help='(default: %(default)s)')
    ap = command('app', 'restore videos on a page in the browser', APP)
    ap.add_argument('--host', default='127.0.0.1', help='(default: %(default)s)')
    ap.add_argument('--port', type=int, default=7860, help='(default: %(default)s)')
    ap.add_argument('--password', help='asked for by the page')
    add_device(ap)
    command('doctor', 'say what is installed here, and what of it works', DOCTOR)
    learn = command('learn', 'learn a degradation from low-quality frames', LEARN)
    learn.add_argument('frames', help='folder that is searched for images and video files')
    learn.add_argument('--name', help='name of the experiment (default: that of the folder)')
    learn.add_argument(
        '--size',
        choices=list(LEARN_SIZES),
        default='small',
        help=(
            'tiny: minutes on a CPU, to try it; small: about two hours of a CPU; paper: GPUs (default:'
            ' %(default)s)'
        ),
    )
    learn.add_argument(
        '--set',
        nargs='*',
        default=[],
        metavar='KEY:KEY=VALUE',
        help='options of both stages, e.g. train:total_iter=9000',
    )
    re = command('rescale', 'make training pairs from one low-quality video', RESCALE)
    re.add_argument('video', help='video file or folder of frames')
    re.add_argument(
        '-o', '--output', help='folder for the results (default: <name of the video>_rescaled here)'
    )
    re.add_argument(
        '-n',
        '--weights',
        default='animevsr_x4',
        help=(
            'recurrent network; that of the paper was trained on basic operators alone (default: %(default)s)'
        ),
    )
    re.add_argument(
        '--factor', help='write the pairs of this factor, in (0, 1], or of the file that choose.html saved'
    )
    re.add_argument(
        '--patches', type=int, default=6, help='how many patches are looked at (default: %(default)s)'
    )
    re.add_argument(
        '--patch-size', type=int, default=96, help='their side in pixels of the video (default: %(default)s)'
    )
    re.add_argument(
        '--max-frames',
        type=int,
        default=300,
        help='at most so many pairs, in runs spread evenly over the video (default: %(default)s)',
    )
    re.add_argument(
        '--resize',
        choices=['bicubic', 'lanczos'],
        default='bicubic',
        help='bicubic has antialiasing, lanczos has not, as published (default: %(default)s)',
    )
    add_device(re)
    en = command('enhance', 'clean the ground truth of a training set (HR-SR)', ENHANCE)
    en.add_argument('in_root', help='folder that is searched for images and video files')
    en.add_argument('out_root', help='folder for the results')
    en.add_argument(
        '--model',
        required=True,
        help=(
            'weights of any super-resolution network, ours or one that spandrel knows; ncnn:NAME; an ncnn'
            ' .param file'
        ),
    )
    en.add_argument(
        '--tile',
        type=int,
        default=256,
        help='side of the squares worked on; memory depends on it (default: %(default)s)',
    )
    en.add_argument('--jobs', type=int, help='threads that read and write (default: the CPUs, 4 at most)')
    en.add_argument(
        '--part',
        type=part,
        default=(1, 1),
        metavar='I/N',
        help='only every N-th clip from the I-th on, to share the work',
    )
    add_device(en)
    add_curate(command)
    pk = command('pack', 'pack a training set into files that are read quickly', PACK)
    pk.add_argument('root', help='folder with one folder of frames, or one video, per clip')
    pk.add_argument('-o', '--output', required=True, help='folder for the packed clips')
    pk.add_argument('--jobs', type=int, help='threads (default: the CPUs)')
    ev = command('evaluate', 'measure methods on clips, in one table', EVALUATE)
    ev.add_argument(
        'methods', nargs='+', metavar='[NAME=]METHOD', help='folder of results, weights, ncnn:NAME or bicubic'
    )
    ev.add_argument('--lq', help='root of the low-quality clips')
    ev.add_argument('--gt', help='root of the clips with the ground truth')
    ev.add_argument(
        '--metrics',
        nargs='+',
        help='psnr psnr_y ssim ssim_y niqe hyperiqa line_width flicker cut_bleed pyiqa:NAME',
    )
    ev.add_argument(
        '--steady',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='average held drawings, as upscale does; --no-steady: networks alone (default: %(default)s)',
    )
    ev.add_argument('--every', type=int, default=10, help='measure every n-th frame (default: %(default)s)')
    ev.add_argument(
        '-o', '--output', nargs='+', default=[], help='files to write the table to: .md, .csv, .json'
    )
    add_device(ev)
    co = command('compare', 'compare results on one HTML page, or in a blind study', COMPARE)
    co.add_argument('methods', nargs='+', metavar='[NAME=]METHOD', help='folders of results, two or more')
    co.add_argument('-o', '--output', default='compare.html', help='the page (default: %(default)s)')
    co.add_argument(
        '--frames', type=int, default=5, help='frames of each clip, spread evenly (default: %(default)s)'
    )
    co.add_argument(
        '--quality',
        type=int,
        default=95,
        help='of the images in the page, 1 to 100; 101: lossless (default: %(default)s)',
    )
    co.add_argument(
        '--study',
        metavar='NAME',
        help='the method that the blind study shows beside each other one, or all (default: the first)',
    )
    co.add_argument('--gt', help='root of the clips with the ground truth, for metrics that need one')
    co.add_argument(
        '--metrics',
        nargs='*',
        default=['line_width', 'flicker'],
        help='see evaluate (default: line_width flicker)',
    )
    add_device(co)
    vo = command('votes', 'merge the votes of a blind study', VOTES)
    vo.add_argument('files', nargs='+', help='votes.json of each person')
    ve = command('verify', 'compare an upscaled video with its source', VERIFY)
    ve.add_argument('input', help='the source')
    ve.add_argument('output', help='what was made of it')
    ve.add_argument('--every', type=int, default=10, help='compare every n-th picture (default: %(default)s)')
    for name in ('start', 'end', 'crop'):
        ve.add_argument(f'--{name}', help='as upscale was given it')
    ex = command('export', 'write a network for other runtimes', EXPORT)
    ex.add_argument('-n', '--weights', default='animevsr_x4', help=WEIGHTS)
    ex.add_argument(
        '-o', '--output', required=True, help='.onnx, .param (ncnn), .pt (TorchScript) or .safetensors'
    )
    ex.add_argument(
        '--to', choices=['onnx', 'ncnn', 'torchscript', 'safetensors'], help='(default: by the suffix)'
    )
    be = command('bench', 'measure the speed of this machine', BENCH)
    be.add_argument('-n', '--weights', default='animevsr_x4', help=WEIGHTS)
    be.add_argument('--size', default='320x180', help='of the frames (default: %(default)s)')
    be.add_argument(
        '--rounds', type=int, default=5, help='interleaved rounds; medians are printed (default: %(default)s)'
    )
    add_device(be)
    rp = command('reproduce', 'run the trainings behind a table of VQD-SR', REPRODUCE)
    rp.add_argument('table', choices=[*(f'table{i}' for i in range(1, 6)), 'supplement4'])
    rp.add_argument('--scale', choices=['tiny', 'paper'], default='tiny', help='(default: %(default)s)')
    rp.add_argument(
        '--rows',
        nargs='+',
        metavar='ROW',
        help='only these rows; table2 also has k1 k10 k50 k100, the choice of K',
    )
    rp.add_argument(
        '--gt', default='datasets/AVC-Train', help='training set, scale paper (default: %(default)s)'
    )
    rp.add_argument(
        '--lq',
        default='datasets/AVC-RealLQ',
        help='low-quality clips to measure on, scale paper (default: %(default)s)',
    )
    rp.add_argument(
        '--ral', default='datasets/RAL', help='low-quality frames, scale paper (default: %(default)s)'
    )
    rp.add_argument(
        '--test', default='datasets/AVC-Test', help='validation clips, scale paper (default: %(default)s)'
    )
    rp.add_argument('--iterations', type=int, help='of each training, to try it')
    add_device(rp)
    at = command('atlas', 'draw what a degradation model (VQGAN) has learned', ATLAS)
    at.add_argument(
        'weights', help='weights file of a MultiScaleVQGAN, or name of bundled ones (vqgan_animation)'
    )
    at.add_argument('frame', help='image, folder of frames or video')
    at.add_argument('-o', '--output', help='image to write (default: <name of the frame>_atlas.png here)')
    at.add_argument(
        '--number',
        type=int,
        default=0,
        help='which frame of a folder or video, from 0 (default: %(default)s)',
    )
    add_device(at)
    mo = command('models', 'list the models that are known by name, fetch one, add a file', MODELS)
    mo.add_argument(
        'action', nargs='?', choices=['list', 'get', 'add'], default='list', help='(default: %(default)s)'
    )
    mo.add_argument('names', nargs='*', metavar='NAME', help='get NAME ...; add FILE NAME')
    jo = command('join', 'write the video whose parts (upscale --part) are done', JOIN)
    jo.add_argument('output', help='the output that was named')
    commands.add_parser('setup', help='install BasicSR, which pip alone cannot')
    return root, up


def add_device(command: Any, more: str = '') -> None:
    command.add_argument(
        '--device', default='auto', help=f'auto, cpu, cuda, cuda:1, mps{more} (default: %(default)s)'
    )


def moment(text: str) -> float:
    """Seconds, of '83.5', '1:23.5' or '0:01:23.5'."""
    seconds = 0.0
    try:
        for number in text.split(':'):
            seconds = 60 * seconds + float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time; write e.g. 83.5 or 1:23.5") from None
    return seconds


def part(text: str) -> Any:
    """(I, N) of 'I/N'; what it is used for refuses everything else."""
    numbers = text.split('/')
    return (
        tuple(map(int, numbers))
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers)
        else text
    )


def tile(text: str) -> str:
    """A number of pixels, or the word that it is."""
    return int(text) if text.isdecimal() else text


def add_curate(command: Callable) -> None:
    cu = command('curate', 'choose training data out of raw video', CURATE)
    cu.add_argument('what', choices=['clips', 'frames'], help='high-quality clips, or low-quality frames')
    cu.add_argument('root', help='folder of videos, searched with all its folders')
    cu.add_argument('-o', '--output', required=True, help='folder for the clips or the frames')
    cu.add_argument('--per-video', type=int, metavar='N', help='at most (default: 10 clips, 20 frames)')
    cu.add_argument('--jobs', type=int, help='processes (default: the CPUs)')
    cu.add_argument('--cluster', metavar='ADDRESS', help='on a Ray cluster instead: auto, or its address')
    cl = cu.add_argument_group('clips')
    cl.add_argument('--frames', type=int, help='of a clip (default: 24)')
    cl.add_argument('--least-height', type=int, metavar='ROWS', help='without black bars (default: 360)')
    cl.add_argument(
        '--least-rate', type=float, metavar='BITS', help='bits a pixel of the file (default: no matter)'
    )
    cl.add_argument('--least-quality', type=float, metavar='Q', help='0 to 100 (default: 35)')
    cl.add_argument(
        '--hyperiqa',
        nargs='?',
        const='',
        metavar='FILE',
        help='quality by hyperIQA, of weights in FILE or downloaded, instead of by our own score',
    )
    cl.add_argument(
        '--motion', type=float, nargs=2, metavar=('MIN', 'MAX'), help='%% of the height a frame (0.05 6)'
    )
    cl.add_argument('--held', type=float, metavar='SHARE', help='of frames like the one before (0.75)')
    cl.add_argument('--text', action='store_true', default=None, help='keep what has subtitles')
    fr = cu.add_argument_group('frames')
    fr.add_argument('--change', type=float, metavar='LEVELS', help='from the last one kept (default: 4)')


def add_upscale_options(up: Any) -> None:
    """Options shared by `animevsr upscale` and `inference_animevsr.py`, in the habits of this field."""
    part_of = up.add_argument_group('input')
    part_of.add_argument('--start', metavar='TIME', help='begin there: 83.5, 1:23.5, or 1200f for frame 1200')
    part_of.add_argument('--end', metavar='TIME', help='end before it; sound and subtitles are cut as well')
    part_of.add_argument(
        '--fps',
        help=(
            'frame rate of a folder of frames, e.g. 24000/1001 (default: 24); retimes a video, without its'
            ' sound'
        ),
    )
    part_of.add_argument(
        '--no-cuts',
        dest='cuts',
        action='store_false',
        help='do not look for cuts: the whole video is one shot',
    )
    picture = up.add_argument_group('picture')
    picture.add_argument('-n', '--weights', default='animevsr_x4', help=WEIGHTS)
    picture.add_argument(
        '-s', '--outscale', type=float, help='size of the output over that of the input, up to 4 (default: 4)'
    )
    picture.add_argument('--height', type=int, help='height of the output in pixels, instead of -s')
    picture.add_argument('--width', type=int, help='its width; the other side follows')
    picture.add_argument('--fit', metavar='WxH', help='as large as fits into it, e.g. 1920x1080')
    picture.add_argument(
        '--square-pixels',
        action='store_true',
        help='stretch the width of a video whose pixels are not square',
    )
    picture.add_argument(
        '--crop', metavar='T:B:L:R', help='leave out pixels of the input at each side; auto: the black bars'
    )
    picture.add_argument(
        '--strength',
        type=float,
        help='0: keep grain and texture, 1: clean (default), or between; for animevsr_x4',
    )
    picture.add_argument(
        '--steady',
        action=argparse.BooleanOptionalAction,
        help='average held drawings, so that lines do not shimmer (default: unless grain is kept)',
    )
    picture.add_argument(
        '--grain',
        type=float,
        default=0,
        help='put film grain onto the result, e.g. 3 levels of 255 (default: %(default)s)',
    )
    picture.add_argument(
        '--deinterlace',
        choices=['auto', 'bwdif', 'ivtc', 'off'],
        default='auto',
        help='auto: what is marked as interlaced; telecined film back to its frames (default: %(default)s)',
    )
    speed = up.add_argument_group('speed')
    speed.add_argument(
        '--fast',
        action='store_true',
        help='8-bit integers on a CPU, float16 on a GPU: faster, nearly the same picture',
    )
    speed.add_argument(
        '--reuse',
        action='store_true',
        help='compute only what changes from frame to frame: much faster on held drawings',
    )
    speed.add_argument(
        '--backend',
        choices=['auto', 'torch', 'ncnn', 'openvino', 'onnxruntime'],
        default='auto',
        help='auto: the fastest one that is installed (default: %(default)s)',
    )
    speed.add_argument(
        '--jobs', type=int, default=1, help='processes, each on shots of its own (default: %(default)s)'
    )
    speed.add_argument('--threads', type=int, help='CPU threads of each process (default: the cores)')
    speed.add_argument(
        '--cluster', metavar='ADDRESS', help='compute on the nodes of a Ray cluster: auto, or its address'
    )
    speed.add_argument(
        '--part',
        type=part,
        metavar='I/N',
        help=(
            'do the I-th of N shares of the shots, as one task of an array job does; the last one joins them'
        ),
    )
    speed.add_argument(
        '--tile',
        type=tile,
        default='auto',
        help='side of tiles in pixels, or auto: whole frames if memory allows (default: %(default)s)',
    )
    add_device(speed, '; of ONNX Runtime: onnx-cuda, tensorrt, directml, coreml; of OpenVINO: openvino-gpu')
    speed.add_argument(
        '--half', action='store_true', help='compute in float16 on a GPU: faster, half the memory'
    )
    speed.add_argument('--bf16', action='store_true', help='compute in bfloat16, in PyTorch')
    speed.add_argument(
        '--compile',
        dest='compiled',
        action='store_true',
        help='through torch.compile, in PyTorch: slow to start',
    )
    output = up.add_argument_group('output')
    output.add_argument(
        '--codec',
        choices=['h264', 'h265', 'av1', 'ffv1', 'prores'],
        default='h264',
        help='ffv1 is lossless (default: %(default)s)',
    )
    output.add_argument(
        '--crf',
        type=int,
        help='quality of h264 and h265 (0 to 51) and av1 (to 63), lower is better (default: 18, 20, 24)',
    )
    output.add_argument(
        '--depth', type=int, choices=[8, 10], help='bits of a sample (default: as in the input)'
    )
    output.add_argument(
        '--chroma', choices=['420', '422', '444'], help='resolution of colour (default: as in the input)'
    )
    output.add_argument('--preset', help='of the encoder, e.g. slow, or 4 for av1')
    output.add_argument('--tune', help='of the encoder, e.g. animation, grain')
    output.add_argument(
        '--encoder-options',
        nargs='+',
        default=(),
        metavar='KEY=VALUE',
        help='more of them, as FFmpeg names them',
    )
    output.add_argument(
        '--audio',
        choices=['copy', 'none'],
        default='copy',
        help='none leaves sound out (default: %(default)s)',
    )
    output.add_argument(
        '--hardware', action='store_true', help='encode on the graphics hardware where it can'
    )
    output.add_argument(
        '--config', metavar='FILE', help='settings in TOML; the command line goes before them'
    )
    output.add_argument('--save-config', metavar='FILE', help='write the settings of this call into one')
    output.add_argument(
        '--dry-run',
        action='store_true',
        help='say how many frames, how large, how long and how much space, and stop',
    )
