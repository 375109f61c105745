"""The console script `animevsr`: parses, then calls one function of the package.

It stands outside the package because importing `animevsr` fills BasicSR's registries, which takes torch and seconds; the help must not.
"""
import argparse
import os
import signal
import sys
import warnings

UPSCALE = """Upscale a video, a folder of frames or one image.

A video keeps every frame, its times, its sound and its colours. The output is a video or an image by its suffix, otherwise a new folder
of PNG images."""


def parser():
    """The parser of all subcommands."""
    root = argparse.ArgumentParser(prog='animevsr', description='Animation video super-resolution.')
    commands = root.add_subparsers(dest='command', metavar='COMMAND', required=True)
    up = commands.add_parser('upscale', help='upscale a video, a folder of frames or one image', description=UPSCALE,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    up.add_argument('input', help='video file, folder of frames or image')
    up.add_argument('-o', '--output', required=True, help='video file, image, or new folder for PNG images')
    add_upscale_options(up)
    commands.add_parser('setup', help='install BasicSR, which pip alone cannot')
    return root


def add_upscale_options(up):
    """Options shared by `animevsr upscale` and `inference_animevsr.py`, in the habits of this field."""
    up.add_argument('-n', '--weights', default='animevsr_x4', help='weights file, or name of bundled weights (default: %(default)s)')
    up.add_argument('-s', '--outscale', type=float, help='size of the output over that of the input, up to 4 (default: 4)')
    up.add_argument('--fps', help='frame rate of a folder of frames, e.g. 24000/1001 (default: 24); retimes a video, without its sound')
    up.add_argument('--codec', choices=['h264', 'ffv1'], default='h264', help='ffv1 is lossless (default: %(default)s)')
    up.add_argument('--crf', type=int, default=18, help='quality of h264: 0 lossless to 51 (default: %(default)s)')
    up.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: %(default)s)')
    up.add_argument('--half', action='store_true', help='compute in float16 on a GPU: faster, half the memory')


def run_upscale(args):
    """Call `animevsr.upscale`; every problem with the input is one line and a non-zero exit."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a partial output is removed
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')  # a damaged image is reported once, in one line
    try:
        import animevsr
        from animevsr.utils.checkpoint import CheckpointError
        from animevsr.video.reader import MediaError
    except ModuleNotFoundError as error:
        remedy = 'animevsr setup' if error.name == 'basicsr' else f'pip install {error.name}'
        sys.exit(f'animevsr: the package {error.name} is missing; run: {remedy}')
    except KeyboardInterrupt:
        sys.exit(130)
    warnings.showwarning = lambda message, *_: print(f'animevsr: {message}', file=sys.stderr)
    options = {name: getattr(args, name) for name in ('weights', 'outscale', 'fps', 'codec', 'crf', 'device', 'half')}
    try:
        done = animevsr.upscale(args.input, args.output, progress=True, **options)
    except (MediaError, CheckpointError, ValueError, OSError) as error:
        sys.exit(f'animevsr: {error}')
    except KeyboardInterrupt:
        print(f'\nanimevsr: interrupted, nothing was written at {args.output}', file=sys.stderr)
        sys.exit(130)
    print(f'{done.output}: {done.frames} frames, {done.width}x{done.height}, {done.seconds:.1f} s ({done.fps:.2f} frames a second)')


def main(argv=None):
    args = parser().parse_args(argv)
    if args.command == 'setup':
        import animevsr_install
        animevsr_install.main()
    else:
        run_upscale(args)


if __name__ == '__main__':
    main()
