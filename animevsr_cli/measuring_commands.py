"""The commands that measure, compare and look: from `evaluate` to `doctor`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from animevsr_cli.arguments import add_device
from animevsr_cli.guard import guarded
from animevsr_cli.texts import BENCH, COMPARE, DOCTOR, EVALUATE, EXPORT, MODELS, VERIFY, VOTES, WEIGHTS


def add_evaluate(command: Callable) -> None:
    ev = command('evaluate', run_evaluate, 'measure methods on clips, in one table', EVALUATE)
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


def run_evaluate(args: argparse.Namespace) -> None:
    """Call `animevsr.evaluate`, print the table and write it."""
    methods = named_methods(args.methods)

    def run(animevsr):
        from animevsr.evaluation.tables import check_output, markdown, write_table

        for path in args.output:
            check_output(path)
        done = animevsr.evaluate(
            methods,
            args.lq,
            args.gt,
            args.metrics,
            args.every,
            args.device,
            progress=True,
            steady=args.steady,
        )
        print(markdown(done), end='', flush=True)  # first: it is there even if a file cannot be written
        for path in args.output:
            write_table(done, path)

    guarded(run, 'nothing was written')


def add_compare(command: Callable) -> None:
    co = command('compare', run_compare, 'compare results on one HTML page, or in a blind study', COMPARE)
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


def run_compare(args: argparse.Namespace) -> None:
    """Call `animevsr.compare`."""
    options = dict(
        frames=args.frames,
        quality=args.quality,
        gt=args.gt,
        metrics=args.metrics,
        device=args.device,
        progress=True,
        study=args.study,
    )
    methods = named_methods(args.methods)
    print(
        guarded(
            lambda animevsr: animevsr.compare(methods, args.output, **options),
            f'nothing was written at {args.output}',
        )
    )


def named_methods(arguments: list[str]) -> dict[str, str]:
    """{name: method} of [NAME=]METHOD."""
    methods = {}
    for method in arguments:
        path = Path(method)
        name, what = (
            method.split('=', 1)
            if '=' in method and not path.exists()
            else (path.name if path.is_dir() else path.stem, method)
        )
        if not name or not what:
            sys.exit(f"animevsr: '{method}': a method is NAME=METHOD, or METHOD alone")
        if name in methods:
            sys.exit(f'animevsr: two methods are named {name}; name them: NAME={what}')
        methods[name] = what
    return methods


def add_votes(command: Callable) -> None:
    vo = command('votes', run_votes, 'merge the votes of a blind study', VOTES)
    vo.add_argument('files', nargs='+', help='votes.json of each person')


def run_votes(args: argparse.Namespace) -> None:
    """Call `votes` and print the shares."""

    def run(_):
        from animevsr.evaluation.votes import votes

        return votes(args.files)

    for pair in guarded(run, 'nothing was counted'):
        low, high = pair.interval
        print(
            f'{pair.a} : {pair.b}  {pair.share:.1%} of {pair.votes} votes for {pair.a}, 95 % interval'
            f' {low:.1%} to {high:.1%}'
        )


def add_verify(command: Callable) -> None:
    ve = command('verify', run_verify, 'compare an upscaled video with its source', VERIFY)
    ve.add_argument('input', help='the source')
    ve.add_argument('output', help='what was made of it')
    ve.add_argument('--every', type=int, default=10, help='compare every n-th picture (default: %(default)s)')
    for name in ('start', 'end', 'crop', 'fps'):
        ve.add_argument(f'--{name}', help='as upscale was given it')
    ve.add_argument('--audio', choices=['copy', 'none'], default='copy', help='as upscale was given it')


def run_verify(args: argparse.Namespace) -> None:
    """Call `animevsr.verify`, print its lines."""
    checks = guarded(
        lambda animevsr: animevsr.verify(
            args.input, args.output, args.every, args.start, args.end, args.crop, args.audio, args.fps
        ),
        'nothing was written',
    )
    for check in checks:
        print(f'{"ok  " if check.ok else "FAIL"}  {check.name}: {check.what}')
    if not all(check.ok for check in checks):
        sys.exit(1)


def add_export(command: Callable) -> None:
    ex = command('export', run_export, 'write a network for other runtimes', EXPORT)
    ex.add_argument('-n', '--weights', default='animevsr_x4', help=WEIGHTS)
    ex.add_argument(
        '-o', '--output', required=True, help='.onnx, .param (ncnn), .pt (TorchScript) or .safetensors'
    )
    ex.add_argument(
        '--to', choices=['onnx', 'ncnn', 'torchscript', 'safetensors'], help='(default: by the suffix)'
    )


def run_export(args: argparse.Namespace) -> None:
    """Call `animevsr.export`."""
    done = guarded(
        lambda animevsr: animevsr.export(args.weights, args.output, args.to),
        f'nothing was written at {args.output}',
    )
    print(f'{done.path}: largest difference from PyTorch {done.difference:.2g}')


def add_bench(command: Callable) -> None:
    be = command('bench', run_bench, 'measure the speed of this machine', BENCH)
    be.add_argument('-n', '--weights', default='animevsr_x4', help=WEIGHTS)
    be.add_argument('--size', default='320x180', help='of the frames (default: %(default)s)')
    be.add_argument(
        '--rounds', type=int, default=5, help='interleaved rounds; medians are printed (default: %(default)s)'
    )
    add_device(be)


def run_bench(args: argparse.Namespace) -> None:
    """Call `bench` and print its table."""

    def run(_):
        from animevsr.evaluation.bench import bench

        return bench(args.weights, args.size, args.rounds, args.device)

    print(guarded(run, 'nothing was measured'), end='')


def add_models(command: Callable) -> None:
    mo = command(
        'models', run_models, 'list the models that are known by name, fetch one, add a file', MODELS
    )
    mo.add_argument(
        'action', nargs='?', choices=['list', 'get', 'add'], default='list', help='(default: %(default)s)'
    )
    mo.add_argument('names', nargs='*', metavar='NAME', help='get NAME ...; add FILE NAME')


def run_models(args: argparse.Namespace) -> None:
    """List, fetch or add models."""
    if args.action == 'add' and len(args.names) != 2:
        sys.exit('animevsr: models add FILE NAME')
    if (args.action == 'get') != bool(args.names) and args.action != 'add':
        sys.exit(f'animevsr: models {"get NAME ..." if args.action == "get" else "list takes no names"}')

    def run(_):
        from animevsr import zoo

        if args.action == 'get':
            for name in args.names:
                print(f'{name}: {zoo.get(name)}')
        elif args.action == 'add':
            print(f'{args.names[1]}: {zoo.add(*args.names)}')
        else:
            for name, model in zoo.MODELS.items():
                place = (
                    'here'
                    if zoo.find_file(name)
                    else f'{model.size / 1e6:.0f} MB to fetch'
                    if model.package
                    else 'by hand'
                )
                print(
                    f'{name:28} {model.scale}x  {place:15} {model.licence:22} {model.origin}\n{"":28}'
                    f' {model.what}'
                )

    guarded(run, 'nothing was changed')


def add_doctor(command: Callable) -> None:
    command('doctor', run_doctor, 'say what is installed here, and what of it works', DOCTOR)


def run_doctor(args: argparse.Namespace) -> None:
    """Print what `doctor` finds."""

    def run(_):
        from animevsr.evaluation.doctor import doctor

        return doctor()

    print(guarded(run, 'nothing was changed'))
