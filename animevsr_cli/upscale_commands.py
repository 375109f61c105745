"""The commands that upscale: `upscale`, `join`, `preview`, `app`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from animevsr_cli.arguments import add_device, moment, part, tile
from animevsr_cli.config import settings_of
from animevsr_cli.guard import guarded
from animevsr_cli.texts import APP, EXAMPLES, JOIN, PREVIEW, UPSCALE, WEIGHTS


def add_upscale(command: Callable) -> None:
    up = command('upscale', run_upscale, 'upscale a video, a folder of frames or one image', UPSCALE)
    up.usage, up.epilog = 'animevsr upscale INPUT -o OUTPUT [options]', EXAMPLES
    up.add_argument('input', help='video file, folder of frames or image; - reads Y4M from standard input')
    up.add_argument(
        '-o',
        '--output',
        required=True,
        help='video file, image, or new folder for PNG images; - writes Y4M to standard output',
    )
    add_upscale_options(up)


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
        help='8-bit integers on a CPU where they are faster, float16 on a GPU: nearly the same picture',
    )
    speed.add_argument(
        '--reuse',
        action='store_true',
        help='compute only what changes from frame to frame: much faster on held drawings',
    )
    speed.add_argument(
        '--backend',
        choices=['auto', 'torch', 'ncnn', 'mnn', 'openvino', 'onnxruntime'],
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
    add_device(
        speed,
        '; vulkan (any GPU, by ncnn), vulkan:1; of ONNX Runtime: onnx-cuda, tensorrt, directml, coreml;'
        ' of OpenVINO: openvino-gpu',
    )
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


def run_upscale(args: argparse.Namespace) -> None:
    """Call `animevsr.upscale` and say what was done."""
    options = settings_of(args)
    if guarded(
        lambda animevsr: animevsr.upscaling.is_batch(args.input), f'nothing was written at {args.output}'
    ):
        if args.output == '-':
            sys.exit(f'animevsr: {args.input}: a folder of videos cannot go into a pipe; name a folder')
        run_batch(args, options)
        return
    if args.dry_run:
        print(
            guarded(
                lambda animevsr: animevsr.estimate(args.input, args.output, **options), 'nothing is written'
            )
        )
        return
    done = guarded(
        lambda animevsr: animevsr.upscale(args.input, args.output, progress=True, **options),
        f'nothing was written at {args.output}; rerun the command to resume',
    )
    if done.missing:
        print(f'{done.output}: this part is done, {done.missing} of {done.shots} shots left to other parts')
        return
    out = sys.stderr if str(done.output) == '-' else sys.stdout  # there goes the video
    held = f', {done.held:.0%} held' if args.reuse and done.held is not None else ''
    again = f', {done.resumed} of {done.shots} shots were there already' if done.resumed else ''
    print(
        f'{done.output}: {done.frames} frames, {done.width}x{done.height}, {done.seconds:.1f} s '
        f'({done.fps:.2f} frames a second{held}){again}',
        file=out,
    )


def run_batch(args: argparse.Namespace, options: Any) -> None:
    """Call `animevsr.upscale_folder`; the exit code tells whether all went well."""
    if args.dry_run:
        print_estimates(args, options)
        return
    done = guarded(
        lambda animevsr: animevsr.upscale_folder(args.input, args.output, progress=True, **options),
        'rerun the command to resume',
    )
    for path, what in done.items():
        print(f'{path}: {what}')
    failed = sum(what.startswith('failed') for what in done.values())
    parts = sum(what.startswith('part done') for what in done.values())
    left = sum(what.startswith('left out') for what in done.values())
    print(
        f'{len(done) - failed - parts - left} done, {failed} failed'
        + (f', {left} left out' if left else '')
        + (f', {parts} with shots left to other parts' if parts else '')
    )
    if failed:
        sys.exit(1)


def print_estimates(args: argparse.Namespace, options: Any) -> None:
    """What each video of a folder would take, and all of them."""

    def run(animevsr):
        seconds = 0.0
        for video, found in animevsr.upscaling.estimate_folder(args.input, args.output, **options):
            print(f'{video}: {found}')
            if not isinstance(found, str):
                seconds += found.seconds or 0
        return animevsr.upscaling.duration(seconds)

    print(f'in all about {guarded(run, "nothing is written")}')


def add_join(command: Callable) -> None:
    jo = command('join', run_join, 'write the video whose parts (upscale --part) are done', JOIN)
    jo.add_argument('output', help='the output that was named')


def run_join(args: argparse.Namespace) -> None:
    """Call `join_parts`."""

    def run(_):
        from animevsr.upscaling.joining import join_parts

        return join_parts(args.output)

    print(guarded(run, f'nothing was written at {args.output}'))


def add_preview(command: Callable) -> None:
    pre = command(
        'preview', run_preview, 'upscale a few frames, to choose a model and see how long it takes', PREVIEW
    )
    pre.add_argument('video', help='video file')
    pre.add_argument('-o', '--output', default='preview', help='folder (default: %(default)s)')
    pre.add_argument(
        '-n', '--models', nargs='+', default=['animevsr_x4'], metavar='MODEL', help='(default: animevsr_x4)'
    )
    pre.add_argument('--at', nargs='+', type=moment, metavar='TIME', help='e.g. 83.5 or 1:23.5')
    pre.add_argument('--count', type=int, default=4, help='moments without --at (default: %(default)s)')
    pre.add_argument('--device', default='auto', help='(default: %(default)s)')


def run_preview(args: argparse.Namespace) -> None:
    """Call `animevsr.preview` and print where the pictures are, and what the whole would take."""
    options = dict(models=args.models, at=args.at, count=args.count, device=args.device, progress=True)
    done = guarded(
        lambda animevsr: animevsr.preview(args.video, args.output, **options),
        f'{args.output} may be incomplete',
    )
    print(f'{done.page}\n{done.sheet}')
    for model, hours in done.hours.items():
        long = f'{hours:.1f} h' if hours >= 1 else f'{hours * 60:.0f} min'
        print(f'{model}: about {long} for the whole video on this machine, without --reuse')


def add_app(command: Callable) -> None:
    ap = command('app', run_app, 'restore videos on a page in the browser', APP)
    ap.add_argument('--host', default='127.0.0.1', help='(default: %(default)s)')
    ap.add_argument('--port', type=int, default=7860, help='(default: %(default)s)')
    ap.add_argument('--password', help='asked for by the page')
    add_device(ap)


def run_app(args: argparse.Namespace) -> None:
    """Call `animevsr.app.server.serve`."""

    def run(_):
        try:
            from animevsr.app.server import serve
        except ModuleNotFoundError as error:
            raise ValueError(f"the app needs the package {error.name}; run: pip install '.[app]'") from None
        serve(args.host, args.port, args.password, args.device, lambda text: print(text, file=sys.stderr))

    guarded(run, 'what runs goes on with the next start')
